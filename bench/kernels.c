/* bench/kernels: how near each kernel comes to what this machine can do, over the layers of the
 * five standard models, the list that the kernels' tests use.
 *
 * On one thread. A kernel is called on tiles of images as the plan cuts them, one tile after the
 * other through a mini-batch's arrays, so that these lie where they do in a step: in a cache, or in
 * memory. Its operations and its bytes are counted by hand: each input read once, each output
 * written once. A multiply-add is two operations, a comparison is one.
 *
 * The roofs are taken in the same run: cblas_sgemm of 1024 x 1024 matrices, anew beside every
 * layer, for the clock drifts, and the median of these; and the sum of two arrays (kernel `add`) of
 * the same size as the kernel's own arrays. A kernel's share is that of the lower roof: sgemm, or
 * its intensity times that bandwidth. What computes nothing is given its share of the bandwidth.
 */
#include "bench/roofline.h"
#include "engine/base/clock.h"
#include "engine/cli/cli.h"
#include "kernels/convolution.h"
#include "tests/unit/layers.h"

#include <cblas.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE = 1024,             /* of sgemm's matrices */
    TILE_BYTES = 256 * 1024, /* of input, where the plan wishes for no number of images */
    DENSE_IMAGES = 64,       /* a tile */
    RESULTS_MOST = 1024,
    ROUNDS = 4,
    SIZES = 8 /* of arrays that the bandwidth is taken at */
};

static const size_t least_bytes = 32 * 1024; /* the first of those sizes; each is 4 times larger */
static const size_t cache_bytes = 512 * 1024;

struct result {
    const struct layer *layer;
    const char *kernel;
    double operations, bytes, seconds; /* a call */
    double bandwidth;                  /* bytes a second that arrays of its size allow */
    double peak;                       /* operations a second of sgemm */
    long calls;
};

/* What was spent inside a convolution, by the kernels it calls. */
struct inner {
    double operations, bytes, seconds;
    long calls;
};

/* A mini-batch's arrays of one layer. */
struct arrays {
    const struct layer *layer;
    struct convolution convolution;
    int images, n;  /* in all; a tile */
    size_t in, out; /* floats an image */
    size_t weights;
    float *x, *y, *dx, *dy, *w, *dw, *transposed, *scratch;
    uint16_t *argmax;
    double *sums;
    size_t bytes; /* of what a step walks through: x and y */
};

static const struct kernels *real;
static struct kernels timed;
static struct inner inner_product, inner_im2col, inner_col2im;
static struct result results[RESULTS_MOST];
static size_t result_count;
static double measure_seconds = 0.04;
static double bandwidths[SIZES]; /* bytes a second */
static int sizes = SIZES;

