/* Pooling. It knows windows and nothing else.
 *
 * Along the contiguous way of memory (channels, or a row of pixels) work is done in blocks of a
 * constant number of elements, of which the compiler makes vectors. The last block of a run begins
 * early and does some elements over, instead of leaving a remainder of scalars.
 *
 * Backward gathers: each element of dx is the sum over the windows that cover it, written once,
 * so that nothing need be cleared before.
 */
#include "kernels.h"

#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline)) /* lest a loop hoist what each variant needs */

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

/* What lies at begin <= i < end along one axis: taps of a window, windows of a row. */
struct range {
    int begin, end;
};

/* Those of a window, its first tap at `start`, that lie at low <= start + k * dilation < high. */
static struct range taps_within(int start, int kernel, int dilation, int low, int high)
{
    if (start >= low && start + (kernel - 1) * dilation < high)
        return (struct range){0, kernel};
    struct range taps = {0, 0};
    if (start < low)
        taps.begin = smaller((low - start + dilation - 1) / dilation, kernel);
    if (start < high)
        taps.end = smaller((high - start + dilation - 1) / dilation, kernel);
    taps.end = larger(taps.begin, taps.end);
    return taps;
}

/* One over the elements that a mean is taken of. */
static float mean_share(const struct window *w, bool include_pad, int oy, int ox)
{
    const int y = oy * w->sh - w->pt, x = ox * w->sw - w->pl;
    const struct range rows = include_pad ? taps_within(y, w->kh, w->dh, -w->pt, w->ih + w->pb)
                                          : taps_within(y, w->kh, w->dh, 0, w->ih);
    const struct range columns = include_pad ? taps_within(x, w->kw, w->dw, -w->pl, w->iw + w->pr)
                                             : taps_within(x, w->kw, w->dw, 0, w->iw);
    const int count = (rows.end - rows.begin) * (columns.end - columns.begin);
    return count ? 1.0f / (float)count : 0.0f;
}

/* Windows begin <= o < end along one axis that lie wholly inside the input. */
static struct range whole_windows(int size, int kernel, int stride, int dilation, int padding,
                                  int outputs)
{
    const int room = size + padding - (kernel - 1) * dilation - 1;
    const int begin = smaller((padding + stride - 1) / stride, outputs);
    const int end = room < 0 ? begin : smaller(room / stride + 1, outputs);
    return (struct range){begin, larger(begin, end)};
}

/* How an image lies in memory, for both layouts: as planes of pixels of `depth` floats. */
struct planes {
    size_t count, depth;
};

static struct planes planes_of(const struct window *w, enum layout layout, int n)
{
    const size_t images = (size_t)n, c = (size_t)w->ic;
    return layout == LAYOUT_NHWC ? (struct planes){images, c} : (struct planes){images * c, 1};
}

enum reduction { MEAN, MAXIMUM, MAXIMUM_AND_PLACE };

/* Steps in x, in floats: to the next element of a run, tap of a row, row of taps; and from run to
 * run. */
struct steps {
    size_t lane, tap, row, run;
};

enum { MAX_LANES = 16 };

/* A greater value wins, so that of equal ones the first does; NaN always does. */
INLINE bool wins(float value, float best)
{
    return (value > best) | (value != value);
}

/* Whole windows of kh * kw taps, `lanes` of them, all constants. */
INLINE void pool_block(int lanes, enum reduction reduction, int kh, int kw, struct steps steps,
                       float share, const float *x, float *y, uint16_t *argmax)
{
    int32_t places[MAX_LANES]; /* as wide as a float: two widths in a loop halve its vectors */
#pragma omp simd
    for (int lane = 0; lane < lanes; lane++) {
        const float *first = x + (size_t)lane * steps.lane;
        float best = first[0];
        int32_t place = 0;
        for (int tap = 1; tap < kh * kw; tap++) {
            const float value =
                first[(size_t)(tap / kw) * steps.row + (size_t)(tap % kw) * steps.tap];
            const bool better = wins(value, best);
            best = reduction == MEAN ? best + value : better ? value : best;
            place = better ? tap : place;
        }
        y[lane] = reduction == MEAN ? best * share : best;
        places[lane] = place;
    }
    if (reduction == MAXIMUM_AND_PLACE)
#pragma omp simd
        for (int lane = 0; lane < lanes; lane++)
            argmax[lane] = (uint16_t)places[lane];
}

INLINE void split_pairs(int lanes, const float *x, float *even, float *odd)
{
#pragma omp simd
    for (int lane = 0; lane < lanes; lane++) {
        even[lane] = x[2 * lane];
        odd[lane] = x[2 * lane + 1];
    }
}

