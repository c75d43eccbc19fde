/* Pooling against loops over windows, in double. */
#include "tests/unit/layers.h"
#include "tests/unit/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EACH(index, array) (size_t index = 0; index < sizeof array / sizeof *array; index++)

static const enum layout layouts[] = {LAYOUT_NHWC, LAYOUT_NCHW};

/* ---- worked examples ---- */

static const float example[] = {12, 20, 30, 0, 8, 12, 2, 0, 34, 70, 37, 4, 112, 100, 25, 12};
static const struct window example_window = {.ic = 1,
                                             .ih = 4,
                                             .iw = 4,
                                             .oc = 1,
                                             .oh = 2,
                                             .ow = 2,
                                             .kh = 2,
                                             .kw = 2,
                                             .sh = 2,
                                             .sw = 2,
                                             .dh = 1,
                                             .dw = 1,
                                             .g = 1};

Test(pooling, slides_max_pooling_2x2)
{
    static const float want[] = {20, 30, 112, 37};
    static const uint16_t places[] = {1, 0, 2, 0};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(l, layouts)
            {
                float y[4];
                uint16_t argmax[4];
                tables[t]->maxpool_forward(&example_window, layouts[l], 1, example, y, argmax);
                cr_expect_arr_eq(y, want, sizeof want);
                cr_expect_arr_eq(argmax, places, sizeof places);
            }
}

Test(pooling, slides_average_pooling_2x2)
{
    static const float want[] = {13, 8, 79, 19.5f};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(l, layouts)
            {
                float y[4];
                tables[t]->avgpool_forward(&example_window, layouts[l], false, 1, example, y);
                cr_expect_arr_eq(y, want, sizeof want);
            }
}

/* ---- references ---- */

static size_t place(enum layout layout, int c, int h, int w, int image, int channel, int y, int x)
{
    return at(layout, (struct extent){c, h * w, layout}, image, channel, y * w + x);
}

/* Where tap (ki, kj) of window (oy, ox) lies; false: in the padding or beyond. */
static bool tap(const struct window *w, int oy, int ox, int ki, int kj, int *iy, int *ix)
{
    *iy = oy * w->sh - w->pt + ki * w->dh;
    *ix = ox * w->sw - w->pl + kj * w->dw;
    return *iy >= 0 && *iy < w->ih && *ix >= 0 && *ix < w->iw;
}

/* Elements that a mean is taken of: in the input, or also in its padding. */
static int divisor(const struct window *w, bool include_pad, int oy, int ox)
{
    int count = 0, iy, ix;
    for (int ki = 0; ki < w->kh; ki++)
        for (int kj = 0; kj < w->kw; kj++) {
            const bool inside = tap(w, oy, ox, ki, kj, &iy, &ix);
            count += include_pad ? iy < w->ih + w->pb && ix < w->iw + w->pr : inside;
        }
    return count;
}

enum mode { MAXIMUM, MEAN, MEAN_WITH_PADDING };

/* One output, and the tap of its maximum. */
static double reference(const struct window *w, enum layout layout, enum mode mode, int image,
                        int channel, int oy, int ox, const float *x, int *argmax)
{
    double best = -INFINITY, sum = 0.0;
    int iy, ix;
    *argmax = -1;
    for (int ki = 0; ki < w->kh; ki++)
        for (int kj = 0; kj < w->kw; kj++) {
            if (!tap(w, oy, ox, ki, kj, &iy, &ix))
                continue;
            const double value =
                (double)x[place(layout, w->ic, w->ih, w->iw, image, channel, iy, ix)];
            sum += value;
            if (*argmax < 0 || value > best || isnan(value)) {
                best = value;
                *argmax = ki * w->kw + kj;
            }
        }
    return mode == MAXIMUM ? best : sum / divisor(w, mode == MEAN_WITH_PADDING, oy, ox);
}

struct arrays {
    size_t in, out;
    float *x, *y, *dy, *dx;
    uint16_t *argmax;
    double *want_y, *want_dx;
    int *want_argmax;
};

static struct arrays arrays_of(const struct window *w, int n)
{
    const size_t in = (size_t)(n * w->ic * w->ih * w->iw),
                 out = (size_t)(n * w->oc * w->oh * w->ow);
    struct arrays a = {in,
                       out,
                       guarded_floats(in),
                       guarded_floats(out),
                       guarded_floats(out),
                       guarded_floats(in),
                       guarded_shorts(out),
                       guarded_doubles(out),
                       guarded_doubles(in),
                       malloc(out * sizeof *a.want_argmax)};
    fill_random(a.x, in, 1);
    for (size_t i = 0; i < in; i++)
        a.x[i] = floorf(4.0f * a.x[i]) - 5.0f; /* ties, and below any padding's zero */
    fill_random(a.dy, out, 2);
    fill_random(a.dx, in, 3);
    return a;
}

