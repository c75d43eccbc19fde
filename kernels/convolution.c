/* Convolution over tiles: im2col, cblas_sgemm, col2im. Which form a product has (NN, NT, TN) and
 * how large its parts are is decided here, by shape alone.
 *
 * In each product a row of a [rows, columns] matrix is contiguous; m, n, k are cblas's: c [m, n]
 * = a [m, k] times b [k, n].
 */
#include "convolution.h"

#include "product.h"

#include <cblas.h>
#include <string.h>

enum {
    FEW_CHANNELS = 8,           /* fewer than this: taps first */
    TILE_ROWS = 512,            /* output pixels a tile: 64 to 256 cost 3 to 14 % of a step */
    PIECES_FILTERS = 128,       /* up to so many output channels products in pieces are faster: */
    PIECES_FLOATS = 150 * 1000, /* then a tile's columns fit into half of a megabyte of L2, */
    PIECES_ROWS = 128,          /* but it has so many rows at least */
    SPLIT_CHANNELS = 256,       /* from here on one kernel row at a time */
    SMALL_PRODUCT = 1000000,    /* OpenBLAS takes m * n * k up to this without packing */
    APART_WEIGHTS = 512 * 1024, /* from so many weights on their gradient is cut over weights */
    TILE_COLUMNS = 1024,        /* taps first: output pixels a tile at the most */
    THIN_ROW = 512,             /* taps first: output row times oc for which copying is the cost */
    THIN_TAPS = 4,              /* taps of a kernel row that make a product worth its call */
    SLACK = 64                  /* floats past a matrix */
};

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int ceil_div(size_t a, size_t b)
{
    return (int)((a + b - 1) / b);
}

static bool is_pointwise(const struct window *w)
{
    return w->kh == 1 && w->kw == 1 && w->sh == 1 && w->sw == 1 && w->pt == 0 && w->pl == 0 &&
           w->pb == 0 && w->pr == 0 && w->g == 1;
}

static int taps_of(const struct convolution *c)
{
    return c->window.kh * c->window.kw * (c->window.ic / c->window.g);
}

static size_t output_pixels(const struct window *w)
{
    return (size_t)w->oh * (size_t)w->ow;
}

static size_t input_size(const struct window *w)
{
    return (size_t)w->ic * (size_t)w->ih * (size_t)w->iw;
}

/* Rows of an image whose products stay on OpenBLAS's way for small matrices, if any do. */
static int taps_output_rows(const struct convolution *c)
{
    const struct window *w = &c->window;
    size_t row_work = (size_t)w->ow * (size_t)w->oc * (size_t)taps_of(c);
    int rows = (int)(SMALL_PRODUCT / row_work);
    if (rows < 1)
        rows = 1;
    rows = least(rows, TILE_COLUMNS / w->ow > 0 ? TILE_COLUMNS / w->ow : 1);
    if (rows >= w->oh)
        return w->oh;
    int tiles = ceil_div((size_t)w->oh, (size_t)rows);
    return ceil_div((size_t)w->oh, (size_t)tiles);
}

/* The taps of one kernel row over all rows that any kernel row meets. With stride 1 the columns of
 * kernel row ki begin ki rows into them: so kh times fewer floats are gathered and scattered, for
 * kh products in place of one. */
static void plan_by_rows(struct convolution *c)
{
    const struct window *w = &c->window;
    c->by_rows = true;
    c->output_rows = w->oh;
    c->row_window = *w;
    c->row_window.kh = c->row_window.dh = 1;
    c->row_window.oh = w->oh + (w->kh - 1) * w->dh;
    size_t planes = (size_t)(w->ic * w->kw) * output_pixels(&c->row_window);
    c->scratch = planes + output_pixels(w) * (size_t)w->oc + SLACK;
}

static void plan_taps(struct convolution *c)
{
    const struct window *w = &c->window;
    c->lowering = LOWERING_TAPS;
    c->x_layout = LAYOUT_NCHW;
    c->y_layout = w->oc < FEW_CHANNELS ? LAYOUT_NCHW : LAYOUT_NHWC;
    if (w->sh == 1 && w->kh > 1 && w->ow * w->oc <= THIN_ROW && w->ic * w->kw >= THIN_TAPS) {
        plan_by_rows(c);
        return;
    }
    c->output_rows = taps_output_rows(c);
    size_t pixels = (size_t)c->output_rows * (size_t)w->ow;
    c->scratch = pixels * (size_t)(taps_of(c) + w->oc) + SLACK;
}

