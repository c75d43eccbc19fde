/* Convolutions of few channels, taps first: columns [taps, pixels], an image or some of its rows at
 * a time.
 *
 * Thin ones go by kernel rows. The columns are then those of one kernel row over all rows that any
 * kernel row meets; with stride 1 the columns of kernel row ki begin ki rows into them. So kh times
 * fewer floats are gathered and scattered, for kh products in place of one, and where kernel rows
 * overlap the products themselves add up: that part of col2im is free.
 */
#include "lowered.h"

#include <string.h>

enum {
    FEW_FILTERS = 8,     /* fewer than this: y channel by channel, as the next one takes it */
    TILE_COLUMNS = 1024, /* output pixels a tile at the most */
    THIN_ROW = 512,      /* output row times oc up to which copying is the cost */
    THIN_TAPS = 4,       /* taps of a kernel row that make a product worth its call */
    SLACK = 64           /* floats past a matrix */
};

/* Rows of an image: where products are not in pieces so few that they stay on OpenBLAS's way for
 * small matrices, if any do. */
static int rows_of_a_tile(const struct convolution *c)
{
    const struct window *w = &c->window;
    size_t row_work = (size_t)w->ow * (size_t)w->oc * (size_t)filter_taps(w);
    int rows = TILE_COLUMNS / w->ow;
    if (!c->pieces)
        rows = smaller_of((int)(PRODUCT_SMALL / row_work), rows);
    if (rows < 1)
        rows = 1;
    int tiles = ceil_divide((size_t)w->oh, (size_t)rows);
    return ceil_divide((size_t)w->oh, (size_t)tiles);
}

void taps_plan(struct convolution *c)
{
    const struct window *w = &c->window;
    c->lowering = LOWERING_TAPS;
    c->x_layout = LAYOUT_NCHW;
    c->y_layout = w->oc < FEW_FILTERS ? LAYOUT_NCHW : LAYOUT_NHWC;
    c->columns = *w;
    c->by_rows = w->sh == 1 && w->kh > 1 && w->ow * w->oc <= THIN_ROW && w->ic * w->kw >= THIN_TAPS;
    c->pieces = !c->by_rows && product_small_is_fast();
    c->output_rows = c->by_rows ? w->oh : rows_of_a_tile(c);
    if (c->by_rows) {
        c->columns.kh = c->columns.dh = 1;
        c->columns.oh = w->oh + (w->kh - 1) * w->dh;
    }
    size_t rows = (size_t)(c->output_rows + c->columns.oh - w->oh);
    size_t columns = (size_t)filter_taps(&c->columns) * rows * (size_t)w->ow;
    size_t transposed = (size_t)c->output_rows * (size_t)w->ow * (size_t)w->oc;
    c->scratch = columns + transposed + SLACK;
}

/* Output rows [y0, y1) of one image: its column matrix, whose rows have `plane` floats, and the
 * products over it. Product q takes `pixels` columns from `shift` * q on. */
struct part {
    size_t image;
    int y0, y1, pixels;
    size_t y; /* where it begins in an image's y: floats from the first pixel */
    int rows, plane;
    int products, taps;
    size_t shift;
};

static int parts_of(const struct convolution *c)
{
    return ceil_divide((size_t)c->window.oh, (size_t)c->output_rows);
}

static struct part part_of(const struct convolution *c, int index)
{
    const struct window *w = &c->window;
    int parts = parts_of(c);
    struct part part = {.image = (size_t)(index / parts), .y0 = index % parts * c->output_rows};
    part.y1 = smaller_of(part.y0 + c->output_rows, w->oh);
    part.pixels = (part.y1 - part.y0) * w->ow;
    size_t first = (size_t)part.y0 * (size_t)w->ow;
    part.y = c->y_layout == LAYOUT_NHWC ? first * (size_t)w->oc : first;
    part.rows = part.y1 - part.y0 + c->columns.oh - w->oh;
    part.plane = part.rows * w->ow;
    part.products = w->kh / c->columns.kh;
    part.taps = filter_taps(&c->columns);
    part.shift = (size_t)w->dh * (size_t)w->ow;
    return part;
}

static void gather(const struct convolution *c, const struct kernels *k, const struct part *part,
                   const float *x, float *columns)
{
    k->im2col_taps(&c->columns, c->x_layout, part->y0, part->y0 + part->rows, 0, c->window.ic,
                   x + part->image * input_size(&c->window), columns);
}

