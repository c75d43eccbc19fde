/* Optimizers: a row each in optimizer_types[]. State lies like the model's parameters. */
#ifndef ENGINE_TRAIN_OPTIMIZER_H
#define ENGINE_TRAIN_OPTIMIZER_H

#include "engine/base/error.h"
#include "kernels/kernels.h"

enum { OPTIMIZER_STATES = 2 };

struct optimizer_type {
    const char *name, *help;
    const char *const *keys;              /* of [train], those that not all optimizers read */
    const char *states[OPTIMIZER_STATES]; /* names of its arrays, as PyTorch's; NULL: unused */
    double lr, weight_decay, beta2;       /* defaults, PyTorch's where it has one */
    /* The kernel, out of a table (states unused by the kernel are NULL). */
    void (*step)(const struct kernels *kernels, const struct optimizer_settings *settings,
                 long step, size_t n, const float *g, float *w, float *state0, float *state1);
};

extern const struct optimizer_type *const optimizer_types[];
extern const char *const optimizer_names[]; /* NULL-terminated, same order */

struct optimizer {
    const struct optimizer_type *type;
    size_t count;                    /* parameters */
    float *states[OPTIMIZER_STATES]; /* [count] each, zero at first */
    double *partials;                /* of the gradient's squared norm, a slice each */
};

enum colonnade_status optimizer_create(struct optimizer **optimizer, int type, size_t count,
                                       struct colonnade_error *error);
void optimizer_destroy(struct optimizer *optimizer);
size_t optimizer_bytes(int type, size_t count);

/* One update of all parameters, in slices of fixed size on `threads` threads; `step` counts from
 * 1. Returns the global norm of the gradients, summed in a fixed order. With clip_norm > 0 and a
 * norm above it the gradients are scaled first, in place, by clip_norm / (norm + 1e-6): torch's
 * clip_grad_norm_. */
double optimizer_step(struct optimizer *optimizer, const struct optimizer_settings *settings,
                      double clip_norm, long step, int threads, float *gradients,
                      float *parameters);

/* average += rate * (values - average), of `count` floats, in slices as above. */
void average_update(size_t count, double rate, const float *values, float *average, int threads);

#endif
