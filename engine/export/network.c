/* The network as it was written, out of the graph as it is run. */
#include "engine/export/network.h"

#include "engine/base/memory.h"
#include "engine/base/utf8.h"
#include "engine/nodes/keys.h"
#include "kernels/convolution.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct layer *network_input(const struct network *network, const struct layer *layer, int i)
{
    return &network->layers[network->layer_of[layer->node->written[i]]];
}

/* A join of vectors is one; a join with an image is an image. */
static bool gives_vector(const struct network *network, const struct layer *layer)
{
    static const char *const vectors[] = {"dense", "flatten", "globalavgpool", NULL};
    static const char *const images[] = {"conv", "maxpool", "avgpool", NULL};
    const char *type = layer->node->type->name;
    if (find_name(type, vectors) >= 0)
        return true;
    bool vector = find_name(type, images) < 0;
    for (int i = 0; i < layer->node->input_count && vector; i++)
        vector = network_input(network, layer, i)->vector;
    return vector;
}

static enum colonnade_status take_weights(struct layer *layer, const char *owner,
                                          const struct node *node, const struct model *model,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (int i = 0; i < node->parameter_count; i++) {
        const struct parameter *parameter = &node->parameters[i];
        struct weight *weight = &layer->weights[layer->weight_count++];
        weight->suffix = parameter->suffix;
        weight->rank = parameter->rank;
        weight->dims = parameter->dims;
        weight->count = parameter->count;
        const size_t bytes = strlen(owner) + strlen(parameter->suffix) + 2;
        TRY(memory_allocate(&weight->name, bytes, 1, "a name", error));
        snprintf(weight->name, bytes, "%s.%s", owner, parameter->suffix);
        TRY(memory_allocate(&weight->values, weight->count, sizeof(float), "weights", error));
        parameter_export(parameter, parameter->trainable ? model->parameters : model->buffers,
                         weight->values);
    }
out:
    return status;
}

static enum activation activation_of(const struct layer *layer)
{
    const int found = find_name(layer->node->type->name, activation_names);
    return found >= 0 ? (enum activation)found : ACTIVATION_NONE;
}

bool layer_is_activation(const struct layer *layer)
{
    return activation_of(layer) != ACTIVATION_NONE;
}

/* What an activation's node says itself; an epilogue's is the layer's that it belongs to. */
static void take_activation(struct layer *layer)
{
    layer->activation = activation_of(layer);
    layer->alpha = activation_alpha(layer->activation);
    if (layer->activation == ACTIVATION_LEAKY_RELU)
        layer->alpha = (float)layer_number(layer, "slope");
    if (layer->activation == ACTIVATION_ELU)
        layer->alpha = (float)layer_number(layer, "alpha");
}

/* The layer of a declared node, once those of its inputs stand. */
static enum colonnade_status add_layer(struct network *network, int index,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct graph *graph = network->run->graph;
    const struct model *model = run_weights(network->run);
    const struct node *node = &graph->nodes[index];
    struct layer *layer = &network->layers[network->count];
    network->layer_of[index] = network->count++;
    layer->node = node;
    layer->out = node->declared;
    take_activation(layer);
    TRY(take_weights(layer, node->name, node, model, error));
    for (int i = 0; i < graph->count; i++) {
        const struct node *epilogue = &graph->nodes[i];
        if (i == index || epilogue->owner != index)
            continue;
        const struct epilogue *settings = epilogue->settings;
        layer->activation = settings->activation;
        layer->alpha = settings->alpha;
        TRY(take_weights(layer, node->name, epilogue, model, error));
    }
    if (index == 0)
        goto out;
    layer->in = network_input(network, layer, 0)->out;
    layer->vector = gives_vector(network, layer);
out:
    return status;
}

static bool is_ready(const struct network *network, const struct node *node)
{
    for (int i = 0; i < node->input_count; i++)
        if (network->layer_of[node->written[i]] < 0)
            return false;
    return true;
}

