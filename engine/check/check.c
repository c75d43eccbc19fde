/* Goes through the images once, takes what they are judged by, and counts what is found. What
 * copies and leaks are is in files of their own.
 */
#include "engine/check/parts.h"

#include "engine/base/memory.h"
#include "engine/data/image.h"

#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

const struct check_kind_type check_kinds[CHECK_KINDS] = {
    [CHECK_UNREADABLE] = {"unreadable", CHECK_ERROR},
    [CHECK_LABEL] = {"label_out_of_range", CHECK_ERROR},
    [CHECK_SAME_ACROSS] = {"same_in_train_and_test", CHECK_ERROR},
    [CHECK_NEAR_ACROSS] = {"near_in_train_and_test", CHECK_WARNING},
    [CHECK_SAME_HELD_BACK] = {"same_in_train_and_validation", CHECK_WARNING},
    [CHECK_NEAR_HELD_BACK] = {"near_in_train_and_validation", CHECK_WARNING},
    [CHECK_SAME_TWO_LABELS] = {"same_with_two_labels", CHECK_WARNING},
    [CHECK_NEAR_TWO_LABELS] = {"near_with_two_labels", CHECK_WARNING},
    [CHECK_DAMAGED] = {"damaged", CHECK_WARNING},
    [CHECK_FEW_LEVELS] = {"few_levels", CHECK_WARNING},
    [CHECK_BLANK] = {"blank", CHECK_WARNING},
    [CHECK_LEAK] = {"leak", CHECK_WARNING},
    [CHECK_TRANSPOSED] = {"transposed", CHECK_WARNING},
    [CHECK_CLASS_ABSENT] = {"class_absent", CHECK_WARNING},
    [CHECK_IMBALANCE] = {"imbalance", CHECK_WARNING},
    [CHECK_SAME] = {"same", CHECK_WARNING},
    [CHECK_NEAR] = {"near", CHECK_NOTE},
};

/* --- looking --- */

/* What a thread works with. */
struct workplace {
    float *scratch;
    uint8_t *pixels; /* [h, w, c], of a file */
};

static void finish_workplaces(struct workplace *workplaces, int threads)
{
    for (int i = 0; workplaces && i < threads; i++) {
        free(workplaces[i].scratch);
        free(workplaces[i].pixels);
    }
    free(workplaces);
}

static enum colonnade_status create_workplaces(struct workplace **workplaces,
                                               const struct dataset *data, int threads,
                                               struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t bytes = (size_t)data->h * (size_t)data->w * (size_t)data->c;
    TRY(memory_allocate(workplaces, (size_t)threads, sizeof **workplaces, "room to look at images",
                        error));
    for (int i = 0; i < threads; i++) {
        struct workplace *place = &(*workplaces)[i];
        TRY(memory_allocate(&place->scratch, fingerprint_scratch(data->h, data->w),
                            sizeof *place->scratch, "room to shrink an image", error));
        TRY(memory_allocate(&place->pixels, bytes, 1, "an image", error));
    }
out:
    return status;
}

/* No channel in which values are further apart than a camera's noise in the dark. */
static bool is_blank(const uint8_t *pixels, size_t count, size_t c)
{
    enum { APART_MOST = 3 };
    for (size_t channel = 0; channel < c; channel++) {
        int least = UINT8_MAX, most = 0;
        for (size_t i = 0; i < count; i++) {
            const int value = pixels[i * c + channel];
            least = value < least ? value : least;
            most = value > most ? value : most;
            if (most - least > APART_MOST)
                return false;
        }
    }
    return true;
}

/* Training reads damaged JPEGs as well as they can be read: so does this, and keeps what is wrong
 * with them. Where a file cannot be read at all `*readable` is false, and the reason is kept. */
