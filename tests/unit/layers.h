/* The layers of the five standard models, for tests of kernels and for bench/kernels. */
#ifndef TESTS_UNIT_LAYERS_H
#define TESTS_UNIT_LAYERS_H

#include "kernels/kernels.h"

enum layer_kind {
    LAYER_CONV,
    LAYER_MAXPOOL,
    LAYER_GLOBALAVGPOOL,
    LAYER_DENSE,
    LAYER_BATCHNORM,
    LAYER_RELU,
    LAYER_EPILOGUE, /* bias and relu */
    LAYER_ADD,
};

struct layer {
    const char *model, *name; /* the first that has it */
    enum layer_kind kind;
    int batch;          /* images a mini-batch */
    enum layout layout; /* of the input, as the engine plans it */
    /* Dense layers: ic inputs and oc units. Layers of values one by one: the same in and out. */
    struct window window;
};

extern const struct layer layers[];
extern const size_t layer_count;

#endif
