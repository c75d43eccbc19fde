/* PGM and PPM files, plain and raw: the formats so simple that people write them by hand, for
 * which reason libvips takes what is missing for black. Private to image.c.
 */
#ifndef ENGINE_DATA_NETPBM_H
#define ENGINE_DATA_NETPBM_H

#include "engine/base/error.h"

#include <stdint.h>

struct netpbm {
    int width, height;
    int bands;         /* 1: PGM, 3: PPM */
    int white;         /* the largest value: 1 to 65535 */
    uint16_t *samples; /* [height, width, bands], at most `white`; the caller frees */
};

/* The first image of a file, of which `bytes` are all. */
enum colonnade_status netpbm_read(struct netpbm *netpbm, const char *path, const uint8_t *bytes,
                                  size_t count, struct colonnade_error *error);

#endif
