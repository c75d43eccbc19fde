/* Activations against libm in double, their derivatives against finite differences. */
#include "tests/unit/support.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define EACH(index, array) (size_t index = 0; index < sizeof array / sizeof *array; index++)

static const enum layout layouts[] = {LAYOUT_NHWC, LAYOUT_NCHW};
static const float slope_or_alpha = 0.3f;

static double normal_distribution(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

static double reference(enum activation kind, double alpha, double x)
{
    switch (kind) {
    case ACTIVATION_RELU:
        return fmax(x, 0.0);
    case ACTIVATION_RELU6:
        return fmin(fmax(x, 0.0), 6.0);
    case ACTIVATION_LEAKY_RELU:
        return x > 0.0 ? x : alpha * x;
    case ACTIVATION_ELU:
        return x > 0.0 ? x : alpha * expm1(x);
    case ACTIVATION_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case ACTIVATION_TANH:
        return tanh(x);
    case ACTIVATION_GELU:
        return x * normal_distribution(x);
    case ACTIVATION_SILU:
        return x / (1.0 + exp(-x));
    case ACTIVATION_HARDSWISH:
        return x * fmin(fmax(x + 3.0, 0.0), 6.0) / 6.0;
    default:
        return x;
    }
}

/* Away from the kinks, which fill_inputs() sees to. */
static double derivative(enum activation kind, double alpha, double x)
{
    const double h = 1e-5;
    return (reference(kind, alpha, x + h) - reference(kind, alpha, x - h)) / (2.0 * h);
}

/* In [-8, 8), nowhere within 0.01 of 0, 6, -3 or 3, bias included. */
static void fill_inputs(struct extent extent, int n, const float *bias, float *x)
{
    static const double kinks[] = {0.0, 6.0, -3.0, 3.0};
    const size_t total = (size_t)n * (size_t)extent.c * (size_t)extent.hw;
    fill_random(x, total, 1);
    for (int image = 0; image < n; image++)
        for (int channel = 0; channel < extent.c; channel++)
            for (int pixel = 0; pixel < extent.hw; pixel++) {
                float *value = &x[at(extent.layout, extent, image, channel, pixel)];
                *value *= 8.0f;
                for
                    EACH(i, kinks)
                if (fabs((double)*value + (double)bias[channel] - kinks[i]) < 0.01)
                    *value += 0.05f;
            }
}

struct arrays {
    size_t total;
    float *bias, *x, *y, *dy, *dx, *sums;
    double *want, *want_sums;
};

static struct arrays arrays_of(struct extent extent, int n)
{
    const size_t c = (size_t)extent.c, total = (size_t)n * c * (size_t)extent.hw;
    struct arrays a = {.total = total,
                       .bias = guarded_floats(c),
                       .x = guarded_floats(total),
                       .y = guarded_floats(total),
                       .dy = guarded_floats(total),
                       .dx = guarded_floats(total),
                       .sums = guarded_floats(c),
                       .want = guarded_doubles(total),
                       .want_sums = guarded_doubles(c)};
    fill_random(a.bias, c, 2);
    fill_random(a.dy, total, 3);
    fill_random(a.dx, total, 4);
    fill_random(a.sums, c, 5);
    for (size_t i = 0; i < c; i++)
        a.want_sums[i] = (double)a.sums[i];
    return a;
}

static void release(struct arrays *a)
{
    guarded_free(a->bias);
    guarded_free(a->x);
    guarded_free(a->y);
    guarded_free(a->dy);
    guarded_free(a->dx);
    guarded_free(a->sums);
    guarded_free(a->want);
    guarded_free(a->want_sums);
}

static void check_forward(const struct kernels *k, enum activation kind, struct extent extent,
                          int n, bool biased, bool in_place)
{
    struct arrays a = arrays_of(extent, n);
    if (!biased)
        memset(a.bias, 0, (size_t)extent.c * sizeof *a.bias);
    fill_inputs(extent, n, a.bias, a.x);
    for (int image = 0; image < n; image++)
        for (int channel = 0; channel < extent.c; channel++)
            for (int pixel = 0; pixel < extent.hw; pixel++) {
                const size_t i = at(extent.layout, extent, image, channel, pixel);
                const float sum = a.x[i] + a.bias[channel]; /* rounded, as the kernel has it */
                a.want[i] = reference(kind, (double)slope_or_alpha, (double)sum);
            }
    float *y = in_place ? a.x : a.y;
    memset(a.y, 0xff, a.total * sizeof *a.y);
    k->activation_forward(kind, slope_or_alpha, extent, n, a.x, biased ? a.bias : NULL, y);
    /* Some ulp; more in gelu's tail, where half an ulp of x^2 / 2 <= 40 multiplies. */
    assert_close("forward", y, a.want, a.total, 1e-8, kind == ACTIVATION_GELU ? 3e-6 : 5e-7);
    release(&a);
}

static void check_backward(const struct kernels *k, enum activation kind, struct extent extent,
                           int n, bool biased, bool accumulate, bool in_place, bool summed)
{
    struct arrays a = arrays_of(extent, n);
    if (!biased)
        memset(a.bias, 0, (size_t)extent.c * sizeof *a.bias);
    fill_inputs(extent, n, a.bias, a.x);
    float *dx = in_place ? a.dy : a.dx;
    for (int image = 0; image < n; image++)
        for (int channel = 0; channel < extent.c; channel++)
            for (int pixel = 0; pixel < extent.hw; pixel++) {
                const size_t i = at(extent.layout, extent, image, channel, pixel);
                const double x = (double)(a.x[i] + a.bias[channel]);
                const double gradient =
                    (double)a.dy[i] * derivative(kind, (double)slope_or_alpha, x);
                a.want[i] = gradient + (accumulate ? (double)dx[i] : 0.0);
                a.want_sums[channel] += summed ? gradient : 0.0;
            }
    const float *bias = biased ? a.bias : NULL;
    if (!activation_needs_input(kind)) {
        k->activation_forward(kind, slope_or_alpha, extent, n, a.x, bias, a.y);
        bias = NULL;
    }
    if (!in_place && !accumulate)
        memset(a.dx, 0xff, a.total * sizeof *a.dx);
    k->activation_backward(kind, slope_or_alpha, extent, n,
                           activation_needs_input(kind) ? a.x : a.y, bias, a.dy, accumulate, dx,
                           summed ? a.sums : NULL);
    /* The difference is good to 1e-9; 1 - y^2 and the like cancel to some 1e-7 of 1. */
    const double tolerance = 1e-6;
    assert_close("dx", dx, a.want, a.total, tolerance, 0.0);
    assert_close("dbias", a.sums, a.want_sums, (size_t)extent.c,
                 tolerance * (1.0 + (double)(n * extent.hw)) / 2.0, 1e-6);
    release(&a);
}

/* Around vector widths and the 512 floats that a segment has. */
static const struct {
    int c, hw, n;
} shapes[] = {{1, 1, 1},   {1, 7, 3},   {2, 3, 1},   {3, 16, 3},  {5, 49, 2},
              {6, 33, 2},  {16, 17, 3}, {17, 9, 1},  {33, 1, 2},  {64, 25, 1},
              {2, 515, 2}, {511, 2, 2}, {512, 3, 1}, {513, 1, 3}, {1030, 2, 1}};

Test(activation, forward_is_the_formula_for_every_kind_layout_and_bias)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for (int kind = 0; kind < ACTIVATION_COUNT; kind++)
            for
                EACH(s, shapes)
    for (int mode = 0; mode < 8; mode++)
        check_forward(tables[t], (enum activation)kind,
                      (struct extent){shapes[s].c, shapes[s].hw, layouts[mode & 1]}, shapes[s].n,
                      mode & 2, mode & 4);
}