static void *allocate(size_t count, size_t size)
{
    const size_t bytes = (count * size + 63) / 64 * 64 + 64;
    void *memory = aligned_alloc(64, bytes);
    if (!memory) {
        fprintf(stderr, "kernels: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    memset(memory, 0, bytes);
    return memory;
}

static float *random_floats(size_t count)
{
    float *x = allocate(count, sizeof *x);
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525 + 1013904223;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1.0f;
    }
    return x;
}

/* The kernels that convolutions call, with the clock around them. */

static void count_inner(struct inner *inner, double start, double operations, double bytes)
{
    inner->seconds += seconds_now() - start;
    inner->operations += operations;
    inner->bytes += bytes;
    inner->calls++;
}

static void timed_product(struct product p, bool pieces)
{
    const double start = seconds_now(), m = p.m, n = p.n, k = p.k;
    real->product(p, pieces);
    count_inner(&inner_product, start, 2 * m * n * k,
                sizeof(float) * (m * k + k * n + m * n * (p.add ? 2 : 1)));
}

/* Bytes of columns, and of the part of the image that they are copies of. */
static double pixels_bytes(const struct window *w, size_t rows, int k0, int k1, int c0, int c1)
{
    const double sh = w->sh < k1 - k0 ? w->sh : k1 - k0, sw = w->sw < w->kw ? w->sw : w->kw;
    const double inputs = (double)rows * sh * sw, channels = c1 - c0;
    return sizeof(float) * channels * ((double)rows * (k1 - k0) * w->kw + inputs);
}

static double taps_bytes(const struct window *w, int y0, int y1, int c0, int c1)
{
    return sizeof(float) * (double)(c1 - c0) * (y1 - y0) *
           ((double)w->ow * w->kh * w->kw + (double)w->sh * w->iw);
}

static void timed_im2col_pixels(const struct window *w, enum layout layout, size_t row0,
                                size_t rows, int k0, int k1, int c0, int c1, const float *x,
                                float *columns)
{
    const double start = seconds_now();
    real->im2col_pixels(w, layout, row0, rows, k0, k1, c0, c1, x, columns);
    count_inner(&inner_im2col, start, 0, pixels_bytes(w, rows, k0, k1, c0, c1));
}

static void timed_col2im_pixels(const struct window *w, enum layout layout, size_t row0,
                                size_t rows, int k0, int k1, int c0, int c1, const float *columns,
                                float *dx)
{
    const double start = seconds_now();
    real->col2im_pixels(w, layout, row0, rows, k0, k1, c0, c1, columns, dx);
    count_inner(&inner_col2im, start, (double)rows * (k1 - k0) * w->kw * (c1 - c0),
                pixels_bytes(w, rows, k0, k1, c0, c1));
}

static void timed_im2col_taps(const struct window *w, enum layout layout, int y0, int y1, int c0,
                              int c1, const float *x, float *columns)
{
    const double start = seconds_now();
    real->im2col_taps(w, layout, y0, y1, c0, c1, x, columns);
    count_inner(&inner_im2col, start, 0, taps_bytes(w, y0, y1, c0, c1));
}

static void timed_col2im_taps(const struct window *w, enum layout layout, int y0, int y1, int c0,
                              int c1, const float *columns, float *dx)
{
    const double start = seconds_now();
    real->col2im_taps(w, layout, y0, y1, c0, c1, columns, dx);
    count_inner(&inner_col2im, start, (double)(y1 - y0) * w->ow * w->kh * w->kw * (c1 - c0),
                taps_bytes(w, y0, y1, c0, c1));
}

static void take_kernels(void)
{
    real = kernels_best();
    timed = *real;
    timed.product = timed_product;
    timed.im2col_pixels = timed_im2col_pixels;
    timed.col2im_pixels = timed_col2im_pixels;
    timed.im2col_taps = timed_im2col_taps;
    timed.col2im_taps = timed_col2im_taps;
}

/* Roofs. */

/* Operations a second: the best of several products. */
static double measure_peak(void)
{
    static float *a, *b, *c;
    if (!a) {
        a = random_floats((size_t)SIDE * SIDE);
        b = random_floats((size_t)SIDE * SIDE);
        c = random_floats((size_t)SIDE * SIDE);
    }
    const double start = seconds_now();
    double best = HUGE_VAL;
    do {
        const double before = seconds_now();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1, a, SIDE, b,
                    SIDE, 0, c, SIDE);
        best = fmin(best, seconds_now() - before);
    } while (seconds_now() - start < measure_seconds);
    return 2.0 * SIDE * SIDE * SIDE / best;
}

/* Bytes a second of y = a + b, three arrays of `bytes` in all: the best of several passes, as a
 * roof is. */
static double measure_bandwidth(size_t bytes)
{
    const size_t count = bytes / (3 * sizeof(float));
    float *a = random_floats(count), *b = random_floats(count), *y = random_floats(count);
    const double start = seconds_now();
    double best = HUGE_VAL;
    do {
        const double before = seconds_now();
        real->add(count, a, b, y);
        best = fmin(best, seconds_now() - before);
    } while (seconds_now() - start < measure_seconds);
    free(a);
    free(b);
    free(y);
    return (double)(3 * count * sizeof(float)) / best;
}

