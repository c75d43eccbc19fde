/* Depthwise convolution: one kernel a channel, weights [kh, kw, c], channels-last x and y.
 *
 * Vectors run over channels; sums over a window stay in registers. Forward and data gradient are
 * one loop: both give each pixel of their result the sum of source pixel times weight over a
 * progression of taps, and `struct taps` says which along one axis.
 */
#include "kernels.h"

#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t integers __attribute__((vector_size(LANES * sizeof(int32_t))));

enum {
    PIXELS = 4,  /* results side by side that share each weight loaded */
    COLUMNS = 4, /* kernel columns of the weight gradient at a time, */
    ROWS = 8,    /* and kernel rows */
    RUN = 128    /* pixels that the weight gradient sums in float, about */
};

static inline vector load(const float *x)
{
    vector v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline void store(float *y, vector v)
{
    memcpy(y, &v, sizeof v);
}

/* Along one axis, for results `phase`, `phase + phases`, ...: tap t of result number m reads
 * source first + m * advance + t * step, where it lies in [0, limit), with weight
 * weight + t * weight_step. */
struct taps {
    int count, first, advance, step, limit;
    int weight, weight_step;
};

/* Taps [begin, end) of one result lie inside the source. */
struct range {
    int begin, end;
};

static struct range inside(const struct taps *t, int m)
{
    const int at = t->first + m * t->advance;
    struct range r = {0, t->count};
    while (r.begin < r.end && (unsigned)(at + r.begin * t->step) >= (unsigned)t->limit)
        r.begin++;
    while (r.begin < r.end && (unsigned)(at + (r.end - 1) * t->step) >= (unsigned)t->limit)
        r.end--;
    return r;
}

static struct taps forward_taps(int kernel, int stride, int dilation, int padding, int limit)
{
    return (struct taps){kernel, -padding, stride, dilation, limit, 0, 1};
}

static int common_divisor(int a, int b)
{
    while (b != 0) {
        const int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Input i meets output (i + padding - k * dilation) / stride in tap k where that divides. Inputs
 * `stride` apart meet the same taps, so there are `stride` phases. */
static struct taps backward_taps(int kernel, int stride, int dilation, int padding, int limit,
                                 int phase)
{
    const int divisor = common_divisor(stride, dilation), every = stride / divisor;
    int k = 0;
    while (k < kernel && (phase + padding - k * dilation) % stride != 0)
        k++;
    return (struct taps){.count = (kernel - k + every - 1) / every,
                         .first = (phase + padding - k * dilation) / stride,
                         .advance = 1,
                         .step = -dilation / divisor,
                         .limit = limit,
                         .weight = k,
                         .weight_step = every};
}

/* The part of a window that lies inside the source: rows x columns taps. Steps are in floats. */
struct patch {
    int rows, columns;
    ptrdiff_t row_step, column_step, pixel_step; /* of the source */
    ptrdiff_t weight_row_step, weight_column_step;
};

/* sums[p] over the taps of `pixels` windows. */
static inline __attribute__((always_inline)) void sum_windows(const struct patch *patch, int pixels,
                                                              const float *source,
                                                              const float *weights, vector *sums)
{
    for (int p = 0; p < pixels; p++)
        sums[p] = (vector){0};
    for (int i = 0; i < patch->rows; i++) {
        const float *s = source + i * patch->row_step, *w = weights + i * patch->weight_row_step;
        for (int j = 0; j < patch->columns; j++) {
            const vector weight = load(w);
            for (int p = 0; p < pixels; p++)
                sums[p] += weight * load(s + p * patch->pixel_step);
            s += patch->column_step;
            w += patch->weight_column_step;
        }
    }
}

/* The last `lanes` lanes of v; the others are zero. */
static inline vector last_lanes(vector v, size_t lanes)
{
    integers index;
    for (int l = 0; l < LANES; l++)
        index[l] = l;
    return (vector)((integers)v & (index >= (int)(LANES - lanes)));
}

/* Where the last vector of channels overlaps the one before, only its new lanes are added: the
 * others were. */
static inline void put(float *to, vector sum, size_t lanes, bool accumulate)
{
    if (!accumulate)
        store(to, sum);
    else if (lanes == LANES)
        store(to, load(to) + sum);
    else
        store(to, load(to) + last_lanes(sum, lanes));
}

/* `pixels` results `to_step` floats apart, LANES or more channels. */
static inline __attribute__((always_inline)) void
convolve_vectors(const struct patch *patch, int pixels, size_t channels, const float *source,
                 const float *weights, bool accumulate, float *to, size_t to_step)
{
    vector sums[PIXELS];
    size_t c = 0;
    for (size_t left = channels; left > 0;) {
        const size_t lanes = left < LANES ? left : LANES;
        const size_t from = c + lanes - LANES;
        sum_windows(patch, pixels, source + from, weights + from, sums);
        for (int p = 0; p < pixels; p++)
            put(to + (size_t)p * to_step + from, sums[p], lanes, accumulate);
        c += lanes;
        left -= lanes;
    }
}

/* One result with fewer channels than a vector has lanes. */
static void convolve_narrow(const struct patch *patch, size_t channels, const float *source,
                            const float *weights, bool accumulate, float *to)
{
    float sums[LANES] = {0};
    for (int i = 0; i < patch->rows; i++) {
        const float *s = source + i * patch->row_step, *w = weights + i * patch->weight_row_step;
        for (int j = 0; j < patch->columns; j++) {
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                sums[c] += w[c] * s[c];
            s += patch->column_step;
            w += patch->weight_column_step;
        }
    }
    for (size_t c = 0; c < channels; c++)
        to[c] = accumulate ? to[c] + sums[c] : sums[c];
}

static void convolve_pixels(const struct patch *patch, int pixels, size_t channels,
                            const float *source, const float *weights, bool accumulate, float *to,
                            size_t to_step)
{
    if (channels < LANES)
        for (int p = 0; p < pixels; p++)
            convolve_narrow(patch, channels, source + p * patch->pixel_step, weights, accumulate,
                            to + (size_t)p * to_step);
    else if (pixels == PIXELS)
        convolve_vectors(patch, PIXELS, channels, source, weights, accumulate, to, to_step);
    else
        convolve_vectors(patch, 1, channels, source, weights, accumulate, to, to_step);
}

/* One image of a source and of the result. */
struct images {
    size_t channels;
    int source_width, kernel_width;
    int height, width; /* of the result */
};

/* Every `phases`th pixel of a row of results, from `to` on. `v` and row number m give the taps
 * along the height, `h` those along the width. */
static void convolve_row(const struct images *im, const struct taps *v, int m, const struct taps *h,
                         int phases, int count, const float *source, const float *weights,
                         bool accumulate, float *to)
{
    const ptrdiff_t c = (ptrdiff_t)im->channels, row = c * im->source_width;
    const struct range rows = inside(v, m);
    const float *source_row = source + (v->first + m * v->advance + rows.begin * v->step) * row;
    const float *weight_row =
        weights + (v->weight + rows.begin * v->weight_step) * c * im->kernel_width;
    struct patch patch = {.rows = rows.end - rows.begin,
                          .row_step = v->step * row,
                          .column_step = h->step * c,
                          .pixel_step = h->advance * c,
                          .weight_row_step = v->weight_step * c * im->kernel_width,
                          .weight_column_step = h->weight_step * c};
    const size_t to_step = im->channels * (size_t)phases;
    for (int x = 0, pixels; x < count; x += pixels) {
        const struct range columns = inside(h, x), last = inside(h, x + PIXELS - 1);
        /* Windows without a tap may lie on both sides of a narrow source. */
        const bool alike =
            columns.begin < columns.end && columns.begin == last.begin && columns.end == last.end;
        pixels = alike && x + PIXELS <= count ? PIXELS : 1;
        patch.columns = columns.end - columns.begin;
        convolve_pixels(&patch, pixels, im->channels,
                        source_row + (h->first + x * h->advance + columns.begin * h->step) * c,
                        weight_row + (h->weight + columns.begin * h->weight_step) * c, accumulate,
                        to + (size_t)x * to_step, to_step);
    }
}

void KERNEL(depthwise_forward)(const struct window *window, int n, const float *x, const float *w,
                               float *y)
{
    const struct window *const t = window;
    const struct images im = {(size_t)t->oc, t->iw, t->kw, t->oh, t->ow};
    const struct taps v = forward_taps(t->kh, t->sh, t->dh, t->pt, t->ih);
    const struct taps h = forward_taps(t->kw, t->sw, t->dw, t->pl, t->iw);
    const size_t row = im.channels * (size_t)t->ow;
    for (int i = 0; i < n; i++, x += im.channels * (size_t)t->ih * (size_t)t->iw)
        for (int oy = 0; oy < t->oh; oy++, y += row)
            convolve_row(&im, &v, oy, &h, 1, t->ow, x, w, false, y);
}

void KERNEL(depthwise_backward_data)(const struct window *window, int n, const float *dy,
                                     const float *w, bool accumulate, float *dx)
{
    const struct window *const t = window;
    const struct images im = {(size_t)t->ic, t->ow, t->kw, t->ih, t->iw};
    const size_t row = im.channels * (size_t)t->iw;
    for (int i = 0; i < n; i++, dy += im.channels * (size_t)t->oh * (size_t)t->ow)
        for (int iy = 0; iy < t->ih; iy++, dx += row) {
            const struct taps v = backward_taps(t->kh, t->sh, t->dh, t->pt, t->oh, iy % t->sh);
            for (int phase = 0; phase < t->sw && phase < t->iw; phase++) {
                const struct taps h = backward_taps(t->kw, t->sw, t->dw, t->pl, t->ow, phase);
                convolve_row(&im, &v, iy / t->sh, &h, t->sw, (t->iw - phase + t->sw - 1) / t->sw,
                             dy, w, accumulate, dx + (size_t)phase * im.channels);
            }
        }
}

/* Up to COLUMNS neighbouring columns of a kernel row, and the outputs [from, to) that each meets;
 * all of them meet outputs [common, common_end). */
struct columns {
    int count, from[COLUMNS], to[COLUMNS];
    int common, common_end;
    ptrdiff_t offset; /* of output 0's source pixel in the first column, in floats */
    ptrdiff_t step;   /* from column to column */
    ptrdiff_t stride; /* from output to output */
    size_t channels;
};

static int quotient_up(int a, int b)
{
    return a > 0 ? (a + b - 1) / b : 0;
}

static int between(int low, int x, int high)
{
    return x < low ? low : x > high ? high : x;
}

static struct columns columns_of(const struct window *t, int k0)
{
    struct columns s = {.count = t->kw - k0 < COLUMNS ? t->kw - k0 : COLUMNS,
                        .common = 0,
                        .common_end = t->ow,
                        .offset = (ptrdiff_t)(k0 * t->dw - t->pl) * t->ic,
                        .step = (ptrdiff_t)t->dw * t->ic,
                        .stride = (ptrdiff_t)t->sw * t->ic,
                        .channels = (size_t)t->ic};
    for (int j = 0; j < s.count; j++) {
        const int before = t->pl - (k0 + j) * t->dw; /* source pixels left of the image */
        s.from[j] = between(0, quotient_up(before, t->sw), t->ow);
        s.to[j] = between(s.from[j], quotient_up(t->iw + before, t->sw), t->ow);
        s.common = s.from[j] > s.common ? s.from[j] : s.common;
        s.common_end = s.to[j] < s.common_end ? s.to[j] : s.common_end;
    }
    s.common_end = s.common_end < s.common ? s.common : s.common_end;
    return s;
}

/* sum plus x * dy over the outputs [from, to) of a row, in column j alone. */
static inline __attribute__((always_inline)) vector column_products(const struct columns *s, int j,
                                                                    int from, int to,
                                                                    const float *x, const float *dy,
                                                                    vector sum)
{
    x += s->offset + j * s->step;
    for (int o = from; o < to; o++)
        sum += load(x + o * s->stride) * load(dy + (size_t)o * s->channels);
    return sum;
}

/* sums[j] += x * dy over a row of outputs, for LANES channels. x and dy begin with the row. */
static inline __attribute__((always_inline)) void
row_products(const struct columns *s, int count, const float *x, const float *dy, vector *sums)
{
    vector sum[COLUMNS];
    for (int j = 0; j < count; j++)
        sum[j] = sums[j];
    const float *source = x + s->offset + s->common * s->stride;
    for (int o = s->common; o < s->common_end; o++, source += s->stride) {
        const vector gradient = load(dy + (size_t)o * s->channels);
        for (int j = 0; j < count; j++)
            sum[j] += gradient * load(source + j * s->step);
    }
    for (int j = 0; j < count; j++) {
        const int end = s->to[j] < s->common ? s->to[j] : s->common;
        sum[j] = column_products(s, j, s->from[j], end, x, dy, sum[j]);
        sums[j] = column_products(s, j, s->common_end, s->to[j], x, dy, sum[j]);
    }
}

static void vector_products(const struct columns *s, const float *x, const float *dy, vector *sums)
{
    switch (s->count) {
    case 1:
        row_products(s, 1, x, dy, sums);
        break;
    case 2:
        row_products(s, 2, x, dy, sums);
        break;
    case 3:
        row_products(s, 3, x, dy, sums);
        break;
    default:
        row_products(s, COLUMNS, x, dy, sums);
    }
}

/* The same for fewer channels than a vector has lanes. */
static void narrow_products(const struct columns *s, const float *x, const float *dy, vector *sums)
{
    for (int j = 0; j < s->count; j++)
        for (int o = s->from[j]; o < s->to[j]; o++) {
            const float *source = x + s->offset + j * s->step + o * s->stride;
            for (size_t c = 0; c < s->channels; c++)
                sums[j][c] += source[c] * dy[(size_t)o * s->channels + c];
        }
}

/* LANES channels (or all, where there are fewer) of a block of weights. */
struct totals {
    double of[ROWS][COLUMNS][LANES];
};

static void drain(int rows, int columns, vector sums[ROWS][COLUMNS], struct totals *totals)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            for (int l = 0; l < LANES; l++)
                totals->of[i][j][l] += (double)sums[i][j][l];
            sums[i][j] = (vector){0};
        }
}

/* Totals over n images of `rows` kernel rows from k0 on. A row of dy serves all of them, and rows
 * of x are in cache from one row of dy to the next. */
static void block_products(const struct window *t, const struct columns *s, int n, int k0, int rows,
                           const float *x, const float *dy, struct totals *totals)
{
    const size_t x_row = s->channels * (size_t)t->iw, dy_row = s->channels * (size_t)t->ow;
    vector sums[ROWS][COLUMNS] = {{{0}}};
    int run = 0;
    memset(totals, 0, sizeof *totals);
    for (int i = 0; i < n; i++, x += x_row * (size_t)t->ih)
        for (int oy = 0; oy < t->oh; oy++, dy += dy_row) {
            for (int ki = 0; ki < rows; ki++) {
                const int iy = oy * t->sh - t->pt + (k0 + ki) * t->dh;
                if (iy < 0 || iy >= t->ih)
                    continue;
                if (s->channels < LANES)
                    narrow_products(s, x + (size_t)iy * x_row, dy, sums[ki]);
                else
                    vector_products(s, x + (size_t)iy * x_row, dy, sums[ki]);
            }
            run += t->ow;
            if (run >= RUN) {
                drain(rows, s->count, sums, totals);
                run = 0;
            }
        }
    drain(rows, s->count, sums, totals);
}

/* Channels [c, end), whose vector begins with channel `from`; x and dy begin there. */
static void block_gradient(const struct window *t, int n, int ki, int kj, size_t from, size_t c,
                           size_t end, const float *x, const float *dy, float *dw)
{
    const int rows = t->kh - ki < ROWS ? t->kh - ki : ROWS;
    const struct columns s = columns_of(t, kj);
    struct totals totals;
    block_products(t, &s, n, ki, rows, x, dy, &totals);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < s.count; j++) {
            float *to = dw + (size_t)((ki + i) * t->kw + kj + j) * s.channels;
            for (size_t l = c; l < end; l++)
                to[l] += (float)totals.of[i][j][l - from];
        }
}

void KERNEL(depthwise_backward_weights)(const struct window *window, int n, const float *x,
                                        const float *dy, float *dw)
{
    const size_t channels = (size_t)window->ic;
    for (size_t c = 0; c < channels; c += LANES) {
        const size_t end = c + LANES < channels ? c + LANES : channels;
        const size_t from = channels < LANES ? 0 : end - LANES; /* may overlap the vector before */
        for (int ki = 0; ki < window->kh; ki += ROWS)
            for (int kj = 0; kj < window->kw; kj += COLUMNS)
                block_gradient(window, n, ki, kj, from, c, end, x + from, dy + from, dw);
    }
}
