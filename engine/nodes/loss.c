/* The loss: softmax cross-entropy of the logits, the mean over the mini-batch. Its output is
 * already the gradient of the logits, so it has nothing to do backward. Its settings are the input
 * node's (NULL: none), for under mixup an image has two labels. */
#include "engine/data/dataset.h"
#include "engine/nodes/augment.h"
#include "engine/nodes/keys.h"

static void plan(const struct node *node, struct node_plan *plan)
{
}

static void forward(const struct node *node, const struct tile *tile)
{
    const struct augment *augment = node->settings;
    const struct batch *batch = tile->batch;
    const int32_t *labels = batch->labels + tile->first;
    const float scale = 1.0f / (float)batch->n;
    const size_t classes = (size_t)node->in.c;
    if (!augment || !(augment->mixup > 0)) {
        tile->kernels->softmax_cross_entropy(tile->n, node->in.c, tile->x[0], labels, NULL, NULL,
                                             tile->label_smoothing, scale, tile->loss, tile->rank,
                                             tile->y);
        return;
    }
    for (int i = 0; i < tile->n; i++) {
        const struct mixture mixture = augment_mixture(augment, tile->seed, batch, tile->first + i);
        tile->kernels->softmax_cross_entropy(
            1, node->in.c, tile->x[0] + (size_t)i * classes, labels + i,
            batch->labels + mixture.partner, &mixture.share, tile->label_smoothing, scale,
            tile->loss + i, tile->rank + i, tile->y + (size_t)i * classes);
    }
}

const struct node_type node_loss = {
    .name = "loss",
    .help = "softmax cross-entropy",
    .inputs_least = 1,
    .inputs_most = 1,
    .internal = true,
    .build = node_build_alike,
    .plan = plan,
    .forward = forward,
};
