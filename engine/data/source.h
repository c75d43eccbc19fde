/* What the sources share while they fill a dataset. Private to engine/data/. */
#ifndef ENGINE_DATA_SOURCE_H
#define ENGINE_DATA_SOURCE_H

#include "engine/data/dataset.h"

extern const struct source_type idx_source, cifar10_source, cifar100_source, folder_source,
    hdf5_source, synthetic_source;

/* A COLONNADE_FAILURE: "FILE:LINE: [data] path = PATH: " and what is wrong with it. */
enum colonnade_status source_path_error(const struct data_settings *settings,
                                        struct colonnade_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sizes in these come from files and configs. `name` is the file, dataset or setting that an
 * error begins with. */

/* memory_allocate(), but more than there is on the machine is an error at once, not a process
 * killed. */
enum colonnade_status source_allocate(void *pointer, size_t count, size_t size, const char *name,
                                      struct colonnade_error *error);

/* How many bytes of images are kept in memory. */
size_t source_memory(const struct data_settings *settings);

/* The shape of the first split that is read becomes the dataset's, the others' must equal it. */
enum colonnade_status source_set_shape(struct dataset *data, uint64_t h, uint64_t w, uint64_t c,
                                       const char *name, struct colonnade_error *error);

/* Room for the first `limit` (0: all) of `count` images of the dataset's shape. */
enum colonnade_status source_allocate_split(const struct dataset *data, struct split *split,
                                            uint64_t count, uint64_t limit, const char *name,
                                            struct colonnade_error *error);

/* Where data->classes is 0 it becomes the highest label + 1. Every label must be in [0, classes),
 * unless the dataset is inspected. The first split->count of the `count` labels are kept. */
enum colonnade_status source_set_labels(struct dataset *data, struct split *split,
                                        const int64_t *labels, size_t count, const char *name,
                                        struct colonnade_error *error);

#endif
