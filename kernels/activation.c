/* Activations and their derivatives. Each is written once, for one value; loops over it are made
 * for every kind by inlining. It knows nothing of what made its input.
 *
 * An array is walked in segments of at most SPAN floats that stay in the first cache, so that
 * a gradient, its sum for each channel and its addition to dx are passes over memory only once.
 * Sums are in float over a block of some segments, and in double over blocks: their error does not
 * grow with the number of pixels.
 */
#include "kernels.h"

#include "exponential.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { SPAN = 512, BLOCK = 32 }; /* floats a segment, segments a block */

/* Two more kinds inside this file: prelu, and dy times its derivative by the slope. */
enum { PRELU = ACTIVATION_COUNT, PRELU_SLOPE };

/* f of x, where `channel` is the bias, or prelu's slope. NaN passes through every kind. */
INLINE float activate(int kind, float alpha, float x, float channel)
{
    if (kind == PRELU)
        return x > 0.0f ? x : channel * x;
    x += channel;
    float density;
    switch (kind) {
    case ACTIVATION_RELU:
        return x < 0.0f ? 0.0f : x;
    case ACTIVATION_RELU6:
        x = x < 0.0f ? 0.0f : x;
        return x > 6.0f ? 6.0f : x;
    case ACTIVATION_LEAKY_RELU:
        return x > 0.0f ? x : alpha * x;
    case ACTIVATION_ELU:
        return x > 0.0f ? x : alpha * exponential_minus_one(x > 0.0f ? 0.0f : x);
    case ACTIVATION_SIGMOID:
        return sigmoid(x);
    case ACTIVATION_TANH:
        return hyperbolic_tangent(x);
    case ACTIVATION_GELU: {
        const float tail = normal_tail(x, &density);
        return x * (x < 0.0f ? tail : 1.0f - tail);
    }
    case ACTIVATION_SILU:
        return x * sigmoid(x);
    case ACTIVATION_HARDSWISH: {
        float gate = x + 3.0f;
        gate = gate < 0.0f ? 0.0f : gate;
        gate = gate > 6.0f ? 6.0f : gate;
        return x * gate * (1.0f / 6.0f);
    }
    default:
        return x;
    }
}

/* dy * f', from the output or the input as activation_needs_input() says. */
INLINE float derive(int kind, float alpha, float value, float channel, float dy)
{
    const float x = value + channel;
    float density;
    switch (kind) {
    case PRELU:
        return value > 0.0f ? dy : channel * dy;
    case PRELU_SLOPE:
        return value > 0.0f ? 0.0f : dy * value;
    case ACTIVATION_RELU:
        return value <= 0.0f ? 0.0f : dy;
    case ACTIVATION_RELU6:
        return value <= 0.0f || value >= 6.0f ? 0.0f : dy;
    case ACTIVATION_LEAKY_RELU:
        return value > 0.0f ? dy : alpha * dy;
    case ACTIVATION_ELU:
        return value > 0.0f ? dy : dy * (value + alpha);
    case ACTIVATION_SIGMOID:
        return dy * value * (1.0f - value);
    case ACTIVATION_TANH:
        return dy * (1.0f - value * value);
    case ACTIVATION_GELU: {
        const float tail = normal_tail(x, &density);
        return dy * ((x < 0.0f ? tail : 1.0f - tail) + x * density);
    }
    case ACTIVATION_SILU: {
        const float gate = sigmoid(x);
        return dy * gate * (1.0f + x * (1.0f - gate));
    }
    case ACTIVATION_HARDSWISH: {
        const float inner = x > 3.0f ? 1.0f : x * (1.0f / 3.0f) + 0.5f;
        return x < -3.0f ? 0.0f : dy * inner;
    }
    default:
        return dy;
    }
}

INLINE void activate_loop(int kind, float alpha, size_t count, const float *x,
                          const float *restrict channel, size_t step, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        y[i] = activate(kind, alpha, x[i], channel[i * step]);
}

INLINE void derive_loop(int kind, float alpha, size_t count, const float *value,
                        const float *restrict channel, size_t step, const float *dy, float *dx)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        dx[i] = derive(kind, alpha, value[i], channel[i * step], dy[i]);
}

