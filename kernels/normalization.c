/* Normalisation: statistics of channels, groups and pixels, and the passes that apply them.
 *
 * Every reduction over pixels runs on a `view`: rows of at most BLOCK floats, summed column by
 * column in float over at most STRIPE rows and then in double, so that precision does not fall
 * with the number of rows. It knows nothing of tiles; the caller combines theirs.
 */
#include "kernels.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK = 512, /* floats a row of a view, at the most: accumulators and coefficients stay in L1 */
    STRIPE = 256 /* rows summed in float, at the most */
};

/* What a block of channels looks like in memory, over all n images. */
struct view {
    size_t pieces, piece_stride; /* the rows below come so many times, so many floats apart */
    size_t rows, stride;
    size_t width;  /* floats a row, at most BLOCK */
    size_t tail;   /* floats of one more row, a shorter one; 0: there is none */
    size_t period; /* channels: column j of a row is channel j % period */
};

static inline size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Whether channels are contiguous; one channel or one pixel makes both layouts the same. */
static bool channels_inner(struct extent e)
{
    return e.c > 1 && (e.layout == LAYOUT_NHWC || e.hw == 1);
}

static size_t image_size(struct extent e)
{
    return (size_t)e.c * (size_t)e.hw;
}

/* Floats from a channel to the next. */
static size_t channel_stride(struct extent e)
{
    return channels_inner(e) ? 1 : (size_t)e.hw;
}

/* As many channels from `c0` on as one view takes. Narrow pixels are taken several to a row. */
static struct view view_rows(struct extent e, size_t n, size_t c0)
{
    const size_t c = (size_t)e.c, rows = n * (size_t)e.hw;
    if (c > BLOCK) {
        const size_t width = least(BLOCK, c - c0);
        return (struct view){1, 0, rows, c, width, 0, width};
    }
    const size_t fold = least(BLOCK / c, rows > 0 ? rows : 1);
    return (struct view){1, 0, rows / fold, fold * c, fold * c, rows % fold * c, c};
}

/* One channel; the rows are images where an image's plane is no longer than a row. */
static struct view view_plane(struct extent e, size_t n)
{
    const size_t hw = (size_t)e.hw;
    if (hw <= BLOCK)
        return (struct view){1, 0, n, image_size(e), hw, 0, 1};
    return (struct view){n, image_size(e), hw / BLOCK, BLOCK, BLOCK, hw % BLOCK, 1};
}

static struct view view_of(struct extent e, size_t n, size_t c0)
{
    return channels_inner(e) ? view_rows(e, n, c0) : view_plane(e, n);
}

/* Adds up the columns of each channel. */
static void fold_columns(const struct view *v, double *sum)
{
    if (v->period == 1) {
        double total = 0;
#pragma omp simd reduction(+ : total)
        for (size_t j = 0; j < v->width; j++)
            total += sum[j];
        sum[0] = total;
        return;
    }
    for (size_t from = v->period; from < v->width; from += v->period)
#pragma omp simd
        for (size_t j = 0; j < v->period; j++)
            sum[j] += sum[from + j];
}

/* Coefficients of channels, repeated over a row. */
static void repeat_columns(const struct view *v, const float *restrict of_channel,
                           float *restrict row)
{
    for (size_t to = 0; to < v->width; to += v->period)
        memcpy(row + to, of_channel, v->period * sizeof(float));
}

static inline void drain(size_t width, const float *restrict partial, double *restrict sum)
{
#pragma omp simd
    for (size_t j = 0; j < width; j++)
        sum[j] += (double)partial[j];
}

/* partial[j] += x of `rows` rows. */
static void sum_stripe(size_t rows, size_t stride, size_t width, const float *restrict x,
                       float *restrict partial)
{
    size_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const float *x0 = x + r * stride, *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride;
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            partial[j] += (x0[j] + x1[j]) + (x2[j] + x3[j]);
    }
    for (; r < rows; r++) {
        const float *x0 = x + r * stride;
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            partial[j] += x0[j];
    }
}