static void plan_pixels(struct convolution *c)
{
    const struct window *w = &c->window;
    size_t weights = (size_t)taps_of(c) * (size_t)w->oc;
    c->x_layout = c->y_layout = LAYOUT_NHWC;
    c->lowering = is_pointwise(w) ? LOWERING_POINTWISE : LOWERING_PIXELS;
    c->kernel_rows = w->ic / w->g >= SPLIT_CHANNELS ? 1 : w->kh;
    size_t width = (size_t)c->kernel_rows * (size_t)w->kw * (size_t)(w->ic / w->g);
    c->rows = TILE_ROWS;
    c->pieces = product_small_is_fast() && w->oc <= PIECES_FILTERS;
    if (c->pieces) {
        size_t rows = PIECES_FLOATS / width;
        c->rows = rows > PIECES_ROWS ? (int)(rows < TILE_ROWS ? rows : TILE_ROWS) : PIECES_ROWS;
        if (w->g == 1)
            c->transposed = (size_t)taps_of(c) * (size_t)w->oc;
    }
    if (w->g == 1 && weights >= APART_WEIGHTS) {
        c->weight_channels = w->ic >= 2 * 128 ? w->ic / 2 : w->ic;
        c->weight_tiles = w->kh * ceil_div((size_t)w->ic, (size_t)c->weight_channels);
        if (width < (size_t)w->kw * (size_t)c->weight_channels)
            width = (size_t)w->kw * (size_t)c->weight_channels;
    }
    c->scratch = (size_t)c->rows * width + SLACK;
}

struct convolution convolution_plan(struct window window)
{
    struct convolution c = {.window = window};
    if (window.g > 1 && window.g == window.ic && window.g == window.oc) {
        c.lowering = LOWERING_DEPTHWISE;
        c.x_layout = c.y_layout = LAYOUT_NHWC;
        c.scratch = SLACK;
    } else if (window.g == 1 && window.ic < FEW_CHANNELS && !is_pointwise(&window)) {
        plan_taps(&c);
    } else {
        plan_pixels(&c);
    }
    return c;
}

struct convolution convolution_plan_for(struct window window, enum layout x_layout)
{
    struct convolution c = convolution_plan(window);
    if (c.x_layout == x_layout)
        return c;
    if (c.lowering == LOWERING_POINTWISE || c.lowering == LOWERING_DEPTHWISE) {
        c = (struct convolution){.window = window};
        plan_pixels(&c);
        c.lowering = LOWERING_PIXELS;
    }
    c.x_layout = x_layout;
    return c;
}

void convolution_weight_strides(const struct convolution *c, size_t strides[5])
{
    const struct window *w = &c->window;
    size_t icg = (size_t)(w->ic / w->g), ocg = (size_t)(w->oc / w->g);
    size_t kh = (size_t)w->kh, kw = (size_t)w->kw;
    size_t group, out, in, row, column;
    if (c->lowering == LOWERING_DEPTHWISE) {
        group = 1, out = 0, in = 0, row = kw * (size_t)w->ic, column = (size_t)w->ic;
    } else if (c->by_rows && c->y_layout == LAYOUT_NCHW) {
        group = 0, out = kh * icg * kw, in = kw, row = icg * kw, column = 1;
    } else if (c->by_rows) {
        group = 0, out = 1, in = kw * ocg, row = icg * kw * ocg, column = ocg;
    } else if (c->lowering == LOWERING_TAPS && c->y_layout == LAYOUT_NCHW) {
        group = 0, out = icg * kh * kw, in = kh * kw, row = kw, column = 1;
    } else if (c->lowering == LOWERING_TAPS) {
        group = 0, out = 1, in = kh * kw * ocg, row = kw * ocg, column = ocg;
    } else {
        group = kh * kw * icg * ocg, out = 1, in = ocg, row = kw * icg * ocg, column = icg * ocg;
    }
    strides[0] = group, strides[1] = out, strides[2] = in, strides[3] = row, strides[4] = column;
}

/* c = a b, or c += a b. */
static void multiply(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const float *a,
                     int lda, const float *b, int ldb, bool add, float *c, int ldc)
{
    cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, 1.0f, a, lda, b, ldb, add ? 1.0f : 0.0f, c, ldc);
}

