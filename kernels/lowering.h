/* Convolution lowered to matrices (im2col) and back (col2im, its adjoint).
 *
 * Pixels first: columns [rows, taps], a row an output pixel, a tap (ki, kj, channel); for many
 * channels, where channels are contiguous. Rows count output pixels of the mini-batch: row r is
 * image r / (oh * ow), and so on. Only kernel rows k0 <= ki < k1 and channels c0 <= c < c1 are
 * taken: a tap's index is ((ki - k0) * kw + kj) * (c1 - c0) + c - c0.
 *
 * Taps first: columns [taps, pixels] of output rows y0 <= oy < y1 of one image, a tap
 * (channel, ki, kj) of channels c0 <= c < c1; for few channels, where a row of pixels is
 * contiguous.
 *
 * col2im adds to dx, which stands as it is before.
 *
 * depthwise_*  one kernel a channel (g = ic = oc), weights [kh, kw, c], channels-last x and y:
 *              no matrix is worth its copy here. backward_weights adds to dw.
 */
#ifndef KERNELS_LOWERING_H
#define KERNELS_LOWERING_H

#define LOWERING_KERNELS(X)                                                                        \
    X(im2col_pixels, (const struct window *window, enum layout layout, size_t row0, size_t rows,   \
                      int k0, int k1, int c0, int c1, const float *x, float *columns))             \
    X(col2im_pixels, (const struct window *window, enum layout layout, size_t row0, size_t rows,   \
                      int k0, int k1, int c0, int c1, const float *columns, float *dx))            \
    X(im2col_taps, (const struct window *window, enum layout layout, int y0, int y1, int c0,       \
                    int c1, const float *x, float *columns))                                       \
    X(col2im_taps, (const struct window *window, enum layout layout, int y0, int y1, int c0,       \
                    int c1, const float *columns, float *dx))                                      \
    X(depthwise_forward,                                                                           \
      (const struct window *window, int n, const float *x, const float *w, float *y))              \
    X(depthwise_backward_data, (const struct window *window, int n, const float *dy,               \
                                const float *w, bool accumulate, float *dx))                       \
    X(depthwise_backward_weights,                                                                  \
      (const struct window *window, int n, const float *x, const float *dy, float *dw))

#endif
