/* Whether a file's form tells its class: then a network may learn the form and not the picture.
 *
 * For each property the classes are counted by value. What a value means is learned from one half
 * of the images and tried on the other, and the other way round, so that a value seen once (as many
 * sizes of photographs are) teaches nothing. Two questions are asked.
 *
 * 1. How often is the class guessed right? The guess is the class of which the largest share has
 * the value; it is judged by the mean of the classes' recalls (K. Brodersen et al., "The balanced
 *    accuracy and its posterior distribution", ICPR 2010), for of rare classes plain accuracy says
 *    nothing. By chance that is 1 / classes, and its variance over all ways to deal the labels out
 *    is known (W. Hoeffding, "A combinatorial central limit theorem", Annals of Mathematical
 *    Statistics 22, 1951). The halves taught each other, so that their deviations are added as if
 *    they went together.
 * 2. Is one class told from the rest? An image is taken for it where a larger share of it than of
 *    the rest has the value. Classes may be small, so chance is judged by Fisher's exact test, in
 *    each half for itself, its level shared among the classes (Bonferroni).
 *
 * Beside chance there is a least effect: in a large set anything is beyond chance.
 */
#include "engine/check/parts.h"

#include "engine/base/memory.h"
#include "engine/data/image.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of things of one kind more may be upright or seen from near than of another: so coarse sizes have
 * to tell more. */
static const struct {
    const char *name;
    double least_gain; /* of balanced accuracy over chance */
} properties[CHECK_PROPERTIES] = {
    [CHECK_CHANNELS] = {"channels", 0.05}, [CHECK_DEPTH] = {"depth", 0.05},
    [CHECK_SIZE] = {"size", 0.05},         [CHECK_AREA] = {"area", 0.1},
    [CHECK_ASPECT] = {"aspect", 0.1},      [CHECK_SUFFIX] = {"suffix", 0.05},
};

static const double least_deviations = 4;
static const double least_told = 0.5;   /* recall of a class less the share of the rest */
static const double most_chance = 0.01; /* of one class told by chance, in each half */

enum { ASPECT_ZERO = 128 /* of values of CHECK_ASPECT: as wide as high */ };

const char *check_property_name(enum check_property_kind kind)
{
    return properties[kind].name;
}

struct record {
    uint64_t value;
    int32_t label;
    int half; /* 0 or 1 */
};

/* The last seven letters after the last dot, packed; 0: none. */
static uint64_t pack_suffix(const char *file)
{
    const char *name = strrchr(file, '/'), *dot = strrchr(name ? name : file, '.');
    uint64_t value = 0;
    for (; dot && *++dot;)
        value = value << 8 | (uint64_t)tolower((unsigned char)*dot);
    return value & 0xffffffffffffff;
}

static uint64_t value_of(const struct check *check, size_t image, enum check_property_kind kind)
{
    const struct image_facts *facts = &check->facts[image];
    switch (kind) {
    case CHECK_CHANNELS:
        return (uint64_t)facts->bands;
    case CHECK_DEPTH:
        return facts->white > UINT8_MAX ? 16 : 8;
    case CHECK_SIZE:
        return (uint64_t)facts->width << 32 | (uint64_t)facts->height;
    case CHECK_AREA: /* half octaves */
        return (uint64_t)(2 * log2((double)facts->width * facts->height));
    case CHECK_ASPECT: /* quarters of an octave, of which one has the square in its middle */
        return (uint64_t)(ASPECT_ZERO + lround(4 * log2((double)facts->width / facts->height)));
    default:
        return pack_suffix(check_file(check, image));
    }
}

static void value_text(uint64_t value, enum check_property_kind kind, char text[CHECK_VALUE_BYTES])
{
    switch (kind) {
    case CHECK_CHANNELS:
    case CHECK_DEPTH:
        snprintf(text, CHECK_VALUE_BYTES, "%u", (unsigned)value);
        break;
    case CHECK_SIZE: /* width x height, as people say it of photographs */
        snprintf(text, CHECK_VALUE_BYTES, "%ux%u", (unsigned)(value >> 32), (unsigned)value);
        break;
    case CHECK_AREA:
        snprintf(text, CHECK_VALUE_BYTES, "%.0f-%.0f pixels", ceil(exp2((double)value / 2)),
                 ceil(exp2(((double)value + 1) / 2)) - 1);
        break;
    case CHECK_ASPECT:
        snprintf(text, CHECK_VALUE_BYTES, "%.2f-%.2f as wide as high",
                 exp2(((double)value - ASPECT_ZERO - 0.5) / 4),
                 exp2(((double)value - ASPECT_ZERO + 0.5) / 4));
        break;
    default:
        for (int shift = 48; shift >= 0; shift -= 8)
            if (value >> shift & 0xff)
                *text++ = (char)(value >> shift & 0xff);
        *text = '\0';
    }
}

/* Multiples of the golden ratio, modulo 1, lie evenly in every sequence of equal steps: so classes
 * in turn come into both halves as well as classes one after the other. */
