/* From a draft to a graph: each node is built from the shapes before it, and what nobody reads is
 * cut off. */
#include "engine/graph/graph.h"

#include "engine/base/memory.h"
#include "engine/graph/draft.h"
#include "engine/nodes/keys.h"

#include <stdlib.h>
#include <string.h>

extern const struct node_type node_epilogue;

static struct shape declared_shape(const struct node *node)
{
    struct shape shape = node->out;
    const struct node *maximum = node;
    for (int i = 0; i < node->moved; i++) {
        maximum = maximum->sources[0];
        shape = maximum->in;
    }
    return shape;
}

static enum colonnade_status build_nodes(struct graph *graph, const struct draft *draft,
                                         const int *order, struct shape input, int classes,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (int i = 0; i < graph->count; i++) {
        struct node *node = &graph->nodes[i];
        struct node_build build = {draft->config, draft->sections[order[i]], classes};
        for (int j = 0; j < node->input_count; j++)
            node->sources[j] = &graph->nodes[node->inputs[j]];
        node->in = i == 0 ? input : node->sources[0]->out;
        node->in_layout = i == 0 ? LAYOUT_NHWC : node->sources[0]->out_layout;
        TRY(node->type->build(node, &build, error));
        node->declared = declared_shape(node);
        graph->macs += node->macs;
    }
out:
    return status;
}

static bool is_read_once(const struct graph *graph, int index)
{
    return node_readers(graph->nodes, graph->count, index) == 1;
}

static void cut(struct shape *shape, struct shape read)
{
    shape->h = read.h;
    shape->w = read.w;
}

/* Rows and columns that no window of a pooling reaches are not made, nor what only they are made
 * of: a convolution of 11x11 before a pooling of 2x2 makes 10x10, and of a 13x13 pooling before it
 * 12x12. What is left has the values that it had. Readers come before what they read. */
static void cut_unread(struct graph *graph)
{
    for (int i = graph->count - 1; i >= 0; i--) {
        struct node *reader = &graph->nodes[i], *epilogue = NULL;
        if (!reader->type->reads)
            continue;
        struct shape read = reader->type->reads(reader);
        int made = reader->inputs[0];
        if (graph->nodes[made].type == &node_epilogue && is_read_once(graph, made)) {
            epilogue = &graph->nodes[made];
            made = epilogue->inputs[0];
        }
        struct node *node = &graph->nodes[made];
        if (!node->type->cuts || !node->type->cuts(node) || !is_read_once(graph, made))
            continue;
        cut(&node->out, read);
        cut(&reader->in, read);
        if (epilogue) {
            cut(&epilogue->in, read);
            cut(&epilogue->out, read);
        }
    }
}

