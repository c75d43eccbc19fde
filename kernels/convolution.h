/* Convolution as im2col and cblas_sgemm, over tiles of whole images.
 *
 * convolution_plan() decides by shape alone how a convolution is lowered; everything that
 * follows, and so every bit of a result, is fixed by that plan. Weights lie as
 *   [slices, kh, kw, ic/g, oc/slices]  pixels first and pointwise; where slices is 0, g
 *   [ic, kh, kw, oc]         taps first, y in NHWC
 *   [oc, ic, kh, kw]         taps first, y in NCHW
 *   [kh, ic, kw, oc], [oc, kh, ic, kw]   the same by kernel rows
 *   [kh, kw, c]              depthwise
 * as convolution_weights() tells. x, y and their gradients are n images in the plan's
 * layouts.
 */
#ifndef KERNELS_CONVOLUTION_H
#define KERNELS_CONVOLUTION_H

#include "kernels.h"

enum lowering {
    LOWERING_PIXELS,    /* columns [pixels, taps]: many channels */
    LOWERING_TAPS,      /* columns [taps, pixels]: few channels */
    LOWERING_POINTWISE, /* 1x1, stride 1: the input is its own column matrix */
    LOWERING_DEPTHWISE, /* no matrix: a kernel of its own */
};

struct convolution {
    struct window window;
    enum lowering lowering;
    enum layout x_layout, y_layout; /* what the kernels are fastest with; x may be either */
    int slices;                     /* > 0, pixels first: weights lie in so many slices of filters,
                                     * a group's or fewer; else all of a group's together */
    int rows;                       /* output pixels a tile of columns, at the most */
    int tap_rows;                   /* > 0: forward a tap at a time, and by so many pixels */
    int weight_rows;                /* the same of the weight gradient, where not by rows */
    int kernel_rows;                /* kernel rows a column matrix, at the most */
    int output_rows;                /* taps first, and by rows: output rows of an image a tile */
    int data_rows;                  /* by rows, pixels first: the same of the data gradient */
    struct window columns;          /* the same: the window whose columns are gathered: this one, */
    bool by_rows;       /* or its first kernel row, whose columns serve a product for each */
    bool turned;        /* the data gradient is a convolution of dy, with the kernel turned */
    int merged;         /* > 0: so many groups at a time as one dense block: see groups.c */
    int weight_tiles;   /* > 0: the weight gradient is cut over weights instead of over images */
    int weight_filters; /* then: output channels a tile */
    bool pieces;        /* products in pieces: see product.h */
    size_t transposed;  /* > 0: floats of the transposed weights that dx is made with */
    size_t scratch;     /* floats that every function below needs, at the most */
};

/* The fastest way for this window; the result's x_layout says which layout it wants x in. */
struct convolution convolution_plan(struct window window);

/* The way for x in a given layout: where that is not the wanted one the gather is slower. */
struct convolution convolution_plan_for(struct window window, enum layout x_layout);

/* The same convolution of the first ih rows and iw columns of its input, which must be all that the
 * first oh rows and ow columns of its output read, to those: x, y and their gradients are as large
 * as that. LOWERING_POINTWISE can only be cut to what it is. */
struct convolution convolution_cut(const struct convolution *c, int ih, int iw, int oh, int ow);

/* The weights seen as [slices, oc/slices, ic/g, kh, kw], which is PyTorch's order: the sizes, and
 * the distances in memory between neighbours. */
void convolution_weights(const struct convolution *c, int sizes[5], size_t strides[5]);

void convolution_forward(const struct convolution *c, const struct kernels *k, int n,
                         const float *x, const float *w, float *y, float *scratch);

/* transposed [oc, taps] from the weights: once after each change of these, where c->transposed.
 * Where c->turned they are the weights of the convolution that takes dy to dx, as that one's plan
 * has them: the kernel turned by half a circle, of oc/g channels in and in slices of ic out. */
void convolution_transpose(const struct convolution *c, const struct kernels *k, const float *w,
                           float *transposed);

/* Both gradients. `transposed` may be NULL where c->transposed is 0 or dx is. dx may be NULL (not
 * wanted); it is overwritten, or added to with `accumulate_dx`. dw may be NULL; the same with
 * `accumulate_dw`. */
void convolution_backward(const struct convolution *c, const struct kernels *k, int n,
                          const float *x, const float *w, const float *transposed, const float *dy,
                          bool accumulate_dx, float *dx, bool accumulate_dw, float *dw,
                          float *scratch);

/* Tile `tile` of the weight gradient over all n images; overwrites that part of dw. */
void convolution_backward_weights_tile(const struct convolution *c, const struct kernels *k, int n,
                                       int tile, const float *x, const float *dy, float *dw,
                                       float *scratch);

#endif