/* The same for 3x3 windows two pixels apart: taps first, pair by pair. In one go the third tap
 * would be half a pair, which compilers read one by one. */
INLINE void pool_block_by_pairs(int lanes, enum reduction reduction, struct steps steps,
                                float share, const float *x, float *y, uint16_t *argmax)
{
    float taps[3 * 3 * MAX_LANES];
    for (int row = 0; row < 3; row++) {
        const float *first = x + (size_t)row * steps.row;
        float *split = taps + 3 * row * lanes;
        split_pairs(lanes, first, split, split + lanes);
        split_pairs(lanes, first + 1, split + lanes, split + 2 * lanes);
    }
    const struct steps split_steps = {1, (size_t)lanes, 3 * (size_t)lanes, 0};
    pool_block(lanes, reduction, 3, 3, split_steps, share, taps, y, argmax);
}

/* `runs` of `count` elements each. */
INLINE void pool_blocks(size_t lanes, enum reduction reduction, int kh, int kw, struct steps steps,
                        float share, size_t runs, size_t count, const float *x, float *y,
                        uint16_t *argmax)
{
    for (size_t run = 0; run < runs; run++, x += steps.run, y += count) {
        for (size_t i = 0; i < count; i += lanes) {
            const size_t at = i + lanes <= count ? i : count - lanes;
            uint16_t *place = reduction == MAXIMUM_AND_PLACE ? argmax + run * count + at : NULL;
            if (steps.lane == 2 && kw == 3)
                pool_block_by_pairs((int)lanes, reduction, steps, share, x + 2 * at, y + at, place);
            else
                pool_block((int)lanes, reduction, kh, kw, steps, share, x + at * steps.lane, y + at,
                           place);
        }
    }
}

INLINE void pool_widths(enum reduction reduction, int kh, int kw, struct steps steps, float share,
                        size_t runs, size_t count, const float *x, float *y, uint16_t *argmax)
{
    if (count >= 16)
        pool_blocks(16, reduction, kh, kw, steps, share, runs, count, x, y, argmax);
    else if (count >= 8)
        pool_blocks(8, reduction, kh, kw, steps, share, runs, count, x, y, argmax);
    else if (count >= 4)
        pool_blocks(4, reduction, kh, kw, steps, share, runs, count, x, y, argmax);
    else
        pool_blocks(1, reduction, kh, kw, steps, share, runs, count, x, y, argmax);
}

/* The common kernels, over what is contiguous or every second pixel: true where done. */
INLINE bool pool_common(enum reduction reduction, int kh, int kw, struct steps steps, float share,
                        size_t runs, size_t count, const float *x, float *y, uint16_t *argmax)
{
    const bool contiguous = steps.lane == 1, pairs = steps.lane == 2 && steps.tap == 1;
    const struct steps of_one = {1, steps.tap, steps.row, steps.run};
    const struct steps of_two = {2, 1, steps.row, steps.run};
    if (kh == 2 && kw == 2 && contiguous)
        pool_widths(reduction, 2, 2, of_one, share, runs, count, x, y, argmax);
    else if (kh == 2 && kw == 2 && pairs)
        pool_widths(reduction, 2, 2, of_two, share, runs, count, x, y, argmax);
    else if (kh == 3 && kw == 3 && contiguous)
        pool_widths(reduction, 3, 3, of_one, share, runs, count, x, y, argmax);
    else if (kh == 3 && kw == 3 && pairs)
        pool_widths(reduction, 3, 3, of_two, share, runs, count, x, y, argmax);
    else
        return false;
    return true;
}

/* The taps of a window that lie in the input. */
struct taps {
    struct range rows, columns;
};

/* Any window, over `lanes` contiguous elements. x: the first tap that counts. */
INLINE void pool_taps_block(int lanes, enum reduction reduction, int kw, struct taps taps,
                            struct steps steps, float share, const float *x, float *y,
                            uint16_t *argmax)
{
    float best[MAX_LANES];
    int32_t places[MAX_LANES];
    for (int lane = 0; lane < lanes; lane++) {
        best[lane] = reduction == MEAN ? 0.0f : -INFINITY;
        places[lane] = taps.rows.begin * kw + taps.columns.begin;
    }
    for (int ki = taps.rows.begin; ki < taps.rows.end; ki++, x += steps.row) {
        const float *at = x;
        for (int kj = taps.columns.begin; kj < taps.columns.end; kj++, at += steps.tap) {
            const int32_t tap = ki * kw + kj;
#pragma omp simd
            for (int lane = 0; lane < lanes; lane++) {
                const bool better = wins(at[lane], best[lane]);
                best[lane] = reduction == MEAN ? best[lane] + at[lane]
                             : better          ? at[lane]
                                               : best[lane];
                places[lane] = better ? tap : places[lane];
            }
        }
    }
    for (int lane = 0; lane < lanes; lane++)
        y[lane] = best[lane] * share;
    for (int lane = 0; lane < lanes && reduction == MAXIMUM_AND_PLACE; lane++)
        argmax[lane] = (uint16_t)places[lane];
}

