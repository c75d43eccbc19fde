/* Local response normalisation: a window of channels around each. */
#include "view.h"

#include <math.h>
#include <string.h>

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
