/* maxpool, avgpool, globalavgpool. */
#include "engine/nodes/keys.h"
#include "engine/nodes/window.h"

#include <stdlib.h>

struct pool {
    struct window_settings window;
};

static const struct key keys[] = {
    {"kernel", KEY_PAIR, offsetof(struct pool, window.kernel), .required = true, .minimum = 1,
     .maximum = 65536, .help = "N or HxW"},
    {"stride", KEY_PAIR, offsetof(struct pool, window.stride), .minimum = 1, .maximum = 65536,
     .help = "N or HxW; as the kernel where not given"},
    {"padding", KEY_PADDING, offsetof(struct pool, window.padding), "valid", .maximum = 65536,
     .help = "valid, same, same_lower, N, HxW, or t, l, b, r"},
    {"ceil", KEY_BOOLEAN, offsetof(struct pool, window.ceil), "false",
     .help = "whether a last window may hang over the end"},
};

static enum colonnade_status check_padding(const struct node *node, const struct node_build *build,
                                           const struct window *w, struct colonnade_error *error)
{
    bool wide = w->pt >= w->kh || w->pb >= w->kh || w->pl >= w->kw || w->pr >= w->kw;
    if (!wide)
        return COLONNADE_OK;
    return config_error(build->config, build->section, "padding", error,
                        "[%s] padding %d,%d,%d,%d is too wide for a kernel of %dx%d: some windows "
                        "would see padding alone (it must be smaller than the kernel)",
                        node->name, w->pt, w->pl, w->pb, w->pr, w->kh, w->kw);
}

static enum colonnade_status finish_build(struct node *node, const struct window *window,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct window *kept = malloc(sizeof *kept);
    if (!kept)
        RAISE(COLONNADE_FAILURE, "no memory for node %s", node->name);
    *kept = *window;
    node->lowered = kept;
    node->out.c = node->in.c;
    node->out_layout = node->in_layout;
out:
    return status;
}

static enum colonnade_status build_window(struct node *node, const struct node_build *build,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct pool *pool = node->settings;
    struct window window;
    pool->window.dilation = (struct pair){1, 1};
    if (pool->window.stride.h == 0)
        pool->window.stride = pool->window.kernel;
    TRY(window_resolve(node, build, &pool->window, &window, error));
    TRY(check_padding(node, build, &window, error));
    TRY(finish_build(node, &window, error));
out:
    return status;
}

static enum colonnade_status build_global(struct node *node, const struct node_build *build,
                                          struct colonnade_error *error)
{
    struct window window = {
        .ic = node->in.c,
        .ih = node->in.h,
        .iw = node->in.w,
        .oc = node->in.c,
        .oh = 1,
        .ow = 1,
        .kh = node->in.h,
        .kw = node->in.w,
        .sh = 1,
        .sw = 1,
        .dh = 1,
        .dw = 1,
        .g = 1,
    };
    node->out.h = node->out.w = 1;
    return finish_build(node, &window, error);
}

static struct shape reads(const struct node *node)
{
    return window_reads(node, node->lowered);
}

static bool cuts(const struct node *node)
{
    return true;
}

/* The window over what of the input and the output is made. */
static struct window made_of(const struct node *node)
{
    struct window made = *(const struct window *)node->lowered;
    made.ih = node->in.h;
    made.iw = node->in.w;
    made.oh = node->out.h;
    made.ow = node->out.w;
    return made;
}

static void plan_maximum(const struct node *node, struct node_plan *plan)
{
    plan->saved = shape_size(node->out) * sizeof(uint16_t);
}

static void plan_average(const struct node *node, struct node_plan *plan)
{
}

static void maximum_forward(const struct node *node, const struct tile *tile)
{
    const struct window made = made_of(node);
    tile->kernels->maxpool_forward(&made, node->in_layout, tile->n, tile->x[0], tile->y,
                                   tile->training ? tile->saved : NULL);
}