/* The weights of product q, or their gradients: [taps, oc] with y in NHWC, else [oc, taps]. */
static size_t weights_at(const struct convolution *c, const struct part *part, int q)
{
    int filters = c->y_layout == LAYOUT_NHWC ? c->window.oc : 1;
    return (size_t)q * (size_t)part->taps * (size_t)filters;
}

void taps_forward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                  const float *weights, float *y, float *scratch)
{
    const struct window *w = &c->window;
    int pixels = w->oh * w->ow;
    for (int i = 0; i < n * parts_of(c); i++) {
        struct part part = part_of(c, i);
        float *to = y + part.image * (size_t)pixels * (size_t)w->oc + part.y;
        gather(c, k, &part, x, scratch);
        for (int q = 0; q < part.products; q++) {
            const float *columns = scratch + (size_t)q * part.shift;
            const float *filters = weights + weights_at(c, &part, q);
            struct product p = {part.pixels, w->oc, part.taps, .add = q > 0, .c = to};
            p.a = (struct matrix){columns, part.plane, true};
            p.b = (struct matrix){filters, w->oc, false};
            p.stride = w->oc;
            if (c->y_layout == LAYOUT_NCHW) {
                p.m = w->oc, p.n = part.pixels;
                p.a = (struct matrix){filters, part.products * part.taps, false};
                p.b = (struct matrix){columns, part.plane, false};
                p.stride = pixels;
            }
            k->product(p, c->pieces);
        }
    }
}

static void weight_gradient(const struct convolution *c, const struct kernels *k,
                            const struct part *part, const float *columns, const float *dy,
                            bool add, float *dw)
{
    const struct window *w = &c->window;
    for (int q = 0; q < part->products; q++) {
        struct matrix taps = {columns + (size_t)q * part->shift, part->plane, false};
        struct product p = {part->taps, w->oc, part->pixels, .add = add, .stride = w->oc};
        p.a = taps;
        p.b = (struct matrix){dy, w->oc, false};
        p.c = dw + weights_at(c, part, q);
        if (c->y_layout == LAYOUT_NCHW) {
            p.m = w->oc, p.n = part->taps;
            p.a = (struct matrix){dy, w->oh * w->ow, false};
            p.b = taps;
            p.b.transposed = true;
            p.stride = part->products * part->taps;
        }
        k->product(p, c->pieces);
    }
}

/* columns = the gradient of the columns, from dy of one part. With y in NHWC from a transposed copy
 * of dy: as the second operand it would have to be transposed by cblas. */
static void column_gradient(const struct convolution *c, const struct kernels *k,
                            const struct part *part, const float *weights, const float *dy,
                            float *columns, float *transposed)
{
    const struct window *w = &c->window;
    bool add = part->products > 1;
    if (add)
        memset(columns, 0, (size_t)part->taps * (size_t)part->plane * sizeof *columns);
    if (c->y_layout == LAYOUT_NHWC)
        k->transpose(part->pixels, w->oc, dy, transposed);
    for (int q = 0; q < part->products; q++) {
        const float *filters = weights + weights_at(c, part, q);
        struct product p = {part->taps, part->pixels, w->oc, .add = add, .stride = part->plane};
        p.a = (struct matrix){filters, w->oc, false};
        p.b = (struct matrix){transposed, part->pixels, false};
        p.c = columns + (size_t)q * part->shift;
        if (c->y_layout == LAYOUT_NCHW) {
            p.a = (struct matrix){filters, part->products * part->taps, true};
            p.b = (struct matrix){dy, w->oh * w->ow, false};
        }
        k->product(p, c->pieces);
    }
}

void taps_backward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                   const float *weights, const float *dy, float *dx, bool add_dw, float *dw,
                   float *scratch)
{
    const struct window *w = &c->window;
    for (int i = 0; i < n * parts_of(c); i++) {
        struct part part = part_of(c, i);
        const float *from = dy + part.image * output_pixels(w) * (size_t)w->oc + part.y;
        if (dw) {
            gather(c, k, &part, x, scratch);
            weight_gradient(c, k, &part, scratch, from, add_dw || i > 0, dw);
        }
        if (dx) {
            column_gradient(c, k, &part, weights, from, scratch,
                            scratch + (size_t)part.taps * (size_t)part.plane);
            k->col2im_taps(&c->columns, c->x_layout, part.y0, part.y0 + part.rows, 0, w->ic,
                           scratch, dx + part.image * input_size(w));
        }
    }
}