INLINE void pool_taps_blocks(size_t lanes, enum reduction reduction, int kw, struct taps taps,
                             struct steps steps, float share, size_t count, const float *x,
                             float *y, uint16_t *argmax)
{
    for (size_t i = 0; i < count; i += lanes) {
        const size_t at = i + lanes <= count ? i : count - lanes;
        pool_taps_block((int)lanes, reduction, kw, taps, steps, share, x + at, y + at,
                        reduction == MAXIMUM_AND_PLACE ? argmax + at : NULL);
    }
}

INLINE void pool_taps_widths(enum reduction reduction, int kw, struct taps taps, struct steps steps,
                             float share, size_t count, const float *x, float *y, uint16_t *argmax)
{
    if (count >= 16)
        pool_taps_blocks(16, reduction, kw, taps, steps, share, count, x, y, argmax);
    else if (count >= 8)
        pool_taps_blocks(8, reduction, kw, taps, steps, share, count, x, y, argmax);
    else
        pool_taps_blocks(4, reduction, kw, taps, steps, share, count, x, y, argmax);
}

/* Any window over 4 contiguous elements or more. */
APART void pool_contiguous(enum reduction reduction, int kw, struct taps taps, struct steps steps,
                           float share, size_t count, const float *x, float *y, uint16_t *argmax)
{
    if (reduction == MEAN)
        pool_taps_widths(MEAN, kw, taps, steps, share, count, x, y, NULL);
    else if (reduction == MAXIMUM)
        pool_taps_widths(MAXIMUM, kw, taps, steps, 1.0f, count, x, y, NULL);
    else
        pool_taps_widths(MAXIMUM_AND_PLACE, kw, taps, steps, 1.0f, count, x, y, argmax);
}

static float sum_row(size_t count, size_t step, const float *x)
{
    float sum = 0.0f;
    if (step == 1)
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < count; i++)
            sum += x[i];
    else
        for (size_t i = 0; i < count; i++)
            sum += x[i * step];
    return sum;
}

/* Any window of one channel. */
static float pool_window(enum reduction reduction, int kw, struct taps taps, struct steps steps,
                         float share, const float *x, uint16_t *argmax)
{
    const struct range rows = taps.rows, columns = taps.columns;
    float best = reduction == MEAN ? 0.0f : -INFINITY;
    int place = rows.begin * kw + columns.begin;
    for (int ki = rows.begin; ki < rows.end; ki++, x += steps.row) {
        const float *at = x;
        if (reduction == MEAN)
            best += sum_row((size_t)(columns.end - columns.begin), steps.tap, x);
        else
            for (int kj = columns.begin; kj < columns.end; kj++, at += steps.tap)
                if (wins(*at, best)) {
                    best = *at;
                    place = ki * kw + kj;
                }
    }
    if (reduction == MAXIMUM_AND_PLACE)
        *argmax = (uint16_t)place;
    return best * share;
}

struct forward {
    const struct window *window;
    enum reduction reduction;
    bool include_pad;
    struct steps steps;
};

/* `runs` of `count` elements, of windows that are all clipped as that at (oy, ox), the first. x:
 * their plane. */
