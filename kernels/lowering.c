/* im2col and col2im, in both orders of columns. Padding is handled by clipping the range of
 * kernel columns (pixels first) or of output columns (taps first), or by a mask, once for all rows.
 */
#include "kernels.h"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

/* Rows are short (10 to 200 floats): a call of memcpy, or a scalar tail, would cost as much as the
 * copy, so vectors are masked where the processor can: the tail is one, and of whole ones gcc would
 * make that call. */
static inline void copy(float *restrict to, const float *restrict from, int n)
{
#ifdef __AVX512F__
    for (int i = 0; i < n; i += 16) {
        __mmask16 mask = (__mmask16)(n - i < 16 ? (1u << (n - i)) - 1u : 0xffffu);
        _mm512_mask_storeu_ps(to + i, mask, _mm512_maskz_loadu_ps(mask, from + i));
    }
#else
    for (int i = 0; i < n; i++)
        to[i] = from[i];
#endif
}

static inline void clear(float *to, int n)
{
    for (int i = 0; i < n; i++)
        to[i] = 0.0f;
}

static inline void add(float *restrict to, const float *restrict from, int n)
{
#ifdef __AVX512F__
    int i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(to + i, _mm512_add_ps(_mm512_loadu_ps(to + i), _mm512_loadu_ps(from + i)));
    if (i < n) {
        __mmask16 mask = (__mmask16)((1u << (n - i)) - 1u);
        _mm512_mask_storeu_ps(to + i, mask,
                              _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to + i),
                                            _mm512_maskz_loadu_ps(mask, from + i)));
    }
#else
    for (int i = 0; i < n; i++)
        to[i] += from[i];
#endif
}

/* Steps between neighbours in an image [ic, ih, iw] of either layout. */
struct steps {
    size_t channel, row, column, image;
};

static struct steps image_steps(const struct window *w, enum layout layout)
{
    size_t ic = (size_t)w->ic, ih = (size_t)w->ih, iw = (size_t)w->iw;
    if (layout == LAYOUT_NHWC)
        return (struct steps){1, iw * ic, ic, ih * iw * ic};
    return (struct steps){ih * iw, iw, 1, ih * iw * ic};
}

static inline int least(int a, int b)
{
    return a < b ? a : b;
}

/* The i in [0, count) for which 0 <= start + i * step < size: *from <= i < *to. */
static inline void clip(int start, int step, int size, int count, int *from, int *to)
{
    *from = start >= 0 ? 0 : least(count, (-start + step - 1) / step);
    *to = start >= size ? 0 : least(count, (size - 1 - start) / step + 1);
    if (*to < *from)
        *to = *from;
}

/* Where an output pixel is. */
struct position {
    size_t image;
    int oy, ox;
};

static inline struct position position_of(const struct window *w, size_t row)
{
    size_t pixels = (size_t)w->oh * (size_t)w->ow;
    size_t within = row % pixels;
    return (struct position){row / pixels, (int)(within / (size_t)w->ow),
                             (int)(within % (size_t)w->ow)};
}

/* By some pixels, at the most to the next row. */
static inline void advance(const struct window *w, struct position *p, int pixels)
{
    p->ox += pixels;
    if (p->ox < w->ow)
        return;
    p->ox = 0;
    if (++p->oy < w->oh)
        return;
    p->oy = 0;
    p->image++;
}

/* The columns of `pixels` neighbours whose kernel rows [k0, k1) each are one run of `width` floats
 * inside of the image's width. */
static void gather_whole(const struct window *w, const struct steps *steps,
                         const struct position *p, int pixels, int k0, int k1, int width,
                         const float *x, float *columns)
{
    ptrdiff_t pitch = (ptrdiff_t)(k1 - k0) * width, step = w->sw * (ptrdiff_t)steps->column;
    const float *image = x + p->image * steps->image;
    const ptrdiff_t ix = p->ox * w->sw - w->pl;
    for (int ki = k0; ki < k1; ki++, columns += width) {
        int iy = p->oy * w->sh - w->pt + ki * w->dh;
        if (iy < 0 || iy >= w->ih) {
            for (int r = 0; r < pixels; r++)
                clear(columns + r * pitch, width);
            continue;
        }
        const float *source = image + (size_t)iy * steps->row + ix * (ptrdiff_t)steps->column;
        float *to = columns;
        for (int r = 0; r < pixels; r++, to += pitch, source += step)
            copy(to, source, width);
    }
}

