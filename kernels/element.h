/* Plain passes over memory.
 *
 * pixels_normalize  bytes [hw, c] of one image -> y = x * scale[c] + shift[c] in `extent`'s
 *                   layout (c * hw floats)
 * layout_convert    n images of c channels and hw pixels from `from` to `to`
 * add               y[i] = a[i] + b[i]; y may be a or b
 * accumulate        y[i] += x[i]
 * fold              y[i] = sum of parts[p * stride + i] over p = 0 .. count-1, in that order
 * transpose         y [columns, rows] = transposed x [rows, columns]
 * sum_squares       *sum = sum of x[i]^2 in double, in a fixed order
 * dropout           y[i] = x[i] / (1 - rate), or 0 with probability `rate`; the draw for element
 *                   i is word i % 4 of Philox4x32-10 at counter {i / 4, counter[0..2]} under
 *                   `key`; an element is dropped where its draw < rate * 2^32. y may be x.
 *                   With `accumulate` the result is added to y instead.
 */
#ifndef KERNELS_ELEMENT_H
#define KERNELS_ELEMENT_H

#define ELEMENT_KERNELS(X)                                                                         \
    X(pixels_normalize,                                                                            \
      (struct extent extent, const uint8_t *x, const float *scale, const float *shift, float *y))  \
    X(layout_convert,                                                                              \
      (int n, int c, int hw, enum layout from, enum layout to, const float *x, float *y))          \
    X(add, (size_t n, const float *a, const float *b, float *y))                                   \
    X(accumulate, (size_t n, const float *x, float *y))                                            \
    X(fold, (size_t n, size_t count, size_t stride, const float *parts, float *y))                 \
    X(transpose, (int rows, int columns, const float *x, float *y))                                \
    X(sum_squares, (size_t n, const float *x, double *sum))                                        \
    X(dropout, (size_t n, double rate, const uint32_t key[2], const uint32_t counter[3],           \
                bool accumulate, const float *x, float *y))

#endif