static void pool_runs(const struct forward *forward, size_t depth, int oy, int ox, size_t runs,
                      size_t count, const float *x, float *y, uint16_t *argmax)
{
    const struct window *w = forward->window;
    const enum reduction reduction = forward->reduction;
    const struct steps steps = forward->steps;
    const int top = oy * w->sh - w->pt, left = ox * w->sw - w->pl;
    const struct range rows = taps_within(top, w->kh, w->dh, 0, w->ih);
    const struct range columns = taps_within(left, w->kw, w->dw, 0, w->iw);
    const float share = reduction == MEAN ? mean_share(w, forward->include_pad, oy, ox) : 1.0f;
    const bool empty = rows.begin == rows.end || columns.begin == columns.end;
    if (!empty)
        x += ((size_t)(top + rows.begin * w->dh) * (size_t)w->iw +
              (size_t)(left + columns.begin * w->dw)) *
             depth;
    if (rows.end - rows.begin == w->kh && columns.end - columns.begin == w->kw) {
        if (reduction == MEAN &&
            pool_common(MEAN, w->kh, w->kw, steps, share, runs, count, x, y, NULL))
            return;
        if (reduction == MAXIMUM &&
            pool_common(MAXIMUM, w->kh, w->kw, steps, 1.0f, runs, count, x, y, NULL))
            return;
        if (reduction == MAXIMUM_AND_PLACE &&
            pool_common(MAXIMUM_AND_PLACE, w->kh, w->kw, steps, 1.0f, runs, count, x, y, argmax))
            return;
    }
    const struct taps taps = {rows, columns};
    for (size_t run = 0; run < runs; run++, x += steps.run, y += count) {
        uint16_t *places = argmax ? argmax + run * count : NULL;
        if (steps.lane == 1 && count >= 4)
            pool_contiguous(reduction, w->kw, taps, steps, share, count, x, y, places);
        else
            for (size_t i = 0; i < count; i++)
                y[i] = pool_window(reduction, w->kw, taps, steps, share, x + i * steps.lane,
                                   places ? places + i : NULL);
    }
}

/* Windows wholly inside their rows are taken together: as one run where their elements lie equally
 * far apart, or each as a run of its channels. Rows of one run are taken together in turn where all
 * of their windows lie wholly inside of the input. */
static void pool(const struct window *w, enum layout layout, enum reduction reduction,
                 bool include_pad, int n, const float *x, float *y, uint16_t *argmax)
{
    const struct planes planes = planes_of(w, layout, n);
    const size_t depth = planes.depth, stride = (size_t)w->sw;
    const bool one_run = depth == 1 || w->sw == 1;
    const struct steps steps = {.lane = depth == 1 ? stride : 1,
                                .tap = depth * (size_t)w->dw,
                                .row = depth * (size_t)(w->iw * w->dh),
                                .run = one_run ? depth * (size_t)w->iw * (size_t)w->sh
                                               : depth * stride};
    const struct forward forward = {w, reduction, include_pad, steps};
    const struct range whole = whole_windows(w->iw, w->kw, w->sw, w->dw, w->pl, w->ow);
    struct range alike = whole_windows(w->ih, w->kh, w->sh, w->dh, w->pt, w->oh);
    if (!one_run || whole.begin > 0 || whole.end < w->ow)
        alike = (struct range){0, 0};
    for (size_t plane = 0; plane < planes.count; plane++, x += (size_t)(w->ih * w->iw) * depth)
        for (int oy = 0, rows; oy < w->oh; oy += rows) {
            rows = oy == alike.begin ? larger(alike.end - oy, 1) : 1;
            for (int ox = 0, windows; ox < w->ow; ox += windows) {
                windows = ox == whole.begin ? larger(whole.end - ox, 1) : 1;
                const size_t runs = (size_t)(one_run ? rows : windows);
                const size_t count = one_run ? depth * (size_t)windows : depth;
                pool_runs(&forward, depth, oy, ox, runs, count, x, y, argmax);
                y += runs * count;
                argmax = argmax ? argmax + runs * count : NULL;
            }
        }
}

void KERNEL(maxpool_forward)(const struct window *window, enum layout layout, int n, const float *x,
                             float *y, uint16_t *argmax)
{
    pool(window, layout, argmax ? MAXIMUM_AND_PLACE : MAXIMUM, false, n, x, y, argmax);
}

void KERNEL(avgpool_forward)(const struct window *window, enum layout layout, bool include_pad,
                             int n, const float *x, float *y)
{
    pool(window, layout, MEAN, include_pad, n, x, y, NULL);
}

/* The windows that cover a place along one axis: window o with its tap k, and on in these steps
 * while 0 <= o and k < kernel. */
struct cover {
    int o, k, o_step, k_step;
};

static int common_divisor(int a, int b)
{
    return b ? common_divisor(b, a % b) : a;
}

/* `place` counts from the padded input's first. */
static struct cover cover_of(int place, int kernel, int stride, int dilation, int outputs)
{
    const int divisor = dilation == 1 ? 1 : common_divisor(stride, dilation);
    struct cover cover = {-1, 0, -dilation / divisor, stride / divisor};
    for (; cover.k < kernel && place >= 0 && place % stride; place -= dilation)
        cover.k++;
    if (place >= 0)
        cover.o = place / stride;
    if (cover.o >= outputs && cover.o_step < 0) {
        const int beyond = (cover.o - outputs) / -cover.o_step + 1;
        cover.o += beyond * cover.o_step;
        cover.k += beyond * cover.k_step;
    }
    return cover;
}

