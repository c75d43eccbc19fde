/* The dealings with HDF5's handles: each call opens what it needs, and closes it on every way out.
 * Knows nothing of runs.
 */
#include "engine/store/place.h"

#include "engine/base/memory.h"

#include <hdf5_hl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WHERE_BYTES = 512, MESSAGE_BYTES = 1536 };

/* Raises where HDF5 says no, with what it says. */
#define CALL(place, name, what, call)                                                              \
    do {                                                                                           \
        if ((call) < 0) {                                                                          \
            status = hdf5_error((place), (name), (what), error);                                   \
            goto out;                                                                              \
        }                                                                                          \
    } while (0)

void hdf5_quiet_begin(struct hdf5_quiet *quiet)
{
    H5Eget_auto2(H5E_DEFAULT, &quiet->print, &quiet->context);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void hdf5_quiet_end(const struct hdf5_quiet *quiet)
{
    H5Eset_auto2(H5E_DEFAULT, quiet->print, quiet->context);
}

/* "/state_dict/conv1.weight", or "/" for the root. */
static void describe(struct place place, const char *name, char where[WHERE_BYTES])
{
    char group[WHERE_BYTES];
    if (H5Iget_name(place.id, group, sizeof group) <= 0)
        snprintf(group, sizeof group, "/");
    const char *slash = strcmp(group, "/") == 0 ? "" : "/";
    const int length = name ? snprintf(where, WHERE_BYTES, "%s%s%s", group, slash, name)
                            : snprintf(where, WHERE_BYTES, "%s", group);
    if (length >= WHERE_BYTES)
        memcpy(where + WHERE_BYTES - 4, "...", 4);
}

enum colonnade_status place_error(struct place place, const char *name,
                                  struct colonnade_error *error, const char *format, ...)
{
    char where[WHERE_BYTES], message[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    describe(place, name, where);
    return error_set(error, COLONNADE_FAILURE, "%s: %s: %s", place.path, where, message);
}

/* The entry where the error came up; all others say who had called. */
static herr_t take_innermost(unsigned depth, const H5E_error2_t *entry, void *context)
{
    struct hdf5_reason *reason = context;
    if (depth == 0 && entry->desc)
        snprintf(reason->text, sizeof reason->text, "%s", entry->desc);
    return 0;
}

struct hdf5_reason hdf5_reason(void)
{
    struct hdf5_reason reason = {"no reason given"};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, &reason);
    return reason;
}

static enum colonnade_status hdf5_error(struct place place, const char *name, const char *what,
                                        struct colonnade_error *error)
{
    const struct hdf5_reason reason = hdf5_reason();
    return place_error(place, name, error, "%s (HDF5: %s)", what, reason.text);
}

static hid_t disk_type(enum value_type type)
{
    switch (type) {
    case VALUE_INT:
        return H5T_STD_I32LE;
    case VALUE_LONG:
    case VALUE_INT64:
        return H5T_STD_I64LE;
    case VALUE_UINT8:
        return H5T_STD_U8LE;
    case VALUE_UINT32:
        return H5T_STD_U32LE;
    case VALUE_SIZE:
    case VALUE_UINT64:
        return H5T_STD_U64LE;
    case VALUE_FLOAT:
        return H5T_IEEE_F32LE;
    case VALUE_DOUBLE:
        return H5T_IEEE_F64LE;
    }
    return H5I_INVALID_HID;
}

static hid_t memory_type(enum value_type type)
{
    switch (type) {
    case VALUE_INT:
        return H5T_NATIVE_INT;
    case VALUE_LONG:
        return H5T_NATIVE_LONG;
    case VALUE_SIZE:
        return sizeof(size_t) == sizeof(long) ? H5T_NATIVE_ULONG : H5T_NATIVE_UINT;
    case VALUE_INT64:
        return H5T_NATIVE_INT64;
    case VALUE_UINT8:
        return H5T_NATIVE_UINT8;
    case VALUE_UINT32:
        return H5T_NATIVE_UINT32;
    case VALUE_UINT64:
        return H5T_NATIVE_UINT64;
    case VALUE_FLOAT:
        return H5T_NATIVE_FLOAT;
    case VALUE_DOUBLE:
        return H5T_NATIVE_DOUBLE;
    }
    return H5I_INVALID_HID;
}

static hid_t create_text_type(void)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 &&
        (H5Tset_size(type, H5T_VARIABLE) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        H5Tclose(type);
        return H5I_INVALID_HID;
    }
    return type;
}

