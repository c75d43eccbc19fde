/* A sheet of training images as the network sees them: what the input node makes of the first
 * images of a mini-batch, [augment] included, turned back into bytes. For people to look at.
 */
#include "engine/train/samples.h"

#include "engine/base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES_MOST = 32, ROOM_BYTES = 2 << 20, FEW = 4, LARGEST_BYTES = 16 << 20 };

size_t samples_that_fit(struct shape shape, size_t most)
{
    const size_t size = shape_size(shape);
    size_t room = ROOM_BYTES / size;
    if (room < FEW)
        room = size <= LARGEST_BYTES ? FEW : 0;
    return most < room ? most : room;
}

size_t samples_count(struct shape shape, size_t most)
{
    return samples_that_fit(shape, most < SAMPLES_MOST ? most : SAMPLES_MOST);
}

void samples_finish(struct samples *samples)
{
    free(samples->images);
    free(samples->labels);
    *samples = (struct samples){0};
}

void samples_bytes(const struct data_facts *facts, enum layout layout, const float *values,
                   uint8_t *bytes)
{
    const int c = facts->shape.c, pixels = shape_pixels(facts->shape);
    const bool planes = layout == LAYOUT_NCHW;
    for (int i = 0; i < pixels; i++)
        for (int j = 0; j < c; j++) {
            const double value = (double)values[planes ? j * pixels + i : i * c + j];
            const double byte = 255 * (value * (double)facts->std[j] + (double)facts->mean[j]);
            *bytes++ = (uint8_t)lround(fmin(fmax(byte, 0), 255));
        }
}

enum colonnade_status samples_take(struct samples *samples, const struct run *run,
                                   const struct batch *batch, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct node *input = &run->graph->nodes[0];
    const size_t size = shape_size(input->out);
    const size_t n = samples_count(input->out, (size_t)batch->n);
    struct node_plan wants = {0};
    struct samples made = {.n = (int)n};
    float *values = NULL, *scratch = NULL;
    if (input->type->plan)
        input->type->plan(input, &wants);
    TRY(memory_allocate(&values, n, size * sizeof *values, "samples", error));
    TRY(memory_allocate(&scratch, wants.scratch, sizeof *scratch, "samples", error));
    TRY(memory_allocate(&made.images, n, size, "samples", error));
    TRY(memory_allocate(&made.labels, n, sizeof *made.labels, "samples", error));
    const struct tile tile = {
        .kernels = kernels_best(),
        .n = (int)n,
        .training = true,
        .y = values,
        .scratch = scratch,
        .batch = batch,
        .seed = run->settings.seed,
        .step = (uint32_t)run->progress.step,
    };
    input->type->forward(input, &tile);
    for (size_t i = 0; i < n; i++)
        samples_bytes(&run->data, input->out_layout, values + i * size, made.images + i * size);
    memcpy(made.labels, batch->labels, n * sizeof *made.labels);
    samples_finish(samples);
    *samples = made;
    made = (struct samples){0};
out:
    samples_finish(&made);
    free(values);
    free(scratch);
    return status;
}
