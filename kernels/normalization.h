/* Normalisation. Statistics are taken tile by tile and combined in a fixed order.
 *
 * moments           of n images of `extent`, per channel: mean[c], and m2[c], the sum of squared
 *                   deviations from it (two passes: the tile is in cache)
 * moments_combine   `parts` tiles, tile p of images[p] images of hw pixels, mean at
 *                   means[p * 2 * c + channel] and m2 c elements after it -> the same for all
 *                   elements together (Chan, Golub & LeVeque 1983), in order p = 0, 1, ...
 * scale_shift       y = x * scale[c] + shift[c]; y may be x
 * batchnorm_reduce  sums[0..c) = sum dy, sums[c..2c) = sum dy * (x - mean[c]) * inverse[c],
 *                   where inverse = 1 / sqrt(variance + eps)
 * batchnorm_backward dx = a[c] * dy + b[c] * x + d[c], added to dx with `accumulate`;
 *                   dx may be dy
 * groupnorm_*       g groups of channels, each normalised over its channels and pixels in each
 *                   image; g = 1 is layernorm over [c, h, w]. statistics: [n, g, 2] mean and
 *                   inverse. backward adds to dweight and dbias (each [c]).
 * layernorm_*       over the channels of each pixel. statistics: [n, hw, 2]
 * lrn_*             torch.nn.LocalResponseNorm: across channels, zero-padded, `size` wide:
 *                   y = x / (k + alpha / size * sum x^2)^beta; backward needs x alone
 */
#ifndef KERNELS_NORMALIZATION_H
#define KERNELS_NORMALIZATION_H

#define NORMALIZATION_KERNELS(X)                                                                   \
    X(moments, (struct extent extent, int n, const float *x, double *mean, double *m2))            \
    X(moments_combine, (int c, int hw, size_t parts, const size_t *images, const double *means,    \
                        double *mean, double *m2))                                                 \
    X(scale_shift, (struct extent extent, int n, const float *x, const float *scale,               \
                    const float *shift, float *y))                                                 \
    X(batchnorm_reduce, (struct extent extent, int n, const float *x, const float *dy,             \
                         const float *mean, const float *inverse, double *sums))                   \
    X(batchnorm_backward,                                                                          \
      (struct extent extent, int n, const float *x, const float *dy, const float *a,               \
       const float *b, const float *d, bool accumulate, float *dx))                                \
    X(groupnorm_forward, (struct extent extent, int n, int g, float eps, const float *x,           \
                          const float *weight, const float *bias, float *y, float *statistics))    \
    X(groupnorm_backward,                                                                          \
      (struct extent extent, int n, int g, const float *x, const float *dy, const float *weight,   \
       const float *statistics, bool accumulate, float *dx, float *dweight, float *dbias))         \
    X(layernorm_forward, (struct extent extent, int n, float eps, const float *x,                  \
                          const float *weight, const float *bias, float *y, float *statistics))    \
    X(layernorm_backward,                                                                          \
      (struct extent extent, int n, const float *x, const float *dy, const float *weight,          \
       const float *statistics, bool accumulate, float *dx, float *dweight, float *dbias))         \
    X(lrn_forward, (struct extent extent, int n, int size, float alpha, float beta, float k,       \
                    const float *x, float *y))                                                     \
    X(lrn_backward, (struct extent extent, int n, int size, float alpha, float beta, float k,      \
                     const float *x, const float *dy, bool accumulate, float *dx))

#endif
