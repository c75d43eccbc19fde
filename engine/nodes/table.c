/* The table of node types: a new one is a file in this folder and a row here. */
#include "engine/nodes/node.h"

#include <string.h>

#define NODE_TYPES(X)                                                                              \
    X(conv)                                                                                        \
    X(dense)                                                                                       \
    X(maxpool)                                                                                     \
    X(avgpool)                                                                                     \
    X(globalavgpool)                                                                               \
    X(batchnorm)                                                                                   \
    X(groupnorm)                                                                                   \
    X(layernorm)                                                                                   \
    X(lrn)                                                                                         \
    X(relu)                                                                                        \
    X(relu6)                                                                                       \
    X(leaky_relu)                                                                                  \
    X(elu)                                                                                         \
    X(sigmoid)                                                                                     \
    X(tanh)                                                                                        \
    X(gelu)                                                                                        \
    X(silu)                                                                                        \
    X(hardswish)                                                                                   \
    X(prelu)                                                                                       \
    X(softmax)                                                                                     \
    X(dropout)                                                                                     \
    X(add)                                                                                         \
    X(concat)                                                                                      \
    X(flatten)                                                                                     \
    X(input)                                                                                       \
    X(epilogue)                                                                                    \
    X(loss)

#define DECLARE(name) extern const struct node_type node_##name;
NODE_TYPES(DECLARE)
#undef DECLARE

#define ROW(name) &node_##name,
const struct node_type *const node_types[] = {NODE_TYPES(ROW) NULL};
#undef ROW

const struct node_type *node_type_find(const char *name)
{
    for (size_t i = 0; node_types[i]; i++)
        if (!node_types[i]->internal && strcmp(node_types[i]->name, name) == 0)
            return node_types[i];
    return NULL;
}
