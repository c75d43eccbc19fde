/* Source idx: the four files of MNIST and of the sets made after it, plain or compressed.
 *
 * An IDX file is a magic number (two zero bytes, the type, the rank), one size a dimension, and
 * the elements; numbers are 32 bits, big-endian. zlib reads plain files as well as gzip.
 */
#include "engine/data/source.h"

#include "engine/base/memory.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum {
    UNSIGNED_BYTES = 0x08, /* the type, and the only one these files use */
    MAX_RANK = 3,
    MAX_DEFLATE_RATIO = 1032, /* no deflate stream grows by more */
    BUFFER_BYTES = 1 << 17,
};

struct idx_file {
    char path[PATH_MAX];
    gzFile stream;
    uint32_t sizes[MAX_RANK];
    size_t header_bytes, body_bytes; /* by the header */
};

/* Both names that the files go by, "train-images-idx3-ubyte" and "train-images.idx3-ubyte". */
static enum colonnade_status find_file(struct idx_file *file, const char *folder, const char *name,
                                       int rank, struct colonnade_error *error)
{
    struct stat info;
    if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode))
        return error_set(error, COLONNADE_FAILURE, "%s: is not a folder", folder);
    for (int i = 0; i < 4; i++) {
        int length = snprintf(file->path, sizeof file->path, "%s/%s%cidx%d-ubyte%s", folder, name,
                              i % 2 == 0 ? '-' : '.', rank, i < 2 ? "" : ".gz");
        if (length < (int)sizeof file->path && access(file->path, F_OK) == 0)
            return COLONNADE_OK;
    }
    return error_set(error, COLONNADE_FAILURE,
                     "%s: has no %s-idx%d-ubyte (nor %s.idx%d-ubyte, nor either with .gz)", folder,
                     name, rank, name, rank);
}

/* Reads up to `bytes`; fewer at the end of the file. */
static enum colonnade_status read_bytes(struct idx_file *file, void *bytes, size_t count,
                                        size_t *done, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    *done = 0;
    while (*done < count) {
        size_t left = count - *done;
        int got = gzread(file->stream, (char *)bytes + *done,
                         left < INT_MAX ? (unsigned)left : (unsigned)INT_MAX);
        int code;
        const char *message = gzerror(file->stream, &code);
        if (got < 0 || code != Z_OK)
            RAISE(COLONNADE_FAILURE, "%s: %s", file->path,
                  code == Z_ERRNO       ? strerror(errno)
                  : code == Z_BUF_ERROR ? "ends within its gzip stream"
                                        : message);
        if (got == 0)
            break;
        *done += (size_t)got;
    }
out:
    return status;
}

static enum colonnade_status wrong_size(const struct idx_file *file, size_t found, const char *kind,
                                        struct colonnade_error *error)
{
    return error_set(error, COLONNADE_FAILURE,
                     "%s: the header promises %zu bytes in all; the file has %zu%s", file->path,
                     size_add(file->header_bytes, file->body_bytes), found, kind);
}

/* Before anything is allocated by what the header says: could the file hold it? */
static enum colonnade_status check_size(struct idx_file *file, struct colonnade_error *error)
{
    struct stat info;
    if (stat(file->path, &info) != 0)
        return error_set(error, COLONNADE_FAILURE, "%s: %s", file->path, strerror(errno));
    size_t found = (size_t)info.st_size;
    size_t promised = size_add(file->header_bytes, file->body_bytes);
    bool plain = gzdirect(file->stream);
    if (plain && promised != found)
        return wrong_size(file, found, "", error);
    if (!plain && promised > size_multiply(found, MAX_DEFLATE_RATIO))
        return wrong_size(file, found, ", compressed", error);
    return COLONNADE_OK;
}

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static enum colonnade_status open_file(struct idx_file *file, const char *folder, const char *name,
                                       int rank, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    uint8_t header[4 * (1 + MAX_RANK)];
    size_t got;

    TRY(find_file(file, folder, name, rank, error));
    errno = 0;
    file->stream = gzopen(file->path, "rb");
    if (!file->stream)
        RAISE(COLONNADE_FAILURE, "%s: %s", file->path, strerror(errno ? errno : ENOMEM));
    gzbuffer(file->stream, BUFFER_BYTES);

    file->header_bytes = 4 * (1 + (size_t)rank);
    TRY(read_bytes(file, header, file->header_bytes, &got, error));
    if (got < file->header_bytes)
        RAISE(COLONNADE_FAILURE, "%s: ends after %zu bytes, within its header of %zu", file->path,
              got, file->header_bytes);
    uint32_t magic = big_endian(header), wanted = UNSIGNED_BYTES << 8 | (uint32_t)rank;
    if (magic != wanted)
        RAISE(COLONNADE_FAILURE, "%s: begins with 0x%08x; an idx%d file of bytes with 0x%08x",
              file->path, magic, rank, wanted);
    file->body_bytes = 1;
    for (int i = 0; i < rank; i++) {
        file->sizes[i] = big_endian(header + 4 * (i + 1));
        file->body_bytes = size_multiply(file->body_bytes, file->sizes[i]);
    }
    TRY(check_size(file, error));
out:
    return status;
}

