/* conv: a convolution, lowered to matrix products. Its bias and activation are an epilogue node. */
#include "engine/nodes/keys.h"
#include "engine/nodes/window.h"
#include "kernels/convolution.h"

#include <stdlib.h>

struct conv {
    struct window_settings window;
    int filters, groups, activation, init;
    bool bias;
};

static const struct key keys[] = {
    {"filters", KEY_INTEGER, offsetof(struct conv, filters), .required = true, .minimum = 1,
     .maximum = 65536, .help = "output channels"},
    {"kernel", KEY_PAIR, offsetof(struct conv, window.kernel), .required = true, .minimum = 1,
     .maximum = 65536, .help = "N or HxW"},
    {"stride", KEY_PAIR, offsetof(struct conv, window.stride), "1", .minimum = 1, .maximum = 65536,
     .help = "N or HxW"},
    {"padding", KEY_PADDING, offsetof(struct conv, window.padding), "valid", .maximum = 65536,
     .help = "valid, same, same_lower, N, HxW, or t, l, b, r"},
    {"dilation", KEY_PAIR, offsetof(struct conv, window.dilation), "1", .minimum = 1,
     .maximum = 65536, .help = "N or HxW"},
    {"groups", KEY_INTEGER, offsetof(struct conv, groups), "1", .minimum = 1, .maximum = 65536,
     .help = "groups of channels that see only each other"},
    {"bias", KEY_BOOLEAN, offsetof(struct conv, bias), "true",
     .help = "whether a bias is added, one a filter"},
    ACTIVATION_KEY(struct conv),
    INIT_KEY(struct conv),
};

static struct epilogue epilogue(const void *settings)
{
    const struct conv *conv = settings;
    return activation_epilogue(conv->bias, conv->activation);
}

static void add_weight(struct node *node, const struct conv *conv, const struct convolution *c)
{
    const struct window *w = &c->window;
    int icg = w->ic / w->g;
    int dims[4] = {w->oc, icg, w->kh, w->kw};
    struct parameter *weight =
        node_add_parameter(node, "weight", 4, dims, (enum initializer)conv->init);
    weight->groups = w->g;
    convolution_weights(c, weight->extents, weight->strides);
    weight->fan_in = (size_t)icg * (size_t)w->kh * (size_t)w->kw;
    weight->fan_out = (size_t)w->oc * (size_t)w->kh * (size_t)w->kw;
}

static enum colonnade_status build(struct node *node, const struct node_build *build,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct conv *conv = node->settings;
    struct window window;
    if (node->in.c % conv->groups != 0 || conv->filters % conv->groups != 0) {
        status = config_error(build->config, build->section, "groups", error,
                              "[%s] groups = %d must divide the input's %d channels and "
                              "filters = %d",
                              node->name, conv->groups, node->in.c, conv->filters);
        goto out;
    }
    TRY(window_resolve(node, build, &conv->window, &window, error));
    window.oc = node->out.c = conv->filters;
    window.g = conv->groups;
    struct convolution *c = malloc(sizeof *c);
    if (!c)
        RAISE(COLONNADE_FAILURE, "no memory for node %s", node->name);
    *c = convolution_plan_for(window, node->in_layout);
    node->lowered = c;
    node->out_layout = c->y_layout;
    add_weight(node, conv, c);
    node->macs = (uint64_t)node->parameters[0].count * (uint64_t)shape_pixels(node->out);
out:
    return status;
}

static void plan(const struct node *node, struct node_plan *plan)
{
    const struct convolution *c = node->lowered;
    plan->scratch = c->scratch;
    plan->prepares = c->transposed > 0 && node->sources[0]->has_gradient;
    plan->state = plan->prepares ? c->transposed : 0;
    plan->needs_input = true;
    plan->weight_tiles = c->weight_tiles;
    plan->accumulates = c->weight_tiles == 0;
    if (c->rows > 0)
        plan->images = (c->rows + shape_pixels(node->out) - 1) / shape_pixels(node->out);
}

static struct shape reads(const struct node *node)
{
    const struct convolution *c = node->lowered;
    return window_reads(node, &c->window);
}

static bool cuts(const struct node *node)
{
    return ((const struct convolution *)node->lowered)->lowering != LOWERING_POINTWISE;
}

/* The convolution of what of its input and output is made. */
static struct convolution made_of(const struct node *node)
{
    return convolution_cut(node->lowered, node->in.h, node->in.w, node->out.h, node->out.w);
}

static void prepare(const struct node *node, const struct tile *tile)
{
    convolution_transpose(node->lowered, tile->kernels, node_parameter(node, tile, 0), tile->state);
}

static void forward(const struct node *node, const struct tile *tile)
{
    const struct convolution made = made_of(node);
    convolution_forward(&made, tile->kernels, tile->n, tile->x[0], node_parameter(node, tile, 0),
                        tile->y, tile->scratch);
}

