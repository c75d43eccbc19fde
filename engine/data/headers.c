/* Reads single fields of TIFF and GIF headers, and where a JPEG's data are. Knows nothing of
 * pixels, and leaves it to whoever decodes the file to say that it is damaged.
 */
#include "engine/data/headers.h"

#include <stdbool.h>

struct reader {
    const uint8_t *bytes;
    size_t count;
    bool big_endian;
};

/* False where it does not lie within the file. */
static bool read_number(const struct reader *reader, uint64_t at, unsigned width, uint64_t *number)
{
    *number = 0;
    if (at > reader->count || width > reader->count - at)
        return false;
    for (unsigned i = 0; i < width; i++)
        *number = *number << 8 | reader->bytes[at + (reader->big_endian ? i : width - 1 - i)];
    return true;
}

/* --- TIFF --- */

/* Bytes of one value of a field's type; 0: no whole number without a sign. */
static unsigned value_width(uint64_t type)
{
    switch (type) {
    case 1: /* BYTE */
        return 1;
    case 3: /* SHORT */
        return 2;
    case 4: /* LONG */
        return 4;
    case 16: /* LONG8, of files with offsets of 8 bytes */
        return 8;
    default:
        return 0;
    }
}

/* Of the field that stands at `at` in a directory; its one value stands in it. `offset_width`: 4 or
 * 8 bytes. */
static int64_t read_value(const struct reader *reader, uint64_t at, unsigned offset_width)
{
    uint64_t type, count, value;
    if (!read_number(reader, at + 2, 2, &type) ||
        !read_number(reader, at + 4, offset_width, &count) || count != 1)
        return TIFF_ABSENT;
    const unsigned width = value_width(type);
    if (width == 0 || !read_number(reader, at + 4 + offset_width, width, &value) ||
        value > INT64_MAX)
        return TIFF_ABSENT;
    return (int64_t)value;
}

struct tiff_header tiff_read_header(const uint8_t *bytes, size_t count)
{
    struct tiff_header header = {TIFF_ABSENT, TIFF_ABSENT, TIFF_ABSENT};
    const struct reader reader = {bytes, count, count > 0 && bytes[0] == 'M'};
    uint64_t version, at, fields, tag;
    if (!read_number(&reader, 2, 2, &version))
        return header;
    const bool wide = version == 43;
    const unsigned offset_width = wide ? 8 : 4, field_bytes = wide ? 20 : 12;
    if (!read_number(&reader, wide ? 8 : 4, offset_width, &at) ||
        !read_number(&reader, at, wide ? 8 : 2, &fields))
        return header;
    at += wide ? 8 : 2;
    for (; fields > 0 && read_number(&reader, at, 2, &tag); fields--, at += field_bytes) {
        const int64_t value = read_value(&reader, at, offset_width);
        if (tag == 262)
            header.photometric = value;
        else if (tag == 259)
            header.compression = value;
        else if (tag == 338)
            header.extra_sample = value;
    }
    return header;
}

/* --- GIF --- */

enum { GIF_SCREEN = 6, GIF_SCREEN_BYTES = 7 };

/* Bytes of the table of colours that flags announce. */
static uint64_t table_bytes(uint64_t flags)
{
    return flags & 0x80 ? 3u << ((flags & 7) + 1) : 0;
}

/* To the end of an extension that begins at `at`: its blocks, of which one of no bytes is last. */
static uint64_t skip_extension(const struct reader *reader, uint64_t at)
{
    uint64_t bytes;
    for (at += 2; read_number(reader, at, 1, &bytes) && bytes > 0; at += bytes)
        at++;
    return at + 1;
}

struct gif_frame gif_first_frame(const uint8_t *bytes, size_t count)
{
    const struct reader reader = {bytes, count, false};
    uint64_t flags, mark, place[4];
    if (!read_number(&reader, GIF_SCREEN + 4, 1, &flags))
        return (struct gif_frame){0};
    uint64_t at = GIF_SCREEN + GIF_SCREEN_BYTES + table_bytes(flags);
    while (read_number(&reader, at, 1, &mark) && mark == '!')
        at = skip_extension(&reader, at);
    for (unsigned i = 0; i < 4; i++)
        if (mark != ',' || !read_number(&reader, at + 1 + 2 * i, 2, &place[i]))
            return (struct gif_frame){0};
    return (struct gif_frame){(int)place[0], (int)place[1], (int)place[2], (int)place[3]};
}

/* --- JPEG --- */