/* Taps first: one part of one image, output rows [y0, y1). */
struct part {
    int y0, y1, pixels;
    size_t y; /* where it begins in an image's y: floats from the first pixel */
};

static struct part part_of(const struct convolution *c, int index)
{
    const struct window *w = &c->window;
    struct part part = {.y0 = index * c->output_rows};
    part.y1 = least(part.y0 + c->output_rows, w->oh);
    part.pixels = (part.y1 - part.y0) * w->ow;
    size_t first = (size_t)part.y0 * (size_t)w->ow;
    part.y = c->y_layout == LAYOUT_NHWC ? first * (size_t)w->oc : first;
    return part;
}

static void taps_forward(const struct convolution *c, const struct kernels *k, int n,
                         const float *x, const float *weights, float *y, float *scratch)
{
    const struct window *w = &c->window;
    int taps = taps_of(c), pixels = w->oh * w->ow;
    int parts = ceil_div((size_t)w->oh, (size_t)c->output_rows);
    for (int i = 0; i < n * parts; i++) {
        struct part part = part_of(c, i % parts);
        size_t image = (size_t)(i / parts);
        float *to = y + image * (size_t)pixels * (size_t)w->oc + part.y;
        k->im2col_taps(w, c->x_layout, part.y0, part.y1, 0, w->ic, x + image * input_size(w),
                       scratch);
        if (c->y_layout == LAYOUT_NHWC)
            multiply(CblasTrans, CblasNoTrans, part.pixels, w->oc, taps, scratch, part.pixels,
                     weights, w->oc, false, to, w->oc);
        else
            multiply(CblasNoTrans, CblasNoTrans, w->oc, part.pixels, taps, weights, taps, scratch,
                     part.pixels, false, to, pixels);
    }
}

/* columns [taps, pixels] = gradient of the columns, from dy of one part. */
static void taps_column_gradient(const struct convolution *c, const struct kernels *k,
                                 const struct part *part, const float *weights, const float *dy,
                                 float *columns, float *transposed)
{
    const struct window *w = &c->window;
    int taps = taps_of(c);
    if (c->y_layout == LAYOUT_NCHW) {
        multiply(CblasTrans, CblasNoTrans, taps, part->pixels, w->oc, weights, taps, dy,
                 w->oh * w->ow, false, columns, part->pixels);
        return;
    }
    /* NT is poor on OpenBLAS's way for small matrices; NN with a transposed copy is not. */
    k->transpose(part->pixels, w->oc, dy, transposed);
    multiply(CblasNoTrans, CblasNoTrans, taps, part->pixels, w->oc, weights, w->oc, transposed,
             part->pixels, false, columns, part->pixels);
}

static void taps_weight_gradient(const struct convolution *c, const struct part *part,
                                 const float *columns, const float *dy, bool add, float *dw)
{
    const struct window *w = &c->window;
    int taps = taps_of(c);
    if (c->y_layout == LAYOUT_NHWC)
        multiply(CblasNoTrans, CblasNoTrans, taps, w->oc, part->pixels, columns, part->pixels, dy,
                 w->oc, add, dw, w->oc);
    else
        multiply(CblasNoTrans, CblasTrans, w->oc, taps, part->pixels, dy, w->oh * w->ow, columns,
                 part->pixels, add, dw, taps);
}

static void taps_backward(const struct convolution *c, const struct kernels *k, int n,
                          const float *x, const float *weights, const float *dy, float *dx,
                          bool accumulate_dw, float *dw, float *scratch)
{
    const struct window *w = &c->window;
    int parts = ceil_div((size_t)w->oh, (size_t)c->output_rows);
    size_t columns = (size_t)taps_of(c) * (size_t)c->output_rows * (size_t)w->ow;
    for (int i = 0; i < n * parts; i++) {
        struct part part = part_of(c, i % parts);
        size_t image = (size_t)(i / parts);
        const float *from = dy + image * output_pixels(w) * (size_t)w->oc + part.y;
        if (dw) {
            k->im2col_taps(w, c->x_layout, part.y0, part.y1, 0, w->ic, x + image * input_size(w),
                           scratch);
            taps_weight_gradient(c, &part, scratch, from, accumulate_dw || i > 0, dw);
        }
        if (dx) {
            taps_column_gradient(c, k, &part, weights, from, scratch, scratch + columns);
            k->col2im_taps(w, c->x_layout, part.y0, part.y1, 0, w->ic, scratch,
                           dx + image * input_size(w));
        }
    }
}

