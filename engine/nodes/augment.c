/* The table of augmentations: a row is its key in [augment] and how its numbers are drawn. Knows
 * nothing of pixels: what is drawn here the input node does, by kernels.
 */
#include "engine/nodes/augment.h"

#include "engine/base/random.h"
#include "engine/nodes/keys.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

/* The least alpha of mixup: below it shares are 0 or 1 to the last bit, and their logarithms no
 * finite numbers. */
static const double least_alpha = 1e-3;

struct augmentation {
    struct key key;
    /* NULL: it is the mini-batch's and not an image's. Called where the key is not 0. */
    void (*draw)(const struct augment *augment, struct shape shape, struct random_stream *stream,
                 struct augment_draw *draw);
};

static const char *const flip_names[] = {"none", "horizontal", NULL};

/* Uniform in [middle - reach, middle + reach). */
static double around(double middle, double reach, struct random_stream *stream)
{
    return middle + reach * (2 * random_uniform(stream) - 1);
}

static void draw_flip(const struct augment *augment, struct shape shape,
                      struct random_stream *stream, struct augment_draw *draw)
{
    draw->flip = random_uniform(stream) < 0.5;
}

static void draw_crop(const struct augment *augment, struct shape shape,
                      struct random_stream *stream, struct augment_draw *draw)
{
    const uint32_t places = 2 * (uint32_t)augment->crop + 1;
    draw->top = (int)random_below(stream, places) - augment->crop;
    draw->left = (int)random_below(stream, places) - augment->crop;
}

static void draw_rotate(const struct augment *augment, struct shape shape,
                        struct random_stream *stream, struct augment_draw *draw)
{
    draw->angle = around(0, augment->rotate * pi / 180, stream);
}

static void draw_scale(const struct augment *augment, struct shape shape,
                       struct random_stream *stream, struct augment_draw *draw)
{
    draw->scale = around(1, augment->scale, stream);
}

static void draw_translate(const struct augment *augment, struct shape shape,
                           struct random_stream *stream, struct augment_draw *draw)
{
    draw->right = around(0, augment->translate * shape.w, stream);
    draw->down = around(0, augment->translate * shape.h, stream);
}

static void draw_brightness(const struct augment *augment, struct shape shape,
                            struct random_stream *stream, struct augment_draw *draw)
{
    draw->brightness = around(1, augment->brightness, stream);
}

static void draw_contrast(const struct augment *augment, struct shape shape,
                          struct random_stream *stream, struct augment_draw *draw)
{
    draw->contrast = around(1, augment->contrast, stream);
}

/* Zhong et al., "Random Erasing Data Augmentation", with the numbers of torchvision's
 * RandomErasing. A rectangle that does not fit is drawn again, ATTEMPTS times at the most. */
static void draw_erase(const struct augment *augment, struct shape shape,
                       struct random_stream *stream, struct augment_draw *draw)
{
    enum { ATTEMPTS = 10 };
    static const double least_area = 0.02, most_area = 0.33, least_ratio = 0.3, most_ratio = 3.3;
    if (random_uniform(stream) >= augment->erase)
        return;
    for (int i = 0; i < ATTEMPTS; i++) {
        const double share = least_area + (most_area - least_area) * random_uniform(stream);
        const double area = share * shape.h * shape.w;
        const double ratio =
            least_ratio * pow(most_ratio / least_ratio, random_uniform(stream)); /* h / w */
        const int h = (int)lround(sqrt(area * ratio)), w = (int)lround(sqrt(area / ratio));
        if (h >= shape.h || w >= shape.w)
            continue;
        draw->erased.top = (int)random_below(stream, (uint32_t)(shape.h - h) + 1);
        draw->erased.left = (int)random_below(stream, (uint32_t)(shape.w - w) + 1);
        draw->erased.h = h;
        draw->erased.w = w;
        return;
    }
}

#define FIELD(name) offsetof(struct augment, name)

static const struct augmentation augmentations[] = {
    {{"flip", KEY_CHOICE, FIELD(flip), "none", .choices = flip_names,
      .help = "horizontal: half of the images are mirrored"},
     draw_flip},
    {{"crop", KEY_INTEGER, FIELD(crop), "0", .maximum = DATA_MAX_SIDE,
      .help = "pixels of padding around the image, of which a crop of the image's size is taken"},
     draw_crop},
    {{"rotate", KEY_NUMBER, FIELD(rotate), "0", .maximum = 180,
      .help = "degrees that the image is turned at the most, either way"},
     draw_rotate},
    {{"scale", KEY_NUMBER, FIELD(scale), "0", .maximum = 0.9,
      .help = "the image is enlarged by a factor from 1 - scale to 1 + scale"},
     draw_scale},
    {{"translate", KEY_NUMBER, FIELD(translate), "0", .maximum = 1,
      .help = "share of width and height that the image is moved at the most, either way"},
     draw_translate},
    {{"brightness", KEY_NUMBER, FIELD(brightness), "0", .maximum = 1,
      .help = "pixels are multiplied by a factor from 1 - brightness to 1 + brightness"},
     draw_brightness},
    {{"contrast", KEY_NUMBER, FIELD(contrast), "0", .maximum = 1,
      .help = "distances from the mean grey are multiplied by a factor from 1 - contrast to 1 + "
              "contrast"},
     draw_contrast},
    {{"erase", KEY_NUMBER, FIELD(erase), "0", .maximum = 1,
      .help = "probability that a rectangle of the image is covered with the mean"},
     draw_erase},
    {{"mixup", KEY_NUMBER, FIELD(mixup), "0", .maximum = 100,
      .help = "alpha: images and labels are mixed with others' by shares from Beta(alpha, alpha)"},
     NULL},
};