static void backward(const struct node *node, const struct tile *tile)
{
    const struct convolution made = made_of(node);
    convolution_backward(&made, tile->kernels, tile->n, tile->x[0], node_parameter(node, tile, 0),
                         tile->state, tile->dy, tile->accumulate[0], tile->dx[0],
                         tile->accumulate_gradients,
                         made.weight_tiles ? NULL : node_gradient(node, tile, 0), tile->scratch);
}

static void backward_weights(const struct node *node, const struct tile *tile, int index)
{
    const struct convolution made = made_of(node);
    convolution_backward_weights_tile(&made, tile->kernels, tile->n, index, tile->x[0], tile->dy,
                                      node_gradient(node, tile, 0), tile->scratch);
}

static const struct node_example examples[] = {
    /* few channels: taps first */
    {{3, 7, 6}, "filters = 5\nkernel = 3\npadding = same\nactivation = relu", 1},
    {{1, 8, 8}, "filters = 6\nkernel = 5\npadding = 2\nactivation = relu6", 1},
    {{2, 9, 7}, "filters = 16\nkernel = 3x2\nstride = 2x1\npadding = same", 1},
    {{4, 9, 10}, "filters = 9\nkernel = 3\nstride = 2\npadding = 0, 2, 1, 1\nactivation = elu", 1},
    {{5, 8, 9}, "filters = 3\nkernel = 2x3\nstride = 3x1\ndilation = 1x2\nbias = false", 1},
    {{6, 7, 8}, "filters = 10\nkernel = 3\ndilation = 2x1\npadding = 2\nactivation = silu", 1},
    {{2, 24, 50}, "filters = 24\nkernel = 3\npadding = 1", 1}, /* parts of an image */
    {{3, 10, 60}, "filters = 10\nkernel = 3x2\nstride = 2", 1},
    /* pixels first */
    {{9, 6, 7}, "filters = 7\nkernel = 3\nstride = 2\npadding = same_lower\nbias = false", 1},
    {{16, 9, 9}, "filters = 6\nkernel = 3\nstride = 3\npadding = 1, 0, 2, 1\ndilation = 2", 1},
    {{8, 5, 6}, "filters = 11\nkernel = 2x4\npadding = same\nactivation = leaky_relu", 1},
    {{17, 20, 19}, "filters = 8\nkernel = 3\npadding = 1\nactivation = gelu", 1}, /* tiles */
    {{12, 6, 6}, "filters = 8\nkernel = 3\npadding = 1\ngroups = 4\nactivation = hardswish", 1},
    {{6, 6, 5}, "filters = 4\nkernel = 3x2\ngroups = 2\npadding = 1", 1},
    {{256, 3, 3}, "filters = 256\nkernel = 3\npadding = 1\nbias = false", 1}, /* kernel rows */
    {{260, 4, 3}, "filters = 5\nkernel = 2x3\nstride = 2x1\npadding = 1", 1},
    /* pointwise, or nearly */
    {{12, 5, 5}, "filters = 4\nkernel = 1\nactivation = tanh", 1},
    {{3, 5, 6}, "filters = 4\nkernel = 2\nactivation = prelu", 1},
    {{3, 5, 6}, "filters = 5\nkernel = 2\nactivation = softmax", 1},
    {{3, 5, 4}, "filters = 6\nkernel = 1\nactivation = sigmoid", 1},
    {{12, 5, 5}, "filters = 4\nkernel = 1\nstride = 2", 1},
    {{12, 5, 4}, "filters = 6\nkernel = 1\npadding = 0, 1, 0, 0", 1},
    {{12, 5, 4}, "filters = 6\nkernel = 1\ngroups = 2", 1},
    /* depthwise: fewer channels than a vector has lanes, as many, more; vectors that overlap */
    {{3, 6, 5}, "filters = 3\nkernel = 3\npadding = 1\ngroups = 3", 1},
    {{10, 6, 5}, "filters = 10\nkernel = 3\nstride = 2\npadding = same\ngroups = 10", 1},
    {{16, 7, 9}, "filters = 16\nkernel = 3x5\npadding = 1, 2, 1, 2\ngroups = 16", 1},
    {{19, 9, 12},
     "filters = 19\nkernel = 3\nstride = 2x3\ndilation = 2\npadding = 2\ngroups = 19",
     1},
    {{33, 14, 13}, "filters = 33\nkernel = 9x7\npadding = same\ngroups = 33", 1},
    {{8, 5, 4},
     "filters = 8\nkernel = 3x2\nstride = 1x2\ndilation = 2x3\npadding = 3\ngroups = 8",
     1},
    {{0}, NULL, 0},
};

const struct node_type node_conv = {
    .name = "conv",
    .help = "convolution",
    .keys = keys,
    .key_count = COUNT_OF(keys),
    .settings_size = sizeof(struct conv),
    .inputs_least = 1,
    .inputs_most = 1,
    .examples = examples,
    .epilogue = epilogue,
    .reads = reads,
    .cuts = cuts,
    .build = build,
    .plan = plan,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .backward_weights = backward_weights,
};