static void release(struct arrays *a)
{
    guarded_free(a->x);
    guarded_free(a->y);
    guarded_free(a->dy);
    guarded_free(a->dx);
    guarded_free(a->argmax);
    guarded_free(a->want_y);
    guarded_free(a->want_dx);
    free(a->want_argmax);
}

static void refer(const struct window *w, enum layout layout, enum mode mode, int n,
                  struct arrays *a)
{
    int iy, ix;
    for (int i = 0; i < n * w->oc * w->oh * w->ow; i++) {
        const int ox = i % w->ow, oy = i / w->ow % w->oh, channel = i / w->ow / w->oh % w->oc;
        const int image = i / w->ow / w->oh / w->oc;
        const size_t o = place(layout, w->oc, w->oh, w->ow, image, channel, oy, ox);
        a->want_y[o] = reference(w, layout, mode, image, channel, oy, ox, a->x, &a->want_argmax[o]);
        for (int k = 0; k < w->kh * w->kw; k++) {
            if (!tap(w, oy, ox, k / w->kw, k % w->kw, &iy, &ix))
                continue;
            const double gradient =
                mode == MAXIMUM ? (double)a->dy[o] * (k == a->want_argmax[o])
                                : (double)a->dy[o] / divisor(w, mode == MEAN_WITH_PADDING, oy, ox);
            a->want_dx[place(layout, w->ic, w->ih, w->iw, image, channel, iy, ix)] += gradient;
        }
    }
}

static void check(const struct kernels *k, const struct window *w, enum layout layout,
                  enum mode mode, int n, bool accumulate)
{
    struct arrays a = arrays_of(w, n);
    for (size_t i = 0; i < a.in; i++)
        a.want_dx[i] = accumulate ? (double)a.dx[i] : 0.0;
    refer(w, layout, mode, n, &a);
    memset(a.y, 0xff, a.out * sizeof *a.y);
    memset(a.argmax, 0xff, a.out * sizeof *a.argmax);
    if (!accumulate)
        memset(a.dx, 0xff, a.in * sizeof *a.dx);
    char name[128];
    snprintf(name, sizeof name, "%s: mode %d layout %d n %d c %d, %dx%d kernel %dx%d stride %dx%d",
             k->isa, mode, layout, n, w->ic, w->ih, w->iw, w->kh, w->kw, w->sh, w->sw);
    if (mode == MAXIMUM) {
        k->maxpool_forward(w, layout, n, a.x, a.y, a.argmax);
        for (size_t i = 0; i < a.out; i++)
            cr_assert_eq(a.argmax[i], a.want_argmax[i], "%s: argmax[%zu] %d instead of %d", name, i,
                         a.argmax[i], a.want_argmax[i]);
        k->maxpool_backward(w, layout, n, a.dy, a.argmax, accumulate, a.dx);
    } else {
        k->avgpool_forward(w, layout, mode == MEAN_WITH_PADDING, n, a.x, a.y);
        k->avgpool_backward(w, layout, mode == MEAN_WITH_PADDING, n, a.dy, accumulate, a.dx);
    }
    /* A maximum is a copy. Sums: of at most kh * kw values, each partial sum rounded, which is of
     * some ones or of the size of the whole. */
    const double rounding = (w->kh * w->kw + 2) * 0x1p-24;
    assert_close(name, a.y, a.want_y, a.out, 0.0, mode == MAXIMUM ? 0.0 : rounding);
    assert_close(name, a.dx, a.want_dx, a.in, rounding, rounding);
    if (mode == MAXIMUM) {
        memset(a.y, 0xff, a.out * sizeof *a.y);
        k->maxpool_forward(w, layout, n, a.x, a.y, NULL);
        assert_close("without argmax", a.y, a.want_y, a.out, 0.0, 0.0);
    }
    release(&a);
}

/* Outputs along one axis; with `ceil` the last window may hang over, if it begins before the
 * padding at the end. */