enum { MAX_SOURCES = 9 }; /* gathered at a time */

/* A window that covers an element: its first place in dy, the tap, and its mean's share. */
struct source {
    size_t at;
    int tap;
    float share;
};

/* What an element gets from a window: its share of dy, or dy if the maximum stood here. The choice
 * is made with a mask, as compilers turn a conditional term of a sum into a branch. */
INLINE float contribution(bool mean, float share, int32_t tap, float dy, int32_t place)
{
    union {
        float value;
        uint32_t bits;
    } taken = {dy};
    taken.bits &= -(uint32_t)(place == tap);
    return mean ? dy * share : taken.value;
}

/* Places as wide as floats, as in pool_block(). They are stored in one go, since a vector loaded
 * from what two stores left has to wait for both. */
INLINE void widen_places(int lanes, const uint16_t *argmax, int32_t *places)
{
#define WIDEN(count)                                                                               \
    if (lanes == (count)) {                                                                        \
        typedef uint16_t narrow __attribute__((vector_size(2 * (count)), aligned(2), may_alias));  \
        typedef int32_t wide __attribute__((vector_size(4 * (count)), aligned(4), may_alias));     \
        *(wide *)places = __builtin_convertvector(*(const narrow *)argmax, wide);                  \
    }
    WIDEN(1) WIDEN(4) WIDEN(8) WIDEN(16)
#undef WIDEN
}

/* `sources`, a constant, at the most MAX_SOURCES. Their copy here is what dx cannot overlap. */
INLINE void gather_block(int lanes, bool mean, int sources, const struct source *source,
                         const float *dy, const uint16_t *argmax, float *dx)
{
    int32_t places[MAX_SOURCES][MAX_LANES];
    struct source own[MAX_SOURCES];
    for (int s = 0; s < sources; s++) {
        own[s] = (struct source){source[s].at, source[s].tap, source[s].share};
        if (!mean)
            widen_places(lanes, argmax + own[s].at, places[s]);
    }
#pragma omp simd
    for (int lane = 0; lane < lanes; lane++) {
        float sum = 0.0f;
        for (int s = 0; s < sources; s++)
            sum += contribution(mean, own[s].share, own[s].tap, dy[own[s].at + (size_t)lane],
                                mean ? 0 : places[s][lane]);
        dx[lane] = sum;
    }
}

INLINE void gather_blocks(size_t lanes, bool mean, int sources, const struct source *source,
                          size_t count, const float *dy, const uint16_t *argmax, float *dx)
{
    for (size_t i = 0; i < count; i += lanes) {
        const size_t at = i + lanes <= count ? i : count - lanes;
        gather_block((int)lanes, mean, sources, source, dy + at, mean ? NULL : argmax + at,
                     dx + at);
    }
}

INLINE void gather_widths(bool mean, int sources, const struct source *source, size_t count,
                          const float *dy, const uint16_t *argmax, float *dx)
{
    if (count >= 16)
        gather_blocks(16, mean, sources, source, count, dy, argmax, dx);
    else if (count >= 4)
        gather_blocks(4, mean, sources, source, count, dy, argmax, dx);
    else
        gather_blocks(1, mean, sources, source, count, dy, argmax, dx);
}

INLINE void gather_added(bool mean, const struct source *source, size_t count, const float *dy,
                         const uint16_t *argmax, float *dx)
{
    const float share = source->share;
    const int tap = source->tap;
    dy += source->at;
    argmax = mean ? NULL : argmax + source->at;
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        dx[i] += contribution(mean, share, tap, dy[i], mean ? 0 : argmax[i]);
}

/* dx of a run from the windows that cover all of it; at most MAX_SOURCES. */
INLINE void gather(bool mean, bool accumulate, int sources, const struct source *source,
                   size_t count, const float *dy, const uint16_t *argmax, float *dx)
{
    if (!accumulate && sources == 1)
        gather_widths(mean, 1, source, count, dy, argmax, dx);
    else if (!accumulate && sources == 2)
        gather_widths(mean, 2, source, count, dy, argmax, dx);
    else if (!accumulate && sources == 4)
        gather_widths(mean, 4, source, count, dy, argmax, dx);
    else if (!accumulate && sources == 6)
        gather_widths(mean, 6, source, count, dy, argmax, dx);
    else if (!accumulate && sources == 9)
        gather_widths(mean, 9, source, count, dy, argmax, dx);
    else {
        if (!accumulate)
            memset(dx, 0, count * sizeof *dx);
        for (int s = 0; s < sources; s++)
            gather_added(mean, &source[s], count, dy, argmax, dx);
    }
}

