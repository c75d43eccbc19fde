/* flatten: an image as a vector in channel, row, column order. */
#include "engine/nodes/keys.h"

#include <string.h>

static enum colonnade_status build(struct node *node, const struct node_build *build,
                                   struct colonnade_error *error)
{
    node->out = (struct shape){(int)shape_size(node->in), 1, 1};
    node->out_layout = LAYOUT_NHWC;
    return COLONNADE_OK;
}

static bool reorders(const struct node *node)
{
    return node->in_layout == LAYOUT_NHWC && shape_pixels(node->in) > 1 && node->in.c > 1;
}

static void plan(const struct node *node, struct node_plan *plan)
{
    plan->forward_in_place = plan->backward_in_place = !reorders(node);
    plan->scratch = shape_size(node->in);
}

static void forward(const struct node *node, const struct tile *tile)
{
    if (reorders(node))
        tile->kernels->layout_convert(tile->n, node->in.c, shape_pixels(node->in), LAYOUT_NHWC,
                                      LAYOUT_NCHW, tile->x[0], tile->y);
    else if (tile->y != tile->x[0])
        memcpy(tile->y, tile->x[0], (size_t)tile->n * shape_size(node->in) * sizeof *tile->y);
}

static void backward(const struct node *node, const struct tile *tile)
{
    size_t size = shape_size(node->in);
    for (int image = 0; tile->dx[0] && image < tile->n; image++) {
        const float *dy = tile->dy + (size_t)image * size;
        float *dx = tile->dx[0] + (size_t)image * size;
        if (reorders(node)) {
            tile->kernels->layout_convert(1, node->in.c, shape_pixels(node->in), LAYOUT_NCHW,
                                          LAYOUT_NHWC, dy, tile->scratch);
            dy = tile->scratch;
        }
        if (tile->accumulate[0])
            tile->kernels->accumulate(size, dy, dx);
        else if (dx != dy)
            memcpy(dx, dy, size * sizeof *dx);
    }
}

static const struct node_example examples[] = {
    {{3, 4, 5}, "", 1},
    {{9, 4, 5}, "", 1},
    {{11, 1, 1}, "", 1},
    {{0}, NULL, 0},
};

const struct node_type node_flatten = {
    .name = "flatten",
    .help = "an image as a vector in channel, row, column order",
    .inputs_least = 1,
    .inputs_most = 1,
    .examples = examples,
    .build = build,
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
