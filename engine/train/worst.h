/* The test images that a run got most wrong, kept for people to look at. */
#ifndef ENGINE_TRAIN_WORST_H
#define ENGINE_TRAIN_WORST_H

#include "engine/data/dataset.h"
#include "engine/train/evaluate.h"

/* How many of `most` mistakes are kept: as many images as fit, at most 240. */
size_t worst_count(struct shape shape, size_t most);

/* Chooses among the test images that were taken for another class, in place of those before:
 * the 24 of the greatest loss; then up to 8 of each class, its worst first, all classes in turn;
 * then those of each pair of classes likewise. `verdicts` [data->test.count]. */
enum colonnade_status worst_take(struct worst *worst, const struct run *run,
                                 const struct dataset *data, const struct verdict *verdicts,
                                 struct colonnade_error *error);

#endif