/* sum[channel] of x. */
static void view_sum(const struct view *v, const float *x, double *sum /* [BLOCK] */)
{
    float partial[BLOCK];
    memset(sum, 0, v->width * sizeof(double));
    for (size_t p = 0; p < v->pieces; p++, x += v->piece_stride) {
        for (size_t r = 0; r < v->rows; r += STRIPE) {
            memset(partial, 0, v->width * sizeof(float));
            sum_stripe(least(STRIPE, v->rows - r), v->stride, v->width, x + r * v->stride, partial);
            drain(v->width, partial, sum);
        }
        drain(v->tail, x + v->rows * v->stride, sum);
    }
    fold_columns(v, sum);
}

/* first[j] += x - shift[j], second[j] += (x - shift[j])^2 of `rows` rows. */
static void spread_stripe(size_t rows, size_t stride, size_t width, const float *restrict x,
                          const float *restrict shift, float *restrict first,
                          float *restrict second)
{
    size_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const float *x0 = x + r * stride, *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride;
#pragma omp simd
        for (size_t j = 0; j < width; j++) {
            const float d0 = x0[j] - shift[j], d1 = x1[j] - shift[j];
            const float d2 = x2[j] - shift[j], d3 = x3[j] - shift[j];
            first[j] += (d0 + d1) + (d2 + d3);
            second[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
        }
    }
    for (; r < rows; r++) {
        const float *x0 = x + r * stride;
#pragma omp simd
        for (size_t j = 0; j < width; j++) {
            const float d0 = x0[j] - shift[j];
            first[j] += d0;
            second[j] += d0 * d0;
        }
    }
}

/* The sums of spread_stripe() over the whole view, shift [width] over a row. */
static void view_spread(const struct view *v, const float *x, const float *shift, double *first,
                        double *second /* both [BLOCK] */)
{
    float partial1[BLOCK], partial2[BLOCK];
    memset(first, 0, v->width * sizeof(double));
    memset(second, 0, v->width * sizeof(double));
    for (size_t p = 0; p < v->pieces; p++, x += v->piece_stride)
        for (size_t r = 0; r == 0 || r < v->rows; r += STRIPE) {
            const size_t rows = least(STRIPE, v->rows - r);
            memset(partial1, 0, v->width * sizeof(float));
            memset(partial2, 0, v->width * sizeof(float));
            spread_stripe(rows, v->stride, v->width, x + r * v->stride, shift, partial1, partial2);
            if (r + rows == v->rows)
                spread_stripe(v->tail > 0, 0, v->tail, x + v->rows * v->stride, shift, partial1,
                              partial2);
            drain(v->width, partial1, first);
            drain(v->width, partial2, second);
        }
    fold_columns(v, first);
    fold_columns(v, second);
}

/* first[j] += dy, second[j] += dy * (x - shift[j]) of `rows` rows. */
static void product_stripe(size_t rows, size_t stride, size_t width, const float *restrict x,
                           const float *restrict dy, const float *restrict shift,
                           float *restrict first, float *restrict second)
{
    size_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const float *x0 = x + r * stride, *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride;
        const float *y0 = dy + r * stride, *y1 = y0 + stride, *y2 = y1 + stride, *y3 = y2 + stride;
#pragma omp simd
        for (size_t j = 0; j < width; j++) {
            first[j] += (y0[j] + y1[j]) + (y2[j] + y3[j]);
            second[j] += (y0[j] * (x0[j] - shift[j]) + y1[j] * (x1[j] - shift[j])) +
                         (y2[j] * (x2[j] - shift[j]) + y3[j] * (x3[j] - shift[j]));
        }
    }
    for (; r < rows; r++) {
        const float *x0 = x + r * stride, *y0 = dy + r * stride;
#pragma omp simd
        for (size_t j = 0; j < width; j++) {
            first[j] += y0[j];
            second[j] += y0[j] * (x0[j] - shift[j]);
        }
    }
}