enum {
    JPEG_SOF0 = 0xc0,
    JPEG_SOF1 = 0xc1,
    JPEG_DHT = 0xc4,
    JPEG_SOF_LAST = 0xcf,
    JPEG_RST0 = 0xd0,
    JPEG_RST7 = 0xd7,
    JPEG_EOI = 0xd9,
    JPEG_SOS = 0xda,
    JPEG_TABLES = 4,
    JPEG_LENGTHS = 16, /* of codes, in bits: 1 to 16 */
};

/* The code of zeros alone, which is the first of its table. */
struct jpeg_code {
    uint64_t bits, symbol;
};

struct jpeg {
    struct reader reader;
    struct jpeg_code codes[2][JPEG_TABLES]; /* of DC differences, of AC coefficients */
    uint64_t blocks;                        /* no fewer than the image has */
};

static void read_tables(struct jpeg *jpeg, uint64_t at, uint64_t end)
{
    uint64_t place, codes;
    while (at < end && read_number(&jpeg->reader, at, 1, &place)) {
        struct jpeg_code code = {0};
        uint64_t symbols = 0;
        for (unsigned bits = 1; bits <= JPEG_LENGTHS; bits++) {
            if (!read_number(&jpeg->reader, at + bits, 1, &codes))
                return;
            if (symbols == 0)
                code.bits = bits;
            symbols += codes;
        }
        at += 1 + JPEG_LENGTHS;
        if (!read_number(&jpeg->reader, at, 1, &code.symbol))
            return;
        jpeg->codes[place >> 4 & 1][place % JPEG_TABLES] = code;
        at += symbols;
    }
}

/* With room for the blocks that fill the last units of 32x32 pixels at most up. */
static void read_frame(struct jpeg *jpeg, uint64_t at)
{
    uint64_t height, width, components;
    if (read_number(&jpeg->reader, at + 1, 2, &height) &&
        read_number(&jpeg->reader, at + 3, 2, &width) &&
        read_number(&jpeg->reader, at + 5, 1, &components))
        jpeg->blocks = components * ((width + 31) / 8) * ((height + 31) / 8);
}

/* The longest run of zeros in the data at `*at`, which moves to the marker after them. */
static size_t longest_zeros(const struct reader *reader, uint64_t *at)
{
    size_t longest = 0, zeros = 0;
    for (; *at < reader->count; ++*at) {
        const uint8_t byte = reader->bytes[*at];
        if (byte == 0xff && *at + 1 < reader->count) {
            const uint8_t next = reader->bytes[*at + 1];
            if (next != 0 && next != 0xff && (next < JPEG_RST0 || next > JPEG_RST7))
                break;
        }
        zeros = byte == 0 ? zeros + 1 : 0;
        longest = zeros > longest ? zeros : longest;
    }
    return longest;
}

/* How many zeros in a row the scan may have whose header stands at `at`. */
static uint64_t zeros_most(const struct jpeg *jpeg, uint64_t at)
{
    uint64_t tables;
    if (!read_number(&jpeg->reader, at + 2, 1, &tables))
        return UINT64_MAX;
    const struct jpeg_code *dc = &jpeg->codes[0][(tables >> 4) % JPEG_TABLES];
    const struct jpeg_code *ac = &jpeg->codes[1][tables % JPEG_TABLES];
    const uint64_t flat = ac->symbol == 0 ? jpeg->blocks * (dc->bits + ac->bits) / 8 : 0;
    return flat > JPEG_ZEROS ? flat : JPEG_ZEROS;
}

size_t jpeg_lost_bytes(const uint8_t *bytes, size_t count)
{
    struct jpeg jpeg = {.reader = {bytes, count, true}};
    size_t lost = 0;
    uint64_t at = 2, mark, length;
    while (read_number(&jpeg.reader, at, 2, &mark) && mark >> 8 == 0xff) {
        mark &= 0xff;
        if (mark == 0xff) { /* a filling byte */
            at++;
            continue;
        }
        if (mark == JPEG_EOI || !read_number(&jpeg.reader, at + 2, 2, &length))
            break;
        const uint64_t header = at + 4;
        at += 2 + length;
        if (mark == JPEG_DHT)
            read_tables(&jpeg, header, at);
        else if (mark == JPEG_SOF0 || mark == JPEG_SOF1)
            read_frame(&jpeg, header);
        else if (mark > JPEG_SOF1 && mark <= JPEG_SOF_LAST)
            break;
        if (mark != JPEG_SOS)
            continue;
        const size_t zeros = longest_zeros(&jpeg.reader, &at);
        lost = zeros > zeros_most(&jpeg, header) && zeros > lost ? zeros : lost;
    }
    return lost;
}
