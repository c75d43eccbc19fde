/* Texts of users, in whatever bytes they came, as UTF-8. */
#include "engine/base/utf8.h"

#include "engine/base/memory.h"

#include <string.h>

uint32_t utf8_next(const char **text)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *bytes = (const unsigned char *)*text;
    const unsigned char first = bytes[0];
    const int more = first < 0x80   ? 0
                     : first < 0xc0 ? -1
                     : first < 0xe0 ? 1
                     : first < 0xf0 ? 2
                     : first < 0xf8 ? 3
                                    : -1;
    uint32_t character = more <= 0 ? first : first & (0x3fu >> more);
    bool valid = more >= 0;
    for (int i = 1; i <= more && valid; i++) {
        valid = (bytes[i] & 0xc0) == 0x80;
        character = character << 6 | (bytes[i] & 0x3fu);
    }
    valid = valid && character >= least[more] && character <= 0x10ffff &&
            (character < 0xd800 || character > 0xdfff);
    *text += valid ? (first != 0) + more : 1;
    return valid ? character : 0xfffd;
}

enum colonnade_status utf8_repair(char **repaired, const char *text, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    TRY(memory_allocate(repaired, 3 * strlen(text) + 1, 1, "a text", error));
    char *to = *repaired;
    for (const char *at = text, *before = at; utf8_next(&at); before = at) {
        const bool valid = at - before > 1 || (unsigned char)*before < 0x80;
        const size_t bytes = valid ? (size_t)(at - before) : sizeof replacement - 1;
        memcpy(to, valid ? before : replacement, bytes);
        to += bytes;
    }
out:
    return status;
}
