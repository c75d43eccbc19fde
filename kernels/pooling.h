/* Pooling over the windows of `window` (ic = oc channels), for n images in `layout`.
 *
 * maxpool_forward   y and where each maximum stood: argmax = ki * kw + kj within the window
 *                   (NULL: not wanted). The first maximum wins, as in PyTorch. Padding takes
 *                   part in no maximum.
 * maxpool_backward  dx (overwritten, or added to with `accumulate`) gets each dy at its argmax
 * avgpool_*         the mean over the window; as PyTorch counts it with count_include_pad
 *                   (`include_pad`): the divisor is the window's extent clipped to the padded
 *                   input; without, clipped to the input itself. A window that `ceil` lets hang
 *                   over the end is so handled by both.
 * A global average pool is a window of the whole image.
 */
#ifndef KERNELS_POOLING_H
#define KERNELS_POOLING_H

#define POOLING_KERNELS(X)                                                                         \
    X(maxpool_forward, (const struct window *window, enum layout layout, int n, const float *x,    \
                        float *y, uint16_t *argmax))                                               \
    X(maxpool_backward, (const struct window *window, enum layout layout, int n, const float *dy,  \
                         const uint16_t *argmax, bool accumulate, float *dx))                      \
    X(avgpool_forward, (const struct window *window, enum layout layout, bool include_pad, int n,  \
                        const float *x, float *y))                                                 \
    X(avgpool_backward, (const struct window *window, enum layout layout, bool include_pad, int n, \
                         const float *dy, bool accumulate, float *dx))

#endif