void KERNEL(im2col_pixels)(const struct window *w, enum layout layout, size_t row0, size_t rows,
                           int k0, int k1, int c0, int c1, const float *x, float *columns)
{
    struct steps steps = image_steps(w, layout);
    struct position p = position_of(w, row0);
    int channels = c1 - c0, pixels, whole_from, whole_to;
    /* Neighbouring taps of a kernel row are neighbours in memory: one run is copied. */
    bool contiguous = steps.channel == 1 && channels == w->ic && w->dw == 1;
    clip(-w->pl, w->sw, w->iw - (w->kw - 1) * w->dw, w->ow, &whole_from, &whole_to);
    for (size_t r = 0; r < rows; r += (size_t)pixels, advance(w, &p, pixels)) {
        pixels = 1;
        if (contiguous && p.ox >= whole_from && p.ox < whole_to) {
            pixels = whole_to - p.ox;
            if (rows - r < (size_t)pixels)
                pixels = (int)(rows - r);
            gather_whole(w, &steps, &p, pixels, k0, k1, w->kw * channels, x, columns);
            columns += (ptrdiff_t)pixels * (k1 - k0) * w->kw * channels;
            continue;
        }
        int ix = p.ox * w->sw - w->pl, from, to;
        clip(ix, w->dw, w->iw, w->kw, &from, &to);
        for (int ki = k0; ki < k1; ki++, columns += w->kw * channels) {
            int iy = p.oy * w->sh - w->pt + ki * w->dh;
            if (iy < 0 || iy >= w->ih || from == to) {
                clear(columns, w->kw * channels);
                continue;
            }
            const float *source =
                x + p.image * steps.image + (size_t)iy * steps.row + (size_t)c0 * steps.channel;
            clear(columns, from * channels);
            if (contiguous) {
                copy(columns + from * channels, source + (size_t)(ix + from) * steps.column,
                     (to - from) * channels);
            } else {
                for (int kj = from; kj < to; kj++) {
                    const float *pixel = source + (size_t)(ix + kj * w->dw) * steps.column;
                    float *tap = columns + kj * channels;
                    if (steps.channel == 1)
                        copy(tap, pixel, channels);
                    else
                        for (int c = 0; c < channels; c++)
                            tap[c] = pixel[(size_t)c * steps.channel];
                }
            }
            clear(columns + to * channels, (w->kw - to) * channels);
        }
    }
}

void KERNEL(col2im_pixels)(const struct window *w, enum layout layout, size_t row0, size_t rows,
                           int k0, int k1, int c0, int c1, const float *columns, float *dx)
{
    struct steps steps = image_steps(w, layout);
    struct position p = position_of(w, row0);
    int channels = c1 - c0;
    bool contiguous = steps.channel == 1 && channels == w->ic && w->dw == 1;
    for (size_t r = 0; r < rows; r++, advance(w, &p, 1)) {
        int ix = p.ox * w->sw - w->pl, from, to;
        clip(ix, w->dw, w->iw, w->kw, &from, &to);
        for (int ki = k0; ki < k1; ki++, columns += w->kw * channels) {
            int iy = p.oy * w->sh - w->pt + ki * w->dh;
            if (iy < 0 || iy >= w->ih || from == to)
                continue;
            float *target =
                dx + p.image * steps.image + (size_t)iy * steps.row + (size_t)c0 * steps.channel;
            if (contiguous) {
                add(target + (size_t)(ix + from) * steps.column, columns + from * channels,
                    (to - from) * channels);
                continue;
            }
            for (int kj = from; kj < to; kj++) {
                float *pixel = target + (size_t)(ix + kj * w->dw) * steps.column;
                const float *tap = columns + kj * channels;
                if (steps.channel == 1)
                    add(pixel, tap, channels);
                else
                    for (int c = 0; c < channels; c++)
                        pixel[(size_t)c * steps.channel] += tap[c];
            }
        }
    }
}

/* Some output rows of one tap. Lanes [from, to) of a row come from the image, `pitch` floats apart
 * from row to row; the others of the `width` lanes are padding. `image` is where lane 0 would be,
 * which may be outside of the image. */
struct lanes {
    int from, to, width;
    ptrdiff_t pitch, step;
};

#ifdef __AVX512F__
static inline __mmask16 lane_mask(int from, int to, int block)
{
    int first = from - block, end = to - block;
    unsigned low = first <= 0 ? 0u : first >= 16 ? 0xffffu : (1u << first) - 1u;
    unsigned high = end <= 0 ? 0u : end >= 16 ? 0xffffu : (1u << end) - 1u;
    return (__mmask16)(high & ~low);
}

