/* Kernels of augmentation, against pixel by pixel definitions in double, and pictures known
 * beforehand. */
#include "tests/unit/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct raster pictures[] = {{1, 1, 1},   {3, 1, 9},   {3, 7, 1},   {1, 28, 28},
                                         {3, 32, 32}, {2, 17, 33}, {5, 8, 31},  {3, 19, 16},
                                         {9, 16, 19}, {4, 15, 47}, {3, 13, 130}};

#define EACH_PICTURE(picture)                                                                      \
    for (const struct raster *picture = pictures;                                                  \
         picture < pictures + sizeof pictures / sizeof *pictures; picture++)

static size_t pixels_of(const struct raster *picture)
{
    return (size_t)picture->h * (size_t)picture->w;
}

static size_t size_of(const struct raster *picture)
{
    return (size_t)picture->c * pixels_of(picture);
}

/* Bytes without pattern, in memory that ends where they end. The caller frees them. */
static uint8_t *make_bytes(size_t n)
{
    uint8_t *bytes = malloc(n);
    float *values = guarded_floats(n);
    cr_assert_not_null(bytes);
    fill_random(values, n, 7);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(127.5f + 127.5f * values[i]);
    guarded_free(values);
    return bytes;
}

/* Channel k of byte pixel (row, column); 0 outside of the image. */
static double byte_at(const struct raster *p, const uint8_t *x, int k, int row, int column)
{
    if (row < 0 || row >= p->h || column < 0 || column >= p->w)
        return 0;
    return x[(row * p->w + column) * p->c + k];
}

static void run_on_all(void (*check)(const struct kernels *k, const struct raster *p))
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        EACH_PICTURE(picture)
    check(tables[t], picture);
}

/* --- copies --- */

static void check_shift(const struct kernels *k, const struct raster *p, int top, int left,
                        bool flip)
{
    uint8_t *x = make_bytes(size_of(p));
    float *y = guarded_floats(size_of(p));
    k->planes_shift(*p, top, left, flip, x, y);
    for (int c = 0; c < p->c; c++)
        for (int i = 0; i < p->h; i++)
            for (int j = 0; j < p->w; j++) {
                const int column = (flip ? p->w - 1 - j : j) + left;
                cr_assert_eq((double)y[(c * p->h + i) * p->w + j],
                             byte_at(p, x, c, i + top, column),
                             "%s, %dx%dx%d by %d, %d%s: channel %d, row %d, column %d", k->isa,
                             p->c, p->h, p->w, top, left, flip ? " flipped" : "", c, i, j);
            }
    free(x);
    guarded_free(y);
}

static void check_shifts(const struct kernels *k, const struct raster *p)
{
    static const int shifts[] = {0, 1, -1, 4, -3, 40, -200};
    for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++)
        for (size_t j = 0; j < sizeof shifts / sizeof *shifts; j++)
            for (int flip = 0; flip < 2; flip++)
                check_shift(k, p, shifts[i], shifts[j], flip);
}

Test(augment, a_shift_copies_pixels_and_fills_with_black)
{
    run_on_all(check_shifts);
}

/* --- resampling --- */

static double bilinear(const struct raster *p, const uint8_t *x, int k, double column, double row)
{
    const int left = (int)floor(column), top = (int)floor(row);
    const double fx = column - left, fy = row - top;
    return (1 - fy) *
               ((1 - fx) * byte_at(p, x, k, top, left) + fx * byte_at(p, x, k, top, left + 1)) +
           fy * ((1 - fx) * byte_at(p, x, k, top + 1, left) +
                 fx * byte_at(p, x, k, top + 1, left + 1));
}

/* A coordinate is three terms of at most 4 sides, and each rounds by 2^-24 of its size, so it is
 * off by at most 12 sides * 2^-24 * 3; from a pixel to the next a value changes by at most 255 in
 * each direction. Weights and sums of values up to 255 add a dozen roundings. */