Test(activation, backward_is_the_slope_of_the_forward_and_sums_for_the_bias)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for (int kind = 0; kind < ACTIVATION_COUNT; kind++)
            for
                EACH(s, shapes)
    for (int mode = 0; mode < 32; mode++)
        check_backward(tables[t], (enum activation)kind,
                       (struct extent){shapes[s].c, shapes[s].hw, layouts[mode & 1]}, shapes[s].n,
                       mode & 2, mode & 4, mode & 8, mode & 16);
}

/* f at one place, by the kernel. */
static float value_of(const struct kernels *k, enum activation kind, float x)
{
    float y = 0.0f;
    k->activation_forward(kind, slope_or_alpha, (struct extent){1, 1, LAYOUT_NHWC}, 1, &x, NULL,
                          &y);
    return y;
}

Test(activation, is_accurate_to_some_ulp_from_tiny_to_huge)
{
    static const enum activation kinds[] = {ACTIVATION_ELU, ACTIVATION_SIGMOID, ACTIVATION_TANH,
                                            ACTIVATION_SILU, ACTIVATION_GELU};
    enum { POINTS = 8001 };
    float *x = guarded_floats(POINTS), *y = guarded_floats(POINTS);
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(k, kinds)
            {
                for (int i = 0; i < POINTS; i++) /* 1e-20 to 1e20, both signs */
                    x[i] = (i % 2 ? 1.0f : -1.0f) * powf(10.0f, (float)(i - POINTS / 2) / 200.0f);
                tables[t]->activation_forward(kinds[k], slope_or_alpha,
                                              (struct extent){1, POINTS, LAYOUT_NCHW}, 1, x, NULL,
                                              y);
                for (int i = 0; i < POINTS; i++) {
                    const double argument = (double)x[i];
                    const double want = reference(kinds[k], (double)slope_or_alpha, argument);
                    double ulps = kinds[k] == ACTIVATION_GELU ? 8.0 : 6.0; /* of 2^-24: halves */
                    if (kinds[k] == ACTIVATION_GELU && argument < 0.0)
                        ulps += argument * argument / 2.0; /* half an ulp of x^2 / 2, in a power */
                    cr_assert(fabs((double)y[i] - want) <=
                                  ulps * 0x1p-24 * fabs(want) +
                                      4.0 * (double)FLT_TRUE_MIN * fmax(1.0, fabs(argument)),
                              "%s, kind %d at %.9g: %.9g instead of %.9g", tables[t]->isa, kinds[k],
                              argument, (double)y[i], want);
                }
            }
    guarded_free(x);
    guarded_free(y);
}

