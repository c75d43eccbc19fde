/* Normalisation against naive references in double.
 *
 * Tolerances: the kernels sum at most STEPS terms one after another in float before they go over
 * to double, so a sum errs by at most STEPS * EPSILON of the sum of its terms' magnitudes. */
#include "tests/unit/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON 0x1p-24 /* of float, rounding to nearest */
#define STEPS 280       /* a stripe of 256 rows and the arithmetic around it */

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* c and hw: single, primes, a vector and a block of 512 and their neighbours, several blocks. */
static const int channel_counts[] = {1,  2,  3,  7,   8,   15,  16,  17,
                                     31, 64, 67, 256, 257, 511, 512, 513};
static const int pixel_counts[] = {1, 2, 5, 16, 17, 49, 257, 511, 512, 513, 1291};

/* Walks all extents up to a size, in both layouts, with n = 1 .. 3 images; false at the end. */
struct sweep {
    size_t index;
    struct extent extent;
    int n;
    size_t size, elements; /* of one image, of all */
};

static bool next_shape(struct sweep *s, size_t limit)
{
    do {
        const size_t channels = COUNT(channel_counts), pixels = COUNT(pixel_counts);
        const size_t i = s->index++;
        if (i == channels * pixels * 2)
            return false;
        s->extent.c = channel_counts[i % channels];
        s->extent.hw = pixel_counts[i / channels % pixels];
        s->extent.layout = i / channels / pixels ? LAYOUT_NCHW : LAYOUT_NHWC;
        s->n = 1 + (int)(i % 3);
        s->size = (size_t)s->extent.c * (size_t)s->extent.hw;
        s->elements = s->size * (size_t)s->n;
    } while (s->elements > limit);
    return true;
}

enum { LIMIT = 60000 };

#define FOR_EACH_SHAPE(s, limit) for (struct sweep s = {0}; next_shape(&s, limit);)
#define FOR_EACH_KERNELS(k)                                                                        \
    for (const struct kernels *k = NULL, *tables[3], **at_ = tables,                               \
                              **end_ = tables + all_kernels(tables);                               \
         at_ < end_ && (k = *at_); at_++)

static float *random_floats(size_t n, uint32_t seed)
{
    float *x = guarded_floats(n);
    fill_random(x, n, seed);
    return x;
}

static double *zeros(size_t n)
{
    double *x = calloc(n, sizeof *x);
    cr_assert_not_null(x);
    return x;
}

static void assert_within(const char *what, const struct kernels *k, const struct sweep *s,
                          size_t index, double got, double want, double bound)
{
    if (!(fabs(got - want) <= bound))
        cr_assert(false, "%s, %s, n %d c %d hw %d %s, [%zu]: %.12g instead of %.12g (+- %.3g)",
                  what, k->isa, s->n, s->extent.c, s->extent.hw,
                  s->extent.layout == LAYOUT_NHWC ? "nhwc" : "nchw", index, got, want, bound);
}

static size_t place(const struct sweep *s, int image, int channel, int pixel)
{
    return at(s->extent.layout, s->extent, image, channel, pixel);
}

/* mean, m2 and mean |x - mean| of channel c. */
static void reference_moments(const struct sweep *s, const float *x, int c, double *mean,
                              double *m2, double *spread)
{
    const double count = (double)s->n * s->extent.hw;
    *mean = *m2 = *spread = 0;
    for (int i = 0; i < s->n; i++)
        for (int p = 0; p < s->extent.hw; p++)
            *mean += (double)x[place(s, i, c, p)] / count;
    for (int i = 0; i < s->n; i++)
        for (int p = 0; p < s->extent.hw; p++) {
            const double d = (double)x[place(s, i, c, p)] - *mean;
            *m2 += d * d;
            *spread += fabs(d) / count;
        }
}

static void check_moments(const struct kernels *k, const struct sweep *s, float offset)
{
    const size_t c = (size_t)s->extent.c;
    float *x = random_floats(s->elements, 1);
    double *mean = guarded_doubles(c), *m2 = guarded_doubles(c);
    for (size_t i = 0; i < s->elements; i++)
        x[i] += offset;
    k->moments(s->extent, s->n, x, mean, m2);
    for (size_t j = 0; j < c; j++) {
        double want_mean, want_m2, spread;
        reference_moments(s, x, (int)j, &want_mean, &want_m2, &spread);
        const double rounded = EPSILON * fabs(want_mean); /* the mean subtracted, in float */
        assert_within("mean", k, s, j, mean[j], want_mean,
                      STEPS * EPSILON * (spread + rounded) + 1e-14 * fabs(want_mean));
        assert_within("m2", k, s, j, m2[j], want_m2,
                      2 * STEPS * EPSILON * (want_m2 + s->n * s->extent.hw * rounded * rounded));
    }
    guarded_free(x);
    guarded_free(mean);
    guarded_free(m2);
}

