/* A graph's weights: drawing the first ones, and their order in memory against that of files. */
#include "engine/base/memory.h"
#include "engine/base/random.h"
#include "engine/graph/graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Calls visit(context, place, values) for each run of the last extent in row-major order of the
 * parameter's dims: `place` is where the run begins in memory, `values` where in row-major order.
 */
static void for_each_run(const struct parameter *parameter,
                         void (*visit)(const struct parameter *parameter, size_t place,
                                       size_t first, void *context),
                         void *context)
{
    size_t index[PARAMETER_RANK] = {0}, place = parameter->offset;
    size_t run = (size_t)parameter->extents[PARAMETER_RANK - 1];
    for (size_t first = 0; first < parameter->count; first += run) {
        visit(parameter, place, first, context);
        for (int i = PARAMETER_RANK - 2; i >= 0; i--) {
            place += parameter->strides[i];
            if (++index[i] < (size_t)parameter->extents[i])
                break;
            place -= index[i] * parameter->strides[i];
            index[i] = 0;
        }
    }
}

/* Two arrays of the same numbers: the model's, and in row-major order. */
struct copy {
    const float *from;
    float *to;
};

static void export_run(const struct parameter *parameter, size_t place, size_t first, void *context)
{
    const struct copy *copy = context;
    size_t stride = parameter->strides[PARAMETER_RANK - 1];
    for (int i = 0; i < parameter->extents[PARAMETER_RANK - 1]; i++)
        copy->to[first + (size_t)i] = copy->from[place + (size_t)i * stride];
}

static void import_run(const struct parameter *parameter, size_t place, size_t first, void *context)
{
    const struct copy *copy = context;
    size_t stride = parameter->strides[PARAMETER_RANK - 1];
    for (int i = 0; i < parameter->extents[PARAMETER_RANK - 1]; i++)
        copy->to[place + (size_t)i * stride] = copy->from[first + (size_t)i];
}

void parameter_export(const struct parameter *parameter, const float *array, float *values)
{
    for_each_run(parameter, export_run, &(struct copy){array, values});
}

void parameter_import(const struct parameter *parameter, const float *values, float *array)
{
    for_each_run(parameter, import_run, &(struct copy){values, array});
}

/* How a parameter's first values are drawn. */
struct drawing {
    struct random_stream stream;
    enum { DRAW_CONSTANT, DRAW_NORMAL, DRAW_UNIFORM } kind;
    float scale;     /* deviation, bound, or the constant itself */
    float values[4]; /* of the block under way */
    float *array;
};

/* Four values from one block of random numbers: Box-Muller for the normal ones. Single precision
 * is enough for weights, and a large network has ten million. */
static void draw_block(struct drawing *d)
{
    uint32_t draws[4];
    random_next4(&d->stream, draws);
    for (int i = 0; i < 4; i += 2) {
        float a = ((float)(draws[i] >> 8) + 0.5f) * 0x1p-24f;
        float b = ((float)(draws[i + 1] >> 8) + 0.5f) * 0x1p-24f;
        if (d->kind == DRAW_NORMAL) {
            float radius = d->scale * sqrtf(-2.0f * logf(a)), angle = 6.2831853f * b;
            d->values[i] = radius * cosf(angle);
            d->values[i + 1] = radius * sinf(angle);
        } else {
            d->values[i] = d->scale * (2.0f * a - 1.0f);
            d->values[i + 1] = d->scale * (2.0f * b - 1.0f);
        }
    }
}

static void draw_run(const struct parameter *parameter, size_t place, size_t first, void *context)
{
    struct drawing *d = context;
    for (int i = 0; i < parameter->extents[PARAMETER_RANK - 1]; i++) {
        size_t index = first + (size_t)i;
        if (d->kind != DRAW_CONSTANT && index % 4 == 0)
            draw_block(d);
        d->array[place + (size_t)i * parameter->strides[PARAMETER_RANK - 1]] =
            d->kind == DRAW_CONSTANT ? d->scale : d->values[index % 4];
    }
}

/* Sets output i of each group to input i: of a convolution's filter the middle tap, which is at
 * half of an even side (as torch.nn.init.dirac_ has it). */
static void pass_run(const struct parameter *parameter, size_t place, size_t first, void *context)
{
    float *array = context;
    const int *dims = parameter->dims;
    const int height = parameter->rank == 4 ? dims[2] : 1,
              width = parameter->rank == 4 ? dims[3] : 1;
    const size_t taps = (size_t)height * (size_t)width;
    const size_t middle = (size_t)(height / 2) * (size_t)width + (size_t)(width / 2);
    const size_t inputs = (size_t)dims[1], outputs = (size_t)(dims[0] / parameter->groups);
    for (int i = 0; i < parameter->extents[PARAMETER_RANK - 1]; i++) {
        const size_t index = first + (size_t)i, input = index / taps % inputs;
        const size_t output = index / taps / inputs % outputs;
        if (output < inputs)
            array[place + (size_t)i * parameter->strides[PARAMETER_RANK - 1]] =
                input == output && index % taps == middle;
    }
}

static void initialize(const struct node *node, const struct parameter *parameter, uint64_t seed,
                       float *array)
{
    char name[256];
    snprintf(name, sizeof name, "%s.%s", node->name, parameter->suffix);
    double in = (double)parameter->fan_in, out = (double)parameter->fan_out, scale = 0.0;
    struct drawing drawing = {
        .stream = {.seed = seed, .purpose = random_purpose(RANDOM_WEIGHTS, name)},
        .kind = DRAW_UNIFORM,
        .array = array,
    };
    switch (parameter->initializer) {
    case INIT_HE:
        drawing.kind = DRAW_NORMAL;
        scale = sqrt(2.0 / in);
        break;
    case INIT_LECUN:
        drawing.kind = DRAW_NORMAL;
        scale = sqrt(1.0 / in);
        break;
    case INIT_XAVIER:
        scale = sqrt(6.0 / (in + out));
        break;
    case INIT_UNIFORM:
    case INIT_DIRAC:
        scale = sqrt(1.0 / in);
        break;
    case INIT_ZERO:
    case INIT_CONSTANT:
        drawing.kind = DRAW_CONSTANT;
        scale = parameter->constant;
        break;
    }
    drawing.scale = (float)scale;
    for_each_run(parameter, draw_run, &drawing);
    if (parameter->initializer == INIT_DIRAC)
        for_each_run(parameter, pass_run, array);
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

void model_copy(struct model *to, const struct model *from)
{
    memcpy(to->parameters, from->parameters, to->graph->parameter_length * sizeof(float));
    memcpy(to->buffers, from->buffers, to->graph->buffer_length * sizeof(float));
}

void model_destroy(struct model *model)
{
    if (!model)
        return;
    free(model->parameters);
    free(model->buffers);
    free(model);
}
