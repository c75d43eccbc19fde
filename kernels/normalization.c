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

static struct view view_of(struct extent e, size_t n, size_t c0, size_t c1)
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
        v = view_of(e, (size_t)n, c0, (size_t)e.c);
        view_moments(&v, x + c0 * channel_stride(e), count, mean + c0, m2 + c0);
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
        v = view_of(e, (size_t)n, c0, (size_t)e.c);
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
        v = view_of(e, (size_t)n, c0, (size_t)e.c);
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
        v = view_of(e, (size_t)n, c0, (size_t)e.c);
        const size_t from = c0 * channel_stride(e);
        block_gradient(e, (size_t)n, &v, x + from, dy + from, a + c0, b + c0, d + c0, accumulate,
                       dx + from);
    }
}

static inline float inverse_deviation(double m2, double count, float eps)
{
    return (float)(1 / sqrt(m2 / count + (double)eps));
}

/* Mean and inverse deviation of each group of one image, from those of its channels. The squares
 * of the means cancel in double: that costs less than their rounding to float does the data. */
static void group_statistics(struct extent e, size_t g, float eps, const float *x,
                             float *statistics /* [g, 2] */)
{
    const size_t size = (size_t)e.c / g;
    double mean[BLOCK], m2[BLOCK], means = 0, squares = 0, within = 0;
    size_t channels = 0; /* of the group so far */
    struct view v;
    for (size_t c0 = 0; c0 < (size_t)e.c; c0 += v.period) {
        v = view_of(e, 1, c0, (size_t)e.c);
        view_moments(&v, x + c0 * channel_stride(e), e.hw, mean, m2);
        for (size_t j = 0; j < v.period; j++) {
            means += mean[j];
            squares += mean[j] * mean[j];
            within += m2[j];
            if (++channels < size)
                continue;
            const double group_mean = means / (double)size;
            const double between = fmax(squares - group_mean * means, 0) * e.hw;
            *statistics++ = (float)group_mean;
            *statistics++ = inverse_deviation(within + between, (double)size * e.hw, eps);
            means = squares = within = 0;
            channels = 0;
        }
    }
}

/* Their groups' mean and inverse for `count` channels from c0 on. */
static void spread_statistics(size_t size, size_t c0, size_t count, const float *statistics,
                              float *mean, float *inverse)
{
    const float *group = statistics + c0 / size * 2;
    size_t left = size - c0 % size;
    for (size_t j = 0; j < count; j++) {
        mean[j] = group[0];
        inverse[j] = group[1];
        if (--left == 0) {
            left = size;
            group += 2;
        }
    }
}

void KERNEL(groupnorm_forward)(struct extent e, int n, int g, float eps, const float *x,
                               const float *weight, const float *bias, float *y, float *statistics)
{
    const size_t size = (size_t)(e.c / g);
    float mean[BLOCK], scale[BLOCK], shift[BLOCK];
    struct view v;
    for (int i = 0; i < n; i++, x += image_size(e), y += image_size(e), statistics += 2 * g) {
        group_statistics(e, (size_t)g, eps, x, statistics);
        for (size_t c0 = 0; c0 < (size_t)e.c; c0 += v.period) {
            v = view_of(e, 1, c0, (size_t)e.c);
            spread_statistics(size, c0, v.period, statistics, mean, scale);
            for (size_t j = 0; j < v.period; j++) {
                scale[j] *= weight[c0 + j];
                shift[j] = bias[c0 + j] - mean[j] * scale[j];
            }
            const size_t from = c0 * channel_stride(e);
            block_scale_shift(e, 1, &v, x + from, scale, shift, y + from);
        }
    }
}

/* Over groups [g0, g1) of one image, with xh = (x - mean) * inverse: sums[2 * (group - g0)] =
 * sum of weight * dy, and after it the sum of weight * dy * xh; adds to dweight and dbias. */
