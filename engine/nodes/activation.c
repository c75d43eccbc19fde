/* Activations as node types, and the epilogue: the bias and activation that another node's keys
 * ask for. All are one pass over the tile, in place where the formula allows it. */
#include "engine/nodes/keys.h"

#include <string.h>

const char *const activation_names[] = {"none", "relu", "relu6", "leaky_relu", "elu", "sigmoid",
                                        "tanh", "gelu", "silu",  "hardswish",  NULL};

const char *const activation_choices[] = {"none",    "relu",    "relu6", "leaky_relu", "elu",
                                          "sigmoid", "tanh",    "gelu",  "silu",       "hardswish",
                                          "prelu",   "softmax", NULL};

struct epilogue activation_epilogue(bool bias, int choice)
{
    const bool fused = choice < ACTIVATION_COUNT;
    const enum activation activation = fused ? (enum activation)choice : ACTIVATION_NONE;
    return (struct epilogue){
        .bias = bias,
        .activation = activation,
        .alpha = activation_alpha(activation),
        .node = fused ? NULL : activation_choices[choice],
    };
}

struct activation_node {
    double alpha;
};

float activation_alpha(enum activation kind)
{
    return kind == ACTIVATION_LEAKY_RELU ? 0.01f : 1.0f;
}

static enum activation kind_of(const struct node *node)
{
    if (node->type->internal)
        return ((const struct epilogue *)node->settings)->activation;
    const int found = find_name(node->type->name, activation_names);
    return found >= 0 ? (enum activation)found : ACTIVATION_NONE;
}

static float alpha_of(const struct node *node)
{
    if (node->type->internal)
        return ((const struct epilogue *)node->settings)->alpha;
    return node->type->settings_size
               ? (float)((const struct activation_node *)node->settings)->alpha
               : 1.0f;
}

static bool has_bias(const struct node *node)
{
    return node->parameter_count > 0;
}

static enum colonnade_status build_epilogue(struct node *node, const struct node_build *build,
                                            struct colonnade_error *error)
{
    const struct epilogue *epilogue = node->settings;
    if (epilogue->bias)
        node_add_parameter(node, "bias", 1, &node->in.c, INIT_ZERO);
    node_keep_shape(node);
    return COLONNADE_OK;
}

static void plan(const struct node *node, struct node_plan *plan)
{
    enum activation kind = kind_of(node);
    plan->needs_input = activation_needs_input(kind);
    plan->needs_output = !plan->needs_input && kind != ACTIVATION_NONE;
    plan->forward_in_place = !plan->needs_input;
    plan->backward_in_place = true;
    plan->needs_dx = true;
    plan->accumulates = has_bias(node);
}

static void forward(const struct node *node, const struct tile *tile)
{
    const float *bias = has_bias(node) ? node_parameter(node, tile, 0) : NULL;
    tile->kernels->activation_forward(kind_of(node), alpha_of(node), node_extent_in(node), tile->n,
                                      tile->x[0], bias, tile->y);
}

static void backward(const struct node *node, const struct tile *tile)
{
    enum activation kind = kind_of(node);
    const float *bias = NULL;
    float *bias_gradient = NULL;
    if (has_bias(node)) {
        bias = node_parameter(node, tile, 0);
        bias_gradient = node_gradient(node, tile, 0);
        if (!tile->accumulate_gradients)
            memset(bias_gradient, 0, (size_t)node->in.c * sizeof *bias_gradient);
    }
    tile->kernels->activation_backward(kind, alpha_of(node), node_extent_in(node), tile->n,
                                       activation_needs_input(kind) ? tile->x[0] : tile->y, bias,
                                       tile->dy, tile->accumulate[0], tile->dx[0], bias_gradient);
}

static bool monotone(const struct node *node)
{
    return activation_is_monotone(kind_of(node)) && alpha_of(node) >= 0.0f;
}

static const struct node_example examples[] = {
    {{3, 5, 4}, "", 1},
    {{17, 1, 1}, "", 1},
    {{9, 10, 7}, "", 1}, /* more than one segment */
    {{0}, NULL, 0},
};

/* A row; after its examples, what it has beyond the others. */
#define ACTIVATION_TYPE(id, what, cases, ...)                                                      \
    const struct node_type node_##id = {.name = #id,                                               \
                                        .help = what,                                              \
                                        .inputs_least = 1,                                         \
                                        .inputs_most = 1,                                          \
                                        .examples = cases,                                         \
                                        .monotone = monotone,                                      \
                                        .build = node_build_alike,                                 \
                                        .plan = plan,                                              \
                                        .forward = forward,                                        \
                                        .backward = backward,                                      \
                                        __VA_ARGS__}

ACTIVATION_TYPE(relu, "max(x, 0)", examples);
ACTIVATION_TYPE(relu6, "min(max(x, 0), 6)", examples);
ACTIVATION_TYPE(sigmoid, "1 / (1 + exp(-x))", examples);
ACTIVATION_TYPE(tanh, "hyperbolic tangent", examples);
ACTIVATION_TYPE(gelu, "x * Phi(x), the exact form with erf", examples);
ACTIVATION_TYPE(silu, "x * sigmoid(x)", examples);
ACTIVATION_TYPE(hardswish, "x * clamp(x + 3, 0, 6) / 6", examples);

static const struct key leaky_keys[] = {
    {"slope", KEY_NUMBER, offsetof(struct activation_node, alpha), "0.01", .minimum = 0,
     .maximum = 1e3, .help = "of the negative side"},
};

static const struct key elu_keys[] = {
    {"alpha", KEY_NUMBER, offsetof(struct activation_node, alpha), "1", .minimum = 0,
     .above_minimum = true, .maximum = 1e3, .help = "scale of the negative side"},
};

static const struct node_example leaky_examples[] = {
    {{3, 5, 4}, "slope = 0.2", 1},
    {{9, 4, 3}, "", 1},
    {{5, 3, 3}, "slope = 0", 1},
    {{0}, NULL, 0},
};

static const struct node_example elu_examples[] = {
    {{3, 5, 4}, "alpha = 0.7", 1},
    {{9, 4, 3}, "alpha = 1.5", 1},
    {{5, 3, 3}, "", 1},
    {{0}, NULL, 0},
};

#define WITH_KEYS(table)                                                                           \
    .keys = table, .key_count = COUNT_OF(table), .settings_size = sizeof(struct activation_node)

ACTIVATION_TYPE(leaky_relu, "x where positive, else slope * x", leaky_examples,
                WITH_KEYS(leaky_keys), .gives_any = true);
ACTIVATION_TYPE(elu, "x where positive, else alpha * (exp(x) - 1)", elu_examples,
                WITH_KEYS(elu_keys));

const struct node_type node_epilogue = {
    .name = "epilogue",
    .help = "bias and activation of the node before",
    .settings_size = sizeof(struct epilogue),
    .inputs_least = 1,
    .inputs_most = 1,
    .internal = true,
    .monotone = monotone,
    .build = build_epilogue,
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