/* Between the sizes that were taken, along their logarithms. */
static double bandwidth_at(double bytes)
{
    double place = log2(bytes / (double)least_bytes) / 2;
    place = fmin(fmax(place, 0), sizes - 1);
    const int below = (int)place, above = below + 1 < sizes ? below + 1 : below;
    return bandwidths[below] + (place - below) * (bandwidths[above] - bandwidths[below]);
}

/* Layers. */

static struct arrays arrays_create(const struct layer *layer, int images)
{
    const struct window *w = &layer->window;
    struct arrays a = {.layer = layer, .images = images};
    a.in = (size_t)(w->ic * w->ih * w->iw);
    a.out = (size_t)(w->oc * w->oh * w->ow);
    a.weights = layer->kind == LAYER_CONV || layer->kind == LAYER_DENSE
                    ? (size_t)(w->oc * w->ic * w->kh * w->kw)
                    : (size_t)(2 * w->oc);
    size_t tile = TILE_BYTES / (a.in * sizeof(float)), scratch = 1;
    if (layer->kind == LAYER_DENSE)
        tile = DENSE_IMAGES;
    if (layer->kind == LAYER_CONV) {
        a.convolution = convolution_plan_for(*w, layer->layout);
        scratch = a.convolution.scratch;
        if (a.convolution.rows)
            tile = (size_t)((a.convolution.rows + w->oh * w->ow - 1) / (w->oh * w->ow));
        if (a.convolution.transposed)
            a.transposed = random_floats(a.convolution.transposed);
    }
    a.n = tile < 1 ? 1 : tile > (size_t)images ? images : (int)tile;
    a.x = random_floats(a.in * (size_t)images);
    a.dx = random_floats(a.in * (size_t)images);
    a.y = random_floats(a.out * (size_t)images);
    a.dy = random_floats(a.out * (size_t)images);
    a.w = random_floats(a.weights);
    a.dw = random_floats(a.weights);
    a.scratch = random_floats(scratch);
    a.argmax = allocate(a.out * (size_t)images, sizeof *a.argmax);
    a.sums = allocate(4 * (size_t)w->oc, sizeof *a.sums);
    a.bytes = (a.in + a.out) * (size_t)images * sizeof(float);
    return a;
}

static void arrays_destroy(struct arrays *a)
{
    free(a->x);
    free(a->dx);
    free(a->y);
    free(a->dy);
    free(a->w);
    free(a->dw);
    free(a->transposed);
    free(a->scratch);
    free(a->argmax);
    free(a->sums);
}

static struct extent extent_of(const struct layer *layer)
{
    return (struct extent){layer->window.ic, layer->window.ih * layer->window.iw, layer->layout};
}

/* A call on n images from `first` on. */
typedef void run_function(const struct arrays *a, int first, int n);

#define FROM(a, array, size) ((a)->array + (size_t)first * (a)->size)

static void conv_forward(const struct arrays *a, int first, int n)
{
    convolution_forward(&a->convolution, &timed, n, FROM(a, x, in), a->w, FROM(a, y, out),
                        a->scratch);
}

static void conv_data(const struct arrays *a, int first, int n)
{
    convolution_backward(&a->convolution, &timed, n, FROM(a, x, in), a->w, a->transposed,
                         FROM(a, dy, out), false, FROM(a, dx, in), false, NULL, a->scratch);
}

/* Cut over images, or over weights with all images at once. */
static void conv_weights(const struct arrays *a, int first, int n)
{
    const struct convolution *c = &a->convolution;
    if (!c->weight_tiles)
        convolution_backward(c, &timed, n, FROM(a, x, in), a->w, NULL, FROM(a, dy, out), false,
                             NULL, first > 0, a->dw, a->scratch);
    else
        for (int tile = 0; tile < c->weight_tiles; tile++)
            convolution_backward_weights_tile(c, &timed, n, tile, FROM(a, x, in), FROM(a, dy, out),
                                              a->dw, a->scratch);
}

