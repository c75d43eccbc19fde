/* Source synthetic: images made from the seed, to time and to test with; no file is read.
 *
 * An image is the mean of noise and of its class's pattern, random bytes on a grid of CELLS x
 * CELLS cells a channel: a network can tell the classes apart, before and after pooling. Image i
 * has class i modulo the number of classes. The test split has a quarter of `count` images.
 */
#include "engine/data/source.h"

#include "engine/base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { CELLS = 4, TEST_SHARE = 4 };

static void fill_noise(uint8_t *bytes, size_t count, struct random_stream stream)
{
    uint32_t draws[4];
    for (; count >= sizeof draws; bytes += sizeof draws, count -= sizeof draws) {
        random_next4(&stream, draws);
        memcpy(bytes, draws, sizeof draws);
    }
    random_next4(&stream, draws);
    memcpy(bytes, draws, count);
}

/* pattern: [CELLS, CELLS, c]; row: scratch [w, c] */
static void blend_pattern(uint8_t *image, const uint8_t *pattern, uint8_t *row, size_t h, size_t w,
                          size_t c)
{
    size_t cells_row = CELLS; /* of the pattern that `row` shows: none yet */
    for (size_t y = 0; y < h; y++, image += w * c) {
        if (cells_row != y * CELLS / h) {
            cells_row = y * CELLS / h;
            for (size_t x = 0; x < w; x++)
                memcpy(row + x * c, pattern + (cells_row * CELLS + x * CELLS / w) * c, c);
        }
        for (size_t i = 0; i < w * c; i++)
            image[i] = (uint8_t)((image[i] + row[i]) / 2);
    }
}

/* `number` of the split keeps the noise of train and test apart. */
static enum colonnade_status make_split(struct dataset *data, struct split *split, uint32_t number,
                                        uint64_t count, uint64_t limit,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t h = (size_t)data->h, w = (size_t)data->w, c = (size_t)data->c;
    const uint32_t pattern_purpose = random_purpose(RANDOM_SYNTHETIC, "pattern");
    uint8_t *pattern = NULL, *row = NULL;
    TRY(source_allocate_split(data, split, count, limit, "source = synthetic", error));
    TRY(memory_allocate(&pattern, CELLS * CELLS * c, 1, "a class's pattern", error));
    TRY(memory_allocate(&row, w * c, 1, "a row of an image", error));
    for (size_t i = 0; i < split->count; i++) {
        uint8_t *image = split->images + i * h * w * c;
        uint32_t label = (uint32_t)(i % (size_t)data->classes);
        fill_noise(image, h * w * c,
                   (struct random_stream){.seed = data->seed,
                                          .purpose = RANDOM_SYNTHETIC,
                                          .epoch = number,
                                          .sample = (uint32_t)i});
        fill_noise(pattern, CELLS * CELLS * c,
                   (struct random_stream){
                       .seed = data->seed, .purpose = pattern_purpose, .sample = label});
        blend_pattern(image, pattern, row, h, w, c);
        split->labels[i] = (int32_t)label;
    }
out:
    free(pattern);
    free(row);
    return status;
}

static enum colonnade_status open_synthetic(struct dataset *data,
                                            const struct data_settings *settings,
                                            enum data_wanted wanted, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    uint64_t test_count = (settings->count + TEST_SHARE - 1) / TEST_SHARE;
    data->c = settings->shape.c;
    data->h = settings->shape.h;
    data->w = settings->shape.w;
    data->classes = settings->classes;
    if (wanted >= DATA_TRAIN)
        TRY(make_split(data, &data->train, 0, settings->count, settings->limit_train, error));
    if (wanted >= DATA_TEST)
        TRY(make_split(data, &data->test, 1, test_count, settings->limit_test, error));
out:
    return status;
}

const struct source_type synthetic_source = {
    .name = "synthetic",
    .help = "images made from the seed: noise and a pattern that tells the class",
    .keys = (const char *const[]){"shape", "classes", "count", NULL},
    .seeded = true,
    .open = open_synthetic,
};