Test(normalization, moments_are_those_of_each_channel)
{
    FOR_EACH_KERNELS(k)
    FOR_EACH_SHAPE(s, LIMIT)
    check_moments(k, &s, 0);
}

/* A one-pass formula, or a mean rounded to float, loses all digits of m2 here. */
Test(normalization, moments_keep_their_precision_far_from_zero)
{
    FOR_EACH_KERNELS(k)
    FOR_EACH_SHAPE(s, LIMIT / 4)
    check_moments(k, &s, 10000);
}

static struct sweep long_shape(int c, enum layout layout)
{
    const size_t pixels = 100003, size = (size_t)c * pixels;
    return (struct sweep){
        .extent = {c, (int)pixels, layout}, .n = 2, .size = size, .elements = 2 * size};
}

/* The tolerance does not grow with the rows. */
Test(normalization, moments_keep_their_precision_over_many_rows)
{
    FOR_EACH_KERNELS(k)
    for (int c = 1; c <= 3; c++) {
        const struct sweep rows = long_shape(c, LAYOUT_NHWC), planes = long_shape(c, LAYOUT_NCHW);
        check_moments(k, &rows, 3);
        check_moments(k, &planes, 3);
    }
}

Test(normalization, moments_of_a_constant_channel_have_no_spread)
{
    FOR_EACH_KERNELS(k)
    FOR_EACH_SHAPE(s, LIMIT / 4)
    {
        const size_t c = (size_t)s.extent.c;
        float *x = guarded_floats(s.elements);
        double *mean = guarded_doubles(c), *m2 = guarded_doubles(c);
        for (size_t i = 0; i < s.elements; i++)
            x[i] = 0.1f;
        k->moments(s.extent, s.n, x, mean, m2);
        for (size_t j = 0; j < c; j++) {
            assert_within("mean", k, &s, j, mean[j], (double)0.1f, 1e-12);
            assert_within("variance", k, &s, j, m2[j] / (s.n * s.extent.hw), 0, 1e-18);
        }
        guarded_free(x);
        guarded_free(mean);
        guarded_free(m2);
    }
}

/* Bit for bit the moments of the whole, where the parts' are exact; parts may be empty. */
Test(normalization, moments_combine_gives_those_of_the_whole)
{
    static const size_t cuts[] = {0, 0, 1, 1, 14, 100, 100, 357};
    enum { PARTS = COUNT(cuts) - 1, ROWS = 357, CHANNELS = 19 };
    FOR_EACH_KERNELS(k)
    {
        const struct sweep whole = {.extent = {CHANNELS, ROWS, LAYOUT_NHWC}, .n = 1};
        float *x = random_floats(ROWS * CHANNELS, 2);
        double *parts = guarded_doubles(PARTS * 2 * CHANNELS);
        double *mean = guarded_doubles(CHANNELS), *m2 = guarded_doubles(CHANNELS);
        size_t counts[PARTS];
        double spread;
        for (size_t p = 0; p < PARTS; p++) {
            counts[p] = cuts[p + 1] - cuts[p];
            const struct sweep part = {.extent = {CHANNELS, (int)counts[p], LAYOUT_NHWC}, .n = 1};
            for (int c = 0; c < CHANNELS; c++)
                reference_moments(&part, x + cuts[p] * CHANNELS, c, parts + p * 2 * CHANNELS + c,
                                  parts + (p * 2 + 1) * CHANNELS + c, &spread);
        }
        k->moments_combine(CHANNELS, 1, PARTS, counts, parts, mean, m2);
        for (int c = 0; c < CHANNELS; c++) {
            double want_mean, want_m2;
            reference_moments(&whole, x, c, &want_mean, &want_m2, &spread);
            assert_within("mean", k, &whole, (size_t)c, mean[c], want_mean, 1e-14);
            assert_within("m2", k, &whole, (size_t)c, m2[c], want_m2, 1e-13 * want_m2);
        }
        guarded_free(x);
        guarded_free(parts);
        guarded_free(mean);
        guarded_free(m2);
    }
}