static void group_reduce(struct extent e, size_t size, size_t g0, size_t g1, const float *x,
                         const float *dy, const float *weight, const float *statistics,
                         double *sums, float *dweight, float *dbias)
{
    double first[BLOCK], second[BLOCK];
    float mean[BLOCK], inverse[BLOCK];
    size_t left = size; /* channels of the group */
    struct view v;
    memset(sums, 0, (g1 - g0) * 2 * sizeof(double));
    for (size_t c0 = g0 * size; c0 < g1 * size; c0 += v.period) {
        v = view_of(e, 1, c0, g1 * size);
        spread_statistics(size, c0, v.period, statistics, mean, inverse);
        const size_t from = c0 * channel_stride(e);
        view_products(&v, x + from, dy + from, mean, first, second);
        for (size_t j = 0; j < v.period; j++) {
            const double product = second[j] * (double)inverse[j];
            dbias[c0 + j] += (float)first[j];
            dweight[c0 + j] += (float)product;
            sums[0] += (double)weight[c0 + j] * first[j];
            sums[1] += (double)weight[c0 + j] * product;
            if (--left == 0) {
                left = size;
                sums += 2;
            }
        }
    }
}

/* sums -> what dx takes from x and from one in its group: dx = inverse * (weight * dy -
 * (sums[0] + xh * sums[1]) / count) = inverse * weight * dy + slope * x + level. */
static void group_coefficients(size_t groups, double count, const float *statistics,
                               const double *sums, float *coefficients /* [groups, 2] */)
{
    for (size_t i = 0; i < 2 * groups; i += 2) {
        const double mean = (double)statistics[i], inverse = (double)statistics[i + 1];
        const double slope = -inverse * inverse * sums[i + 1] / count;
        coefficients[i] = (float)slope;
        coefficients[i + 1] = (float)(-inverse * sums[i] / count - slope * mean);
    }
}

static void group_apply(struct extent e, size_t size, size_t g0, size_t g1, const float *x,
                        const float *dy, const float *weight, const float *statistics,
                        const double *sums, bool accumulate, float *dx)
{
    float coefficients[2 * BLOCK], mean[BLOCK], a[BLOCK], b[BLOCK], d[BLOCK];
    struct view v;
    group_coefficients(g1 - g0, (double)size * e.hw, statistics + 2 * g0, sums, coefficients);
    for (size_t c0 = g0 * size; c0 < g1 * size; c0 += v.period) {
        v = view_of(e, 1, c0, g1 * size);
        spread_statistics(size, c0, v.period, statistics, mean, a);
        spread_statistics(size, c0 - g0 * size, v.period, coefficients, b, d);
        for (size_t j = 0; j < v.period; j++)
            a[j] *= weight[c0 + j];
        const size_t from = c0 * channel_stride(e);
        block_gradient(e, 1, &v, x + from, dy + from, a, b, d, accumulate, dx + from);
    }
}

void KERNEL(groupnorm_backward)(struct extent e, int n, int g, const float *x, const float *dy,
                                const float *weight, const float *statistics, bool accumulate,
                                float *dx, float *dweight, float *dbias)
{
    const size_t groups = (size_t)g, size = (size_t)e.c / groups;
    double sums[2 * BLOCK];
    for (int i = 0; i < n; i++) {
        for (size_t g0 = 0; g0 < groups; g0 += BLOCK) {
            const size_t g1 = least(g0 + BLOCK, groups);
            group_reduce(e, size, g0, g1, x, dy, weight, statistics, sums, dweight, dbias);
            group_apply(e, size, g0, g1, x, dy, weight, statistics, sums, accumulate, dx);
        }
        x += image_size(e);
        dy += image_size(e);
        dx += image_size(e);
        statistics += 2 * groups;
    }
}

/* Mean and inverse deviation of one pixel's channels, contiguous. */
static void pixel_statistics(size_t c, float eps, const float *x, float *statistics /* [2] */)
{
    double sum = 0, first = 0, second = 0;
    for (size_t c0 = 0; c0 < c; c0 += BLOCK) {
        const size_t end = least(c0 + BLOCK, c);
        float partial = 0;
#pragma omp simd reduction(+ : partial)
        for (size_t j = c0; j < end; j++)
            partial += x[j];
        sum += (double)partial;
    }
    const float about = (float)(sum / (double)c);
    for (size_t c0 = 0; c0 < c; c0 += BLOCK) {
        const size_t end = least(c0 + BLOCK, c);
        float partial1 = 0, partial2 = 0;
#pragma omp simd reduction(+ : partial1, partial2)
        for (size_t j = c0; j < end; j++) {
            const float distance = x[j] - about;
            partial1 += distance;
            partial2 += distance * distance;
        }
        first += (double)partial1;
        second += (double)partial2;
    }
    const double count = (double)c;
    statistics[0] = (float)((double)about + first / count);
    statistics[1] = inverse_deviation(fmax(second - first * first / count, 0), count, eps);
}