#define KINDS(X)                                                                                   \
    X(ACTIVATION_NONE)                                                                             \
    X(ACTIVATION_RELU)                                                                             \
    X(ACTIVATION_RELU6)                                                                            \
    X(ACTIVATION_LEAKY_RELU)                                                                       \
    X(ACTIVATION_ELU)                                                                              \
    X(ACTIVATION_SIGMOID)                                                                          \
    X(ACTIVATION_TANH)                                                                             \
    X(ACTIVATION_GELU)                                                                             \
    X(ACTIVATION_SILU)                                                                             \
    X(ACTIVATION_HARDSWISH)                                                                        \
    X(PRELU)                                                                                       \
    X(PRELU_SLOPE)

/* `channel` is an array along x where `step` is 1, one value where it is 0. */
static void activate_segment(int kind, float alpha, size_t count, const float *x,
                             const float *channel, size_t step, float *y)
{
    switch (kind) {
#define CASE(constant)                                                                             \
    case constant:                                                                                 \
        if (step)                                                                                  \
            activate_loop(constant, alpha, count, x, channel, 1, y);                               \
        else                                                                                       \
            activate_loop(constant, alpha, count, x, channel, 0, y);                               \
        break;
        KINDS(CASE)
#undef CASE
    }
}

static void derive_segment(int kind, float alpha, size_t count, const float *value,
                           const float *channel, size_t step, const float *dy, float *dx)
{
    switch (kind) {
#define CASE(constant)                                                                             \
    case constant:                                                                                 \
        if (step)                                                                                  \
            derive_loop(constant, alpha, count, value, channel, 1, dy, dx);                        \
        else                                                                                       \
            derive_loop(constant, alpha, count, value, channel, 0, dy, dx);                        \
        break;
        KINDS(CASE)
#undef CASE
    }
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Channels last: the array is taken as rows of whole pixels, SPAN floats at the most where the
 * channels fit in; each channel then stands at fixed places of a row. */
static size_t row_length(size_t c)
{
    return c <= SPAN ? SPAN / c * c : c;
}

/* The values of the channels from `first`, as they stand along a row. */
static void repeat_channels(size_t c, size_t first, size_t width, const float *channel,
                            float *pattern)
{
    size_t filled = smaller(c, width);
    if (channel)
        memcpy(pattern, channel + first, filled * sizeof *pattern);
    else
        memset(pattern, 0, filled * sizeof *pattern);
    for (; filled < width; filled += smaller(filled, width - filled))
        memcpy(pattern + filled, pattern, smaller(filled, width - filled) * sizeof *pattern);
}

/* An array of `total` floats as the loops take it: planes of `length` floats, of c channels in
 * turn; or channels last, where `length` is 0. */
struct view {
    size_t c, total, length;
};

static struct view view_of(struct extent extent, int n)
{
    const size_t c = (size_t)extent.c, hw = (size_t)extent.hw;
    const size_t total = (size_t)n * c * hw;
    if (c == 1)
        return (struct view){.c = 1, .total = total, .length = total};
    return (struct view){
        .c = c, .total = total, .length = extent.layout == LAYOUT_NCHW && hw > 1 ? hw : 0};
}

static void forward(int kind, float alpha, struct view view, const float *x, const float *channel,
                    float *y)
{
    float pattern[SPAN];
    if (view.length) {
        for (size_t start = 0, plane = 0; start < view.total; start += view.length, plane++)
            activate_segment(kind, alpha, view.length, x + start, channel + plane % view.c, 0,
                             y + start);
        return;
    }
    const size_t stride = row_length(view.c);
    for (size_t first = 0; first < smaller(stride, view.total); first += SPAN) {
        const size_t width = smaller(SPAN, smaller(stride, view.total) - first);
        repeat_channels(view.c, first, width, channel, pattern);
        for (size_t row = first; row < view.total; row += stride)
            activate_segment(kind, alpha, smaller(width, view.total - row), x + row, pattern, 1,
                             y + row);
    }
}

void KERNEL(activation_forward)(enum activation kind, float alpha, struct extent extent, int n,
                                const float *x, const float *bias, float *y)
{
    static const float zero = 0.0f;
    if (!bias) {
        bias = &zero;
        extent = (struct extent){.c = 1, .hw = extent.c * extent.hw, .layout = extent.layout};
    }
    forward(kind, alpha, view_of(extent, n), x, bias, y);
}

/* A backward pass, and room for what does not go to dx at once. */
struct pass {
    int kind;
    float alpha;
    const float *value, *dy;
    bool accumulate;
    float *dx;
    float gradient[SPAN], slope_gradient[SPAN];
};

/* dx of `count` elements from `start`. Returns the terms of the channels' sums. */
static const float *backward_segment(struct pass *pass, size_t start, size_t count,
                                     const float *channel, size_t step)
{
    const float *value = pass->value + start, *dy = pass->dy + start;
    float *dx = pass->dx + start;
    float *gradient = pass->accumulate ? pass->gradient : dx;
    if (pass->kind == PRELU) /* first: dx may be dy */
        derive_segment(PRELU_SLOPE, 0.0f, count, value, channel, step, dy, pass->slope_gradient);
    if (pass->kind != ACTIVATION_NONE || gradient != dy)
        derive_segment(pass->kind, pass->alpha, count, value, channel, step, dy, gradient);
    if (pass->accumulate)
#pragma omp simd
        for (size_t i = 0; i < count; i++)
            dx[i] += gradient[i];
    return pass->kind == PRELU ? pass->slope_gradient : gradient;
}

/* Adds a block's sums along a row to those of all blocks, and clears them. */
static void close_block(size_t width, float *block, double *total)
{
    for (size_t i = 0; i < width; i++) {
        total[i] += (double)block[i];
        block[i] = 0.0f;
    }
}

static void backward_strip(struct pass *pass, struct view view, size_t first, size_t width,
                           const float *channel, float *sums)
{
    float pattern[SPAN], block[SPAN];
    double total[SPAN];
    const size_t stride = row_length(view.c);
    repeat_channels(view.c, first, width, channel, pattern);
    memset(block, 0, width * sizeof *block);
    memset(total, 0, width * sizeof *total);
    for (size_t row = first, segment = 1; row < view.total; row += stride, segment++) {
        const size_t count = smaller(width, view.total - row);
        const float *terms = backward_segment(pass, row, count, pattern, 1);
        if (!sums)
            continue;
#pragma omp simd
        for (size_t i = 0; i < count; i++)
            block[i] += terms[i];
        if (segment % BLOCK == 0)
            close_block(width, block, total);
    }
    close_block(width, block, total);
    for (size_t pixel = view.c; pixel < width; pixel += view.c)
        for (size_t i = 0; i < smaller(view.c, width - pixel); i++)
            total[i] += total[pixel + i];
    if (sums)
        for (size_t i = 0; i < smaller(view.c, width); i++)
            sums[first + i] += (float)total[i];
}

static double sum(size_t count, const float *x)
{
    float total = 0.0f;
#pragma omp simd reduction(+ : total)
    for (size_t i = 0; i < count; i++)
        total += x[i];
    return (double)total;
}

static void backward_planes(struct pass *pass, struct view view, const float *channel, float *sums)
{
    static const float zero = 0.0f;
    for (size_t i = 0; i < view.c; i++) {
        const float *value = channel ? channel + i : &zero;
        double total = 0.0;
        for (size_t plane = i * view.length; plane < view.total; plane += view.c * view.length)
            for (size_t start = 0; start < view.length; start += SPAN) {
                const size_t count = smaller(SPAN, view.length - start);
                const float *terms = backward_segment(pass, plane + start, count, value, 0);
                if (sums)
                    total += sum(count, terms);
            }
        if (sums)
            sums[i] += (float)total;
    }
}

/* `channel`: biases or slopes, NULL: zeros. sums (NULL: none) [c] is added to. */
static void backward(struct pass *pass, struct view view, const float *channel, float *sums)
{
    if (view.length) {
        backward_planes(pass, view, channel, sums);
        return;
    }
    const size_t stride = smaller(row_length(view.c), view.total);
    for (size_t first = 0; first < stride; first += SPAN)
        backward_strip(pass, view, first, smaller(SPAN, stride - first), channel, sums);
}

void KERNEL(activation_backward)(enum activation kind, float alpha, struct extent extent, int n,
                                 const float *value, const float *bias, const float *dy,
                                 bool accumulate, float *dx, float *dbias)
{
    struct pass pass;
    pass.kind = kind;
    pass.alpha = alpha;
    pass.value = value;
    pass.dy = dy;
    pass.accumulate = accumulate;
    pass.dx = dx;
    const float *channel = activation_needs_input(kind) ? bias : NULL;
    if (!channel && !dbias)
        extent = (struct extent){.c = 1, .hw = extent.c * extent.hw, .layout = extent.layout};
    backward(&pass, view_of(extent, n), channel, dbias);
}

/* One slope for all channels is one channel. */
static struct extent prelu_extent(struct extent extent, bool shared)
{
    return shared ? (struct extent){.c = 1, .hw = extent.c * extent.hw, .layout = extent.layout}
                  : extent;
}

void KERNEL(prelu_forward)(struct extent extent, int n, bool shared, const float *slope,
                           const float *x, float *y)
{
    forward(PRELU, 0.0f, view_of(prelu_extent(extent, shared), n), x, slope, y);
}

void KERNEL(prelu_backward)(struct extent extent, int n, bool shared, const float *slope,
                            const float *x, const float *dy, bool accumulate, float *dx,
                            float *dslope)
{
    struct pass pass;
    pass.kind = PRELU;
    pass.alpha = 0.0f;
    pass.value = x;
    pass.dy = dy;
    pass.accumulate = accumulate;
    pass.dx = dx;
    backward(&pass, view_of(prelu_extent(extent, shared), n), slope, dslope);
}

/* Softmax. Channels first, SPAN pixels at a time, so that a maximum and a sum for each stay in
 * cache while the planes pass. Few channels that are contiguous would leave vectors half empty:
 * blocks of such pixels are transposed to planes and back, up to as many channels as that pays. */

enum {
    NARROW_FORWARD = 64, /* channels that are few, at the most */
    NARROW_BACKWARD = 15,
    ROOM = 2048 /* floats a transposed block: three stay in the first cache */
};

/* x and y: one image, from the first of `count` pixels. */
static void softmax_planes(size_t c, size_t hw, size_t count, const float *x, float *y)
{
    float largest[SPAN], sums[SPAN];
    memcpy(largest, x, count * sizeof *x);
    memset(sums, 0, count * sizeof *sums);
    for (size_t channel = 1; channel < c; channel++)
#pragma omp simd
        for (size_t i = 0; i < count; i++) {
            const float value = x[channel * hw + i];
            largest[i] = value > largest[i] ? value : largest[i];
        }
    for (size_t channel = 0; channel < c; channel++)
#pragma omp simd
        for (size_t i = 0; i < count; i++) {
            y[channel * hw + i] = exponential(x[channel * hw + i] - largest[i]);
            sums[i] += y[channel * hw + i];
        }
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        sums[i] = 1.0f / sums[i];
    for (size_t channel = 0; channel < c; channel++)
#pragma omp simd
        for (size_t i = 0; i < count; i++)
            y[channel * hw + i] *= sums[i];
}

/* Floats of as many pixels of c channels as a transposed block takes. */
static size_t narrow_block(size_t c)
{
    return smaller(SPAN, ROOM / c) * c;
}

static void softmax_narrow(size_t c, size_t count, const float *x, float *y)
{
    float block[ROOM];
    KERNEL(transpose)((int)count, (int)c, x, block);
    softmax_planes(c, count, count, block, block);
    KERNEL(transpose)((int)c, (int)count, block, y);
}

static void softmax_pixel(size_t c, const float *x, float *y)
{
    float largest = x[0], total = 0.0f;
    for (size_t i = 1; i < c; i++)
        largest = x[i] > largest ? x[i] : largest;
#pragma omp simd reduction(+ : total)
    for (size_t i = 0; i < c; i++) {
        y[i] = exponential(x[i] - largest);
        total += y[i];
    }
    const float inverse = 1.0f / total;
#pragma omp simd
    for (size_t i = 0; i < c; i++)
        y[i] *= inverse;
}

void KERNEL(softmax_forward)(struct extent extent, int n, const float *x, float *y)
{
    const size_t c = (size_t)extent.c, hw = (size_t)extent.hw, total = (size_t)n * c * hw;
    const size_t block = narrow_block(c);
    if (extent.layout == LAYOUT_NCHW && hw > 1)
        for (size_t image = 0; image < total; image += c * hw)
            for (size_t pixel = 0; pixel < hw; pixel += SPAN)
                softmax_planes(c, hw, smaller(SPAN, hw - pixel), x + image + pixel,
                               y + image + pixel);
    else if (c <= NARROW_FORWARD)
        for (size_t at = 0; at < total; at += block)
            softmax_narrow(c, smaller(block, total - at) / c, x + at, y + at);
    else
        for (size_t pixel = 0; pixel < total; pixel += c)
            softmax_pixel(c, x + pixel, y + pixel);
}

/* dx = y (dy - sum of y dy over the channels) */
static void softmax_backward_planes(size_t c, size_t hw, size_t count, const float *y,
                                    const float *dy, bool accumulate, float *dx)
{
    float sums[SPAN] = {0};
    for (size_t channel = 0; channel < c; channel++)
#pragma omp simd
        for (size_t i = 0; i < count; i++)
            sums[i] += y[channel * hw + i] * dy[channel * hw + i];
    for (size_t channel = 0; channel < c; channel++)
#pragma omp simd
        for (size_t i = 0; i < count; i++) {
            const size_t at = channel * hw + i;
            const float gradient = y[at] * (dy[at] - sums[i]);
            dx[at] = accumulate ? dx[at] + gradient : gradient;
        }
}

static void softmax_backward_narrow(size_t c, size_t count, const float *y, const float *dy,
                                    bool accumulate, float *dx)
{
    float y_block[ROOM], dy_block[ROOM], dx_block[ROOM];
    KERNEL(transpose)((int)count, (int)c, y, y_block);
    KERNEL(transpose)((int)count, (int)c, dy, dy_block);
    if (accumulate)
        KERNEL(transpose)((int)count, (int)c, dx, dx_block);
    softmax_backward_planes(c, count, count, y_block, dy_block, accumulate, dx_block);
    KERNEL(transpose)((int)c, (int)count, dx_block, dx);
}

static void softmax_backward_pixel(size_t c, const float *y, const float *dy, bool accumulate,
                                   float *dx)
{
    float total = 0.0f;
#pragma omp simd reduction(+ : total)
    for (size_t i = 0; i < c; i++)
        total += y[i] * dy[i];
#pragma omp simd
    for (size_t i = 0; i < c; i++) {
        const float gradient = y[i] * (dy[i] - total);
        dx[i] = accumulate ? dx[i] + gradient : gradient;
    }
}

void KERNEL(softmax_backward)(struct extent extent, int n, const float *y, const float *dy,
                              bool accumulate, float *dx)
{
    const size_t c = (size_t)extent.c, hw = (size_t)extent.hw, total = (size_t)n * c * hw;
    const size_t block = narrow_block(c);
    if (extent.layout == LAYOUT_NCHW && hw > 1)
        for (size_t image = 0; image < total; image += c * hw)
            for (size_t pixel = 0; pixel < hw; pixel += SPAN) {
                const size_t at = image + pixel;
                softmax_backward_planes(c, hw, smaller(SPAN, hw - pixel), y + at, dy + at,
                                        accumulate, dx + at);
            }
    else if (c <= NARROW_BACKWARD)
        for (size_t at = 0; at < total; at += block)
            softmax_backward_narrow(c, smaller(block, total - at) / c, y + at, dy + at, accumulate,
                                    dx + at);
    else
        for (size_t pixel = 0; pixel < total; pixel += c)
            softmax_backward_pixel(c, y + pixel, dy + pixel, accumulate, dx + pixel);
}
