/* Output sizes and padding of sliding windows, an axis at a time. */
#include "engine/nodes/window.h"

/* One axis: sizes of the input, the kernel with its dilation, the stride; padding before and after
 * as given (explicit) or to be found (same). */
struct axis {
    int in, extent, stride, before, after, out;
};

/* TensorFlow's rule (interface 2): the output has ceil(in / stride) pixels, an odd pixel of
 * padding stands after, or before with same_lower. */
static void resolve_same(struct axis *axis, bool lower)
{
    axis->out = (axis->in + axis->stride - 1) / axis->stride;
    int total = (axis->out - 1) * axis->stride + axis->extent - axis->in;
    if (total < 0)
        total = 0;
    int smaller = total / 2;
    axis->before = lower ? total - smaller : smaller;
    axis->after = total - axis->before;
}

/* PyTorch's rule, also for ceil: the last window begins inside the input or the padding before it.
 */
static void resolve_explicit(struct axis *axis, bool ceil)
{
    int span = axis->in + axis->before + axis->after - axis->extent;
    if (span < 0) {
        axis->out = 0;
        return;
    }
    axis->out = span / axis->stride + 1;
    if (ceil && span % axis->stride != 0 && axis->out * axis->stride < axis->in + axis->before)
        axis->out++;
}

static void resolve(struct axis *axis, const struct padding *padding, bool ceil)
{
    if (padding->kind == PADDING_SAME || padding->kind == PADDING_SAME_LOWER)
        resolve_same(axis, padding->kind == PADDING_SAME_LOWER);
    else
        resolve_explicit(axis, ceil);
}

enum colonnade_status window_resolve(struct node *node, const struct node_build *build,
                                     const struct window_settings *settings, struct window *window,
                                     struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct pair kernel = settings->kernel, stride = settings->stride, dilation = settings->dilation;
    const struct padding *padding = &settings->padding;
    struct axis y = {.in = node->in.h,
                     .extent = (kernel.h - 1) * dilation.h + 1,
                     .stride = stride.h,
                     .before = padding->t,
                     .after = padding->b};
    struct axis x = {.in = node->in.w,
                     .extent = (kernel.w - 1) * dilation.w + 1,
                     .stride = stride.w,
                     .before = padding->l,
                     .after = padding->r};
    resolve(&y, padding, settings->ceil);
    resolve(&x, padding, settings->ceil);
    if (y.out < 1 || x.out < 1) {
        status =
            config_error(build->config, build->section, "kernel", error,
                         "[%s] a kernel that covers %dx%d does not fit into its input of "
                         "%dx%d with padding %d,%d,%d,%d (it must be no larger than %dx%d)",
                         node->name, y.extent, x.extent, y.in, x.in, y.before, x.before, y.after,
                         x.after, y.in + y.before + y.after, x.in + x.before + x.after);
        goto out;
    }
    node->out.h = y.out;
    node->out.w = x.out;
    int resolved[4] = {y.before, x.before, y.after, x.after};
    for (int i = 0; i < 4; i++)
        node->padding[i] = resolved[i];
    *window = (struct window){
        .ic = node->in.c,
        .ih = node->in.h,
        .iw = node->in.w,
        .oc = node->in.c,
        .oh = y.out,
        .ow = x.out,
        .kh = kernel.h,
        .kw = kernel.w,
        .sh = stride.h,
        .sw = stride.w,
        .dh = dilation.h,
        .dw = dilation.w,
        .pt = y.before,
        .pl = x.before,
        .pb = y.after,
        .pr = x.after,
        .g = 1,
    };
out:
    return status;
}

/* Of an axis with `in` and `out` pixels: at least one. */
static int pixels_read(int in, int out, int kernel, int stride, int dilation, int padding)
{
    const int end = (out - 1) * stride + (kernel - 1) * dilation + 1 - padding;
    return end < 1 ? 1 : end < in ? end : in;
}

struct shape window_reads(const struct node *node, const struct window *window)
{
    const struct window *w = window;
    return (struct shape){
        .c = node->in.c,
        .h = pixels_read(node->in.h, node->out.h, w->kh, w->sh, w->dh, w->pt),
        .w = pixels_read(node->in.w, node->out.w, w->kw, w->sw, w->dw, w->pl),
    };
}