/* By kernel rows. [taps, pixels] with taps of one kernel row: a row of that matrix is a plane of
 * `plane` floats, of which the kernel row's columns are `pixels`, from `shift` on. */
struct row_product {
    int taps, pixels, plane;
    size_t shift; /* floats a kernel row */
};

static struct row_product row_product_of(const struct convolution *c)
{
    const struct window *w = &c->window;
    return (struct row_product){
        .taps = w->ic * w->kw,
        .pixels = w->oh * w->ow,
        .plane = c->row_window.oh * w->ow,
        .shift = (size_t)w->dh * (size_t)w->ow,
    };
}

static void rows_forward(const struct convolution *c, const struct kernels *k, int n,
                         const float *x, const float *weights, float *y, float *planes)
{
    const struct window *w = &c->window;
    struct row_product p = row_product_of(c);
    for (int i = 0; i < n; i++) {
        float *to = y + (size_t)i * (size_t)p.pixels * (size_t)w->oc;
        k->im2col_taps(&c->row_window, c->x_layout, 0, c->row_window.oh, 0, w->ic,
                       x + (size_t)i * input_size(w), planes);
        for (int ki = 0; ki < w->kh; ki++) {
            const float *columns = planes + (size_t)ki * p.shift;
            if (c->y_layout == LAYOUT_NHWC)
                multiply(CblasTrans, CblasNoTrans, p.pixels, w->oc, p.taps, columns, p.plane,
                         weights + (size_t)ki * (size_t)(p.taps * w->oc), w->oc, ki > 0, to, w->oc);
            else
                multiply(CblasNoTrans, CblasNoTrans, w->oc, p.pixels, p.taps,
                         weights + (size_t)(ki * p.taps), w->kh * p.taps, columns, p.plane, ki > 0,
                         to, p.pixels);
        }
    }
}

static void rows_weight_gradient(const struct convolution *c, const float *planes, const float *dy,
                                 bool add, float *dw)
{
    const struct window *w = &c->window;
    struct row_product p = row_product_of(c);
    for (int ki = 0; ki < w->kh; ki++) {
        const float *columns = planes + (size_t)ki * p.shift;
        if (c->y_layout == LAYOUT_NHWC)
            multiply(CblasNoTrans, CblasNoTrans, p.taps, w->oc, p.pixels, columns, p.plane, dy,
                     w->oc, add, dw + (size_t)ki * (size_t)(p.taps * w->oc), w->oc);
        else
            multiply(CblasNoTrans, CblasTrans, w->oc, p.taps, p.pixels, dy, p.pixels, columns,
                     p.plane, add, dw + (size_t)(ki * p.taps), w->kh * p.taps);
    }
}

/* The products add to the planes where kernel rows overlap: that part of col2im is free. */
static void rows_column_gradient(const struct convolution *c, const struct kernels *k,
                                 const float *weights, const float *dy, float *planes,
                                 float *transposed)
{
    const struct window *w = &c->window;
    struct row_product p = row_product_of(c);
    memset(planes, 0, (size_t)p.taps * (size_t)p.plane * sizeof *planes);
    if (c->y_layout == LAYOUT_NHWC)
        k->transpose(p.pixels, w->oc, dy, transposed);
    for (int ki = 0; ki < w->kh; ki++) {
        float *columns = planes + (size_t)ki * p.shift;
        if (c->y_layout == LAYOUT_NHWC)
            multiply(CblasNoTrans, CblasNoTrans, p.taps, p.pixels, w->oc,
                     weights + (size_t)ki * (size_t)(p.taps * w->oc), w->oc, transposed, p.pixels,
                     true, columns, p.plane);
        else
            multiply(CblasTrans, CblasNoTrans, p.taps, p.pixels, w->oc,
                     weights + (size_t)(ki * p.taps), w->kh * p.taps, dy, p.pixels, true, columns,
                     p.plane);
    }
}

