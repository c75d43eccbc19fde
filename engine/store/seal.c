/* The seal: a checksum of the whole file in its last bytes, after HDF5's own end, where HDF5 does
 * not look. HDF5 trusts a file's inner addresses and lengths, and one flipped bit can crash it: a
 * file whose seal is wrong is not given to it. Any program that opens the file to change it through
 * HDF5 drops the seal with that, and the file is taken as it is.
 */
#include "engine/store/parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { MARK_BYTES = 8, DIGITS = 8, PIECE_BYTES = 1 << 16 };

_Static_assert(SEAL_BYTES == MARK_BYTES + DIGITS, "a seal is its mark and its digits");

static const char mark[] = "\nCRC-32 ";

static void print_seal(uint32_t checksum, char seal[SEAL_BYTES])
{
    char text[SEAL_BYTES + 1];
    snprintf(text, sizeof text, "%s%08x", mark, checksum);
    memcpy(seal, text, SEAL_BYTES);
}

void seal_make(const void *bytes, size_t count, char seal[SEAL_BYTES])
{
    print_seal((uint32_t)crc32_z(0, bytes, count), seal);
}

/* The last bytes of a file, and how many stand before them; a file may be shorter. */
static bool read_end(FILE *file, char seal[SEAL_BYTES], size_t *before)
{
    if (fseeko(file, -SEAL_BYTES, SEEK_END) != 0)
        return errno == EINVAL;
    *before = (size_t)ftello(file);
    return fread(seal, 1, SEAL_BYTES, file) == SEAL_BYTES && fseeko(file, 0, SEEK_SET) == 0;
}

static bool read_checksum(FILE *file, size_t count, uint32_t *checksum)
{
    unsigned char piece[PIECE_BYTES];
    while (count > 0) {
        const size_t wanted = count < sizeof piece ? count : sizeof piece;
        if (fread(piece, 1, wanted, file) != wanted)
            return false;
        *checksum = (uint32_t)crc32_z(*checksum, piece, wanted);
        count -= wanted;
    }
    return true;
}

enum colonnade_status seal_check(const char *path, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char found[SEAL_BYTES] = "", right[SEAL_BYTES];
    size_t before = 0;
    uint32_t checksum = 0;
    FILE *file = fopen(path, "rb");
    if (!file || !read_end(file, found, &before))
        RAISE(COLONNADE_FAILURE, "%s: cannot read: %s", path, strerror(errno));
    if (memcmp(found, mark, MARK_BYTES) != 0)
        goto out;
    if (!read_checksum(file, before, &checksum))
        RAISE(COLONNADE_FAILURE, "%s: cannot read: %s", path, strerror(errno));
    print_seal(checksum, right);
    if (memcmp(found, right, SEAL_BYTES) != 0)
        RAISE(COLONNADE_FAILURE, "%s: damaged: its CRC-32 is %08x, its last bytes say %.*s", path,
              checksum, DIGITS, found + MARK_BYTES);
out:
    if (file)
        fclose(file);
    return status;
}