static void maximum_backward(const struct node *node, const struct tile *tile)
{
    const struct window made = made_of(node);
    if (tile->dx[0])
        tile->kernels->maxpool_backward(&made, node->in_layout, tile->n, tile->dy, tile->saved,
                                        tile->accumulate[0], tile->dx[0]);
}

static void average_forward(const struct node *node, const struct tile *tile)
{
    const struct window made = made_of(node);
    tile->kernels->avgpool_forward(&made, node->in_layout, true, tile->n, tile->x[0], tile->y);
}

static void average_backward(const struct node *node, const struct tile *tile)
{
    const struct window made = made_of(node);
    if (tile->dx[0])
        tile->kernels->avgpool_backward(&made, node->in_layout, true, tile->n, tile->dy,
                                        tile->accumulate[0], tile->dx[0]);
}

/* Planes and pixels, squares of 2x2 and 3x3 that have passes of their own, and others; inputs of
 * which 4, 8, 16 and more, or fewer, are taken at a time. */
static const struct node_example window_examples[] = {
    {{3, 6, 6}, "kernel = 2", 1},
    {{1, 6, 35}, "kernel = 2\nstride = 2", 1},
    {{9, 6, 5}, "kernel = 2\npadding = 1, 0, 1, 1", 1},
    {{16, 7, 6}, "kernel = 3\nstride = 2\npadding = 1", 1},
    {{2, 11, 20}, "kernel = 3\nstride = 2\npadding = 0, 1, 1, 0", 1},
    {{17, 8, 9}, "kernel = 3\nstride = 2", 1},
    {{5, 7, 8}, "kernel = 3x2\nstride = 1x2\npadding = same", 1},
    {{10, 8, 7}, "kernel = 2x3\nstride = 2x3\npadding = same_lower", 1},
    {{4, 7, 7}, "kernel = 2\nstride = 2\nceil = true", 1},
    {{8, 8, 8}, "kernel = 3\nstride = 2\npadding = 1\nceil = true", 1}, /* overlapping */
    {{9, 9, 7}, "kernel = 5x4\nstride = 1\npadding = 2x1", 1},          /* many windows a pixel */
    {{3, 8, 10}, "kernel = 4\nstride = 3\nceil = true", 1},
    {{20, 5, 7}, "kernel = 2\nstride = 3", 1}, /* some pixels in no window */
    {{0}, NULL, 0},
};

static const struct node_example global_examples[] = {
    {{7, 5, 4}, "", 1},
    {{19, 5, 4}, "", 1},
    {{0}, NULL, 0},
};

const struct node_type node_maxpool = {
    .name = "maxpool",
    .help = "maximum over windows",
    .keys = keys,
    .key_count = COUNT_OF(keys),
    .settings_size = sizeof(struct pool),
    .inputs_least = 1,
    .inputs_most = 1,
    .examples = window_examples,
    .takes_maximum = true,
    .reads = reads,
    .cuts = cuts,
    .build = build_window,
    .plan = plan_maximum,
    .forward = maximum_forward,
    .backward = maximum_backward,
};

const struct node_type node_avgpool = {
    .name = "avgpool",
    .help = "mean over windows; padding counts, as in PyTorch",
    .keys = keys,
    .key_count = COUNT_OF(keys),
    .settings_size = sizeof(struct pool),
    .inputs_least = 1,
    .inputs_most = 1,
    .examples = window_examples,
    .reads = reads,
    .cuts = cuts,
    .build = build_window,
    .plan = plan_average,
    .forward = average_forward,
    .backward = average_backward,
};

const struct node_type node_globalavgpool = {
    .name = "globalavgpool",
    .help = "mean over each channel",
    .inputs_least = 1,
    .inputs_most = 1,
    .examples = global_examples,
    .build = build_global,
    .plan = plan_average,
    .forward = average_forward,
    .backward = average_backward,
};
