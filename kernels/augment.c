/* Augmentation of one image: where its pixels come from, their colours, what is blotted out. It
 * knows nothing of chance: every number is given.
 */
#include "kernels.h"

#include <string.h>

static inline int smaller(int a, int b)
{
    return a < b ? a : b;
}

static inline int larger(int a, int b)
{
    return a > b ? a : b;
}

/* --- copies --- */

/* Byte pixels lie `step` apart, backwards where it is negative. */
static inline __attribute__((always_inline)) void copy_pixels(int count, ptrdiff_t step,
                                                              const uint8_t *x, float *restrict y)
{
#pragma omp simd
    for (int j = 0; j < count; j++)
        y[j] = (float)x[j * step];
}

static void copy_row(int c, bool flip, int count, const uint8_t *x, float *y)
{
    /* Grey and colour: a step known here makes the loop a vector one. */
    if (c == 1 && flip)
        copy_pixels(count, -1, x, y);
    else if (c == 1)
        copy_pixels(count, 1, x, y);
    else if (c == 3 && flip)
        copy_pixels(count, -3, x, y);
    else if (c == 3)
        copy_pixels(count, 3, x, y);
    else
        copy_pixels(count, flip ? -c : c, x, y);
}

void KERNEL(planes_shift)(struct raster raster, int top, int left, bool flip, const uint8_t *x,
                          float *y)
{
    const int c = raster.c, h = raster.h, w = raster.w;
    /* Columns [from, to) come from `first` on, or with flip from `first` on backwards. */
    const int from = smaller(w, larger(0, flip ? left : -left));
    const int to = larger(from, smaller(w, flip ? w + left : w - left));
    const int first = flip ? w - 1 + left - from : from + left;
    for (int channel = 0; channel < c; channel++)
        for (int i = 0; i < h; i++, y += w) {
            const int row = i + top;
            if (row < 0 || row >= h || from == to) {
                memset(y, 0, (size_t)w * sizeof *y);
                continue;
            }
            memset(y, 0, (size_t)from * sizeof *y);
            copy_row(c, flip, to - from,
                     x + ((size_t)row * (size_t)w + (size_t)first) * (size_t)c + channel, y + from);
            memset(y + to, 0, (size_t)(w - to) * sizeof *y);
        }
}

/* --- resampling --- */

enum { LANES = 4 }; /* channels in a word, so that one load brings a pixel */

/* Channels of a pixel as a word; `x` leads to the first of them. */
static inline __attribute__((always_inline)) void
pack_row(int w, int c, int count, const uint8_t *restrict x, uint32_t *restrict words)
{
    for (int j = 0; j < w; j++) {
        uint32_t word = 0;
        for (int k = 0; k < count; k++)
            word |= (uint32_t)x[j * c + k] << (8 * k);
        words[j] = word;
    }
}

/* Channels [first, first + count) of each pixel, in a frame of zeros. */
static void pack(struct raster raster, int first, int count, const uint8_t *x, uint32_t *padded)
{
    const int c = raster.c, w = raster.w;
    const size_t stride = (size_t)w + 2;
    memset(padded, 0, stride * sizeof *padded);
    for (int i = 0; i < raster.h; i++) {
        const uint8_t *row = x + (size_t)i * (size_t)w * (size_t)c + first;
        uint32_t *words = padded + (size_t)(i + 1) * stride;
        words[0] = words[stride - 1] = 0;
        if (c == 1)
            pack_row(w, 1, 1, row, words + 1);
        else if (c == 3)
            pack_row(w, 3, 3, row, words + 1);
        else
            pack_row(w, c, count, row, words + 1);
    }
    memset(padded + (size_t)(raster.h + 1) * stride, 0, stride * sizeof *padded);
}

static inline float within(float value, float most)
{
    value = value < 0.0f ? 0.0f : value;
    return value > most ? most : value;
}

static inline float lane(uint32_t word, int k)
{
    return (float)(int32_t)(word >> (8 * k) & 0xff);
}

