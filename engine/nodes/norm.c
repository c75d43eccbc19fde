/* Normalisations within an image: groupnorm (Wu & He 2018), layernorm over the channels of each
 * pixel (as ConvNeXt has it), lrn across channels (Krizhevsky et al. 2012). None needs a result
 * over the mini-batch. */
#include "engine/nodes/keys.h"

#include <string.h>

struct norm {
    double eps;
    int groups;
};

struct lrn {
    int size;
    double alpha, beta, k;
};

enum { WEIGHT, BIAS };

#define EPS_KEY                                                                                    \
    {                                                                                              \
        "eps", KEY_NUMBER, offsetof(struct norm, eps), "1e-5",                                     \
            .minimum = 0, .above_minimum = true, .maximum = 1, .help = "added to the variance"     \
    }

static const struct key group_keys[] = {
    {"groups", KEY_INTEGER, offsetof(struct norm, groups), "32", .minimum = 1, .maximum = 65536,
     .help = "groups of channels, each normalised on its own; 1: the whole image"},
    EPS_KEY,
};

static const struct key layer_keys[] = {
    EPS_KEY,
};

static const struct key lrn_keys[] = {
    {"size", KEY_INTEGER, offsetof(struct lrn, size), "5", .minimum = 1, .maximum = 65536,
     .help = "neighbouring channels that count"},
    {"alpha", KEY_NUMBER, offsetof(struct lrn, alpha), "1e-4", .minimum = 0, .maximum = 1e6,
     .help = "factor of the mean square"},
    {"beta", KEY_NUMBER, offsetof(struct lrn, beta), "0.75", .minimum = 0, .maximum = 16,
     .help = "exponent"},
    {"k", KEY_NUMBER, offsetof(struct lrn, k), "1", .minimum = 0, .above_minimum = true,
     .maximum = 1e6, .help = "added to the mean square"},
};

static void add_scale_and_shift(struct node *node)
{
    node_add_parameter(node, "weight", 1, &node->in.c, INIT_CONSTANT)->constant = 1.0;
    node_add_parameter(node, "bias", 1, &node->in.c, INIT_ZERO);
}

static enum colonnade_status build_group(struct node *node, const struct node_build *build,
                                         struct colonnade_error *error)
{
    const struct norm *norm = node->settings;
    if (node->in.c % norm->groups != 0)
        return config_error(build->config, build->section, "groups", error,
                            "[%s] groups = %d must divide the input's %d channels", node->name,
                            norm->groups, node->in.c);
    node_keep_shape(node);
    add_scale_and_shift(node);
    return COLONNADE_OK;
}

static enum colonnade_status build_layer(struct node *node, const struct node_build *build,
                                         struct colonnade_error *error)
{
    node_keep_shape(node);
    add_scale_and_shift(node);
    return COLONNADE_OK;
}

/* Mean and inverse deviation are kept as saved bytes in training; evaluation has no use for them,
 * but the kernels write them all the same. */
static void plan_statistics(struct node_plan *plan, size_t pairs)
{
    plan->saved = 2 * pairs * sizeof(float);
    plan->scratch = 2 * pairs;
    plan->needs_input = true;
    plan->needs_dx = true;
    plan->accumulates = true;
}

static void plan_group(const struct node *node, struct node_plan *plan)
{
    plan_statistics(plan, (size_t)((const struct norm *)node->settings)->groups);
}

static void plan_layer(const struct node *node, struct node_plan *plan)
{
    plan_statistics(plan, (size_t)shape_pixels(node->in));
}

static void plan_lrn(const struct node *node, struct node_plan *plan)
{
    plan->needs_input = true;
}

typedef void forward_kernel(const struct node *node, const struct tile *tile, int n, const float *x,
                            float *y, float *statistics);

/* All images at once in training; one by one in evaluation, where scratch holds one's statistics.
 */
static void forward_all(const struct node *node, const struct tile *tile, forward_kernel *kernel)
{
    if (tile->training) {
        kernel(node, tile, tile->n, tile->x[0], tile->y, tile->saved);
        return;
    }
    size_t size = shape_size(node->in);
    for (int i = 0; i < tile->n; i++)
        kernel(node, tile, 1, tile->x[0] + (size_t)i * size, tile->y + (size_t)i * size,
               tile->scratch);
}

static void group_kernel(const struct node *node, const struct tile *tile, int n, const float *x,
                         float *y, float *statistics)
{
    const struct norm *norm = node->settings;
    tile->kernels->groupnorm_forward(node_extent_in(node), n, norm->groups, (float)norm->eps, x,
                                     node_parameter(node, tile, WEIGHT),
                                     node_parameter(node, tile, BIAS), y, statistics);
}

static void layer_kernel(const struct node *node, const struct tile *tile, int n, const float *x,
                         float *y, float *statistics)
{
    const struct norm *norm = node->settings;
    tile->kernels->layernorm_forward(node_extent_in(node), n, (float)norm->eps, x,
                                     node_parameter(node, tile, WEIGHT),
                                     node_parameter(node, tile, BIAS), y, statistics);
}