struct backward {
    const struct window *window;
    bool include_pad, accumulate;
    const float *dy;        /* of a plane */
    const uint16_t *argmax; /* of a plane; NULL: means */
    size_t depth;
    struct range inner; /* see inner_columns() */
};

APART void gather_run(const struct backward *b, bool accumulate, int sources,
                      const struct source *source, size_t count, float *dx)
{
    if (b->argmax)
        gather(false, accumulate, sources, source, count, b->dy, b->argmax, dx);
    else
        gather(true, accumulate, sources, source, count, b->dy, NULL, dx);
}

static struct source source_of(const struct backward *b, int oy, int ox, int ki, int kj)
{
    const struct window *w = b->window;
    return (struct source){.at = ((size_t)oy * (size_t)w->ow + (size_t)ox) * b->depth,
                           .tap = ki * w->kw + kj,
                           .share = b->argmax ? 1.0f : mean_share(w, b->include_pad, oy, ox)};
}

/* dx of `count` elements, the channels of a pixel or of several in a row, from the windows whose
 * rows and columns cover the first, and for the other pixels as many further on. */
static void backward_run(const struct backward *b, struct cover rows, struct cover columns,
                         size_t count, float *dx)
{
    const int kh = b->window->kh, kw = b->window->kw;
    struct source sources[MAX_SOURCES];
    bool accumulate = b->accumulate;
    int found = 0;
    for (; rows.o >= 0 && rows.k < kh; rows.o += rows.o_step, rows.k += rows.k_step)
        for (struct cover column = columns; column.o >= 0 && column.k < kw;
             column.o += column.o_step, column.k += column.k_step) {
            if (found == MAX_SOURCES) {
                gather_run(b, accumulate, found, sources, count, dx);
                accumulate = true;
                found = 0;
            }
            sources[found++] = source_of(b, rows.o, column.o, rows.k, column.k);
        }
    gather_run(b, accumulate, found, sources, count, dx);
}

/* The same for one channel of one pixel. */
static void backward_value(const struct backward *b, struct cover rows, struct cover columns,
                           float *dx)
{
    const int kh = b->window->kh, kw = b->window->kw;
    float sum = b->accumulate ? *dx : 0.0f;
    for (; rows.o >= 0 && rows.k < kh; rows.o += rows.o_step, rows.k += rows.k_step)
        for (struct cover column = columns; column.o >= 0 && column.k < kw;
             column.o += column.o_step, column.k += column.k_step) {
            const struct source source = source_of(b, rows.o, column.o, rows.k, column.k);
            sum += contribution(!b->argmax, source.share, source.tap, b->dy[source.at],
                                b->argmax ? b->argmax[source.at] : 0);
        }
    *dx = sum;
}

/* Windows of 2x2 or 3x3 that lie two apart cover the pixels in squares of four: window (m, n)
 * all of a square, and if it is three wide its neighbours at n - 1 the left column, at m - 1
 * the upper row, at both the first pixel. Steps are in floats: in dy to those neighbours, in dx to
 * the square of the next lane and to a square's right and lower pixels. */
struct square {
    size_t dy_column, dy_row, lane, column, row;
};

INLINE void square_block(int lanes, bool mean, int kernel, struct square square, float share,
                         const float *dy, const uint16_t *argmax, float *dx)
{
    const float *left = kernel == 3 ? dy - square.dy_column : dy;
    const float *above = kernel == 3 ? dy - square.dy_row : dy;
    const float *corner = kernel == 3 ? above - square.dy_column : dy;
    float *upper_row = dx, *lower_row = dx + square.row;
    int32_t places[4][MAX_LANES];
    if (!mean)
        widen_places(lanes, argmax, places[0]);
    if (!mean && kernel == 3) {
        widen_places(lanes, argmax - square.dy_column, places[1]);
        widen_places(lanes, argmax - square.dy_row, places[2]);
        widen_places(lanes, argmax - square.dy_row - square.dy_column, places[3]);
    }
#define TAKE(tap, from, window)                                                                    \
    contribution(mean, share, tap, (from)[lane], mean ? 0 : places[window][lane])
#pragma omp simd
    for (int lane = 0; lane < lanes; lane++) {
        float first = TAKE(0, dy, 0), right = TAKE(1, dy, 0);
        float lower = TAKE(kernel, dy, 0), last = TAKE(kernel + 1, dy, 0);
        if (kernel == 3) {
            first += TAKE(2, left, 1);
            lower += TAKE(5, left, 1);
            first += TAKE(6, above, 2);
            right += TAKE(7, above, 2);
            first += TAKE(8, corner, 3);
        }
        upper_row[(size_t)lane * square.lane] = first;
        upper_row[(size_t)lane * square.lane + square.column] = right;
        lower_row[(size_t)lane * square.lane] = lower;
        lower_row[(size_t)lane * square.lane + square.column] = last;
    }
#undef TAKE
}