/* A row of the first `count` lanes. (x, y) is where its first pixel comes from, in the frame. */
static inline __attribute__((always_inline)) void warp_row(struct raster raster, int count,
                                                           const struct affine *map, float x,
                                                           float y, const uint32_t *restrict padded,
                                                           float *restrict planes)
{
    const int w = raster.w, h = raster.h, stride = w + 2;
    const size_t hw = (size_t)h * (size_t)w;
    const float dx = map->xx, dy = map->yx;
    const float right = (float)(w + 1), bottom = (float)(h + 1);
#pragma omp simd
    for (int j = 0; j < w; j++) {
        /* Far outside is as good as in the frame: both are 0. */
        const float column = within(x + dx * (float)j, right);
        const float row = within(y + dy * (float)j, bottom);
        const int left = smaller((int)column, w), top = smaller((int)row, h);
        const float fx = column - (float)left, fy = row - (float)top;
        const int at = top * stride + left;
        const uint32_t a = padded[at], b = padded[at + 1];
        const uint32_t c = padded[at + stride], d = padded[at + stride + 1];
        const float wd = fx * fy, wc = fy - wd, wb = fx - wd, wa = 1.0f - fx - wc;
        for (int k = 0; k < count; k++)
            planes[(size_t)k * hw + (size_t)j] =
                wa * lane(a, k) + wb * lane(b, k) + wc * lane(c, k) + wd * lane(d, k);
    }
}

/* All rows of the first `count` lanes, which has to be known here for the loop to be a vector one.
 */
static inline __attribute__((always_inline)) void warp_rows(struct raster raster, int count,
                                                            const struct affine *map,
                                                            const uint32_t *padded, float *planes)
{
    for (int i = 0; i < raster.h; i++, planes += raster.w)
        warp_row(raster, count, map, map->xy * (float)i + map->x0 + 1.0f,
                 map->yy * (float)i + map->y0 + 1.0f, padded, planes);
}

void KERNEL(planes_warp)(struct raster raster, const struct affine *map, const uint8_t *x,
                         uint32_t *padded, float *y)
{
    const size_t hw = (size_t)raster.h * (size_t)raster.w;
    for (int first = 0; first < raster.c; first += LANES, y += LANES * hw) {
        const int count = smaller(LANES, raster.c - first);
        pack(raster, first, count, x, padded);
        switch (count) {
        case 1:
            warp_rows(raster, 1, map, padded, y);
            break;
        case 2:
            warp_rows(raster, 2, map, padded, y);
            break;
        case 3:
            warp_rows(raster, 3, map, padded, y);
            break;
        case LANES:
            warp_rows(raster, LANES, map, padded, y);
            break;
        }
    }
}

/* --- colours --- */

/* Multiplies a plane, and returns the sum of what came out. */
static double brighten(int h, int w, float brightness, float *y)
{
    double sum = 0.0;
    for (int i = 0; i < h; i++, y += w) {
        float row = 0.0f;
#pragma omp simd reduction(+ : row)
        for (int j = 0; j < w; j++) {
            y[j] = within(y[j] * brightness, 255.0f);
            row += y[j];
        }
        sum += (double)row;
    }
    return sum;
}

void KERNEL(planes_jitter)(struct raster raster, float brightness, float contrast, float *y)
{
    static const double grey[] = {0.2989, 0.587, 0.114};
    const size_t c = (size_t)raster.c, hw = (size_t)raster.h * (size_t)raster.w;
    double sum = 0.0;
    for (size_t channel = 0; channel < c; channel++)
        sum += (c == 3 ? grey[channel] : 1.0 / (double)c) *
               brighten(raster.h, raster.w, brightness, y + channel * hw);
    if (contrast == 1.0f)
        return;
    const float base = (1.0f - contrast) * (float)(sum / (double)hw);
#pragma omp simd
    for (size_t i = 0; i < c * hw; i++)
        y[i] = within(contrast * y[i] + base, 255.0f);
}

void KERNEL(planes_normalize)(struct raster raster, const float *scale, const float *shift,
                              float *y)
{
    const size_t hw = (size_t)raster.h * (size_t)raster.w;
    for (int channel = 0; channel < raster.c; channel++, y += hw) {
        const float factor = scale[channel], term = shift[channel];
#pragma omp simd
        for (size_t i = 0; i < hw; i++)
            y[i] = y[i] * factor + term;
    }
}

/* --- what covers them --- */

void KERNEL(planes_erase)(struct raster raster, struct area area, float *y)
{
    const size_t w = (size_t)raster.w, hw = (size_t)raster.h * w;
    for (int channel = 0; channel < raster.c; channel++, y += hw)
        for (int i = area.top; i < area.top + area.h; i++)
            memset(y + (size_t)i * w + (size_t)area.left, 0, (size_t)area.w * sizeof *y);
}

void KERNEL(mix)(size_t n, float share, const float *x, float *y)
{
    const float rest = 1.0f - share;
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = share * y[i] + rest * x[i];
}
