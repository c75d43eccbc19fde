/* Batch normalisation: moments of a tile, of all tiles together, and the passes that apply them.
 * It knows nothing of tiles; the caller combines theirs. */
#include "view.h"

#include <string.h>

void KERNEL(moments)(struct extent e, int n, const float *x, double *mean, double *m2)
{
    const double count = (double)n * e.hw;
    struct view v;
    for (size_t c0 = 0; c0 < (size_t)e.c; c0 += v.period) {
        v = KERNEL(view_of)(e, (size_t)n, c0, (size_t)e.c);
        KERNEL(view_moments)(&v, x + c0 * channel_stride(e), count, mean + c0, m2 + c0);
    }
}

void KERNEL(moments_combine)(int c, int hw, size_t parts, const size_t *images, const double *means,
                             double *mean, double *m2)
{
    const size_t channels = (size_t)c;
    double total = 0;
    memset(mean, 0, channels * sizeof(double));
    memset(m2, 0, channels * sizeof(double));
    for (size_t p = 0; p < parts; p++) {
        if (images[p] == 0)
            continue;
        const double *part_mean = means + p * 2 * channels, *part_m2 = part_mean + channels;
        const double before = total, count = (double)images[p] * hw;
        total += count;
#pragma omp simd
        for (size_t j = 0; j < channels; j++) {
            const double delta = part_mean[j] - mean[j];
            mean[j] += delta * (count / total);
            m2[j] += part_m2[j] + delta * delta * (before * count / total);
        }
    }
}

void KERNEL(scale_shift)(struct extent e, int n, const float *x, const float *scale,
                         const float *shift, float *y)
{
    struct view v;
    for (size_t c0 = 0; c0 < (size_t)e.c; c0 += v.period) {
        v = KERNEL(view_of)(e, (size_t)n, c0, (size_t)e.c);
        const size_t from = c0 * channel_stride(e);
        KERNEL(block_scale_shift)(e, (size_t)n, &v, x + from, scale + c0, shift + c0, y + from);
    }
}

void KERNEL(batchnorm_reduce)(struct extent e, int n, const float *x, const float *dy,
                              const float *mean, const float *inverse, double *sums)
{
    double first[BLOCK], second[BLOCK];
    struct view v;
    for (size_t c0 = 0; c0 < (size_t)e.c; c0 += v.period) {
        v = KERNEL(view_of)(e, (size_t)n, c0, (size_t)e.c);
        const size_t from = c0 * channel_stride(e);
        KERNEL(view_products)(&v, x + from, dy + from, mean + c0, first, second);
        memcpy(sums + c0, first, v.period * sizeof(double));
        for (size_t j = 0; j < v.period; j++)
            sums[(size_t)e.c + c0 + j] = second[j] * (double)inverse[c0 + j];
    }
}

void KERNEL(batchnorm_backward)(struct extent e, int n, const float *x, const float *dy,
                                const float *a, const float *b, const float *d, bool accumulate,
                                float *dx)
{
    struct view v;
    for (size_t c0 = 0; c0 < (size_t)e.c; c0 += v.period) {
        v = KERNEL(view_of)(e, (size_t)n, c0, (size_t)e.c);
        const size_t from = c0 * channel_stride(e);
        KERNEL(block_gradient)
        (e, (size_t)n, &v, x + from, dy + from, a + c0, b + c0, d + c0, accumulate, dx + from);
    }
}