static void rows_backward(const struct convolution *c, const struct kernels *k, int n,
                          const float *x, const float *weights, const float *dy, float *dx,
                          bool accumulate_dw, float *dw, float *scratch)
{
    const struct window *w = &c->window;
    struct row_product p = row_product_of(c);
    for (int i = 0; i < n; i++) {
        size_t image = (size_t)i * input_size(w);
        const float *from = dy + (size_t)i * (size_t)p.pixels * (size_t)w->oc;
        if (dw) {
            k->im2col_taps(&c->row_window, c->x_layout, 0, c->row_window.oh, 0, w->ic, x + image,
                           scratch);
            rows_weight_gradient(c, scratch, from, accumulate_dw || i > 0, dw);
        }
        if (dx) {
            rows_column_gradient(c, k, weights, from, scratch,
                                 scratch + (size_t)p.taps * (size_t)p.plane);
            k->col2im_taps(&c->row_window, c->x_layout, 0, c->row_window.oh, 0, w->ic, scratch,
                           dx + image);
        }
    }
}

/* Pixels first: the output pixels of n images, cut evenly. */
struct rows {
    size_t first, count;
};

static int rows_tiles(const struct convolution *c, int n)
{
    return ceil_div((size_t)n * output_pixels(&c->window), (size_t)c->rows);
}

static struct rows rows_of(const struct convolution *c, int n, int tiles, int index)
{
    size_t total = (size_t)n * output_pixels(&c->window);
    size_t first = total * (size_t)index / (size_t)tiles;
    return (struct rows){first, total * (size_t)(index + 1) / (size_t)tiles - first};
}

/* One group's kernel rows [k0, k1): its column matrix is [rows, width]. */
struct block {
    int k0, k1, c0, c1, width;
    size_t weights; /* where its weights [width, oc/g] begin */
    int y;          /* first output channel */
};

static struct block block_of(const struct convolution *c, int group, int k0)
{
    const struct window *w = &c->window;
    int icg = w->ic / w->g, ocg = w->oc / w->g;
    int k1 = least(k0 + c->kernel_rows, w->kh);
    return (struct block){
        .k0 = k0,
        .k1 = k1,
        .c0 = group * icg,
        .c1 = (group + 1) * icg,
        .width = (k1 - k0) * w->kw * icg,
        .weights =
            ((size_t)group * (size_t)w->kh + (size_t)k0) * (size_t)(w->kw * icg) * (size_t)ocg,
        .y = group * ocg,
    };
}

static void pixels_forward(const struct convolution *c, const struct kernels *k, int n,
                           const float *x, const float *weights, float *y, float *scratch)
{
    const struct window *w = &c->window;
    int ocg = w->oc / w->g, tiles = rows_tiles(c, n);
    for (int t = 0; t < tiles; t++) {
        struct rows rows = rows_of(c, n, tiles, t);
        for (int group = 0; group < w->g; group++) {
            for (int k0 = 0; k0 < w->kh; k0 += c->kernel_rows) {
                struct block b = block_of(c, group, k0);
                k->im2col_pixels(w, c->x_layout, rows.first, rows.count, b.k0, b.k1, b.c0, b.c1, x,
                                 scratch);
                struct product p = {.add = k0 > 0,
                                    .m = (int)rows.count,
                                    .n = ocg,
                                    .k = b.width,
                                    .a = scratch,
                                    .lda = b.width,
                                    .b = weights + b.weights,
                                    .ldb = ocg,
                                    .c = y + rows.first * (size_t)w->oc + b.y,
                                    .ldc = w->oc};
                product(&p, c->pieces);
            }
        }
    }
}

static void pixels_weight_gradient(const struct convolution *c, const struct block *b,
                                   const struct rows *rows, const float *columns, const float *dy,
                                   bool add, float *dw)
{
    const struct window *w = &c->window;
    struct product p = {.transposed = true,
                        .add = add,
                        .m = b->width,
                        .n = w->oc / w->g,
                        .k = (int)rows->count,
                        .a = columns,
                        .lda = b->width,
                        .b = dy + rows->first * (size_t)w->oc + b->y,
                        .ldb = w->oc,
                        .c = dw + b->weights,
                        .ldc = w->oc / w->g};
    product(&p, c->pieces);
}

/* columns [rows, width] = dy times the transposed weights: as they lie in `transposed` [oc, taps],
 * or, where there are none, as cblas transposes them. */