/* Masked vectors do padding and tails for nothing: lanes that are masked off are not touched. */
static inline void gather_rows(const struct lanes *l, int rows, const float *image, float *to)
{
    for (int block = 0; block < l->width; block += 16) {
        __mmask16 load = lane_mask(l->from, l->to, block), store = lane_mask(0, l->width, block);
        const float *source = image + block;
        float *target = to + block;
        for (int r = 0; r < rows; r++, source += l->pitch, target += l->width)
            _mm512_mask_storeu_ps(target, store, _mm512_maskz_loadu_ps(load, source));
    }
}

/* Every second float: two vectors in, their even lanes out. */
static inline void gather_rows_of_pairs(const struct lanes *l, int rows, const float *image,
                                        float *to)
{
    const __m512i even =
        _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    for (int block = 0; block < l->width; block += 16) {
        __mmask16 low = lane_mask(2 * l->from, 2 * l->to - 1, 2 * block);
        __mmask16 high = lane_mask(2 * l->from, 2 * l->to - 1, 2 * block + 16);
        __mmask16 store = lane_mask(0, l->width, block);
        const float *source = image + 2 * block;
        float *target = to + block;
        for (int r = 0; r < rows; r++, source += l->pitch, target += l->width) {
            __m512 a = _mm512_maskz_loadu_ps(low, source);
            __m512 b = _mm512_maskz_loadu_ps(high, source + 16);
            _mm512_mask_storeu_ps(target, store, _mm512_permutex2var_ps(a, even, b));
        }
    }
}
#else
static inline void gather_rows(const struct lanes *l, int rows, const float *image, float *to)
{
    for (int r = 0; r < rows; r++, image += l->pitch, to += l->width) {
        clear(to, l->from);
        copy(to + l->from, image + l->from, l->to - l->from);
        clear(to + l->to, l->width - l->to);
    }
}
#endif

static inline void gather_strided(const struct lanes *l, int rows, const float *image, float *to)
{
    for (int r = 0; r < rows; r++, image += l->pitch, to += l->width) {
        clear(to, l->from);
        for (int i = l->from; i < l->to; i++)
            to[i] = image[i * l->step];
        clear(to + l->to, l->width - l->to);
    }
}

static inline void gather(const struct lanes *l, int rows, const float *image, float *to)
{
    if (l->step == 1)
        gather_rows(l, rows, image, to);
#ifdef __AVX512F__
    else if (l->step == 2 && l->from < l->to)
        gather_rows_of_pairs(l, rows, image, to);
#endif
    else
        gather_strided(l, rows, image, to);
}

/* One tap (ki, kj) over output rows [y0, y1): the rows [from, to) of them that lie in the image,
 * and where in a channel the first of these begins. */
struct tap {
    struct lanes lanes;
    int from, to;
    ptrdiff_t start;
};

static struct tap tap_of(const struct window *w, const struct steps *steps, int ki, int kj, int y0,
                         int y1)
{
    int ix = kj * w->dw - w->pl, iy = y0 * w->sh - w->pt + ki * w->dh;
    struct tap tap = {.lanes = {.width = w->ow,
                                .pitch = (ptrdiff_t)steps->row * w->sh,
                                .step = (ptrdiff_t)steps->column * w->sw}};
    clip(ix, w->sw, w->iw, w->ow, &tap.lanes.from, &tap.lanes.to);
    clip(iy, w->sh, w->ih, y1 - y0, &tap.from, &tap.to);
    tap.start = (ptrdiff_t)(iy + tap.from * w->sh) * (ptrdiff_t)steps->row +
                (ptrdiff_t)ix * (ptrdiff_t)steps->column;
    return tap;
}

static inline size_t tap_index(const struct window *w, int channel, int ki, int kj)
{
    return ((size_t)channel * (size_t)w->kh + (size_t)ki) * (size_t)w->kw + (size_t)kj;
}

void KERNEL(im2col_taps)(const struct window *w, enum layout layout, int y0, int y1, int c0, int c1,
                         const float *x, float *columns)
{
    struct steps steps = image_steps(w, layout);
    for (int ki = 0; ki < w->kh; ki++) {
        for (int kj = 0; kj < w->kw; kj++) {
            struct tap tap = tap_of(w, &steps, ki, kj, y0, y1);
            int rows = tap.to - tap.from;
            for (int c = c0; c < c1; c++) {
                size_t index = tap_index(w, c - c0, ki, kj);
                float *to = columns + index * (size_t)(y1 - y0) * (size_t)w->ow;
                const float *image = x + (size_t)c * steps.channel + tap.start;
                clear(to, tap.from * w->ow);
                gather(&tap.lanes, rows, image, to + tap.from * w->ow);
                clear(to + tap.to * w->ow, (y1 - y0 - tap.to) * w->ow);
            }
        }
    }
}