static enum colonnade_status read_file(const struct check *check, size_t image,
                                       const struct image_target *target, uint8_t *pixels,
                                       bool *readable, struct colonnade_error *error)
{
    const char *file = check_file(check, image);
    struct image_facts *facts = &check->facts[image];
    struct colonnade_error damage, reason;
    *readable = true;
    if (image_read_strictly(file, target, pixels, facts, &damage) == COLONNADE_OK)
        return COLONNADE_OK;
    if (!image_is_bad(file, &damage))
        return error_set(error, damage.status, "%s", damage.message);
    *readable = image_read(file, target, pixels, facts, &reason) == COLONNADE_OK;
    if (!*readable && !image_is_bad(file, &reason))
        return error_set(error, reason.status, "%s", reason.message);
    return *readable ? memory_copy_text(&check->damaged[image], damage.message, error)
                     : memory_copy_text(&check->unreadable[image], reason.message, error);
}

/* The image's pixels; NULL where its file cannot be read. The whole image is looked at, whatever
 * part of it training would crop. */
static enum colonnade_status read_pixels(const struct check *check, size_t image,
                                         const struct workplace *place, const uint8_t **pixels,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct dataset *data = check->data;
    const size_t bytes = (size_t)data->h * (size_t)data->w * (size_t)data->c;
    const struct image_target target = {data->c, data->h, data->w, IMAGE_STRETCH};
    bool readable;
    *pixels = NULL;
    if (check_file(check, image)) {
        TRY(read_file(check, image, &target, place->pixels, &readable, error));
        *pixels = readable ? place->pixels : NULL;
    } else {
        *pixels = check_split(check, image)->images + check_index(check, image) * bytes;
    }
out:
    return status;
}

static enum colonnade_status look(const struct check *check, size_t image,
                                  const struct workplace *place, struct fingerprint *fingerprint,
                                  struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct dataset *data = check->data;
    const uint8_t *pixels;
    TRY(read_pixels(check, image, place, &pixels, error));
    if (!pixels)
        goto out;
    check->blank[image] = !check_few_levels(check, image) &&
                          is_blank(pixels, (size_t)data->h * (size_t)data->w, (size_t)data->c);
    fingerprint_take(fingerprint, pixels, data->h, data->w, data->c, place->scratch);
out:
    return status;
}

static enum colonnade_status look_at_all(struct check *check, struct fingerprint *fingerprints,
                                         int threads, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    static const char all[] = "train and test";
    struct workplace *workplaces = NULL;
    _Atomic size_t begun = 0;
    TRY(create_workplaces(&workplaces, check->data, threads, error));
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16)
    for (size_t i = 0; i < check->count; i++) {
        struct colonnade_error failure;
        dataset_tell_read(check->data, all, atomic_fetch_add(&begun, 1), check->count);
        enum colonnade_status outcome =
            look(check, i, &workplaces[omp_get_thread_num()], &fingerprints[i], &failure);
        if (outcome != COLONNADE_OK) {
#pragma omp critical
            {
                status = outcome;
                if (error)
                    *error = failure;
            }
        }
    }
    dataset_tell_read(check->data, all, check->count, check->count);
out:
    finish_workplaces(workplaces, threads);
    return status;
}

/* --- counting --- */

static void mark_held_back(struct check *check)
{
    for (size_t i = 0; i < check->data->validation_count; i++)
        check->held_back[check->data->validation[i]] = true;
}

static void count_classes(struct check *check)
{
    for (size_t i = 0; i < check->count; i++) {
        if (!check_label_fits(check, i))
            continue;
        const int32_t label = check_label(check, i);
        check->class_counts[check_in_test(check, i)][label]++;
        check->held_counts[label] += check->held_back[i];
    }
}

static void judge_classes(struct check *check)
{
    size_t smallest = SIZE_MAX, largest = 0;
    for (int i = 0; i < check->data->classes; i++) {
        const size_t train = check->class_counts[0][i], test = check->class_counts[1][i];
        check->found[CHECK_CLASS_ABSENT] += train == check->held_counts[i] || test == 0;
        if (train > 0 && train < smallest)
            smallest = train;
        if (train > largest)
            largest = train;
    }
    check->found[CHECK_IMBALANCE] = largest > 0 && largest > CHECK_IMBALANCE_RATIO * smallest;
}

