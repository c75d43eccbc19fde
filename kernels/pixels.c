/* Convolutions of many channels, pixels first: columns [pixels, taps], as many output pixels of the
 * mini-batch as a tile has, of the whole kernel, of a kernel row or of a tap. A pointwise
 * convolution is one whose columns are its input.
 *
 * By rows, where strides are 1: a tile is some rows of an image, and its columns are those of one
 * kernel row over all rows that any kernel row meets. The columns of kernel row ki begin ki rows
 * into them, so that nearly kh times fewer floats are gathered, for kh products in place of one.
 *
 * The data gradient of strides of 1 is such a convolution too, of dy with the kernel turned, where
 * that is faster: nothing is scattered.
 *
 * The weights of some filters lie together, [taps, filters] a slice: a group's, or, where products
 * go in pieces and filters and channels are such, so many as a piece has columns. What a piece
 * takes of them then is contiguous; rows a power of two apart would displace one another from the
 * first cache.
 */
#include "lowered.h"

enum {
    TILE_ROWS = 512,            /* output pixels a tile, at the most */
    SLICE_FILTERS = 64,         /* a slice, the width of the fastest pieces: of multiples of it, */
    SLICED_CHANNELS = 576,      /* and up to so many channels, in and out */
    PIECES_FILTERS = 256,       /* up to so many filters pieces are faster without slices, too: */
    PIECES_FLOATS = 400 * 1000, /* then a tile's columns fit into L2, */
    PIECES_ROWS = 128,          /* but it has so many rows at least */
    TAP_CHANNELS = 64,          /* in pieces and from here on forward a tap at a time, */
    TAP_ROWS = 256,             /* by so many rows: columns, slice and sums fit into L2 */
    TURNED_CHANNELS = 64,       /* from here on, and of 1x1, dx is made by a convolution of dy */
    TURNED_PIXELS = 110,        /* of up to so many per cent of dy's pixels */
    WEIGHT_FLOATS = 384 * 1024, /* up to here the sums of a weight gradient stay in L2, */
    WEIGHT_ROWS = 128,          /* beside tiles of so many rows */
    SPLIT_CHANNELS = 256,       /* from here on otherwise one kernel row at a time */
    ROWS_CHANNELS = 192,        /* by rows up to so many channels, in and out, */
    ROWS_PIXELS = 64,           /* and from so many pixels on: products are of one image */
    APART_WEIGHTS = 512 * 1024, /* from so many weights on their gradient is cut over weights: a */
    APART_TILES = 8,            /* tap each, or, where these are fewer than so many, */
    APART_FILTERS = 256,        /* parts of it of so many filters at the least */
    SLACK = 64                  /* floats past a matrix */
};

static int slice_filters(const struct convolution *c)
{
    return c->window.oc / c->slices;
}

/* Floats of the widest column matrix's row; sets the slices, and how many rows a tile has. */
static size_t plan_tiles(struct convolution *c)
{
    const struct window *w = &c->window;
    size_t width = (size_t)c->kernel_rows * (size_t)w->kw * (size_t)(w->ic / w->g);
    c->rows = TILE_ROWS;
    bool sliced = product_small_is_fast() && w->g == 1 && w->oc % SLICE_FILTERS == 0 &&
                  w->ic <= SLICED_CHANNELS && w->oc <= SLICED_CHANNELS;
    c->slices = sliced ? w->oc / SLICE_FILTERS : w->g;
    c->pieces = product_small_is_fast() && (sliced || w->oc / w->g <= PIECES_FILTERS);
    if (c->pieces) {
        size_t rows = PIECES_FLOATS / width;
        c->rows = rows > PIECES_ROWS ? smaller_of((int)rows, TILE_ROWS) : PIECES_ROWS;
    }
    return width;
}

/* Columns of the whole kernel, of a kernel row or of a tap. */
static void plan_columns(struct convolution *c)
{
    const struct window *w = &c->window;
    c->kernel_rows = w->ic / w->g >= SPLIT_CHANNELS ? 1 : w->kh;
    size_t width = plan_tiles(c);
    bool by_taps = c->pieces && w->g == 1 && w->ic >= TAP_CHANNELS && w->kh * w->kw > 1;
    c->tap_rows = by_taps ? smaller_of(TAP_ROWS, c->rows) : 0;
    c->scratch = (size_t)c->rows * width + SLACK;
}

