/* Reading of PGM and PPM. Knows nothing of what becomes of the samples. */
#include "engine/data/netpbm.h"

#include "engine/base/memory.h"

#include <ctype.h>

enum { NUMBER_MOST = 1 << 24 };

struct cursor {
    const uint8_t *at, *end;
};

static void skip_blanks(struct cursor *cursor)
{
    while (cursor->at < cursor->end && (isspace(*cursor->at) || *cursor->at == '#')) {
        const bool comment = *cursor->at == '#';
        while (comment && cursor->at < cursor->end && *cursor->at != '\n')
            cursor->at++;
        if (cursor->at < cursor->end)
            cursor->at++;
    }
}

/* False where there is no number up to NUMBER_MOST, or where the file ends with it: then digits may
 * be missing. */
static bool read_number(struct cursor *cursor, int *number)
{
    skip_blanks(cursor);
    const uint8_t *first = cursor->at;
    for (*number = 0; cursor->at < cursor->end && isdigit(*cursor->at); cursor->at++) {
        *number = 10 * *number + (*cursor->at - '0');
        if (*number > NUMBER_MOST)
            return false;
    }
    return cursor->at > first && cursor->at < cursor->end;
}

static enum colonnade_status read_header(struct netpbm *netpbm, struct cursor *cursor,
                                         const char *path, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char kind = cursor->end - cursor->at > 2 ? (char)cursor->at[1] : 0;
    cursor->at += kind ? 2 : 0;
    netpbm->bands = kind == '3' || kind == '6' ? 3 : 1;
    if (!read_number(cursor, &netpbm->width) || !read_number(cursor, &netpbm->height) ||
        !read_number(cursor, &netpbm->white))
        RAISE(COLONNADE_FAILURE, "%s: its header lacks width, height or the largest value", path);
    if (netpbm->width < 1 || netpbm->height < 1)
        RAISE(COLONNADE_FAILURE, "%s: has %dx%d pixels", path, netpbm->height, netpbm->width);
    if (netpbm->white < 1 || netpbm->white > UINT16_MAX)
        RAISE(COLONNADE_FAILURE, "%s: its largest value is %d; it may be 1 to %d", path,
              netpbm->white, UINT16_MAX);
    cursor->at++; /* the one blank before raw samples */
out:
    return status;
}

/* The last sample of a plain file may end with the file. */
static bool read_plain(struct cursor *cursor, int *sample, bool last)
{
    return read_number(cursor, sample) ||
           (last && cursor->at == cursor->end && isdigit(cursor->at[-1]));
}

static bool read_raw(struct cursor *cursor, int *sample, int white)
{
    const int bytes = white > UINT8_MAX ? 2 : 1;
    if (cursor->end - cursor->at < bytes)
        return false;
    *sample = bytes == 2 ? cursor->at[0] << 8 | cursor->at[1] : cursor->at[0];
    cursor->at += bytes;
    return true;
}

enum colonnade_status netpbm_read(struct netpbm *netpbm, const char *path, const uint8_t *bytes,
                                  size_t count, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct cursor cursor = {bytes, bytes + count};
    const bool plain = count > 1 && (bytes[1] == '2' || bytes[1] == '3');
    TRY(read_header(netpbm, &cursor, path, error));
    const size_t wanted = (size_t)netpbm->width * (size_t)netpbm->height * (size_t)netpbm->bands;
    if (wanted > count) /* before so much memory is asked for */
        RAISE(COLONNADE_FAILURE, "%s: is cut short: it has %zu bytes for %zu samples", path, count,
              wanted);
    TRY(memory_allocate(&netpbm->samples, wanted, sizeof *netpbm->samples, path, error));
    for (size_t i = 0; i < wanted; i++) {
        int sample = 0;
        if (!(plain ? read_plain(&cursor, &sample, i + 1 == wanted)
                    : read_raw(&cursor, &sample, netpbm->white)))
            RAISE(COLONNADE_FAILURE, "%s: is damaged or cut short: it has %zu of %zu samples", path,
                  i, wanted);
        if (sample > netpbm->white)
            RAISE(COLONNADE_FAILURE, "%s: sample %zu is %d; the largest value is %d", path, i,
                  sample, netpbm->white);
        netpbm->samples[i] = (uint16_t)sample;
    }
out:
    return status;
}
