/* A mini-batch as scoring and predicting see it: once, or in the views of test-time augmentation.
 */
#ifndef ENGINE_TRAIN_VIEWS_H
#define ENGINE_TRAIN_VIEWS_H

#include "engine/plan/plan.h"

/* Into logits [batch->n, classes] what the network says of the batch; over more than one view the
 * logarithm of the mean of the class probabilities: an image by itself counts as much as one that
 * is moved either way, and an image as much as its mirror image. `plan` is of inference, `batch`
 * has images. */
void views_run(struct plan *plan, const struct model *model, const struct batch *batch,
               uint64_t seed, enum tta tta, float *logits);

#endif
