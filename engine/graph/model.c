/* A graph's weights: drawing the first ones, and their order in memory against that of files. */
#include "engine/base/memory.h"
#include "engine/base/random.h"
#include "engine/graph/graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Calls for each element in row-major order of the parameter's dims: its index there, and where it
 * lies in memory. */
#define FOR_EACH_ELEMENT(parameter, index, place)                                                  \
    for (size_t index = 0, place; index < (parameter)->count &&                                    \
                                  ((place) = element_place((parameter), index), true);             \
         index++)

static size_t element_place(const struct parameter *parameter, size_t index)
{
    size_t place = parameter->offset;
    for (int i = PARAMETER_RANK - 1; i >= 0; i--) {
        size_t extent = (size_t)parameter->extents[i];
        place += index % extent * parameter->strides[i];
        index /= extent;
    }
    return place;
}

void parameter_export(const struct parameter *parameter, const float *array, float *values)
{
    FOR_EACH_ELEMENT(parameter, i, place)
        values[i] = array[place];
}

void parameter_import(const struct parameter *parameter, const float *values, float *array)
{
    FOR_EACH_ELEMENT(parameter, i, place)
        array[place] = values[i];
}

/* Four draws of the wanted distribution from one block of random numbers. */
static void draw4(struct random_stream *stream, bool normal, double scale, float values[4])
{
    uint32_t draws[4];
    random_next4(stream, draws);
    for (int i = 0; i < 4; i += 2) {
        double a = ((double)draws[i] + 0.5) * 0x1p-32, b = ((double)draws[i + 1] + 0.5) * 0x1p-32;
        if (normal) { /* Box-Muller */
            double radius = scale * sqrt(-2.0 * log(a)), angle = 6.283185307179586 * b;
            values[i] = (float)(radius * cos(angle));
            values[i + 1] = (float)(radius * sin(angle));
        } else {
            values[i] = (float)(scale * (2.0 * a - 1.0));
            values[i + 1] = (float)(scale * (2.0 * b - 1.0));
        }
    }
}

static void initialize(const struct node *node, const struct parameter *parameter, uint64_t seed,
                       float *array)
{
    char name[256];
    snprintf(name, sizeof name, "%s.%s", node->name, parameter->suffix);
    struct random_stream stream = {.seed = seed, .purpose = random_purpose(RANDOM_WEIGHTS, name)};
    double in = (double)parameter->fan_in, out = (double)parameter->fan_out, scale = 0.0;
    bool normal = false, drawn = true;
    switch (parameter->initializer) {
    case INIT_HE:
        normal = true;
        scale = sqrt(2.0 / in);
        break;
    case INIT_LECUN:
        normal = true;
        scale = sqrt(1.0 / in);
        break;
    case INIT_XAVIER:
        scale = sqrt(6.0 / (in + out));
        break;
    case INIT_UNIFORM:
        scale = sqrt(1.0 / in);
        break;
    case INIT_ZERO:
    case INIT_CONSTANT:
        drawn = false;
        break;
    }
    float values[4] = {0};
    float constant = parameter->initializer == INIT_CONSTANT ? (float)parameter->constant : 0.0f;
    FOR_EACH_ELEMENT(parameter, i, place) {
        if (drawn && i % 4 == 0)
            draw4(&stream, normal, scale, values);
        array[place] = drawn ? values[i % 4] : constant;
    }
}

enum colonnade_status model_create(struct model **created, const struct graph *graph, uint64_t seed,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct model *model = NULL;
    *created = NULL;
    TRY(memory_allocate(&model, 1, sizeof *model, "a model", error));
    model->graph = graph;
    TRY(memory_allocate(&model->parameters, graph->parameter_length, sizeof(float), "weights",
                        error));
    TRY(memory_allocate(&model->buffers, graph->buffer_length, sizeof(float), "statistics", error));
    for (int i = 0; i < graph->count; i++)
        for (int j = 0; j < graph->nodes[i].parameter_count; j++) {
            const struct parameter *parameter = &graph->nodes[i].parameters[j];
            initialize(&graph->nodes[i], parameter, seed,
                       parameter->trainable ? model->parameters : model->buffers);
        }
    *created = model;
    model = NULL;
out:
    model_destroy(model);
    return status;
}

void model_destroy(struct model *model)
{
    if (!model)
        return;
    free(model->parameters);
    free(model->buffers);
    free(model);
}
