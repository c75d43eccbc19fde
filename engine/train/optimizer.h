/* Optimizers: a row each in optimizer_types[]. State lies like the model's parameters. */
#ifndef ENGINE_TRAIN_OPTIMIZER_H
#define ENGINE_TRAIN_OPTIMIZER_H

#include "engine/graph/graph.h"

enum { OPTIMIZER_STATES = 2 };

struct optimizer_type {
    const char *name, *help;
    const char *states[OPTIMIZER_STATES]; /* names of its arrays in the run file; NULL: unused */
    /* The kernel, out of a table (element states unused by the kernel are NULL). */
    void (*step)(const struct kernels *kernels, const struct optimizer_settings *settings,
                 long step, size_t n, const float *g, float *w, float *state0, float *state1);
};

extern const struct optimizer_type *const optimizer_types[];
extern const char *const optimizer_names[]; /* NULL-terminated, same order */

struct optimizer {
    const struct optimizer_type *type;
    size_t count;                      /* parameters */
    float *states[OPTIMIZER_STATES];   /* [count] each, zero at first */
    double *partials;                  /* of the gradient's norm, a slice each */
};

enum colonnade_status optimizer_create(struct optimizer **optimizer, int type, size_t count,
                                       struct colonnade_error *error);
void optimizer_destroy(struct optimizer *optimizer);
size_t optimizer_bytes(int type, size_t count);

/* One update of all parameters, in slices of fixed size on `threads` threads; `step` counts from
 * 1. Returns the global norm of the gradients (before any clipping), summed in a fixed order. */
double optimizer_step(struct optimizer *optimizer, const struct optimizer_settings *settings,
                      long step, int threads, const float *gradients, float *parameters);

#endif
