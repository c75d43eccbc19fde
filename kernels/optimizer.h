/* Optimizer updates over n parameters w with gradients g; what PyTorch 1.13's
 * torch.optim computes under the same names. State arrays begin as zeros. `step` counts from 1.
 * Weight decay is added to the gradient, but in adamw taken from the weights (decoupled).
 */
#ifndef KERNELS_OPTIMIZER_H
#define KERNELS_OPTIMIZER_H

struct optimizer_settings {
    double lr, momentum, weight_decay;
    double beta1, beta2; /* adam, adamw; rmsprop's alpha is beta2 */
    double eps;
    bool nesterov;
};

#define OPTIMIZER_KERNELS(X)                                                                       \
    X(sgd_step, (const struct optimizer_settings *settings, long step, size_t n, const float *g,   \
                 float *w, float *velocity, float *unused))                                        \
    X(adam_step, (const struct optimizer_settings *settings, long step, size_t n, const float *g,  \
                  float *w, float *mean, float *square))                                           \
    X(adamw_step, (const struct optimizer_settings *settings, long step, size_t n, const float *g, \
                   float *w, float *mean, float *square))                                          \
    X(rmsprop_step, (const struct optimizer_settings *settings, long step, size_t n,               \
                     const float *g, float *w, float *square, float *velocity))                    \
    /* average += rate * (w - average) */                                                          \
    X(average_step, (float rate, size_t n, const float *w, float *average))

#endif
