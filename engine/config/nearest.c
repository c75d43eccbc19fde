/* Which known name a mistyped one, or one that other programs have for it, was meant to be. Knows
 * nothing of configs. */
#include "engine/config/config.h"

#include <ctype.h>
#include <string.h>

enum {
    LONGEST = 64,      /* bytes; a longer name has no nearest */
    SHORTEST_PART = 3, /* fewer letters are in names of any meaning */
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters inserted, left out, replaced, or swapped with a neighbour between `a` and `b`, each
 * letter touched at most once (optimal string alignment: Damerau 1964). Case does not count. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][LONGEST + 1]; /* of the table for the last, this and next length of `a` */
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    size_t length = strlen(b);
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            int from = tolower((unsigned char)a[i - 1]), to = tolower((unsigned char)b[j - 1]);
            row[j] = smaller(last[j - 1] + (from != to), smaller(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && from == tolower((unsigned char)b[j - 2]) &&
                to == tolower((unsigned char)a[i - 2]))
                row[j] = smaller(row[j], before[j - 2] + 1);
        }
    }
    return row[length];
}

/* What PyTorch, Keras and scikit-learn call what has a name here that looks unlike it. */
static const struct {
    const char *foreign, *name;
} foreign_names[] = {
    {"learning_rate", "lr"},
    {"out_channels", "filters"},
    {"out_features", "units"},
    {"num_classes", "units"},
    {"p", "rate"},
    {"patience", "early_stop"},
    {"linear", "dense"},
    {"adaptiveavgpool2d", "globalavgpool"},
    {"globalaveragepooling2d", "globalavgpool"},
    {"swish", "silu"},
    {"mnist", "idx"},
};

static const char *find_foreign(const char *name, const char *const *names)
{
    for (size_t i = 0; i < sizeof foreign_names / sizeof *foreign_names; i++)
        for (const char *const *known = names; *known; known++)
            if (strcasecmp(foreign_names[i].foreign, name) == 0 &&
                strcmp(foreign_names[i].name, *known) == 0)
                return *known;
    return NULL;
}

static const char *find_slip(const char *name, const char *const *names)
{
    const char *nearest = NULL;
    size_t least = LONGEST, length = strlen(name);
    for (; *names && length <= LONGEST; names++) {
        size_t other = strlen(*names);
        if (other > LONGEST)
            continue;
        size_t distance = edit_distance(name, *names);
        size_t longest = length > other ? length : other;
        /* One slip in three letters, and something of both names must be left. */
        if (distance < least && distance <= (longest + 2) / 3 &&
            distance < smaller(length, other)) {
            nearest = *names;
            least = distance;
        }
    }
    return nearest;
}

/* The longest name that is a part of `name`, else the shortest that it is a part of. */
static const char *find_part(const char *name, const char *const *names)
{
    const char *part = NULL, *whole = NULL;
    const size_t length = strlen(name);
    for (; *names && length <= LONGEST; names++) {
        const size_t other = strlen(*names);
        if (other >= SHORTEST_PART && strcasestr(name, *names) && (!part || other > strlen(part)))
            part = *names;
        if (length >= SHORTEST_PART && strcasestr(*names, name) &&
            (!whole || other < strlen(whole)))
            whole = *names;
    }
    return part ? part : whole;
}

int find_name(const char *name, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

const char *nearest_name(const char *name, const char *const *names)
{
    const char *nearest = find_foreign(name, names);
    if (!nearest)
        nearest = find_slip(name, names);
    return nearest ? nearest : find_part(name, names);
}