static void close_file(struct idx_file *file)
{
    if (file->stream)
        gzclose(file->stream);
    file->stream = NULL;
}

/* The first `wanted` bytes of the body. The rest is read too, for its length and checksum. */
static enum colonnade_status read_body(struct idx_file *file, uint8_t *body, size_t wanted,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    uint8_t *rest = NULL;
    size_t total, got;
    TRY(read_bytes(file, body, wanted, &total, error));
    TRY(memory_allocate(&rest, BUFFER_BYTES, 1, "a buffer", error));
    do {
        TRY(read_bytes(file, rest, BUFFER_BYTES, &got, error));
        total += got;
    } while (got > 0);
    if (total != file->body_bytes)
        TRY(wrong_size(file, file->header_bytes + total, "", error));
out:
    free(rest);
    return status;
}

static enum colonnade_status read_labels(struct idx_file *file, int64_t **labels,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    uint8_t *bytes = NULL;
    TRY(source_allocate(&bytes, file->body_bytes, 1, file->path, error));
    TRY(read_body(file, bytes, file->body_bytes, error));
    TRY(source_allocate(labels, file->body_bytes, sizeof **labels, file->path, error));
    for (size_t i = 0; i < file->body_bytes; i++)
        (*labels)[i] = bytes[i];
out:
    free(bytes);
    return status;
}

/* `wanted` false: just shape and classes. */
static enum colonnade_status read_split(struct dataset *data, struct split *split,
                                        const char *folder, bool train, uint64_t limit, bool wanted,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct idx_file images = {.stream = NULL}, labels = {.stream = NULL};
    int64_t *values = NULL;

    TRY(open_file(&images, folder, train ? "train-images" : "t10k-images", 3, error));
    TRY(open_file(&labels, folder, train ? "train-labels" : "t10k-labels", 1, error));
    TRY(source_set_shape(data, images.sizes[1], images.sizes[2], 1, images.path, error));
    if (labels.sizes[0] != images.sizes[0])
        RAISE(COLONNADE_FAILURE, "%s: %u labels; %s has %u images", labels.path, labels.sizes[0],
              images.path, images.sizes[0]);
    TRY(read_labels(&labels, &values, error));
    if (wanted)
        TRY(source_allocate_split(data, split, images.sizes[0], limit, images.path, error));
    TRY(source_set_labels(data, split, values, labels.sizes[0], labels.path, error));
    if (wanted)
        TRY(read_body(&images, split->images, split->count * (size_t)data->h * (size_t)data->w,
                      error));
out:
    free(values);
    close_file(&images);
    close_file(&labels);
    return status;
}

static enum colonnade_status open_idx(struct dataset *data, const struct data_settings *settings,
                                      enum data_wanted wanted, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    if (wanted != DATA_TEST || data->classes == 0)
        TRY(read_split(data, &data->train, settings->path, true, settings->limit_train,
                       wanted == DATA_TRAIN, error));
    if (wanted >= DATA_TEST)
        TRY(read_split(data, &data->test, settings->path, false, settings->limit_test, true,
                       error));
out:
    return status;
}

const struct source_type idx_source = {
    .name = "idx",
    .help = "a folder of the four IDX files of MNIST, plain or .gz",
    .keys = (const char *const[]){"path", NULL},
    .open = open_idx,
};
