/* Which of a network's mistakes on the test split are kept with their images: enough to see what is
 * hard for each class, and no more than a run file should carry. The choice depends on the verdicts
 * alone.
 */
#include "engine/train/worst.h"

#include "engine/base/memory.h"
#include "engine/train/samples.h"

#include <stdlib.h>
#include <string.h>

enum { WORST_MOST = 240, OVERALL = 24, A_CLASS = 8 };

/* A mistake and where it stands among others: all, those of its class, those of its pair. */
struct candidate {
    struct worst_image image;
    size_t place, class_place, pair_place;
};

size_t worst_count(struct shape shape, size_t most)
{
    return samples_that_fit(shape, most < WORST_MOST ? most : WORST_MOST);
}

void worst_finish(struct worst *worst)
{
    for (size_t i = 0; worst->files && i < worst->n; i++)
        free(worst->files[i]);
    free(worst->files);
    free(worst->records);
    free(worst->pixels);
    *worst = (struct worst){0};
}

static int compare_losses(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->image.loss != y->image.loss)
        return x->image.loss < y->image.loss ? 1 : -1;
    return x->image.sample < y->image.sample ? -1 : 1;
}

static int compare_places(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->place < y->place ? -1 : 1;
}

static int compare_pairs(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->image.actual != y->image.actual)
        return x->image.actual - y->image.actual;
    if (x->image.predicted != y->image.predicted)
        return x->image.predicted - y->image.predicted;
    return compare_places(a, b);
}

static int compare_classes(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->image.actual != y->image.actual ? x->image.actual - y->image.actual
                                              : compare_places(a, b);
}

/* Whose turn it is: the lower, the sooner. */
static size_t turn(const struct candidate *candidate)
{
    if (candidate->place < OVERALL)
        return 0;
    if (candidate->class_place < A_CLASS)
        return 1 + candidate->class_place;
    return 1 + A_CLASS + candidate->pair_place;
}

static int compare_turns(const void *a, const void *b)
{
    const size_t x = turn(a), y = turn(b);
    return x != y ? (x < y ? -1 : 1) : compare_places(a, b);
}

/* Leaves the `kept` that are to be kept in front, the worst first. */
static void choose(struct candidate *candidates, size_t count, size_t kept)
{
    qsort(candidates, count, sizeof *candidates, compare_losses);
    for (size_t i = 0; i < count; i++)
        candidates[i].place = i;
    qsort(candidates, count, sizeof *candidates, compare_classes);
    for (size_t i = 0; i < count; i++)
        candidates[i].class_place =
            i > 0 && candidates[i].image.actual == candidates[i - 1].image.actual
                ? candidates[i - 1].class_place + 1
                : 0;
    qsort(candidates, count, sizeof *candidates, compare_pairs);
    for (size_t i = 0; i < count; i++)
        candidates[i].pair_place =
            i > 0 && candidates[i].image.actual == candidates[i - 1].image.actual &&
                    candidates[i].image.predicted == candidates[i - 1].image.predicted
                ? candidates[i - 1].pair_place + 1
                : 0;
    qsort(candidates, count, sizeof *candidates, compare_turns);
    qsort(candidates, kept, sizeof *candidates, compare_places);
}

static size_t find_mistakes(const struct split *test, const struct verdict *verdicts,
                            struct candidate *candidates)
{
    size_t count = 0;
    for (size_t i = 0; i < test->count; i++)
        if (verdicts[i].predicted != test->labels[i])
            candidates[count++] = (struct candidate){
                .image = {.sample = (long)i,
                          .actual = test->labels[i],
                          .predicted = verdicts[i].predicted,
                          .loss = verdicts[i].loss,
                          .probability = verdicts[i].probability},
            };
    return count;
}

enum colonnade_status worst_take(struct worst *worst, const struct run *run,
                                 const struct dataset *data, const struct verdict *verdicts,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct split *test = &data->test;
    const size_t size = shape_size(run->data.shape);
    struct candidate *candidates = NULL;
    struct worst made = {0};
    uint8_t *buffer = NULL;
    TRY(memory_allocate(&candidates, test->count, sizeof *candidates, "mistakes", error));
    const size_t count = find_mistakes(test, verdicts, candidates);
    const size_t n = worst_count(run->data.shape, count);
    choose(candidates, count, n);
    TRY(memory_allocate(&made.records, n, sizeof *made.records, "mistakes", error));
    TRY(memory_allocate(&made.pixels, n, size, "mistakes", error));
    if (test->files)
        TRY(memory_allocate(&made.files, n, sizeof *made.files, "names of files", error));
    made.n = n;
    TRY(memory_allocate(&buffer, size, 1, "an image", error));
    for (size_t i = 0; i < n; i++) {
        const size_t sample = (size_t)candidates[i].image.sample;
        const uint8_t *image;
        made.records[i] = candidates[i].image;
        TRY(dataset_image(data, test, sample, buffer, &image, error));
        memcpy(made.pixels + i * size, image, size);
        if (test->files)
            TRY(memory_copy_text(&made.files[i], test->files[sample], error));
    }
    worst_finish(worst);
    *worst = made;
    made = (struct worst){0};
out:
    worst_finish(&made);
    free(candidates);
    free(buffer);
    return status;
}
