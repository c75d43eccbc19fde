/* im2col and col2im: values are copied, so im2col is compared bit by bit with naive loops; col2im
 * is its adjoint, and its sums have few terms. */
#include "tests/unit/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON 0x1p-24 /* of float, rounding to nearest */
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define FOR_EACH_KERNELS(k)                                                                        \
    for (const struct kernels *k = NULL, *tables[3], **at_ = tables,                               \
                              **end_ = tables + all_kernels(tables);                               \
         at_ < end_ && (k = *at_); at_++)

static const struct window shapes[] = {
    {.ih = 1, .iw = 1, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1},
    {.ih = 5,
     .iw = 7,
     .kh = 3,
     .kw = 3,
     .sh = 1,
     .sw = 1,
     .dh = 1,
     .dw = 1,
     .pt = 1,
     .pl = 1,
     .pb = 1,
     .pr = 1},
    {.ih = 4,
     .iw = 17,
     .kh = 2,
     .kw = 3,
     .sh = 1,
     .sw = 1,
     .dh = 1,
     .dw = 1,
     .pt = 0,
     .pl = 2,
     .pb = 1,
     .pr = 0},
    {.ih = 7,
     .iw = 8,
     .kh = 3,
     .kw = 2,
     .sh = 2,
     .sw = 3,
     .dh = 1,
     .dw = 1,
     .pt = 0,
     .pl = 1,
     .pb = 1,
     .pr = 2},
    {.ih = 9,
     .iw = 10,
     .kh = 3,
     .kw = 3,
     .sh = 1,
     .sw = 1,
     .dh = 2,
     .dw = 2,
     .pt = 2,
     .pl = 2,
     .pb = 2,
     .pr = 2},
    {.ih = 8,
     .iw = 11,
     .kh = 2,
     .kw = 4,
     .sh = 3,
     .sw = 2,
     .dh = 2,
     .dw = 3,
     .pt = 1,
     .pl = 4,
     .pb = 2,
     .pr = 5},
    {.ih = 2,
     .iw = 1,
     .kh = 4,
     .kw = 5,
     .sh = 1,
     .sw = 1,
     .dh = 1,
     .dw = 1,
     .pt = 3,
     .pl = 4,
     .pb = 2,
     .pr = 5},
    {.ih = 6, .iw = 5, .kh = 1, .kw = 1, .sh = 2, .sw = 2, .dh = 1, .dw = 1},
    {.ih = 3,
     .iw = 4,
     .kh = 1,
     .kw = 1,
     .sh = 1,
     .sw = 2,
     .dh = 1,
     .dw = 1,
     .pt = 2,
     .pl = 3,
     .pb = 1,
     .pr = 2},
    {.ih = 8, .iw = 14, .kh = 2, .kw = 5, .sh = 1, .sw = 1, .dh = 1, .dw = 1},
    {.ih = 5, .iw = 37, .kh = 2, .kw = 5, .sh = 1, .sw = 1, .dh = 1, .dw = 1},
    {.ih = 9, .iw = 18, .kh = 3, .kw = 3, .sh = 2, .sw = 1, .dh = 1, .dw = 1},
    {.ih = 5, .iw = 37, .kh = 2, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 3, .pl = 2},
    {.ih = 5, .iw = 20, .kh = 2, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .pl = 18, .pr = 17},
    {.ih = 33,
     .iw = 35,
     .kh = 5,
     .kw = 5,
     .sh = 1,
     .sw = 1,
     .dh = 1,
     .dw = 1,
     .pt = 2,
     .pl = 2,
     .pb = 2,
     .pr = 2},
};

static const int channel_counts[] = {1, 2, 3, 8, 15, 16, 17, 33};

static int outputs(int size, int before, int after, int kernel, int dilation, int stride)
{
    return (size + before + after - (kernel - 1) * dilation - 1) / stride + 1;
}

static struct window window_of(size_t shape, int channels)
{
    struct window w = shapes[shape];
    w.ic = w.oc = channels;
    w.g = 1;
    w.oh = outputs(w.ih, w.pt, w.pb, w.kh, w.dh, w.sh);
    w.ow = outputs(w.iw, w.pl, w.pr, w.kw, w.dw, w.sw);
    return w;
}

/* A part of a column matrix, in one of the two orders. */
struct part {
    struct window w;
    enum layout layout;
    int n; /* images; 1 where taps come first */
    bool taps_first;
    size_t row0, rows; /* pixels first */
    int k0, k1;        /* kernel rows; taps first: all */
    int y0, y1;        /* output rows, taps first */
    int c0, c1;
};

static size_t input_size(const struct part *p)
{
    return (size_t)p->n * (size_t)(p->w.ic * p->w.ih * p->w.iw);
}

static size_t column_pixels(const struct part *p)
{
    return p->taps_first ? (size_t)((p->y1 - p->y0) * p->w.ow) : p->rows;
}

