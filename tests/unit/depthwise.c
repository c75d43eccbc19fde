/* Depthwise convolution against naive loops in double.
 *
 * Tolerance: a sum of `terms` products in float errs by at most terms * EPSILON of the sum of
 * their magnitudes; the weight gradient adds up in double after each 128 pixels and the rest of a
 * row, so there it is RUN terms. */
#include "tests/unit/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON 0x1p-24 /* of float, rounding to nearest */
#define RUN 200         /* 128 and a row of these tests */
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define FOR_EACH_KERNELS(k)                                                                        \
    for (const struct kernels *k = NULL, *tables[3], **at_ = tables,                               \
                              **end_ = tables + all_kernels(tables);                               \
         at_ < end_ && (k = *at_); at_++)

/* ih, iw, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr */
static const struct window shapes[] = {
    {.ih = 1, .iw = 1, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1},
    {.ih = 7,
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
    {.ih = 14,
     .iw = 13,
     .kh = 3,
     .kw = 3,
     .sh = 2,
     .sw = 2,
     .dh = 1,
     .dw = 1,
     .pt = 0,
     .pl = 0,
     .pb = 1,
     .pr = 1},
    {.ih = 9,
     .iw = 11,
     .kh = 7,
     .kw = 7,
     .sh = 1,
     .sw = 1,
     .dh = 1,
     .dw = 1,
     .pt = 3,
     .pl = 3,
     .pb = 3,
     .pr = 3},
    {.ih = 13,
     .iw = 10,
     .kh = 5,
     .kw = 4,
     .sh = 3,
     .sw = 2,
     .dh = 1,
     .dw = 1,
     .pt = 2,
     .pl = 0,
     .pb = 1,
     .pr = 3},
    {.ih = 12,
     .iw = 17,
     .kh = 3,
     .kw = 2,
     .sh = 1,
     .sw = 3,
     .dh = 2,
     .dw = 2,
     .pt = 1,
     .pl = 2,
     .pb = 0,
     .pr = 1},
    {.ih = 11,
     .iw = 12,
     .kh = 3,
     .kw = 3,
     .sh = 2,
     .sw = 2,
     .dh = 2,
     .dw = 2,
     .pt = 2,
     .pl = 1,
     .pb = 2,
     .pr = 3},
    {.ih = 17,
     .iw = 19,
     .kh = 4,
     .kw = 5,
     .sh = 2,
     .sw = 4,
     .dh = 3,
     .dw = 6,
     .pt = 5,
     .pl = 7,
     .pb = 4,
     .pr = 8},
    {.ih = 2,
     .iw = 3,
     .kh = 5,
     .kw = 9,
     .sh = 1,
     .sw = 1,
     .dh = 1,
     .dw = 1,
     .pt = 4,
     .pl = 8,
     .pb = 4,
     .pr = 8},
    {.ih = 5,
     .iw = 1,
     .kh = 1,
     .kw = 1,
     .sh = 3,
     .sw = 2,
     .dh = 1,
     .dw = 1,
     .pt = 2,
     .pl = 3,
     .pb = 4,
     .pr = 1},
    {.ih = 3,
     .iw = 40,
     .kh = 1,
     .kw = 6,
     .sh = 1,
     .sw = 1,
     .dh = 1,
     .dw = 1,
     .pt = 0,
     .pl = 2,
     .pb = 0,
     .pr = 3},
    {.ih = 14,
     .iw = 4,
     .kh = 10,
     .kw = 5,
     .sh = 1,
     .sw = 1,
     .dh = 1,
     .dw = 1,
     .pt = 2,
     .pl = 1,
     .pb = 4,
     .pr = 3},
};

/* A vector of each width, its neighbours, and more than one. */
static const int channel_counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 67};

static int outputs(int size, int before, int after, int kernel, int dilation, int stride)
{
    return (size + before + after - (kernel - 1) * dilation - 1) / stride + 1;
}

