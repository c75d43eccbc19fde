/* Sources cifar10 and cifar100: the official binary files.
 *
 * A record is the labels, a byte each (CIFAR-100: the coarse one, then the fine one, which is
 * used), and an image of 32x32, channel by channel.
 */
#include "engine/data/source.h"

#include "engine/base/memory.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    SIDE = 32,
    PIXELS = SIDE * SIDE,
    CHANNELS = 3,
    IMAGE_BYTES = PIXELS * CHANNELS,
    MAX_LABELS = 2,
    MAX_TRAIN_FILES = 5,
};

struct variant {
    int classes;
    size_t labels; /* bytes before an image; the last one is the class */
    const char *train[MAX_TRAIN_FILES + 1], *test[2]; /* NULL-terminated */
    const char *names;                                /* the file of class names, one a line */
};

static const struct variant cifar10 = {
    .classes = 10,
    .labels = 1,
    .train = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
              "data_batch_5.bin"},
    .test = {"test_batch.bin"},
    .names = "batches.meta.txt",
};

static const struct variant cifar100 = {
    .classes = 100,
    .labels = 2,
    .train = {"train.bin"},
    .test = {"test.bin"},
    .names = "fine_label_names.txt",
};

static enum colonnade_status join(char path[PATH_MAX], const char *folder, const char *name,
                                  struct colonnade_error *error)
{
    if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
        return error_set(error, COLONNADE_FAILURE, "%s: %s", folder, strerror(ENAMETOOLONG));
    return COLONNADE_OK;
}

static enum colonnade_status count_records(const char *path, size_t record_bytes, size_t *records,
                                           struct colonnade_error *error)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return error_set(error, COLONNADE_FAILURE, "%s: %s", path, strerror(errno));
    size_t bytes = (size_t)info.st_size;
    if (!S_ISREG(info.st_mode) || bytes == 0 || bytes % record_bytes != 0)
        return error_set(error, COLONNADE_FAILURE,
                         "%s: %zu bytes; it must be a file of whole records of %zu", path, bytes,
                         record_bytes);
    *records = bytes / record_bytes;
    return COLONNADE_OK;
}

/* [c, h, w] to [h, w, c] */
static void interleave(uint8_t *image, const uint8_t *planes)
{
    for (size_t pixel = 0; pixel < PIXELS; pixel++)
        for (size_t c = 0; c < CHANNELS; c++)
            image[pixel * CHANNELS + c] = planes[c * PIXELS + pixel];
}

/* Records [from, from + count) of the split are the first `count` of the file. */
static enum colonnade_status read_records(const struct variant *variant, struct split *split,
                                          size_t from, size_t count, bool any_label,
                                          const char *path, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    uint8_t record[MAX_LABELS + IMAGE_BYTES];
    size_t record_bytes = variant->labels + IMAGE_BYTES;
    FILE *file = fopen(path, "rb");
    if (!file)
        RAISE(COLONNADE_FAILURE, "%s: %s", path, strerror(errno));
    for (size_t i = 0; i < count; i++) {
        if (fread(record, record_bytes, 1, file) != 1)
            RAISE(COLONNADE_FAILURE, "%s: cannot read record %zu: %s", path, i,
                  ferror(file) ? strerror(errno) : "the file ends");
        int label = record[variant->labels - 1];
        if (label >= variant->classes && !any_label)
            RAISE(COLONNADE_FAILURE, "%s: label %d at index %zu; labels here are 0 to %d", path,
                  label, i, variant->classes - 1);
        split->labels[from + i] = label;
        interleave(split->images + (from + i) * IMAGE_BYTES, record + variant->labels);
    }
out:
    if (file)
        fclose(file);
    return status;
}

static enum colonnade_status read_split(const struct variant *variant, struct dataset *data,
                                        struct split *split, const char *folder,
                                        const char *const *names, uint64_t limit,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char path[PATH_MAX];
    size_t records[MAX_TRAIN_FILES], total = 0;
    for (size_t i = 0; names[i]; i++) {
        TRY(join(path, folder, names[i], error));
        TRY(count_records(path, variant->labels + IMAGE_BYTES, &records[i], error));
        total += records[i];
    }
    TRY(source_allocate_split(data, split, total, limit, folder, error));
    size_t done = 0;
    for (size_t i = 0; names[i] && done < split->count; i++) {
        size_t left = split->count - done, count = records[i] < left ? records[i] : left;
        TRY(join(path, folder, names[i], error));
        TRY(read_records(variant, split, done, count, data->inspected, path, error));
        done += count;
    }
out:
    return status;
}

/* Names are optional; where the file is there it must name every class. */
static enum colonnade_status read_names(const struct variant *variant, struct dataset *data,
                                        const char *folder, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char path[PATH_MAX], line[256];
    int count = 0;
    FILE *file = NULL;
    TRY(join(path, folder, variant->names, error));
    file = fopen(path, "r");
    if (!file && errno == ENOENT)
        goto out;
    if (!file)
        RAISE(COLONNADE_FAILURE, "%s: %s", path, strerror(errno));
    TRY(memory_allocate(&data->class_names, (size_t)variant->classes, sizeof *data->class_names,
                        "class names", error));
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (!line[0])
            continue;
        if (count < variant->classes)
            TRY(memory_copy_text(&data->class_names[count], line, error));
        count++;
    }
    if (count != variant->classes)
        RAISE(COLONNADE_FAILURE, "%s: %d class names; there are %d classes", path, count,
              variant->classes);
out:
    if (file)
        fclose(file);
    return status;
}

static enum colonnade_status open_variant(const struct variant *variant, struct dataset *data,
                                          const struct data_settings *settings,
                                          enum data_wanted wanted, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    data->c = CHANNELS;
    data->h = data->w = SIDE;
    data->classes = variant->classes;
    TRY(read_names(variant, data, settings->path, error));
    if (wanted >= DATA_TRAIN)
        TRY(read_split(variant, data, &data->train, settings->path, variant->train,
                       settings->limit_train, error));
    if (wanted >= DATA_TEST)
        TRY(read_split(variant, data, &data->test, settings->path, variant->test,
                       settings->limit_test, error));
out:
    return status;
}

static enum colonnade_status open_cifar10(struct dataset *data,
                                          const struct data_settings *settings,
                                          enum data_wanted wanted, struct colonnade_error *error)
{
    return open_variant(&cifar10, data, settings, wanted, error);
}

static enum colonnade_status open_cifar100(struct dataset *data,
                                           const struct data_settings *settings,
                                           enum data_wanted wanted, struct colonnade_error *error)
{
    return open_variant(&cifar100, data, settings, wanted, error);
}

static const char *const keys[] = {"path", NULL};

const struct source_type cifar10_source = {
    .name = "cifar10",
    .help = "a folder of CIFAR-10's binary files, data_batch_1.bin to test_batch.bin",
    .keys = keys,
    .open = open_cifar10,
};

const struct source_type cifar100_source = {
    .name = "cifar100",
    .help = "a folder of CIFAR-100's binary files, train.bin and test.bin; the fine labels",
    .keys = keys,
    .open = open_cifar100,
};
