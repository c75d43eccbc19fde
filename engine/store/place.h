/* Groups, datasets and attributes of one HDF5 file, each written or read in one call, with errors
 * that say where. Knows nothing of runs.
 *
 * On disk numbers are little-endian, and texts are UTF-8 of variable length, which h5py reads as
 * str. HDF5's own printing of errors is off between hdf5_quiet_begin() and hdf5_quiet_end(): all
 * else has to stand between the two.
 */
#ifndef ENGINE_STORE_PLACE_H
#define ENGINE_STORE_PLACE_H

#include "engine/base/error.h"

#include <hdf5.h>

struct place {
    const char *path; /* of the file, as messages name it */
    hid_t id;         /* of a group or dataset, open */
};

struct hdf5_quiet {
    H5E_auto2_t print;
    void *context;
};

void hdf5_quiet_begin(struct hdf5_quiet *quiet);
void hdf5_quiet_end(const struct hdf5_quiet *quiet);

/* What HDF5 said of the call that failed last: to be asked before any other call. */
struct hdf5_reason {
    char text[256];
};
struct hdf5_reason hdf5_reason(void);

/* What an element is in memory; its width on disk stands beside it. */
enum value_type {
    VALUE_INT,    /* int: 32 bits */
    VALUE_LONG,   /* long: 64 */
    VALUE_SIZE,   /* size_t: 64, no sign */
    VALUE_INT64,  /* int64_t */
    VALUE_UINT8,  /* uint8_t */
    VALUE_UINT32, /* uint32_t */
    VALUE_UINT64, /* uint64_t */
    VALUE_FLOAT,  /* float: 32 */
    VALUE_DOUBLE, /* double: 64 */
};

enum { ARRAY_RANK = 4, SHAPE_BYTES = 128 };

struct array {
    enum value_type type;
    int rank;
    hsize_t dims[ARRAY_RANK];
    const char *labels[ARRAY_RANK]; /* of the dimensions, for dimension scales; NULL: none */
    hsize_t chunk; /* elements; > 0: extendible along its first dimension, without end */
};

/* "FILE: /GROUP/NAME: " before the message; `name` may be NULL. A COLONNADE_FAILURE. */
enum colonnade_status place_error(struct place place, const char *name,
                                  struct colonnade_error *error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

enum colonnade_status place_create_group(struct place place, const char *name, struct place *group,
                                         struct colonnade_error *error);
/* Opens a group or dataset; the caller closes. */
enum colonnade_status place_open(struct place place, const char *name, struct place *found,
                                 struct colonnade_error *error);
/* Any handle of HDF5; a negative one is fine. */
void place_close(hid_t id);

bool place_has(struct place place, const char *name);
bool place_has_attribute(struct place place, const char *name);
enum colonnade_status place_count(struct place place, size_t *links, struct colonnade_error *error);

/* Attributes: `count` elements in one dimension, or a scalar where it is 0. */
enum colonnade_status place_write_attribute(struct place place, const char *name,
                                            enum value_type type, size_t count, const void *values,
                                            struct colonnade_error *error);
enum colonnade_status place_read_attribute(struct place place, const char *name,
                                           enum value_type type, size_t count, void *values,
                                           struct colonnade_error *error);
enum colonnade_status place_write_text(struct place place, const char *name, const char *text,
                                       struct colonnade_error *error);
/* The caller frees `*text`. */
enum colonnade_status place_read_text(struct place place, const char *name, char **text,
                                      struct colonnade_error *error);

/* An attribute of `count` ASCII texts of one fixed length, or a scalar where it is 0: the form for
 * readers that know no other. */
enum colonnade_status place_write_ascii(struct place place, const char *name, size_t count,
                                        const char *const *texts, struct colonnade_error *error);

/* Datasets. Reading checks rank and dims against `array` before anything is read; so does checking,
 * before memory is asked for. */
enum colonnade_status place_write_array(struct place place, const char *name,
                                        const struct array *array, const void *values,
                                        struct colonnade_error *error);
enum colonnade_status place_check_array(struct place place, const char *name,
                                        const struct array *array, struct colonnade_error *error);
enum colonnade_status place_read_array(struct place place, const char *name,
                                       const struct array *array, void *values,
                                       struct colonnade_error *error);
/* The first dimension of an array that has to be of `rank` dimensions. It is at most INT_MAX, and
 * the array no larger than its file could hold: a damaged size is found here, and not by asking
 * for the memory. */
enum colonnade_status place_read_length(struct place place, const char *name, int rank,
                                        hsize_t *length, struct colonnade_error *error);
/* Makes the dataset `scale` the dimension scale of another one's first dimension: what its elements
 * are numbered by. */
enum colonnade_status place_attach_scale(struct place group, const char *scale, const char *name,
                                         struct colonnade_error *error);

/* What a dataset is that nothing is known of. */
struct found_array {
    int rank;
    hsize_t dims[H5S_MAX_RANK];
    bool is_float; /* of floating-point numbers, of any width */
};
enum colonnade_status place_find_array(struct place place, const char *name,
                                       struct found_array *found, struct colonnade_error *error);
/* "[6, 1, 5, 5]" */
void shape_print(char text[SHAPE_BYTES], int rank, const hsize_t *dims);

/* The names in a group, byte by byte; the caller frees each and the list, also on error. */
enum colonnade_status place_list(struct place group, char ***names, size_t *count,
                                 struct colonnade_error *error);

/* A dataset of texts; both arrays hold `count`. Reading allocates each text by malloc(), zeroed
 * entries where it fails: the caller frees them in any case. */
enum colonnade_status place_write_texts(struct place place, const char *name, size_t count,
                                        char *const *texts, struct colonnade_error *error);
enum colonnade_status place_read_texts(struct place place, const char *name, size_t count,
                                       char **texts, struct colonnade_error *error);

#endif
