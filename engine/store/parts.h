/* The parts of a run file, each with its writer and its reader, and what other files of the program
 * have in common with it. */
#ifndef ENGINE_STORE_PARTS_H
#define ENGINE_STORE_PARTS_H

#include "engine/store/place.h"
#include "engine/train/run.h"

enum { FORMAT_VERSION = 1, SEAL_BYTES = 16 };
#define FORMAT_NAME "colonnade-run"

/* Fills an open file with what `content` is. */
typedef enum colonnade_status store_writer(struct place file, const void *content,
                                           struct colonnade_error *error);

/* The bytes of a new file and their seal, for file_replace(); the caller frees them, also on error.
 * The file is in the oldest form of HDF5 that can hold it: then every HDF5 reads it. */
enum colonnade_status store_make(const char *path, store_writer *write, const void *content,
                                 unsigned char **bytes, size_t *count,
                                 struct colonnade_error *error);

/* The attributes of the root: what file this is, of which config, made by what and where. */
enum colonnade_status store_write_root(struct place file, const char *format,
                                       const struct config *config, uint64_t seed,
                                       enum run_status status, struct colonnade_error *error);

/* Raises where the file is not of that format, which messages call a Colonnade `kind`, or of
 * another version than this program's. */
enum colonnade_status store_check_format(struct place file, const char *format, const char *kind,
                                         struct colonnade_error *error);

/* The root's attribute of that name. */
enum colonnade_status store_read_status(struct place file, enum run_status *status,
                                        struct colonnade_error *error);
/* Who wrote the file: those of the root's attributes that it has. The caller finishes it, also on
 * error. */
enum colonnade_status store_read_origin(struct place file, struct origin *origin,
                                        struct colonnade_error *error);

enum { NAME_BYTES = 256 };

/* A parameter under its full name, NODE.SUFFIX. */
struct named_parameter {
    char name[NAME_BYTES];
    const struct node *node; /* that the user wrote */
    const struct parameter *parameter;
};

/* A graph's, by name, byte by byte. */
struct parameter_list {
    struct named_parameter *items; /* freed with free() */
    size_t count;
    size_t largest; /* floats */
};

/* With `buffers` all of them, else those that an optimizer updates. */
enum colonnade_status parameter_list_create(struct parameter_list *list, const struct graph *graph,
                                            bool buffers, struct colonnade_error *error);
/* What the dataset of a parameter is. */
struct array parameter_array(const struct parameter *parameter);

/* A parameter in a file of weights: its dataset, the shape that this has to have, and how its
 * values lie there: element (i0, ...) of `extents`, whose row-major order is PyTorch's, at the sum
 * of i * strides. */
enum { STORED_PATH_BYTES = 2 * NAME_BYTES };
struct stored_weight {
    char path[STORED_PATH_BYTES];
    struct array array;
    size_t extents[ARRAY_RANK], strides[ARRAY_RANK];
};

/* As /state_dict has it: under its name, in PyTorch's order. */
void stored_weight_plain(const struct named_parameter *item, struct stored_weight *stored);

/* keras.c. The group of layers in a file of Keras's legacy layout; false where it is none. */
bool keras_find_root(struct place file, const char **root);
/* Where that group has a node's parameter; false where it has not. */
bool keras_find(struct place root, const struct named_parameter *item,
                struct stored_weight *stored);

/* A file open for reading, if it is a sound HDF5 file; the caller closes `file->id`. `kind` as for
 * store_check_format(); NULL: any. */
enum colonnade_status store_open(struct place *file, const char *kind,
                                 struct colonnade_error *error);

/* A group of one dataset a parameter, NODE.SUFFIX, in PyTorch's shape and order, with a checksum
 * over all. `parameters` and `buffers` are laid out like the model's arrays of these names; without
 * buffers (NULL) the group is of what an optimizer updates. Reading wants the same names and
 * shapes, no more and no less. */
enum colonnade_status write_parameters(struct place file, const char *group,
                                       const struct graph *graph, const float *parameters,
                                       const float *buffers, struct colonnade_error *error);
enum colonnade_status read_parameters(struct place file, const char *group,
                                      const struct graph *graph, float *parameters, float *buffers,
                                      struct colonnade_error *error);

/* /optimizer but for its state arrays: where the run stands, as attributes of the open group. */
enum colonnade_status write_progress(struct place optimizer, const struct progress *progress,
                                     struct colonnade_error *error);
enum colonnade_status read_progress(struct place optimizer, struct progress *progress,
                                    struct colonnade_error *error);

/* /metrics, a dataset a column. */
enum colonnade_status write_metrics(struct place file, const struct metrics *metrics,
                                    struct colonnade_error *error);
enum colonnade_status read_metrics(struct place file, struct metrics *metrics,
                                   struct colonnade_error *error);

/* /profile: a run is written with one, and read without, but for who asks. `*profile` stays NULL
 * where there is none. */
enum colonnade_status write_profile(struct place file, const struct profile *profile,
                                    const struct graph *graph, struct colonnade_error *error);
enum colonnade_status read_profile(struct place file, struct profile **profile,
                                   const struct graph *graph, struct colonnade_error *error);

/* /evaluation/test; `evaluation` is initialised for its classes. */
enum colonnade_status write_evaluation(struct place file, const struct evaluation *evaluation,
                                       struct colonnade_error *error);
enum colonnade_status read_evaluation(struct place file, struct evaluation *evaluation,
                                      struct colonnade_error *error);

/* /evaluation/test/worst, of `data`'s shape and classes. */
enum colonnade_status write_worst(struct place file, const struct worst *worst,
                                  const struct data_facts *data, struct colonnade_error *error);
enum colonnade_status read_worst(struct place file, struct worst *worst,
                                 const struct data_facts *data, struct colonnade_error *error);

/* /data/samples and /data/sample_labels, of `data`'s shape and classes. */
enum colonnade_status write_samples(struct place file, const struct samples *samples,
                                    const struct data_facts *data, struct colonnade_error *error);
enum colonnade_status read_samples(struct place file, struct samples *samples,
                                   const struct data_facts *data, struct colonnade_error *error);

/* /golden, of `data`'s shape and classes. */
enum colonnade_status write_golden(struct place file, const struct golden *golden,
                                   const struct data_facts *data, struct colonnade_error *error);
enum colonnade_status read_golden(struct place file, struct golden *golden,
                                  const struct data_facts *data, struct colonnade_error *error);

/* What a file of these bytes ends with. */
void seal_make(const void *bytes, size_t count, char seal[SEAL_BYTES]);
/* Raises where the file has a seal and it is wrong. */
enum colonnade_status seal_check(const char *path, struct colonnade_error *error);

#endif
