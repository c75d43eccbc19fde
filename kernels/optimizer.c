/* Optimizer updates, elementwise. Scalars are worked out in double and used as floats, as PyTorch
 * does with tensors of floats. It knows nothing of what a parameter belongs to, nor of schedules.
 */
#include "kernels.h"

#include <math.h>

void KERNEL(sgd_step)(const struct optimizer_settings *settings, long step, size_t n,
                      const float *g, float *w, float *velocity, float *unused)
{
    const float lr = (float)settings->lr, decay = (float)settings->weight_decay;
    const float momentum = (float)settings->momentum;
    const bool nesterov = settings->nesterov;
    if (momentum == 0.0f) {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            w[i] -= lr * (g[i] + decay * w[i]);
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float gradient = g[i] + decay * w[i];
        velocity[i] = momentum * velocity[i] + gradient;
        w[i] -= lr * (nesterov ? gradient + momentum * velocity[i] : velocity[i]);
    }
}

/* What adam and adamw share: `decay` into the gradient, weights first times `keep`. */
static inline void adam(const struct optimizer_settings *settings, long step, float decay,
                        float keep, size_t n, const float *g, float *w, float *mean, float *square)
{
    const float beta1 = (float)settings->beta1, rest1 = (float)(1.0 - settings->beta1);
    const float beta2 = (float)settings->beta2, rest2 = (float)(1.0 - settings->beta2);
    const float eps = (float)settings->eps;
    const double correction1 = 1.0 - pow(settings->beta1, (double)step);
    const double correction2 = 1.0 - pow(settings->beta2, (double)step);
    const float rate = (float)(settings->lr / correction1);
    const float inverse_root = (float)(1.0 / sqrt(correction2));
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float gradient = g[i] + decay * w[i];
        mean[i] = beta1 * mean[i] + rest1 * gradient;
        square[i] = beta2 * square[i] + rest2 * gradient * gradient;
        w[i] = keep * w[i] - rate * mean[i] / (sqrtf(square[i]) * inverse_root + eps);
    }
}

void KERNEL(adam_step)(const struct optimizer_settings *settings, long step, size_t n,
                       const float *g, float *w, float *mean, float *square)
{
    adam(settings, step, (float)settings->weight_decay, 1.0f, n, g, w, mean, square);
}

void KERNEL(adamw_step)(const struct optimizer_settings *settings, long step, size_t n,
                        const float *g, float *w, float *mean, float *square)
{
    adam(settings, step, 0.0f, (float)(1.0 - settings->lr * settings->weight_decay), n, g, w, mean,
         square);
}

void KERNEL(rmsprop_step)(const struct optimizer_settings *settings, long step, size_t n,
                          const float *g, float *w, float *square, float *velocity)
{
    const float lr = (float)settings->lr, decay = (float)settings->weight_decay;
    const float momentum = (float)settings->momentum, eps = (float)settings->eps;
    const float alpha = (float)settings->beta2, rest = (float)(1.0 - settings->beta2);
    const bool moving = momentum > 0.0f;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float gradient = g[i] + decay * w[i];
        square[i] = alpha * square[i] + rest * gradient * gradient;
        float update = gradient / (sqrtf(square[i]) + eps);
        if (moving)
            update = velocity[i] = momentum * velocity[i] + update;
        w[i] -= lr * update;
    }
}

void KERNEL(average_step)(float rate, size_t n, const float *w, float *average)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        average[i] += rate * (w[i] - average[i]);
}