static void forward_group(const struct node *node, const struct tile *tile)
{
    forward_all(node, tile, group_kernel);
}

static void forward_layer(const struct node *node, const struct tile *tile)
{
    forward_all(node, tile, layer_kernel);
}

static void forward_lrn(const struct node *node, const struct tile *tile)
{
    const struct lrn *lrn = node->settings;
    tile->kernels->lrn_forward(node_extent_in(node), tile->n, lrn->size, (float)lrn->alpha,
                               (float)lrn->beta, (float)lrn->k, tile->x[0], tile->y);
}

/* The kernels add to both gradients. */
static void clear_gradients(const struct node *node, const struct tile *tile)
{
    size_t bytes = (size_t)node->in.c * sizeof(float);
    if (tile->accumulate_gradients)
        return;
    memset(node_gradient(node, tile, WEIGHT), 0, bytes);
    memset(node_gradient(node, tile, BIAS), 0, bytes);
}

static void backward_group(const struct node *node, const struct tile *tile)
{
    const struct norm *norm = node->settings;
    clear_gradients(node, tile);
    tile->kernels->groupnorm_backward(
        node_extent_in(node), tile->n, norm->groups, tile->x[0], tile->dy,
        node_parameter(node, tile, WEIGHT), tile->saved, tile->accumulate[0], tile->dx[0],
        node_gradient(node, tile, WEIGHT), node_gradient(node, tile, BIAS));
}

static void backward_layer(const struct node *node, const struct tile *tile)
{
    clear_gradients(node, tile);
    tile->kernels->layernorm_backward(
        node_extent_in(node), tile->n, tile->x[0], tile->dy, node_parameter(node, tile, WEIGHT),
        tile->saved, tile->accumulate[0], tile->dx[0], node_gradient(node, tile, WEIGHT),
        node_gradient(node, tile, BIAS));
}

static void backward_lrn(const struct node *node, const struct tile *tile)
{
    const struct lrn *lrn = node->settings;
    if (tile->dx[0])
        tile->kernels->lrn_backward(node_extent_in(node), tile->n, lrn->size, (float)lrn->alpha,
                                    (float)lrn->beta, (float)lrn->k, tile->x[0], tile->dy,
                                    tile->accumulate[0], tile->dx[0]);
}

static const struct node_example group_examples[] = {
    {{6, 4, 3}, "groups = 2", 1},
    {{5, 3, 3}, "groups = 1\neps = 0.1", 1},
    {{12, 3, 2}, "groups = 4\neps = 0.5", 1}, /* by pixels */
    {{64, 2, 3}, "", 1},
    {{3, 9, 8}, "groups = 3", 1},
    {{600, 1, 1}, "groups = 2", 1}, /* a group of two views and one of several groups */
    {{0}, NULL, 0},
};

static const struct node_example layer_examples[] = {
    {{7, 3, 4}, "", 1},
    {{19, 1, 1}, "eps = 0.1", 1},
    {{9, 4, 3}, "eps = 0.5", 1},
    {{2, 24, 23}, "eps = 0.5", 1}, /* more pixels than a view takes */
    {{600, 1, 2}, "", 1},          /* more channels */
    {{0}, NULL, 0},
};

static const struct node_example lrn_examples[] = {
    {{7, 3, 4}, "size = 3\nalpha = 0.5", 1},
    {{6, 2, 2}, "size = 4\nalpha = 0.8\nbeta = 0.5\nk = 2", 1},
    {{11, 3, 2}, "alpha = 2\nk = 0.7", 1},
    {{9, 5, 4}, "size = 20\nalpha = 6\nbeta = 1.25", 1}, /* wider than there are channels */
    {{600, 1, 1}, "size = 7\nalpha = 3", 1},             /* more channels than a block */
    {{0}, NULL, 0},
};

const struct node_type node_groupnorm = {
    .name = "groupnorm",
    .help = "groups of channels of an image to mean 0 and variance 1",
    .keys = group_keys,
    .key_count = COUNT_OF(group_keys),
    .settings_size = sizeof(struct norm),
    .inputs_least = 1,
    .inputs_most = 1,
    .examples = group_examples,
    .build = build_group,
    .plan = plan_group,
    .forward = forward_group,
    .backward = backward_group,
};

const struct node_type node_layernorm = {
    .name = "layernorm",
    .help = "the channels of each pixel to mean 0 and variance 1",
    .keys = layer_keys,
    .key_count = COUNT_OF(layer_keys),
    .settings_size = sizeof(struct norm),
    .inputs_least = 1,
    .inputs_most = 1,
    .examples = layer_examples,
    .build = build_layer,
    .plan = plan_layer,
    .forward = forward_layer,
    .backward = backward_layer,
};

const struct node_type node_lrn = {
    .name = "lrn",
    .help = "local response normalisation across channels",
    .keys = lrn_keys,
    .key_count = COUNT_OF(lrn_keys),
    .settings_size = sizeof(struct lrn),
    .inputs_least = 1,
    .inputs_most = 1,
    .examples = lrn_examples,
    .build = node_build_alike,
    .plan = plan_lrn,
    .forward = forward_lrn,
    .backward = backward_lrn,
};
