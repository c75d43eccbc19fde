/* The kernels: arithmetic on plain float arrays. They allocate nothing, read no
 * files, start no threads, keep no state, and know nothing of the engine.
 *
 * Each source file is compiled once for every instruction set in kernels/meson.build;
 * KERNEL(name) gives a function the name of its set. A family's header lists its
 * kernels once, in an X-macro: from that list come the prototypes, the fields of
 * `struct kernels`, and each set's table. kernels_best() picks the widest set that
 * this processor runs.
 *
 * Words are oneDNN's: mb images in a mini-batch, ic/ih/iw input channels, height,
 * width, oc/oh/ow the output's, kh/kw kernel, sh/sw stride, dh/dw dilation (1: none),
 * pt/pl/pb/pr padding at top, left, bottom, right, g groups.
 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the elements of one image lie in memory; images follow one another. */
enum layout { LAYOUT_NHWC, LAYOUT_NCHW };

/* One image of a tensor: c channels of hw = h * w pixels. */
struct extent {
    int c, hw;
    enum layout layout;
};

/* A sliding window over an image, for convolutions (weights [oc, ic/g, kh, kw] in
 * PyTorch's words) and for pooling (ic = oc, g unused). */
struct window {
    int ic, ih, iw;
    int oc, oh, ow;
    int kh, kw, sh, sw, dh, dw;
    int pt, pl, pb, pr;
    int g;
};

#define KERNEL_JOIN_(name, isa) name##_##isa
#define KERNEL_JOIN(name, isa) KERNEL_JOIN_(name, isa)
#define KERNEL(name) KERNEL_JOIN(name, KERNEL_ISA)

#include "activation.h"
#include "augment.h"
#include "element.h"
#include "likeness.h"
#include "loss.h"
#include "lowering.h"
#include "normalization.h"
#include "optimizer.h"
#include "pooling.h"
#include "product.h"

#define KERNEL_LIST(X)                                                                             \
    ELEMENT_KERNELS(X)                                                                             \
    AUGMENT_KERNELS(X)                                                                             \
    LOWERING_KERNELS(X)                                                                            \
    POOLING_KERNELS(X)                                                                             \
    ACTIVATION_KERNELS(X)                                                                          \
    NORMALIZATION_KERNELS(X)                                                                       \
    LOSS_KERNELS(X)                                                                                \
    OPTIMIZER_KERNELS(X)                                                                           \
    LIKENESS_KERNELS(X)

struct kernels {
    const char *isa; /* "baseline", "avx2", "avx512" */
    /* product.h's, in every set: it stands here so that a table can stand in for it. */
    void (*product)(struct product p, bool pieces);
#define KERNEL_FIELD(name, parameters) void(*name) parameters;
    KERNEL_LIST(KERNEL_FIELD)
#undef KERNEL_FIELD
};

#ifdef KERNEL_ISA
#define KERNEL_PROTOTYPE(name, parameters) void KERNEL(name) parameters;
KERNEL_LIST(KERNEL_PROTOTYPE)
#undef KERNEL_PROTOTYPE
#endif

/* The table for this processor. */
const struct kernels *kernels_best(void);

/* All tables that this processor can run, narrowest first; for tests and benchmarks.
 * Returns how many; at most `limit` are stored. */
size_t kernels_available(const struct kernels *tables[], size_t limit);

#endif