enum colonnade_status network_create(struct network **created, const struct run *run,
                                     struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct graph *graph = run->graph;
    struct network *network = NULL;
    *created = NULL;
    TRY(memory_allocate(&network, 1, sizeof *network, "a network", error));
    network->run = run;
    TRY(memory_allocate(&network->layers, (size_t)graph->declared_count + 1,
                        sizeof *network->layers, "layers", error));
    TRY(memory_allocate(&network->layer_of, (size_t)graph->count, sizeof *network->layer_of,
                        "layers", error));
    TRY(memory_allocate(&network->class_names, (size_t)run->data.classes,
                        sizeof *network->class_names, "class names", error));
    for (int i = 0; i < run->data.classes; i++)
        TRY(utf8_repair(&network->class_names[i], run->data.class_names[i], error));
    memset(network->layer_of, -1, (size_t)graph->count * sizeof *network->layer_of);
    TRY(add_layer(network, 0, error));
    /* The graph has no cycles, so every round places a layer; all lead to the one that gives the
     * logits, which is therefore placed last. */
    while (network->count <= graph->declared_count)
        for (int i = 0; i < graph->declared_count; i++) {
            const int index = graph->declared[i];
            if (network->layer_of[index] < 0 && is_ready(network, &graph->nodes[index]))
                TRY(add_layer(network, index, error));
        }
    *created = network;
    network = NULL;
out:
    network_destroy(network);
    return status;
}

void network_destroy(struct network *network)
{
    if (!network)
        return;
    for (int i = 0; network->layers && i < network->count; i++)
        for (int j = 0; j < network->layers[i].weight_count; j++) {
            free(network->layers[i].weights[j].name);
            free(network->layers[i].weights[j].values);
        }
    for (int i = 0; network->class_names && i < network->run->data.classes; i++)
        free(network->class_names[i]);
    free(network->class_names);
    free(network->layers);
    free(network->layer_of);
    free(network);
}

const struct weight *layer_weight(const struct layer *layer, const char *suffix)
{
    for (int i = 0; i < layer->weight_count; i++)
        if (strcmp(layer->weights[i].suffix, suffix) == 0)
            return &layer->weights[i];
    return NULL;
}

double layer_number(const struct layer *layer, const char *name)
{
    const struct node_type *type = layer->node->type;
    for (size_t i = 0; i < type->key_count; i++) {
        const struct key *key = &type->keys[i];
        if (strcmp(key->name, name) != 0)
            continue;
        const char *value = (const char *)layer->node->settings + key->offset;
        double number;
        int integer;
        switch (key->kind) {
        case KEY_NUMBER:
            memcpy(&number, value, sizeof number);
            return number;
        case KEY_BOOLEAN:
            return *(const bool *)value;
        default:
            memcpy(&integer, value, sizeof integer);
            return integer;
        }
    }
    return NAN;
}

const struct window *layer_window(const struct layer *layer)
{
    if (strcmp(layer->node->type->name, "conv") == 0)
        return &((const struct convolution *)layer->node->lowered)->window;
    return layer->node->lowered;
}

static int overhang(int in, int before, int after, int kernel, int stride, int out)
{
    const int over = (out - 1) * stride + kernel - (in + before + after);
    return over > 0 ? over : 0;
}

struct overhang window_overhang(const struct window *w)
{
    return (struct overhang){overhang(w->ih, w->pt, w->pb, w->kh, w->sh, w->oh),
                             overhang(w->iw, w->pl, w->pr, w->kw, w->sw, w->ow)};
}

void window_corrections(const struct window *w, float *factors)
{
    const struct overhang over = window_overhang(w);
    for (int y = 0; y < w->oh; y++)
        for (int x = 0; x < w->ow; x++) {
            const int rows = w->kh - (y == w->oh - 1 ? over.h : 0);
            const int columns = w->kw - (x == w->ow - 1 ? over.w : 0);
            *factors++ = (float)(w->kh * w->kw) / (float)(rows * columns);
        }
}

struct normalization network_normalization(const struct network *network, int channel)
{
    const struct data_facts *data = &network->run->data;
    return (struct normalization){(float)(255.0 * (double)data->mean[channel]),
                                  (float)(255.0 * (double)data->std[channel])};
}

/* The data's pixels are whole numbers; what the network got of them was rounded. */
enum colonnade_status network_golden_pixels(const struct network *network, float **pixels,
                                            struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct golden *golden = &network->run->golden;
    const struct data_facts *data = &network->run->data;
    const size_t plane = (size_t)shape_pixels(data->shape), channels = (size_t)data->shape.c;
    const size_t count = (size_t)golden->n * channels * plane;
    TRY(memory_allocate(pixels, count, sizeof **pixels, "the golden inputs", error));
    for (size_t i = 0; i < count; i++) {
        const size_t channel = i / plane % channels;
        const double mean = (double)data->mean[channel], std = (double)data->std[channel];
        (*pixels)[i] = (float)nearbyint(255.0 * ((double)golden->input[i] * std + mean));
    }
out:
    return status;
}
