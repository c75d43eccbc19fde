/* Augmentation of one image. Bytes are [h, w, c] as they came; planes are floats [c, h, w], at
 * first in the bytes' units, 0 to 255.
 *
 * planes_shift      plane pixel (row, column) = byte pixel (row + top, column + left), where `flip`
 *                   counts columns from the right before `left` is added; 0 outside of the image.
 *                   Pixels are copied as they are
 * planes_warp       plane pixel = the bytes where `map` leads, bilinear between the four pixels
 *                   around; each of them is 0 outside of the image. `padded`: room for
 *                   (h + 2) * (w + 2) words
 * planes_jitter     brightness, then contrast, each with values kept within [0, 255]:
 *                   v * brightness; then contrast * v + (1 - contrast) * m, where m is the mean of
 *                   the image's grey, 0.2989 R + 0.587 G + 0.114 B for three channels, else the
 *                   mean of the channels
 * planes_normalize  v * scale[c] + shift[c]
 * planes_erase      0 in rows [top, top + h) and columns [left, left + w) of the area
 * mix               y[i] = share * y[i] + (1 - share) * x[i]
 */
#ifndef KERNELS_AUGMENT_H
#define KERNELS_AUGMENT_H

struct raster {
    int c, h, w;
};

struct area {
    int top, left, h, w;
};

/* Pixel (column x, row y) comes from column xx * x + xy * y + x0 and row yx * x + yy * y + y0, both
 * counted in pixels between their middles. */
struct affine {
    float xx, xy, x0, yx, yy, y0;
};

#define AUGMENT_KERNELS(X)                                                                         \
    X(planes_shift,                                                                                \
      (struct raster raster, int top, int left, bool flip, const uint8_t *x, float *y))            \
    X(planes_warp, (struct raster raster, const struct affine *map, const uint8_t *x,              \
                    uint32_t *padded, float *y))                                                   \
    X(planes_jitter, (struct raster raster, float brightness, float contrast, float *y))           \
    X(planes_normalize, (struct raster raster, const float *scale, const float *shift, float *y))  \
    X(planes_erase, (struct raster raster, struct area area, float *y))                            \
    X(mix, (size_t n, float share, const float *x, float *y))

#endif
