/* im2col and col2im, in both orders of columns. Padding is handled by clipping the range of
 * kernel columns (pixels first) or of output columns (taps first) once, outside of the copy. */
#include "kernels.h"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

/* Rows are short (10 to 200 floats): a call of memcpy, or a scalar tail, would cost as much as the
 * copy, so the tail is one masked vector where the processor has those. */
static inline void copy(float *restrict to, const float *restrict from, int n)
{
#ifdef __AVX512F__
    int i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(to + i, _mm512_loadu_ps(from + i));
    if (i < n) {
        __mmask16 mask = (__mmask16)((1u << (n - i)) - 1u);
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

static inline void advance(const struct window *w, struct position *p)
{
    if (++p->ox < w->ow)
        return;
    p->ox = 0;
    if (++p->oy < w->oh)
        return;
    p->oy = 0;
    p->image++;
}

void KERNEL(im2col_pixels)(const struct window *w, enum layout layout, size_t row0, size_t rows,
                           int k0, int k1, int c0, int c1, const float *x, float *columns)
{
    struct steps steps = image_steps(w, layout);
    struct position p = position_of(w, row0);
    int channels = c1 - c0;
    /* Neighbouring taps of a kernel row are neighbours in memory: one run is copied. */
    bool contiguous = steps.channel == 1 && channels == w->ic && w->dw == 1;
    for (size_t r = 0; r < rows; r++, advance(w, &p)) {
        int ix = p.ox * w->sw - w->pl, from, to;
        clip(ix, w->dw, w->iw, w->kw, &from, &to);
        for (int ki = k0; ki < k1; ki++, columns += w->kw * channels) {
            int iy = p.oy * w->sh - w->pt + ki * w->dh;
            if (iy < 0 || iy >= w->ih || from == to) {
                clear(columns, w->kw * channels);
                continue;
            }
            const float *source = x + p.image * steps.image + (size_t)iy * steps.row +
                                  (size_t)c0 * steps.channel;
            clear(columns, from * channels);
            if (contiguous) {
                copy(columns + from * channels,
                     source + (size_t)(ix + from) * steps.column, (to - from) * channels);
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
    for (size_t r = 0; r < rows; r++, advance(w, &p)) {
        int ix = p.ox * w->sw - w->pl, from, to;
        clip(ix, w->dw, w->iw, w->kw, &from, &to);
        for (int ki = k0; ki < k1; ki++, columns += w->kw * channels) {
            int iy = p.oy * w->sh - w->pt + ki * w->dh;
            if (iy < 0 || iy >= w->ih || from == to)
                continue;
            float *target = dx + p.image * steps.image + (size_t)iy * steps.row +
                            (size_t)c0 * steps.channel;
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

void KERNEL(im2col_taps)(const struct window *w, enum layout layout, int y0, int y1, int c0,
                         int c1, const float *x, float *columns)
{
    struct steps steps = image_steps(w, layout);
    size_t step = (size_t)w->sw * steps.column;
    for (int c = c0; c < c1; c++) {
        for (int ki = 0; ki < w->kh; ki++) {
            for (int kj = 0; kj < w->kw; kj++) {
                int ix = kj * w->dw - w->pl, from, to;
                clip(ix, w->sw, w->iw, w->ow, &from, &to);
                for (int oy = y0; oy < y1; oy++, columns += w->ow) {
                    int iy = oy * w->sh - w->pt + ki * w->dh;
                    if (iy < 0 || iy >= w->ih || from == to) {
                        clear(columns, w->ow);
                        continue;
                    }
                    const float *source = x + (size_t)c * steps.channel + (size_t)iy * steps.row +
                                          (size_t)(ix + from * w->sw) * steps.column;
                    clear(columns, from);
                    if (step == 1)
                        copy(columns + from, source, to - from);
                    else
                        for (int i = 0; i < to - from; i++)
                            columns[from + i] = source[(size_t)i * step];
                    clear(columns + to, w->ow - to);
                }
            }
        }
    }
}

void KERNEL(col2im_taps)(const struct window *w, enum layout layout, int y0, int y1, int c0,
                         int c1, const float *columns, float *dx)
{
    struct steps steps = image_steps(w, layout);
    size_t step = (size_t)w->sw * steps.column;
    for (int c = c0; c < c1; c++) {
        for (int ki = 0; ki < w->kh; ki++) {
            for (int kj = 0; kj < w->kw; kj++) {
                int ix = kj * w->dw - w->pl, from, to;
                clip(ix, w->sw, w->iw, w->ow, &from, &to);
                for (int oy = y0; oy < y1; oy++, columns += w->ow) {
                    int iy = oy * w->sh - w->pt + ki * w->dh;
                    if (iy < 0 || iy >= w->ih || from == to)
                        continue;
                    float *target = dx + (size_t)c * steps.channel + (size_t)iy * steps.row +
                                    (size_t)(ix + from * w->sw) * steps.column;
                    if (step == 1)
                        add(target, columns + from, to - from);
                    else
                        for (int i = 0; i < to - from; i++)
                            target[(size_t)i * step] += columns[from + i];
                }
            }
        }
    }
}