/* Cuts images into tiles by rows. */
static void plan_rows(struct convolution *c)
{
    const struct window *w = &c->window;
    c->by_rows = true;
    c->kernel_rows = 1;
    size_t width = plan_tiles(c);
    int parts = ceil_divide(output_pixels(w), (size_t)c->rows);
    c->output_rows = ceil_divide((size_t)w->oh, (size_t)parts);
    c->columns = *w;
    c->columns.kh = c->columns.dh = 1;
    c->columns.oh = w->oh + (w->kh - 1) * w->dh;
    size_t rows = (size_t)(c->output_rows + c->columns.oh - w->oh) * (size_t)w->ow;
    c->scratch = rows * width + SLACK;
}

/* The convolution of dy that gives dx, by rows where c is; its weights are the transposed ones. */
static struct convolution adjoint_of(const struct convolution *c)
{
    struct convolution adjoint = *c;
    struct window *w = &adjoint.window;
    w->ic = c->window.oc, w->ih = c->window.oh, w->iw = c->window.ow;
    w->oc = c->window.ic, w->oh = c->window.ih, w->ow = c->window.iw;
    w->pt = (w->kh - 1) * w->dh - w->pt, w->pb = (w->kh - 1) * w->dh - w->pb;
    w->pl = (w->kw - 1) * w->dw - w->pl, w->pr = (w->kw - 1) * w->dw - w->pr;
    (c->by_rows ? plan_rows : plan_columns)(&adjoint);
    return adjoint;
}

/* Whether by rows less than half of the floats are gathered, by products that are large enough. */
static bool rows_pay(const struct convolution *c)
{
    const struct window *w = &c->window;
    struct convolution by_rows = *c;
    if (c->x_layout != LAYOUT_NHWC || w->sh > 1 || w->sw > 1 || w->ic / w->g > ROWS_CHANNELS ||
        w->oc / w->g > ROWS_CHANNELS || output_pixels(w) < ROWS_PIXELS)
        return false;
    plan_rows(&by_rows);
    int more = by_rows.columns.oh - w->oh;
    return 2 * (by_rows.output_rows + more) <= by_rows.output_rows * w->kh;
}

/* Whether the data gradient, not by rows, is faster as a convolution of dy: of few channels the
 * products that are scattered are wider, and without padding they are fewer. */
static bool turning_pays(const struct convolution *c)
{
    const struct window *w = &c->window;
    size_t pixels = (size_t)w->ih * (size_t)w->iw;
    return c->pieces && c->x_layout == LAYOUT_NHWC && w->g == 1 && w->sh == 1 && w->sw == 1 &&
           (w->ic >= TURNED_CHANNELS || w->kh * w->kw == 1) &&
           100 * pixels <= TURNED_PIXELS * output_pixels(w) && adjoint_of(c).pieces;
}

static void plan_weight_tiles(struct convolution *c)
{
    const struct window *w = &c->window;
    int taps = w->kh * w->kw, filters = w->oc;
    int parts = smaller_of(ceil_divide(APART_TILES, (size_t)taps), filters / APART_FILTERS);
    int unit = c->slices > 1 ? slice_filters(c) : 1;
    int units = parts > 1 ? ceil_divide((size_t)(filters / unit), (size_t)parts) : filters / unit;
    c->weight_filters = units * unit;
    c->weight_tiles = taps * ceil_divide((size_t)filters, (size_t)c->weight_filters);
}

static int weight_rows(const struct convolution *c)
{
    const struct window *w = &c->window;
    size_t sums = (size_t)filter_taps(w) * (size_t)w->oc;
    if (c->weight_tiles > 0)
        sums = (size_t)w->ic * (size_t)c->weight_filters;
    bool fit = product_small_is_fast() && sums <= WEIGHT_FLOATS;
    return fit ? smaller_of(WEIGHT_ROWS, c->rows) : c->rows;
}

void pixels_plan(struct convolution *c, enum layout x_layout)
{
    const struct window *w = &c->window;
    size_t weights = (size_t)filter_taps(w) * (size_t)w->oc;
    c->lowering = LOWERING_PIXELS;
    c->x_layout = x_layout;
    c->y_layout = LAYOUT_NHWC;
    if (weights < APART_WEIGHTS && rows_pay(c)) {
        plan_rows(c);
        c->turned = true;
    } else {
        plan_columns(c);
        c->turned = turning_pays(c);
        if (w->g == 1 && weights >= APART_WEIGHTS)
            plan_weight_tiles(c);
        c->weight_rows = weight_rows(c);
    }
    c->transposed = pixels_want_transposed(c) ? weights : 0;
    if (c->turned) {
        struct convolution adjoint = adjoint_of(c);
        c->data_rows = adjoint.output_rows;
        if (adjoint.scratch > c->scratch)
            c->scratch = adjoint.scratch;
    }
}

