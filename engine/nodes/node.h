/* What a node type is: one row, in one file of engine/nodes/, listed in table.c.
 *
 * A row names the keys that it accepts, says which shape comes out and which parameters there
 * are (build), what a plan has to provide (plan), and runs forward and backward on one tile: a
 * few whole images of a mini-batch. A node knows nothing of threads, of stages, or of other nodes.
 *
 * A result over the whole mini-batch (a batch norm's statistics) comes about in two steps: the
 * reduce phase leaves a partial result for each tile, finish combines them in order. The plan
 * puts a barrier between.
 */
#ifndef ENGINE_NODES_NODE_H
#define ENGINE_NODES_NODE_H

#include "engine/config/config.h"
#include "kernels/kernels.h"

enum { NODE_PARAMETERS = 4, PARAMETER_RANK = 5, NODE_INPUTS = 64 };

struct shape {
    int c, h, w;
};

enum initializer {
    INIT_HE,      /* normal, deviation sqrt(2 / fan_in) */
    INIT_XAVIER,  /* uniform, bound sqrt(6 / (fan_in + fan_out)) */
    INIT_LECUN,   /* normal, deviation sqrt(1 / fan_in) */
    INIT_UNIFORM, /* uniform, bound sqrt(1 / fan_in): PyTorch's default for conv and dense */
    INIT_ZERO,
    INIT_DIRAC,    /* as INIT_UNIFORM, but output i passes input i on, for as many as there are */
    INIT_CONSTANT, /* `constant` */
};
extern const char *const initializer_names[]; /* NULL-terminated; those a user may write */

/* A trainable array or a buffer (a running mean). dims are what files and users see (PyTorch's
 * shape and order); element (i0, ...) of `extents`, whose row-major order is that of dims, lies at
 * offset + sum of i * strides in the model's array. */
struct parameter {
    const char *suffix; /* "weight": the full name is NODE.SUFFIX */
    bool trainable;
    int rank, dims[4];
    int groups; /* of outputs, which see only their own inputs */
    int extents[PARAMETER_RANK];
    size_t strides[PARAMETER_RANK];
    size_t count, offset; /* floats; the offset is the graph's to give */
    enum initializer initializer;
    double constant;
    size_t fan_in, fan_out;
};

/* Bias and activation that follow a node: the graph makes a node of their own of them, which may
 * then be taken after a pooling instead of before. */
struct epilogue {
    bool bias;
    enum activation activation;
    float alpha;
    const char *node; /* the type of a node that comes after it, which the user could have written
                       * with its keys' defaults; NULL: none */
};

struct node {
    char *name;
    const struct node_type *type;
    int line;  /* of its section; 0 where it has none */
    int owner; /* the declared node that it belongs to: itself, or the one it was made for */
    int inputs[NODE_INPUTS];
    int written[NODE_INPUTS]; /* of a declared node: those whose outputs it takes where written */
    int input_count;          /* of either */
    struct shape in, out;     /* of the first input; of the output: what of them is made */
    int moved;                /* maxima that it is taken after, though written before them */
    struct shape declared;    /* of the whole output where it was written */
    enum layout in_layout, out_layout;       /* how images lie in memory */
    const struct node *sources[NODE_INPUTS]; /* the nodes behind `inputs` */
    void *settings;                          /* of type->settings_size bytes */
    void *lowered;                           /* what build derived; freed with free() */
    struct parameter parameters[NODE_PARAMETERS];
    int parameter_count;
    uint64_t macs;     /* multiply-adds, an image, of the whole output */
    int padding[4];    /* t, l, b, r as resolved */
    bool has_gradient; /* whether its output's gradient is wanted by anything */
    bool follows;      /* it stands in no section: it is the activation of the node before it */
    bool frozen;       /* its weights stay as they are: in training it does what it does in
                        * evaluation */
};

/* What a node wants of a plan. All zero is a fine answer. */
struct node_plan {
    size_t saved;            /* bytes an image kept from forward to backward */
    size_t state;            /* floats kept from finish to the end of backward */
    size_t forward_partial;  /* doubles a tile leaves in the forward reduce phase */
    size_t backward_partial; /* the same, backward */
    size_t scratch;          /* floats for a call */
    int images;              /* a tile of fewer images would be slow; 0: any */
    bool needs_input;        /* backward reads x */
    bool needs_output;       /* backward reads y */
    bool forward_in_place;   /* y may be x[0] */
    bool backward_in_place;  /* dx[0] may be dy */
    bool passes_gradient;    /* every dx is dy: the plan may let them share memory */
    bool needs_dx;           /* backward writes dx[0] even where nobody wants it */
    bool accumulates;        /* backward leaves parameter gradients, tile after tile */
    bool prepares;           /* prepare runs before a step: it may fill the state from weights */
    int weight_tiles;        /* > 0: backward_weights makes the parameter gradients instead */
};