static int outputs(int size, int kernel, int stride, int dilation, int before, int after, bool ceil)
{
    const int room = size + before + after - (kernel - 1) * dilation - 1;
    if (room < 0)
        return 0;
    int count = room / stride + 1;
    if (ceil && room % stride != 0 && count * stride < size + before)
        count++;
    return count;
}

static void check_all(struct window w, bool ceil, int n)
{
    w.oc = w.ic;
    w.g = 1;
    w.oh = outputs(w.ih, w.kh, w.sh, w.dh, w.pt, w.pb, ceil);
    w.ow = outputs(w.iw, w.kw, w.sw, w.dw, w.pl, w.pr, ceil);
    if (w.oh == 0 || w.ow == 0)
        return;
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(l, layouts)
    for (int mode = MAXIMUM; mode <= MEAN_WITH_PADDING; mode++)
        for (int accumulate = 0; accumulate < 2; accumulate++)
            check(tables[t], &w, layouts[l], (enum mode)mode, n, accumulate);
}

/* ---- sweeps ---- */

static const int channels[] = {1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 33};

Test(pooling, takes_every_kernel_stride_and_padding)
{
    for (int kernel = 1; kernel <= 4; kernel++)
        for (int stride = 1; stride <= 3; stride++)
            for (int padding = 0; padding <= kernel / 2; padding++)
                for (int ceil = 0; ceil < 2; ceil++) {
                    const struct window w = {.ic = 5,
                                             .ih = 7,
                                             .iw = 10,
                                             .kh = kernel,
                                             .kw = kernel,
                                             .sh = stride,
                                             .sw = stride,
                                             .dh = 1,
                                             .dw = 1,
                                             .pt = padding,
                                             .pl = padding,
                                             .pb = padding,
                                             .pr = padding};
                    check_all(w, ceil, 2);
                }
}

Test(pooling, takes_every_number_of_channels)
{
    for
        EACH(c, channels)
    for (int kernel = 2; kernel <= 3; kernel++) {
        const struct window w = {.ic = channels[c],
                                 .ih = 6,
                                 .iw = 5,
                                 .kh = kernel,
                                 .kw = kernel,
                                 .sh = 2,
                                 .sw = 2,
                                 .dh = 1,
                                 .dw = 1,
                                 .pt = kernel - 2,
                                 .pl = kernel - 2,
                                 .pb = kernel - 2,
                                 .pr = kernel - 2};
        check_all(w, false, 1 + (int)c % 3);
    }
}

Test(pooling, takes_every_row_length)
{
    for (int iw = 1; iw <= 70; iw += iw < 38 ? 1 : 5)
        for (int kernel = 2; kernel <= 3; kernel++)
            for (int variant = 0; variant < 4; variant++) {
                const int padding = variant % 2, stride = 1 + variant / 2;
                const struct window w = {.ic = 2,
                                         .ih = 5,
                                         .iw = iw,
                                         .kh = kernel,
                                         .kw = kernel,
                                         .sh = stride,
                                         .sw = stride,
                                         .dh = 1,
                                         .dw = 1,
                                         .pt = padding,
                                         .pl = padding,
                                         .pb = padding,
                                         .pr = padding};
                check_all(w, iw & 1, 1);
            }
}

Test(pooling, takes_windows_that_differ_by_axis)
{
    static const struct window windows[] = {
        {.ic = 3, .ih = 9, .iw = 8, .kh = 3, .kw = 2, .sh = 1, .sw = 2, .dh = 1, .dw = 1, .pr = 1},
        {.ic = 5, .ih = 8, .iw = 9, .kh = 2, .kw = 3, .sh = 2, .sw = 1, .dh = 1, .dw = 1, .pt = 1},
        {.ic = 4, .ih = 11, .iw = 7, .kh = 1, .kw = 5, .sh = 3, .sw = 2, .dh = 1, .dw = 1, .pl = 2},
        {.ic = 16,
         .ih = 7,
         .iw = 19,
         .kh = 3,
         .kw = 3,
         .sh = 2,
         .sw = 2,
         .dh = 1,
         .dw = 1,
         .pb = 1,
         .pr = 1},
        {.ic = 17,
         .ih = 8,
         .iw = 8,
         .kh = 3,
         .kw = 3,
         .sh = 2,
         .sw = 2,
         .dh = 1,
         .dw = 1,
         .pt = 1,
         .pl = 1},
        {.ic = 6,
         .ih = 9,
         .iw = 9,
         .kh = 2,
         .kw = 2,
         .sh = 2,
         .sw = 2,
         .dh = 1,
         .dw = 1,
         .pt = 1,
         .pr = 1},
        {.ic = 5, .ih = 5, .iw = 6, .kh = 5, .kw = 6, .sh = 5, .sw = 6, .dh = 1, .dw = 1},
    };
    for
        EACH(i, windows)
    for (int ceil = 0; ceil < 2; ceil++)
        check_all(windows[i], ceil, 3);
}

