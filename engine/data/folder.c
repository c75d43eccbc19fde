/* Source folder: train/CLASS/ and test/CLASS/, folders of image files, and of folders of them.
 *
 * Classes are the names of the folders in train/, in order, byte by byte, unless they are given:
 * then train/ need not be there, and a class need not have images. Samples go around the classes:
 * the first file of each, the second of each, and so on; so the first N of them are of all classes.
 * What is hidden is passed over; every other file has to be an image. The files are decoded side by
 * side, each to its own place.
 */
#include "engine/data/source.h"

#include "engine/base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MOST = 16 /* folders in a class's folder: symbolic links may go around */ };

/* Texts, owned. */
struct list {
    char **items;
    size_t count, capacity;
};

static enum colonnade_status list_add(struct list *list, const char *text,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(memory_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items,
                    "file names", error));
    TRY(memory_copy_text(&list->items[list->count], text, error));
    list->count++;
out:
    return status;
}

static void list_finish(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct list){0};
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_sort(struct list *list)
{
    if (list->count > 0)
        qsort(list->items, list->count, sizeof *list->items, compare_texts);
}

/* --- what is there --- */

static enum colonnade_status join(char path[PATH_MAX], const char *folder, const char *name,
                                  struct colonnade_error *error)
{
    if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
        return error_set(error, COLONNADE_FAILURE, "%s/%s: %s", folder, name,
                         strerror(ENAMETOOLONG));
    return COLONNADE_OK;
}

