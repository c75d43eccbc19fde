/* Views: how the normalisations see channels in memory, for themselves alone.
 *
 * Every reduction over pixels runs on a view: rows of at most BLOCK floats, summed column by column
 * in float over at most STRIPE rows and then in double, so that precision does not fall with the
 * number of rows.
 */
#ifndef KERNELS_VIEW_H
#define KERNELS_VIEW_H

#include "kernels.h"

#include <math.h>

enum {
    BLOCK = 512, /* floats a row of a view, at the most: accumulators and coefficients stay in L1 */
    PLANE = 64,  /* the same where a row is of one channel, so that little is left to fold */
    STRIPE = 256 /* rows summed in float, at the most */
};

/* What a block of channels looks like in memory, over all n images. */
struct view {
    size_t pieces, piece_stride; /* the rows below come so many times, so many floats apart */
    size_t rows, stride;
    size_t width;  /* floats a row, at most BLOCK */
    size_t tail;   /* floats of one more row, a shorter one; 0: there is none */
    size_t period; /* channels: column j of a row is channel j % period; the width is one channel's,
                    * or a power of two times the period */
};

static inline size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Whether channels are contiguous; one channel or one pixel makes both layouts the same. */
static inline bool channels_inner(struct extent e)
{
    return e.c > 1 && (e.layout == LAYOUT_NHWC || e.hw == 1);
}

static inline size_t image_size(struct extent e)
{
    return (size_t)e.c * (size_t)e.hw;
}

/* Floats from a channel to the next. */
static inline size_t channel_stride(struct extent e)
{
    return channels_inner(e) ? 1 : (size_t)e.hw;
}

static inline float inverse_deviation(double m2, double count, float eps)
{
    return (float)(1 / sqrt(m2 / count + (double)eps));
}

/* sum += partial */
static inline void drain(size_t width, const float *restrict partial, double *restrict sum)
{
#pragma omp simd
    for (size_t j = 0; j < width; j++)
        sum[j] += (double)partial[j];
}

/* Channels [c0, c1) of n images, or as many of them as one view takes. */
struct view KERNEL(view_of)(struct extent e, size_t n, size_t c0, size_t c1);

/* Mean and sum of squared deviations of each of the view's channels, of `count` elements each. */
void KERNEL(view_moments)(const struct view *v, const float *x, double count, double *mean,
                          double *m2);

/* first[channel] = sum dy, second[channel] = sum dy * (x - shift[channel]); both [BLOCK]. */
void KERNEL(view_products)(const struct view *v, const float *x, const float *dy,
                           const float *shift, double *first, double *second);

/* y = x * scale + shift, and dx = a * dy + b * x + d or dx += that, with coefficients that begin
 * with the view's first channel. */
void KERNEL(block_scale_shift)(struct extent e, size_t n, const struct view *v, const float *x,
                               const float *scale, const float *shift, float *y);
void KERNEL(block_gradient)(struct extent e, size_t n, const struct view *v, const float *x,
                            const float *dy, const float *a, const float *b, const float *d,
                            bool accumulate, float *dx);

#endif
