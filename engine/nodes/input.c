/* The input: bytes of the batch's images to the floats that the network sees; in training, as
 * [augment] alters them, else the batch's view of them. */
#include "engine/nodes/augment.h"
#include "engine/nodes/keys.h"

/* Up to this many channels a convolution gathers planes faster than pixels. */
enum { PLANAR_CHANNELS = 7 };

static enum colonnade_status build(struct node *node, const struct node_build *build,
                                   struct colonnade_error *error)
{
    const struct augment *augment = node->settings;
    const int side = node->in.h < node->in.w ? node->in.h : node->in.w;
    node->out = node->in;
    node->out_layout = node->in.c <= PLANAR_CHANNELS ? LAYOUT_NCHW : LAYOUT_NHWC;
    if (augment->crop >= side && augment->crop > 0)
        return config_error(build->config, build->section, "crop", error,
                            "[augment] crop is %d; it must be below the images' shorter side, %d",
                            augment->crop, side);
    return COLONNADE_OK;
}

/* Scratch for altering images, in floats. */
struct room {
    size_t padded;  /* words: the image in a frame, to be warped */
    size_t planes;  /* where the network does not see planes */
    size_t partner; /* under mixup */
};

static struct room room_for(const struct node *node)
{
    const struct augment *augment = node->settings;
    const size_t size = shape_size(node->out);
    const size_t framed = ((size_t)node->in.h + 2) * ((size_t)node->in.w + 2);
    return (struct room){
        .padded = augment_warps(augment) ? framed : 0,
        .planes = node->out_layout == LAYOUT_NHWC ? size : 0,
        .partner = augment->mixup > 0 ? size : 0,
    };
}

static void plan(const struct node *node, struct node_plan *plan)
{
    const struct room room = room_for(node);
    plan->scratch = room.padded + room.planes + room.partner;
}

/* What becomes of image i: in training what chance has in mind for it, else the batch's view. */
static struct augment_draw draw_of(const struct node *node, const struct tile *tile, int i)
{
    const struct batch *batch = tile->batch;
    const uint32_t sample = batch->samples ? batch->samples[i] : (uint32_t)i;
    if (tile->training)
        return augment_draw(node->settings, node->in, tile->seed, batch->epoch, sample);
    return augment_view(batch->view);
}

/* Image i of the mini-batch, altered, without its partner's share. */
static void alter(const struct node *node, const struct tile *tile, int i, float *y)
{
    const struct augment *augment = node->settings;
    const struct kernels *kernels = tile->kernels;
    const struct batch *batch = tile->batch;
    const struct raster raster = {node->in.c, node->in.h, node->in.w};
    const struct room room = room_for(node);
    const struct augment_draw draw = draw_of(node, tile, i);
    float *planes = room.planes > 0 ? tile->scratch + room.padded : y;
    if (augment_warps(augment)) {
        const struct affine map = augment_map(&draw, node->in);
        kernels->planes_warp(raster, &map, batch->images[i], (uint32_t *)(void *)tile->scratch,
                             planes);
    } else {
        kernels->planes_shift(raster, draw.top, draw.left, draw.flip, batch->images[i], planes);
    }
    if (augment_recolours(augment))
        kernels->planes_jitter(raster, (float)draw.brightness, (float)draw.contrast, planes);
    kernels->planes_normalize(raster, batch->scale, batch->shift, planes);
    if (draw.erased.h > 0)
        kernels->planes_erase(raster, draw.erased, planes);
    if (planes != y)
        kernels->layout_convert(1, raster.c, raster.h * raster.w, LAYOUT_NCHW, LAYOUT_NHWC, planes,
                                y);
}

static void alter_and_mix(const struct node *node, const struct tile *tile, int i, float *y)
{
    const struct augment *augment = node->settings;
    alter(node, tile, i, y);
    if (tile->training && augment->mixup > 0) {
        const struct mixture mixture = augment_mixture(augment, tile->seed, tile->batch, i);
        const struct room room = room_for(node);
        float *other = tile->scratch + room.padded + room.planes;
        alter(node, tile, mixture.partner, other);
        tile->kernels->mix(shape_size(node->out), mixture.share, other, y);
    }
}

static void forward(const struct node *node, const struct tile *tile)
{
    const struct batch *batch = tile->batch;
    struct extent extent = node_extent_out(node);
    size_t size = shape_size(node->out);
    const bool moved = batch->view.top || batch->view.left || batch->view.flip;
    const bool altered = tile->training ? augment_alters(node->settings) : moved;
    if (batch->values) {
        tile->kernels->layout_convert(tile->n, extent.c, extent.hw, LAYOUT_NCHW, extent.layout,
                                      batch->values + (size_t)tile->first * size, tile->y);
        return;
    }
    for (int i = 0; i < tile->n; i++) {
        float *y = tile->y + (size_t)i * size;
        if (altered)
            alter_and_mix(node, tile, tile->first + i, y);
        else
            tile->kernels->pixels_normalize(extent, batch->images[tile->first + i], batch->scale,
                                            batch->shift, y);
    }
}

const struct node_type node_input = {
    .name = "input",
    .help = "the data",
    .settings_size = sizeof(struct augment),
    .internal = true,
    .build = build,
    .plan = plan,
    .forward = forward,
};
