/* Group normalisation: groups of channels of an image. */
#include "view.h"

#include <math.h>
#include <string.h>

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
        v = KERNEL(view_of)(e, 1, c0, (size_t)e.c);
        KERNEL(view_moments)(&v, x + c0 * channel_stride(e), e.hw, mean, m2);
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
            v = KERNEL(view_of)(e, 1, c0, (size_t)e.c);
            spread_statistics(size, c0, v.period, statistics, mean, scale);
            for (size_t j = 0; j < v.period; j++) {
                scale[j] *= weight[c0 + j];
                shift[j] = bias[c0 + j] - mean[j] * scale[j];
            }
            const size_t from = c0 * channel_stride(e);
            KERNEL(block_scale_shift)(e, 1, &v, x + from, scale, shift, y + from);
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
        v = KERNEL(view_of)(e, 1, c0, g1 * size);
        spread_statistics(size, c0, v.period, statistics, mean, inverse);
        const size_t from = c0 * channel_stride(e);
        KERNEL(view_products)(&v, x + from, dy + from, mean, first, second);
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
        v = KERNEL(view_of)(e, 1, c0, g1 * size);
        spread_statistics(size, c0, v.period, statistics, mean, a);
        spread_statistics(size, c0 - g0 * size, v.period, coefficients, b, d);
        for (size_t j = 0; j < v.period; j++)
            a[j] *= weight[c0 + j];
        const size_t from = c0 * channel_stride(e);
        KERNEL(block_gradient)(e, 1, &v, x + from, dy + from, a, b, d, accumulate, dx + from);
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