static size_t column_taps(const struct part *p)
{
    return (size_t)((p->k1 - p->k0) * p->w.kw * (p->c1 - p->c0));
}

static size_t matrix_size(const struct part *p)
{
    return column_pixels(p) * column_taps(p);
}

/* Place of the matrix's element for one pixel and tap, and of the input it stands for: false
 * where that is padding. */
static bool source_of(const struct part *p, size_t pixel, int ki, int kj, int c, size_t *element,
                      size_t *source)
{
    const struct window *w = &p->w;
    const size_t row = p->taps_first ? (size_t)(p->y0 * w->ow) + pixel : p->row0 + pixel;
    const int image = (int)(row / (size_t)(w->oh * w->ow));
    const int within = (int)(row % (size_t)(w->oh * w->ow));
    const int iy = within / w->ow * w->sh - w->pt + ki * w->dh;
    const int ix = within % w->ow * w->sw - w->pl + kj * w->dw;
    const size_t tap = p->taps_first
                           ? (size_t)(((c - p->c0) * w->kh + ki) * w->kw + kj)
                           : (size_t)(((ki - p->k0) * w->kw + kj) * (p->c1 - p->c0) + c - p->c0);
    *element = p->taps_first ? tap * column_pixels(p) + pixel : pixel * column_taps(p) + tap;
    if (iy < 0 || iy >= w->ih || ix < 0 || ix >= w->iw)
        return false;
    const struct extent extent = {w->ic, w->ih * w->iw, p->layout};
    *source = at(p->layout, extent, image, c, iy * w->iw + ix);
    return true;
}

#define FOR_EACH_ELEMENT(p, pixel, ki, kj, c)                                                      \
    for (size_t pixel = 0; pixel < column_pixels(p); pixel++)                                      \
        for (int ki = (p)->k0; ki < (p)->k1; ki++)                                                 \
            for (int kj = 0; kj < (p)->w.kw; kj++)                                                 \
                for (int c = (p)->c0; c < (p)->c1; c++)

static void im2col(const struct kernels *k, const struct part *p, const float *x, float *columns)
{
    if (p->taps_first)
        k->im2col_taps(&p->w, p->layout, p->y0, p->y1, p->c0, p->c1, x, columns);
    else
        k->im2col_pixels(&p->w, p->layout, p->row0, p->rows, p->k0, p->k1, p->c0, p->c1, x,
                         columns);
}

static void col2im(const struct kernels *k, const struct part *p, const float *columns, float *dx)
{
    if (p->taps_first)
        k->col2im_taps(&p->w, p->layout, p->y0, p->y1, p->c0, p->c1, columns, dx);
    else
        k->col2im_pixels(&p->w, p->layout, p->row0, p->rows, p->k0, p->k1, p->c0, p->c1, columns,
                         dx);
}

static void fail(const char *what, const struct kernels *k, const struct part *p, size_t index,
                 double got, double want)
{
    const struct window *w = &p->w;
    cr_assert(false,
              "%s, %s, %s first, %s, %dx%dx%d kernel %dx%d rows %zu+%zu/%d..%d kernel rows %d..%d "
              "channels %d..%d, [%zu]: %.9g instead of %.9g",
              what, k->isa, p->taps_first ? "taps" : "pixels",
              p->layout == LAYOUT_NHWC ? "nhwc" : "nchw", w->ic, w->ih, w->iw, w->kh, w->kw,
              p->row0, p->rows, p->y0, p->y1, p->k0, p->k1, p->c0, p->c1, index, got, want);
}

static void check_im2col(const struct kernels *k, const struct part *p, const float *x,
                         float *columns)
{
    for (size_t i = 0; i < matrix_size(p); i++)
        columns[i] = NAN;
    im2col(k, p, x, columns);
    FOR_EACH_ELEMENT(p, pixel, ki, kj, c)
    {
        size_t element, source;
        const float want = source_of(p, pixel, ki, kj, c, &element, &source) ? x[source] : 0;
        if (!(columns[element] == want))
            fail("im2col", k, p, element, (double)columns[element], (double)want);
    }
}

/* dx is what it was, plus each of the matrix's elements at the place im2col takes it from. */
static void check_col2im(const struct kernels *k, const struct part *p, const float *columns)
{
    const size_t size = input_size(p);
    float *dx = guarded_floats(size), *before = guarded_floats(size);
    double *want = calloc(size, sizeof *want);
    fill_random(dx, size, 3);
    fill_random(before, size, 3);
    for (size_t i = 0; i < size; i++)
        want[i] = (double)before[i];
    FOR_EACH_ELEMENT(p, pixel, ki, kj, c)
    {
        size_t element, source;
        if (source_of(p, pixel, ki, kj, c, &element, &source))
            want[source] += (double)columns[element];
    }
    col2im(k, p, columns, dx);
    const double terms = p->w.kh * p->w.kw + 1; /* each below 1 */
    for (size_t i = 0; i < size; i++)
        if (!(fabs((double)dx[i] - want[i]) <= terms * terms * EPSILON))
            fail("col2im", k, p, i, (double)dx[i], want[i]);
    guarded_free(dx);
    guarded_free(before);
    free(want);
}

