/* Plain passes over memory: bytes to floats, layouts, sums, dropout. It knows nothing of what
 * the arrays mean.
 */
#include "kernels.h"

#include <math.h>
#include <Random123/philox.h>
#include <string.h>

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* One channel of bytes that lie `step` apart. */
static inline __attribute__((always_inline)) void normalize_plane(size_t hw, size_t step,
                                                                  const uint8_t *restrict x,
                                                                  float scale, float shift,
                                                                  float *restrict y)
{
    for (size_t pixel = 0; pixel < hw; pixel++)
        y[pixel] = (float)x[pixel * step] * scale + shift;
}

static void normalize_planes(size_t c, size_t hw, const uint8_t *x, const float *scale,
                             const float *shift, float *y)
{
    for (size_t channel = 0; channel < c; channel++, x++, y += hw) {
        /* Grey and colour: a step known here makes the loop a vector one. */
        if (c == 1)
            normalize_plane(hw, 1, x, scale[channel], shift[channel], y);
        else if (c == 3)
            normalize_plane(hw, 3, x, scale[channel], shift[channel], y);
        else
            normalize_plane(hw, c, x, scale[channel], shift[channel], y);
    }
}

static void normalize_pixels(size_t c, size_t hw, const uint8_t *x, const float *scale,
                             const float *shift, float *y)
{
    enum { SPAN = 96 }; /* the channels' factors, repeated to whole vectors of pixels */
    float scales[SPAN], shifts[SPAN];
    const size_t stride = c <= SPAN ? SPAN / c * c : c;
    const size_t total = c * hw;
    for (size_t first = 0; first < stride; first += SPAN) {
        const size_t width = smaller(SPAN, stride - first);
        for (size_t i = 0; i < width; i++) {
            scales[i] = i < c ? scale[first + i] : scales[i - c];
            shifts[i] = i < c ? shift[first + i] : shifts[i - c];
        }
        for (size_t row = first; row < total; row += stride) {
            const size_t count = smaller(width, total - row);
#pragma omp simd
            for (size_t i = 0; i < count; i++)
                y[row + i] = (float)x[row + i] * scales[i] + shifts[i];
        }
    }
}

void KERNEL(pixels_normalize)(struct extent extent, const uint8_t *x, const float *scale,
                              const float *shift, float *y)
{
    const size_t c = (size_t)extent.c, hw = (size_t)extent.hw;
    if (extent.layout == LAYOUT_NHWC && c > 1)
        normalize_pixels(c, hw, x, scale, shift, y);
    else
        normalize_planes(c, hw, x, scale, shift, y);
}

