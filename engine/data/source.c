/* The table of data sources, and the checks that all of them make. Knows no file format. */
#include "engine/data/source.h"

#include "engine/base/cgroup.h"
#include "engine/base/memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

const struct source_type *const source_types[] = {
    &idx_source, &cifar10_source, &cifar100_source, &folder_source, &hdf5_source, &synthetic_source,
    NULL,
};

const char *const source_names[] = {
    "idx", "cifar10", "cifar100", "folder", "hdf5", "synthetic", NULL,
};

enum colonnade_status source_path_error(const struct data_settings *settings,
                                        struct colonnade_error *error, const char *format, ...)
{
    char rule[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(rule, sizeof rule, format, arguments);
    va_end(arguments);
    config_error(settings->config, settings->section, "path", error, "[data] path = %s: %s",
                 settings->path, rule);
    if (error)
        error->status = COLONNADE_FAILURE; /* the config may be right where the data are */
    return COLONNADE_FAILURE;
}

/* What the process can have: the machine's, or what its control group allows of it. */
static size_t machine_bytes(void)
{
    const size_t bytes =
        size_multiply((size_t)sysconf(_SC_PHYS_PAGES), (size_t)sysconf(_SC_PAGESIZE));
    const size_t allowed = cgroup_limits("").memory_bytes;
    return allowed < bytes ? allowed : bytes;
}

size_t source_memory(const struct data_settings *settings)
{
    const size_t megabyte = 1000 * 1000;
    return settings->memory > 0 ? size_multiply(settings->memory, megabyte) : machine_bytes() / 2;
}

enum colonnade_status source_allocate(void *pointer, size_t count, size_t size, const char *name,
                                      struct colonnade_error *error)
{
    size_t bytes = size_multiply(count, size);
    const size_t machine = machine_bytes();
    if (bytes > machine)
        return error_set(error, COLONNADE_FAILURE,
                         "%s: takes %zu bytes of memory; there are %zu here", name, bytes, machine);
    return memory_allocate(pointer, count, size, name, error);
}

enum colonnade_status source_set_shape(struct dataset *data, uint64_t h, uint64_t w, uint64_t c,
                                       const char *name, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    if (h < 1 || w < 1 || c < 1 || h > DATA_MAX_SIDE || w > DATA_MAX_SIDE || c > DATA_MAX_SIDE)
        RAISE(COLONNADE_FAILURE,
              "%s: images of %" PRIu64 "x%" PRIu64 " with %" PRIu64
              " channels; each must be from 1 to %d",
              name, h, w, c, DATA_MAX_SIDE);
    if (data->h == 0) {
        data->h = (int)h;
        data->w = (int)w;
        data->c = (int)c;
    }
    if ((int)h != data->h || (int)w != data->w || (int)c != data->c)
        RAISE(COLONNADE_FAILURE,
              "%s: images of %dx%d with %d channel%s; the training images are %dx%d with %d", name,
              (int)h, (int)w, (int)c, plural(c), data->h, data->w, data->c);
out:
    return status;
}

enum colonnade_status source_allocate_split(const struct dataset *data, struct split *split,
                                            uint64_t count, uint64_t limit, const char *name,
                                            struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    if (count == 0)
        RAISE(COLONNADE_FAILURE, "%s: holds no images", name);
    if (limit > 0 && limit < count)
        count = limit;
    if (count > UINT32_MAX) /* samples are numbered with 32 bits */
        RAISE(COLONNADE_FAILURE, "%s: %" PRIu64 " images; at most %" PRIu32 " can be used", name,
              count, UINT32_MAX);
    size_t image_bytes = (size_t)data->h * (size_t)data->w * (size_t)data->c;
    TRY(source_allocate(&split->images, count, image_bytes, name, error));
    TRY(source_allocate(&split->labels, count, sizeof *split->labels, name, error));
    split->count = count;
out:
    return status;
}

enum colonnade_status source_set_labels(struct dataset *data, struct split *split,
                                        const int64_t *labels, size_t count, const char *name,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const int64_t classes = data->classes > 0 ? data->classes : DATA_MAX_CLASSES;
    int64_t highest = 0;
    for (size_t i = 0; i < count; i++) {
        const bool fits = labels[i] >= 0 && labels[i] < classes;
        if (!fits && !data->inspected)
            RAISE(COLONNADE_FAILURE,
                  "%s: label %" PRId64 " at index %zu; labels here are 0 to %" PRId64, name,
                  labels[i], i, classes - 1);
        if (fits && labels[i] > highest)
            highest = labels[i];
    }
    if (data->classes == 0)
        data->classes = (int)highest + 1;
    for (size_t i = 0; i < split->count; i++)
        split->labels[i] = labels[i] < INT32_MIN   ? INT32_MIN
                           : labels[i] > INT32_MAX ? INT32_MAX
                                                   : (int32_t)labels[i];
out:
    return status;
}
