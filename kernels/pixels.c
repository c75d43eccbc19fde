/* Convolutions of many channels, pixels first: columns [pixels, taps], as many output pixels of the
 * mini-batch as a tile has. A pointwise convolution is one whose columns are its input.
 */
#include "lowered.h"

enum {
    TILE_ROWS = 512,            /* output pixels a tile: 64 to 256 cost 3 to 14 % of a step */
    PIECES_FILTERS = 128,       /* up to so many output channels products in pieces are faster: */
    PIECES_FLOATS = 150 * 1000, /* then a tile's columns fit into half of a megabyte of L2, */
    PIECES_ROWS = 128,          /* but it has so many rows at least */
    SPLIT_CHANNELS = 256,       /* from here on one kernel row at a time */
    APART_WEIGHTS = 512 * 1024, /* from so many weights on their gradient is cut over weights */
    SLACK = 64                  /* floats past a matrix */
};

void pixels_plan(struct convolution *c)
{
    const struct window *w = &c->window;
    size_t weights = (size_t)filter_taps(w) * (size_t)w->oc;
    c->lowering = LOWERING_PIXELS;
    c->x_layout = c->y_layout = LAYOUT_NHWC;
    c->kernel_rows = w->ic / w->g >= SPLIT_CHANNELS ? 1 : w->kh;
    size_t width = (size_t)c->kernel_rows * (size_t)w->kw * (size_t)(w->ic / w->g);
    c->rows = TILE_ROWS;
    c->pieces = product_small_is_fast() && w->oc <= PIECES_FILTERS;
    if (c->pieces) {
        size_t rows = PIECES_FLOATS / width;
        c->rows = rows > PIECES_ROWS ? smaller_of((int)rows, TILE_ROWS) : PIECES_ROWS;
        c->transposed = w->g == 1 ? weights : 0;
    }
    if (w->g == 1 && weights >= APART_WEIGHTS) {
        c->weight_channels = w->ic >= SPLIT_CHANNELS ? w->ic / 2 : w->ic;
        c->weight_tiles = w->kh * ceil_divide((size_t)w->ic, (size_t)c->weight_channels);
        size_t tile_width = (size_t)w->kw * (size_t)c->weight_channels;
        width = width < tile_width ? tile_width : width;
    }
    c->scratch = (size_t)c->rows * width + SLACK;
}

/* The output pixels of n images, cut evenly. */
struct rows {
    size_t first;
    int count;
};

static int rows_tiles(const struct convolution *c, int n)
{
    return ceil_divide((size_t)n * output_pixels(&c->window), (size_t)c->rows);
}

static struct rows rows_of(const struct convolution *c, int n, int tiles, int index)
{
    size_t total = (size_t)n * output_pixels(&c->window);
    size_t first = total * (size_t)index / (size_t)tiles;
    return (struct rows){first, (int)(total * (size_t)(index + 1) / (size_t)tiles - first)};
}

/* Kernel rows [k0, k1) and channels [c0, c1) of the input: a column matrix [rows, width], and where
 * its weights [width, oc/g] and its output channels begin. */
struct block {
    int k0, k1, c0, c1, width;
    size_t weights;
    int y;
};

static struct block block_of(const struct convolution *c, int group, int k0)
{
    const struct window *w = &c->window;
    int icg = w->ic / w->g, ocg = w->oc / w->g;
    int k1 = smaller_of(k0 + c->kernel_rows, w->kh);
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

/* The column matrix: gathered into scratch, or where it lies in a pointwise convolution's input. */
static struct matrix columns_of(const struct convolution *c, const struct kernels *k,
                                const struct rows *rows, const struct block *b, const float *x,
                                float *scratch)
{
    const struct window *w = &c->window;
    if (c->lowering == LOWERING_POINTWISE)
        return (struct matrix){x + rows->first * (size_t)w->ic + b->c0, w->ic, false};
    k->im2col_pixels(w, c->x_layout, rows->first, (size_t)rows->count, b->k0, b->k1, b->c0, b->c1,
                     x, scratch);
    return (struct matrix){scratch, b->width, false};
}

/* Those rows of y, or of dy, from a block's first output channel on. */
static size_t outputs_at(const struct window *w, const struct rows *rows, const struct block *b)
{
    return rows->first * (size_t)w->oc + (size_t)b->y;
}

void pixels_forward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                    const float *weights, float *y, float *scratch)
{
    const struct window *w = &c->window;
    int ocg = w->oc / w->g, tiles = rows_tiles(c, n);
    for (int t = 0; t < tiles; t++) {
        struct rows rows = rows_of(c, n, tiles, t);
        for (int group = 0; group < w->g; group++) {
            for (int k0 = 0; k0 < w->kh; k0 += c->kernel_rows) {
                struct block b = block_of(c, group, k0);
                struct product p = {rows.count, ocg, b.width, .add = k0 > 0, .stride = w->oc};
                p.a = columns_of(c, k, &rows, &b, x, scratch);
                p.b = (struct matrix){weights + b.weights, ocg, false};
                p.c = y + outputs_at(w, &rows, &b);
                product(p, c->pieces);
            }
        }
    }
}