INLINE void square_blocks(size_t lanes, bool mean, int kernel, struct square square, float share,
                          size_t count, const float *dy, const uint16_t *argmax, float *dx)
{
    for (size_t i = 0; i < count; i += lanes) {
        const size_t at = i + lanes <= count ? i : count - lanes;
        square_block((int)lanes, mean, kernel, square, share, dy + at, mean ? NULL : argmax + at,
                     dx + at * square.lane);
    }
}

INLINE void square_widths(bool mean, int kernel, struct square square, float share, size_t count,
                          const float *dy, const uint16_t *argmax, float *dx)
{
    if (count >= 16)
        square_blocks(16, mean, kernel, square, share, count, dy, argmax, dx);
    else if (count >= 8)
        square_blocks(8, mean, kernel, square, share, count, dy, argmax, dx);
    else if (count >= 4)
        square_blocks(4, mean, kernel, square, share, count, dy, argmax, dx);
    else
        square_blocks(1, mean, kernel, square, share, count, dy, argmax, dx);
}

/* Over neighbouring channels, or over a row of windows of one. */
INLINE void square_layouts(bool mean, int kernel, struct square square, float share, size_t count,
                           const float *dy, const uint16_t *argmax, float *dx)
{
    if (square.lane == 1) {
        square_widths(mean, kernel, square, share, count, dy, argmax, dx);
    } else {
        const struct square of_pixels = {1, square.dy_row, 2, 1, square.row};
        square_widths(mean, kernel, of_pixels, share, count, dy, argmax, dx);
    }
}

/* `count` squares of channels, or of pixels, from place `at` of dy on. */
APART void square_run(const struct backward *b, const struct square *square, size_t at,
                      size_t count, float *dx)
{
    const float *dy = b->dy + at;
    if (b->argmax && b->window->kw == 2)
        square_layouts(false, 2, *square, 1.0f, count, dy, b->argmax + at, dx);
    else if (b->argmax)
        square_layouts(false, 3, *square, 1.0f, count, dy, b->argmax + at, dx);
    else if (b->window->kw == 2)
        square_layouts(true, 2, *square, 1.0f / 4.0f, count, dy, NULL, dx);
    else
        square_layouts(true, 3, *square, 1.0f / 9.0f, count, dy, NULL, dx);
}

/* Windows begin <= m < end along one axis whose squares lie in the input; where means are taken,
 * so do all windows that take part. */
static struct range squares_along(bool mean, int size, int kernel, int padding, int outputs)
{
    const int before = kernel - 2;
    struct range squares = {larger((padding + 1) / 2, before),
                            smaller((size + padding) / 2, outputs)};
    if (mean) {
        const struct range whole = whole_windows(size, kernel, 2, 1, padding, outputs);
        squares.begin = larger(squares.begin, whole.begin + before);
        squares.end = smaller(squares.end, whole.end);
    }
    return squares.begin < squares.end ? squares : (struct range){0, 0};
}

/* Where squares lie in a plane; no rows: nowhere. */
struct squares {
    struct range rows, columns;
    struct square steps;
};

static struct squares squares_of(const struct backward *b)
{
    const struct window *w = b->window;
    const bool fits = w->kh == w->kw && (w->kw == 2 || w->kw == 3) && w->sh == 2 && w->sw == 2 &&
                      w->dh == 1 && w->dw == 1 && !b->accumulate;
    const size_t depth = b->depth;
    struct squares squares = {
        .steps = {depth, (size_t)w->ow * depth, depth == 1 ? 2 : 1, depth, (size_t)w->iw * depth}};
    if (!fits)
        return squares;
    squares.columns = squares_along(!b->argmax, w->iw, w->kw, w->pl, w->ow);
    if (squares.columns.end)
        squares.rows = squares_along(!b->argmax, w->ih, w->kh, w->pt, w->oh);
    return squares;
}

