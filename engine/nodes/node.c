/* What node types share: adding parameters, and how these may be initialised. */
#include "engine/nodes/node.h"

const char *const initializer_names[] = {"he", "xavier", "lecun", "uniform", "zero", "dirac", NULL};

struct parameter *node_add_parameter(struct node *node, const char *suffix, int rank,
                                     const int *dims, enum initializer initializer)
{
    struct parameter *parameter = &node->parameters[node->parameter_count++];
    *parameter = (struct parameter){.suffix = suffix,
                                    .trainable = true,
                                    .rank = rank,
                                    .groups = 1,
                                    .initializer = initializer,
                                    .count = 1};
    for (int i = 0; i < PARAMETER_RANK; i++)
        parameter->extents[i] = 1;
    for (int i = rank - 1; i >= 0; i--) {
        int place = PARAMETER_RANK - rank + i;
        parameter->dims[i] = parameter->extents[place] = dims[i];
        parameter->strides[place] = parameter->count;
        parameter->count *= (size_t)dims[i];
    }
    return parameter;
}

int node_readers(const struct node *nodes, int count, int index)
{
    int readers = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < nodes[i].input_count; j++)
            readers += nodes[i].inputs[j] == index;
    return readers;
}

void node_keep_shape(struct node *node)
{
    node->out = node->in;
    node->out_layout = node->in_layout;
}

enum colonnade_status node_build_alike(struct node *node, const struct node_build *build,
                                       struct colonnade_error *error)
{
    node_keep_shape(node);
    return COLONNADE_OK;
}