static void weight_gradient(const struct convolution *c, const struct rows *rows,
                            const struct block *b, struct matrix columns, const float *dy, bool add,
                            float *dw)
{
    const struct window *w = &c->window;
    int ocg = w->oc / w->g;
    struct product p = {b->width, ocg, rows->count, .add = add, .stride = ocg};
    p.a = columns;
    p.a.transposed = true;
    p.b = (struct matrix){dy + outputs_at(w, rows, b), w->oc, false};
    p.c = dw + b->weights;
    product(p, c->pieces);
}

/* The gradient of the columns: added to dx by col2im, or made where it belongs in a pointwise
 * convolution's dx. `transposed` [oc, taps] are the weights as the product takes them; where there
 * are none, cblas transposes. */
static void data_gradient(const struct convolution *c, const struct kernels *k,
                          const struct rows *rows, const struct block *b, const float *weights,
                          const float *transposed, const float *dy, bool add, float *dx,
                          float *scratch)
{
    const struct window *w = &c->window;
    int ocg = w->oc / w->g;
    bool pointwise = c->lowering == LOWERING_POINTWISE;
    struct product p = {rows->count, b->width, ocg, .stride = b->width};
    p.a = (struct matrix){dy + outputs_at(w, rows, b), w->oc, false};
    p.b = (struct matrix){weights + b->weights, ocg, true};
    if (transposed)
        p.b = (struct matrix){transposed + b->k0 * w->kw * w->ic, filter_taps(w), false};
    p.add = pointwise && add;
    p.c = pointwise ? dx + rows->first * (size_t)w->ic : scratch;
    product(p, c->pieces);
    if (!pointwise)
        k->col2im_pixels(w, c->x_layout, rows->first, (size_t)rows->count, b->k0, b->k1, b->c0,
                         b->c1, scratch, dx);
}

void pixels_backward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                     const float *weights, const float *transposed, const float *dy, bool add_dx,
                     float *dx, bool add_dw, float *dw, float *scratch)
{
    const struct window *w = &c->window;
    int tiles = rows_tiles(c, n);
    for (int t = 0; t < tiles; t++) {
        struct rows rows = rows_of(c, n, tiles, t);
        for (int group = 0; group < w->g; group++) {
            for (int k0 = 0; k0 < w->kh; k0 += c->kernel_rows) {
                struct block b = block_of(c, group, k0);
                if (dw)
                    weight_gradient(c, &rows, &b, columns_of(c, k, &rows, &b, x, scratch), dy,
                                    add_dw || t > 0, dw);
                if (dx)
                    data_gradient(c, k, &rows, &b, weights, transposed, dy, add_dx, dx, scratch);
            }
        }
    }
}

/* A tile is one kernel row of some input channels; each of its taps is a product of its own,
 * because weights of one channel slice are not neighbours across taps. */
void pixels_weights_tile(const struct convolution *c, const struct kernels *k, int n, int tile,
                         const float *x, const float *dy, float *dw, float *scratch)
{
    const struct window *w = &c->window;
    int ki = tile % w->kh, c0 = tile / w->kh * c->weight_channels;
    int c1 = smaller_of(c0 + c->weight_channels, w->ic), channels = c1 - c0;
    struct block b = {.k0 = ki, .k1 = ki + 1, .c0 = c0, .c1 = c1, .width = w->kw * channels};
    int tiles = rows_tiles(c, n);
    for (int t = 0; t < tiles; t++) {
        struct rows rows = rows_of(c, n, tiles, t);
        struct matrix columns = columns_of(c, k, &rows, &b, x, scratch);
        for (int kj = 0; kj < w->kw; kj++) {
            size_t tap = (size_t)(ki * w->kw + kj) * (size_t)w->ic + (size_t)c0;
            struct product p = {channels, w->oc, rows.count, .add = t > 0, .stride = w->oc};
            p.a = (struct matrix){columns.data + kj * channels, columns.stride, true};
            p.b = (struct matrix){dy + outputs_at(w, &rows, &b), w->oc, false};
            p.c = dw + tap * (size_t)w->oc;
            product(p, false);
        }
    }
}