static int half_of(size_t image)
{
    return (int)((uint64_t)image * 0x9e3779b97f4a7c15 >> 63);
}

static int by_value(const void *a, const void *b)
{
    const struct record *left = a, *right = b;
    return (left->value > right->value) - (left->value < right->value);
}

/* Of one half and class, by what the other half taught. */
struct tally {
    size_t count;
    size_t guessed, right; /* images of any class guessed as this one; its own among them */
    size_t unseen;         /* its images of values that taught nothing */
    size_t taken, caught;  /* images of any class taken for this one and not the rest; its own */
};

struct tallies {
    struct tally *halves[2]; /* [classes] each */
    size_t count[2];         /* images of each half, of classes that are in both */
    size_t classes, known;   /* known: classes that are in both halves; the others teach nothing */
};

static bool is_known(const struct tallies *tallies, size_t class)
{
    return tallies->halves[0][class].count > 0 && tallies->halves[1][class].count > 0;
}

static size_t sum_known(const struct tallies *tallies, const size_t *counts)
{
    size_t sum = 0;
    for (size_t i = 0; i < tallies->classes; i++)
        sum += is_known(tallies, i) ? counts[i] : 0;
    return sum;
}

/* The class of which the largest share of `learned` [classes] has the value; `classes`: none has.
 */
static size_t guess_of(const struct tallies *tallies, const struct tally *half,
                       const size_t *learned)
{
    size_t best = tallies->classes;
    for (size_t i = 0; i < tallies->classes; i++)
        if (is_known(tallies, i) && learned[i] > 0 &&
            (best == tallies->classes ||
             learned[i] * half[best].count > learned[best] * half[i].count))
            best = i;
    return best;
}

/* Tries on one half the value that `counts` [2, classes] images have. */
static void try_value(struct tallies *tallies, size_t half, const size_t *counts)
{
    const size_t classes = tallies->classes;
    const size_t *tried = counts + half * classes, *learned = counts + (1 - half) * classes;
    const struct tally *teacher = tallies->halves[1 - half];
    struct tally *tally = tallies->halves[half];
    const size_t guess = guess_of(tallies, teacher, learned);
    const size_t tried_all = sum_known(tallies, tried), learned_all = sum_known(tallies, learned);
    if (guess < classes) {
        tally[guess].guessed += tried_all;
        tally[guess].right += tried[guess];
    }
    for (size_t i = 0; i < classes; i++) {
        if (!is_known(tallies, i))
            continue;
        tally[i].unseen += guess == classes ? tried[i] : 0;
        if (learned[i] * (tallies->count[1 - half] - teacher[i].count) <=
            (learned_all - learned[i]) * teacher[i].count)
            continue;
        tally[i].taken += tried_all;
        tally[i].caught += tried[i];
    }
}

/* --- judging --- */

/* The mean recall in one half, and its standard deviation were the labels dealt out anew. A value
 * that taught nothing counts as guessed blindly. */
static double mean_recall(const struct tallies *tallies, size_t half, double *deviation)
{
    const struct tally *tally = tallies->halves[half];
    const double known = (double)tallies->known, n = (double)tallies->count[half];
    double recall = 0, variance = 0, unseen = 0;
    for (size_t i = 0; i < tallies->classes; i++)
        unseen += (double)tally[i].unseen;
    for (size_t i = 0; i < tallies->classes; i++) {
        if (!is_known(tallies, i))
            continue;
        const double count = (double)tally[i].count, guessed = (double)tally[i].guessed;
        const double share = (guessed + unseen / known) / n;
        recall += ((double)tally[i].right + (double)tally[i].unseen / known) / count;
        variance += ((guessed + unseen / (known * known)) / n - share * share) / count;
    }
    *deviation = sqrt(fmax(0, variance) * n / (n - 1)) / known;
    return recall / known;
}

static double log_choose(double n, double k)
{
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
}

/* Fisher's exact test: how likely it is that of `taken` out of `n` images at least `caught` are of
 * a class of `count`. */
static double chance_of(size_t n, size_t count, size_t taken, size_t caught)
{
    const size_t most = taken < count ? taken : count;
    double chance = 0;
    for (size_t i = caught; i <= most; i++)
        if (taken - i <= n - count)
            chance += exp(log_choose((double)count, (double)i) +
                          log_choose((double)(n - count), (double)(taken - i)) -
                          log_choose((double)n, (double)taken));
    return chance;
}

static bool is_told(const struct tallies *tallies, size_t class, struct check_told *told)
{
    size_t count = 0, taken = 0, caught = 0, all = 0;
    double chance = 0;
    for (size_t half = 0; half < 2; half++) {
        const struct tally *tally = &tallies->halves[half][class];
        count += tally->count;
        taken += tally->taken;
        caught += tally->caught;
        all += tallies->count[half];
        chance = fmax(chance,
                      chance_of(tallies->count[half], tally->count, tally->taken, tally->caught));
    }
    told->class = (int)class;
    told->recall = (double)caught / (double)count;
    told->rest = (double)(taken - caught) / (double)(all - count);
    return told->recall - told->rest >= least_told &&
           chance <= most_chance / (double)tallies->known;
}

