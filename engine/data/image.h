/* Pixels of one image file, of any of the usual formats, in the shape that a network takes.
 *
 * JPEG, PNG, WebP, BMP, TIFF, GIF, PGM and PPM are told apart by content, not by name. An
 * image is turned as its EXIF says, and comes out as 8 bits of grey or RGB, whatever it was: deeper
 * ones are scaled, palettes looked up, CMYK is converted (by its profile, if it has one), what is
 * transparent, or what a GIF's frame leaves free, is laid over white. Of several pages or frames
 * the first one counts. Profiles of grey and RGB images are not applied. TIFFs of CIELab, or of
 * YCbCr not compressed as JPEG, are refused. Grey is the luma of ITU-R BT.601, so that an RGB file
 * without colours gives what the grey file does.
 *
 * Resizing is Lanczos with 3 lobes where it shrinks, bicubic where it enlarges.
 */
#ifndef ENGINE_DATA_IMAGE_H
#define ENGINE_DATA_IMAGE_H

#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* What a header may say before anything is decoded: bombs are small files. */
enum { IMAGE_MAX_SIDE = 1 << 15, IMAGE_MAX_PIXELS = 1 << 27, IMAGE_MAX_FILE_BYTES = 1 << 29 };

/* How an image of another aspect ratio is made to fit. */
enum image_fit {
    IMAGE_CROP,    /* covers the target; what stands over is cut off, as much on either side */
    IMAGE_PAD,     /* is contained in it; the rest is black, as much on either side */
    IMAGE_STRETCH, /* takes its aspect ratio */
};

extern const char *const image_fit_names[]; /* the config's words for it, NULL-terminated */

struct image_target {
    int c, h, w; /* c: 1 or 3 */
    enum image_fit fit;
};

/* As the file has it, turned. */
struct image_facts {
    int width, height;
    int bands; /* 1: grey, 3: RGB, 4: CMYK; one more with alpha; palettes looked up */
    int white; /* the largest value that a sample may have: 255, 65535, or what a PGM or PPM says */
    int largest; /* sample, alpha aside, where `white` is above 255; else 0 */
};

/* Fills `pixels` [h, w, c]; `facts`, for which deeper images are read twice, may be NULL. The same
 * file gives the same bytes, whatever runs beside it. A file that cannot be read, is no image, is
 * damaged or cut short, or says that it is larger than the limits above is a COLONNADE_FAILURE that
 * begins with `path`. Thread-safe. */
enum colonnade_status image_read(const char *path, const struct image_target *target,
                                 uint8_t *pixels, struct image_facts *facts,
                                 struct colonnade_error *error);

/* Whether it is the file's fault that image_read() failed, and not the machine's, which has no
 * memory, no descriptor or no libvips: messages of that do not begin with `path`. */
bool image_is_bad(const char *path, const struct colonnade_error *error);

/* The same, but strict with JPEGs: their decoder merely warns where data are missing or make no
 * sense, and fills the rest with grey or with what the bits happen to say. Here that is an error,
 * and so are more zero bytes in a row than the data of a sound image hold (headers.h). */
enum colonnade_status image_read_strictly(const char *path, const struct image_target *target,
                                          uint8_t *pixels, struct image_facts *facts,
                                          struct colonnade_error *error);

/* Whether a file's name ends like one of these formats', in capitals or not: for folders in which
 * other files lie, too. */
bool image_is_named(const char *name);

#endif