static void place_parameter(struct graph *graph, struct parameter *parameter)
{
    enum { ALIGNMENT = 16 }; /* floats: each parameter begins a vector */
    size_t *length = parameter->trainable ? &graph->parameter_length : &graph->buffer_length;
    parameter->offset = *length;
    *length += (parameter->count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (parameter->trainable)
        graph->parameters += parameter->count;
}

static void place_nodes(struct graph *graph, bool frozen)
{
    for (int i = 0; i < graph->count; i++)
        for (int j = 0; j < graph->nodes[i].parameter_count; j++)
            if (graph->nodes[i].frozen == frozen)
                place_parameter(graph, &graph->nodes[i].parameters[j]);
}

/* Where parameters lie, and whose gradients are wanted: what depends on which nodes are frozen. */
static void settle(struct graph *graph)
{
    graph->parameters = graph->parameter_length = graph->buffer_length = 0;
    place_nodes(graph, false);
    graph->updated_length = graph->parameter_length;
    place_nodes(graph, true);
    for (int i = 0; i < graph->count; i++) {
        struct node *node = &graph->nodes[i];
        node->has_gradient = false;
        for (int j = 0; j < node->input_count; j++)
            node->has_gradient |= node->sources[j]->has_gradient;
        for (int j = 0; j < node->parameter_count; j++)
            node->has_gradient |= node->parameters[j].trainable && !node->frozen;
    }
}

static enum colonnade_status check_output(const struct graph *graph, const struct draft *draft,
                                          int classes, struct colonnade_error *error)
{
    const struct node *node = &graph->nodes[graph->output];
    const struct section *section = draft->sections[draft->count - 1];
    if (shape_pixels(node->out) != 1)
        return config_error(draft->config, section, NULL, error,
                            "the last node [%s] gives %dx%dx%d: it has to give one number a class "
                            "(dense, or globalavgpool before it, makes them)",
                            node->name, node->out.c, node->out.h, node->out.w);
    if (node->out.c != classes)
        return config_error(draft->config, section, "units", error,
                            "the last node [%s] gives %d numbers an image, the data has %d "
                            "classes: they must be equal (units = classes makes them so)",
                            node->name, node->out.c, classes);
    if (!node->has_gradient)
        return config_error(draft->config, section, NULL, error,
                            "the graph has no weights to train: add a conv or dense node");
    return COLONNADE_OK;
}

/* Moves the draft's nodes into the graph, in order. */
static void adopt_nodes(struct graph *graph, struct draft *draft, const int *order,
                        const int *place)
{
    graph->count = draft->count;
    for (int i = 0; i < draft->count; i++) {
        struct node *node = &graph->nodes[i];
        *node = draft->nodes[order[i]];
        node->owner = place[node->owner];
        for (int j = 0; j < node->input_count; j++) {
            node->inputs[j] = place[node->inputs[j]];
            node->written[j] = place[node->written[j]];
        }
    }
    memset(draft->nodes, 0, (size_t)draft->count * sizeof *draft->nodes);
    graph->output = place[draft->output];
    for (int i = 1; i < draft->count; i++)
        if (graph->nodes[place[i]].owner == place[i])
            graph->declared[graph->declared_count++] = place[i];
}

enum colonnade_status graph_check_keys(struct config *config, bool drop_unused,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct draft draft;
    TRY(draft_read(&draft, config, error));
    if (drop_unused)
        TRY(draft_drop_unused(&draft, error));
out:
    draft_finish(&draft);
    return status;
}

enum colonnade_status graph_create(struct graph **created, struct config *config,
                                   struct shape input, int classes, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct graph *graph = NULL;
    int *order = NULL, *place = NULL;
    struct draft draft;
    *created = NULL;
    TRY(draft_read(&draft, config, error));
    const size_t capacity = (size_t)draft.capacity;
    TRY(memory_allocate(&order, capacity, sizeof *order, "nodes", error));
    TRY(memory_allocate(&place, capacity, sizeof *place, "nodes", error));
    TRY(memory_allocate(&graph, 1, sizeof *graph, "a graph", error));
    TRY(memory_allocate(&graph->nodes, capacity, sizeof *graph->nodes, "nodes", error));
    TRY(memory_allocate(&graph->declared, capacity, sizeof *graph->declared, "nodes", error));
    TRY(draft_order(&draft, order, place, error));
    adopt_nodes(graph, &draft, order, place);
    graph->classes = classes;
    TRY(build_nodes(graph, &draft, order, input, classes, error));
    cut_unread(graph);
    settle(graph);
    TRY(check_output(graph, &draft, classes, error));
    *created = graph;
    graph = NULL;
out:
    draft_finish(&draft);
    free(order);
    free(place);
    graph_destroy(graph);
    return status;
}

static enum colonnade_status raise_no_node(const struct graph *graph, struct config *config,
                                           const char *name, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char **names = NULL;
    TRY(memory_allocate(&names, (size_t)graph->declared_count + 1, sizeof *names, "names", error));
    for (int i = 0; i < graph->declared_count; i++)
        names[i] = graph->nodes[graph->declared[i]].name;
    const char *near = nearest_name(name, names);
    status = config_error(config, config_section(config, "train"), "freeze", error,
                          "freeze: there is no node '%s'%s%s%s", name,
                          near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
out:
    free(names);
    return status;
}

/* What a section has become: its node, epilogue and activation. */
static bool belongs_to(const struct node *node, int index, int declared)
{
    return node->owner == declared ||
           (node->follows && node->owner == index && node->written[0] == declared);
}

static enum colonnade_status freeze_node(struct graph *graph, struct config *config,
                                         const char *name, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct section *train = config_section(config, "train");
    const int found = graph_find(graph, name);
    int parameters = 0;
    if (found <= 0)
        TRY(raise_no_node(graph, config, name, error));
    for (int i = 0; i < graph->count; i++)
        if (belongs_to(&graph->nodes[i], i, found)) {
            graph->nodes[i].frozen = true;
            parameters += graph->nodes[i].parameter_count;
        }
    if (parameters == 0)
        TRY(config_error(config, train, "freeze", error,
                         "freeze: [%s] is of type %s, which has no weights", name,
                         graph->nodes[found].type->name));
out:
    return status;
}

enum colonnade_status graph_freeze(struct graph *graph, struct config *config,
                                   const struct names *names, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (size_t i = 0; i < names->count; i++)
        TRY(freeze_node(graph, config, names->items[i], error));
    settle(graph);
    if (graph->updated_length == 0)
        TRY(config_error(config, config_section(config, "train"), "freeze", error,
                         "freeze names every node that has weights: nothing is left to train"));
out:
    return status;
}

void graph_destroy(struct graph *graph)
{
    if (!graph)
        return;
    for (int i = 0; i < graph->count; i++) {
        free(graph->nodes[i].name);
        free(graph->nodes[i].settings);
        free(graph->nodes[i].lowered);
    }
    free(graph->nodes);
    free(graph->declared);
    free(graph);
}

const struct node *graph_output_activation(const struct graph *graph, const char **activation)
{
    const struct node *output = &graph->nodes[graph->output];
    const struct epilogue *epilogue = output->type == &node_epilogue ? output->settings : NULL;
    *activation = epilogue ? activation_names[epilogue->activation] : output->type->name;
    const struct node_type *type = node_type_find(*activation);
    if (type && type->gives_any)
        return NULL;
    for (int i = ACTIVATION_NONE + 1; activation_choices[i]; i++)
        if (strcmp(activation_choices[i], *activation) == 0)
            return &graph->nodes[output->follows ? output->written[0] : output->owner];
    return NULL;
}

int graph_find(const struct graph *graph, const char *name)
{
    for (int i = 0; i < graph->count; i++)
        if (graph->nodes[i].owner == i && strcmp(graph->nodes[i].name, name) == 0)
            return i;
    return -1;
}
