/* A Keras model under construction: the lines of a Python function that builds it, and the weights
 * that belong to its layers. A failure (memory) stays and is raised at the end.
 */
#ifndef ENGINE_EXPORT_KERAS_H
#define ENGINE_EXPORT_KERAS_H

#include "engine/export/network.h"

#include <stdio.h>

enum { KERAS_RANK = 4, KERAS_WEIGHTS = 4 };

struct keras_weight {
    const char *name; /* Keras's: "kernel" */
    int rank, dims[KERAS_RANK];
    float *values; /* [dims], row-major; the model's */
};

/* What is kept for a layer. Its name is its node's, with "node-" before an underscore: TensorFlow
 * takes no name that begins with one. */
struct keras_layer {
    char *name;
    struct keras_weight weights[KERAS_WEIGHTS];
    int weight_count;
    /* How a vector is ordered that was flattened as [h, w, c], where the run's is [c, h, w]; all
     * zero where both are the same. */
    struct shape order;
    int steps; /* Keras layers that it consists of so far */
};

struct keras_model {
    const struct network *network;
    struct keras_layer *layers;                          /* [network->count] */
    FILE *build;                                         /* the function's lines */
    bool uses_pad, uses_lrn, uses_last, uses_hard_swish; /* helpers of keras_script.c */
    enum colonnade_status status;
    struct colonnade_error error;
};

/* Adds a layer's lines and weights, those of the layers before it being there. */
enum colonnade_status keras_add_layer(struct keras_model *model, const struct layer *layer,
                                      struct colonnade_error *error);
/* The lines before the first layer, and after the last one. */
void keras_begin(struct keras_model *model);
void keras_end(struct keras_model *model);

/* The whole script around the function's `build` lines; `weights` is the path of the weights. */
void keras_write_script(FILE *script, const struct keras_model *model, const char *build,
                        const char *weights);

/* The weights and the samples in HDF5, as Keras's legacy format has them. */
enum colonnade_status keras_make_weights(const struct keras_model *model, const char *path,
                                         unsigned char **bytes, size_t *count,
                                         struct colonnade_error *error);

/* Root attribute by which an export is told from other files. */
#define KERAS_MARK "exported_by"

#endif
