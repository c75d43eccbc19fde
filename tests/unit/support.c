/* Guarded arrays, data, files and comparison for the unit tests. */
#include "tests/unit/support.h"

#include <ftw.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

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

static int remove_entry(const char *path, const struct stat *facts, int kind, struct FTW *place)
{
    return remove(path);
}

void remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void make_pictures(const char *path, int count)
{
    char name[PATH_MAX];
    cr_assert_eq(mkdir(path, 0700), 0, "%s", path);
    for (int i = 0; i < count; i++) {
        cr_assert_lt(snprintf(name, sizeof name, "%s/%c", path, 'a' + i % 2), (int)sizeof name);
        cr_assert(i >= 2 || mkdir(name, 0700) == 0, "%s", name);
        cr_assert_lt(snprintf(name, sizeof name, "%s/%c/%02d.pgm", path, 'a' + i % 2, i / 2),
                     (int)sizeof name);
        FILE *file = fopen(name, "wb");
        cr_assert_not_null(file);
        fprintf(file, "P2 1 1 255\n%d\n", i);
        cr_assert_eq(fclose(file), 0);
    }
}

int watch_pictures(const char *path)
{
    char name[PATH_MAX];
    const int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    cr_assert_geq(watch, 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_lt(snprintf(name, sizeof name, "%s/%c", path, 'a' + i), (int)sizeof name);
        cr_assert_geq(inotify_add_watch(watch, name, IN_CLOSE_NOWRITE), 0, "%s", name);
    }
    return watch;
}

int files_read(int watch, int wanted)
{
    enum { PATIENCE_MS = 10000, MOMENT_MS = 100 };
    _Alignas(struct inotify_event) char events[4096];
    struct pollfd ready = {.fd = watch, .events = POLLIN};
    int count = 0;
    while (poll(&ready, 1, count < wanted ? PATIENCE_MS : MOMENT_MS) > 0) {
        const ssize_t bytes = read(watch, events, sizeof events);
        cr_assert_gt(bytes, 0);
        for (const char *at = events; at < events + bytes;) {
            const struct inotify_event *event = (const void *)at;
            count += event->len > 0; /* 0: the folder itself */
            at += sizeof *event + event->len;
        }
    }
    return count;
}