/* first[channel] = sum dy, second[channel] = sum dy * (x - shift[channel]). */
static void view_products(const struct view *v, const float *x, const float *dy,
                          const float *of_channel, double *first, double *second /* [BLOCK] */)
{
    float shift[BLOCK], partial1[BLOCK], partial2[BLOCK];
    repeat_columns(v, of_channel, shift);
    memset(first, 0, v->width * sizeof(double));
    memset(second, 0, v->width * sizeof(double));
    for (size_t p = 0; p < v->pieces; p++, x += v->piece_stride, dy += v->piece_stride)
        for (size_t r = 0; r == 0 || r < v->rows; r += STRIPE) {
            const size_t rows = least(STRIPE, v->rows - r), end = v->rows * v->stride;
            memset(partial1, 0, v->width * sizeof(float));
            memset(partial2, 0, v->width * sizeof(float));
            product_stripe(rows, v->stride, v->width, x + r * v->stride, dy + r * v->stride, shift,
                           partial1, partial2);
            if (r + rows == v->rows)
                product_stripe(v->tail > 0, 0, v->tail, x + end, dy + end, shift, partial1,
                               partial2);
            drain(v->width, partial1, first);
            drain(v->width, partial2, second);
        }
    fold_columns(v, first);
    fold_columns(v, second);
}

/* The corrected two-pass formula (Chan, Golub & LeVeque): what the mean's rounding leaves in the
 * first moment about it is taken out of both results. */
static void view_moments(const struct view *v, const float *x, double count, double *mean,
                         double *m2)
{
    double first[BLOCK], second[BLOCK];
    float about[BLOCK], shift[BLOCK];
    view_sum(v, x, first);
    for (size_t j = 0; j < v->period; j++)
        about[j] = (float)(first[j] / count);
    repeat_columns(v, about, shift);
    view_spread(v, x, shift, first, second);
    for (size_t j = 0; j < v->period; j++) {
        mean[j] = (double)about[j] + first[j] / count;
        m2[j] = fmax(second[j] - first[j] * first[j] / count, 0);
    }
}

void KERNEL(moments)(struct extent e, int n, const float *x, double *mean, double *m2)
{
    const double count = (double)n * e.hw;
    struct view v;
    for (size_t c0 = 0; c0 < (size_t)e.c; c0 += v.period) {
        v = view_of(e, (size_t)n, c0);
        view_moments(&v, x + c0 * channel_stride(e), count, mean + c0, m2 + c0);
    }
}

void KERNEL(moments_combine)(int c, size_t parts, const size_t *counts, const double *means,
                             double *mean, double *m2)
{
    const size_t channels = (size_t)c;
    double total = 0;
    memset(mean, 0, channels * sizeof(double));
    memset(m2, 0, channels * sizeof(double));
    for (size_t p = 0; p < parts; p++) {
        if (counts[p] == 0)
            continue;
        const double *part_mean = means + p * 2 * channels, *part_m2 = part_mean + channels;
        const double before = total, count = (double)counts[p];
        total += count;
#pragma omp simd
        for (size_t j = 0; j < channels; j++) {
            const double delta = part_mean[j] - mean[j];
            mean[j] += delta * (count / total);
            m2[j] += part_m2[j] + delta * delta * (before * count / total);
        }
    }
}

static inline void scale_shift_row(size_t width, const float *x, const float *restrict scale,
                                   const float *restrict shift, float *y)
{
#pragma omp simd
    for (size_t j = 0; j < width; j++)
        y[j] = x[j] * scale[j] + shift[j];
}

/* Channels from c0 on, as many as the view has; scale and shift begin with channel c0. */
static void view_scale_shift(const struct view *v, const float *x, const float *scale,
                             const float *shift, float *y)
{
    float scales[BLOCK], shifts[BLOCK];
    repeat_columns(v, scale, scales);
    repeat_columns(v, shift, shifts);
    for (size_t r = 0; r < v->rows; r++)
        scale_shift_row(v->width, x + r * v->stride, scales, shifts, y + r * v->stride);
    scale_shift_row(v->tail, x + v->rows * v->stride, scales, shifts, y + v->rows * v->stride);
}

static void plane_scale_shift(struct extent e, size_t n, const float *x, float scale, float shift,
                              float *y)
{
    for (size_t i = 0; i < n; i++, x += image_size(e), y += image_size(e))
#pragma omp simd
        for (size_t j = 0; j < (size_t)e.hw; j++)
            y[j] = x[j] * scale + shift;
}

