/* Passes over memory, against loops in double. Sizes sweep around the vector widths. */
#include "tests/unit/support.h"

#include <math.h>
#include <Random123/philox.h>
#include <string.h>

static const size_t sizes[] = {1,  2,  3,  7,   8,   9,    15,   16,  17,
                               31, 33, 64, 255, 257, 1024, 1031, 2049};

/* One rounding of a float, relative. */
static const double rounding = 0x1p-24;

#define EACH(index, array) (size_t index = 0; index < sizeof array / sizeof *array; index++)

static void check_add(const struct kernels *k, size_t n, int in_place)
{
    float *a = guarded_floats(n), *b = guarded_floats(n), *y = guarded_floats(n);
    double *want = guarded_doubles(n);
    fill_random(a, n, 1);
    fill_random(b, n, 2);
    for (size_t i = 0; i < n; i++)
        want[i] = (double)a[i] + (double)b[i];
    float *target = in_place == 0 ? y : in_place == 1 ? a : b;
    k->add(n, a, b, target);
    assert_close("add", target, want, n, 0.0, rounding);
    guarded_free(a);
    guarded_free(b);
    guarded_free(y);
    guarded_free(want);
}

Test(element, adds_two_arrays_also_in_place_of_either)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(s, sizes)
    for (int in_place = 0; in_place < 3; in_place++)
        check_add(tables[t], sizes[s], in_place);
}

static void check_fold(const struct kernels *k, size_t n, size_t count)
{
    const size_t stride = n + 3;
    float *parts = guarded_floats(count * stride + 1), *y = guarded_floats(n);
    double *want = guarded_doubles(n);
    fill_random(parts, count * stride + 1, 3);
    fill_random(y, n, 4);
    for (size_t i = 0; i < n; i++) {
        float sum = 0.0f; /* in the documented order, so bit for bit */
        for (size_t part = 0; part < count; part++)
            sum += parts[part * stride + i];
        want[i] = (double)sum;
    }
    k->fold(n, count, stride, parts, y);
    assert_close("fold", y, want, n, 0.0, 0.0);
    guarded_free(parts);
    guarded_free(y);
    guarded_free(want);
}

Test(element, folds_parts_in_their_order)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(s, sizes)
    for (size_t parts = 0; parts < 6; parts++)
        check_fold(tables[t], sizes[s], parts);
}

Test(element, accumulates)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(s, sizes)
            {
                const size_t n = sizes[s];
                float *x = guarded_floats(n), *y = guarded_floats(n);
                double *want = guarded_doubles(n);
                fill_random(x, n, 5);
                fill_random(y, n, 6);
                for (size_t i = 0; i < n; i++)
                    want[i] = (double)x[i] + (double)y[i];
                tables[t]->accumulate(n, x, y);
                assert_close("accumulate", y, want, n, 0.0, rounding);
                guarded_free(x);
                guarded_free(y);
                guarded_free(want);
            }
}

static void check_transpose(const struct kernels *k, int rows, int columns)
{
    const size_t n = (size_t)rows * (size_t)columns;
    float *x = guarded_floats(n), *y = guarded_floats(n);
    fill_random(x, n, 7);
    k->transpose(rows, columns, x, y);
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column++)
            cr_assert_eq(y[column * rows + row], x[row * columns + column],
                         "%dx%d: row %d, column %d", rows, columns, row, column);
    guarded_free(x);
    guarded_free(y);
}

Test(element, transposes)
{
    static const int lengths[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 19, 32, 37, 50};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(r, lengths)
            for
                EACH(c, lengths)
            check_transpose(tables[t], lengths[r], lengths[c]);
}

static void check_convert(const struct kernels *k, int n, int c, int hw, enum layout from,
                          enum layout to)
{
    const struct extent extent = {c, hw, from};
    const size_t total = (size_t)n * (size_t)c * (size_t)hw;
    float *x = guarded_floats(total), *y = guarded_floats(total);
    fill_random(x, total, 8);
    k->layout_convert(n, c, hw, from, to, x, y);
    for (int image = 0; image < n; image++)
        for (int channel = 0; channel < c; channel++)
            for (int pixel = 0; pixel < hw; pixel++)
                cr_assert_eq(y[at(to, extent, image, channel, pixel)],
                             x[at(from, extent, image, channel, pixel)]);
    guarded_free(x);
    guarded_free(y);
}

Test(element, converts_every_layout_to_every_other)
{
    static const int channels[] = {1, 2, 3, 6, 16, 17}, pixels[] = {1, 4, 25, 49};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(c, channels)
            for
                EACH(p, pixels)
            for (int pair = 0; pair < 4; pair++)
                check_convert(tables[t], 1 + pair % 3, channels[c], pixels[p],
                              (enum layout)(pair / 2), (enum layout)(pair % 2));
}