static void check_scale_shift(const struct kernels *k, const struct sweep *s, bool in_place)
{
    const size_t c = (size_t)s->extent.c;
    float *x = random_floats(s->elements, 3), *y = random_floats(s->elements, 3);
    float *scale = random_floats(c, 4), *shift = random_floats(c, 5);
    k->scale_shift(s->extent, s->n, in_place ? y : x, scale, shift, y);
    for (int i = 0; i < s->n; i++)
        for (int j = 0; j < s->extent.c; j++)
            for (int p = 0; p < s->extent.hw; p++) {
                const size_t from = place(s, i, j, p);
                const double product = (double)x[from] * (double)scale[j];
                const double magnitude = fabs(product) + fabs((double)shift[j]);
                assert_within("y", k, s, from, (double)y[from], product + (double)shift[j],
                              2 * EPSILON * magnitude);
            }
    guarded_free(x);
    guarded_free(y);
    guarded_free(scale);
    guarded_free(shift);
}

Test(normalization, scale_shift_is_affine_in_each_channel)
{
    FOR_EACH_KERNELS(k)
    FOR_EACH_SHAPE(s, LIMIT)
    {
        check_scale_shift(k, &s, false);
        check_scale_shift(k, &s, true);
    }
}

static void check_batchnorm_reduce(const struct kernels *k, const struct sweep *s)
{
    const size_t c = (size_t)s->extent.c;
    float *x = random_floats(s->elements, 6), *dy = random_floats(s->elements, 7);
    float *mean = random_floats(c, 8), *inverse = random_floats(c, 9);
    double *sums = guarded_doubles(2 * c);
    for (size_t j = 0; j < 2 * c; j++)
        sums[j] = 1e9; /* to be overwritten */
    k->batchnorm_reduce(s->extent, s->n, x, dy, mean, inverse, sums);
    for (size_t j = 0; j < c; j++) {
        double first = 0, second = 0, first_size = 0, second_size = 0;
        for (int i = 0; i < s->n; i++)
            for (int p = 0; p < s->extent.hw; p++) {
                const size_t from = place(s, i, (int)j, p);
                const double g = (double)dy[from];
                const double h = ((double)x[from] - (double)mean[j]) * (double)inverse[j];
                first += g;
                second += g * h;
                first_size += fabs(g);
                second_size += fabs(g * h);
            }
        assert_within("sum dy", k, s, j, sums[j], first, STEPS * EPSILON * first_size);
        assert_within("sum dy xh", k, s, j, sums[c + j], second, STEPS * EPSILON * second_size);
    }
    guarded_free(x);
    guarded_free(dy);
    guarded_free(mean);
    guarded_free(inverse);
    guarded_free(sums);
}

Test(normalization, batchnorm_reduce_sums_each_channel)
{
    FOR_EACH_KERNELS(k)
    FOR_EACH_SHAPE(s, LIMIT)
    check_batchnorm_reduce(k, &s);
}

Test(normalization, batchnorm_reduce_keeps_its_precision_over_many_rows)
{
    FOR_EACH_KERNELS(k)
    for (int c = 1; c <= 3; c++) {
        const struct sweep rows = long_shape(c, LAYOUT_NHWC), planes = long_shape(c, LAYOUT_NCHW);
        check_batchnorm_reduce(k, &rows);
        check_batchnorm_reduce(k, &planes);
    }
}

static void check_batchnorm_backward(const struct kernels *k, const struct sweep *s,
                                     bool accumulate, bool in_place)
{
    const size_t c = (size_t)s->extent.c;
    float *x = random_floats(s->elements, 10), *dy = random_floats(s->elements, 11);
    float *dx = random_floats(s->elements, in_place ? 11 : 12);
    float *before = random_floats(s->elements, in_place ? 11 : 12);
    float *a = random_floats(c, 13), *b = random_floats(c, 14), *d = random_floats(c, 15);
    k->batchnorm_backward(s->extent, s->n, x, in_place ? dx : dy, a, b, d, accumulate, dx);
    for (int i = 0; i < s->n; i++)
        for (int j = 0; j < s->extent.c; j++)
            for (int p = 0; p < s->extent.hw; p++) {
                const size_t from = place(s, i, j, p);
                const double first = (double)a[j] * (double)dy[from];
                const double second = (double)b[j] * (double)x[from];
                const double old = accumulate ? (double)before[from] : 0;
                const double size = fabs(first) + fabs(second) + fabs((double)d[j]) + fabs(old);
                assert_within("dx", k, s, from, (double)dx[from],
                              first + second + (double)d[j] + old, 4 * EPSILON * size);
            }
    guarded_free(x);
    guarded_free(dy);
    guarded_free(dx);
    guarded_free(before);
    guarded_free(a);
    guarded_free(b);
    guarded_free(d);
}

