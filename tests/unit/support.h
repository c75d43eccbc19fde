/* What the unit tests share: arrays with guarded margins, data, comparison. */
#ifndef TESTS_UNIT_SUPPORT_H
#define TESTS_UNIT_SUPPORT_H

#include "kernels/kernels.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdint.h>

/* An array of n elements with margins of a known pattern on both sides; guarded_free() fails
 * the test if a margin changed. Zeroed, and aligned to 64 bytes. */
float *guarded_floats(size_t n);
double *guarded_doubles(size_t n);
uint16_t *guarded_shorts(size_t n);
void guarded_free(void *array);

/* Uniform in [-1, 1), by a fixed formula of `seed`. */
void fill_random(float *x, size_t n, uint32_t seed);

/* Fails naming `what`, the index and both values where |got - want| > absolute + relative * |want|.
 */
void assert_close(const char *what, const float *got, const double *want, size_t n, double absolute,
                  double relative);

/* Removes the folder `path` with all that is in it. */
void remove_tree(const char *path);

/* Makes the folder `path` with two classes, `a` and `b`, and `count` PGM files of one pixel in turn
 * of them (of one there is just `a`); number i is of grey i, and sample i of the split. */
void make_pictures(const char *path, int count);

/* Tells how many of the files that make_pictures() made have been read and closed since. */
int watch_pictures(const char *path);
/* Waits for `wanted` more, ten seconds at the most, and a moment for what is beyond; how many there
 * were. */
int files_read(int watch, int wanted);

/* Index of an element in an image [c, h, w] of `layout`. */
size_t at(enum layout layout, struct extent extent, int image, int channel, int pixel);

/* All tables this processor runs; the tests go through each. */
size_t all_kernels(const struct kernels *tables[3]);

#endif