static void check_normalize(const struct kernels *k, int c, int hw, enum layout layout)
{
    const struct extent extent = {c, hw, layout};
    const size_t total = (size_t)c * (size_t)hw;
    uint16_t *storage = guarded_shorts(total / 2 + 1);
    uint8_t *x = (uint8_t *)storage;
    float *y = guarded_floats(total), *scale = guarded_floats((size_t)c);
    float *shift = guarded_floats((size_t)c);
    double *want = guarded_doubles(total);
    fill_random(scale, (size_t)c, 9);
    fill_random(shift, (size_t)c, 10);
    for (size_t i = 0; i < total; i++)
        x[i] = (uint8_t)(i * 37 % 256);
    for (int channel = 0; channel < c; channel++)
        for (int pixel = 0; pixel < hw; pixel++)
            want[at(layout, extent, 0, channel, pixel)] =
                (double)x[pixel * c + channel] * (double)scale[channel] + (double)shift[channel];
    k->pixels_normalize(extent, x, scale, shift, y);
    /* A product of at most 255 and a sum, each rounded once. */
    assert_close("normalize", y, want, total, 2 * 256 * rounding, 0.0);
    guarded_free(storage);
    guarded_free(y);
    guarded_free(scale);
    guarded_free(shift);
    guarded_free(want);
}

Test(element, normalizes_bytes_into_both_layouts)
{
    static const int channels[] = {1, 2, 3, 4, 5, 17, 96, 97, 200}, pixels[] = {1, 5, 49, 784};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(c, channels)
            for
                EACH(p, pixels)
                {
                    check_normalize(tables[t], channels[c], pixels[p], LAYOUT_NHWC);
                    check_normalize(tables[t], channels[c], pixels[p], LAYOUT_NCHW);
                }
}

Test(element, sums_squares_in_double)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(s, sizes)
            {
                const size_t n = sizes[s];
                float *x = guarded_floats(n);
                fill_random(x, n, 11);
                x[n / 2] =
                    3e18f; /* its square is no float's; the others must not vanish beside it */
                double want = 0.0, got = -1.0;
                for (size_t i = 0; i < n; i++)
                    want += (double)x[i] * (double)x[i];
                tables[t]->sum_squares(n, x, &got);
                cr_assert(fabs(got - want) <= 1e-13 * want, "%zu: %.17g instead of %.17g", n, got,
                          want);
                x[n / 2] = 0.5f;
                want = 0.0;
                for (size_t i = 0; i < n; i++)
                    want += (double)x[i] * (double)x[i];
                tables[t]->sum_squares(n, x, &got);
                cr_assert(fabs(got - want) <= 1e-13 * want, "%zu: %.17g instead of %.17g", n, got,
                          want);
                guarded_free(x);
            }
}

/* The draw of element i, one at a time. */
static uint32_t draw(size_t i, const uint32_t key[2], const uint32_t counter[3])
{
    const philox4x32_key_t philox_key = {{key[0], key[1]}};
    const philox4x32_ctr_t count = {{(uint32_t)(i / 4), counter[0], counter[1], counter[2]}};
    return philox4x32_R(10, count, philox_key).v[i % 4];
}

static bool dropped(size_t i, double rate, const uint32_t key[2], const uint32_t counter[3])
{
    return (double)draw(i, key, counter) < rate * 0x1p32;
}

static void check_dropout(const struct kernels *k, size_t n, double rate, bool in_place,
                          bool accumulate)
{
    static const uint32_t key[2] = {7, 0x80000001u}, counter[3] = {1, 0xfffffff0u, 3};
    float *x = guarded_floats(n), *other = guarded_floats(n);
    double *want = guarded_doubles(n);
    fill_random(x, n, 12);
    fill_random(other, n, 13);
    float *y = in_place ? x : other;
    for (size_t i = 0; i < n; i++) {
        const double kept = dropped(i, rate, key, counter) ? 0.0 : (double)x[i] / (1.0 - rate);
        want[i] = kept + (accumulate ? (double)y[i] : 0.0);
    }
    k->dropout(n, rate, key, counter, accumulate, x, y);
    /* The factor is rounded once, then the product; the sum of at most 1 and 10 once more. */
    assert_close("dropout", y, want, n, accumulate ? 16 * rounding : 0.0, 2.1 * rounding);
    guarded_free(x);
    guarded_free(other);
    guarded_free(want);
}

Test(element, drops_by_philox_counter_and_scales_the_rest)
{
    static const double rates[] = {0.0, 1e-10, 0.1, 0.5, 0.9, 1.0};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(s, sizes)
            for
                EACH(r, rates)
            for (int mode = 0; mode < 3; mode++)
                check_dropout(tables[t], sizes[s], rates[r], mode == 1, mode == 2);
}

Test(element, drops_draws_below_the_rate_alone)
{
    static const uint32_t key[2] = {1, 2}, counter[3] = {3, 4, 5};
    const double own = (double)draw(0, key, counter);
    const float x = 1.0f;
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++) {
        float y;
        tables[t]->dropout(1, own * 0x1p-32, key, counter, false, &x, &y);
        cr_expect_gt(y, 0.0f);
        tables[t]->dropout(1, (own + 0.5) * 0x1p-32, key, counter, false, &x, &y);
        cr_expect_eq(y, 0.0f);
    }
}

Test(element, drops_infinities_too)
{
    static const uint32_t key[2] = {1, 2}, counter[3] = {3, 4, 5};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++) {
        float x[64], y[64];
        for (size_t i = 0; i < 64; i++)
            x[i] = INFINITY;
        tables[t]->dropout(64, 0.5, key, counter, false, x, y);
        for (size_t i = 0; i < 64; i++)
            cr_assert_eq(y[i], dropped(i, 0.5, key, counter) ? 0.0f : INFINITY);
    }
}
