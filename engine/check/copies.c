/* Which images are copies of others, to the pixel or nearly. Knows no files and no classes' names.
 *
 * Candidates are found by a difference hash (Neal Krawetz, "Kind of Like That", The Hacker Factor
 * Blog, January 2013): of a grey image shrunken to 9x8, each bit says whether a cell is brighter
 * than its left neighbour. Here it has to be brighter by MARGIN, or noise decides in flat regions,
 * and a digit on black would be flat for the most part. What differs in at most HASH_BITS bits is
 * held against each other: the correlation of thumbnails, which brightness and contrast leave as it
 * is. Distinct pictures that are alike, as two digits 1 are, reach 0.99; copies that were
 * compressed again, resized or brightened stay above LIKENESS.
 */
#include "engine/check/parts.h"

#include "engine/base/memory.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GRID_HEIGHT = 8, GRID_WIDTH = 9, HASH_BITS = 6, SLOTS = 6 };

/* Images and originals at a time. */
enum { IMAGES = 64, TILE = 2048 };

static const float margin = 4;              /* in grey levels of 0 to 255 */
static const double likeness_least = 0.996; /* measured: docs/check.md */
static const double deviation_least = 2;    /* in grey levels: below, rounding decides */

/* --- fingerprints --- */

/* The mean of values[from, to) * stride, whose ends may lie within an element. */
static float span(const float *values, size_t stride, double from, double to)
{
    double sum = 0;
    for (size_t i = (size_t)from; (double)i < to; i++) {
        const double first = from > (double)i ? from : (double)i;
        const double last = to < (double)(i + 1) ? to : (double)(i + 1);
        sum += (last - first) * (double)values[i * stride];
    }
    return (float)(sum / (to - from));
}

/* The luma of ITU-R BT.601 of RGB; else the channels' mean. */
static float grey(const uint8_t *pixel, int c)
{
    if (c == 1)
        return pixel[0];
    if (c == 3)
        return 0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2];
    uint32_t sum = 0;
    for (int i = 0; i < c; i++)
        sum += pixel[i];
    return (float)sum / (float)c;
}

size_t fingerprint_scratch(int h, int w)
{
    return (size_t)w + (size_t)h * THUMBNAIL_WIDTH;
}

/* Means over areas: columns first, row by row. */
static void shrink(const uint8_t *pixels, int h, int w, int c, float *scratch,
                   float thumbnail[THUMBNAIL])
{
    float *row = scratch, *columns = scratch + w; /* columns [h, THUMBNAIL_WIDTH] */
    const double cell_width = (double)w / THUMBNAIL_WIDTH,
                 cell_height = (double)h / THUMBNAIL_HEIGHT;
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++)
            row[x] = grey(pixels + ((size_t)y * (size_t)w + (size_t)x) * (size_t)c, c);
        for (int i = 0; i < THUMBNAIL_WIDTH; i++)
            columns[y * THUMBNAIL_WIDTH + i] = span(row, 1, i * cell_width, (i + 1) * cell_width);
    }
    for (int i = 0; i < THUMBNAIL; i++) {
        const int y = i / THUMBNAIL_WIDTH, x = i % THUMBNAIL_WIDTH;
        thumbnail[i] = span(columns + x, THUMBNAIL_WIDTH, y * cell_height, (y + 1) * cell_height);
    }
}

static uint64_t difference_hash(const float thumbnail[THUMBNAIL])
{
    uint64_t hash = 0;
    for (int y = 0; y < GRID_HEIGHT; y++) {
        float left = 0;
        for (int x = 0; x < GRID_WIDTH; x++) {
            const float *block = thumbnail + 2 * y * THUMBNAIL_WIDTH + 2 * x;
            const float cell =
                (block[0] + block[1] + block[THUMBNAIL_WIDTH] + block[THUMBNAIL_WIDTH + 1]) / 4;
            if (x > 0)
                hash = hash << 1 | (cell > left + margin);
            left = cell;
        }
    }
    return hash;
}

/* FNV-1a with 64 bits. */
static uint64_t digest(const uint8_t *bytes, size_t count)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

void fingerprint_take(struct fingerprint *fingerprint, const uint8_t *pixels, int h, int w, int c,
                      float *scratch)
{
    float thumbnail[THUMBNAIL];
    uint64_t sum = 0, squares = 0;
    shrink(pixels, h, w, c, scratch, thumbnail);
    for (int i = 0; i < THUMBNAIL; i++) {
        const uint32_t level = (uint32_t)(thumbnail[i] + 0.5f);
        fingerprint->thumbnail[i] = (uint8_t)level;
        sum += level;
        squares += level * level;
    }
    fingerprint->sum = (uint32_t)sum;
    fingerprint->deviation = sqrt((double)(THUMBNAIL * squares - sum * sum));
    fingerprint->hash = difference_hash(thumbnail);
    fingerprint->digest = digest(pixels, (size_t)h * (size_t)w * (size_t)c);
}

