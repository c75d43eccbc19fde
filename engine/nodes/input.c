/* The input: bytes of the batch's images to the floats that the network sees. */
#include "engine/data/dataset.h"
#include "engine/nodes/keys.h"

/* Up to this many channels a convolution gathers planes faster than pixels. */
enum { PLANAR_CHANNELS = 7 };

static enum colonnade_status build(struct node *node, const struct node_build *build,
                                   struct colonnade_error *error)
{
    node->out = node->in;
    node->out_layout = node->in.c <= PLANAR_CHANNELS ? LAYOUT_NCHW : LAYOUT_NHWC;
    return COLONNADE_OK;
}

static void plan(const struct node *node, struct node_plan *plan)
{
}

static void forward(const struct node *node, const struct tile *tile)
{
    const struct batch *batch = tile->batch;
    struct extent extent = node_extent_out(node);
    size_t size = shape_size(node->out);
    if (batch->values) {
        tile->kernels->layout_convert(tile->n, extent.c, extent.hw, LAYOUT_NCHW, extent.layout,
                                      batch->values + (size_t)tile->first * size, tile->y);
        return;
    }
    for (int i = 0; i < tile->n; i++)
        tile->kernels->pixels_normalize(extent, batch->images[tile->first + i], batch->scale,
                                        batch->shift, tile->y + (size_t)i * size);
}

const struct node_type node_input = {
    .name = "input",
    .help = "the data",
    .internal = true,
    .build = build,
    .plan = plan,
    .forward = forward,
};