bool pixels_want_transposed(const struct convolution *c)
{
    return c->turned || (c->pieces && c->window.g == 1);
}

void pixels_transpose(const struct convolution *c, const struct kernels *k, const float *weights,
                      float *transposed)
{
    const struct window *w = &c->window;
    int taps = w->kh * w->kw, filters = slice_filters(c), slices = c->slices / w->g;
    size_t slice = (size_t)filter_taps(w) * (size_t)filters;
    if (!c->turned) { /* and so without groups */
        for (int s = 0; s < slices; s++, weights += slice, transposed += slice)
            k->transpose(filter_taps(w), filters, weights, transposed);
        return;
    }
    struct convolution adjoint = adjoint_of(c);
    int channels = slice_filters(&adjoint), parts = adjoint.slices / w->g;
    size_t block = (size_t)channels * (size_t)filters;
    for (int group = 0; group < w->g; group++, weights += (size_t)slices * slice)
        for (int part = 0; part < parts; part++)
            for (int tap = taps - 1; tap >= 0; tap--)
                for (int s = 0; s < slices; s++, transposed += block)
                    k->transpose(channels, filters,
                                 weights + (size_t)s * slice + (size_t)(tap * parts + part) * block,
                                 transposed);
}

/* A tile: output pixels of n images, cut evenly, and the rows of the matrix that is gathered. */
struct rows {
    size_t first;
    int count;
    size_t gathered_first, gathered;
};

static int parts_of(const struct convolution *c)
{
    return ceil_divide((size_t)c->window.oh, (size_t)c->output_rows);
}

/* Tiles of at most `rows` output pixels, or by rows as planned. */
static int tiles_of(const struct convolution *c, int n, int rows)
{
    if (c->by_rows)
        return n * parts_of(c);
    return ceil_divide((size_t)n * output_pixels(&c->window), (size_t)rows);
}

static struct rows image_rows_of(const struct convolution *c, int index)
{
    const struct window *w = &c->window;
    size_t image = (size_t)(index / parts_of(c)), ow = (size_t)w->ow;
    int y0 = index % parts_of(c) * c->output_rows;
    int count = smaller_of(c->output_rows, w->oh - y0);
    return (struct rows){.first = image * output_pixels(w) + (size_t)y0 * ow,
                         .count = count * w->ow,
                         .gathered_first = image * output_pixels(&c->columns) + (size_t)y0 * ow,
                         .gathered = (size_t)(count + c->columns.oh - w->oh) * ow};
}

static struct rows rows_of(const struct convolution *c, int n, int tiles, int index)
{
    if (c->by_rows)
        return image_rows_of(c, index);
    size_t total = (size_t)n * output_pixels(&c->window);
    size_t first = total * (size_t)index / (size_t)tiles;
    size_t count = total * (size_t)(index + 1) / (size_t)tiles - first;
    return (struct rows){first, (int)count, first, count};
}

/* Kernel rows [k0, k1) and channels [c0, c1) of the input: a column matrix [rows, width], whose
 * weights begin with row `weights_row` of a slice's [taps, filters], for output channels [y0, y1).
 */
struct block {
    int k0, k1, c0, c1, width, weights_row, y0, y1;
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
        .weights_row = k0 * w->kw * icg,
        .y0 = group * ocg,
        .y1 = (group + 1) * ocg,
    };
}

/* Output channels whose weights [width, count] of a block lie together, rows `stride` floats apart.
 */
struct filters {
    int count, stride;
    size_t weights;
};

/* Those from channel y0 on. */
static struct filters filters_of(const struct convolution *c, const struct block *b, int y0)
{
    int size = slice_filters(c), slice = y0 / size, within = y0 % size;
    size_t row = (size_t)slice * (size_t)filter_taps(&c->window) + (size_t)b->weights_row;
    return (struct filters){.count = smaller_of(size - within, b->y1 - y0),
                            .stride = size,
                            .weights = row * (size_t)size + (size_t)within};
}

/* The column matrix: gathered into scratch, or where it lies in a pointwise convolution's input, or
 * by rows in what was gathered for the first kernel row. */