/* <im2col(x), C> = <x, col2im(C)>, dx beginning at zero. Products are below 1 and summed in
 * double; each dx errs as above. */
static void check_adjoint(const struct kernels *k, const struct part *p, const float *x,
                          const float *columns)
{
    const size_t size = input_size(p), elements = matrix_size(p);
    float *lowered = guarded_floats(elements), *dx = guarded_floats(size);
    double left = 0, right = 0;
    im2col(k, p, x, lowered);
    col2im(k, p, columns, dx);
    for (size_t i = 0; i < elements; i++)
        left += (double)lowered[i] * (double)columns[i];
    for (size_t i = 0; i < size; i++)
        right += (double)x[i] * (double)dx[i];
    const double terms = p->w.kh * p->w.kw;
    if (!(fabs(left - right) <= (double)size * terms * terms * EPSILON))
        fail("adjoint", k, p, 0, right, left);
    guarded_free(lowered);
    guarded_free(dx);
}

static void check_part(const struct part *p)
{
    float *x = guarded_floats(input_size(p)), *columns = guarded_floats(matrix_size(p));
    fill_random(x, input_size(p), 1);
    FOR_EACH_KERNELS(k)
    {
        check_im2col(k, p, x, columns);
        fill_random(columns, matrix_size(p), 2);
        check_col2im(k, p, columns);
        check_adjoint(k, p, x, columns);
    }
    guarded_free(x);
    guarded_free(columns);
}

/* All kernel rows and channels, and parts of each. */
static void check_taken(struct part p)
{
    const struct window *w = &p.w;
    p.k0 = p.c0 = 0;
    p.k1 = w->kh;
    p.c1 = w->ic;
    check_part(&p);
    p.c0 = w->ic / 3;
    p.c1 = (w->ic + 1) / 2 > p.c0 ? (w->ic + 1) / 2 : w->ic;
    check_part(&p);
    if (p.taps_first)
        return;
    p.k0 = w->kh / 2;
    p.k1 = p.k0 + 1;
    check_part(&p);
    p.c0 = 0;
    p.c1 = w->ic;
    check_part(&p);
    p.k0 = 0;
    p.k1 = w->kh > 1 ? w->kh - 1 : 1;
    check_part(&p);
}

static void check_pixels_first(size_t shape, int channels, enum layout layout)
{
    struct part p = {.w = window_of(shape, channels), .layout = layout, .n = 3};
    const size_t image = (size_t)(p.w.oh * p.w.ow);
    p.rows = 3 * image; /* whole images */
    check_taken(p);
    p.row0 = image / 2; /* begins and ends within images, spans one */
    p.rows = 2 * image;
    check_taken(p);
    p.row0 = image + image / 3; /* within one image, not at a row's beginning */
    p.rows = (image + 1) / 2;
    check_taken(p);
    p.row0 = 3 * image - 1; /* the last pixel */
    p.rows = 1;
    check_taken(p);
}

static void check_taps_first(size_t shape, int channels, enum layout layout)
{
    struct part p = {.w = window_of(shape, channels), .layout = layout, .n = 1, .taps_first = true};
    p.y1 = p.w.oh;
    check_taken(p);
    p.y0 = p.w.oh / 3;
    p.y1 = p.y0 + (p.w.oh + 2) / 3;
    check_taken(p);
    p.y0 = p.w.oh - 1;
    p.y1 = p.w.oh;
    check_taken(p);
}

enum { LARGE = COUNT(shapes) - 1 }; /* this shape with few channels only, for time's sake */

Test(lowering, pixels_first_is_the_column_matrix_and_its_adjoint)
{
    for (size_t shape = 0; shape < COUNT(shapes); shape++)
        for (size_t c = 0; c < (shape == LARGE ? 1 : COUNT(channel_counts)); c++) {
            check_pixels_first(shape, channel_counts[c], LAYOUT_NHWC);
            check_pixels_first(shape, channel_counts[c], LAYOUT_NCHW);
        }
}

Test(lowering, taps_first_is_the_column_matrix_and_its_adjoint)
{
    for (size_t shape = 0; shape < COUNT(shapes); shape++)
        for (size_t c = 0; c < (shape == LARGE ? 3 : COUNT(channel_counts)); c++) {
            check_taps_first(shape, channel_counts[c], LAYOUT_NHWC);
            check_taps_first(shape, channel_counts[c], LAYOUT_NCHW);
        }
}
