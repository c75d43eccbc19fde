/* softmax over the channels of each pixel. */
#include "engine/nodes/keys.h"

static void plan(const struct node *node, struct node_plan *plan)
{
    plan->needs_output = true;
}

static void forward(const struct node *node, const struct tile *tile)
{
    tile->kernels->softmax_forward(node_extent_in(node), tile->n, tile->x[0], tile->y);
}

static void backward(const struct node *node, const struct tile *tile)
{
    if (tile->dx[0])
        tile->kernels->softmax_backward(node_extent_in(node), tile->n, tile->y, tile->dy,
                                        tile->accumulate[0], tile->dx[0]);
}

static const struct node_example examples[] = {
    {{5, 3, 2}, "", 1}, {{17, 1, 1}, "", 1},
    {{9, 3, 2}, "", 1}, {{2, 24, 23}, "", 1}, /* more pixels than a segment */
    {{0}, NULL, 0},
};

const struct node_type node_softmax = {
    .name = "softmax",
    .help = "exp(x) over its sum, over the channels of each pixel",
    .inputs_least = 1,
    .inputs_most = 1,
    .examples = examples,
    .build = node_build_alike,
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
