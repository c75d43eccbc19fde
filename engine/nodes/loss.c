/* The loss: softmax cross-entropy of the logits, the mean over the mini-batch. Its output is
 * already the gradient of the logits, so it has nothing to do backward. */
#include "engine/data/dataset.h"
#include "engine/nodes/keys.h"

static void plan(const struct node *node, struct node_plan *plan)
{
}

static void forward(const struct node *node, const struct tile *tile)
{
    tile->kernels->softmax_cross_entropy(
        tile->n, node->in.c, tile->x[0], tile->batch->labels + tile->first, NULL, NULL,
        tile->label_smoothing, 1.0f / (float)tile->batch->n, tile->loss, tile->rank, tile->y);
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