static bool is_folder(const char *path)
{
    struct stat facts;
    return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

/* The paths of what is in a folder and not hidden, in order: folders and all else. */
static enum colonnade_status read_folder(const char *path, struct list *folders, struct list *files,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char inner[PATH_MAX];
    const struct dirent *entry;
    DIR *folder = opendir(path);
    if (!folder)
        RAISE(COLONNADE_FAILURE, "%s: %s", path, strerror(errno));
    while (errno = 0, (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        TRY(join(inner, path, entry->d_name, error));
        TRY(list_add(is_folder(inner) ? folders : files, inner, error));
    }
    if (errno != 0)
        RAISE(COLONNADE_FAILURE, "%s: %s", path, strerror(errno));
    list_sort(folders);
    list_sort(files);
out:
    if (folder)
        closedir(folder);
    return status;
}

/* Adds the files in a folder and in those within it. */
static enum colonnade_status find_files(const char *path, int depth, struct list *files,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct list folders = {0};
    if (depth > DEPTH_MOST)
        RAISE(COLONNADE_FAILURE, "%s: is more than %d folders below its class", path, DEPTH_MOST);
    TRY(read_folder(path, &folders, files, error));
    for (size_t i = 0; i < folders.count; i++)
        TRY(find_files(folders.items[i], depth + 1, files, error));
out:
    list_finish(&folders);
    return status;
}

static const char *last_part(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* What training does not go by, and the user has to know of. */
static enum colonnade_status pass_over(const struct dataset *data,
                                       const struct data_settings *settings, const char *reason,
                                       struct colonnade_error *error)
{
    if (settings->on_bad_image == BAD_IMAGE_FAIL)
        return error_set(error, COLONNADE_FAILURE, "%s", reason);
    if (data->skipped.tell)
        data->skipped.tell(data->skipped.context, reason);
    return COLONNADE_OK;
}

/* "train, val, and 3 more": the names of the folders, or of the files where there are none. */
static void name_held(char *text, size_t size, const struct list *folders, const struct list *files)
{
    enum { NAMED = 6 };
    const struct list *list = folders->count > 0 ? folders : files;
    size_t used = (size_t)snprintf(text, size, "%s", list->count > 0 ? "" : "nothing");
    for (size_t i = 0; i < list->count && i < NAMED && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%.64s", i ? ", " : "",
                                 last_part(list->items[i]));
    if (list->count > NAMED && used < size)
        snprintf(text + used, size - used, ", and %zu more", list->count - NAMED);
}

/* What the folder holds instead of train/ or test/. */
static enum colonnade_status wrong_layout(const struct data_settings *settings,
                                          struct colonnade_error *error)
{
    static const char *const others[] = {"val", "valid", "validation"};
    enum colonnade_status status = COLONNADE_OK;
    struct list folders = {0}, files = {0};
    char held[512], path[PATH_MAX], hint[64] = "";
    TRY(read_folder(settings->path, &folders, &files, error));
    name_held(held, sizeof held, &folders, &files);
    TRY(join(path, settings->path, "test", error));
    const bool has_test = is_folder(path);
    for (size_t i = 0; i < COUNT_OF(others) && !has_test; i++) {
        TRY(join(path, settings->path, others[i], error));
        if (is_folder(path))
            snprintf(hint, sizeof hint, "; what to score by is named test, not %s", others[i]);
    }
    status = source_path_error(settings, error,
                               "a folder source has train/CLASS/* and test/CLASS/*; %s holds %s%s",
                               settings->path, held, hint);
out:
    list_finish(&folders);
    list_finish(&files);
    return status;
}

/* The folders in `path`, one a class, and what else is there. */
static enum colonnade_status find_classes(const char *path, struct list *classes,
                                          struct list *files, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(read_folder(path, classes, files, error));
    if (classes->count == 0)
        RAISE(COLONNADE_FAILURE, "%s: holds no folders; each class has one", path);
    if (classes->count > DATA_MAX_CLASSES)
        RAISE(COLONNADE_FAILURE, "%s: holds %zu folders; there can be %d classes", path,
              classes->count, DATA_MAX_CLASSES);
out:
    return status;
}

static enum colonnade_status name_classes(struct dataset *data, const struct list *folders,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(memory_allocate(&data->class_names, folders->count, sizeof *data->class_names,
                        "class names", error));
    data->classes = (int)folders->count;
    for (size_t i = 0; i < folders->count; i++)
        TRY(memory_copy_text(&data->class_names[i], last_part(folders->items[i]), error));
out:
    return status;
}

/* The class of that name; -1 for none. */
static int find_class(const struct dataset *data, const char *name)
{
    for (int i = 0; i < data->classes; i++)
        if (strcmp(data->class_names[i], name) == 0)
            return i;
    return -1;
}

/* --- the samples --- */

/* The files of each class that has any: lists [classes]. */
static enum colonnade_status list_classes(struct dataset *data,
                                          const struct data_settings *settings, const char *path,
                                          struct list *lists, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct list folders = {0}, files = {0};
    TRY(find_classes(path, &folders, &files, error));
    for (size_t i = 0; i < files.count; i++) {
        struct colonnade_error reason;
        error_set(&reason, COLONNADE_FAILURE, "%s: is in no class's folder", files.items[i]);
        TRY(pass_over(data, settings, reason.message, error));
    }
    for (size_t i = 0; i < folders.count; i++) {
        const char *name = last_part(folders.items[i]);
        const int label = find_class(data, name);
        if (label < 0 && data->classes_given)
            RAISE(COLONNADE_FAILURE, "%s: the run has no class '%s'", folders.items[i], name);
        if (label < 0)
            RAISE(COLONNADE_FAILURE, "%s: there is no class '%s' in %s/train", folders.items[i],
                  name, settings->path);
        TRY(find_files(folders.items[i], 0, &lists[label], error));
        if (lists[label].count == 0 && !data->classes_given)
            RAISE(COLONNADE_FAILURE, "%s: holds no images", folders.items[i]);
    }
out:
    list_finish(&files);
    list_finish(&folders);
    return status;
}

/* Takes the files out of the lists, around the classes, at most `limit` (0: all). */
static enum colonnade_status take_files(const struct dataset *data, struct split *split,
                                        const struct list *lists, uint64_t limit, const char *path,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    size_t total = 0;
    for (int i = 0; i < data->classes; i++)
        total += lists[i].count;
    const size_t count = limit > 0 && limit < total ? limit : total;
    if (count == 0)
        RAISE(COLONNADE_FAILURE, "%s: holds no images", path);
    if (count > UINT32_MAX) /* samples are numbered with 32 bits */
        RAISE(COLONNADE_FAILURE, "%s: %zu images; at most %u can be used", path, count, UINT32_MAX);
    TRY(memory_allocate(&split->files, count, sizeof *split->files, "file names", error));
    TRY(memory_allocate(&split->labels, count, sizeof *split->labels, "labels", error));
    for (size_t round = 0; split->count < count; round++)
        for (int i = 0; i < data->classes && split->count < count; i++) {
            if (round >= lists[i].count)
                continue;
            split->files[split->count] = lists[i].items[round];
            lists[i].items[round] = NULL;
            split->labels[split->count++] = i;
        }
out:
    return status;
}

static enum colonnade_status list_split(struct dataset *data, struct split *split,
                                        const struct data_settings *settings, const char *path,
                                        uint64_t limit, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct list *lists = NULL;
    TRY(memory_allocate(&lists, (size_t)data->classes, sizeof *lists, "classes", error));
    TRY(list_classes(data, settings, path, lists, error));
    TRY(take_files(data, split, lists, limit, path, error));
out:
    for (int i = 0; lists && i < data->classes; i++)
        list_finish(&lists[i]);
    free(lists);
    return status;
}

/* --- decoding --- */

/* The first bad file by its place, whichever was met first. */
struct failure {
    size_t index;
    struct colonnade_error error;
};

static void keep_first(struct failure *failure, _Atomic size_t *first, size_t index,
                       const struct colonnade_error *error)
{
    if (index < failure->index) {
        failure->index = index;
        failure->error = *error;
        atomic_store(first, index);
    }
}

/* Decodes all to split->images, or to nowhere where that is NULL: then just to see which are bad.
 * With `reasons` ([count], of texts) bad ones leave theirs, else the first one is an error; what is
 * no file's fault is an error in any case. */
static enum colonnade_status decode_split(const struct dataset *data, struct split *split,
                                          const char *folder, char **reasons,
                                          struct colonnade_error *error)
{
    const struct image_target target = dataset_target(data);
    const size_t bytes = dataset_image_bytes(data);
    struct failure failure = {.index = SIZE_MAX};
    _Atomic size_t first_bad = SIZE_MAX; /* those after it need not be looked at */
    _Atomic size_t begun = 0;
#pragma omp parallel num_threads(data->threads)
    {
        struct colonnade_error reason = {0};
        uint8_t *scratch = NULL;
        enum colonnade_status ready =
            split->images ? COLONNADE_OK : memory_allocate(&scratch, bytes, 1, "an image", &reason);
#pragma omp for schedule(dynamic, 1)
        for (size_t i = 0; i < split->count; i++) {
            uint8_t *pixels = scratch ? scratch : split->images + i * bytes;
            dataset_tell_read(data, folder, atomic_fetch_add(&begun, 1), split->count);
            if (i > atomic_load(&first_bad))
                continue;
            enum colonnade_status done =
                ready == COLONNADE_OK ? image_read(split->files[i], &target, pixels, NULL, &reason)
                                      : ready;
            if (done == COLONNADE_OK)
                continue;
            if (reasons && ready == COLONNADE_OK && image_is_bad(split->files[i], &reason) &&
                memory_copy_text(&reasons[i], reason.message, &reason) == COLONNADE_OK)
                continue;
#pragma omp critical(first_failure)
            keep_first(&failure, &first_bad, i, &reason);
        }
        free(scratch);
    }
    const bool done = failure.index == SIZE_MAX;
    dataset_tell_read(data, folder, done ? split->count : 0, done ? split->count : 0);
    if (done)
        return COLONNADE_OK;
    return error_set(error, COLONNADE_FAILURE, "%s", failure.error.message);
}

/* Where none of a class's images was read, what was wrong with the first; else NULL. */
static const char *reason_of_class(const struct split *split, char *const *reasons, int class)
{
    const char *first = NULL;
    for (size_t i = 0; i < split->count; i++) {
        if (split->labels[i] != class)
            continue;
        if (!reasons[i])
            return NULL;
        first = first ? first : reasons[i];
    }
    return first;
}

/* There has to be an image that was read; with `classes`, one of each that has any listed. */
static enum colonnade_status check_read(const struct dataset *data, const struct split *split,
                                        char *const *reasons, bool classes, const char *path,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    size_t bad = 0;
    while (bad < split->count && reasons[bad])
        bad++;
    if (bad == split->count)
        RAISE(COLONNADE_FAILURE, "%s: none of its %zu image%s can be read; the first: %s", path,
              bad, plural(bad), reasons[0]);
    for (int i = 0; i < data->classes && classes; i++) {
        const char *reason = reason_of_class(split, reasons, i);
        if (reason)
            RAISE(COLONNADE_FAILURE, "%s/%s: none of its images can be read; the first: %s", path,
                  data->class_names[i], reason);
    }
out:
    return status;
}

/* Closes the gaps that bad images leave. */
static void drop_bad(const struct dataset *data, struct split *split, char *const *reasons)
{
    const size_t bytes = dataset_image_bytes(data), count = split->count;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        char *file = split->files[i];
        split->files[i] = NULL;
        if (reasons[i]) {
            free(file);
            continue;
        }
        split->files[kept] = file;
        split->labels[kept] = split->labels[i];
        if (split->images && kept < i)
            memcpy(split->images + kept * bytes, split->images + i * bytes, bytes);
        kept++;
    }
    split->count = kept;
}

/* Tells of those that could not be read, and goes on without them, if it can. */
static enum colonnade_status skip_bad(const struct dataset *data, struct split *split,
                                      const struct data_settings *settings, char *const *reasons,
                                      const char *path, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const bool whole = split == &data->train && settings->limit_train == 0;
    for (size_t i = 0; i < split->count; i++)
        if (reasons[i])
            TRY(pass_over(data, settings, reasons[i], error));
    TRY(check_read(data, split, reasons, whole, path, error));
    drop_bad(data, split, reasons);
out:
    return status;
}

/* Whether the split fits into what is left of `*memory` bytes, from which it is taken then. */
static bool take_memory(const struct dataset *data, const struct split *split, size_t *memory)
{
    const size_t bytes = size_multiply(split->count, dataset_image_bytes(data));
    const bool fits = bytes <= *memory;
    *memory -= fits ? bytes : 0;
    return fits;
}

/* Decodes the split where it `fits`; leaves it as files else. */
static enum colonnade_status load_split(struct dataset *data, struct split *split,
                                        const struct data_settings *settings, const char *path,
                                        bool fits, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const bool skip = settings->on_bad_image == BAD_IMAGE_SKIP;
    const size_t count = split->count;
    char **reasons = NULL;
    if (fits)
        TRY(source_allocate(&split->images, count, dataset_image_bytes(data), path, error));
    if (skip)
        TRY(memory_allocate(&reasons, count, sizeof *reasons, "reasons", error));
    if (skip || split->images)
        TRY(decode_split(data, split, path, reasons, error));
    if (skip)
        TRY(skip_bad(data, split, settings, reasons, path, error));
out:
    for (size_t i = 0; reasons && i < count; i++)
        free(reasons[i]);
    free(reasons);
    return status;
}

static enum colonnade_status read_split(struct dataset *data, struct split *split,
                                        const struct data_settings *settings, const char *path,
                                        uint64_t limit, size_t *memory,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(list_split(data, split, settings, path, limit, error));
    const bool fits = take_memory(data, split, memory);
    data->streams = data->streams || !fits;
    if (!data->inspected)
        TRY(load_split(data, split, settings, path, fits, error));
out:
    return status;
}

/* One class is nothing to learn: as a rule its folder holds the classes' folders. */
static enum colonnade_status refuse_one_class(const struct data_settings *settings,
                                              const char *folder, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct list folders = {0}, files = {0};
    char held[512], inner[PATH_MAX], hint[PATH_MAX + 1024] = "";
    TRY(read_folder(folder, &folders, &files, error));
    TRY(join(inner, folder, "train", error));
    if (is_folder(inner)) {
        snprintf(hint, sizeof hint, "; give path = %s, which holds a folder train of its own",
                 folder);
    } else if (folders.count > 0) {
        name_held(held, sizeof held, &folders, &files);
        snprintf(hint, sizeof hint,
                 ", and the folders in it (%s) are not: each would be a class if it lay in "
                 "%s/train itself",
                 held, settings->path);
    }
    status = source_path_error(settings, error,
                               "a folder source has two classes or more, one a folder in "
                               "%s/train; %s is the only one%s",
                               settings->path, folder, hint);
out:
    list_finish(&folders);
    list_finish(&files);
    return status;
}

static enum colonnade_status open_folder(struct dataset *data, const struct data_settings *settings,
                                         enum data_wanted wanted, struct colonnade_error *error)
{
    static const int channels[] = {1, 3};
    enum colonnade_status status = COLONNADE_OK;
    char train[PATH_MAX], test[PATH_MAX];
    struct list classes = {0}, files = {0};
    size_t memory = data->memory;
    data->c = channels[settings->channels];
    data->h = settings->size.h;
    data->w = settings->size.w;
    data->fit = (enum image_fit)settings->fit;
    TRY(join(train, settings->path, "train", error));
    TRY(join(test, settings->path, "test", error));
    const bool needs_train = !data->classes_given || wanted >= DATA_TRAIN;
    if ((needs_train && !is_folder(train)) || (wanted >= DATA_TEST && !is_folder(test)))
        TRY(wrong_layout(settings, error));
    if (!data->classes_given) {
        TRY(find_classes(train, &classes, &files, error));
        if (classes.count == 1)
            TRY(refuse_one_class(settings, classes.items[0], error));
        TRY(name_classes(data, &classes, error));
    }
    if (wanted >= DATA_TRAIN)
        TRY(read_split(data, &data->train, settings, train, settings->limit_train, &memory, error));
    if (wanted >= DATA_TEST)
        TRY(read_split(data, &data->test, settings, test, settings->limit_test, &memory, error));
out:
    list_finish(&classes);
    list_finish(&files);
    return status;
}

const struct source_type folder_source = {
    .name = "folder",
    .help = "a folder of image files, train/CLASS/ and test/CLASS/",
    .keys =
        (const char *const[]){"path", "size", "channels", "fit", "on_bad_image", "memory", NULL},
    .files = true,
    .open = open_folder,
};
