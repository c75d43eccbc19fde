/* The parts of a check. Private to engine/check/. */
#ifndef ENGINE_CHECK_PARTS_H
#define ENGINE_CHECK_PARTS_H

#include "engine/check/check.h"

/* images.c: the split that an image is of; what check.h has of images stands there, too. */
const struct split *check_split(const struct check *check, size_t image);

/* copies.c */

/* What an image is compared by. A thumbnail of even sides: blocks of 2x2 make the grid of 9x8
 * that is hashed. */
enum {
    THUMBNAIL_HEIGHT = 16,
    THUMBNAIL_WIDTH = 18,
    THUMBNAIL = THUMBNAIL_HEIGHT * THUMBNAIL_WIDTH
};

struct fingerprint {
    uint64_t digest; /* of all pixels */
    uint64_t hash;
    uint32_t sum;                 /* of the thumbnail */
    double deviation;             /* of the thumbnail: sqrt(n * sum of squares - sum^2) */
    uint8_t thumbnail[THUMBNAIL]; /* grey */
};

/* `scratch`: fingerprint_scratch() floats. */
void fingerprint_take(struct fingerprint *fingerprint, const uint8_t *pixels, int h, int w, int c,
                      float *scratch);
size_t fingerprint_scratch(int h, int w);

/* Fills check->copies. Images that are blank or unreadable have no copies. */
enum colonnade_status copies_find(struct check *check, const struct fingerprint *fingerprints,
                                  int threads, struct colonnade_error *error);

/* leak.c: fills check->properties from check->facts. */
enum colonnade_status leaks_find(struct check *check, struct colonnade_error *error);

#endif