enum colonnade_status place_create_group(struct place place, const char *name, struct place *group,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const hid_t id = H5Gcreate2(place.id, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    CALL(place, name, "cannot be made", id);
    *group = (struct place){place.path, id};
out:
    return status;
}

enum colonnade_status place_open(struct place place, const char *name, struct place *found,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    if (!place_has(place, name))
        return place_error(place, name, error, "missing");
    const hid_t id = H5Oopen(place.id, name, H5P_DEFAULT);
    CALL(place, name, "cannot be opened", id);
    *found = (struct place){place.path, id};
out:
    return status;
}

void place_close(hid_t id)
{
    if (id >= 0)
        H5Idec_ref(id);
}

bool place_has(struct place place, const char *name)
{
    return H5Lexists(place.id, name, H5P_DEFAULT) > 0;
}

bool place_has_attribute(struct place place, const char *name)
{
    return H5Aexists(place.id, name) > 0;
}

enum colonnade_status place_count(struct place place, size_t *links, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    H5G_info_t info;
    CALL(place, NULL, "is not a group that can be read", H5Gget_info(place.id, &info));
    *links = (size_t)info.nlinks;
out:
    return status;
}

static enum colonnade_status list_name(struct place group, hsize_t index, char **name,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const ssize_t length =
        H5Lget_name_by_idx(group.id, ".", H5_INDEX_NAME, H5_ITER_INC, index, NULL, 0, H5P_DEFAULT);
    CALL(group, NULL, "has a name that cannot be read", length);
    const size_t bytes = (size_t)length + 1;
    TRY(memory_allocate(name, bytes, 1, "a name", error));
    CALL(group, NULL, "has a name that cannot be read",
         H5Lget_name_by_idx(group.id, ".", H5_INDEX_NAME, H5_ITER_INC, index, *name, bytes,
                            H5P_DEFAULT));
out:
    return status;
}

enum colonnade_status place_list(struct place group, char ***names, size_t *count,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(place_count(group, count, error));
    TRY(memory_allocate(names, *count, sizeof **names, "names", error));
    for (size_t i = 0; i < *count; i++)
        TRY(list_name(group, i, &(*names)[i], error));
out:
    return status;
}

/* `types`: on disk, and in memory. */
static enum colonnade_status write_attribute(struct place place, const char *name, hid_t disk,
                                             hid_t memory, size_t count, const void *values,
                                             struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const hsize_t dims[] = {count};
    hid_t attribute = H5I_INVALID_HID;
    const hid_t space = count ? H5Screate_simple(1, dims, NULL) : H5Screate(H5S_SCALAR);
    CALL(place, name, "attribute cannot be made", space);
    attribute = H5Acreate2(place.id, name, disk, space, H5P_DEFAULT, H5P_DEFAULT);
    CALL(place, name, "attribute cannot be made", attribute);
    CALL(place, name, "attribute cannot be written", H5Awrite(attribute, memory, values));
out:
    place_close(attribute);
    place_close(space);
    return status;
}

enum colonnade_status place_write_attribute(struct place place, const char *name,
                                            enum value_type type, size_t count, const void *values,
                                            struct colonnade_error *error)
{
    return write_attribute(place, name, disk_type(type), memory_type(type), count, values, error);
}

enum colonnade_status place_write_text(struct place place, const char *name, const char *text,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const hid_t type = create_text_type();
    CALL(place, name, "attribute cannot be made", type);
    TRY(write_attribute(place, name, type, type, 0, &text, error));
out:
    place_close(type);
    return status;
}

/* The texts one after another, each in `length` bytes, filled up with zeros. */
static enum colonnade_status pack_texts(size_t count, const char *const *texts, size_t *length,
                                        char **packed, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    *length = 1;
    for (size_t i = 0; i < count; i++)
        if (strlen(texts[i]) > *length)
            *length = strlen(texts[i]);
    TRY(memory_allocate(packed, size_multiply(count, *length), 1, "texts", error));
    for (size_t i = 0; i < count; i++)
        memcpy(*packed + i * *length, texts[i], strlen(texts[i]));
out:
    return status;
}

enum colonnade_status place_write_ascii(struct place place, const char *name, size_t count,
                                        const char *const *texts, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *packed = NULL;
    size_t length;
    const hid_t type = H5Tcopy(H5T_C_S1);
    TRY(pack_texts(count ? count : 1, texts, &length, &packed, error));
    if (type < 0 || H5Tset_size(type, length) < 0 || H5Tset_strpad(type, H5T_STR_NULLPAD) < 0)
        CALL(place, name, "attribute cannot be made", H5I_INVALID_HID);
    TRY(write_attribute(place, name, type, type, count, packed, error));
out:
    free(packed);
    place_close(type);
    return status;
}

/* Opens an attribute of `count` elements. */
static enum colonnade_status open_attribute(struct place place, const char *name, size_t count,
                                            hid_t *attribute, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    hid_t space = H5I_INVALID_HID;
    if (!place_has_attribute(place, name))
        return place_error(place, name, error, "attribute missing");
    *attribute = H5Aopen(place.id, name, H5P_DEFAULT);
    CALL(place, name, "attribute cannot be opened", *attribute);
    space = H5Aget_space(*attribute);
    CALL(place, name, "attribute cannot be opened", space);
    const hssize_t found = H5Sget_simple_extent_npoints(space);
    if (found < 0 || (size_t)found != (count ? count : 1))
        status = place_error(place, name, error, "attribute has %lld values instead of %zu",
                             (long long)found, count ? count : 1);
out:
    place_close(space);
    return status;
}

enum colonnade_status place_read_attribute(struct place place, const char *name,
                                           enum value_type type, size_t count, void *values,
                                           struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    hid_t attribute = H5I_INVALID_HID;
    TRY(open_attribute(place, name, count, &attribute, error));
    CALL(place, name, "attribute cannot be read", H5Aread(attribute, memory_type(type), values));
out:
    place_close(attribute);
    return status;
}

/* Whether an attribute's or a dataset's type is that of our texts: HDF5 would take the bytes of
 * any other for pointers or refuse in words that nobody understands. */
static bool is_text(hid_t type)
{
    return type >= 0 && H5Tis_variable_str(type) > 0;
}

enum colonnade_status place_read_text(struct place place, const char *name, char **text,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    hid_t attribute = H5I_INVALID_HID, found = H5I_INVALID_HID;
    char *value = NULL;
    const hid_t type = create_text_type();
    CALL(place, name, "attribute cannot be read", type);
    TRY(open_attribute(place, name, 0, &attribute, error));
    found = H5Aget_type(attribute);
    if (!is_text(found)) {
        status = place_error(place, name, error, "attribute is not a text of variable length");
        goto out;
    }
    CALL(place, name, "attribute cannot be read", H5Aread(attribute, type, &value));
    TRY(memory_copy_text(text, value ? value : "", error));
out:
    H5free_memory(value);
    place_close(found);
    place_close(attribute);
    place_close(type);
    return status;
}

static hid_t create_array_space(const struct array *array)
{
    hsize_t most[ARRAY_RANK];
    memcpy(most, array->dims, sizeof most);
    if (array->chunk)
        most[0] = H5S_UNLIMITED;
    return H5Screate_simple(array->rank, array->dims, most);
}

/* How a dataset lies in the file: without times, so that equal runs make equal bytes. */
static hid_t create_array_properties(const struct array *array)
{
    const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    if (properties < 0)
        return properties;
    hsize_t chunk[ARRAY_RANK];
    memcpy(chunk, array->dims, sizeof chunk);
    chunk[0] = array->chunk;
    if (H5Pset_obj_track_times(properties, false) < 0 ||
        (array->chunk && H5Pset_chunk(properties, array->rank, chunk) < 0)) {
        H5Pclose(properties);
        return H5I_INVALID_HID;
    }
    return properties;
}

static enum colonnade_status write_array(struct place place, const char *name, hid_t disk,
                                         hid_t memory, const struct array *array,
                                         const void *values, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    hid_t set = H5I_INVALID_HID, properties = H5I_INVALID_HID;
    const hid_t space = create_array_space(array);
    CALL(place, name, "cannot be made", space);
    properties = create_array_properties(array);
    CALL(place, name, "cannot be made", properties);
    set = H5Dcreate2(place.id, name, disk, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    CALL(place, name, "cannot be made", set);
    if (H5Sget_simple_extent_npoints(space) > 0)
        CALL(place, name, "cannot be written",
             H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
    for (int i = 0; i < array->rank; i++)
        if (array->labels[i])
            CALL(place, name, "dimension cannot be labelled",
                 H5DSset_label(set, (unsigned)i, array->labels[i]));
out:
    place_close(set);
    place_close(properties);
    place_close(space);
    return status;
}

enum colonnade_status place_write_array(struct place place, const char *name,
                                        const struct array *array, const void *values,
                                        struct colonnade_error *error)
{
    return write_array(place, name, disk_type(array->type), memory_type(array->type), array, values,
                       error);
}

enum colonnade_status place_attach_scale(struct place group, const char *scale, const char *name,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place numbers = {.id = H5I_INVALID_HID}, set = {.id = H5I_INVALID_HID};
    TRY(place_open(group, scale, &numbers, error));
    TRY(place_open(group, name, &set, error));
    if (H5DSis_scale(numbers.id) <= 0)
        CALL(group, scale, "cannot become a dimension scale", H5DSset_scale(numbers.id, scale));
    CALL(group, name, "cannot be given a dimension scale", H5DSattach_scale(set.id, numbers.id, 0));
out:
    place_close(set.id);
    place_close(numbers.id);
    return status;
}

enum colonnade_status place_write_texts(struct place place, const char *name, size_t count,
                                        char *const *texts, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct array array = {.rank = 1, .dims = {count}};
    const hid_t type = create_text_type();
    CALL(place, name, "cannot be made", type);
    TRY(write_array(place, name, type, type, &array, texts, error));
out:
    place_close(type);
    return status;
}

/* A dataset and its dims. */
struct open_array {
    hid_t set, space;
    int rank;
    hsize_t dims[H5S_MAX_RANK];
};

static void close_array(const struct open_array *array)
{
    place_close(array->space);
    place_close(array->set);
}

static enum colonnade_status open_array(struct place place, const char *name,
                                        struct open_array *array, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    *array = (struct open_array){.set = H5I_INVALID_HID, .space = H5I_INVALID_HID};
    if (!place_has(place, name))
        return place_error(place, name, error, "missing");
    array->set = H5Dopen2(place.id, name, H5P_DEFAULT);
    CALL(place, name, "is not a dataset that can be read", array->set);
    array->space = H5Dget_space(array->set);
    CALL(place, name, "has no shape that can be read", array->space);
    array->rank = H5Sget_simple_extent_dims(array->space, array->dims, NULL);
    CALL(place, name, "has no shape that can be read", array->rank);
out:
    return status;
}

void shape_print(char text[SHAPE_BYTES], int rank, const hsize_t *dims)
{
    size_t used = (size_t)snprintf(text, SHAPE_BYTES, "[");
    for (int i = 0; i < rank && used < SHAPE_BYTES; i++)
        used += (size_t)snprintf(text + used, SHAPE_BYTES - used, "%s%llu", i ? ", " : "",
                                 (unsigned long long)dims[i]);
    if (used < SHAPE_BYTES)
        snprintf(text + used, SHAPE_BYTES - used, "]");
}

static enum colonnade_status check_shape(struct place place, const char *name,
                                         const struct open_array *found, const struct array *wanted,
                                         struct colonnade_error *error)
{
    bool equal = found->rank == wanted->rank;
    for (int i = 0; equal && i < wanted->rank; i++)
        equal = found->dims[i] == wanted->dims[i];
    if (equal)
        return COLONNADE_OK;
    char got[SHAPE_BYTES], want[SHAPE_BYTES];
    shape_print(got, found->rank, found->dims);
    shape_print(want, wanted->rank, wanted->dims);
    return place_error(place, name, error, "shape is %s instead of %s", got, want);
}

enum colonnade_status place_find_array(struct place place, const char *name,
                                       struct found_array *found, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct open_array array;
    hid_t type = H5I_INVALID_HID;
    TRY(open_array(place, name, &array, error));
    type = H5Dget_type(array.set);
    found->is_float = H5Tget_class(type) == H5T_FLOAT;
    found->rank = array.rank;
    memcpy(found->dims, array.dims, sizeof found->dims);
out:
    place_close(type);
    close_array(&array);
    return status;
}

enum colonnade_status place_check_array(struct place place, const char *name,
                                        const struct array *array, struct colonnade_error *error)
{
    struct open_array found;
    enum colonnade_status status = open_array(place, name, &found, error);
    if (status == COLONNADE_OK)
        status = check_shape(place, name, &found, array, error);
    close_array(&found);
    return status;
}

enum colonnade_status place_read_array(struct place place, const char *name,
                                       const struct array *array, void *values,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct open_array found;
    TRY(open_array(place, name, &found, error));
    TRY(check_shape(place, name, &found, array, error));
    CALL(place, name, "cannot be read",
         H5Dread(found.set, memory_type(array->type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
out:
    close_array(&found);
    return status;
}

enum colonnade_status place_read_length(struct place place, const char *name, int rank,
                                        hsize_t *length, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct open_array found;
    hsize_t file_bytes = 0;
    hid_t file = H5I_INVALID_HID;
    TRY(open_array(place, name, &found, error));
    if (found.rank != rank) {
        status =
            place_error(place, name, error, "has %d dimensions instead of %d", found.rank, rank);
        goto out;
    }
    file = H5Iget_file_id(found.set);
    CALL(place, name, "is in a file of unknown size", H5Fget_filesize(file, &file_bytes));
    const hssize_t elements = H5Sget_simple_extent_npoints(found.space);
    if (elements < 0 || (hsize_t)elements > file_bytes || found.dims[0] > INT_MAX) {
        char shape[SHAPE_BYTES];
        shape_print(shape, found.rank, found.dims);
        status = place_error(place, name, error, "damaged: its shape is %s in a file of %llu bytes",
                             shape, (unsigned long long)file_bytes);
        goto out;
    }
    *length = found.dims[0];
out:
    place_close(file);
    close_array(&found);
    return status;
}

/* HDF5's texts become ours. */
static enum colonnade_status copy_texts(size_t count, char *const *values, char **texts,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (size_t i = 0; i < count; i++)
        TRY(memory_copy_text(&texts[i], values[i] ? values[i] : "", error));
out:
    return status;
}

enum colonnade_status place_read_texts(struct place place, const char *name, size_t count,
                                       char **texts, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct array array = {.rank = 1, .dims = {count}};
    struct open_array found;
    hid_t found_type = H5I_INVALID_HID;
    char **values = NULL;
    const hid_t type = create_text_type();
    TRY(open_array(place, name, &found, error));
    TRY(check_shape(place, name, &found, &array, error));
    found_type = H5Dget_type(found.set);
    if (!is_text(found_type)) {
        status = place_error(place, name, error, "is not of texts of variable length");
        goto out;
    }
    TRY(memory_allocate(&values, count, sizeof *values, "texts", error));
    CALL(place, name, "cannot be read",
         H5Dread(found.set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
    TRY(copy_texts(count, values, texts, error));
out:
    for (size_t i = 0; values && i < count; i++)
        H5free_memory(values[i]);
    free(values);
    place_close(found_type);
    close_array(&found);
    place_close(type);
    return status;
}
