/* colonnade predict: the likeliest classes of image files, and of all image files in folders. A
 * bad file is named on standard error, and the others are classified all the same.
 */
#include "engine/cli/cli.h"

#include "engine/base/memory.h"
#include "engine/data/image.h"
#include "engine/store/store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BATCH = 256, TOP_DEFAULT = 5 };

/* One thing to classify, in the order asked for. */
struct picture {
    char *file;
    bool read;
    struct colonnade_error failure; /* where it was not */
};

struct prediction {
    const struct run *run;
    const struct options *options;
    struct image_target target;
    int top, threads;
    struct picture *pictures; /* [BATCH], those not yet classified */
    size_t count;
    uint8_t *pixels;      /* [BATCH, h, w, c] */
    float *probabilities; /* [BATCH, classes] */
    int *order;           /* [classes] */
    size_t asked, failed;
    size_t passed_over; /* files of the folder at hand that are not named as images, */
    char *first_passed; /* and the first of them */
};

/* A folder, and the one that it was met in: links to folders may lead back. */
struct level {
    dev_t device;
    ino_t number;
    const struct level *outer;
};

/* --- one batch --- */

/* The classes by falling probability, the first `top` of them; equal ones in index order. */
static void rank(const struct prediction *prediction, const float *probabilities)
{
    const int classes = prediction->run->graph->classes;
    for (int i = 0; i < classes; i++) {
        int at = i < prediction->top ? i : prediction->top;
        while (at > 0 && probabilities[i] > probabilities[prediction->order[at - 1]])
            at--;
        const int last = i < prediction->top ? i : prediction->top - 1;
        for (int j = last; j > at; j--)
            prediction->order[j] = prediction->order[j - 1];
        if (at < prediction->top)
            prediction->order[at] = i;
    }
}

static enum colonnade_status print_as_json(const struct prediction *prediction, const char *file,
                                           const float *probabilities,
                                           struct colonnade_error *error)
{
    struct json_object *object = json_object_new_object(), *top = json_object_new_array();
    for (int i = 0; i < prediction->top; i++) {
        const int class = prediction->order[i];
        struct json_object *row = json_object_new_object();
        json_add(row, "class", json_object_new_string(prediction->run->data.class_names[class]));
        json_add(row, "index", json_object_new_int(class));
        json_add(row, "probability", json_number((double)probabilities[class]));
        json_object_array_add(top, row);
    }
    json_add(object, "image", json_object_new_string(file));
    json_add(object, "top", top);
    return output_json(object, error);
}

static enum colonnade_status print_for_people(const struct prediction *prediction, const char *file,
                                              const float *probabilities,
                                              struct colonnade_error *error)
{
    printf("%s:", file);
    for (int i = 0; i < prediction->top; i++) {
        const int class = prediction->order[i];
        printf("%s %s %.1f %%", i ? "," : "", prediction->run->data.class_names[class],
               100 * (double)probabilities[class]);
    }
    printf("\n");
    return output_flush(error);
}

static void read_images(struct prediction *prediction)
{
    const struct image_target *target = &prediction->target;
    const size_t bytes = (size_t)target->c * (size_t)target->h * (size_t)target->w;
#pragma omp parallel for num_threads(prediction->threads) schedule(dynamic)
    for (size_t i = 0; i < prediction->count; i++) {
        struct picture *picture = &prediction->pictures[i];
        picture->read = image_read(picture->file, target, prediction->pixels + i * bytes, NULL,
                                   &picture->failure) == COLONNADE_OK;
    }
}

/* Moves the pixels of those that were read together; returns how many. */
static size_t close_ranks(struct prediction *prediction)
{
    const struct image_target *target = &prediction->target;
    const size_t bytes = (size_t)target->c * (size_t)target->h * (size_t)target->w;
    size_t n = 0;
    for (size_t i = 0; i < prediction->count; i++)
        if (prediction->pictures[i].read)
            memmove(prediction->pixels + n++ * bytes, prediction->pixels + i * bytes, bytes);
    return n;
}

static enum colonnade_status classify(struct prediction *prediction, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const float *row = prediction->probabilities;
    read_images(prediction);
    TRY(predict(prediction->run, close_ranks(prediction), prediction->pixels, prediction->threads,
                prediction->probabilities, error));
    for (size_t i = 0; i < prediction->count; i++) {
        const struct picture *picture = &prediction->pictures[i];
        if (!picture->read && !image_is_bad(picture->file, &picture->failure))
            RAISE(COLONNADE_FAILURE, "%s", picture->failure.message);
        if (!picture->read) {
            fprintf(stderr, "%s\n", picture->failure.message);
            prediction->failed++;
            continue;
        }
        rank(prediction, row);
        TRY(prediction->options->json ? print_as_json(prediction, picture->file, row, error)
                                      : print_for_people(prediction, picture->file, row, error));
        row += prediction->run->graph->classes;
    }
out:
    for (size_t i = 0; i < prediction->count; i++)
        free(prediction->pictures[i].file);
    prediction->count = 0;
    return status;
}

/* --- files and folders --- */

static enum colonnade_status add_file(struct prediction *prediction, const char *file,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(memory_copy_text(&prediction->pictures[prediction->count].file, file, error));
    prediction->asked++;
    if (++prediction->count == BATCH)
        TRY(classify(prediction, error));
out:
    return status;
}

