/* Which way a convolution goes, how its weights lie then, and the calls of that way. */
#include "convolution.h"

#include "lowered.h"

#include <string.h>

enum {
    FEW_CHANNELS = 8 /* fewer than this: taps first */
};

static bool is_pointwise(const struct window *w)
{
    return w->kh == 1 && w->kw == 1 && w->sh == 1 && w->sw == 1 && w->pt == 0 && w->pl == 0 &&
           w->pb == 0 && w->pr == 0 && w->g == 1;
}

struct convolution convolution_plan(struct window window)
{
    struct convolution c = {.window = window};
    if (window.g > 1 && window.g == window.ic && window.g == window.oc) {
        c.lowering = LOWERING_DEPTHWISE;
        c.x_layout = c.y_layout = LAYOUT_NHWC;
    } else if (is_pointwise(&window)) {
        pixels_plan(&c, LAYOUT_NHWC);
        c.lowering = LOWERING_POINTWISE;
    } else if (window.g == 1 && window.ic < FEW_CHANNELS) {
        taps_plan(&c);
    } else if (window.g == 1) {
        pixels_plan(&c, LAYOUT_NHWC);
    } else {
        groups_plan(&c, LAYOUT_NHWC);
    }
    return c;
}

struct convolution convolution_plan_for(struct window window, enum layout x_layout)
{
    struct convolution c = convolution_plan(window);
    if (c.x_layout == x_layout)
        return c;
    if (c.lowering == LOWERING_TAPS) {
        c.x_layout = x_layout;
        return c;
    }
    c = (struct convolution){.window = window};
    if (window.g == 1)
        pixels_plan(&c, x_layout);
    else
        groups_plan(&c, x_layout);
    return c;
}

struct convolution convolution_cut(const struct convolution *c, int ih, int iw, int oh, int ow)
{
    struct convolution cut = *c;
    cut.output_rows = smaller_of(c->output_rows, oh);
    cut.columns.oh -= c->window.oh - oh;
    cut.columns.ow = ow;
    cut.columns.ih = cut.window.ih = ih;
    cut.columns.iw = cut.window.iw = iw;
    cut.window.oh = oh;
    cut.window.ow = ow;
    return cut;
}

void convolution_weights(const struct convolution *c, int sizes[5], size_t strides[5])
{
    const struct window *w = &c->window;
    sizes[0] = c->slices > 0 ? c->slices : w->g;
    sizes[1] = w->oc / sizes[0], sizes[2] = w->ic / w->g, sizes[3] = w->kh, sizes[4] = w->kw;
    size_t icg = (size_t)sizes[2], filters = (size_t)sizes[1];
    size_t kh = (size_t)w->kh, kw = (size_t)w->kw;
    size_t slice, out, in, row, column;
    if (c->lowering == LOWERING_DEPTHWISE) {
        slice = 1, out = 0, in = 0, row = kw * (size_t)w->ic, column = (size_t)w->ic;
    } else if (c->lowering == LOWERING_TAPS) {
        bool filters_inner = c->y_layout == LAYOUT_NHWC;
        column = filters_inner ? filters : 1;
        row = kw * column * (c->by_rows ? icg : 1);
        in = kw * column * (size_t)c->columns.kh;
        slice = 0, out = filters_inner ? 1 : icg * kh * kw;
    } else {
        out = 1, in = filters, column = icg * in, row = kw * column, slice = kh * row;
    }
    strides[0] = slice, strides[1] = out, strides[2] = in, strides[3] = row, strides[4] = column;
}

void convolution_forward(const struct convolution *c, const struct kernels *k, int n,
                         const float *x, const float *w, float *y, float *scratch)
{
    if (c->merged) {
        groups_forward(c, k, n, x, w, y, scratch);
        return;
    }
    switch (c->lowering) {
    case LOWERING_TAPS:
        taps_forward(c, k, n, x, w, y, scratch);
        break;
    case LOWERING_PIXELS:
    case LOWERING_POINTWISE:
        pixels_forward(c, k, n, x, w, y, scratch);
        break;
    case LOWERING_DEPTHWISE:
        k->depthwise_forward(&c->window, n, x, w, y);
        break;
    }
}

static void depthwise_backward(const struct convolution *c, const struct kernels *k, int n,
                               const float *x, const float *w, const float *dy, bool accumulate_dx,
                               float *dx, bool accumulate_dw, float *dw)
{
    if (dw) {
        const struct window *window = &c->window;
        size_t weights = (size_t)window->kh * (size_t)window->kw * (size_t)window->ic;
        if (!accumulate_dw)
            memset(dw, 0, weights * sizeof *dw);
        k->depthwise_backward_weights(window, n, x, dy, dw);
    }
    if (dx)
        k->depthwise_backward_data(&c->window, n, dy, w, accumulate_dx, dx);
}

void convolution_transpose(const struct convolution *c, const struct kernels *k, const float *w,
                           float *transposed)
{
    pixels_transpose(c, k, w, transposed);
}

void convolution_backward(const struct convolution *c, const struct kernels *k, int n,
                          const float *x, const float *w, const float *transposed, const float *dy,
                          bool accumulate_dx, float *dx, bool accumulate_dw, float *dw,
                          float *scratch)
{
    bool scatters = c->lowering == LOWERING_TAPS || (c->lowering == LOWERING_PIXELS && !c->turned);
    if (dx && scatters && !accumulate_dx)
        memset(dx, 0, (size_t)n * input_size(&c->window) * sizeof *dx);
    if (c->merged) {
        groups_backward(c, k, n, x, w, dy, accumulate_dx, dx, accumulate_dw, dw, scratch);
        return;
    }
    switch (c->lowering) {
    case LOWERING_TAPS:
        taps_backward(c, k, n, x, w, dy, dx, accumulate_dw, dw, scratch);
        break;
    case LOWERING_PIXELS:
    case LOWERING_POINTWISE:
        pixels_backward(c, k, n, x, w, transposed, dy, accumulate_dx, dx, accumulate_dw, dw,
                        scratch);
        break;
    case LOWERING_DEPTHWISE:
        depthwise_backward(c, k, n, x, w, dy, accumulate_dx, dx, accumulate_dw, dw);
        break;
    }
}

void convolution_backward_weights_tile(const struct convolution *c, const struct kernels *k, int n,
                                       int tile, const float *x, const float *dy, float *dw,
                                       float *scratch)
{
    pixels_weights_tile(c, k, n, tile, x, dy, dw, scratch);
}