static void layernorm_forward_inner(size_t pixels, size_t c, float eps, const float *x,
                                    const float *weight, const float *bias, float *y,
                                    float *statistics)
{
    for (size_t p = 0; p < pixels; p++, x += c, y += c, statistics += 2) {
        pixel_statistics(c, eps, x, statistics);
        const float mean = statistics[0], inverse = statistics[1];
#pragma omp simd
        for (size_t j = 0; j < c; j++)
            y[j] = (x[j] - mean) * inverse * weight[j] + bias[j];
    }
}

/* Pixels [p0, p0 + width) of one image as the columns of a view whose rows are channels. */
static struct view view_pixels(struct extent e, size_t p0)
{
    const size_t hw = (size_t)e.hw, width = least(BLOCK, hw - p0);
    return (struct view){1, 0, (size_t)e.c, hw, width, 0, width};
}

static void layernorm_forward_planes(struct extent e, float eps, const float *x,
                                     const float *weight, const float *bias, float *y,
                                     float *statistics)
{
    double moment1[BLOCK], moment2[BLOCK];
    float mean[BLOCK], inverse[BLOCK];
    struct view v;
    for (size_t p0 = 0; p0 < (size_t)e.hw; p0 += v.width) {
        v = view_pixels(e, p0);
        view_moments(&v, x + p0, e.c, moment1, moment2);
        for (size_t j = 0; j < v.width; j++) {
            statistics[2 * (p0 + j)] = mean[j] = (float)moment1[j];
            statistics[2 * (p0 + j) + 1] = inverse[j] = inverse_deviation(moment2[j], e.c, eps);
        }
        for (size_t c = 0; c < v.rows; c++) {
            const float *from = x + c * v.stride + p0;
            float *to = y + c * v.stride + p0;
#pragma omp simd
            for (size_t j = 0; j < v.width; j++)
                to[j] = (from[j] - mean[j]) * inverse[j] * weight[c] + bias[c];
        }
    }
}

void KERNEL(layernorm_forward)(struct extent e, int n, float eps, const float *x,
                               const float *weight, const float *bias, float *y, float *statistics)
{
    const size_t pixels = (size_t)n * (size_t)e.hw;
    if (e.layout == LAYOUT_NHWC || e.hw == 1) {
        layernorm_forward_inner(pixels, (size_t)e.c, eps, x, weight, bias, y, statistics);
        return;
    }
    for (int i = 0; i < n; i++, statistics += 2 * e.hw) {
        const size_t from = (size_t)i * image_size(e);
        layernorm_forward_planes(e, eps, x + from, weight, bias, y + from, statistics);
    }
}

/* dweight and dbias of channels that are contiguous, BLOCK at a time. */
static void layernorm_reduce_inner(size_t pixels, size_t c, const float *x, const float *dy,
                                   const float *statistics, float *dweight, float *dbias)
{
    for (size_t c0 = 0; c0 < c; c0 += BLOCK) {
        const size_t width = least(BLOCK, c - c0);
        double first[BLOCK] = {0}, second[BLOCK] = {0};
        for (size_t p0 = 0; p0 < pixels; p0 += STRIPE) {
            float partial1[BLOCK] = {0}, partial2[BLOCK] = {0};
            for (size_t p = p0; p < least(p0 + STRIPE, pixels); p++) {
                const float mean = statistics[2 * p], inverse = statistics[2 * p + 1];
                const float *x0 = x + p * c + c0, *dy0 = dy + p * c + c0;
#pragma omp simd
                for (size_t j = 0; j < width; j++) {
                    partial1[j] += dy0[j];
                    partial2[j] += dy0[j] * ((x0[j] - mean) * inverse);
                }
            }
            drain(width, partial1, first);
            drain(width, partial2, second);
        }
        for (size_t j = 0; j < width; j++) {
            dbias[c0 + j] += (float)first[j];
            dweight[c0 + j] += (float)second[j];
        }
    }
}

/* dx of one pixel: inverse * (weight * dy - (sum of weight * dy + xh * sum of weight * dy * xh) /
 * c) with xh = (x - mean) * inverse. */
