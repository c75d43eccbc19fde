/* Resampling of an image, row by row as a decoder gives them.
 *
 * Lanczos with three lobes where an axis shrinks, Keys's cubic with a = -1/2 where it grows (R. G.
 * Keys, "Cubic convolution interpolation for digital image processing", 1981). At an axis's ends
 * the weights of the samples that there are make up for the others, as Pillow has it. Memory is
 * that of the output rows which a row of the image is a part of: seven or so where it shrinks. One
 * rounding, at the end.
 */
#ifndef ENGINE_DATA_RESAMPLE_H
#define ENGINE_DATA_RESAMPLE_H

#include "engine/base/error.h"

#include <stdint.h>

/* `from` samples scaled to `scaled`, of which the `to` from `offset` on are wanted. */
struct resample_axis {
    int from, scaled, offset, to;
};

struct resample;

/* For images [y.from, x.from, bands] of at least one sample a side, and 1 or 3 bands. `what` names
 * the image in the error. The caller frees it with resample_free(). */
enum colonnade_status resample_new(struct resample **resample, struct resample_axis x,
                                   struct resample_axis y, int bands, const char *what,
                                   struct colonnade_error *error);

void resample_free(struct resample *resample);

/* The image's next row [x.from, bands], from the top, into `pixels` [y.to, x.to, bands], which is
 * the same in each call and filled after the last of the y.from rows. */
void resample_row(struct resample *resample, const uint8_t *row, uint8_t *pixels);

#endif
