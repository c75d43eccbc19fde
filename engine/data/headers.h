/* What TIFF, GIF and JPEG files say beside their pixels and libvips keeps to itself. Private to
 * image.c. */
#ifndef ENGINE_DATA_HEADERS_H
#define ENGINE_DATA_HEADERS_H

#include <stddef.h>
#include <stdint.h>

/* Fields of the first page, and TIFF 6.0's numbers for their values. */
enum { TIFF_ABSENT = -1 };
enum tiff_photometric {
    TIFF_WHITE_IS_ZERO = 0,
    TIFF_BLACK_IS_ZERO = 1,
    TIFF_RGB = 2,
    TIFF_PALETTE = 3,
    TIFF_SEPARATED = 5,
    TIFF_YCBCR = 6,
    TIFF_CIELAB = 8,
};
enum { TIFF_JPEG = 7 /* compression */, TIFF_UNSPECIFIED = 0 /* extra sample */ };

struct tiff_header {
    int64_t photometric;  /* tag 262 */
    int64_t compression;  /* tag 259 */
    int64_t extra_sample; /* tag 338; TIFF_ABSENT, too, where there is more than one */
};

/* Of a file, of which `bytes` are all; what lies beyond its end is absent. */
struct tiff_header tiff_read_header(const uint8_t *bytes, size_t count);

/* Where on the canvas the first frame lies, all in pixels. */
struct gif_frame {
    int left, top, width, height;
};

/* Of a file, of which `bytes` are all; zeros where it has no frame. */
struct gif_frame gif_first_frame(const uint8_t *bytes, size_t count);

/* Of a sequential JPEG with Huffman codes (ITU-T T.81: SOF0 and SOF1), of which `bytes` are all:
 * the longest run of zero bytes in its coded data, if it is longer than an image makes it; else 0.
 * Bits of zero are the shortest code of each table over and over. Where that of the first
 * component's AC coefficients is not the end of a block, it is a pattern that no picture has for
 * JPEG_ZEROS bytes; where it is, it is a flat area, which has no more blocks than the image. */
enum { JPEG_ZEROS = 64 };
size_t jpeg_lost_bytes(const uint8_t *bytes, size_t count);

#endif