static void dense_forward(const struct arrays *a, int first, int n)
{
    const int in = a->layer->window.ic, out = a->layer->window.oc;
    real->product((struct product){n,
                                   out,
                                   in,
                                   {FROM(a, x, in), in, false},
                                   {a->w, out, false},
                                   false,
                                   FROM(a, y, out),
                                   out},
                  false);
}

static void dense_data(const struct arrays *a, int first, int n)
{
    const int in = a->layer->window.ic, out = a->layer->window.oc;
    real->product((struct product){n,
                                   in,
                                   out,
                                   {FROM(a, dy, out), out, false},
                                   {a->w, out, true},
                                   false,
                                   FROM(a, dx, in),
                                   in},
                  false);
}

static void dense_weights(const struct arrays *a, int first, int n)
{
    const int in = a->layer->window.ic, out = a->layer->window.oc;
    real->product((struct product){in,
                                   out,
                                   n,
                                   {FROM(a, x, in), in, true},
                                   {FROM(a, dy, out), out, false},
                                   first > 0,
                                   a->dw,
                                   out},
                  false);
}

static void maxpool_forward(const struct arrays *a, int first, int n)
{
    real->maxpool_forward(&a->layer->window, a->layer->layout, n, FROM(a, x, in), FROM(a, y, out),
                          FROM(a, argmax, out));
}

static void maxpool_backward(const struct arrays *a, int first, int n)
{
    real->maxpool_backward(&a->layer->window, a->layer->layout, n, FROM(a, dy, out),
                           FROM(a, argmax, out), false, FROM(a, dx, in));
}

static void avgpool_forward(const struct arrays *a, int first, int n)
{
    real->avgpool_forward(&a->layer->window, a->layer->layout, true, n, FROM(a, x, in),
                          FROM(a, y, out));
}

static void avgpool_backward(const struct arrays *a, int first, int n)
{
    real->avgpool_backward(&a->layer->window, a->layer->layout, true, n, FROM(a, dy, out), false,
                           FROM(a, dx, in));
}

static void moments(const struct arrays *a, int first, int n)
{
    real->moments(extent_of(a->layer), n, FROM(a, x, in), a->sums, a->sums + a->layer->window.ic);
}

static void scale_shift(const struct arrays *a, int first, int n)
{
    real->scale_shift(extent_of(a->layer), n, FROM(a, x, in), a->w, a->w + a->layer->window.ic,
                      FROM(a, y, out));
}

static void batchnorm_reduce(const struct arrays *a, int first, int n)
{
    real->batchnorm_reduce(extent_of(a->layer), n, FROM(a, x, in), FROM(a, dy, out), a->w,
                           a->w + a->layer->window.ic, a->sums);
}

static void batchnorm_backward(const struct arrays *a, int first, int n)
{
    real->batchnorm_backward(extent_of(a->layer), n, FROM(a, x, in), FROM(a, dy, out), a->w,
                             a->w + a->layer->window.ic, a->dw, false, FROM(a, dx, in));
}

static void relu_forward(const struct arrays *a, int first, int n)
{
    real->activation_forward(ACTIVATION_RELU, 0, extent_of(a->layer), n, FROM(a, x, in),
                             a->layer->kind == LAYER_EPILOGUE ? a->w : NULL, FROM(a, y, out));
}

static void relu_backward(const struct arrays *a, int first, int n)
{
    const bool bias = a->layer->kind == LAYER_EPILOGUE;
    real->activation_backward(ACTIVATION_RELU, 0, extent_of(a->layer), n, FROM(a, y, out),
                              bias ? a->w : NULL, FROM(a, dy, out), false, FROM(a, dx, in),
                              bias ? a->dw : NULL);
}

static void add(const struct arrays *a, int first, int n)
{
    real->add((size_t)n * a->in, FROM(a, x, in), FROM(a, dx, in), FROM(a, y, out));
}

/* A kernel of a kind of layer. Operations: products of the layer, and operations by input and by
 * output element. Bytes: how often x-sized, y-sized and weight-sized arrays of floats are read or
 * written; argmax is half a y. */
