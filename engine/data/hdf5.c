/* Source hdf5: one file with /train/images, /train/labels, /test/images, /test/labels and
 * optionally /classes and the root's attribute fit. HDF5's own printing of errors is off while it
 * is read; ours say what is wrong with which dataset.
 */
#include "engine/data/source.h"

#include "engine/base/memory.h"

#include <hdf5.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANK = 4, NAME_BYTES = 1200 };

/* One dataset, open. */
struct array {
    char name[NAME_BYTES]; /* "FILE: /PATH", what errors begin with */
    hid_t set, type, space;
    int rank;
    hsize_t sizes[MAX_RANK];
};

static void close_array(struct array *array)
{
    if (array->space >= 0)
        H5Sclose(array->space);
    if (array->type >= 0)
        H5Tclose(array->type);
    if (array->set >= 0)
        H5Dclose(array->set);
}

static const struct array closed_array = {.set = -1, .type = -1, .space = -1};

static enum colonnade_status open_array(struct array *array, hid_t file, const char *file_name,
                                        const char *path, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    snprintf(array->name, sizeof array->name, "%.1024s: %s", file_name, path);
    array->set = H5Dopen2(file, path, H5P_DEFAULT);
    if (array->set < 0)
        RAISE(COLONNADE_FAILURE, "%s: there is no such dataset", array->name);
    array->type = H5Dget_type(array->set);
    array->space = H5Dget_space(array->set);
    if (array->type < 0 || array->space < 0)
        RAISE(COLONNADE_FAILURE, "%s: type or shape is damaged", array->name);
    array->rank = H5Sget_simple_extent_ndims(array->space);
    if (array->rank >= 1 && array->rank <= MAX_RANK)
        H5Sget_simple_extent_dims(array->space, array->sizes, NULL);
out:
    return status;
}

/* The first `count` elements along the first dimension. */
static enum colonnade_status read_array(struct array *array, hsize_t count, hid_t memory_type,
                                        void *elements, struct colonnade_error *error)
{
    const hsize_t start[MAX_RANK] = {0};
    hsize_t sizes[MAX_RANK];
    memcpy(sizes, array->sizes, sizeof sizes);
    sizes[0] = count;
    hid_t memory_space = H5Screate_simple(array->rank, sizes, NULL);
    herr_t done = memory_space < 0
                      ? -1
                      : H5Sselect_hyperslab(array->space, H5S_SELECT_SET, start, NULL, sizes, NULL);
    if (done >= 0)
        done = H5Dread(array->set, memory_type, memory_space, array->space, H5P_DEFAULT, elements);
    if (memory_space >= 0)
        H5Sclose(memory_space);
    if (done < 0)
        return error_set(error, COLONNADE_FAILURE,
                         "%s: cannot be read: damaged, or compressed by a filter that is not "
                         "installed",
                         array->name);
    return COLONNADE_OK;
}

static enum colonnade_status check_images(const struct array *images, struct dataset *data,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    if (H5Tget_class(images->type) != H5T_INTEGER || H5Tget_size(images->type) != 1 ||
        H5Tget_sign(images->type) != H5T_SGN_NONE)
        RAISE(COLONNADE_FAILURE, "%s: is not of type uint8", images->name);
    if (images->rank != 3 && images->rank != 4)
        RAISE(COLONNADE_FAILURE, "%s: has %d dimensions; images are [N, H, W] or [N, H, W, C]",
              images->name, images->rank);
    TRY(source_set_shape(data, images->sizes[1], images->sizes[2],
                         images->rank == 4 ? images->sizes[3] : 1, images->name, error));
out:
    return status;
}

static enum colonnade_status check_labels(const struct array *labels, const struct array *images,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    if (H5Tget_class(labels->type) != H5T_INTEGER)
        RAISE(COLONNADE_FAILURE, "%s: is not of an integer type", labels->name);
    if (labels->rank != 1)
        RAISE(COLONNADE_FAILURE, "%s: has %d dimensions; labels are [N]", labels->name,
              labels->rank);
    if (labels->sizes[0] != images->sizes[0])
        RAISE(COLONNADE_FAILURE, "%s: %" PRIuHSIZE " labels; there are %" PRIuHSIZE " images",
              labels->name, labels->sizes[0], images->sizes[0]);
out:
    return status;
}

/* `wanted` false: just shape and classes. */
static enum colonnade_status read_split(struct dataset *data, struct split *split, hid_t file,
                                        const char *file_name, bool train, uint64_t limit,
                                        bool wanted, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct array images = closed_array, labels = closed_array;
    int64_t *values = NULL;

    TRY(open_array(&images, file, file_name, train ? "/train/images" : "/test/images", error));
    TRY(check_images(&images, data, error));
    TRY(open_array(&labels, file, file_name, train ? "/train/labels" : "/test/labels", error));
    TRY(check_labels(&labels, &images, error));

    size_t count = labels.sizes[0];
    if (wanted)
        TRY(source_allocate_split(data, split, count, limit, images.name, error));
    TRY(source_allocate(&values, count, sizeof *values, labels.name, error));
    TRY(read_array(&labels, count, H5T_NATIVE_INT64, values, error));
    TRY(source_set_labels(data, split, values, count, labels.name, error));
    if (wanted)
        TRY(read_array(&images, split->count, H5T_NATIVE_UINT8, split->images, error));
out:
    free(values);
    close_array(&labels);
    close_array(&images);
    return status;
}

/* Strings of fixed size come as bytes side by side, others as pointers. Either way their memory
 * type says what the file's does of the character set: HDF5 converts between none. */