/* --- comparing --- */

/* Correlation of the thumbnails; 0 where one has too little in it to tell. */
static double compare(const struct kernels *kernels, const struct fingerprint *a,
                      const struct fingerprint *b)
{
    const double least = deviation_least * THUMBNAIL;
    if (a->deviation < least || b->deviation < least)
        return 0;
    uint32_t dot;
    kernels->dot_bytes(THUMBNAIL, a->thumbnail, b->thumbnail, &dot);
    const int64_t covariance = (int64_t)THUMBNAIL * dot - (int64_t)a->sum * b->sum;
    return (double)covariance / (a->deviation * b->deviation);
}

static bool equal(const struct fingerprint *a, const struct fingerprint *b)
{
    return a->digest == b->digest && memcmp(a->thumbnail, b->thumbnail, THUMBNAIL) == 0;
}

/* The best original of each part, with the same label and with another. */
struct slot {
    uint32_t original;
    bool exact;
    float likeness; /* 0: none */
};

struct search {
    const struct check *check;
    const struct fingerprint *fingerprints;
    const struct kernels *kernels;
    uint64_t *hashes;   /* [count] */
    struct slot *slots; /* [count, SLOTS] */
};

static bool comparable(const struct check *check, size_t image)
{
    return !check->blank[image] && !check->unreadable[image];
}

static void consider(const struct search *search, size_t image, size_t original)
{
    const struct check *check = search->check;
    const struct fingerprint *a = &search->fingerprints[image];
    const struct fingerprint *b = &search->fingerprints[original];
    const bool exact = equal(a, b);
    const double likeness = exact ? 1 : compare(search->kernels, a, b);
    if (!exact && likeness < likeness_least)
        return;
    const bool same_label = check_label(check, image) == check_label(check, original);
    struct slot *slot =
        &search->slots[image * SLOTS + 2 * check_part(check, original) + (same_label ? 1 : 0)];
    if (exact > slot->exact || (exact == slot->exact && (float)likeness > slot->likeness))
        *slot = (struct slot){(uint32_t)original, exact, (float)likeness};
}

/* Among the originals [first, first + count), which come before the image. */
static void search_originals(const struct search *search, size_t image, size_t first, size_t count)
{
    uint32_t hits[TILE];
    size_t found;
    search->kernels->hamming_within(count, search->hashes + first, search->hashes[image], HASH_BITS,
                                    hits, &found);
    for (size_t i = 0; i < found; i++)
        if (comparable(search->check, first + hits[i]))
            consider(search, image, first + hits[i]);
}

/* Images [from, to) against all before them: each pair is looked at once. A tile of originals is
 * held against them all while it is in the cache. */
static void search_images(const struct search *search, size_t from, size_t to)
{
    for (size_t first = 0; first < to; first += TILE)
        for (size_t image = from; image < to; image++)
            if (image > first && comparable(search->check, image))
                search_originals(search, image, first, image - first < TILE ? image - first : TILE);
}

static enum colonnade_status collect(struct check *check, const struct slot *slots,
                                     struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    size_t count = 0;
    for (size_t i = 0; i < check->count * SLOTS; i++)
        count += slots[i].likeness > 0;
    TRY(memory_allocate(&check->copies, count, sizeof *check->copies, "copies of images", error));
    for (size_t i = 0; i < check->count * SLOTS; i++)
        if (slots[i].likeness > 0)
            check->copies[check->copy_count++] = (struct check_copy){
                i / SLOTS, slots[i].original, slots[i].exact, (double)slots[i].likeness};
out:
    return status;
}

enum colonnade_status copies_find(struct check *check, const struct fingerprint *fingerprints,
                                  int threads, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t count = check->count;
    struct search search = {check, fingerprints, kernels_best(), NULL, NULL};
    TRY(memory_allocate(&search.hashes, count, sizeof *search.hashes, "hashes of images", error));
    TRY(memory_allocate(&search.slots, size_multiply(count, SLOTS), sizeof *search.slots,
                        "originals of images", error));
    for (size_t i = 0; i < count; i++)
        search.hashes[i] = fingerprints[i].hash;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (size_t from = 0; from < count; from += IMAGES)
        search_images(&search, from, count - from < IMAGES ? count : from + IMAGES);
    TRY(collect(check, search.slots, error));
out:
    free(search.hashes);
    free(search.slots);
    return status;
}