/* Where the taps of a kernel row add to a row of the image of `size` lanes, `step` floats apart:
 * the `width` columns of tap kj to every `stride`th lane from start + kj * dilation on. They lie
 * `plane` floats after those of the tap before. */
struct folding {
    int taps, start, dilation, stride, width, size;
    size_t plane, step;
};

static inline bool is_contiguous(const struct folding *f)
{
    return f->stride == 1 && f->step == 1;
}

#ifdef __AVX512F__
/* `rows`, a constant, at once, `pitch` floats apart in the image. They are summed in registers: a
 * sum in memory would wait for the store of the tap before. */
static inline __attribute__((always_inline)) void
fold_rows(const struct folding *f, int rows, const float *columns, ptrdiff_t pitch, float *image)
{
    for (int block = 0; block < f->size; block += 16) {
        const __mmask16 inside = lane_mask(0, f->size, block);
        const float *from = columns + block - f->start;
        float *to = image + block;
        __m512 sums[4];
        for (int r = 0; r < rows; r++)
            sums[r] = _mm512_maskz_loadu_ps(inside, to + r * pitch);
        for (int kj = 0, first = f->start; kj < f->taps; kj++, first += f->dilation) {
            const __mmask16 mask = lane_mask(first, first + f->width, block) & inside;
            for (int r = 0; r < rows; r++)
                sums[r] = _mm512_mask_add_ps(sums[r], mask, sums[r],
                                             _mm512_maskz_loadu_ps(mask, from + r * f->width));
            from += (ptrdiff_t)f->plane - f->dilation;
        }
        for (int r = 0; r < rows; r++)
            _mm512_mask_storeu_ps(to + r * pitch, inside, sums[r]);
    }
}
#endif

/* Tap after tap over all rows: next to each other, the sums of two taps would wait likewise. */
static inline void fold_taps(const struct folding *f, int rows, const float *columns,
                             ptrdiff_t pitch, float *image)
{
    for (int kj = 0; kj < f->taps; kj++, columns += f->plane) {
        int first = f->start + kj * f->dilation, from, to;
        clip(first, f->stride, f->size, f->width, &from, &to);
        const float *source = columns;
        float *row = image;
        for (int r = 0; r < rows; r++, source += f->width, row += pitch) {
            if (is_contiguous(f))
                add(row + first + from, source + from, to - from);
            else
                for (int i = from; i < to; i++)
                    row[(size_t)(first + i * f->stride) * f->step] += source[i];
        }
    }
}

static inline void fold(const struct folding *f, int rows, const float *columns, ptrdiff_t pitch,
                        float *image)
{
#ifdef __AVX512F__
    if (is_contiguous(f)) {
        int r = 0;
        for (; r + 4 <= rows; r += 4)
            fold_rows(f, 4, columns + r * f->width, pitch, image + r * pitch);
        for (; r < rows; r++)
            fold_rows(f, 1, columns + r * f->width, pitch, image + r * pitch);
        return;
    }
#endif
    fold_taps(f, rows, columns, pitch, image);
}

void KERNEL(col2im_taps)(const struct window *w, enum layout layout, int y0, int y1, int c0, int c1,
                         const float *columns, float *dx)
{
    const struct steps steps = image_steps(w, layout);
    const size_t plane = (size_t)(y1 - y0) * (size_t)w->ow;
    const struct folding folding = {w->kw, -w->pl, w->dw, w->sw, w->ow, w->iw, plane, steps.column};
    const ptrdiff_t row = (ptrdiff_t)steps.row;
    for (int c = c0; c < c1; c++)
        for (int ki = 0; ki < w->kh; ki++) {
            const float *from = columns + tap_index(w, c - c0, ki, 0) * plane;
            int iy = y0 * w->sh - w->pt + ki * w->dh, first, end;
            clip(iy, w->sh, w->ih, y1 - y0, &first, &end);
            fold(&folding, end - first, from + first * w->ow, row * w->sh,
                 dx + (size_t)c * steps.channel + (iy + first * w->sh) * row);
        }
}
