/* Keys that several node types share. */
#ifndef ENGINE_NODES_KEYS_H
#define ENGINE_NODES_KEYS_H

#include "engine/base/memory.h"
#include "engine/nodes/node.h"

extern const char *const activation_names[]; /* NULL-terminated, in the order of enum activation */

/* What a user may write: those, and behind them types that become a node of their own. */
extern const char *const activation_choices[];

/* For a settings struct with a field `activation`, or `init`. */
#define ACTIVATION_KEY(settings)                                                                   \
    {                                                                                              \
        .name = "activation", .kind = KEY_CHOICE, .offset = offsetof(settings, activation),        \
        .fallback = "none", .choices = activation_choices, .help = "applied to the output"         \
    }

#define INIT_KEY(settings)                                                                         \
    {                                                                                              \
        .name = "init", .kind = KEY_CHOICE, .offset = offsetof(settings, init), .fallback = "he",  \
        .choices = initializer_names,                                                              \
        .help = "he (normal, fan-in), xavier, lecun, uniform, zero, dirac"                         \
    }

/* What stands for an index into activation_choices. */
struct epilogue activation_epilogue(bool bias, int choice);

/* The slope or scale that an activation has where the config does not say: leaky_relu 0.01,
 * elu 1. */
float activation_alpha(enum activation kind);

#endif