static const struct row {
    enum layer_kind kind;
    const char *name;
    run_function *run;
    bool products;
    double in_operations, window_operations;
    double in, out, weights;
} rows[] = {
    {LAYER_CONV, "forward", conv_forward, true, 0, 0, 1, 1, 1},
    {LAYER_CONV, "data gradient", conv_data, true, 0, 0, 1, 1, 1},
    {LAYER_CONV, "weight gradient", conv_weights, true, 0, 0, 1, 1, 1},
    {LAYER_DENSE, "forward", dense_forward, true, 0, 0, 1, 1, 1},
    {LAYER_DENSE, "data gradient", dense_data, true, 0, 0, 1, 1, 1},
    {LAYER_DENSE, "weight gradient", dense_weights, true, 0, 0, 1, 1, 1},
    {LAYER_MAXPOOL, "maxpool_forward", maxpool_forward, false, 0, 1, 1, 1.5, 0},
    {LAYER_MAXPOOL, "maxpool_backward", maxpool_backward, false, 0, 0, 1, 1.5, 0},
    {LAYER_GLOBALAVGPOOL, "avgpool_forward", avgpool_forward, false, 1, 0, 1, 1, 0},
    {LAYER_GLOBALAVGPOOL, "avgpool_backward", avgpool_backward, false, 0, 0, 1, 1, 0},
    {LAYER_BATCHNORM, "moments", moments, false, 4, 0, 1, 0, 0},
    {LAYER_BATCHNORM, "scale_shift", scale_shift, false, 2, 0, 1, 1, 0},
    {LAYER_BATCHNORM, "batchnorm_reduce", batchnorm_reduce, false, 5, 0, 1, 1, 0},
    {LAYER_BATCHNORM, "batchnorm_backward", batchnorm_backward, false, 4, 0, 2, 1, 0},
    {LAYER_RELU, "activation_forward", relu_forward, false, 1, 0, 1, 1, 0},
    {LAYER_RELU, "activation_backward", relu_backward, false, 1, 0, 1, 2, 0},
    {LAYER_EPILOGUE, "activation_forward", relu_forward, false, 2, 0, 1, 1, 0},
    {LAYER_EPILOGUE, "activation_backward", relu_backward, false, 2, 0, 1, 2, 0},
    {LAYER_ADD, "add", add, false, 1, 0, 2, 1, 0},
};

/* `bytes`: of the arrays that it goes through; 0: those of one call, which a tile has just used. */
static void keep(const struct arrays *a, const char *kernel, double peak, double bytes,
                 const struct inner *inner)
{
    if (!inner->calls || result_count == RESULTS_MOST)
        return;
    const double calls = (double)inner->calls;
    results[result_count++] = (struct result){
        .layer = a->layer,
        .kernel = kernel,
        .operations = inner->operations / calls,
        .bytes = inner->bytes / calls,
        .seconds = inner->seconds / calls,
        .bandwidth = bandwidth_at(bytes > 0 ? bytes : inner->bytes / calls),
        .peak = peak,
        .calls = inner->calls,
    };
}

/* Calls it tile by tile until the time is over; the kernels inside are counted. */
static struct inner run_round(const struct arrays *a, const struct row *row, int n)
{
    const struct inner none = {0};
    struct inner sum = {0};
    const int tiles = a->images / n;
    inner_product = inner_im2col = inner_col2im = none;
    const double start = seconds_now();
    do {
        row->run(a, (int)(sum.calls % tiles) * n, n);
        sum.calls++;
        sum.seconds = seconds_now() - start;
    } while (sum.seconds < measure_seconds / ROUNDS);
    return sum;
}

static void take_better(struct inner *best, const struct inner *round)
{
    if (!best->calls || round->seconds * (double)best->calls < best->seconds * (double)round->calls)
        *best = *round;
}