static int wanted_entry(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void fail(struct prediction *prediction, const char *path, const char *why)
{
    fprintf(stderr, "%s: %s\n", path, why);
    prediction->failed++;
}

static bool is_within(const struct level *level, const struct stat *folder)
{
    while (level && (level->device != folder->st_dev || level->number != folder->st_ino))
        level = level->outer;
    return level != NULL;
}

/* In a folder other files lie, too; training would take them. */
static enum colonnade_status pass_over(struct prediction *prediction, const char *file,
                                       struct colonnade_error *error)
{
    return prediction->passed_over++ > 0 ? COLONNADE_OK
                                         : memory_copy_text(&prediction->first_passed, file, error);
}

static enum colonnade_status add_folder(struct prediction *prediction, const char *folder,
                                        const struct stat *facts, const struct level *outer,
                                        struct colonnade_error *error);

static enum colonnade_status add_entry(struct prediction *prediction, const char *folder,
                                       const char *name, const struct level *level,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct stat facts;
    char *path = NULL;
    const size_t length = strlen(folder);
    if (asprintf(&path, "%s%s%s", folder, length && folder[length - 1] == '/' ? "" : "/", name) < 0)
        RAISE(COLONNADE_FAILURE, "no memory for a path in %s", folder);
    if (stat(path, &facts) == 0 && S_ISDIR(facts.st_mode))
        TRY(add_folder(prediction, path, &facts, level, error));
    else if (image_is_named(name))
        TRY(add_file(prediction, path, error));
    else
        TRY(pass_over(prediction, path, error));
out:
    free(path);
    return status;
}

static enum colonnade_status add_folder(struct prediction *prediction, const char *folder,
                                        const struct stat *facts, const struct level *outer,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct level level = {facts->st_dev, facts->st_ino, outer};
    struct dirent **entries = NULL;
    if (is_within(outer, facts))
        return COLONNADE_OK;
    int count = scandir(folder, &entries, wanted_entry, by_name);
    if (count < 0)
        fail(prediction, folder, strerror(errno));
    for (int i = 0; i < count; i++)
        TRY(add_entry(prediction, folder, entries[i]->d_name, &level, error));
out:
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    return status;
}

static void print_passed_over(struct prediction *prediction, const char *folder)
{
    const size_t count = prediction->passed_over;
    if (count > 0)
        fprintf(stderr, "%s: %zu file%s passed over, named like no image: %s%s\n", folder, count,
                plural(count), prediction->first_passed, count > 1 ? " and others" : "");
    free(prediction->first_passed);
    prediction->first_passed = NULL;
    prediction->passed_over = 0;
}

static enum colonnade_status add_operand(struct prediction *prediction, const char *path,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t before = prediction->asked + prediction->failed;
    struct stat facts;
    if (stat(path, &facts) != 0 || !S_ISDIR(facts.st_mode)) {
        TRY(add_file(prediction, path, error));
        goto out;
    }
    TRY(add_folder(prediction, path, &facts, NULL, error));
    print_passed_over(prediction, path);
    if (prediction->asked + prediction->failed == before)
        fail(prediction, path, "has no image files");
out:
    return status;
}

/* --- the whole --- */

static enum colonnade_status target_of_run(struct image_target *target, const struct run *run,
                                           struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct shape shape = run->data.shape;
    *target = (struct image_target){shape.c, shape.h, shape.w, run->data.fit};
    if (shape.c != 1 && shape.c != 3)
        RAISE(COLONNADE_FAILURE,
              "the run was trained on images of %d channels; image files give 1 or 3", shape.c);
out:
    return status;
}

static enum colonnade_status prediction_init(struct prediction *prediction, const struct run *run,
                                             const struct options *options,
                                             struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t classes = (size_t)run->graph->classes;
    *prediction = (struct prediction){.run = run, .options = options};
    prediction->threads = experiment_threads(options, &run->settings);
    prediction->top = options->top ? options->top : TOP_DEFAULT;
    if (options->top > run->graph->classes)
        RAISE(COLONNADE_USAGE, "colonnade predict: --top %d; %s has %d classes", options->top,
              options->operands[0], run->graph->classes);
    if (prediction->top > run->graph->classes)
        prediction->top = run->graph->classes;
    TRY(target_of_run(&prediction->target, run, error));
    TRY(memory_allocate(&prediction->pictures, BATCH, sizeof *prediction->pictures, "file names",
                        error));
    TRY(memory_allocate(&prediction->pixels, BATCH, shape_size(run->data.shape), "images", error));
    TRY(memory_allocate(&prediction->probabilities, BATCH * classes,
                        sizeof *prediction->probabilities, "probabilities", error));
    TRY(memory_allocate(&prediction->order, classes, sizeof *prediction->order, "classes", error));
out:
    return status;
}

static void prediction_finish(struct prediction *prediction)
{
    for (size_t i = 0; i < prediction->count; i++)
        free(prediction->pictures[i].file);
    free(prediction->first_passed);
    free(prediction->pictures);
    free(prediction->pixels);
    free(prediction->probabilities);
    free(prediction->order);
}

enum colonnade_status verb_predict(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = NULL;
    struct prediction prediction = {0};
    TRY(run_load(&run, options->operands[0], error));
    TRY(prediction_init(&prediction, run, options, error));
    for (size_t i = 1; i < options->operand_count; i++)
        TRY(add_operand(&prediction, options->operands[i], error));
    TRY(classify(&prediction, error));
    if (prediction.failed > 0)
        RAISE(COLONNADE_FAILURE, "colonnade predict: %zu of the files could not be classified",
              prediction.failed);
out:
    prediction_finish(&prediction);
    run_destroy(run);
    return status;
}
