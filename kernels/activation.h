/* Activations, with the bias of the layer before them in the same pass.
 *
 * activation_forward   y = f(x + bias[c]) over n images of `extent`; bias NULL is none;
 *                      y may be x
 * activation_backward  dx = dy * f'(.), or dx += that with `accumulate`; dx may be dy.
 *                      `value` is the forward's output y, or its input x where
 *                      activation_needs_input(kind) (then `bias` is as in the forward).
 *                      dbias (NULL: none) [c] += the sum over images and pixels of dy * f'.
 *
 * `alpha`: leaky_relu's slope, elu's alpha; others ignore it. Formulas are PyTorch's: gelu the
 * exact one with erf, hardswish x * clamp(x + 3, 0, 6) / 6, relu'(0) = 0.
 *
 * softmax_*    over the channels of each pixel; backward from the output y
 * prelu_*      slope[c] (or slope[0] for all where `shared`); backward adds to dslope
 */
#ifndef KERNELS_ACTIVATION_H
#define KERNELS_ACTIVATION_H

enum activation {
    ACTIVATION_NONE,
    ACTIVATION_RELU,
    ACTIVATION_RELU6,
    ACTIVATION_LEAKY_RELU,
    ACTIVATION_ELU,
    ACTIVATION_SIGMOID,
    ACTIVATION_TANH,
    ACTIVATION_GELU,
    ACTIVATION_SILU,
    ACTIVATION_HARDSWISH,
    ACTIVATION_COUNT
};

/* Whether f' cannot be had from f's value alone. */
static inline bool activation_needs_input(enum activation kind)
{
    return kind == ACTIVATION_GELU || kind == ACTIVATION_SILU || kind == ACTIVATION_HARDSWISH;
}

/* Whether f never decreases, so that it may be taken after a maximum instead of before. */
static inline bool activation_is_monotone(enum activation kind)
{
    return !activation_needs_input(kind);
}

#define ACTIVATION_KERNELS(X)                                                                      \
    X(activation_forward, (enum activation kind, float alpha, struct extent extent, int n,         \
                           const float *x, const float *bias, float *y))                           \
    X(activation_backward,                                                                         \
      (enum activation kind, float alpha, struct extent extent, int n, const float *value,         \
       const float *bias, const float *dy, bool accumulate, float *dx, float *dbias))              \
    X(softmax_forward, (struct extent extent, int n, const float *x, float *y))                    \
    X(softmax_backward,                                                                            \
      (struct extent extent, int n, const float *y, const float *dy, bool accumulate, float *dx))  \
    X(prelu_forward,                                                                               \
      (struct extent extent, int n, bool shared, const float *slope, const float *x, float *y))    \
    X(prelu_backward,                                                                              \
      (struct extent extent, int n, bool shared, const float *slope, const float *x,               \
       const float *dy, bool accumulate, float *dx, float *dslope))

#endif
