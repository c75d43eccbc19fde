/* A run's outputs for given images, without labels or a dataset. */
#include "engine/base/memory.h"
#include "engine/plan/plan.h"
#include "engine/train/train.h"
#include "engine/train/views.h"

#include <math.h>
#include <stdlib.h>

enum {
    INFER_BATCH = 64
}; /* images at a time, at the most: a number of its own, so that n alone
    * decides how the work is cut */

/* A plan, and the batches that it is given. */
struct inference {
    const struct run *run;
    struct plan *plan;
    size_t most; /* images a batch */
    size_t n;    /* images in all */
};

static enum colonnade_status inference_init(struct inference *inference, const struct run *run,
                                            size_t n, int threads, struct colonnade_error *error)
{
    size_t most = n < INFER_BATCH ? n : INFER_BATCH;
    *inference = (struct inference){.run = run, .most = most, .n = n};
    return plan_create(&inference->plan, run->graph, PLAN_INFERENCE, (int)most, threads, NULL,
                       error);
}

static size_t batch_size(const struct inference *inference, size_t first)
{
    size_t left = inference->n - first;
    return left < inference->most ? left : inference->most;
}

/* Runs a batch whose images are all in `batch`, into logits [batch->n, classes]. */
static void infer_batch(const struct inference *inference, const struct batch *batch, enum tta tta,
                        float *logits)
{
    const struct run *run = inference->run;
    views_run(inference->plan, run_weights(run), batch, run->settings.seed, tta, logits);
}

enum colonnade_status infer(const struct run *run, size_t n, const float *input, int threads,
                            float *logits, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t image = shape_size(run->data.shape), row = (size_t)run->graph->classes;
    struct inference inference = {0};
    if (n == 0)
        goto out;
    TRY(inference_init(&inference, run, n, threads, error));
    for (size_t first = 0; first < n; first += inference.most) {
        const struct batch batch = {
            .n = (int)batch_size(&inference, first),
            .values = input + first * image,
        };
        infer_batch(&inference, &batch, TTA_NONE, logits + first * row);
    }
out:
    plan_destroy(inference.plan);
    return status;
}

/* (byte / 255 - mean) / std as byte * scale + shift: scale [c], then shift [c]. The caller frees
 * them. */
static enum colonnade_status pixel_scale(float **scale, const struct data_facts *facts,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    size_t c = (size_t)facts->shape.c;
    TRY(memory_allocate(scale, 2 * c, sizeof **scale, "the scale of pixels", error));
    for (size_t i = 0; i < c; i++) {
        double mean = facts->mean[i], std = facts->std[i];
        (*scale)[i] = (float)(1 / (255 * std));
        (*scale)[c + i] = (float)(-mean / std);
    }
out:
    return status;
}

enum colonnade_status normalize(const struct data_facts *facts, size_t n, const uint8_t *images,
                                float *values, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct extent extent = {facts->shape.c, shape_pixels(facts->shape), LAYOUT_NCHW};
    const size_t image = shape_size(facts->shape);
    float *scale = NULL;
    TRY(pixel_scale(&scale, facts, error));
    for (size_t i = 0; i < n; i++)
        kernels_best()->pixels_normalize(extent, images + i * image, scale, scale + extent.c,
                                         values + i * image);
out:
    free(scale);
    return status;
}

static bool all_finite(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

enum colonnade_status predict(const struct run *run, size_t n, const uint8_t *images, int threads,
                              float *probabilities, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct extent row = {run->graph->classes, 1, LAYOUT_NHWC};
    const size_t image = shape_size(run->data.shape);
    const uint8_t *pointers[INFER_BATCH];
    struct inference inference = {0};
    float *scale = NULL;
    const enum tta tta = dataset_tta(run->config);
    if (n == 0)
        goto out;
    TRY(pixel_scale(&scale, &run->data, error));
    TRY(inference_init(&inference, run, n, threads, error));
    for (size_t first = 0; first < n; first += inference.most) {
        const struct batch batch = {
            .n = (int)batch_size(&inference, first),
            .images = pointers,
            .scale = scale,
            .shift = scale + run->data.shape.c,
        };
        for (size_t i = 0; i < (size_t)batch.n; i++)
            pointers[i] = images + (first + i) * image;
        float *rows = probabilities + first * (size_t)row.c;
        infer_batch(&inference, &batch, tta, rows);
        kernels_best()->softmax_forward(row, batch.n, rows, rows);
        if (!all_finite(rows, (size_t)batch.n * (size_t)row.c))
            RAISE(COLONNADE_FAILURE, "the network gives numbers that are not finite: its training "
                                     "has diverged, or its weights are too large");
    }
out:
    plan_destroy(inference.plan);
    free(scale);
    return status;
}