static void block_scale_shift(struct extent e, size_t n, const struct view *v, const float *x,
                              const float *scale, const float *shift, float *y)
{
    if (channels_inner(e))
        view_scale_shift(v, x, scale, shift, y);
    else
        plane_scale_shift(e, n, x, *scale, *shift, y);
}

void KERNEL(scale_shift)(struct extent e, int n, const float *x, const float *scale,
                         const float *shift, float *y)
{
    struct view v;
    for (size_t c0 = 0; c0 < (size_t)e.c; c0 += v.period) {
        v = view_of(e, (size_t)n, c0);
        const size_t from = c0 * channel_stride(e);
        block_scale_shift(e, (size_t)n, &v, x + from, scale + c0, shift + c0, y + from);
    }
}

void KERNEL(batchnorm_reduce)(struct extent e, int n, const float *x, const float *dy,
                              const float *mean, const float *inverse, double *sums)
{
    double first[BLOCK], second[BLOCK];
    struct view v;
    for (size_t c0 = 0; c0 < (size_t)e.c; c0 += v.period) {
        v = view_of(e, (size_t)n, c0);
        const size_t from = c0 * channel_stride(e);
        view_products(&v, x + from, dy + from, mean + c0, first, second);
        memcpy(sums + c0, first, v.period * sizeof(double));
        for (size_t j = 0; j < v.period; j++)
            sums[(size_t)e.c + c0 + j] = second[j] * (double)inverse[c0 + j];
    }
}

static inline void gradient_row(size_t width, const float *restrict x, const float *dy,
                                const float *restrict a, const float *restrict b,
                                const float *restrict d, bool accumulate, float *dx)
{
    if (accumulate) {
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            dx[j] += a[j] * dy[j] + (b[j] * x[j] + d[j]);
    } else {
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            dx[j] = a[j] * dy[j] + (b[j] * x[j] + d[j]);
    }
}

static void view_gradient(const struct view *v, const float *x, const float *dy, const float *a,
                          const float *b, const float *d, bool accumulate, float *dx)
{
    float as[BLOCK], bs[BLOCK], ds[BLOCK];
    repeat_columns(v, a, as);
    repeat_columns(v, b, bs);
    repeat_columns(v, d, ds);
    for (size_t r = 0; r < v->rows + 1; r++) {
        const size_t from = r * v->stride, width = r < v->rows ? v->width : v->tail;
        gradient_row(width, x + from, dy + from, as, bs, ds, accumulate, dx + from);
    }
}

static void plane_gradient(struct extent e, size_t n, const float *x, const float *dy, float a,
                           float b, float d, bool accumulate, float *dx)
{
    const size_t stride = image_size(e);
    for (size_t i = 0; i < n; i++, x += stride, dy += stride, dx += stride) {
        if (accumulate) {
#pragma omp simd
            for (size_t j = 0; j < (size_t)e.hw; j++)
                dx[j] += a * dy[j] + (b * x[j] + d);
        } else {
#pragma omp simd
            for (size_t j = 0; j < (size_t)e.hw; j++)
                dx[j] = a * dy[j] + (b * x[j] + d);
        }
    }
}

static void block_gradient(struct extent e, size_t n, const struct view *v, const float *x,
                           const float *dy, const float *a, const float *b, const float *d,
                           bool accumulate, float *dx)
{
    if (channels_inner(e))
        view_gradient(v, x, dy, a, b, d, accumulate, dx);
    else
        plane_gradient(e, n, x, dy, *a, *b, *d, accumulate, dx);
}

void KERNEL(batchnorm_backward)(struct extent e, int n, const float *x, const float *dy,
                                const float *a, const float *b, const float *d, bool accumulate,
                                float *dx)
{
    struct view v;
    for (size_t c0 = 0; c0 < (size_t)e.c; c0 += v.period) {
        v = view_of(e, (size_t)n, c0);
        const size_t from = c0 * channel_stride(e);
        block_gradient(e, (size_t)n, &v, x + from, dy + from, a + c0, b + c0, d + c0, accumulate,
                       dx + from);
    }
}