struct tile {
    const struct kernels *kernels;
    int first, n; /* images [first, first + n) of the mini-batch */
    bool training;
    const float *x[NODE_INPUTS]; /* inputs, at image `first` */
    float *y;                    /* output, at image `first` */
    const float *dy;
    float *dx[NODE_INPUTS];       /* NULL: not wanted */
    bool accumulate[NODE_INPUTS]; /* add to dx instead of overwriting it */
    const float *parameters;      /* the model's arrays: index by parameter.offset */
    float *buffers;
    float *gradients;          /* as parameters */
    bool accumulate_gradients; /* add to them instead of overwriting */
    void *saved;               /* at image `first` */
    float *state;
    double *partial;
    float *scratch;
    const struct batch *batch;
    uint64_t seed;
    uint32_t step;         /* counts optimizer steps from 0: for draws that differ each time */
    float label_smoothing; /* the loss's */
    double *loss;          /* the loss leaves each image's here, */
    int32_t *rank;         /* and how many classes came before its label's */
};

/* Partial results of all tiles, in order. */
struct reduction {
    size_t parts;
    const size_t *images;   /* [parts] images of each tile */
    const double *partials; /* [parts, doubles a tile] */
};

/* A mistake in a node's section: raised with its file and line. */
struct node_build {
    const struct config *config;
    const struct section *section;
    int classes; /* of the data, for units = classes */
};

/* One experiment on a node type, for the gradient checks and the documentation of a row. */
struct node_example {
    struct shape in;
    const char *keys; /* "kernel = 3\nstride = 2" */
    int inputs;       /* how many of that shape; 0 means 1 */
};

struct node_type {
    const char *name, *help;
    const struct key *keys;
    size_t key_count, settings_size;
    int inputs_least, inputs_most;
    bool internal;                       /* made by the graph, never written by users */
    const struct node_example *examples; /* ends with keys = NULL */
    bool takes_maximum;                  /* each output is the largest of some inputs */
    bool takes_unequal;                  /* inputs may differ in their channels */
    bool gives_any;                      /* of an activation: every number may come out */
    /* What stands in `settings` about bias and activation; NULL: nothing. */
    struct epilogue (*epilogue)(const void *settings);
    /* Whether y = f(x) elementwise with an f that never decreases; NULL: no. */
    bool (*monotone)(const struct node *node);
    /* The rows and columns of its input that it reads, from the first on; NULL: all. */
    struct shape (*reads)(const struct node *node);
    /* Whether it can make less than its whole output: the first rows and columns, as many as `out`
     * has then; NULL: no. */
    bool (*cuts)(const struct node *node);
    /* Sets out, layouts, parameters, macs, padding from in, in_layout and settings. */
    enum colonnade_status (*build)(struct node *node, const struct node_build *build,
                                   struct colonnade_error *error);
    void (*plan)(const struct node *node, struct node_plan *plan);
    void (*prepare)(const struct node *node, const struct tile *tile);
    void (*forward_reduce)(const struct node *node, const struct tile *tile);
    void (*forward_finish)(const struct node *node, const struct reduction *reduction,
                           const struct tile *tile);
    void (*forward)(const struct node *node, const struct tile *tile);
    void (*backward_reduce)(const struct node *node, const struct tile *tile);
    void (*backward_finish)(const struct node *node, const struct reduction *reduction,
                            const struct tile *tile);
    void (*backward)(const struct node *node, const struct tile *tile);
    /* Tile `index` of the parameter gradients over all tile->n images of the mini-batch. */
    void (*backward_weights)(const struct node *node, const struct tile *tile, int index);
};

extern const struct node_type *const node_types[];        /* NULL-terminated */
const struct node_type *node_type_find(const char *name); /* not the internal ones */

/* How many inputs of the `count` nodes are the output of the one at `index`. */
int node_readers(const struct node *nodes, int count, int index);

static inline int shape_pixels(struct shape shape)
{
    return shape.h * shape.w;
}

static inline size_t shape_size(struct shape shape)
{
    return (size_t)shape.c * (size_t)shape.h * (size_t)shape.w;
}

static inline struct extent node_extent_in(const struct node *node)
{
    return (struct extent){node->in.c, shape_pixels(node->in), node->in_layout};
}

static inline struct extent node_extent_out(const struct node *node)
{
    return (struct extent){node->out.c, shape_pixels(node->out), node->out_layout};
}

static inline const float *node_parameter(const struct node *node, const struct tile *tile, int i)
{
    return tile->parameters + node->parameters[i].offset;
}

static inline float *node_gradient(const struct node *node, const struct tile *tile, int i)
{
    return tile->gradients + node->parameters[i].offset;
}

/* The output has the input's shape and layout; and the build of a type with no more to it. */
void node_keep_shape(struct node *node);
enum colonnade_status node_build_alike(struct node *node, const struct node_build *build,
                                       struct colonnade_error *error);

/* Adds a parameter whose memory order is its row-major order. */
struct parameter *node_add_parameter(struct node *node, const char *suffix, int rank,
                                     const int *dims, enum initializer initializer);

#endif