static enum colonnade_status judge(struct check_property *property, enum check_property_kind kind,
                                   const struct tallies *tallies, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    double deviations[2];
    if (tallies->known < 2)
        goto out;
    TRY(memory_allocate(&property->told, tallies->classes, sizeof *property->told,
                        "classes that are told", error));
    property->accuracy =
        (mean_recall(tallies, 0, &deviations[0]) + mean_recall(tallies, 1, &deviations[1])) / 2;
    property->chance = 1 / (double)tallies->known;
    for (size_t i = 0; i < tallies->classes; i++)
        if (is_known(tallies, i))
            property->told_count += is_told(tallies, i, &property->told[property->told_count]);
    const double gain = property->accuracy - property->chance;
    const double noise = least_deviations * (deviations[0] + deviations[1]) / 2;
    property->leak =
        property->told_count > 0 || (gain >= properties[kind].least_gain && gain > noise);
out:
    return status;
}

/* --- counting --- */

/* Keeps the value, of `halves` [2, classes] images, if it is among the commonest so far. */
static enum colonnade_status keep_value(struct check_property *property,
                                        enum check_property_kind kind, uint64_t value,
                                        const size_t *halves, size_t classes,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct check_value kept = {.count = 0};
    size_t at = property->value_count;
    for (size_t i = 0; i < 2 * classes; i++)
        kept.count += halves[i];
    while (at > 0 && property->values[at - 1].count < kept.count)
        at--;
    if (at == CHECK_VALUES)
        goto out;
    TRY(memory_allocate(&kept.class_counts, classes, sizeof *kept.class_counts, "counts of classes",
                        error));
    for (size_t i = 0; i < classes; i++)
        kept.class_counts[i] = halves[i] + halves[classes + i];
    value_text(value, kind, kept.text);
    if (property->value_count == CHECK_VALUES)
        free(property->values[--property->value_count].class_counts);
    memmove(&property->values[at + 1], &property->values[at],
            (property->value_count - at) * sizeof kept);
    property->values[at] = kept;
    property->value_count++;
out:
    return status;
}

/* records: ascending by value; counts: room for [2, classes] */
static enum colonnade_status try_values(struct check_property *property,
                                        enum check_property_kind kind, struct tallies *tallies,
                                        const struct record *records, size_t count, size_t *counts,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t classes = tallies->classes;
    for (size_t first = 0, next; first < count; first = next) {
        memset(counts, 0, 2 * classes * sizeof *counts);
        for (next = first; next < count && records[next].value == records[first].value; next++)
            counts[(size_t)records[next].half * classes + (size_t)records[next].label]++;
        for (size_t half = 0; half < 2; half++)
            try_value(tallies, half, counts);
        property->distinct++;
        TRY(keep_value(property, kind, records[first].value, counts, classes, error));
    }
out:
    return status;
}

static void count_halves(struct tallies *tallies, const struct record *records, size_t count)
{
    tallies->known = tallies->count[0] = tallies->count[1] = 0;
    for (size_t half = 0; half < 2; half++)
        memset(tallies->halves[half], 0, tallies->classes * sizeof *tallies->halves[half]);
    for (size_t i = 0; i < count; i++)
        tallies->halves[records[i].half][records[i].label].count++;
    for (size_t i = 0; i < tallies->classes; i++) {
        if (!is_known(tallies, i))
            continue;
        tallies->known++;
        for (size_t half = 0; half < 2; half++)
            tallies->count[half] += tallies->halves[half][i].count;
    }
}

enum colonnade_status leaks_find(struct check *check, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t classes = (size_t)check->data->classes;
    struct tallies tallies = {.classes = classes};
    struct record *records = NULL;
    size_t *counts = NULL;
    TRY(memory_allocate(&records, check->count, sizeof *records, "properties of images", error));
    TRY(memory_allocate(&counts, 2 * classes, sizeof *counts, "counts of classes", error));
    for (size_t half = 0; half < 2; half++)
        TRY(memory_allocate(&tallies.halves[half], classes, sizeof *tallies.halves[half],
                            "counts of classes", error));
    for (int kind = 0; kind < CHECK_PROPERTIES; kind++) {
        struct check_property *property = &check->properties[kind];
        size_t count = 0;
        for (size_t i = 0; i < check->count; i++)
            if (!check->unreadable[i] && check_label_fits(check, i))
                records[count++] =
                    (struct record){value_of(check, i, kind), check_label(check, i), half_of(i)};
        qsort(records, count, sizeof *records, by_value);
        count_halves(&tallies, records, count);
        TRY(try_values(property, kind, &tallies, records, count, counts, error));
        TRY(judge(property, kind, &tallies, error));
    }
out:
    free(records);
    free(counts);
    free(tallies.halves[0]);
    free(tallies.halves[1]);
    return status;
}