Test(pooling, takes_dilated_windows)
{
    for (int stride = 1; stride <= 3; stride++)
        for (int dilation = 2; dilation <= 3; dilation++) {
            const struct window w = {.ic = 5,
                                     .ih = 11,
                                     .iw = 13,
                                     .kh = 3,
                                     .kw = 2,
                                     .sh = stride,
                                     .sw = stride,
                                     .dh = dilation,
                                     .dw = dilation,
                                     .pt = 1,
                                     .pl = 1,
                                     .pb = 1,
                                     .pr = 1};
            check_all(w, false, 1);
        }
    /* Rows taken together: their windows lie inside of the image's width. */
    static const struct window wide[] = {
        {.ic = 5, .ih = 11, .iw = 12, .kh = 3, .kw = 2, .sh = 2, .sw = 1, .dh = 2, .dw = 3},
        {.ic = 3, .ih = 13, .iw = 14, .kh = 2, .kw = 2, .sh = 2, .sw = 2, .dh = 3, .dw = 2},
        {.ic = 5,
         .ih = 11,
         .iw = 12,
         .kh = 3,
         .kw = 2,
         .sh = 2,
         .sw = 1,
         .dh = 2,
         .dw = 3,
         .pt = 1},
        {.ic = 5, .ih = 9, .iw = 12, .kh = 3, .kw = 2, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .pb = 2},
    };
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        check_all(wide[i], false, 2);
}

/* ---- special values ---- */

static const struct window square_window = {.ic = 17,
                                            .ih = 9,
                                            .iw = 40,
                                            .oc = 17,
                                            .kh = 3,
                                            .kw = 3,
                                            .sh = 2,
                                            .sw = 2,
                                            .dh = 1,
                                            .dw = 1,
                                            .pt = 1,
                                            .pl = 1,
                                            .pb = 1,
                                            .pr = 1,
                                            .oh = 5,
                                            .ow = 20,
                                            .g = 1};

/* What is not a number is compared by bits of meaning: NaN with NaN, else equal. */
static void check_special(const struct kernels *k, enum layout layout, float special)
{
    struct arrays a = arrays_of(&square_window, 1);
    for (size_t i = 0; i < a.in; i += isnan(special) ? 29 : 1)
        a.x[i] = special;
    refer(&square_window, layout, MAXIMUM, 1, &a);
    k->maxpool_forward(&square_window, layout, 1, a.x, a.y, a.argmax);
    for (size_t i = 0; i < a.out; i++) {
        cr_assert(isnan(a.want_y[i]) ? isnan(a.y[i]) : (double)a.y[i] == a.want_y[i]);
        cr_assert_eq(a.argmax[i], a.want_argmax[i], "%zu: %d instead of %d", i, a.argmax[i],
                     a.want_argmax[i]);
    }
    release(&a);
}

Test(pooling, takes_the_layers_of_the_five_models)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for (size_t i = 0; i < layer_count; i++) {
            const struct layer *layer = &layers[i];
            if (layer->kind == LAYER_MAXPOOL || layer->kind == LAYER_GLOBALAVGPOOL)
                check(tables[t], &layer->window, layer->layout,
                      layer->kind == LAYER_MAXPOOL ? MAXIMUM : MEAN_WITH_PADDING, 1, false);
        }
}

Test(pooling, nan_is_a_maximum_and_minus_infinity_is_one_too_where_nothing_is_greater)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(l, layouts)
            {
                check_special(tables[t], layouts[l], NAN);
                check_special(tables[t], layouts[l], -INFINITY);
            }
}

Test(pooling, global_average_is_the_mean_of_an_image)
{
    const struct window w = {.ic = 7,
                             .ih = 30,
                             .iw = 30,
                             .oc = 7,
                             .oh = 1,
                             .ow = 1,
                             .kh = 30,
                             .kw = 30,
                             .sh = 1,
                             .sw = 1,
                             .dh = 1,
                             .dw = 1,
                             .g = 1};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(l, layouts)
    check(tables[t], &w, layouts[l], MEAN, 2, false);
}