Test(normalization, batchnorm_backward_is_affine_in_dy_and_x)
{
    FOR_EACH_KERNELS(k)
    FOR_EACH_SHAPE(s, LIMIT)
    for (int mode = 0; mode < 4; mode++)
        check_batchnorm_backward(k, &s, mode & 1, mode & 2);
}

/* Group and layer norm are one function over different sets of elements that share a mean. */
struct norm {
    struct sweep s;
    int g; /* groups; 0: layer norm, a set a pixel */
    float eps;
};

static size_t set_count(const struct norm *m)
{
    return (size_t)m->s.n * (size_t)(m->g > 0 ? m->g : m->s.extent.hw);
}

static size_t set_of(const struct norm *m, int image, int channel, int pixel)
{
    return m->g > 0 ? (size_t)(image * m->g + channel / (m->s.extent.c / m->g))
                    : (size_t)(image * m->s.extent.hw + pixel);
}

static double set_size(const struct norm *m)
{
    return (double)m->s.elements / (double)set_count(m);
}

/* mean [sets], inverse [sets], y [elements]. */
static void reference_forward(const struct norm *m, const double *x, const float *weight,
                              const float *bias, double *mean, double *inverse, double *y)
{
    const struct sweep *s = &m->s;
    const double size = set_size(m);
    double *m2 = zeros(set_count(m));
    memset(mean, 0, set_count(m) * sizeof *mean);
    for (int pass = 0; pass < 3; pass++)
        for (int i = 0; i < s->n; i++)
            for (int c = 0; c < s->extent.c; c++)
                for (int p = 0; p < s->extent.hw; p++) {
                    const size_t from = place(s, i, c, p), set = set_of(m, i, c, p);
                    const double d = x[from] - mean[set];
                    if (pass == 0)
                        mean[set] += x[from] / size;
                    else if (pass == 1)
                        m2[set] += d * d;
                    else {
                        inverse[set] = 1 / sqrt(m2[set] / size + (double)m->eps);
                        y[from] = d * inverse[set] * (double)weight[c] + (double)bias[c];
                    }
                }
    free(m2);
}

static void check_norm_forward(const struct kernels *k, const struct norm *m)
{
    const struct sweep *s = &m->s;
    const size_t sets = set_count(m), c = (size_t)s->extent.c;
    float *x = random_floats(s->elements, 16), *y = guarded_floats(s->elements);
    float *weight = random_floats(c, 17), *bias = random_floats(c, 18);
    float *statistics = guarded_floats(2 * sets);
    double *x_double = zeros(s->elements), *want = zeros(s->elements);
    double *mean = zeros(sets), *inverse = zeros(sets);
    for (size_t i = 0; i < s->elements; i++)
        x_double[i] = (double)(x[i] += 2);
    if (m->g > 0)
        k->groupnorm_forward(s->extent, s->n, m->g, m->eps, x, weight, bias, y, statistics);
    else
        k->layernorm_forward(s->extent, s->n, m->eps, x, weight, bias, y, statistics);
    reference_forward(m, x_double, weight, bias, mean, inverse, want);
    /* |x| < 3. Sums about the mean err by STEPS * EPSILON of a spread below 1; half of that of the
     * variance goes into the inverse. */
    for (size_t set = 0; set < sets; set++) {
        assert_within("mean", k, s, set, (double)statistics[2 * set], mean[set],
                      STEPS * EPSILON + 3 * EPSILON);
        assert_within("inverse", k, s, set, (double)statistics[2 * set + 1], inverse[set],
                      (STEPS + 2) * EPSILON * inverse[set]);
    }
    for (int i = 0; i < s->n; i++)
        for (int j = 0; j < s->extent.c; j++)
            for (int p = 0; p < s->extent.hw; p++) {
                const size_t from = place(s, i, j, p), set = set_of(m, i, j, p);
                const double scale = fabs((double)weight[j]) * inverse[set];
                assert_within("y", k, s, from, (double)y[from], want[from],
                              STEPS * EPSILON * 3 * scale + EPSILON * fabs((double)bias[j]) +
                                  EPSILON * fabs(want[from]));
            }
    guarded_free(x);
    guarded_free(y);
    guarded_free(weight);
    guarded_free(bias);
    guarded_free(statistics);
    free(x_double);
    free(want);
    free(mean);
    free(inverse);
}

/* The gradient of the sum of dy * y; for each term of dx its magnitude goes into `size`. */
struct gradients {
    double *dx, *dx_size, *dweight, *dweight_size, *dbias, *dbias_size;
};