static void layernorm_pixel(size_t c, const float *x, const float *dy, const float *weight,
                            float mean, float inverse, bool accumulate, float *dx)
{
    double first = 0, second = 0;
    for (size_t c0 = 0; c0 < c; c0 += BLOCK) {
        const size_t end = least(c0 + BLOCK, c);
        float partial1 = 0, partial2 = 0;
#pragma omp simd reduction(+ : partial1, partial2)
        for (size_t j = c0; j < end; j++) {
            const float weighted = weight[j] * dy[j];
            partial1 += weighted;
            partial2 += weighted * (x[j] - mean);
        }
        first += (double)partial1;
        second += (double)partial2;
    }
    const double square = (double)inverse * (double)inverse;
    const float level = (float)(first / (double)c), slope = (float)(second * square / (double)c);
    if (accumulate) {
#pragma omp simd
        for (size_t j = 0; j < c; j++)
            dx[j] += inverse * (weight[j] * dy[j] - level - slope * (x[j] - mean));
    } else {
#pragma omp simd
        for (size_t j = 0; j < c; j++)
            dx[j] = inverse * (weight[j] * dy[j] - level - slope * (x[j] - mean));
    }
}

/* Over the channels of pixels [p0, p0 + width): first = sum of weight * dy, second = sum of
 * weight * dy * (x - mean); adds to dweight and dbias. Pointers begin with pixel p0. */
static void layernorm_reduce_planes(const struct view *v, const float *x, const float *dy,
                                    const float *weight, const float *mean, const float *inverse,
                                    double *first, double *second, float *dweight, float *dbias)
{
    memset(first, 0, v->width * sizeof(double));
    memset(second, 0, v->width * sizeof(double));
    for (size_t c0 = 0; c0 < v->rows; c0 += STRIPE) {
        float partial1[BLOCK] = {0}, partial2[BLOCK] = {0};
        for (size_t c = c0; c < least(c0 + STRIPE, v->rows); c++) {
            const float *x0 = x + c * v->stride, *dy0 = dy + c * v->stride;
            float sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
            for (size_t j = 0; j < v->width; j++) {
                const float moved = dy0[j] * (x0[j] - mean[j]);
                sum += dy0[j];
                product += moved * inverse[j];
                partial1[j] += weight[c] * dy0[j];
                partial2[j] += weight[c] * moved;
            }
            dbias[c] += sum;
            dweight[c] += product;
        }
        drain(v->width, partial1, first);
        drain(v->width, partial2, second);
    }
}

static void layernorm_apply_planes(const struct view *v, const float *x, const float *dy,
                                   const float *weight, const float *mean, const float *inverse,
                                   const double *first, const double *second, bool accumulate,
                                   float *dx)
{
    float level[BLOCK], slope[BLOCK];
    const double count = (double)v->rows;
    for (size_t j = 0; j < v->width; j++) {
        level[j] = (float)(first[j] / count);
        slope[j] = (float)(second[j] * (double)inverse[j] * (double)inverse[j] / count);
    }
    for (size_t c = 0; c < v->rows; c++) {
        const float *x0 = x + c * v->stride, *dy0 = dy + c * v->stride;
        float *to = dx + c * v->stride;
#pragma omp simd
        for (size_t j = 0; j < v->width; j++)
            to[j] = inverse[j] * (weight[c] * dy0[j] - level[j] - slope[j] * (x0[j] - mean[j])) +
                    (accumulate ? to[j] : 0);
    }
}

static void layernorm_backward_planes(struct extent e, const float *x, const float *dy,
                                      const float *weight, const float *statistics, bool accumulate,
                                      float *dx, float *dweight, float *dbias)
{
    double first[BLOCK], second[BLOCK];
    float mean[BLOCK], inverse[BLOCK];
    struct view v;
    for (size_t p0 = 0; p0 < (size_t)e.hw; p0 += v.width) {
        v = view_pixels(e, p0);
        for (size_t j = 0; j < v.width; j++) {
            mean[j] = statistics[2 * (p0 + j)];
            inverse[j] = statistics[2 * (p0 + j) + 1];
        }
        layernorm_reduce_planes(&v, x + p0, dy + p0, weight, mean, inverse, first, second, dweight,
                                dbias);
        layernorm_apply_planes(&v, x + p0, dy + p0, weight, mean, inverse, first, second,
                               accumulate, dx + p0);
    }
}

