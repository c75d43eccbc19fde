/* Guarded arrays, data and comparison for the unit tests. */
#include "tests/unit/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MARGIN = 256, PATTERN = 0x5a };

struct guard {
    size_t bytes;
    unsigned char pad[64 - sizeof(size_t)];
};

static void *guarded(size_t bytes)
{
    unsigned char *block =
        aligned_alloc(64, (sizeof(struct guard) + 2 * MARGIN + bytes + 63) / 64 * 64);
    cr_assert_not_null(block);
    ((struct guard *)(void *)block)->bytes = bytes;
    unsigned char *data = block + sizeof(struct guard) + MARGIN;
    memset(data - MARGIN, PATTERN, MARGIN);
    memset(data, 0, bytes);
    memset(data + bytes, PATTERN, MARGIN);
    return data;
}

float *guarded_floats(size_t n)
{
    return guarded(n * sizeof(float));
}

double *guarded_doubles(size_t n)
{
    return guarded(n * sizeof(double));
}

uint16_t *guarded_shorts(size_t n)
{
    return guarded(n * sizeof(uint16_t));
}

void guarded_free(void *array)
{
    unsigned char *data = array;
    struct guard *guard = (struct guard *)(void *)(data - MARGIN - sizeof(struct guard));
    for (size_t i = 0; i < MARGIN; i++) {
        cr_assert_eq(data[-1 - (ptrdiff_t)i], PATTERN, "wrote %zu bytes before an array", i + 1);
        cr_assert_eq(data[guard->bytes + i], PATTERN, "wrote %zu bytes past an array", i + 1);
    }
    free(guard);
}

void fill_random(float *x, size_t n, uint32_t seed)
{
    uint32_t state = seed * 2654435761u + 12345u;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)(state & 0xffffff00u) * 0x1p-31f;
    }
}

void assert_close(const char *what, const float *got, const double *want, size_t n, double absolute,
                  double relative)
{
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)got[i] - want[i]);
        cr_assert(error <= absolute + relative * fabs(want[i]), "%s[%zu]: %.9g instead of %.9g",
                  what, i, (double)got[i], want[i]);
    }
}

size_t at(enum layout layout, struct extent extent, int image, int channel, int pixel)
{
    size_t within = layout == LAYOUT_NHWC ? (size_t)pixel * (size_t)extent.c + (size_t)channel
                                          : (size_t)channel * (size_t)extent.hw + (size_t)pixel;
    return (size_t)image * (size_t)extent.c * (size_t)extent.hw + within;
}

size_t all_kernels(const struct kernels *tables[3])
{
    return kernels_available(tables, 3);
}