static struct gradients gradients_create(const struct sweep *s)
{
    const size_t c = (size_t)s->extent.c;
    return (struct gradients){zeros(s->elements), zeros(s->elements), zeros(c),
                              zeros(c),           zeros(c),           zeros(c)};
}

static void gradients_destroy(struct gradients *g)
{
    free(g->dx);
    free(g->dx_size);
    free(g->dweight);
    free(g->dweight_size);
    free(g->dbias);
    free(g->dbias_size);
}

/* xh = (x - mean) * inverse; dx = inverse * (w dy - mean of w dy - xh * mean of w dy xh). */
static void reference_backward(const struct norm *m, const float *x, const float *dy,
                               const float *weight, const float *statistics, struct gradients *g)
{
    const struct sweep *s = &m->s;
    const size_t sets = set_count(m);
    const double size = set_size(m);
    double *first = zeros(sets), *second = zeros(sets);
    double *first_size = zeros(sets), *second_size = zeros(sets);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < s->n; i++)
            for (int c = 0; c < s->extent.c; c++)
                for (int p = 0; p < s->extent.hw; p++) {
                    const size_t from = place(s, i, c, p), set = set_of(m, i, c, p);
                    const double mean = (double)statistics[2 * set];
                    const double inverse = (double)statistics[2 * set + 1];
                    const double xh = ((double)x[from] - mean) * inverse;
                    const double gradient = (double)dy[from];
                    const double weighted = gradient * (double)weight[c];
                    if (pass == 0) {
                        first[set] += weighted / size;
                        second[set] += weighted * xh / size;
                        first_size[set] += fabs(weighted) / size;
                        second_size[set] += fabs(weighted * xh) / size;
                        g->dweight[c] += gradient * xh;
                        g->dbias[c] += gradient;
                        g->dweight_size[c] += fabs(gradient * xh);
                        g->dbias_size[c] += fabs(gradient);
                    } else {
                        const double around = (fabs((double)x[from]) + fabs(mean)) * inverse;
                        g->dx[from] = inverse * (weighted - first[set] - xh * second[set]);
                        g->dx_size[from] = inverse * (fabs(weighted) + first_size[set] +
                                                      around * second_size[set]);
                    }
                }
    free(first);
    free(second);
    free(first_size);
    free(second_size);
}

static void check_norm_backward(const struct kernels *k, const struct norm *m, bool accumulate)
{
    const struct sweep *s = &m->s;
    const size_t sets = set_count(m), c = (size_t)s->extent.c;
    float *x = random_floats(s->elements, 19), *dy = random_floats(s->elements, 20);
    float *dx = random_floats(s->elements, 21), *before = random_floats(s->elements, 21);
    float *weight = random_floats(c, 22), *statistics = random_floats(2 * sets, 23);
    float *dweight = random_floats(c, 24), *weight_before = random_floats(c, 24);
    float *dbias = random_floats(c, 25), *bias_before = random_floats(c, 25);
    struct gradients want = gradients_create(s);
    for (size_t set = 0; set < sets; set++)
        statistics[2 * set + 1] = 1.5f + statistics[2 * set + 1];
    if (m->g > 0)
        k->groupnorm_backward(s->extent, s->n, m->g, x, dy, weight, statistics, accumulate, dx,
                              dweight, dbias);
    else
        k->layernorm_backward(s->extent, s->n, x, dy, weight, statistics, accumulate, dx, dweight,
                              dbias);
    reference_backward(m, x, dy, weight, statistics, &want);
    for (size_t i = 0; i < s->elements; i++) {
        const double old = accumulate ? (double)before[i] : 0;
        assert_within("dx", k, s, i, (double)dx[i], want.dx[i] + old,
                      STEPS * EPSILON * want.dx_size[i] + EPSILON * fabs(want.dx[i] + old));
    }
    for (size_t j = 0; j < c; j++) {
        const double weight_old = (double)weight_before[j], bias_old = (double)bias_before[j];
        assert_within("dweight", k, s, j, (double)dweight[j], want.dweight[j] + weight_old,
                      STEPS * EPSILON * (want.dweight_size[j] + fabs(weight_old)));
        assert_within("dbias", k, s, j, (double)dbias[j], want.dbias[j] + bias_old,
                      STEPS * EPSILON * (want.dbias_size[j] + fabs(bias_old)));
    }
    gradients_destroy(&want);
    guarded_free(x);
    guarded_free(dy);
    guarded_free(dx);
    guarded_free(before);
    guarded_free(weight);
    guarded_free(statistics);
    guarded_free(dweight);
    guarded_free(weight_before);
    guarded_free(dbias);
    guarded_free(bias_before);
}