Test(activation, takes_infinities_to_the_limits)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++) {
        const struct kernels *k = tables[t];
        cr_expect_eq(value_of(k, ACTIVATION_RELU, INFINITY), INFINITY);
        cr_expect_eq(value_of(k, ACTIVATION_RELU, -INFINITY), 0.0f);
        cr_expect_eq(value_of(k, ACTIVATION_RELU6, INFINITY), 6.0f);
        cr_expect_eq(value_of(k, ACTIVATION_LEAKY_RELU, -INFINITY), -INFINITY);
        cr_expect_eq(value_of(k, ACTIVATION_ELU, INFINITY), INFINITY);
        cr_expect_eq(value_of(k, ACTIVATION_ELU, -INFINITY), -slope_or_alpha);
        cr_expect_eq(value_of(k, ACTIVATION_SIGMOID, INFINITY), 1.0f);
        cr_expect_eq(value_of(k, ACTIVATION_SIGMOID, -INFINITY), 0.0f);
        cr_expect_eq(value_of(k, ACTIVATION_TANH, INFINITY), 1.0f);
        cr_expect_eq(value_of(k, ACTIVATION_TANH, -INFINITY), -1.0f);
        cr_expect_eq(value_of(k, ACTIVATION_GELU, INFINITY), INFINITY);
        cr_expect_eq(value_of(k, ACTIVATION_SILU, INFINITY), INFINITY);
        cr_expect_eq(value_of(k, ACTIVATION_HARDSWISH, INFINITY), INFINITY);
    }
}

Test(activation, passes_nan_through_every_kind)
{
    enum { COUNT = 37 };
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for (int kind = 0; kind < ACTIVATION_COUNT; kind++) {
            float x[COUNT] = {0.0f}, y[COUNT];
            x[5] = x[36] = NAN;
            tables[t]->activation_forward((enum activation)kind, 0.1f,
                                          (struct extent){1, COUNT, LAYOUT_NHWC}, 1, x, NULL, y);
            for (int i = 0; i < COUNT; i++)
                cr_expect_eq(isnan(y[i]) != 0, i == 5 || i == 36, "kind %d, element %d", kind, i);
        }
}