/* The squares of window row `oy`: two rows of dx, its plane. */
static void backward_squares(const struct backward *b, const struct squares *squares, int oy,
                             float *dx)
{
    const struct window *w = b->window;
    const size_t depth = b->depth, top = (size_t)(2 * oy - w->pt);
    const struct range columns = squares->columns;
    const int together = depth == 1 ? columns.end - columns.begin : 1;
    for (int ox = columns.begin; ox < columns.end; ox += together)
        square_run(b, &squares->steps, ((size_t)oy * (size_t)w->ow + (size_t)ox) * depth,
                   depth * (size_t)together,
                   dx + (top * (size_t)w->iw + (size_t)(2 * ox - w->pl)) * depth);
}

/* Columns begin <= ix < end, each covered by the windows next to those of the column before: all kw
 * exist, and where means are taken, over equally many columns. Elsewhere than at stride 1: none. */
static struct range inner_columns(const struct backward *b)
{
    const struct window *w = b->window;
    const int reach = (w->kw - 1) * w->dw;
    struct range windows = {0, w->ow};
    if (w->sw > 1)
        return (struct range){0, 0};
    if (!b->argmax && b->include_pad)
        windows = whole_windows(w->iw + w->pl + w->pr, w->kw, 1, w->dw, 0, w->ow);
    else if (!b->argmax)
        windows = whole_windows(w->iw, w->kw, 1, w->dw, w->pl, w->ow);
    return (struct range){larger(windows.begin + reach - w->pl, 0),
                          smaller(windows.end - w->pl, w->iw)};
}

/* Columns begin <= ix < end of row iy of dx: the inner ones at once, others pixel by pixel. dx: its
 * plane. */
static void backward_pixels(const struct backward *b, int iy, int begin, int end, float *dx)
{
    const struct window *w = b->window;
    const struct range inner = b->inner;
    const struct cover rows = cover_of(iy + w->pt, w->kh, w->sh, w->dh, w->oh);
    dx += (size_t)(iy * w->iw) * b->depth;
    for (int ix = begin, together; ix < end; ix += together) {
        const struct cover columns = cover_of(ix + w->pl, w->kw, w->sw, w->dw, w->ow);
        together = ix >= inner.begin && ix < inner.end ? smaller(inner.end, end) - ix : 1;
        const size_t count = b->depth * (size_t)together;
        if (count == 1)
            backward_value(b, rows, columns, dx + ix);
        else
            backward_run(b, rows, columns, count, dx + (size_t)ix * b->depth);
    }
}

static void backward_plane(const struct backward *b, const struct squares *squares, float *dx)
{
    const struct window *w = b->window;
    const struct range rows = squares->rows, columns = squares->columns;
    const int top = rows.end ? 2 * rows.begin - w->pt : w->ih;
    const int bottom = rows.end ? 2 * rows.end - w->pt : w->ih;
    const int left = 2 * columns.begin - w->pl, right = 2 * columns.end - w->pl;
    for (int iy = 0; iy < top; iy++)
        backward_pixels(b, iy, 0, w->iw, dx);
    for (int oy = rows.begin; oy < rows.end; oy++)
        backward_squares(b, squares, oy, dx);
    for (int iy = top; iy < bottom && left > 0; iy++)
        backward_pixels(b, iy, 0, left, dx);
    for (int iy = top; iy < bottom && right < w->iw; iy++)
        backward_pixels(b, iy, right, w->iw, dx);
    for (int iy = bottom; iy < w->ih; iy++)
        backward_pixels(b, iy, 0, w->iw, dx);
}

static void unpool(const struct window *w, enum layout layout, bool include_pad, int n,
                   const float *dy, const uint16_t *argmax, bool accumulate, float *dx)
{
    const struct planes planes = planes_of(w, layout, n);
    const size_t in = (size_t)(w->ih * w->iw) * planes.depth;
    const size_t out = (size_t)(w->oh * w->ow) * planes.depth;
    struct backward b = {w, include_pad, accumulate, dy, argmax, planes.depth, {0, 0}};
    b.inner = inner_columns(&b);
    const struct squares squares = squares_of(&b);
    for (size_t plane = 0; plane < planes.count; plane++) {
        backward_plane(&b, &squares, dx + plane * in);
        b.dy += out;
        b.argmax = argmax ? b.argmax + out : NULL;
    }
}

void KERNEL(maxpool_backward)(const struct window *window, enum layout layout, int n,
                              const float *dy, const uint16_t *argmax, bool accumulate, float *dx)
{
    unpool(window, layout, false, n, dy, argmax, accumulate, dx);
}

void KERNEL(avgpool_backward)(const struct window *window, enum layout layout, bool include_pad,
                              int n, const float *dy, bool accumulate, float *dx)
{
    unpool(window, layout, include_pad, n, dy, NULL, accumulate, dx);
}