Test(normalization, groupnorm_matches_the_reference)
{
    static const int groups[] = {1, 2, 3, 8, 17, 32, 513};
    FOR_EACH_KERNELS(k)
    FOR_EACH_SHAPE(s, LIMIT / 2)
    for (size_t i = 0; i < COUNT(groups); i++) {
        const struct norm m = {s, groups[i], 1e-5f};
        if (s.extent.c % groups[i] != 0)
            continue;
        check_norm_forward(k, &m);
        check_norm_backward(k, &m, false);
        check_norm_backward(k, &m, true);
    }
}

/* More groups than one block holds, and groups that span blocks. */
Test(normalization, groupnorm_takes_more_channels_than_a_block)
{
    static const int groups[] = {1, 2, 520, 1040};
    FOR_EACH_KERNELS(k)
    for (size_t i = 0; i < 2 * COUNT(groups); i++) {
        const enum layout layout = i % 2 ? LAYOUT_NCHW : LAYOUT_NHWC;
        const struct norm m = {
            {.extent = {1040, 3, layout}, .n = 2, .size = 3120, .elements = 6240},
            groups[i / 2],
            1e-3f};
        check_norm_forward(k, &m);
        check_norm_backward(k, &m, true);
    }
}

Test(normalization, layernorm_matches_the_reference)
{
    FOR_EACH_KERNELS(k)
    FOR_EACH_SHAPE(s, LIMIT)
    {
        const struct norm m = {s, 0, 1e-5f};
        check_norm_forward(k, &m);
        check_norm_backward(k, &m, false);
        check_norm_backward(k, &m, true);
    }
}

/* Images may be taken together or one by one. */
Test(normalization, layernorm_of_a_pixel_does_not_depend_on_where_it_stands)
{
    enum { CHANNELS = 10, PIXELS = 450, SIZE = CHANNELS * PIXELS };
    static const struct extent extent = {CHANNELS, PIXELS, LAYOUT_NHWC};
    FOR_EACH_KERNELS(k)
    {
        float *x = random_floats(SIZE, 39), *dy = random_floats(SIZE, 40);
        float *y = guarded_floats(SIZE), *dx = guarded_floats(SIZE);
        float *weight = random_floats(CHANNELS, 41), *bias = random_floats(CHANNELS, 42);
        float *statistics = guarded_floats(2 * PIXELS), *sums = random_floats(2 * CHANNELS, 43);
        for (size_t i = CHANNELS; i < SIZE; i++) {
            x[i] = x[i - CHANNELS];
            dy[i] = dy[i - CHANNELS];
        }
        k->layernorm_forward(extent, 1, 1e-5f, x, weight, bias, y, statistics);
        k->layernorm_backward(extent, 1, x, dy, weight, statistics, false, dx, sums,
                              sums + CHANNELS);
        for (size_t i = CHANNELS; i < SIZE; i++)
            cr_assert(y[i] == y[i - CHANNELS] && dx[i] == dx[i - CHANNELS], "%s, pixel %zu", k->isa,
                      i / CHANNELS);
        guarded_free(x);
        guarded_free(dy);
        guarded_free(y);
        guarded_free(dx);
        guarded_free(weight);
        guarded_free(bias);
        guarded_free(statistics);
        guarded_free(sums);
    }
}

/* Sums, in every layout, of one input at `shift` floats past a vector's boundary. */
static void sums_at(const struct kernels *k, const struct sweep *s, size_t shift, float *results)
{
    const size_t c = (size_t)s->extent.c, sets = (size_t)(s->n * s->extent.hw);
    float *x = guarded_floats(s->elements + 16), *dy = guarded_floats(s->elements + 16);
    float *weight = random_floats(c, 37), *bias = random_floats(c, 38);
    double *mean = guarded_doubles(c), *m2 = guarded_doubles(c);
    fill_random(x + shift, s->elements, 35);
    fill_random(dy + 16 - shift, s->elements, 36);
    k->moments(s->extent, s->n, x + shift, mean, m2);
    for (size_t j = 0; j < c; j++) {
        results[j] = (float)mean[j];
        results[c + j] = (float)m2[j];
    }
    float *statistics = results + 4 * c, *y = statistics + 2 * sets, *dx = y + s->elements;
    k->layernorm_forward(s->extent, s->n, 1e-5f, x + shift, weight, bias, y, statistics);
    k->layernorm_backward(s->extent, s->n, x + shift, dy + 16 - shift, weight, statistics, false,
                          dx, results + 2 * c, results + 3 * c);
    guarded_free(x);
    guarded_free(dy);
    guarded_free(weight);
    guarded_free(bias);
    guarded_free(mean);
    guarded_free(m2);
}