/* Four rows by four columns in registers. */
static inline void transpose_tile(size_t rows, size_t columns, const float *x, float *y)
{
    typedef float quad __attribute__((vector_size(16), aligned(4)));
    typedef float pair __attribute__((vector_size(16)));
    pair a = *(const quad *)x, b = *(const quad *)(x + columns);
    pair c = *(const quad *)(x + 2 * columns), d = *(const quad *)(x + 3 * columns);
    pair ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    pair ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    pair cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    pair cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(quad *)y = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    *(quad *)(y + rows) = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    *(quad *)(y + 2 * rows) = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    *(quad *)(y + 3 * rows) = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

/* Strips of 16 rows: each cache line of y is filled at once, and 16 lines of x are read along. */
static void transpose(size_t rows, size_t columns, const float *x, float *y)
{
    enum { STRIP = 16, TILE = 4 };
    for (size_t top = 0; top < rows; top += STRIP) {
        const size_t bottom = smaller(rows, top + STRIP);
        const size_t whole_bottom = bottom / TILE * TILE, whole_right = columns / TILE * TILE;
        for (size_t column = 0; column < whole_right; column += TILE)
            for (size_t row = top; row < whole_bottom; row += TILE)
                transpose_tile(rows, columns, x + row * columns + column, y + column * rows + row);
        for (size_t column = whole_right; column < columns; column++)
            for (size_t row = top; row < whole_bottom; row++)
                y[column * rows + row] = x[row * columns + column];
        for (size_t column = 0; column < columns; column++)
            for (size_t row = whole_bottom; row < bottom; row++)
                y[column * rows + row] = x[row * columns + column];
    }
}

void KERNEL(transpose)(int rows, int columns, const float *x, float *y)
{
    transpose((size_t)rows, (size_t)columns, x, y);
}

void KERNEL(layout_convert)(int n, int c, int hw, enum layout from, enum layout to, const float *x,
                            float *y)
{
    const size_t image = (size_t)c * (size_t)hw;
    if (from == to || c == 1 || hw == 1) {
        memcpy(y, x, (size_t)n * image * sizeof *y);
        return;
    }
    const size_t rows = (size_t)(from == LAYOUT_NHWC ? hw : c);
    for (size_t i = 0; i < (size_t)n; i++)
        transpose(rows, image / rows, x + i * image, y + i * image);
}

void KERNEL(add)(size_t n, const float *a, const float *b, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

void KERNEL(accumulate)(size_t n, const float *x, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

void KERNEL(fold)(size_t n, size_t count, size_t stride, const float *parts, float *y)
{
    enum { SPAN = 1024 }; /* of y, in the first cache while the parts pass */
    for (size_t first = 0; first < n; first += SPAN) {
        const size_t width = smaller(SPAN, n - first);
        memset(y + first, 0, width * sizeof *y);
        for (size_t part = 0; part < count; part++)
            KERNEL(accumulate)(width, parts + part * stride + first, y + first);
    }
}

void KERNEL(sum_squares)(size_t n, const float *x, double *sum)
{
    enum { LANES = 32 };
    double lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
#pragma omp simd
        for (size_t lane = 0; lane < LANES; lane++)
            lanes[lane] += (double)x[i + lane] * (double)x[i + lane];
    for (size_t lane = 0; i < n; i++, lane++)
        lanes[lane] += (double)x[i] * (double)x[i];
    double total = 0.0;
    for (size_t lane = 0; lane < LANES; lane++)
        total += lanes[lane];
    *sum = total;
}

enum { COUNTERS = 64, DRAWS = 4 * COUNTERS }; /* random words made at a time */

static void make_draws(const uint32_t key[2], const uint32_t counter[3], uint32_t first,
                       uint32_t draws[DRAWS])
{
    const philox4x32_key_t philox_key = {{key[0], key[1]}};
    const uint32_t counter0 = counter[0], counter1 = counter[1], counter2 = counter[2];
#pragma omp simd
    for (uint32_t i = 0; i < COUNTERS; i++) {
        const philox4x32_ctr_t count = {{first + i, counter0, counter1, counter2}};
        const philox4x32_ctr_t words = philox4x32_R(10, count, philox_key);
        draws[4 * i] = words.v[0];
        draws[4 * i + 1] = words.v[1];
        draws[4 * i + 2] = words.v[2];
        draws[4 * i + 3] = words.v[3];
    }
}

void KERNEL(dropout)(size_t n, double rate, const uint32_t key[2], const uint32_t counter[3],
                     bool accumulate, const float *x, float *y)
{
    const bool never = !(rate > 0.0);
    /* The largest draw that drops, so that a rate of 1 fits into 32 bits. */
    const uint32_t last = never ? 0 : (uint32_t)(ceil(fmin(rate, 1.0) * 0x1p32) - 1.0);
    const float scale = never ? 1.0f : (float)(1.0 / (1.0 - rate));
    uint32_t draws[DRAWS];
    for (size_t start = 0; start < n; start += DRAWS) {
        const size_t count = smaller(DRAWS, n - start);
        const float *in = x + start;
        float *out = y + start;
        make_draws(key, counter, (uint32_t)(start / 4), draws);
#pragma omp simd
        for (size_t i = 0; i < count; i++) {
            union {
                float value;
                uint32_t bits;
            } kept = {in[i] * scale};
            /* A mask: where to branch would be a matter of luck. */
            kept.bits &= -(uint32_t)((draws[i] > last) | never);
            out[i] = accumulate ? out[i] + kept.value : kept.value;
        }
    }
}
