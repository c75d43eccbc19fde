/* A dataset as one HDF5 file: pixels as bytes, labels, the names of the classes, and how files were
 * made to fit. What source = hdf5 reads. Knows nothing of where the data came from.
 */
#include "engine/base/memory.h"
#include "engine/store/place.h"
#include "engine/store/store.h"

#include <stdlib.h>
#include <unistd.h>

enum { RANK = 4, BATCH_BYTES = 1 << 24 };

struct images {
    hid_t set, space, memory; /* of the array, and of the batch in memory */
};

static void close_images(struct images *images)
{
    place_close(images->memory);
    place_close(images->space);
    place_close(images->set);
}

/* /SPLIT/images: uint8 [count, h, w, c], one piece, so that it can be read without copying. */
static enum colonnade_status create_images(struct place group, const struct dataset *data,
                                           const struct split *split, struct images *images,
                                           struct colonnade_error *error)
{
    const hsize_t sizes[RANK] = {split->count, (hsize_t)data->h, (hsize_t)data->w,
                                 (hsize_t)data->c};
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(creation, false); /* equal data give equal files */
    images->space = H5Screate_simple(RANK, sizes, NULL);
    images->set = H5Dcreate2(group.id, "images", H5T_STD_U8LE, images->space, H5P_DEFAULT, creation,
                             H5P_DEFAULT);
    place_close(creation);
    return images->set < 0
               ? place_error(group, "images", error, "cannot be made: %s", hdf5_reason().text)
               : COLONNADE_OK;
}

static enum colonnade_status write_batch(struct place group, struct images *images,
                                         const struct dataset *data, size_t from, size_t count,
                                         const uint8_t *pixels, struct colonnade_error *error)
{
    const hsize_t start[RANK] = {from};
    const hsize_t sizes[RANK] = {count, (hsize_t)data->h, (hsize_t)data->w, (hsize_t)data->c};
    place_close(images->memory);
    images->memory = H5Screate_simple(RANK, sizes, NULL);
    if (images->memory < 0 ||
        H5Sselect_hyperslab(images->space, H5S_SELECT_SET, start, NULL, sizes, NULL) < 0 ||
        H5Dwrite(images->set, H5T_NATIVE_UINT8, images->memory, images->space, H5P_DEFAULT,
                 pixels) < 0)
        return place_error(group, "images", error, "cannot be written: %s", hdf5_reason().text);
    return COLONNADE_OK;
}

/* Images [from, from + count) to pixels, side by side; the first that fails is the error. */
static enum colonnade_status gather(const struct dataset *data, const struct split *split,
                                    size_t from, size_t count, uint8_t *pixels,
                                    struct colonnade_error *error)
{
    const size_t bytes = dataset_image_bytes(data);
    enum colonnade_status status = COLONNADE_OK;
    size_t failed = SIZE_MAX;
#pragma omp parallel for num_threads(data->threads) schedule(dynamic, 1)
    for (size_t i = 0; i < count; i++) {
        struct colonnade_error reason = {0};
        const uint8_t *image;
        enum colonnade_status done =
            dataset_image(data, split, from + i, pixels + i * bytes, &image, &reason);
        if (done == COLONNADE_OK)
            continue;
#pragma omp critical(gather)
        if (i < failed) {
            failed = i;
            status = error_set(error, done, "%s", reason.message);
        }
    }
    return status;
}

static enum colonnade_status write_images(struct place group, const struct dataset *data,
                                          const struct split *split, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct images images = {H5I_INVALID_HID, H5I_INVALID_HID, H5I_INVALID_HID};
    const size_t bytes = dataset_image_bytes(data);
    const size_t size = bytes < BATCH_BYTES ? BATCH_BYTES / bytes : 1;
    uint8_t *buffer = NULL;
    TRY(create_images(group, data, split, &images, error));
    if (!split->images)
        TRY(memory_allocate(&buffer, size, bytes, "images to be packed", error));
    for (size_t from = 0; from < split->count; from += size) {
        const size_t left = split->count - from, count = left < size ? left : size;
        if (buffer)
            TRY(gather(data, split, from, count, buffer, error));
        TRY(write_batch(group, &images, data, from, count,
                        buffer ? buffer : split->images + from * bytes, error));
    }
out:
    close_images(&images);
    free(buffer);
    return status;
}

static enum colonnade_status write_split(struct place file, const char *name,
                                         const struct dataset *data, const struct split *split,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    const struct array labels = {.type = VALUE_INT, .rank = 1, .dims = {split->count}};
    TRY(place_create_group(file, name, &group, error));
    TRY(write_images(group, data, split, error));
    TRY(place_write_array(group, "labels", &labels, split->labels, error));
out:
    place_close(group.id);
    return status;
}

/* Written by its name, through HDF5. */
static enum colonnade_status write_data(const void *context, const char *path,
                                        const char *temporary, int descriptor,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct dataset *data = context;
    struct place file = {path, H5I_INVALID_HID};
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    /* The file is locked, which over a network HDF5 would take for another's lock. */
    if (access >= 0 && H5Pset_file_locking(access, false, true) >= 0)
        file.id = H5Fcreate(temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    if (file.id < 0)
        RAISE(COLONNADE_FAILURE, "%s: cannot be made: %s", path, hdf5_reason().text);
    TRY(place_write_text(file, "fit", image_fit_names[data->fit], error));
    TRY(place_write_texts(file, "classes", (size_t)data->classes, data->class_names, error));
    TRY(write_split(file, "train", data, &data->train, error));
    TRY(write_split(file, "test", data, &data->test, error));
    if (H5Fclose(file.id) < 0)
        status = error_set(error, COLONNADE_FAILURE, "%s: cannot be written: %s", path,
                           hdf5_reason().text);
    file.id = H5I_INVALID_HID;
out:
    place_close(file.id);
    place_close(access);
    return status;
}

/* A mistyped name must not cost a file of another kind. */
static enum colonnade_status check_replaceable(const char *path, struct colonnade_error *error)
{
    if (access(path, F_OK) != 0)
        return COLONNADE_OK;
    const hid_t file =
        H5Fis_hdf5(path) > 0 ? H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT) : H5I_INVALID_HID;
    const bool packed = file >= 0 && H5Lexists(file, "train", H5P_DEFAULT) > 0 &&
                        H5Lexists(file, "train/images", H5P_DEFAULT) > 0;
    place_close(file);
    return packed ? COLONNADE_OK
                  : error_set(error, COLONNADE_FAILURE,
                              "%s is there and holds no /train/images: it is not replaced", path);
}

enum colonnade_status data_pack(const struct dataset *data, const char *path,
                                struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct hdf5_quiet quiet;
    hdf5_quiet_begin(&quiet);
    TRY(check_replaceable(path, error));
    TRY(file_replace_with(path, &(struct file_content){write_data, data}, error));
out:
    hdf5_quiet_end(&quiet);
    return status;
}