/* Where arrays begin in memory is no part of the input. */
Test(normalization, alignment_changes_no_bit)
{
    FOR_EACH_KERNELS(k)
    FOR_EACH_SHAPE(s, 4000)
    {
        const size_t sets = (size_t)(s.n * s.extent.hw);
        const size_t size = 4 * (size_t)s.extent.c + 2 * sets + 2 * s.elements;
        float *want = guarded_floats(size), *got = guarded_floats(size);
        sums_at(k, &s, 0, want);
        for (size_t shift = 1; shift < 16; shift += 2) {
            memset(got, 0, size * sizeof *got);
            sums_at(k, &s, shift, got);
            for (size_t i = 0; i < size; i++)
                assert_within("result", k, &s, i, (double)got[i], (double)want[i], 0);
        }
        guarded_free(want);
        guarded_free(got);
    }
}

struct response {
    int size;
    float alpha, beta, k;
};

static double window_base(const struct sweep *s, const struct response *r, const double *x,
                          int image, int channel, int pixel)
{
    double sum = 0;
    for (int c = channel - r->size / 2; c <= channel + (r->size - 1) / 2; c++)
        if (c >= 0 && c < s->extent.c) {
            const double value = x[place(s, image, c, pixel)];
            sum += value * value;
        }
    return (double)r->k + (double)r->alpha / r->size * sum;
}

static double response_at(const struct sweep *s, const struct response *r, const double *x,
                          int image, int channel, int pixel)
{
    return x[place(s, image, channel, pixel)] *
           pow(window_base(s, r, x, image, channel, pixel), -(double)r->beta);
}

/* Derivative of the sum of dy * y by x; `magnitude` that of its terms. */
static double response_slope(const struct sweep *s, const struct response *r, const double *x,
                             const float *dy, int image, int channel, int pixel, double *magnitude)
{
    const size_t here = place(s, image, channel, pixel);
    const double base = window_base(s, r, x, image, channel, pixel), beta = (double)r->beta;
    const double direct = (double)dy[here] * pow(base, -beta);
    double sum = 0;
    *magnitude = fabs(direct);
    for (int c = 0; c < s->extent.c; c++)
        if (channel >= c - r->size / 2 && channel <= c + (r->size - 1) / 2) {
            const size_t there = place(s, image, c, pixel);
            const double around = window_base(s, r, x, image, c, pixel);
            const double term = 2 * beta * (double)r->alpha / r->size * (double)dy[there] *
                                x[there] * pow(around, -beta - 1) * x[here];
            sum += term;
            *magnitude += fabs(term);
        }
    return direct - sum;
}

static void check_response(const struct kernels *k, const struct sweep *s, const struct response *r,
                           bool accumulate)
{
    float *x = random_floats(s->elements, 26), *dy = random_floats(s->elements, 27);
    float *y = guarded_floats(s->elements), *dx = random_floats(s->elements, 28);
    float *before = random_floats(s->elements, 28);
    double *x_double = zeros(s->elements);
    for (size_t i = 0; i < s->elements; i++)
        x_double[i] = (double)x[i];
    k->lrn_forward(s->extent, s->n, r->size, r->alpha, r->beta, r->k, x, y);
    k->lrn_backward(s->extent, s->n, r->size, r->alpha, r->beta, r->k, x, dy, accumulate, dx);
    /* The window's sum takes `size` steps and the power a few. */
    const double relative = (r->size + 12) * EPSILON * (1 + (double)r->beta);
    for (int i = 0; i < s->n; i++)
        for (int c = 0; c < s->extent.c; c++)
            for (int p = 0; p < s->extent.hw; p++) {
                const size_t from = place(s, i, c, p);
                const double old = accumulate ? (double)before[from] : 0;
                double magnitude, want = response_at(s, r, x_double, i, c, p);
                assert_within("y", k, s, from, (double)y[from], want, relative * fabs(want));
                want = response_slope(s, r, x_double, dy, i, c, p, &magnitude);
                assert_within("dx", k, s, from, (double)dx[from], want + old,
                              2 * relative * (magnitude + fabs(old)));
            }
    guarded_free(x);
    guarded_free(dy);
    guarded_free(y);
    guarded_free(dx);
    guarded_free(before);
    free(x_double);
}