void KERNEL(layernorm_backward)(struct extent e, int n, const float *x, const float *dy,
                                const float *weight, const float *statistics, bool accumulate,
                                float *dx, float *dweight, float *dbias)
{
    const size_t pixels = (size_t)n * (size_t)e.hw, c = (size_t)e.c;
    if (e.layout == LAYOUT_NHWC || e.hw == 1) {
        layernorm_reduce_inner(pixels, c, x, dy, statistics, dweight, dbias);
        for (size_t p = 0; p < pixels; p++)
            layernorm_pixel(c, x + p * c, dy + p * c, weight, statistics[2 * p],
                            statistics[2 * p + 1], accumulate, dx + p * c);
        return;
    }
    for (int i = 0; i < n; i++, statistics += 2 * e.hw) {
        const size_t from = (size_t)i * image_size(e);
        layernorm_backward_planes(e, x + from, dy + from, weight, statistics, accumulate, dx + from,
                                  dweight, dbias);
    }
}

/* A local response's block: channels [from, to) of `pixels` pixels, copied to [channel][pixel],
 * so that a step of one channel is the same shift for both layouts. */
struct block {
    int from, to;
    size_t first_pixel, pixels;
};

struct response {
    struct extent extent;
    int before, after; /* channels of the window on either side */
    int step;          /* channels a block, at the most */
    size_t pixels;     /* pixels a block, at the most */
    float slope;       /* alpha / size */
    float beta, k;
};

static struct response response_of(struct extent e, int size, float alpha, float beta, float k)
{
    const size_t pixels = channels_inner(e) ? 1 : least(16, (size_t)e.hw);
    return (struct response){.extent = e,
                             .before = size / 2,
                             .after = (size - 1) / 2,
                             .step = (int)(BLOCK / pixels),
                             .pixels = pixels,
                             .slope = alpha / (float)size,
                             .beta = beta,
                             .k = k};
}

static size_t block_size(const struct block *b)
{
    return (size_t)(b->to - b->from) * b->pixels;
}

static size_t block_row(struct extent e, const struct block *b, int channel)
{
    return channels_inner(e) ? b->first_pixel * (size_t)e.c + (size_t)channel
                             : (size_t)channel * (size_t)e.hw + b->first_pixel;
}

static void block_load(struct extent e, const struct block *b, const float *x, float *values)
{
    if (channels_inner(e)) {
        memcpy(values, x + block_row(e, b, b->from), block_size(b) * sizeof(float));
        return;
    }
    for (int c = b->from; c < b->to; c++, values += b->pixels)
        memcpy(values, x + block_row(e, b, c), b->pixels * sizeof(float));
}

static void block_store(struct extent e, const struct block *b, const float *values,
                        bool accumulate, float *x)
{
    const size_t run = channels_inner(e) ? block_size(b) : b->pixels;
    for (int c = b->from; c < b->to; c += (int)(run / b->pixels), values += run) {
        float *to = x + block_row(e, b, c);
        if (!accumulate)
            memcpy(to, values, run * sizeof(float));
        else
#pragma omp simd
            for (size_t j = 0; j < run; j++)
                to[j] += values[j];
    }
}

/* sums[c] += values[c + shift] for all channels c of `b` and shift = -before .. after, as far as
 * channel c + shift lies in the block `near` that the values are of. */
static void window_sum(const struct block *near, const float *restrict values,
                       const struct block *b, int before, int after, float *restrict sums)
{
    for (int shift = -before; shift <= after; shift++) {
        const int from = near->from - shift > b->from ? near->from - shift : b->from;
        const int to = near->to - shift < b->to ? near->to - shift : b->to;
        if (from >= to)
            continue;
        const float *source = values + (size_t)(from + shift - near->from) * b->pixels;
        float *sum = sums + (size_t)(from - b->from) * b->pixels;
        const size_t run = (size_t)(to - from) * b->pixels;
#pragma omp simd
        for (size_t j = 0; j < run; j++)
            sum[j] += source[j];
    }
}

/* Of the blocks that cover `b` and as many channels as a window has on either side, the one that
 * begins with channel `from`; empty where none is left. */
static struct block neighbour(const struct response *r, const struct block *b, int from, int above)
{
    const int end = b->to + above < r->extent.c ? b->to + above : r->extent.c;
    struct block near = *b;
    near.from = from;
    near.to = from + r->step < end ? from + r->step : end;
    return near;
}