static void pixels_column_gradient(const struct convolution *c, const struct block *b,
                                   const struct rows *rows, const float *weights,
                                   const float *transposed, const float *dy, float *columns)
{
    const struct window *w = &c->window;
    int ocg = w->oc / w->g, taps = taps_of(c);
    const float *from = dy + rows->first * (size_t)w->oc + b->y;
    if (!transposed) {
        multiply(CblasNoTrans, CblasTrans, (int)rows->count, b->width, ocg, from, w->oc,
                 weights + b->weights, ocg, false, columns, b->width);
        return;
    }
    struct product p = {.m = (int)rows->count,
                        .n = b->width,
                        .k = w->oc,
                        .a = from,
                        .lda = w->oc,
                        .b = transposed + b->k0 * w->kw * w->ic,
                        .ldb = taps,
                        .c = columns,
                        .ldc = b->width};
    product(&p, c->pieces);
}

static void pixels_backward(const struct convolution *c, const struct kernels *k, int n,
                            const float *x, const float *weights, const float *transposed,
                            const float *dy, float *dx, bool accumulate_dw, float *dw,
                            float *scratch)
{
    const struct window *w = &c->window;
    int tiles = rows_tiles(c, n);
    for (int t = 0; t < tiles; t++) {
        struct rows rows = rows_of(c, n, tiles, t);
        for (int group = 0; group < w->g; group++) {
            for (int k0 = 0; k0 < w->kh; k0 += c->kernel_rows) {
                struct block b = block_of(c, group, k0);
                if (dw) {
                    k->im2col_pixels(w, c->x_layout, rows.first, rows.count, b.k0, b.k1, b.c0, b.c1,
                                     x, scratch);
                    pixels_weight_gradient(c, &b, &rows, scratch, dy, accumulate_dw || t > 0, dw);
                }
                if (dx) {
                    pixels_column_gradient(c, &b, &rows, weights, transposed, dy, scratch);
                    k->col2im_pixels(w, c->x_layout, rows.first, rows.count, b.k0, b.k1, b.c0, b.c1,
                                     scratch, dx);
                }
            }
        }
    }
}

static void pointwise_forward(const struct convolution *c, int n, const float *x,
                              const float *weights, float *y)
{
    const struct window *w = &c->window;
    int tiles = rows_tiles(c, n);
    for (int t = 0; t < tiles; t++) {
        struct rows rows = rows_of(c, n, tiles, t);
        struct product p = {.m = (int)rows.count,
                            .n = w->oc,
                            .k = w->ic,
                            .a = x + rows.first * (size_t)w->ic,
                            .lda = w->ic,
                            .b = weights,
                            .ldb = w->oc,
                            .c = y + rows.first * (size_t)w->oc,
                            .ldc = w->oc};
        product(&p, c->pieces);
    }
}

static void pointwise_data_gradient(const struct convolution *c, const struct rows *rows,
                                    const float *weights, const float *transposed, const float *dy,
                                    bool add, float *dx)
{
    const struct window *w = &c->window;
    const float *from = dy + rows->first * (size_t)w->oc;
    float *to = dx + rows->first * (size_t)w->ic;
    if (!transposed) {
        multiply(CblasNoTrans, CblasTrans, (int)rows->count, w->ic, w->oc, from, w->oc, weights,
                 w->oc, add, to, w->ic);
        return;
    }
    struct product p = {.add = add,
                        .m = (int)rows->count,
                        .n = w->ic,
                        .k = w->oc,
                        .a = from,
                        .lda = w->oc,
                        .b = transposed,
                        .ldb = w->ic,
                        .c = to,
                        .ldc = w->ic};
    product(&p, c->pieces);
}

static void pointwise_backward(const struct convolution *c, int n, const float *x,
                               const float *weights, const float *transposed, const float *dy,
                               bool accumulate_dx, float *dx, bool accumulate_dw, float *dw)
{
    const struct window *w = &c->window;
    int tiles = rows_tiles(c, n);
    for (int t = 0; t < tiles; t++) {
        struct rows rows = rows_of(c, n, tiles, t);
        struct product p = {.transposed = true,
                            .add = accumulate_dw || t > 0,
                            .m = w->ic,
                            .n = w->oc,
                            .k = (int)rows.count,
                            .a = x + rows.first * (size_t)w->ic,
                            .lda = w->ic,
                            .b = dy + rows.first * (size_t)w->oc,
                            .ldb = w->oc,
                            .c = dw,
                            .ldc = w->oc};
        if (dw)
            product(&p, c->pieces);
        if (dx)
            pointwise_data_gradient(c, &rows, weights, transposed, dy, accumulate_dx, dx);
    }
}