static struct window window_of(size_t shape, int channels)
{
    struct window w = shapes[shape];
    w.ic = w.oc = w.g = channels;
    w.oh = outputs(w.ih, w.pt, w.pb, w.kh, w.dh, w.sh);
    w.ow = outputs(w.iw, w.pl, w.pr, w.kw, w.dw, w.sw);
    return w;
}

struct problem {
    struct window w;
    int n;
    size_t x_size, y_size, w_size;
    float *x, *weights, *dy;
};

static struct problem problem_create(struct window w, int n)
{
    struct problem p = {.w = w, .n = n};
    p.x_size = (size_t)n * (size_t)(w.ih * w.iw * w.ic);
    p.y_size = (size_t)n * (size_t)(w.oh * w.ow * w.ic);
    p.w_size = (size_t)(w.kh * w.kw * w.ic);
    p.x = guarded_floats(p.x_size);
    p.dy = guarded_floats(p.y_size);
    p.weights = guarded_floats(p.w_size);
    fill_random(p.x, p.x_size, 1);
    fill_random(p.dy, p.y_size, 2);
    fill_random(p.weights, p.w_size, 3);
    return p;
}

static void problem_destroy(struct problem *p)
{
    guarded_free(p->x);
    guarded_free(p->dy);
    guarded_free(p->weights);
}

/* A sum in double, of the magnitudes of its terms, and how many they are. */
struct sum {
    double value, size;
    int terms;
};

static struct sum *sums_create(size_t n)
{
    struct sum *sums = calloc(n, sizeof *sums);
    cr_assert_not_null(sums);
    return sums;
}

static void sum_add(struct sum *sum, double term)
{
    sum->value += term;
    sum->size += fabs(term);
    sum->terms++;
}

/* Every product that a convolution is made of, each added to the y, dx and dw it belongs to. */
static void reference(const struct problem *p, struct sum *y, struct sum *dx, struct sum *dw)
{
    const struct window *w = &p->w;
    for (int i = 0; i < p->n; i++)
        for (int oy = 0; oy < w->oh; oy++)
            for (int ox = 0; ox < w->ow; ox++)
                for (int ki = 0; ki < w->kh; ki++)
                    for (int kj = 0; kj < w->kw; kj++) {
                        const int iy = oy * w->sh - w->pt + ki * w->dh;
                        const int ix = ox * w->sw - w->pl + kj * w->dw;
                        if (iy < 0 || iy >= w->ih || ix < 0 || ix >= w->iw)
                            continue;
                        for (int c = 0; c < w->ic; c++) {
                            const int from = ((i * w->ih + iy) * w->iw + ix) * w->ic + c;
                            const int to = ((i * w->oh + oy) * w->ow + ox) * w->ic + c;
                            const int tap = (ki * w->kw + kj) * w->ic + c;
                            const double input = (double)p->x[from];
                            const double weight = (double)p->weights[tap];
                            const double gradient = (double)p->dy[to];
                            sum_add(&y[to], input * weight);
                            sum_add(&dx[from], gradient * weight);
                            sum_add(&dw[tap], gradient * input);
                        }
                    }
}

/* `before` NULL: the result replaces what was there. */
static void compare(const char *what, const struct kernels *k, const struct problem *p,
                    const float *got, const struct sum *want, const float *before, size_t n,
                    int terms_limit)
{
    for (size_t i = 0; i < n; i++) {
        const double old = before ? (double)before[i] : 0;
        const double value = want[i].value + old;
        const int terms = want[i].terms < terms_limit ? want[i].terms : terms_limit;
        const double bound = (terms + 2) * EPSILON * (want[i].size + fabs(old));
        if (!(fabs((double)got[i] - value) <= bound))
            cr_assert(
                false,
                "%s, %s, %d images, %dx%d kernel %dx%d, %d channels, [%zu]: %.9g instead of %.9g",
                what, k->isa, p->n, p->w.ih, p->w.iw, p->w.kh, p->w.kw, p->w.ic, i, (double)got[i],
                value);
    }
}