static int first_neighbour(const struct block *b, int below)
{
    return b->from > below ? b->from - below : 0;
}

/* base = k + alpha / size * sum of x^2, power = base^-beta. */
static void response_powers(const struct response *r, const struct block *b, const float *x,
                            float *restrict base, float *restrict power)
{
    float squares[BLOCK];
    const size_t size = block_size(b);
    memset(base, 0, size * sizeof(float));
    struct block near = neighbour(r, b, first_neighbour(b, r->before), r->after);
    for (; near.from < near.to; near = neighbour(r, b, near.to, r->after)) {
        block_load(r->extent, &near, x, squares);
        for (size_t j = 0; j < block_size(&near); j++)
            squares[j] *= squares[j];
        window_sum(&near, squares, b, r->before, r->after, base);
    }
    for (size_t j = 0; j < size; j++)
        base[j] = r->k + r->slope * base[j];
    if (r->beta == 0.75f) /* the usual one; square roots are vector instructions */
        for (size_t j = 0; j < size; j++)
            power[j] = 1 / (sqrtf(base[j]) * sqrtf(sqrtf(base[j])));
    else
        for (size_t j = 0; j < size; j++)
            power[j] = powf(base[j], -r->beta);
}

static void response_forward(const struct response *r, const struct block *b, const float *x,
                             float *y)
{
    float values[BLOCK], base[BLOCK], power[BLOCK];
    block_load(r->extent, b, x, values);
    response_powers(r, b, x, base, power);
    for (size_t j = 0; j < block_size(b); j++)
        values[j] *= power[j];
    block_store(r->extent, b, values, false, y);
}

/* dx = dy * power - 2 * beta * alpha / size * x * sum of dy * x * power / base, over the windows
 * that x takes part in. */
static void response_backward(const struct response *r, const struct block *b, const float *x,
                              const float *dy, bool accumulate, float *dx)
{
    float value[BLOCK], gradient[BLOCK], base[BLOCK], power[BLOCK], sum[BLOCK] = {0};
    struct block near = neighbour(r, b, first_neighbour(b, r->after), r->before);
    for (; near.from < near.to; near = neighbour(r, b, near.to, r->before)) {
        block_load(r->extent, &near, x, value);
        block_load(r->extent, &near, dy, gradient);
        response_powers(r, &near, x, base, power);
        for (size_t j = 0; j < block_size(&near); j++)
            gradient[j] *= value[j] * power[j] / base[j];
        window_sum(&near, gradient, b, r->after, r->before, sum);
    }
    block_load(r->extent, b, x, value);
    block_load(r->extent, b, dy, gradient);
    response_powers(r, b, x, base, power);
    const float factor = 2 * r->beta * r->slope;
    for (size_t j = 0; j < block_size(b); j++)
        gradient[j] = gradient[j] * power[j] - factor * value[j] * sum[j];
    block_store(r->extent, b, gradient, accumulate, dx);
}

static bool response_next(const struct response *r, struct block *b)
{
    const size_t hw = (size_t)r->extent.hw;
    if (b->to == r->extent.c) {
        b->to = 0;
        b->first_pixel += b->pixels;
    }
    b->from = b->to;
    b->to = b->from + r->step < r->extent.c ? b->from + r->step : r->extent.c;
    b->pixels = b->first_pixel < hw ? least(r->pixels, hw - b->first_pixel) : 0;
    return b->pixels > 0;
}

void KERNEL(lrn_forward)(struct extent e, int n, int size, float alpha, float beta, float k,
                         const float *x, float *y)
{
    const struct response r = response_of(e, size, alpha, beta, k);
    for (int i = 0; i < n; i++, x += image_size(e), y += image_size(e))
        for (struct block b = {0}; response_next(&r, &b);)
            response_forward(&r, &b, x, y);
}

void KERNEL(lrn_backward)(struct extent e, int n, int size, float alpha, float beta, float k,
                          const float *x, const float *dy, bool accumulate, float *dx)
{
    const struct response r = response_of(e, size, alpha, beta, k);
    for (int i = 0; i < n; i++) {
        const size_t from = (size_t)i * image_size(e);
        for (struct block b = {0}; response_next(&r, &b);)
            response_backward(&r, &b, x + from, dy + from, accumulate, dx + from);
    }
}