static struct matrix columns_of(const struct convolution *c, const struct kernels *k,
                                const struct rows *rows, const struct block *b, const float *x,
                                float *scratch)
{
    const struct window *w = &c->window;
    if (c->lowering == LOWERING_POINTWISE)
        return (struct matrix){x + rows->first * (size_t)w->ic + b->c0, w->ic, false};
    if (!c->by_rows)
        k->im2col_pixels(w, c->x_layout, rows->gathered_first, rows->gathered, b->k0, b->k1, b->c0,
                         b->c1, x, scratch);
    else if (b->k0 == 0)
        k->im2col_pixels(&c->columns, c->x_layout, rows->gathered_first, rows->gathered, 0, 1,
                         b->c0, b->c1, x, scratch);
    int before = c->by_rows ? b->k0 * w->dh * w->ow * b->width : 0;
    return (struct matrix){scratch + before, b->width, false};
}

/* The convolution with one tap alone, whose columns are a part of x, moved. */
static struct convolution tap_of(const struct convolution *c, int tap)
{
    struct convolution one = *c;
    struct window *w = &one.window;
    w->pt -= tap / w->kw * w->dh;
    w->pl -= tap % w->kw * w->dw;
    w->kh = w->kw = w->dh = w->dw = 1;
    return one;
}

/* Its block, for some of the output channels. */
static struct block tap_block(const struct window *w, int tap, int y0, int y1)
{
    return (struct block){
        .k1 = 1, .c1 = w->ic, .width = w->ic, .weights_row = tap * w->ic, .y0 = y0, .y1 = y1};
}

/* y of those rows and a block's output channels = columns * weights, or += that. */
static void block_outputs(const struct convolution *c, const struct kernels *k,
                          const struct rows *rows, const struct block *b, struct matrix columns,
                          const float *weights, bool add, float *y)
{
    const struct window *w = &c->window;
    struct product p = {.m = rows->count, .k = b->width, .a = columns, .add = add, .stride = w->oc};
    for (int y0 = b->y0; y0 < b->y1; y0 += p.n) {
        struct filters filters = filters_of(c, b, y0);
        p.n = filters.count;
        p.b = (struct matrix){weights + filters.weights, filters.stride, false};
        p.c = y + rows->first * (size_t)w->oc + y0;
        k->product(p, c->pieces);
    }
}

/* dw of a block = transposed columns * dy, or += that. */
static void block_weight_gradient(const struct convolution *c, const struct kernels *k,
                                  const struct rows *rows, const struct block *b,
                                  struct matrix columns, const float *dy, bool add, float *dw)
{
    const struct window *w = &c->window;
    struct product p = {.m = b->width, .k = rows->count, .a = columns, .add = add};
    p.a.transposed = true;
    for (int y0 = b->y0; y0 < b->y1; y0 += p.n) {
        struct filters filters = filters_of(c, b, y0);
        p.n = filters.count;
        p.b = (struct matrix){dy + rows->first * (size_t)w->oc + y0, w->oc, false};
        p.c = dw + filters.weights;
        p.stride = filters.stride;
        k->product(p, c->pieces);
    }
}

static void convolve_tile(const struct convolution *c, const struct kernels *k,
                          const struct rows *rows, const float *x, const float *weights, bool add,
                          float *y, float *scratch)
{
    const struct window *w = &c->window;
    for (int group = 0; group < w->g; group++)
        for (int k0 = 0; k0 < w->kh; k0 += c->kernel_rows) {
            struct block b = block_of(c, group, k0);
            block_outputs(c, k, rows, &b, columns_of(c, k, rows, &b, x, scratch), weights,
                          add || k0 > 0, y);
        }
}

static void convolve_tile_by_taps(const struct convolution *c, const struct kernels *k,
                                  const struct rows *rows, const float *x, const float *weights,
                                  bool add, float *y, float *scratch)
{
    const struct window *w = &c->window;
    for (int tap = 0; tap < w->kh * w->kw; tap++) {
        const struct convolution one = tap_of(c, tap);
        struct block b = tap_block(w, tap, 0, w->oc);
        block_outputs(c, k, rows, &b, columns_of(&one, k, rows, &b, x, scratch), weights,
                      add || tap > 0, y);
    }
}

static void convolve(const struct convolution *c, const struct kernels *k, int n, const float *x,
                     const float *weights, bool add, float *y, float *scratch)
{
    bool by_taps = c->tap_rows > 0;
    int tiles = tiles_of(c, n, by_taps ? c->tap_rows : c->rows);
    for (int t = 0; t < tiles; t++) {
        struct rows rows = rows_of(c, n, tiles, t);
        (by_taps ? convolve_tile_by_taps : convolve_tile)(c, k, &rows, x, weights, add, y, scratch);
    }
}