Test(normalization, lrn_matches_the_reference)
{
    static const struct response responses[] = {{5, 1e-1f, 0.75f, 1},
                                                {1, 1, 0.75f, 2},
                                                {4, 0.5f, 0.5f, 1},
                                                {2, 2, 1, 1},
                                                {7, 3, 0.6f, 0.5f}};
    FOR_EACH_KERNELS(k)
    FOR_EACH_SHAPE(s, 3000)
    check_response(k, &s, &responses[s.index % COUNT(responses)], s.index % 2);
}

/* Windows wider than the image has channels, and than a block of channels. */
Test(normalization, lrn_takes_any_window)
{
    static const struct response wide[] = {{40, 1, 0.75f, 1}, {1001, 5, 0.75f, 1}};
    static const struct extent extents[] = {
        {3, 2, LAYOUT_NHWC}, {3, 19, LAYOUT_NCHW}, {600, 2, LAYOUT_NHWC}, {70, 17, LAYOUT_NCHW}};
    FOR_EACH_KERNELS(k)
    for (size_t i = 0; i < COUNT(wide) * COUNT(extents); i++) {
        const struct extent e = extents[i / COUNT(wide)];
        const size_t size = (size_t)e.c * (size_t)e.hw;
        const struct sweep s = {.extent = e, .n = 1, .size = size, .elements = size};
        check_response(k, &s, &wide[i % COUNT(wide)], i % 2);
    }
}

/* The references above are themselves right: finite differences of the forward references. */
Test(normalization, gradients_are_those_of_the_forward)
{
    static const int group_counts[] = {0, 1, 2, 6};
    const double step = 1e-5;
    for (size_t i = 0; i < COUNT(group_counts); i++) {
        const struct norm m = {{.extent = {6, 5, LAYOUT_NHWC}, .n = 2, .size = 30, .elements = 60},
                               group_counts[i],
                               1e-2f};
        const size_t sets = set_count(&m), elements = m.s.elements;
        float x[60], dy[60], weight[6], bias[6], statistics[2 * 12];
        double x_double[60], y[60], mean[12], inverse[12];
        struct gradients g = gradients_create(&m.s);
        cr_assert_leq(sets, 12);
        fill_random(x, 60, 29);
        fill_random(dy, 60, 30);
        fill_random(weight, 6, 31);
        fill_random(bias, 6, 32);
        for (size_t j = 0; j < elements; j++)
            x_double[j] = (double)x[j];
        reference_forward(&m, x_double, weight, bias, mean, inverse, y);
        for (size_t set = 0; set < sets; set++) {
            statistics[2 * set] = (float)mean[set];
            statistics[2 * set + 1] = (float)inverse[set];
        }
        reference_backward(&m, x, dy, weight, statistics, &g);
        for (size_t j = 0; j < elements; j++) {
            double difference = 0;
            for (int sign = -1; sign <= 1; sign += 2) {
                x_double[j] = (double)x[j] + sign * step;
                reference_forward(&m, x_double, weight, bias, mean, inverse, y);
                for (size_t l = 0; l < elements; l++)
                    difference += sign * (double)dy[l] * y[l] / (2 * step);
            }
            x_double[j] = (double)x[j];
            cr_assert_float_eq(g.dx[j], difference, 1e-5,
                               "groups %d, dx[%zu]: %.9g, by difference %.9g", m.g, j, g.dx[j],
                               difference);
        }
        gradients_destroy(&g);
    }
}

Test(normalization, lrn_gradient_is_that_of_the_forward)
{
    const struct sweep s = {.extent = {9, 1, LAYOUT_NHWC}, .n = 1, .size = 9, .elements = 9};
    const double step = 1e-5;
    for (int size = 1; size <= 6; size++) {
        const struct response r = {size, 2, 0.75f, 1};
        float x[9], dy[9];
        double x_double[9], magnitude;
        fill_random(x, 9, 33);
        fill_random(dy, 9, 34);
        for (int j = 0; j < 9; j++)
            x_double[j] = (double)x[j];
        for (int j = 0; j < 9; j++) {
            double difference = 0;
            const double slope = response_slope(&s, &r, x_double, dy, 0, j, 0, &magnitude);
            for (int sign = -1; sign <= 1; sign += 2) {
                x_double[j] = (double)x[j] + sign * step;
                for (int l = 0; l < 9; l++)
                    difference +=
                        sign * (double)dy[l] * response_at(&s, &r, x_double, 0, l, 0) / (2 * step);
            }
            x_double[j] = (double)x[j];
            cr_assert_float_eq(slope, difference, 1e-7);
        }
    }
}