static bool is_on(const struct augmentation *augmentation, const struct augment *augment)
{
    const char *field = (const char *)augment + augmentation->key.offset;
    if (augmentation->key.kind == KEY_NUMBER)
        return *(const double *)(const void *)field > 0;
    return *(const int *)(const void *)field > 0;
}

enum colonnade_status augment_read(struct augment *augment, struct config *config,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct section *section = config_section(config, "augment");
    struct key keys[COUNT_OF(augmentations)];
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        keys[i] = augmentations[i].key;
    TRY(config_read(config, section, "augment", keys, COUNT_OF(keys), NULL, augment, error));
    if (augment->mixup > 0 && augment->mixup < least_alpha)
        status = config_error(config, section, "mixup", error,
                              "[augment] mixup is %g; it must be 0 or at least %g", augment->mixup,
                              least_alpha);
out:
    return status;
}

bool augment_warps(const struct augment *augment)
{
    return augment->rotate > 0 || augment->scale > 0 || augment->translate > 0;
}

bool augment_recolours(const struct augment *augment)
{
    return augment->brightness > 0 || augment->contrast > 0;
}

bool augment_alters(const struct augment *augment)
{
    for (size_t i = 0; i < COUNT_OF(augmentations); i++)
        if (is_on(&augmentations[i], augment))
            return true;
    return false;
}

static struct random_stream stream_of(const char *name, uint64_t seed, uint32_t epoch,
                                      uint32_t sample)
{
    return (struct random_stream){.seed = seed,
                                  .purpose = random_purpose(RANDOM_AUGMENT, name),
                                  .epoch = epoch,
                                  .sample = sample};
}

struct augment_draw augment_view(struct image_view view)
{
    return (struct augment_draw){
        .flip = view.flip,
        .top = view.top,
        .left = view.left,
        .scale = 1,
        .brightness = 1,
        .contrast = 1,
    };
}

struct augment_draw augment_draw(const struct augment *augment, struct shape shape, uint64_t seed,
                                 uint32_t epoch, uint32_t sample)
{
    struct augment_draw draw = augment_view((struct image_view){0});
    for (size_t i = 0; i < COUNT_OF(augmentations); i++) {
        const struct augmentation *one = &augmentations[i];
        if (!one->draw || !is_on(one, augment))
            continue;
        struct random_stream stream = stream_of(one->key.name, seed, epoch, sample);
        one->draw(augment, shape, &stream, &draw);
    }
    return draw;
}

struct affine augment_map(const struct augment_draw *draw, struct shape shape)
{
    const double cosine = cos(draw->angle) / draw->scale, sine = sin(draw->angle) / draw->scale;
    const double middle_x = 0.5 * (shape.w - 1), middle_y = 0.5 * (shape.h - 1);
    const double across = draw->flip ? -1 : 1;
    /* Of pixel (0, 0): from the middle of the image before it was rotated and scaled. */
    const double x = (draw->flip ? shape.w - 1 : 0) + draw->left - draw->right - middle_x;
    const double y = draw->top - draw->down - middle_y;
    return (struct affine){
        .xx = (float)(across * cosine),
        .xy = (float)-sine,
        .x0 = (float)(middle_x + cosine * x - sine * y),
        .yx = (float)(across * sine),
        .yy = (float)cosine,
        .y0 = (float)(middle_y + sine * x + cosine * y),
    };
}

/* --- mixup --- */

/* The logarithm of a draw from Gamma(alpha, 1): of one from Gamma(alpha + 1, 1), by Marsaglia and
 * Tsang, "A Simple Method for Generating Gamma Variables" (2000), times U^(1 / alpha). A small
 * alpha makes numbers that only their logarithms can tell from 0. */
static double log_gamma_draw(struct random_stream *stream, double alpha)
{
    const double d = alpha + 1 - 1.0 / 3, c = 1 / sqrt(9 * d);
    const double tail = log(1 - random_uniform(stream)) / alpha;
    for (;;) {
        const double x = random_normal(stream), root = 1 + c * x;
        const double u = 1 - random_uniform(stream); /* (0, 1] */
        if (root <= 0)
            continue;
        const double log_v = 3 * log(root);
        if (log(u) < 0.5 * x * x + d - d * exp(log_v) + d * log_v)
            return log(d) + log_v + tail;
    }
}

static uint32_t sample_of(const struct batch *batch, int i)
{
    return batch->samples ? batch->samples[i] : (uint32_t)i;
}

struct mixture augment_mixture(const struct augment *augment, uint64_t seed,
                               const struct batch *batch, int i)
{
    struct random_stream stream = stream_of("mixup", seed, batch->epoch, sample_of(batch, i));
    const double own = log_gamma_draw(&stream, augment->mixup);
    const double other = log_gamma_draw(&stream, augment->mixup);
    struct mixture mixture = {.partner = i, .share = (float)(1 / (1 + exp(other - own)))};
    /* All go around by the same number of places: a permutation without anybody's own place. */
    stream = stream_of("partner", seed, batch->epoch, sample_of(batch, 0));
    if (batch->n > 1)
        mixture.partner = (i + 1 + (int)random_below(&stream, (uint32_t)batch->n - 1)) % batch->n;
    return mixture;
}
