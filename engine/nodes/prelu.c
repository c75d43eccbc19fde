/* prelu: relu with a slope of its own to learn for the negative side (He et al. 2015). */
#include "engine/nodes/keys.h"

#include <string.h>

struct prelu {
    bool shared;
    double init;
};

static const struct key keys[] = {
    {"shared", KEY_BOOLEAN, offsetof(struct prelu, shared), "true",
     .help = "one slope for all channels, else one each"},
    {"init", KEY_NUMBER, offsetof(struct prelu, init), "0.25", .minimum = -1e3, .maximum = 1e3,
     .help = "the slope at first"},
};

static enum colonnade_status build(struct node *node, const struct node_build *build,
                                   struct colonnade_error *error)
{
    const struct prelu *prelu = node->settings;
    int slopes = prelu->shared ? 1 : node->in.c;
    node_add_parameter(node, "weight", 1, &slopes, INIT_CONSTANT)->constant = prelu->init;
    node_keep_shape(node);
    return COLONNADE_OK;
}

static void plan(const struct node *node, struct node_plan *plan)
{
    plan->needs_input = true;
    plan->backward_in_place = true;
    plan->needs_dx = true;
    plan->accumulates = true;
}

static void forward(const struct node *node, const struct tile *tile)
{
    const struct prelu *prelu = node->settings;
    tile->kernels->prelu_forward(node_extent_in(node), tile->n, prelu->shared,
                                 node_parameter(node, tile, 0), tile->x[0], tile->y);
}

static void backward(const struct node *node, const struct tile *tile)
{
    const struct prelu *prelu = node->settings;
    float *slope_gradient = node_gradient(node, tile, 0);
    if (!tile->accumulate_gradients)
        memset(slope_gradient, 0, node->parameters[0].count * sizeof *slope_gradient);
    tile->kernels->prelu_backward(node_extent_in(node), tile->n, prelu->shared,
                                  node_parameter(node, tile, 0), tile->x[0], tile->dy,
                                  tile->accumulate[0], tile->dx[0], slope_gradient);
}

static const struct node_example examples[] = {
    {{3, 5, 4}, "", 1},
    {{18, 2, 3}, "shared = false", 1},
    {{5, 4, 3}, "shared = false\ninit = 0.1", 1},
    {{9, 10, 7}, "", 1},
    {{600, 1, 1}, "shared = false", 1}, /* more channels than a segment */
    {{0}, NULL, 0},
};

const struct node_type node_prelu = {
    .name = "prelu",
    .help = "x where positive, else a learned slope times x",
    .keys = keys,
    .key_count = COUNT_OF(keys),
    .settings_size = sizeof(struct prelu),
    .inputs_least = 1,
    .inputs_most = 1,
    .gives_any = true,
    .examples = examples,
    .build = build,
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
