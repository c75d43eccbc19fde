/* Layer normalisation: the channels of each pixel. Planes are walked for a block of pixels at a
 * time. Few channels that are contiguous would leave vectors half empty: blocks of such pixels are
 * transposed to planes and back, up to as many channels as that pays. */
#include "view.h"

#include <math.h>
#include <string.h>

enum {
    NARROW_FORWARD = 64, /* channels that are few, at the most */
    NARROW_BACKWARD = 31,
    ROOM = 2048 /* floats a transposed block: three stay in the first cache */
};

/* As many of the pixels from p on as a transposed block takes. */
static struct extent narrow_block(size_t pixels, size_t p, int c)
{
    return (struct extent){c, (int)least(ROOM / (size_t)c, pixels - p), LAYOUT_NCHW};
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
        KERNEL(view_moments)(&v, x + p0, e.c, moment1, moment2);
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

static void layernorm_forward_narrow(size_t pixels, int c, float eps, const float *x,
                                     const float *weight, const float *bias, float *y,
                                     float *statistics)
{
    float block[ROOM];
    struct extent e;
    for (size_t p = 0; p < pixels; p += (size_t)e.hw) {
        e = narrow_block(pixels, p, c);
        KERNEL(transpose)(e.hw, c, x + p * (size_t)c, block);
        layernorm_forward_planes(e, eps, block, weight, bias, block, statistics + 2 * p);
        KERNEL(transpose)(c, e.hw, block, y + p * (size_t)c);
    }
}

void KERNEL(layernorm_forward)(struct extent e, int n, float eps, const float *x,
                               const float *weight, const float *bias, float *y, float *statistics)
{
    const size_t pixels = (size_t)n * (size_t)e.hw;
    if (channels_inner(e) && e.c <= NARROW_FORWARD) {
        layernorm_forward_narrow(pixels, e.c, eps, x, weight, bias, y, statistics);
        return;
    }
    if (channels_inner(e)) {
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

static void layernorm_backward_narrow(size_t pixels, int c, const float *x, const float *dy,
                                      const float *weight, const float *statistics, bool accumulate,
                                      float *dx, float *dweight, float *dbias)
{
    float x_block[ROOM], dy_block[ROOM], dx_block[ROOM];
    double first[NARROW_BACKWARD] = {0}, second[NARROW_BACKWARD] = {0};
    struct extent e;
    for (size_t p = 0; p < pixels; p += (size_t)e.hw) {
        float partial1[NARROW_BACKWARD] = {0}, partial2[NARROW_BACKWARD] = {0};
        const size_t from = p * (size_t)c;
        e = narrow_block(pixels, p, c);
        KERNEL(transpose)(e.hw, c, x + from, x_block);
        KERNEL(transpose)(e.hw, c, dy + from, dy_block);
        if (accumulate)
            KERNEL(transpose)(e.hw, c, dx + from, dx_block);
        layernorm_backward_planes(e, x_block, dy_block, weight, statistics + 2 * p, accumulate,
                                  dx_block, partial2, partial1);
        KERNEL(transpose)(c, e.hw, dx_block, dx + from);
        drain((size_t)c, partial1, first);
        drain((size_t)c, partial2, second);
    }
    for (int j = 0; j < c; j++) {
        dbias[j] += (float)first[j];
        dweight[j] += (float)second[j];
    }
}

void KERNEL(layernorm_backward)(struct extent e, int n, const float *x, const float *dy,
                                const float *weight, const float *statistics, bool accumulate,
                                float *dx, float *dweight, float *dbias)
{
    const size_t pixels = (size_t)n * (size_t)e.hw, c = (size_t)e.c;
    if (channels_inner(e) && e.c <= NARROW_BACKWARD) {
        layernorm_backward_narrow(pixels, e.c, x, dy, weight, statistics, accumulate, dx, dweight,
                                  dbias);
        return;
    }
    if (channels_inner(e)) {
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