Test(activation, has_no_slope_at_the_kinks_of_relu)
{
    const struct extent extent = {1, 3, LAYOUT_NHWC};
    const float y[] = {0.0f, 6.0f, 3.0f}, dy[] = {1.0f, 1.0f, 1.0f};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++) {
        float dx[3];
        tables[t]->activation_backward(ACTIVATION_RELU, 0.0f, extent, 1, y, NULL, dy, false, dx,
                                       NULL);
        cr_expect(dx[0] == 0.0f && dx[1] == 1.0f && dx[2] == 1.0f);
        tables[t]->activation_backward(ACTIVATION_RELU6, 0.0f, extent, 1, y, NULL, dy, false, dx,
                                       NULL);
        cr_expect(dx[0] == 0.0f && dx[1] == 0.0f && dx[2] == 1.0f);
    }
}

Test(activation, sums_for_the_bias_as_well_over_many_pixels_as_over_few)
{
    enum { CHANNELS = 3, PIXELS = 4000000 };
    const struct kernels *tables[3];
    float *dy = guarded_floats((size_t)CHANNELS * PIXELS);
    for (size_t i = 0; i < (size_t)CHANNELS * PIXELS; i++)
        dy[i] = 0.1f; /* a running float sum of all is off by 1e-5 and more */
    /* Floats added one to the next at the most: segments of a block, or elements of a segment. */
    static const double terms[] = {[LAYOUT_NHWC] = 32, [LAYOUT_NCHW] = 512};
    const double want = 0.1 * PIXELS;
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(l, layouts)
            {
                float sums[CHANNELS] = {0.0f};
                tables[t]->activation_backward(ACTIVATION_NONE, 0.0f,
                                               (struct extent){CHANNELS, PIXELS, layouts[l]}, 1, dy,
                                               NULL, dy, false, dy, sums);
                for (int i = 0; i < CHANNELS; i++)
                    cr_expect(fabs((double)sums[i] - want) <=
                                  (terms[layouts[l]] + 4.0) * 0x1p-25 * want,
                              "%.9g instead of %g", (double)sums[i], want);
            }
    guarded_free(dy);
}

/* ---- softmax ---- */

static void check_softmax(const struct kernels *k, struct extent extent, int n, bool in_place,
                          bool accumulate, float scale)
{
    struct arrays a = arrays_of(extent, n);
    fill_random(a.x, a.total, 6);
    for (size_t i = 0; i < a.total; i++)
        a.x[i] *= scale;
    double *want_dx = guarded_doubles(a.total);
    for (int image = 0; image < n; image++)
        for (int pixel = 0; pixel < extent.hw; pixel++) {
            double largest = -INFINITY, sum = 0.0, dot = 0.0;
            for (int c = 0; c < extent.c; c++)
                largest = fmax(largest, (double)a.x[at(extent.layout, extent, image, c, pixel)]);
            for (int c = 0; c < extent.c; c++)
                sum += exp((double)a.x[at(extent.layout, extent, image, c, pixel)] - largest);
            for (int c = 0; c < extent.c; c++) {
                const size_t i = at(extent.layout, extent, image, c, pixel);
                a.want[i] = exp((double)a.x[i] - largest) / sum;
                dot += a.want[i] * (double)a.dy[i];
            }
            for (int c = 0; c < extent.c; c++) {
                const size_t i = at(extent.layout, extent, image, c, pixel);
                want_dx[i] =
                    a.want[i] * ((double)a.dy[i] - dot) + (accumulate ? (double)a.dx[i] : 0.0);
            }
        }
    float *y = in_place ? a.x : a.y;
    if (!accumulate)
        memset(a.dx, 0xff, a.total * sizeof *a.dx);
    k->softmax_forward(extent, n, a.x, y);
    k->softmax_backward(extent, n, y, a.dy, accumulate, a.dx);
    /* An argument up to 2 * scale is rounded before the power; a sum of c terms in float. */
    const double relative = 1e-6 + (double)(2.0f * scale) * 0x1p-24 + extent.c * 1e-9;
    assert_close("softmax", y, a.want, a.total, 1e-30, relative);
    assert_close("softmax dx", a.dx, want_dx, a.total, 2e-6 + 2.0 * relative, 0.0);
    guarded_free(want_dx);
    release(&a);
}

