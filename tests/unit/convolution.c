/* Convolution over its plans, against naive loops in double.
 *
 * Tolerance: whatever the order, a sum of `terms` products in float errs by at most
 * terms * EPSILON of the sum of their magnitudes. */
#include "kernels/convolution.h"
#include "kernels/product.h"
#include "tests/unit/layers.h"
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

struct shape {
    int n, ic, ih, iw, oc, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, g;
};

static const struct shape shapes[] = {
    /* few channels: taps first, y in both layouts, one part an image and several */
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1},
    {2, 1, 11, 13, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {3, 1, 28, 28, 6, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 1},
    {2, 1, 9, 10, 32, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {3, 3, 12, 15, 16, 3, 4, 2, 3, 1, 1, 1, 0, 2, 1, 1},
    {1, 7, 10, 9, 17, 3, 3, 1, 1, 2, 2, 2, 1, 0, 3, 1},
    {2, 3, 40, 41, 8, 5, 3, 1, 1, 1, 1, 2, 1, 2, 1, 1},
    {1, 2, 50, 37, 3, 2, 2, 1, 1, 1, 1, 0, 1, 1, 0, 1},
    {2, 6, 5, 5, 120, 5, 5, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {1, 2, 2, 3, 4, 1, 1, 2, 2, 1, 1, 1, 2, 0, 1, 1},
    {2, 3, 40, 41, 33, 5, 3, 1, 1, 1, 1, 2, 1, 2, 1, 1},
    {1, 2, 30, 90, 7, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    /* many: pixels first, one tile of columns and several */
    {3, 8, 7, 6, 9, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 17, 9, 11, 31, 2, 3, 2, 1, 1, 1, 0, 2, 1, 0, 1},
    {1, 16, 13, 10, 16, 3, 3, 3, 2, 2, 1, 2, 1, 3, 0, 1},
    {3, 16, 20, 21, 80, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {3, 12, 21, 20, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 8, 16, 32, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1}, /* a full tile: all of the scratch */
    {2, 24, 8, 9, 20, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 1},
    {3, 16, 30, 29, 24, 3, 3, 2, 1, 1, 1, 1, 1, 0, 1, 1}, /* several tiles of each product */
    /* forward by taps, also in tiles so large that their columns are all of the scratch */
    {2, 70, 37, 31, 33, 3, 3, 2, 1, 1, 2, 1, 3, 2, 0, 1},
    {1, 1600, 29, 20, 12, 2, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1},
    {2, 10, 4, 5, 3, 1, 1, 1, 1, 1, 1, 1, 0, 0, 2, 1},
    {1, 9, 3, 2, 8, 5, 7, 1, 1, 1, 1, 4, 6, 3, 5, 1},
    /* by rows: one part an image and several, the last one shorter */
    {2, 9, 9, 8, 10, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 9, 37, 35, 10, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {1, 12, 40, 41, 17, 3, 2, 1, 1, 2, 3, 3, 0, 1, 5, 1},
    {2, 20, 14, 19, 9, 5, 4, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {1, 8, 20, 9, 8, 7, 1, 1, 1, 1, 1, 7, 0, 6, 0, 1}, /* dy turned is cropped, not padded */
    /* weights in slices, by rows; the data gradient turned, with slices of x, y, both; scattered */
    {1, 128, 9, 8, 192, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 128, 5, 6, 36, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 70, 6, 5, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {2, 128, 12, 11, 256, 2, 1, 1, 1, 2, 1, 2, 0, 0, 0, 1}, /* in tiles */
    {1, 64, 4, 5, 256, 3, 3, 1, 1, 1, 1, 3, 4, 4, 3, 1},
    {1, 70, 7, 6, 128, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {2, 256, 5, 4, 576, 2, 2, 1, 1, 1, 1, 0, 1, 1, 0, 1}, /* and the weight gradient, in parts */
    {2, 128, 5, 4, 192, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    /* a kernel row at a time */
    {2, 256, 5, 4, 10, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    /* the weight gradient cut over weights: by taps, in parts of filters, the last one narrower */
    {2, 256, 4, 3, 256, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {1, 259, 5, 5, 250, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {5, 130, 15, 15, 456, 3, 3, 2, 1, 1, 1, 0, 1, 1, 1, 1}, /* and several tiles */
    {2, 171, 9, 11, 515, 2, 3, 1, 2, 2, 3, 1, 2, 0, 3, 1},
    /* pointwise */
    {3, 1, 5, 4, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {2, 24, 7, 5, 19, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {3, 18, 19, 20, 65, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {58, 1024, 3, 3, 513, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    /* groups */
    {2, 8, 7, 6, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2},
    {3, 12, 21, 20, 8, 3, 2, 2, 1, 1, 2, 1, 1, 0, 1, 4},
    {2, 4, 6, 5, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4},
    {2, 32, 5, 6, 48, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2},
    {2, 12, 5, 4, 6, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2},
    {2, 8, 9, 10, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2},
    /* depthwise */
    {3, 3, 7, 8, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3},
    {2, 33, 9, 8, 33, 5, 3, 2, 1, 1, 2, 2, 0, 1, 3, 33},
};

static int outputs(int size, int before, int after, int kernel, int dilation, int stride)
{
    return (size + before + after - (kernel - 1) * dilation - 1) / stride + 1;
}

static struct window window_of(const struct shape *s)
{
    return (struct window){.ic = s->ic,
                           .ih = s->ih,
                           .iw = s->iw,
                           .oc = s->oc,
                           .oh = outputs(s->ih, s->pt, s->pb, s->kh, s->dh, s->sh),
                           .ow = outputs(s->iw, s->pl, s->pr, s->kw, s->dw, s->sw),
                           .kh = s->kh,
                           .kw = s->kw,
                           .sh = s->sh,
                           .sw = s->sw,
                           .dh = s->dh,
                           .dw = s->dw,
                           .pt = s->pt,
                           .pl = s->pl,
                           .pb = s->pb,
                           .pr = s->pr,
                           .g = s->g};
}

/* A sum in double and that of its terms' magnitudes. */
struct sum {
    double value, size;
    int terms;
};

/* Arrays lie in PyTorch's order: x [n, ic, ih, iw], w [oc, ic/g, kh, kw], y [n, oc, oh, ow]. */
struct problem {
    struct window w;
    int n;
    size_t x_size, w_size, y_size;
    float *x, *weights, *dy;
    struct sum *y, *dx, *dw; /* what is wanted */
};

static void *zeros(size_t n, size_t size)
{
    void *array = calloc(n, size);
    cr_assert_not_null(array);
    return array;
}

static void sum_add(struct sum *sum, double term)
{
    sum->value += term;
    sum->size += fabs(term);
    sum->terms++;
}

/* All products of one weight. */
static void reference_weight(const struct problem *p, int o, int c, int ki, int kj)
{
    const struct window *w = &p->w;
    const int icg = w->ic / w->g, input = o / (w->oc / w->g) * icg + c;
    const int tap = ((o * icg + c) * w->kh + ki) * w->kw + kj;
    const double weight = (double)p->weights[tap];
    for (int i = 0; i < p->n; i++)
        for (int oy = 0; oy < w->oh; oy++)
            for (int ox = 0; ox < w->ow; ox++) {
                const int iy = oy * w->sh - w->pt + ki * w->dh;
                const int ix = ox * w->sw - w->pl + kj * w->dw;
                if (iy < 0 || iy >= w->ih || ix < 0 || ix >= w->iw)
                    continue;
                const int from = ((i * w->ic + input) * w->ih + iy) * w->iw + ix;
                const int to = ((i * w->oc + o) * w->oh + oy) * w->ow + ox;
                sum_add(&p->y[to], weight * (double)p->x[from]);
                sum_add(&p->dx[from], weight * (double)p->dy[to]);
                sum_add(&p->dw[tap], (double)p->x[from] * (double)p->dy[to]);
            }
}

/* Nothing is wanted of it yet. */
static struct problem problem_create(struct window window, int n)
{
    struct problem p = {.w = window, .n = n};
    const struct window *w = &p.w;
    p.x_size = (size_t)(n * w->ic * w->ih * w->iw);
    p.y_size = (size_t)(n * w->oc * w->oh * w->ow);
    p.w_size = (size_t)(w->oc * (w->ic / w->g) * w->kh * w->kw);
    p.x = zeros(p.x_size, sizeof *p.x);
    p.dy = zeros(p.y_size, sizeof *p.dy);
    p.weights = zeros(p.w_size, sizeof *p.weights);
    p.y = zeros(p.y_size, sizeof *p.y);
    p.dx = zeros(p.x_size, sizeof *p.dx);
    p.dw = zeros(p.w_size, sizeof *p.dw);
    fill_random(p.x, p.x_size, 1);
    fill_random(p.dy, p.y_size, 2);
    fill_random(p.weights, p.w_size, 3);
    return p;
}

static struct problem problem_solved(const struct shape *s)
{
    struct problem p = problem_create(window_of(s), s->n);
    const struct window *w = &p.w;
    for (int o = 0; o < w->oc; o++)
        for (int c = 0; c < w->ic / w->g; c++)
            for (int ki = 0; ki < w->kh; ki++)
                for (int kj = 0; kj < w->kw; kj++)
                    reference_weight(&p, o, c, ki, kj);
    return p;
}

static void problem_destroy(struct problem *p)
{
    free(p->x);
    free(p->dy);
    free(p->weights);
    free(p->y);
    free(p->dx);
    free(p->dw);
}

/* Where an element of PyTorch's order lies for the plan: `index` within n images of c channels. */
static size_t image_place(enum layout layout, int c, int h, int w, size_t index)
{
    const struct extent extent = {c, h * w, layout};
    const size_t pixels = (size_t)extent.hw, channels = (size_t)c;
    return at(layout, extent, (int)(index / (pixels * channels)), (int)(index / pixels % channels),
              (int)(index % pixels));
}

static size_t x_place(const struct convolution *c, size_t index)
{
    return image_place(c->x_layout, c->window.ic, c->window.ih, c->window.iw, index);
}

static size_t y_place(const struct convolution *c, size_t index)
{
    return image_place(c->y_layout, c->window.oc, c->window.oh, c->window.ow, index);
}

static size_t weight_place(const struct convolution *c, size_t index)
{
    int sizes[5];
    size_t strides[5], place = 0;
    convolution_weights(c, sizes, strides);
    for (int axis = 4; axis >= 0; axis--) {
        place += index % (size_t)sizes[axis] * strides[axis];
        index /= (size_t)sizes[axis];
    }
    return place;
}

typedef size_t place_function(const struct convolution *c, size_t index);

static float *arranged(const struct convolution *c, place_function *place, const float *x, size_t n)
{
    float *y = guarded_floats(n);
    for (size_t i = 0; i < n; i++)
        y[place(c, i)] = x[i];
    return y;
}

static float *filled(size_t n, float value)
{
    float *x = guarded_floats(n);
    for (size_t i = 0; i < n; i++)
        x[i] = value;
    return x;
}

/* The result was `before` + want; NAN: it is overwritten. `i` is its index in PyTorch's order. */
static void compare_one(const char *what, const struct convolution *c, const struct kernels *k,
                        float got, const struct sum *want, float before, size_t i)
{
    const struct window *w = &c->window;
    const double old = isnan(before) ? 0 : (double)before;
    const double value = want->value + old, result = (double)got;
    const double bound = (want->terms + 2) * EPSILON * (want->size + fabs(old));
    if (!(fabs(result - value) <= bound))
        cr_assert(false,
                  "%s, %s, lowering %d, layouts %d %d, %dx%dx%d to %dx%dx%d, kernel %dx%d, "
                  "[%zu]: %.9g instead of %.9g (+- %.2g)",
                  what, k->isa, c->lowering, c->x_layout, c->y_layout, w->ic, w->ih, w->iw, w->oc,
                  w->oh, w->ow, w->kh, w->kw, i, result, value, bound);
}

static void compare(const char *what, const struct convolution *c, const struct kernels *k,
                    place_function *place, const float *got, const struct sum *want, float before,
                    size_t n)
{
    for (size_t i = 0; i < n; i++)
        compare_one(what, c, k, got[place(c, i)], &want[i], before, i);
}

/* What a plan's functions are given, in its layouts; the scratch is of the promised size. */
struct arrays {
    float *x, *weights, *dy, *scratch;
    float *transposed; /* NULL: the plan has no use for them, or is tried without */
};

static struct arrays arrays_create(const struct convolution *c, const struct problem *p)
{
    return (struct arrays){.x = arranged(c, x_place, p->x, p->x_size),
                           .weights = arranged(c, weight_place, p->weights, p->w_size),
                           .dy = arranged(c, y_place, p->dy, p->y_size),
                           .scratch = filled(c->scratch, NAN)};
}

static void arrays_destroy(struct arrays *a)
{
    guarded_free(a->x);
    guarded_free(a->weights);
    guarded_free(a->dy);
    guarded_free(a->scratch);
}

static void check_forward(const struct convolution *c, const struct kernels *k,
                          const struct problem *p, const struct arrays *a)
{
    float *y = filled(p->y_size, NAN);
    convolution_forward(c, k, p->n, a->x, a->weights, y, a->scratch);
    compare("y", c, k, y_place, y, p->y, NAN, p->y_size);
    guarded_free(y);
}

/* Both gradients together, and each without the other. */
static void check_backward(const struct convolution *c, const struct kernels *k,
                           const struct problem *p, const struct arrays *a, bool accumulate_dx,
                           bool accumulate_dw)
{
    const float dx_before = accumulate_dx ? 0.5f : NAN, dw_before = accumulate_dw ? -0.75f : NAN;
    float *dx = filled(p->x_size, dx_before), *dw = filled(p->w_size, dw_before);
    float *dx_alone = filled(p->x_size, dx_before), *dw_alone = filled(p->w_size, dw_before);
    convolution_backward(c, k, p->n, a->x, a->weights, a->transposed, a->dy, accumulate_dx, dx,
                         accumulate_dw, dw, a->scratch);
    compare("dx", c, k, x_place, dx, p->dx, dx_before, p->x_size);
    compare("dw", c, k, weight_place, dw, p->dw, dw_before, p->w_size);
    convolution_backward(c, k, p->n, a->x, a->weights, a->transposed, a->dy, accumulate_dx,
                         dx_alone, false, NULL, a->scratch);
    convolution_backward(c, k, p->n, a->x, a->weights, a->transposed, a->dy, false, NULL,
                         accumulate_dw, dw_alone, a->scratch);
    compare("dx alone", c, k, x_place, dx_alone, p->dx, dx_before, p->x_size);
    compare("dw alone", c, k, weight_place, dw_alone, p->dw, dw_before, p->w_size);
    guarded_free(dx);
    guarded_free(dw);
    guarded_free(dx_alone);
    guarded_free(dw_alone);
}

/* Each tile writes its part alone, and together they write all of it once. */
static void check_weight_tiles(const struct convolution *c, const struct kernels *k,
                               const struct problem *p, const struct arrays *a)
{
    float *dw = filled(p->w_size, NAN);
    size_t written = 0;
    for (int tile = c->weight_tiles - 1; tile >= 0; tile--) {
        float *part = filled(p->w_size, NAN);
        convolution_backward_weights_tile(c, k, p->n, tile, a->x, a->dy, part, a->scratch);
        for (size_t i = 0; i < p->w_size; i++)
            if (!isnan(part[i])) {
                dw[i] = part[i];
                written++;
            }
        guarded_free(part);
    }
    cr_assert_eq(written, p->w_size, "%s: tiles write %zu of %zu weights", k->isa, written,
                 p->w_size);
    compare("dw in tiles", c, k, weight_place, dw, p->dw, NAN, p->w_size);
    guarded_free(dw);
}

static bool takes_transposed(const struct convolution *c)
{
    return c->window.g == 1 &&
           (c->lowering == LOWERING_PIXELS || c->lowering == LOWERING_POINTWISE);
}

/* `pieces` whether this machine's BLAS is one for them or not, but where the plan turns the kernel:
 * that convolution has a plan of its own. */
static void check_plan(const struct convolution *plan, const struct problem *p, bool pieces)
{
    struct convolution pieced = *plan;
    pieced.pieces = pieces;
    const struct convolution *c = &pieced;
    struct arrays a = arrays_create(c, p);
    FOR_EACH_KERNELS(k)
    {
        if ((pieces || c->transposed) && takes_transposed(c) && !a.transposed) {
            a.transposed = filled(p->w_size, NAN);
            convolution_transpose(c, k, a.weights, a.transposed);
        }
        check_forward(c, k, p, &a);
        check_backward(c, k, p, &a, false, false);
        check_backward(c, k, p, &a, true, true);
        check_backward(c, k, p, &a, true, false);
        if (c->weight_tiles > 0)
            check_weight_tiles(c, k, p, &a);
    }
    if (a.transposed)
        guarded_free(a.transposed);
    arrays_destroy(&a);
}

Test(convolution, is_the_naive_sum_under_every_plan)
{
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct problem p = problem_solved(&shapes[i]);
        for (enum layout layout = LAYOUT_NHWC; layout <= LAYOUT_NCHW; layout++) {
            const struct convolution c = convolution_plan_for(p.w, layout);
            cr_assert_eq(c.x_layout, layout);
            check_plan(&c, &p, false);
            check_plan(&c, &p, true);
        }
        problem_destroy(&p);
    }
}

/* A window's rows of x that its first `count` rows of y read, of `size` there are. */
static int rows_read(int count, int size, int before, int kernel, int dilation, int stride)
{
    const int end = (count - 1) * stride + (kernel - 1) * dilation - before + 1;
    return end < size ? end : size;
}

Test(convolution, cut_it_is_the_convolution_of_what_is_read)
{
    size_t turned = 0;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        const struct convolution c = convolution_plan(window_of(&shapes[i]));
        struct shape s = shapes[i];
        const int oh = c.window.oh - 1, ow = c.window.ow - 1;
        const double products = (double)(s.ic / s.g * s.oc) * (s.kh * s.kw * s.n) * (oh * ow);
        if (c.lowering == LOWERING_POINTWISE || oh < 1 || ow < 1 || products > 5e6)
            continue;
        s.ih = rows_read(oh, s.ih, s.pt, s.kh, s.dh, s.sh);
        s.iw = rows_read(ow, s.iw, s.pl, s.kw, s.dw, s.sw);
        if (s.ih < 1 || s.iw < 1)
            continue;
        s.pb = (oh - 1) * s.sh + (s.kh - 1) * s.dh + 1 - s.pt - s.ih;
        s.pr = (ow - 1) * s.sw + (s.kw - 1) * s.dw + 1 - s.pl - s.iw;
        struct problem p = problem_solved(&s);
        cr_assert(p.w.oh == oh && p.w.ow == ow);
        const struct convolution cut = convolution_cut(&c, s.ih, s.iw, oh, ow);
        check_plan(&cut, &p, c.pieces);
        problem_destroy(&p);
        turned += c.turned && !c.by_rows;
    }
    if (product_small_is_fast())
        cr_expect_gt(turned, 0);
}

/* So that the tests above stay what they say: their shapes reach every way a plan can go. */
Test(convolution, the_tested_shapes_reach_every_plan)
{
    size_t lowerings[4] = {0}, taps_layouts[2][2] = {{0}}, weights_apart[4] = {0};
    size_t narrow_parts[4] = {0}, tiles[4][2] = {{0}}, parts = 0, kernel_rows = 0, by_rows = 0;
    size_t short_parts = 0, by_taps = 0, full_taps = 0;
    size_t sliced_rows = 0, sliced_points = 0, scattered = 0, slices_of[2][2] = {{0}};
    size_t sliced_apart = 0, merged[2] = {0};
    for (size_t i = 0; i < COUNT(shapes); i++) {
        const struct window w = window_of(&shapes[i]);
        const struct convolution c = convolution_plan(w);
        lowerings[c.lowering]++;
        const bool sliced = w.g == 1 && c.slices > 1;
        merged[c.by_rows] += c.merged > 0 && c.turned;
        sliced_rows += sliced && c.by_rows;
        sliced_points += sliced && c.lowering == LOWERING_POINTWISE;
        scattered += sliced && !c.turned;
        if (c.turned && !c.by_rows && c.lowering == LOWERING_PIXELS)
            slices_of[w.ic % 64 == 0 && w.ic > 64][sliced]++;
        sliced_apart += sliced && c.weight_tiles > 0 && w.oc % c.weight_filters != 0;
        if (c.lowering == LOWERING_TAPS) {
            taps_layouts[c.by_rows][c.y_layout]++;
            parts += c.output_rows < w.oh;
            continue;
        }
        if (c.by_rows) {
            by_rows += c.output_rows == w.oh;
            short_parts += w.oh % c.output_rows != 0;
            continue;
        }
        const int pixels = shapes[i].n * w.oh * w.ow;
        weights_apart[c.lowering] += c.weight_tiles > 0;
        tiles[c.lowering][c.weight_tiles > 0] += c.rows > 0 && pixels > c.rows;
        by_taps += c.tap_rows > 0 && pixels > c.tap_rows;
        full_taps += c.tap_rows > 0 && pixels > c.tap_rows && c.tap_rows == c.rows && w.kw == 1;
        kernel_rows += c.rows > 0 && c.kernel_rows < w.kh;
        narrow_parts[c.lowering] += c.weight_tiles > 0 && w.oc % c.weight_filters != 0;
    }
    for (size_t i = 0; i < 4; i++)
        cr_expect_gt(lowerings[i], 1, "lowering %zu", i);
    for (int rows = 0; rows < 2; rows++) {
        cr_expect_gt(taps_layouts[rows][LAYOUT_NHWC], 0, "by_rows %d", rows);
        cr_expect_gt(taps_layouts[rows][LAYOUT_NCHW], 0, "by_rows %d", rows);
    }
    cr_expect_gt(by_rows, 0);
    if (product_small_is_fast()) {
        cr_expect_gt(by_taps, full_taps);
        cr_expect_gt(full_taps, 0);
        cr_expect_gt(sliced_rows, 0);
        cr_expect_gt(sliced_points, 0);
        cr_expect_gt(scattered, 0);
        cr_expect(slices_of[0][1] > 0 && slices_of[1][0] > 0 && slices_of[1][1] > 0);
        cr_expect_gt(sliced_apart, 0);
        cr_expect_gt(merged[false], 0);
    }
    cr_expect_gt(merged[true], 0);
    cr_expect_gt(short_parts, 0);
    cr_expect_gt(weights_apart[LOWERING_PIXELS], 0);
    cr_expect_gt(weights_apart[LOWERING_POINTWISE], 0);
    cr_expect_gt(parts, 0);
    for (int apart = 0; apart < 2; apart++) {
        cr_expect_gt(tiles[LOWERING_PIXELS][apart], 0, "apart %d", apart);
        cr_expect_gt(tiles[LOWERING_POINTWISE][apart], 0, "apart %d", apart);
    }
    cr_expect_gt(kernel_rows, 0);
    cr_expect_gt(narrow_parts[LOWERING_PIXELS], 0);
    cr_expect_gt(narrow_parts[LOWERING_POINTWISE], 0);
}

Test(convolution, the_plan_wants_the_layout_it_is_made_for)
{
    for (size_t i = 0; i < COUNT(shapes); i++) {
        const struct window w = window_of(&shapes[i]);
        const struct convolution wanted = convolution_plan(w);
        const struct convolution same = convolution_plan_for(w, wanted.x_layout);
        cr_expect_eq(wanted.lowering, same.lowering);
        cr_expect_eq(wanted.y_layout, same.y_layout);
        cr_expect_eq(wanted.rows, same.rows);
        cr_expect_eq(wanted.tap_rows, same.tap_rows);
        cr_expect_eq(wanted.weight_rows, same.weight_rows);
        cr_expect_eq(wanted.weight_tiles, same.weight_tiles);
        cr_expect_eq(wanted.scratch, same.scratch);
        cr_expect_eq(wanted.slices, same.slices);
        cr_expect_eq(wanted.turned, same.turned);
        cr_expect_eq(wanted.transposed, same.transposed);
    }
}

/* The strides are those of the orders in which weights are said to lie. */
Test(convolution, weight_strides_are_those_of_the_documented_orders)
{
    for (size_t i = 0; i < COUNT(shapes); i++) {
        const struct window w = window_of(&shapes[i]);
        const struct convolution c = convolution_plan(w);
        const int icg = w.ic / w.g, filters = w.oc / (c.slices ? c.slices : w.g);
        size_t index = 0;
        for (int o = 0; o < w.oc; o++)
            for (int in = 0; in < icg; in++)
                for (int ki = 0; ki < w.kh; ki++)
                    for (int kj = 0; kj < w.kw; kj++, index++) {
                        const int slice = o / filters, out = o % filters;
                        int place = (((slice * w.kh + ki) * w.kw + kj) * icg + in) * filters + out;
                        if (c.lowering == LOWERING_DEPTHWISE)
                            place = (ki * w.kw + kj) * w.ic + slice;
                        else if (c.lowering == LOWERING_TAPS && c.by_rows)
                            place = c.y_layout == LAYOUT_NHWC
                                        ? ((ki * w.ic + in) * w.kw + kj) * w.oc + o
                                        : ((o * w.kh + ki) * w.ic + in) * w.kw + kj;
                        else if (c.lowering == LOWERING_TAPS)
                            place = c.y_layout == LAYOUT_NHWC
                                        ? ((in * w.kh + ki) * w.kw + kj) * w.oc + o
                                        : ((o * w.ic + in) * w.kh + ki) * w.kw + kj;
                        const size_t got = weight_place(&c, index);
                        if (got != (size_t)place)
                            cr_assert_fail("shape %zu, weight %zu at %zu", i, index, got);
                    }
    }
}

/* One element of a result, of one image without groups or dilation. */
typedef struct sum wanted_function(const struct problem *p, int index);

static struct sum wanted_y(const struct problem *p, int index)
{
    const struct window *w = &p->w;
    const int o = index / (w->oh * w->ow), taps = w->ic * w->kh * w->kw;
    struct sum sum = {0};
    for (int tap = 0; tap < taps; tap++) {
        const int iy = index / w->ow % w->oh * w->sh - w->pt + tap / w->kw % w->kh;
        const int ix = index % w->ow * w->sw - w->pl + tap % w->kw;
        const int c = tap / (w->kh * w->kw);
        if (iy >= 0 && iy < w->ih && ix >= 0 && ix < w->iw)
            sum_add(&sum, (double)p->weights[o * taps + tap] *
                              (double)p->x[(c * w->ih + iy) * w->iw + ix]);
    }
    return sum;
}

static struct sum wanted_dx(const struct problem *p, int index)
{
    const struct window *w = &p->w;
    const int c = index / (w->ih * w->iw), area = w->kh * w->kw;
    struct sum sum = {0};
    for (int o = 0; o < w->oc; o++)
        for (int tap = 0; tap < area; tap++) {
            const int y = index / w->iw % w->ih + w->pt - tap / w->kw;
            const int x = index % w->iw + w->pl - tap % w->kw;
            if (y >= 0 && x >= 0 && y % w->sh == 0 && x % w->sw == 0 && y / w->sh < w->oh &&
                x / w->sw < w->ow)
                sum_add(&sum, (double)p->weights[(o * w->ic + c) * area + tap] *
                                  (double)p->dy[(o * w->oh + y / w->sh) * w->ow + x / w->sw]);
        }
    return sum;
}

static struct sum wanted_dw(const struct problem *p, int index)
{
    const struct window *w = &p->w;
    const int area = w->kh * w->kw, o = index / area / w->ic, c = index / area % w->ic;
    struct sum sum = {0};
    for (int pixel = 0; pixel < w->oh * w->ow; pixel++) {
        const int iy = pixel / w->ow * w->sh - w->pt + index % area / w->kw;
        const int ix = pixel % w->ow * w->sw - w->pl + index % w->kw;
        if (iy >= 0 && iy < w->ih && ix >= 0 && ix < w->iw)
            sum_add(&sum, (double)p->x[(c * w->ih + iy) * w->iw + ix] *
                              (double)p->dy[o * w->oh * w->ow + pixel]);
    }
    return sum;
}

/* Some elements, the first and the last among them. */
static void compare_some(const char *what, const struct convolution *c, const struct kernels *k,
                         place_function *place, const float *got, const struct problem *p,
                         wanted_function *wanted, size_t n)
{
    const size_t step = n / 97 + 1;
    for (size_t i = 0; i < n + step - 1; i += step) {
        const size_t index = i < n ? i : n - 1;
        const struct sum want = wanted(p, (int)index);
        compare_one(what, c, k, got[place(c, index)], &want, NAN, index);
    }
}

static void check_layer(const struct convolution *c, const struct problem *p)
{
    struct arrays a = arrays_create(c, p);
    float *y = filled(p->y_size, NAN), *dx = filled(p->x_size, NAN), *dw = filled(p->w_size, NAN);
    if (c->transposed)
        a.transposed = filled(c->transposed, NAN);
    FOR_EACH_KERNELS(k)
    {
        if (c->transposed)
            convolution_transpose(c, k, a.weights, a.transposed);
        convolution_forward(c, k, 1, a.x, a.weights, y, a.scratch);
        convolution_backward(c, k, 1, a.x, a.weights, a.transposed, a.dy, false, dx, false,
                             c->weight_tiles ? NULL : dw, a.scratch);
        for (int tile = 0; tile < c->weight_tiles; tile++)
            convolution_backward_weights_tile(c, k, 1, tile, a.x, a.dy, dw, a.scratch);
        compare_some("y", c, k, y_place, y, p, wanted_y, p->y_size);
        compare_some("dx", c, k, x_place, dx, p, wanted_dx, p->x_size);
        compare_some("dw", c, k, weight_place, dw, p, wanted_dw, p->w_size);
    }
    guarded_free(y);
    guarded_free(dx);
    guarded_free(dw);
    if (a.transposed)
        guarded_free(a.transposed);
    arrays_destroy(&a);
}

/* As the engine plans them, on one image. */
Test(convolution, is_the_naive_sum_in_the_layers_of_the_five_models)
{
    for (size_t i = 0; i < layer_count; i++) {
        if (layers[i].kind != LAYER_CONV)
            continue;
        const struct convolution c = convolution_plan_for(layers[i].window, layers[i].layout);
        struct problem p = problem_create(layers[i].window, 1);
        check_layer(&c, &p);
        problem_destroy(&p);
    }
}

/* 5 + 1 + 3 + 0 + 1 = 10: the filter's ones lie on these numbers of the piece. */
Test(convolution, slides_convolution_3x3)
{
    static const float piece[9] = {5, 2, 1, 4, 3, 2, 0, 2, 1};
    static const float filter[9] = {1, 0, 1, 0, 1, 0, 1, 0, 1};
    static const struct shape one = {1, 1, 3, 3, 1, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 1};
    for (enum layout layout = LAYOUT_NHWC; layout <= LAYOUT_NCHW; layout++) {
        const struct convolution c = convolution_plan_for(window_of(&one), layout);
        float *weights = arranged(&c, weight_place, filter, 9);
        float *scratch = guarded_floats(c.scratch);
        FOR_EACH_KERNELS(k)
        {
            float y = NAN;
            convolution_forward(&c, k, 1, piece, weights, &y, scratch);
            cr_expect_eq(y, 10.0f, "%s: %g", k->isa, (double)y);
        }
        guarded_free(weights);
        guarded_free(scratch);
    }
}

/* Larger than PRODUCT_SMALL, so that they are cut; sides of 1, and one more than a multiple. */
Test(convolution, products_in_pieces_are_the_sums_of_products)
{
    static const struct {
        int m, n, k;
    } sizes[] = {{1024, 1001, 1}, {1, 201, 5003}, {1009, 1, 1000}, {129, 129, 65}, {301, 63, 259}};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const int m = sizes[i].m, n = sizes[i].n, k = sizes[i].k;
        float *a = guarded_floats((size_t)(m * k)), *b = guarded_floats((size_t)(k * n));
        float *c = filled((size_t)(m * n), NAN);
        fill_random(a, (size_t)(m * k), 1);
        fill_random(b, (size_t)(k * n), 2);
        product((struct product){m, n, k, {a, k, false}, {b, n, false}, false, c, n}, true);
        for (int row = 0; row < m; row++)
            for (int column = 0; column < n; column++) {
                struct sum want = {0};
                for (int term = 0; term < k; term++)
                    sum_add(&want, (double)a[row * k + term] * (double)b[term * n + column]);
                const double error = fabs((double)c[row * n + column] - want.value);
                if (!(error <= (k + 2) * EPSILON * want.size))
                    cr_assert_fail("%dx%dx%d, [%d, %d]: off by %g", m, n, k, row, column, error);
            }
        guarded_free(a);
        guarded_free(b);
        guarded_free(c);
    }
}
