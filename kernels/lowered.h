/* The ways of lowering a convolution to products, taps first, pixels first and groups in blocks,
 * for convolution.c alone; the arguments are those of convolution.h. dx is added to, but by a
 * pointwise or turned convolution with add_dx false. */
#ifndef KERNELS_LOWERED_H
#define KERNELS_LOWERED_H

#include "convolution.h"
#include "product.h"

/* Taps of one group's filter. */
static inline int filter_taps(const struct window *w)
{
    return w->kh * w->kw * (w->ic / w->g);
}

static inline size_t input_size(const struct window *w)
{
    return (size_t)w->ic * (size_t)w->ih * (size_t)w->iw;
}

static inline size_t output_pixels(const struct window *w)
{
    return (size_t)w->oh * (size_t)w->ow;
}

static inline int ceil_divide(size_t a, size_t b)
{
    return (int)((a + b - 1) / b);
}

static inline int smaller_of(int a, int b)
{
    return a < b ? a : b;
}

void taps_plan(struct convolution *c);
void taps_forward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                  const float *weights, float *y, float *scratch);
void taps_backward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                   const float *weights, const float *dy, float *dx, bool add_dw, float *dw,
                   float *scratch);

/* Also for pointwise convolutions, whose columns are x itself. */
void pixels_plan(struct convolution *c, enum layout x_layout);
/* Whether pixels_backward() needs `transposed` for dx; it is convolution_transpose()'s. */
bool pixels_want_transposed(const struct convolution *c);
void pixels_transpose(const struct convolution *c, const struct kernels *k, const float *weights,
                      float *transposed);
void pixels_forward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                    const float *weights, float *y, float *scratch);
void pixels_backward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                     const float *weights, const float *transposed, const float *dy, bool add_dx,
                     float *dx, bool add_dw, float *dw, float *scratch);
void pixels_weights_tile(const struct convolution *c, const struct kernels *k, int n, int tile,
                         const float *x, const float *dy, float *dw, float *scratch);

/* For g > 1: pixels first, in dense blocks of groups where that is faster; c->merged is set then,
 * and the functions below are the ones to call. */
void groups_plan(struct convolution *c, enum layout x_layout);
void groups_forward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                    const float *weights, float *y, float *scratch);
void groups_backward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                     const float *weights, const float *dy, bool add_dx, float *dx, bool add_dw,
                     float *dw, float *scratch);

#endif