/* An image with two originals of one kind counts once. */
static void count_copies(struct check *check)
{
    size_t last[CHECK_KINDS];
    for (int i = 0; i < CHECK_KINDS; i++)
        last[i] = SIZE_MAX;
    for (size_t i = 0; i < check->copy_count; i++) {
        const struct check_copy *copy = &check->copies[i];
        const enum check_kind kind = check_copy_kind(check, copy);
        check->found[kind] += last[kind] != copy->image;
        last[kind] = copy->image;
    }
}

static void count_findings(struct check *check)
{
    for (size_t i = 0; i < check->count; i++) {
        check->found[CHECK_UNREADABLE] += check->unreadable[i] != NULL;
        check->found[CHECK_DAMAGED] += check->damaged[i] != NULL;
        check->found[CHECK_FEW_LEVELS] += check_few_levels(check, i);
        check->found[CHECK_BLANK] += check->blank[i];
        check->found[CHECK_LABEL] += !check_label_fits(check, i);
    }
    for (int i = 0; i < CHECK_PROPERTIES; i++)
        check->found[CHECK_LEAK] += check->properties[i].leak;
    check->found[CHECK_TRANSPOSED] = dataset_seems_transposed(check->data);
    count_copies(check);
    judge_classes(check);
}

size_t check_findings(const struct check *check, enum check_severity severity)
{
    size_t count = 0;
    for (int i = 0; i < CHECK_KINDS; i++)
        count += check->found[i] > 0 && check_kinds[i].severity == severity;
    return count;
}

/* --- the whole --- */

static enum colonnade_status allocate(struct check *check, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t classes = (size_t)check->data->classes;
    TRY(memory_allocate(&check->unreadable, check->count, sizeof *check->unreadable,
                        "what is unreadable", error));
    TRY(memory_allocate(&check->damaged, check->count, sizeof *check->damaged, "what is damaged",
                        error));
    TRY(memory_allocate(&check->blank, check->count, sizeof *check->blank, "marks of images",
                        error));
    TRY(memory_allocate(&check->held_back, check->count, sizeof *check->held_back,
                        "marks of images", error));
    TRY(memory_allocate(&check->held_counts, classes, sizeof *check->held_counts,
                        "counts of classes", error));
    if (check->data->train.files)
        TRY(memory_allocate(&check->facts, check->count, sizeof *check->facts, "facts of images",
                            error));
    for (int i = 0; i < 2; i++)
        TRY(memory_allocate(&check->class_counts[i], classes, sizeof *check->class_counts[i],
                            "counts of classes", error));
out:
    return status;
}

enum colonnade_status check_create(struct check **result, const struct dataset *data, int threads,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct fingerprint *fingerprints = NULL;
    struct check *check;
    TRY(memory_allocate(&check, 1, sizeof *check, "a check", error));
    *result = check;
    check->data = data;
    check->count = size_add(data->train.count, data->test.count);
    if (check->count > UINT32_MAX)
        RAISE(COLONNADE_FAILURE, "%zu images; at most %u can be compared with each other",
              check->count, UINT32_MAX);
    TRY(allocate(check, error));
    TRY(memory_allocate(&fingerprints, check->count, sizeof *fingerprints, "fingerprints of images",
                        error));
    mark_held_back(check);
    TRY(look_at_all(check, fingerprints, threads, error));
    count_classes(check);
    TRY(copies_find(check, fingerprints, threads, error));
    if (check->facts)
        TRY(leaks_find(check, error));
    count_findings(check);
out:
    free(fingerprints);
    if (status != COLONNADE_OK) {
        check_destroy(*result);
        *result = NULL;
    }
    return status;
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; texts && i < count; i++)
        free(texts[i]);
    free(texts);
}

void check_destroy(struct check *check)
{
    if (!check)
        return;
    free_texts(check->unreadable, check->count);
    free_texts(check->damaged, check->count);
    free(check->blank);
    free(check->facts);
    free(check->copies);
    free(check->held_back);
    free(check->held_counts);
    free(check->class_counts[0]);
    free(check->class_counts[1]);
    for (int i = 0; i < CHECK_PROPERTIES; i++) {
        free(check->properties[i].told);
        for (size_t j = 0; j < check->properties[i].value_count; j++)
            free(check->properties[i].values[j].class_counts);
    }
    free(check);
}
