/* Sums and passes over views: what the normalisations are made of. */
#include "view.h"

#include <math.h>
#include <string.h>

/* As many channels of [c0, c1) as one view takes. Narrow pixels are taken several to a row. */
static struct view view_rows(struct extent e, size_t n, size_t c0, size_t c1)
{
    const size_t c = (size_t)e.c, rows = n * (size_t)e.hw;
    if (c > BLOCK) {
        const size_t width = least(BLOCK, c1 - c0);
        return (struct view){1, 0, rows, c, width, 0, width};
    }
    size_t fold = 1;
    while (2 * fold * c <= BLOCK && 2 * fold <= rows)
        fold *= 2;
    return (struct view){1, 0, rows / fold, fold * c, fold * c, rows % fold * c, c};
}

/* One channel; the rows are images where an image's plane is no longer than a row. */
static struct view view_plane(struct extent e, size_t n)
{
    const size_t hw = (size_t)e.hw;
    if (hw <= PLANE)
        return (struct view){1, 0, n, image_size(e), hw, 0, 1};
    return (struct view){n, image_size(e), hw / PLANE, PLANE, PLANE, hw % PLANE, 1};
}

struct view KERNEL(view_of)(struct extent e, size_t n, size_t c0, size_t c1)
{
    return channels_inner(e) ? view_rows(e, n, c0, c1) : view_plane(e, n);
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
    for (size_t half = v->width / 2; half >= v->period; half /= 2)
#pragma omp simd
        for (size_t j = 0; j < half; j++)
            sum[j] += sum[half + j];
}

/* Coefficients of channels, repeated over a row. */
static void repeat_columns(const struct view *v, const float *of_channel, float *row)
{
    if (v->period == 1) {
        for (size_t j = 0; j < v->width; j++)
            row[j] = *of_channel;
        return;
    }
    memcpy(row, of_channel, v->period * sizeof(float));
    for (size_t done = v->period; done < v->width; done *= 2)
        memcpy(row + done, row, done * sizeof(float));
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
void KERNEL(view_products)(const struct view *v, const float *x, const float *dy,
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
void KERNEL(view_moments)(const struct view *v, const float *x, double count, double *mean,
                          double *m2)
{
    double first[BLOCK], second[BLOCK];
    float about[BLOCK] = {0}, shift[BLOCK]; /* zeros: gcc cannot know that there is a channel */
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

void KERNEL(block_scale_shift)(struct extent e, size_t n, const struct view *v, const float *x,
                               const float *scale, const float *shift, float *y)
{
    if (channels_inner(e))
        view_scale_shift(v, x, scale, shift, y);
    else
        plane_scale_shift(e, n, x, *scale, *shift, y);
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

void KERNEL(block_gradient)(struct extent e, size_t n, const struct view *v, const float *x,
                            const float *dy, const float *a, const float *b, const float *d,
                            bool accumulate, float *dx)
{
    if (channels_inner(e))
        view_gradient(v, x, dy, a, b, d, accumulate, dx);
    else
        plane_gradient(e, n, x, dy, *a, *b, *d, accumulate, dx);
}