static double warp_tolerance(const struct raster *p)
{
    const double side = p->h > p->w ? p->h : p->w;
    return 2 * 255 * 36 * side * 0x1p-24 + 12 * 255 * 0x1p-24;
}

static void check_warp(const struct kernels *k, const struct raster *p, const struct affine *map)
{
    uint8_t *x = make_bytes(size_of(p));
    float *y = guarded_floats(size_of(p));
    float *padded = guarded_floats((size_t)(p->h + 2) * (size_t)(p->w + 2));
    double *want = guarded_doubles(size_of(p));
    for (int c = 0; c < p->c; c++)
        for (int i = 0; i < p->h; i++)
            for (int j = 0; j < p->w; j++)
                want[(c * p->h + i) * p->w + j] =
                    bilinear(p, x, c, (double)map->xx * j + (double)map->xy * i + (double)map->x0,
                             (double)map->yx * j + (double)map->yy * i + (double)map->y0);
    k->planes_warp(*p, map, x, (uint32_t *)(void *)padded, y);
    assert_close("warp", y, want, size_of(p), warp_tolerance(p), 0);
    free(x);
    guarded_free(y);
    guarded_free(padded);
    guarded_free(want);
}

static void check_warps(const struct kernels *k, const struct raster *p)
{
    static const struct affine maps[] = {
        {0.9f, 0.3f, -1.25f, -0.3f, 0.9f, 2.5f}, /* turned */
        {-0.8f, 0.1f, 11.7f, 0.1f, 0.8f, 0.3f},  /* mirrored, enlarged */
        {1.7f, -0.4f, -3.1f, 0.4f, 1.7f, -6.9f}, /* smaller: black around */
        {1, 0, 0.5f, 0, 1, -0.5f},               /* between pixels */
        {1, 0, 1000, 0, 1, -1000},               /* all outside */
    };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        check_warp(k, p, &maps[i]);
}

Test(augment, a_warp_is_bilinear_between_pixels_and_black_outside)
{
    run_on_all(check_warps);
}

static void check_whole_maps(const struct kernels *k, const struct raster *p)
{
    static const struct affine same = {1, 0, 0, 0, 1, 0};
    const struct affine moved = {-1, 0, (float)(p->w - 1 + 2), 0, 1, -3};
    uint8_t *x = make_bytes(size_of(p));
    float *y = guarded_floats(size_of(p)), *want = guarded_floats(size_of(p));
    float *padded = guarded_floats((size_t)(p->h + 2) * (size_t)(p->w + 2));
    k->planes_shift(*p, 0, 0, false, x, want);
    k->planes_warp(*p, &same, x, (uint32_t *)(void *)padded, y);
    cr_assert_arr_eq(y, want, size_of(p) * sizeof *y, "%s: the same", k->isa);
    k->planes_shift(*p, -3, 2, true, x, want);
    k->planes_warp(*p, &moved, x, (uint32_t *)(void *)padded, y);
    cr_assert_arr_eq(y, want, size_of(p) * sizeof *y, "%s: moved and mirrored", k->isa);
    free(x);
    guarded_free(y);
    guarded_free(want);
    guarded_free(padded);
}

Test(augment, a_warp_by_whole_pixels_is_a_copy)
{
    run_on_all(check_whole_maps);
}

/* --- colours --- */

static double within_bytes(double value)
{
    return fmin(fmax(value, 0), 255);
}

static double mean_grey(const struct raster *p, const double *planes)
{
    static const double colour[] = {0.2989, 0.587, 0.114};
    double sum = 0;
    for (size_t i = 0; i < size_of(p); i++)
        sum += planes[i] * (p->c == 3 ? colour[i / pixels_of(p)] : 1.0 / p->c);
    return sum / (double)pixels_of(p);
}

/* The mean adds rows of at most 130 numbers up to 255 in float: 130 * 255 * 2^-24 a row's mean at
 * the worst, and a value is a few roundings of numbers up to 510. */
static const double jitter_tolerance = 130 * 255 * 0x1p-24 + 6 * 510 * 0x1p-24;

