/* Pixels to a PNG (ISO/IEC 15948) in a data URI, which needs neither a file nor JavaScript.
 * Knows nothing of runs.
 */
#include "engine/report/image.h"

#include "engine/base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { CHUNK_OVERHEAD = 12, HEADER = 13, SIGNATURE = 8, SMALL_SIDE = 128 };

/* PNG's colour types, by channels. */
static const unsigned char colour_types[] = {[1] = 0, [3] = 2, [4] = 6};

static unsigned char *put32(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(value >> (24 - 8 * i));
    return to + 4;
}

static unsigned char *put_chunk(unsigned char *to, const char *type, const unsigned char *data,
                                size_t count)
{
    unsigned char *start = put32(to, (uint32_t)count);
    memcpy(start, type, 4);
    if (count)
        memcpy(start + 4, data, count);
    uint32_t checksum = (uint32_t)crc32(crc32(0, NULL, 0), start, (uInt)(count + 4));
    return put32(start + 4 + count, checksum);
}

static void write_base64(FILE *page, const unsigned char *data, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < count; i += 3) {
        size_t rest = count - i;
        uint32_t bits = (uint32_t)data[i] << 16 | (rest > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                        (rest > 2 ? (uint32_t)data[i + 2] : 0);
        fputc(digits[bits >> 18], page);
        fputc(digits[bits >> 12 & 63], page);
        fputc(rest > 1 ? digits[bits >> 6 & 63] : '=', page);
        fputc(rest > 2 ? digits[bits & 63] : '=', page);
    }
}

enum colonnade_status image_uri(FILE *page, const unsigned char *pixels, int width, int height,
                                int channels, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    unsigned char *rows = NULL, *packed = NULL, *png = NULL;
    size_t row = (size_t)channels * (size_t)width;
    size_t raw = (row + 1) * (size_t)height; /* a filter byte, 0, a row */
    uLongf packed_bytes = compressBound((uLong)raw);
    TRY(memory_allocate(&rows, raw, 1, "a picture", error));
    TRY(memory_allocate(&packed, packed_bytes, 1, "a picture", error));
    TRY(memory_allocate(&png, SIGNATURE + 3 * CHUNK_OVERHEAD + HEADER + packed_bytes, 1,
                        "a picture", error));
    for (size_t i = 0; i < (size_t)height; i++)
        memcpy(rows + i * (row + 1) + 1, pixels + i * row, row);
    if (compress2(packed, &packed_bytes, rows, (uLong)raw, Z_BEST_COMPRESSION) != Z_OK)
        RAISE(COLONNADE_FAILURE, "zlib could not pack a picture of %dx%d pixels", width, height);

    unsigned char header[HEADER] = {[8] = 8 /* bits */, [9] = colour_types[channels]};
    put32(put32(header, (uint32_t)width), (uint32_t)height);
    memcpy(png, "\x89PNG\r\n\x1a\n", SIGNATURE);
    unsigned char *end = put_chunk(png + SIGNATURE, "IHDR", header, HEADER);
    end = put_chunk(end, "IDAT", packed, packed_bytes);
    end = put_chunk(end, "IEND", NULL, 0);
    fputs("data:image/png;base64,", page);
    write_base64(page, png, (size_t)(end - png));
out:
    free(rows);
    free(packed);
    free(png);
    return status;
}

/* The mean of channel `c` over the square of `side` pixels at (x, y), as far as the image goes. */
static unsigned char mean_of(const unsigned char *image, int width, int height, int channels, int x,
                             int y, int side, int c)
{
    const int right = x + side < width ? x + side : width;
    const int bottom = y + side < height ? y + side : height;
    const unsigned long count = (unsigned long)(right - x) * (unsigned long)(bottom - y);
    unsigned long sum = 0;
    for (int j = y; j < bottom; j++)
        for (int i = x; i < right; i++)
            sum += image[((size_t)j * (size_t)width + (size_t)i) * (size_t)channels + (size_t)c];
    return (unsigned char)((sum + count / 2) / count);
}

enum colonnade_status image_small_uri(FILE *page, const unsigned char *image, int width, int height,
                                      int channels, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const int longer = width > height ? width : height;
    const int side = (longer + SMALL_SIDE - 1) / SMALL_SIDE, shown = channels == 3 ? 3 : 1;
    const int columns = (width + side - 1) / side, rows = (height + side - 1) / side;
    unsigned char *pixels = NULL;
    TRY(memory_allocate(&pixels, (size_t)columns * (size_t)rows, (size_t)shown, "a picture",
                        error));
    unsigned char *to = pixels;
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < columns; x++)
            for (int c = 0; c < shown; c++)
                *to++ = mean_of(image, width, height, channels, x * side, y * side, side, c);
    TRY(image_uri(page, pixels, columns, rows, shown, error));
out:
    free(pixels);
    return status;
}
