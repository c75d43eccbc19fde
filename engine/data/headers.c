/* Reads single fields of TIFF and GIF headers. Knows nothing of pixels, and leaves it to whoever
 * decodes the file to say that it is damaged.
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