static enum colonnade_status copy_names(struct array *names, struct dataset *data,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t count = names->sizes[0];
    const bool variable = H5Tis_variable_str(names->type) > 0;
    const size_t bytes = variable ? sizeof(char *) : size_add(H5Tget_size(names->type), 1);
    char *strings = NULL;
    bool filled = false;
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_cset(type, H5Tget_cset(names->type));
    H5Tset_size(type, variable ? H5T_VARIABLE : bytes);

    TRY(source_allocate(&strings, count, bytes, names->name, error));
    TRY(read_array(names, count, type, strings, error));
    filled = true;
    TRY(memory_allocate(&data->class_names, count, sizeof *data->class_names, "class names",
                        error));
    for (size_t i = 0; i < count; i++) {
        const char *name = variable ? ((char **)(void *)strings)[i] : strings + i * bytes;
        TRY(memory_copy_text(&data->class_names[i], name ? name : "", error));
    }
out:
    if (filled && variable)
        H5Dvlen_reclaim(type, names->space, H5P_DEFAULT, strings);
    H5Tclose(type);
    free(strings);
    return status;
}

static enum colonnade_status read_names(struct dataset *data, hid_t file, const char *file_name,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct array names = closed_array;
    if (H5Lexists(file, "/classes", H5P_DEFAULT) <= 0)
        goto out;
    TRY(open_array(&names, file, file_name, "/classes", error));
    if (H5Tget_class(names.type) != H5T_STRING || names.rank != 1)
        RAISE(COLONNADE_FAILURE, "%s: is not a list of strings", names.name);
    if (names.sizes[0] < 1 || names.sizes[0] > DATA_MAX_CLASSES)
        RAISE(COLONNADE_FAILURE, "%s: %" PRIuHSIZE " names; there can be 1 to %d", names.name,
              names.sizes[0], DATA_MAX_CLASSES);
    data->classes = (int)names.sizes[0];
    TRY(copy_names(&names, data, error));
out:
    close_array(&names);
    return status;
}

/* How its images were made to fit, if they were: as image files are to be that it is used on. What
 * is no single text of variable length is an attribute of somebody else's. */
static enum colonnade_status read_fit(struct dataset *data, hid_t file, const char *file_name,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    hid_t attribute = -1, space = -1, type = -1, memory_type = -1;
    char *word = NULL;
    if (H5Aexists(file, "fit") <= 0)
        goto out;
    attribute = H5Aopen(file, "fit", H5P_DEFAULT);
    space = attribute < 0 ? -1 : H5Aget_space(attribute);
    type = attribute < 0 ? -1 : H5Aget_type(attribute);
    if (space < 0 || type < 0)
        RAISE(COLONNADE_FAILURE, "%s: attribute fit cannot be read", file_name);
    if (H5Tis_variable_str(type) <= 0 || H5Sget_simple_extent_npoints(space) != 1)
        goto out;
    memory_type = H5Tcopy(H5T_C_S1);
    H5Tset_cset(memory_type, H5Tget_cset(type));
    H5Tset_size(memory_type, H5T_VARIABLE);
    if (H5Aread(attribute, memory_type, &word) < 0)
        RAISE(COLONNADE_FAILURE, "%s: attribute fit cannot be read", file_name);
    const int found = word ? find_name(word, image_fit_names) : -1;
    if (found < 0)
        RAISE(COLONNADE_FAILURE, "%s: attribute fit = %.64s; it is crop, pad or stretch", file_name,
              word ? word : "");
    data->fit = (enum image_fit)found;
out:
    H5free_memory(word);
    if (memory_type >= 0)
        H5Tclose(memory_type);
    if (type >= 0)
        H5Tclose(type);
    if (space >= 0)
        H5Sclose(space);
    if (attribute >= 0)
        H5Aclose(attribute);
    return status;
}

static enum colonnade_status open_file(hid_t *file, const char *path, struct colonnade_error *error)
{
    if (H5Fis_hdf5(path) <= 0)
        return error_set(error, COLONNADE_FAILURE, "%s: is not an HDF5 file", path);
    *file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (*file < 0)
        return error_set(error, COLONNADE_FAILURE,
                         "%s: cannot be opened: truncated, damaged, or open for writing elsewhere",
                         path);
    return COLONNADE_OK;
}

static enum colonnade_status read_file(struct dataset *data, const struct data_settings *settings,
                                       enum data_wanted wanted, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char *path = settings->path;
    hid_t file = -1;
    TRY(open_file(&file, path, error));
    TRY(read_names(data, file, path, error));
    TRY(read_fit(data, file, path, error));
    if (wanted != DATA_TEST || data->classes == 0)
        TRY(read_split(data, &data->train, file, path, true, settings->limit_train,
                       wanted >= DATA_TRAIN, error));
    if (wanted >= DATA_TEST)
        TRY(read_split(data, &data->test, file, path, false, settings->limit_test, true, error));
out:
    if (file >= 0)
        H5Fclose(file);
    return status;
}

static enum colonnade_status open_hdf5(struct dataset *data, const struct data_settings *settings,
                                       enum data_wanted wanted, struct colonnade_error *error)
{
    H5E_auto2_t print;
    void *print_data;
    H5Eget_auto2(H5E_DEFAULT, &print, &print_data);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    enum colonnade_status status = read_file(data, settings, wanted, error);
    H5Eset_auto2(H5E_DEFAULT, print, print_data);
    return status;
}

bool dataset_seems_transposed(const struct dataset *data)
{
    const bool colours = data->h == 3 || data->h == 4;
    const bool square = data->h == 1 && data->w == data->c; /* others may be signals */
    return strcmp(data->source, hdf5_source.name) == 0 && (colours || square) && data->c > 4;
}

const struct source_type hdf5_source = {
    .name = "hdf5",
    .help = "one HDF5 file with /train/images, /train/labels, /test/images, /test/labels",
    .keys = (const char *const[]){"path", NULL},
    .open = open_hdf5,
};