Test(activation, softmax_is_the_formula_however_large_its_input)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(s, shapes)
    for (int mode = 0; mode < 16; mode++)
        check_softmax(tables[t], (struct extent){shapes[s].c, shapes[s].hw, layouts[mode & 1]},
                      shapes[s].n, mode & 2, mode & 4, mode & 8 ? 1000.0f : 3.0f);
}

Test(activation, softmax_of_few_channels_at_the_edges_of_vectors_and_of_blocks)
{
    static const int channels[] = {1, 7, 15, 16, 17, 64, 65}, pixels[] = {1, 15, 16, 17, 150};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(c, channels)
    for
        EACH(p, pixels)
    for (int mode = 0; mode < 8; mode++)
        check_softmax(tables[t], (struct extent){channels[c], pixels[p], layouts[mode & 1]}, 2,
                      mode & 2, mode & 4, 3.0f);
}

/* Images may be taken together or one by one. */
Test(activation, softmax_of_a_pixel_does_not_depend_on_where_it_stands)
{
    enum { CHANNELS = 10, PIXELS = 450 };
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++) {
        const struct extent extent = {CHANNELS, PIXELS, LAYOUT_NHWC};
        struct arrays a = arrays_of(extent, 1);
        fill_random(a.x, CHANNELS, 8);
        for (size_t i = CHANNELS; i < a.total; i++) {
            a.x[i] = a.x[i - CHANNELS];
            a.dy[i] = a.dy[i - CHANNELS];
        }
        tables[t]->softmax_forward(extent, 1, a.x, a.y);
        tables[t]->softmax_backward(extent, 1, a.y, a.dy, false, a.dx);
        for (size_t i = CHANNELS; i < a.total; i++)
            cr_assert(a.y[i] == a.y[i - CHANNELS] && a.dx[i] == a.dx[i - CHANNELS], "%s, pixel %zu",
                      tables[t]->isa, i / CHANNELS);
        release(&a);
    }
}

/* ---- prelu ---- */

static void check_prelu(const struct kernels *k, struct extent extent, int n, bool shared,
                        bool accumulate)
{
    struct arrays a = arrays_of(extent, n);
    double *want_dx = guarded_doubles(a.total);
    float *slope = a.bias;
    fill_random(a.x, a.total, 7);
    for (int image = 0; image < n; image++)
        for (int channel = 0; channel < extent.c; channel++)
            for (int pixel = 0; pixel < extent.hw; pixel++) {
                const size_t i = at(extent.layout, extent, image, channel, pixel);
                const int which = shared ? 0 : channel;
                const double x = (double)a.x[i], dy = (double)a.dy[i];
                const double factor = x > 0.0 ? 1.0 : (double)slope[which];
                a.want[i] = factor * x;
                want_dx[i] = factor * dy + (accumulate ? (double)a.dx[i] : 0.0);
                a.want_sums[which] += x > 0.0 ? 0.0 : dy * x;
            }
    if (!accumulate)
        memset(a.dx, 0xff, a.total * sizeof *a.dx);
    k->prelu_forward(extent, n, shared, slope, a.x, a.y);
    k->prelu_backward(extent, n, shared, slope, a.x, a.dy, accumulate, a.dx, a.sums);
    assert_close("prelu", a.y, a.want, a.total, 0.0, 2e-7);
    assert_close("prelu dx", a.dx, want_dx, a.total, 3e-7, 0.0);
    /* Products below 1, each good to 2^-24, in blocks of some dozens. */
    assert_close("dslope", a.sums, a.want_sums, shared ? 1 : (size_t)extent.c, 1e-6,
                 1e-6 * (1.0 + 0.01 * (double)a.total));
    guarded_free(want_dx);
    release(&a);
}

Test(activation, prelu_has_a_slope_a_channel_or_one_for_all)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(s, shapes)
    for (int mode = 0; mode < 8; mode++)
        check_prelu(tables[t], (struct extent){shapes[s].c, shapes[s].hw, layouts[mode & 1]},
                    shapes[s].n, mode & 2, mode & 4);
}