/* The best of some rounds, after a call to warm up: what disturbs a measurement only adds. */
static void measure(const struct arrays *a, const struct row *row, double peak)
{
    const struct window *w = &a->layer->window;
    const bool whole = row->run == conv_weights && a->convolution.weight_tiles;
    const int n = whole ? a->images : a->n;
    const double in = (double)a->in * n, out = (double)a->out * n;
    struct inner best = {0}, product = {0}, im2col = {0}, col2im = {0};
    row->run(a, 0, n);
    for (int round = 0; round < ROUNDS; round++) {
        const struct inner sum = run_round(a, row, n);
        take_better(&best, &sum);
        take_better(&product, &inner_product);
        take_better(&im2col, &inner_im2col);
        take_better(&col2im, &inner_col2im);
    }
    const double calls = (double)best.calls;
    if (row->products)
        best.operations = 2 * calls * out * w->ic * w->kh * w->kw;
    else
        best.operations =
            calls * (row->in_operations * in + row->window_operations * out * w->kh * w->kw);
    best.bytes =
        sizeof(float) * calls * (row->in * in + row->out * out + row->weights * (double)a->weights);
    keep(a, row->name, peak, (double)a->bytes, &best);
    if (a->layer->kind != LAYER_CONV)
        return;
    keep(a,
         row->run == conv_forward ? "product, forward"
         : row->run == conv_data  ? "product, data gradient"
                                  : "product, weight gradient",
         peak, 0, &product);
    /* The gradients gather, too: x in other pieces, or dy. */
    if (row->run == conv_forward)
        keep(a, "im2col", peak, 0, &im2col);
    keep(a, "col2im", peak, 0, &col2im);
}

static void measure_layer(const struct layer *layer, int images)
{
    struct arrays a = arrays_create(layer, images);
    const double peak = measure_peak();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].kind == layer->kind)
            measure(&a, &rows[i], peak);
    arrays_destroy(&a);
}

/* Figures. */

static bool is_memory_bound(const struct result *r)
{
    return r->operations / r->bytes * r->bandwidth < r->peak;
}

/* Of the roof above it. */
static double share(const struct result *r)
{
    return is_memory_bound(r) ? r->bytes / r->seconds / r->bandwidth
                              : r->operations / r->seconds / r->peak;
}