void convolution_forward(const struct convolution *c, const struct kernels *k, int n,
                         const float *x, const float *w, float *y, float *scratch)
{
    switch (c->lowering) {
    case LOWERING_TAPS:
        (c->by_rows ? rows_forward : taps_forward)(c, k, n, x, w, y, scratch);
        break;
    case LOWERING_PIXELS:
        pixels_forward(c, k, n, x, w, y, scratch);
        break;
    case LOWERING_POINTWISE:
        pointwise_forward(c, n, x, w, y);
        break;
    case LOWERING_DEPTHWISE:
        k->depthwise_forward(&c->window, n, x, w, y);
        break;
    }
}

static void depthwise_backward(const struct convolution *c, const struct kernels *k, int n,
                               const float *x, const float *w, const float *dy, bool accumulate_dx,
                               float *dx, bool accumulate_dw, float *dw)
{
    if (dw) {
        const struct window *window = &c->window;
        size_t weights = (size_t)window->kh * (size_t)window->kw * (size_t)window->ic;
        if (!accumulate_dw)
            memset(dw, 0, weights * sizeof *dw);
        k->depthwise_backward_weights(window, n, x, dy, dw);
    }
    if (dx)
        k->depthwise_backward_data(&c->window, n, dy, w, accumulate_dx, dx);
}

void convolution_transpose(const struct convolution *c, const struct kernels *k, const float *w,
                           float *transposed)
{
    k->transpose(taps_of(c), c->window.oc, w, transposed);
}

void convolution_backward(const struct convolution *c, const struct kernels *k, int n,
                          const float *x, const float *w, const float *transposed, const float *dy,
                          bool accumulate_dx, float *dx, bool accumulate_dw, float *dw,
                          float *scratch)
{
    bool scatters = c->lowering == LOWERING_TAPS || c->lowering == LOWERING_PIXELS;
    if (dx && scatters && !accumulate_dx)
        memset(dx, 0, (size_t)n * input_size(&c->window) * sizeof *dx);
    switch (c->lowering) {
    case LOWERING_TAPS:
        (c->by_rows ? rows_backward : taps_backward)(c, k, n, x, w, dy, dx, accumulate_dw, dw,
                                                     scratch);
        break;
    case LOWERING_PIXELS:
        pixels_backward(c, k, n, x, w, transposed, dy, dx, accumulate_dw, dw, scratch);
        break;
    case LOWERING_POINTWISE:
        pointwise_backward(c, n, x, w, transposed, dy, accumulate_dx, dx, accumulate_dw, dw);
        break;
    case LOWERING_DEPTHWISE:
        depthwise_backward(c, k, n, x, w, dy, accumulate_dx, dx, accumulate_dw, dw);
        break;
    }
}

/* A tile is one kernel row of some input channels; each of its taps is a product of its own,
 * because weights of one channel slice are not neighbours across taps. */
void convolution_backward_weights_tile(const struct convolution *c, const struct kernels *k, int n,
                                       int tile, const float *x, const float *dy, float *dw,
                                       float *scratch)
{
    const struct window *w = &c->window;
    int ki = tile % w->kh;
    int c0 = tile / w->kh * c->weight_channels;
    int c1 = least(c0 + c->weight_channels, w->ic);
    int channels = c1 - c0, tiles = rows_tiles(c, n);
    for (int t = 0; t < tiles; t++) {
        struct rows rows = rows_of(c, n, tiles, t);
        const float *columns = scratch;
        int width = w->kw * channels;
        if (c->lowering == LOWERING_POINTWISE) {
            columns = x + rows.first * (size_t)w->ic + c0;
            width = w->ic;
        } else {
            k->im2col_pixels(w, c->x_layout, rows.first, rows.count, ki, ki + 1, c0, c1, x,
                             scratch);
        }
        for (int kj = 0; kj < w->kw; kj++) {
            float *to =
                dw + ((size_t)(ki * w->kw + kj) * (size_t)w->ic + (size_t)c0) * (size_t)w->oc;
            multiply(CblasTrans, CblasNoTrans, channels, w->oc, (int)rows.count,
                     columns + kj * channels, width, dy + rows.first * (size_t)w->oc, w->oc, t > 0,
                     to, w->oc);
        }
    }
}