void pixels_forward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                    const float *weights, float *y, float *scratch)
{
    convolve(c, k, n, x, weights, false, y, scratch);
}

static void weight_gradient(const struct convolution *c, const struct kernels *k, int n,
                            const float *x, const float *dy, bool add, float *dw, float *scratch)
{
    const struct window *w = &c->window;
    int tiles = tiles_of(c, n, c->weight_rows);
    for (int t = 0; t < tiles; t++) {
        struct rows rows = rows_of(c, n, tiles, t);
        for (int group = 0; group < w->g; group++)
            for (int k0 = 0; k0 < w->kh; k0 += c->kernel_rows) {
                struct block b = block_of(c, group, k0);
                block_weight_gradient(c, k, &rows, &b, columns_of(c, k, &rows, &b, x, scratch), dy,
                                      add || t > 0, dw);
            }
    }
}

/* The gradient of the columns: added to dx by col2im, or made where it belongs in a pointwise
 * convolution's dx. `transposed` [oc, taps] are the weights as the product takes them; where there
 * are none, they lie in one slice, and cblas transposes. */
static void data_gradient(const struct convolution *c, const struct kernels *k, int n,
                          const float *weights, const float *transposed, const float *dy, bool add,
                          float *dx, float *scratch)
{
    const struct window *w = &c->window;
    int ocg = w->oc / w->g, tiles = tiles_of(c, n, c->rows);
    bool pointwise = c->lowering == LOWERING_POINTWISE;
    for (int t = 0; t < tiles; t++) {
        struct rows rows = rows_of(c, n, tiles, t);
        for (int group = 0; group < w->g; group++) {
            for (int k0 = 0; k0 < w->kh; k0 += c->kernel_rows) {
                struct block b = block_of(c, group, k0);
                struct product p = {rows.count, b.width, ocg, .stride = b.width};
                struct filters filters = filters_of(c, &b, b.y0);
                p.a = (struct matrix){dy + rows.first * (size_t)w->oc + b.y0, w->oc, false};
                p.b = (struct matrix){weights + filters.weights, filters.stride, true};
                if (transposed)
                    p.b = (struct matrix){transposed + b.weights_row, filter_taps(w), false};
                p.add = pointwise && add;
                p.c = pointwise ? dx + rows.first * (size_t)w->ic : scratch;
                k->product(p, c->pieces);
                if (!pointwise)
                    k->col2im_pixels(w, c->x_layout, rows.first, (size_t)rows.count, b.k0, b.k1,
                                     b.c0, b.c1, scratch, dx);
            }
        }
    }
}

/* As the convolution of dy with the kernel turned. */
static void data_gradient_turned(const struct convolution *c, const struct kernels *k, int n,
                                 const float *transposed, const float *dy, bool add, float *dx,
                                 float *scratch)
{
    struct convolution adjoint = adjoint_of(c);
    adjoint.output_rows = smaller_of(c->data_rows, c->window.ih); /* as planned, though x be cut */
    convolve(&adjoint, k, n, dy, transposed, add, dx, scratch);
}

void pixels_backward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                     const float *weights, const float *transposed, const float *dy, bool add_dx,
                     float *dx, bool add_dw, float *dw, float *scratch)
{
    if (dx && c->turned)
        data_gradient_turned(c, k, n, transposed, dy, add_dx, dx, scratch);
    else if (dx)
        data_gradient(c, k, n, weights, transposed, dy, add_dx, dx, scratch);
    if (dw)
        weight_gradient(c, k, n, x, dy, add_dw, dw, scratch);
}

/* A tile is one tap of some filters. */
void pixels_weights_tile(const struct convolution *c, const struct kernels *k, int n, int tile,
                         const float *x, const float *dy, float *dw, float *scratch)
{
    const struct window *w = &c->window;
    int taps = w->kh * w->kw, tap = tile % taps, first = tile / taps * c->weight_filters;
    int tiles = tiles_of(c, n, c->weight_rows);
    const struct convolution one = tap_of(c, tap);
    struct block b = tap_block(w, tap, first, smaller_of(first + c->weight_filters, w->oc));
    for (int t = 0; t < tiles; t++) {
        struct rows rows = rows_of(c, n, tiles, t);
        block_weight_gradient(c, k, &rows, &b, columns_of(&one, k, &rows, &b, x, scratch), dy,
                              t > 0, dw);
    }
}
