/* A run's network as its user wrote it, for writing it down in another program's words: layers in
 * an order in which each stands after its inputs, every one with its bias and activation, shapes
 * and weights. What the graph does for speed (activations taken after a maximum, orders in memory)
 * is undone here. Knows no format.
 */
#ifndef ENGINE_EXPORT_NETWORK_H
#define ENGINE_EXPORT_NETWORK_H

#include "engine/train/run.h"

enum { LAYER_WEIGHTS = NODE_PARAMETERS + 1 };

/* A trainable array or a buffer in PyTorch's shape and order. */
struct weight {
    char *name;         /* "conv1.weight" */
    const char *suffix; /* "weight" */
    int rank;
    const int *dims; /* [rank] */
    size_t count;
    float *values; /* [dims], row-major */
};

struct layer {
    const struct node *node;    /* the declared node; the data for layers[0] */
    enum activation activation; /* of the node's key, or the node itself where it is one */
    float alpha;                /* of the activation */
    struct shape in, out;       /* where it was written; `in` is that of its first input */
    /* Whether its output is a vector [n, c] where other programs tell one from an image of one
     * pixel: after dense, flatten and globalavgpool, and as long as nothing needs an image. */
    bool vector;
    struct weight weights[LAYER_WEIGHTS];
    int weight_count;
};

struct network {
    const struct run *run;
    struct layer *layers; /* layers[0] is the data, the last one gives the logits */
    int count;
    char **class_names; /* the run's, as UTF-8 */
    int *layer_of;      /* [run->graph->count]: a declared node's place in `layers` */
};

/* Copies the weights that evaluation uses; the rest stays the run's, which has to outlive it. */
enum colonnade_status network_create(struct network **network, const struct run *run,
                                     struct colonnade_error *error);
void network_destroy(struct network *network); /* NULL is fine */

const struct layer *network_input(const struct network *network, const struct layer *layer, int i);

/* NULL where the layer has none of that name. */
const struct weight *layer_weight(const struct layer *layer, const char *suffix);

/* Whether the node is an activation and nothing else. */
bool layer_is_activation(const struct layer *layer);

/* A number or truth value of the node's settings by its key, which has to be one of its type's. */
double layer_number(const struct layer *layer, const char *key);

/* Of conv and the pools. */
const struct window *layer_window(const struct layer *layer);

/* How far the last windows of a pool with `ceil` hang over the padded input, in pixels. */
struct overhang {
    int h, w;
};
struct overhang window_overhang(const struct window *window);

/* For an average over windows that hang over: factors [oh, ow] become kh * kw over the pixels that
 * count. */
void window_corrections(const struct window *window, float *factors);

/* What the network does to a pixel of 0 to 255 first, a channel: (pixel - offset) / scale. */
struct normalization {
    float offset, scale;
};
struct normalization network_normalization(const struct network *network, int channel);

/* The golden inputs as pixels of 0 to 255, [n, c, h, w]. The caller frees. */
enum colonnade_status network_golden_pixels(const struct network *network, float **pixels,
                                            struct colonnade_error *error);

#endif
