/* A few training images as the network sees them. */
#ifndef ENGINE_TRAIN_SAMPLES_H
#define ENGINE_TRAIN_SAMPLES_H

#include "engine/data/dataset.h"
#include "engine/train/run.h"

/* How many of `most` images of a shape a run file keeps of a kind: what two megabytes hold, and
 * four of larger ones; none of those above 16 megabytes each. */
size_t samples_that_fit(struct shape shape, size_t most);

/* How many of `most` training images are kept: as many as fit, at most 32. */
size_t samples_count(struct shape shape, size_t most);

/* Values [c, h, w] in that layout, as the network gets them, as the bytes [h, w, c] that would give
 * them. */
void samples_bytes(const struct data_facts *facts, enum layout layout, const float *values,
                   uint8_t *bytes);

/* The first images of a training mini-batch, in place of those before. */
enum colonnade_status samples_take(struct samples *samples, const struct run *run,
                                   const struct batch *batch, struct colonnade_error *error);

#endif
