/* Grouped convolutions of few channels a group, several groups at a time: their filters stand on
 * the diagonal of one dense block, zeros around them, and the convolution goes as one of fewer and
 * wider groups, by pixels.c. Most of the products are then with zeros, yet one wide product is far
 * faster than several narrow ones. A channel that is not finite makes NaN of its whole block.
 */
#include "lowered.h"

#include <string.h>

enum { BLOCK_CHANNELS = 32 /* a block has so many at the most, in and out */ };

static int merged_groups(const struct window *w)
{
    int merged = 1, most = BLOCK_CHANNELS / (w->ic > w->oc ? w->ic / w->g : w->oc / w->g);
    for (int m = 2; m <= most && m <= w->g; m++)
        if (w->g % m == 0)
            merged = m;
    return merged;
}

/* The dense convolution of a block's groups each. */
static struct convolution blocks_of(const struct convolution *c)
{
    struct convolution blocks = *c;
    blocks.merged = 0;
    blocks.slices = blocks.window.g /= c->merged;
    return blocks;
}

static size_t dense_weights(const struct window *blocks)
{
    return (size_t)filter_taps(blocks) * (size_t)blocks->oc;
}

void groups_plan(struct convolution *c, enum layout x_layout)
{
    struct convolution blocks = *c;
    int merged = merged_groups(&c->window);
    blocks.window.g /= merged;
    pixels_plan(&blocks, x_layout);
    if (merged == 1 && !blocks.by_rows) {
        *c = blocks;
        return;
    }
    blocks.scratch += 3 * dense_weights(&blocks.window);
    blocks.window = c->window;
    blocks.merged = merged;
    blocks.slices = 0;
    blocks.transposed = 0;
    blocks.weight_tiles = 0;
    *c = blocks;
}

/* Where weights [oc/g] of one input channel and tap of a group lie among the dense ones. */
static size_t dense_at(const struct convolution *c, int group, int tap, int channel)
{
    const struct window *w = &c->window;
    int icg = w->ic / w->g, ocg = w->oc / w->g, within = group % c->merged;
    size_t row = (size_t)(group / c->merged * w->kh * w->kw + tap) * (size_t)(c->merged * icg) +
                 (size_t)(within * icg + channel);
    return row * (size_t)(c->merged * ocg) + (size_t)(within * ocg);
}

static void expand(const struct convolution *c, size_t size, const float *weights, float *dense)
{
    const struct window *w = &c->window;
    int icg = w->ic / w->g, ocg = w->oc / w->g;
    memset(dense, 0, size * sizeof *dense);
    for (int group = 0; group < w->g; group++)
        for (int tap = 0; tap < w->kh * w->kw; tap++)
            for (int channel = 0; channel < icg; channel++, weights += ocg) {
                float *to = dense + dense_at(c, group, tap, channel);
                for (int o = 0; o < ocg; o++)
                    to[o] = weights[o];
            }
}

/* The diagonal of the dense gradient. */
static void collect(const struct convolution *c, const float *dense, bool add, float *dw)
{
    const struct window *w = &c->window;
    int icg = w->ic / w->g, ocg = w->oc / w->g;
    for (int group = 0; group < w->g; group++)
        for (int tap = 0; tap < w->kh * w->kw; tap++)
            for (int channel = 0; channel < icg; channel++, dw += ocg) {
                const float *from = dense + dense_at(c, group, tap, channel);
                for (int o = 0; o < ocg; o++)
                    dw[o] = add ? dw[o] + from[o] : from[o];
            }
}

void groups_forward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                    const float *weights, float *y, float *scratch)
{
    struct convolution blocks = blocks_of(c);
    size_t size = dense_weights(&blocks.window);
    expand(c, size, weights, scratch);
    pixels_forward(&blocks, k, n, x, scratch, y, scratch + 3 * size);
}

void groups_backward(const struct convolution *c, const struct kernels *k, int n, const float *x,
                     const float *weights, const float *dy, bool add_dx, float *dx, bool add_dw,
                     float *dw, float *scratch)
{
    struct convolution blocks = blocks_of(c);
    size_t size = dense_weights(&blocks.window);
    float *dense = scratch, *transposed = NULL, *dense_dw = scratch + 2 * size;
    if (dx) {
        expand(c, size, weights, dense);
        if (pixels_want_transposed(&blocks)) {
            transposed = scratch + size;
            pixels_transpose(&blocks, k, dense, transposed);
        }
    }
    pixels_backward(&blocks, k, n, x, dense, transposed, dy, add_dx, dx, false,
                    dw ? dense_dw : NULL, scratch + 3 * size);
    if (dw)
        collect(c, dense_dw, add_dw, dw);
}