static void check_jitter(const struct kernels *k, const struct raster *p, float brightness,
                         float contrast)
{
    float *y = guarded_floats(size_of(p));
    double *want = guarded_doubles(size_of(p));
    fill_random(y, size_of(p), 3);
    for (size_t i = 0; i < size_of(p); i++) {
        y[i] = 127.5f + 127.5f * y[i];
        want[i] = within_bytes((double)y[i] * (double)brightness);
    }
    const double mean = mean_grey(p, want);
    for (size_t i = 0; i < size_of(p); i++)
        want[i] = within_bytes((double)contrast * want[i] + (1 - (double)contrast) * mean);
    k->planes_jitter(*p, brightness, contrast, y);
    assert_close("jitter", y, want, size_of(p), jitter_tolerance, 0);
    guarded_free(y);
    guarded_free(want);
}

static void check_jitters(const struct kernels *k, const struct raster *p)
{
    static const float factors[] = {0, 0.7f, 1, 1.4f, 2};
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++)
            check_jitter(k, p, factors[i], factors[j]);
}

Test(augment, jitter_multiplies_then_pulls_towards_the_mean_grey)
{
    run_on_all(check_jitters);
}

static void check_normalize(const struct kernels *k, const struct raster *p)
{
    float *y = guarded_floats(size_of(p)), scale[9], shift[9];
    double *want = guarded_doubles(size_of(p));
    fill_random(y, size_of(p), 4);
    fill_random(scale, 9, 5);
    fill_random(shift, 9, 6);
    for (size_t i = 0; i < size_of(p); i++)
        want[i] = (double)y[i] * (double)scale[i / pixels_of(p)] + (double)shift[i / pixels_of(p)];
    k->planes_normalize(*p, scale, shift, y);
    assert_close("normalize", y, want, size_of(p), 2 * 0x1p-24, 0x1p-24); /* two roundings */
    guarded_free(y);
    guarded_free(want);
}

Test(augment, normalizes_planes)
{
    run_on_all(check_normalize);
}

/* --- what covers them --- */

static void check_erase(const struct kernels *k, const struct raster *p)
{
    const struct area areas[] = {{0, 0, p->h, p->w},
                                 {p->h / 2, p->w / 3, p->h - p->h / 2, 1},
                                 {p->h - 1, 0, 1, p->w},
                                 {0, p->w - 1, 0, 1}};
    for (size_t a = 0; a < 4; a++) {
        const struct area *area = &areas[a];
        float *y = guarded_floats(size_of(p));
        for (size_t i = 0; i < size_of(p); i++)
            y[i] = 1;
        k->planes_erase(*p, *area, y);
        for (size_t i = 0; i < size_of(p); i++) {
            const int row = (int)(i / (size_t)p->w) % p->h, column = (int)(i % (size_t)p->w);
            const bool covered = row >= area->top && row < area->top + area->h &&
                                 column >= area->left && column < area->left + area->w;
            cr_assert_eq(y[i], covered ? 0.0f : 1.0f, "%s: %zu", k->isa, i);
        }
        guarded_free(y);
    }
}

Test(augment, erases_a_rectangle_of_every_channel)
{
    run_on_all(check_erase);
}

static void check_mix(const struct kernels *k, const struct raster *p)
{
    const size_t n = size_of(p);
    float *x = guarded_floats(n), *y = guarded_floats(n);
    double *want = guarded_doubles(n);
    fill_random(x, n, 1);
    fill_random(y, n, 2);
    for (size_t i = 0; i < n; i++)
        want[i] = 0.3 * (double)y[i] + 0.7 * (double)x[i];
    k->mix(n, 0.3f, x, y);
    assert_close("mix", y, want, n, 4 * 0x1p-24, 0); /* shares and sums of numbers up to 1 */
    k->mix(n, 0.0f, x, y);
    cr_assert_arr_eq(y, x, n * sizeof *y);
    guarded_free(x);
    guarded_free(y);
    guarded_free(want);
}

Test(augment, mixes_by_shares)
{
    run_on_all(check_mix);
}