static float *random_floats(size_t n, uint32_t seed)
{
    float *x = guarded_floats(n);
    fill_random(x, n, seed);
    return x;
}

static void check(const struct kernels *k, const struct problem *p, const struct sum *y_want,
                  const struct sum *dx_want, const struct sum *dw_want)
{
    float *y = random_floats(p->y_size, 4);
    k->depthwise_forward(&p->w, p->n, p->x, p->weights, y);
    compare("y", k, p, y, y_want, NULL, p->y_size, INT32_MAX);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        float *dx = random_floats(p->x_size, 5), *before = random_floats(p->x_size, 5);
        k->depthwise_backward_data(&p->w, p->n, p->dy, p->weights, accumulate, dx);
        compare("dx", k, p, dx, dx_want, accumulate ? before : NULL, p->x_size, INT32_MAX);
        guarded_free(dx);
        guarded_free(before);
    }
    float *dw = random_floats(p->w_size, 6), *before = random_floats(p->w_size, 6);
    k->depthwise_backward_weights(&p->w, p->n, p->x, p->dy, dw);
    compare("dw", k, p, dw, dw_want, before, p->w_size, RUN);
    guarded_free(y);
    guarded_free(dw);
    guarded_free(before);
}

static void check_problem(const struct problem *p)
{
    struct sum *y = sums_create(p->y_size), *dx = sums_create(p->x_size);
    struct sum *dw = sums_create(p->w_size);
    reference(p, y, dx, dw);
    FOR_EACH_KERNELS(k)
    check(k, p, y, dx, dw);
    free(y);
    free(dx);
    free(dw);
}

Test(depthwise, is_a_convolution_of_each_channel_alone)
{
    for (size_t shape = 0; shape < COUNT(shapes); shape++)
        for (size_t c = 0; c < COUNT(channel_counts); c++) {
            struct problem p =
                problem_create(window_of(shape, channel_counts[c]), 1 + (int)((shape + c) % 3));
            check_problem(&p);
            problem_destroy(&p);
        }
}

/* The weight gradient's error does not grow with the image. Equal terms round to the same side,
 * sum after sum. */
Test(depthwise, weight_gradient_keeps_its_precision_over_many_pixels)
{
    for (int channels = 3; channels <= 17; channels += 14) {
        struct window w = window_of(1, channels);
        w.ih = w.oh = 150;
        w.iw = w.ow = 60;
        struct problem p = problem_create(w, 2);
        for (size_t i = 0; i < p.x_size; i++)
            p.x[i] = 1.1f;
        for (size_t i = 0; i < p.y_size; i++)
            p.dy[i] = 0.7f;
        check_problem(&p);
        problem_destroy(&p);
    }
}

/* Where arrays begin in memory is no part of the input. */
Test(depthwise, alignment_changes_no_bit)
{
    struct problem p = problem_create(window_of(3, 33), 2);
    FOR_EACH_KERNELS(k)
    {
        float *want = guarded_floats(p.w_size), *got = guarded_floats(p.w_size);
        float *x = guarded_floats(p.x_size + 16), *dy = guarded_floats(p.y_size + 16);
        k->depthwise_backward_weights(&p.w, p.n, p.x, p.dy, want);
        for (size_t shift = 1; shift < 16; shift++) {
            memcpy(x + shift, p.x, p.x_size * sizeof *x);
            memcpy(dy + 16 - shift, p.dy, p.y_size * sizeof *dy);
            memset(got, 0, p.w_size * sizeof *got);
            k->depthwise_backward_weights(&p.w, p.n, x + shift, dy + 16 - shift, got);
            cr_assert_eq(memcmp(got, want, p.w_size * sizeof *got), 0, "%s, shift %zu", k->isa,
                         shift);
        }
        guarded_free(want);
        guarded_free(got);
        guarded_free(x);
        guarded_free(dy);
    }
    problem_destroy(&p);
}