static void print_table(void)
{
    printf("%-14s %-22s %-24s %10s %9s %8s  %6s of\n", "model", "layer", "kernel", "us a call",
           "GFLOP/s", "GB/s", "share");
    for (size_t i = 0; i < result_count; i++) {
        const struct result *r = &results[i];
        printf("%-14s %-22s %-24s %10.2f %9.2f %8.1f  %5.0f%% %s\n", r->layer->model,
               r->layer->name, r->kernel, 1e6 * r->seconds, 1e-9 * r->operations / r->seconds,
               1e-9 * r->bytes / r->seconds, 100 * share(r),
               is_memory_bound(r) ? "bandwidth" : "sgemm");
    }
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* In place of those beside each layer, of which some other program may have disturbed a few. */
static void take_median_peak(void)
{
    static double peaks[RESULTS_MOST];
    for (size_t i = 0; i < result_count; i++)
        peaks[i] = results[i].peak;
    qsort(peaks, result_count, sizeof *peaks, compare_doubles);
    for (size_t i = 0; i < result_count; i++)
        results[i].peak = peaks[result_count / 2];
}

static bool write_json(const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return false;
    const char *kernel = blas_facts().kernel;
    fprintf(file, "{\"sgemm_gflops\":%.4g,\"blas_kernel\":\"%s\",\"isa\":\"%s\",\"bandwidth\":[",
            1e-9 * results[0].peak, kernel ? kernel : "unknown", real->isa);
    for (int i = 0; i < sizes; i++)
        fprintf(file, "%s{\"bytes\":%zu,\"gb_per_second\":%.4g}", i ? "," : "",
                least_bytes << 2 * i, 1e-9 * bandwidths[i]);
    fprintf(file, "],\"kernels\":[");
    for (size_t i = 0; i < result_count; i++) {
        const struct result *r = &results[i];
        fprintf(file,
                "%s\n{\"model\":\"%s\",\"layer\":\"%s\",\"kernel\":\"%s\",\"microseconds\":%.5g,"
                "\"gflops\":%.5g,\"gb_per_second\":%.5g,\"bound\":\"%s\",\"share\":%.4f}",
                i ? "," : "", r->layer->model, r->layer->name, r->kernel, 1e6 * r->seconds,
                1e-9 * r->operations / r->seconds, 1e-9 * r->bytes / r->seconds,
                is_memory_bound(r) ? "bandwidth" : "sgemm", share(r));
    }
    fprintf(file, "\n]}\n");
    const bool written = !ferror(file);
    return fclose(file) == 0 && written;
}

static enum family family_of(enum layer_kind kind)
{
    switch (kind) {
    case LAYER_CONV:
        return FAMILY_CONVOLUTION;
    case LAYER_DENSE:
        return FAMILY_DENSE;
    case LAYER_MAXPOOL:
    case LAYER_GLOBALAVGPOOL:
        return FAMILY_POOLING;
    default:
        return FAMILY_PASS;
    }
}

/* What computes nothing has no place on these axes; a convolution's products stand in it. */
static bool write_svg(const char *path)
{
    static struct dot dots[RESULTS_MOST];
    struct roofline figure = {
        .title = "Kernels over the layers of the five models, one thread",
        .peak_gflops = 1e-9 * results[0].peak,
        .cache_gb = 1e-9 * bandwidth_at((double)cache_bytes),
        .memory_gb = 1e-9 * bandwidths[sizes - 1],
        .dots = dots,
    };
    for (size_t i = 0; i < result_count; i++) {
        const struct result *r = &results[i];
        struct dot *dot = &dots[figure.count];
        if (!(r->operations > 0) || strncmp(r->kernel, "product", 7) == 0)
            continue;
        dot->family = family_of(r->layer->kind);
        dot->intensity = r->operations / r->bytes;
        dot->gflops = 1e-9 * r->operations / r->seconds;
        snprintf(dot->label, sizeof dot->label, "%s %s, %s", r->layer->model, r->layer->name,
                 r->kernel);
        figure.count++;
    }
    FILE *file = fopen(path, "w");
    if (!file)
        return false;
    roofline_draw(&figure, file);
    const bool written = !ferror(file);
    return fclose(file) == 0 && written;
}

static void print_help(void)
{
    printf("Usage: kernels [--svg FILE] [--json FILE] [--seconds S] [--smoke]\n\n"
           "Each kernel's share of sgemm or of bandwidth, over the layers of the five models.\n"
           "--svg FILE    a roofline figure\n"
           "--json FILE   all figures\n"
           "--seconds S   of a measurement (default: 0.04)\n"
           "--smoke       one call each, one image: it works\n");
}

static bool written(const char *path, bool (*write)(const char *path))
{
    if (!path || write(path))
        return true;
    fprintf(stderr, "kernels: %s: %s\n", path, strerror(errno));
    return false;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"svg", required_argument, NULL, 's'},     {"json", required_argument, NULL, 'j'},
        {"seconds", required_argument, NULL, 't'}, {"smoke", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},          {0}};
    const char *svg = NULL, *json = NULL;
    bool smoke = false;
    libraries_prepare(argv);
    for (int option; (option = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        if (option == 's')
            svg = optarg;
        else if (option == 'j')
            json = optarg;
        else if (option == 't')
            measure_seconds = strtod(optarg, NULL);
        else if (option == 'k')
            smoke = true;
        else {
            print_help();
            return option == 'h' ? 0 : 2;
        }
    }
    omp_set_num_threads(1);
    take_kernels();
    if (smoke)
        measure_seconds = 0, sizes = 2;
    measure_peak(); /* its own warm-up */
    for (int i = 0; i < sizes; i++)
        bandwidths[i] = measure_bandwidth(least_bytes << 2 * i);
    for (size_t i = 0; i < layer_count; i++)
        measure_layer(&layers[i], smoke ? 1 : layers[i].batch);
    take_median_peak();
    print_table();
    return written(svg, write_svg) && written(json, write_json) ? 0 : 1;
}
