/* Mini-batches of a part of a dataset, in the order of an epoch. Knows neither where the images
 * came from nor what is done with them.
 */
#include "engine/base/memory.h"
#include "engine/data/dataset.h"
#include "engine/data/feed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct sampler {
    const struct dataset *data;
    const struct split *split;
    const uint32_t *stored; /* [count] the part's samples; NULL: all of the split */
    bool shuffle;
    size_t count, size; /* samples, and of them in a full batch */
    size_t image_bytes;
    uint32_t *order;        /* [count] */
    const uint8_t **images; /* [size] of the batch, with its labels */
    int32_t *labels;        /* [size] */
    float *scale, *shift;   /* [c] */
    struct feed *feed;      /* NULL: the images are in memory */
    struct batch batch;
};

static void choose_part(struct sampler *sampler, enum part part)
{
    const struct dataset *data = sampler->data;
    switch (part) {
    case PART_TRAINING:
        sampler->split = &data->train;
        sampler->stored = data->training;
        sampler->count = data->training_count;
        sampler->shuffle = data->shuffle;
        break;
    case PART_VALIDATION:
        sampler->split = &data->train;
        sampler->stored = data->validation;
        sampler->count = data->validation_count;
        break;
    case PART_TEST:
        sampler->split = &data->test;
        sampler->count = data->test.count;
        break;
    }
}

/* (byte / 255 - mean) / std, as byte * scale + shift */
static enum colonnade_status set_scale(struct sampler *sampler, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct dataset *data = sampler->data;
    const size_t c = (size_t)data->c;
    TRY(memory_allocate(&sampler->scale, c, sizeof *sampler->scale, "the scale", error));
    TRY(memory_allocate(&sampler->shift, c, sizeof *sampler->shift, "the shift", error));
    for (size_t i = 0; i < c; i++) {
        sampler->scale[i] = (float)(1.0 / (255.0 * (double)data->std[i]));
        sampler->shift[i] = (float)(-(double)data->mean[i] / (double)data->std[i]);
    }
out:
    return status;
}

enum colonnade_status sampler_create(struct sampler **result, const struct dataset *data,
                                     enum part part, int batch, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct sampler *sampler = NULL;
    assert(batch >= 1);
    TRY(memory_allocate(&sampler, 1, sizeof *sampler, "a sampler", error));
    sampler->data = data;
    choose_part(sampler, part);
    sampler->size = (size_t)batch;
    sampler->image_bytes = dataset_image_bytes(data);
    TRY(memory_allocate(&sampler->order, sampler->count, sizeof *sampler->order,
                        "the order of an epoch", error));
    TRY(memory_allocate(&sampler->images, sampler->size, sizeof *sampler->images,
                        "a batch's images", error));
    TRY(memory_allocate(&sampler->labels, sampler->size, sizeof *sampler->labels,
                        "a batch's labels", error));
    TRY(set_scale(sampler, error));
    if (!sampler->split->images && sampler->count > 0)
        TRY(feed_create(&sampler->feed, data, sampler->split, sampler->size, error));
    *result = sampler;
out:
    if (status != COLONNADE_OK)
        sampler_destroy(sampler);
    return status;
}

void sampler_destroy(struct sampler *sampler)
{
    if (!sampler)
        return;
    feed_destroy(sampler->feed);
    free(sampler->order);
    free(sampler->images);
    free(sampler->labels);
    free(sampler->scale);
    free(sampler->shift);
    free(sampler);
}

size_t sampler_samples(const struct sampler *sampler)
{
    return sampler->count;
}

size_t sampler_batches(const struct sampler *sampler)
{
    return sampler->count / sampler->size + (sampler->count % sampler->size > 0);
}

size_t sampler_bytes(const struct sampler *sampler)
{
    return sizeof *sampler + sampler->count * sizeof *sampler->order +
           sampler->size * (sizeof *sampler->images + sizeof *sampler->labels) +
           2 * (size_t)sampler->data->c * sizeof *sampler->scale +
           (sampler->feed ? feed_bytes(sampler->feed) : 0);
}

double sampler_wait_seconds(const struct sampler *sampler)
{
    return sampler->feed ? feed_wait_seconds(sampler->feed) : 0;
}

void sampler_begin(struct sampler *sampler, uint32_t epoch, size_t first)
{
    if (sampler->feed)
        feed_stop(sampler->feed);
    for (size_t i = 0; i < sampler->count; i++)
        sampler->order[i] = sampler->stored ? sampler->stored[i] : (uint32_t)i;
    if (sampler->shuffle)
        random_shuffle((struct random_stream){.seed = sampler->data->seed,
                                              .purpose = RANDOM_SHUFFLE,
                                              .epoch = epoch},
                       sampler->order, sampler->count);
    if (sampler->feed)
        feed_begin(sampler->feed, sampler->order, sampler->count, first);
    sampler->batch.epoch = epoch;
}

enum colonnade_status sampler_batch(struct sampler *sampler, size_t index,
                                    const struct batch **batch, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    assert(index < sampler_batches(sampler));
    const size_t from = index * sampler->size, left = sampler->count - from;
    const size_t n = left < sampler->size ? left : sampler->size;
    const uint32_t *samples = sampler->order + from;
    const uint8_t *pixels = NULL; /* of the batch, side by side, where they were read for it */
    if (sampler->feed)
        TRY(feed_batch(sampler->feed, index, &pixels, error));
    for (size_t i = 0; i < n; i++) {
        sampler->images[i] = pixels ? pixels + i * sampler->image_bytes
                                    : sampler->split->images + samples[i] * sampler->image_bytes;
        sampler->labels[i] = sampler->split->labels[samples[i]];
    }
    sampler->batch.n = (int)n;
    sampler->batch.images = sampler->images;
    sampler->batch.scale = sampler->scale;
    sampler->batch.shift = sampler->shift;
    sampler->batch.labels = sampler->labels;
    sampler->batch.samples = samples;
    *batch = &sampler->batch;
out:
    return status;
}
