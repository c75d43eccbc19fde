/* [augment]: what chance does to the images of the training split, each time they are seen.
 *
 * What becomes of an image is a function of the run's seed, the epoch, the sample's index and the
 * settings: no thread, no order and no interruption changes it. Each augmentation draws from a
 * stream of its own, so that one more of them changes none of the others' draws.
 */
#ifndef ENGINE_NODES_AUGMENT_H
#define ENGINE_NODES_AUGMENT_H

#include "engine/data/dataset.h"
#include "engine/nodes/node.h"

/* All zero: none. */
struct augment {
    int flip;                                             /* 1: horizontal */
    int crop;                                             /* pixels */
    double rotate;                                        /* degrees */
    double scale, translate, brightness, contrast, erase; /* shares */
    double mixup;                                         /* alpha */
};

/* What chance has in mind for one image. Its pixels come from rows + top and columns + left of the
 * image rotated by `angle` (anticlockwise), scaled and moved; with `flip` columns count from the
 * right. */
struct augment_draw {
    bool flip;
    int top, left;
    double angle;                /* radians */
    double scale;                /* above 1: larger */
    double right, down;          /* pixels that the image moves */
    double brightness, contrast; /* factors */
    struct area erased;          /* h = 0: none */
};

/* `share` of an image, the rest of its partner; an index into the mini-batch. */
struct mixture {
    int partner;
    float share;
};

/* Reads [augment] of the config, where there is one. */
enum colonnade_status augment_read(struct augment *augment, struct config *config,
                                   struct colonnade_error *error);

/* Whether a pixel may come from between pixels, or has another colour. */
bool augment_warps(const struct augment *augment);
bool augment_recolours(const struct augment *augment);
/* Whether anything is done to an image by itself, or at all. */
bool augment_alters(const struct augment *augment);

struct augment_draw augment_draw(const struct augment *augment, struct shape shape, uint64_t seed,
                                 uint32_t epoch, uint32_t sample);

/* The same for a view: nothing else is altered. */
struct augment_draw augment_view(struct image_view view);

/* Where the pixels of an image of `shape` come from. */
struct affine augment_map(const struct augment_draw *draw, struct shape shape);

/* Of image i of a mini-batch, under mixup. */
struct mixture augment_mixture(const struct augment *augment, uint64_t seed,
                               const struct batch *batch, int i);

#endif
