/* Whether a file's form tells its class: then a network may learn the form and not the picture.
 *
 * For each property the classes are counted by value. A class is guessed as the commonest of a
 * value, learned from one half of the images and tried on the other, and the other way round, so
 * that a value seen once (as many sizes of photographs are) teaches nothing. It leaks where that is
 * right for LEAST_GAIN more of the images than always guessing one class is, and beyond three
 * standard errors.
 */
#include "engine/check/parts.h"

#include "engine/base/memory.h"
#include "engine/data/image.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const check_property_names[CHECK_PROPERTIES] = {"channels", "size", "suffix"};

static const double least_gain = 0.05;

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
    case CHECK_SIZE:
        return (uint64_t)facts->width << 32 | (uint64_t)facts->height;
    default:
        return pack_suffix(check_file(check, image));
    }
}

static void value_text(uint64_t value, enum check_property_kind kind, char text[CHECK_VALUE_BYTES])
{
    switch (kind) {
    case CHECK_CHANNELS:
        snprintf(text, CHECK_VALUE_BYTES, "%u", (unsigned)value);
        break;
    case CHECK_SIZE: /* width x height, as people say it of photographs */
        snprintf(text, CHECK_VALUE_BYTES, "%ux%u", (unsigned)(value >> 32), (unsigned)value);
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

static size_t commonest(const size_t *counts, size_t classes)
{
    size_t best = 0;
    for (size_t i = 1; i < classes; i++)
        if (counts[i] > counts[best])
            best = i;
    return best;
}

/* Images of each half [2, classes] that what was learned from the other half gets right; where that
 * has nothing to say, `fallback` does. */
static size_t guessed(const size_t *halves, size_t classes, const size_t fallback[2])
{
    size_t right = 0;
    for (size_t half = 0; half < 2; half++) {
        const size_t *learned = halves + (1 - half) * classes;
        size_t guess = commonest(learned, classes);
        if (learned[guess] == 0)
            guess = fallback[half];
        right += halves[half * classes + guess];
    }
    return right;
}

/* Keeps the value if it is among the commonest so far. */
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

/* records: ascending by value; halves: room for [2, classes] */
static enum colonnade_status judge(struct check_property *property, enum check_property_kind kind,
                                   const struct record *records, size_t count, size_t *halves,
                                   size_t classes, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    size_t right = 0, largest = 0;
    memset(halves, 0, 2 * classes * sizeof *halves);
    for (size_t i = 0; i < count; i++)
        halves[(size_t)records[i].half * classes + (size_t)records[i].label]++;
    const size_t fallback[2] = {commonest(halves + classes, classes), commonest(halves, classes)};
    for (size_t i = 0; i < classes; i++)
        if (halves[i] + halves[classes + i] > largest)
            largest = halves[i] + halves[classes + i];
    for (size_t first = 0, next; first < count; first = next) {
        memset(halves, 0, 2 * classes * sizeof *halves);
        for (next = first; next < count && records[next].value == records[first].value; next++)
            halves[(size_t)records[next].half * classes + (size_t)records[next].label]++;
        right += guessed(halves, classes, fallback);
        property->distinct++;
        TRY(keep_value(property, kind, records[first].value, halves, classes, error));
    }
    if (count == 0)
        goto out;
    const double n = (double)count, p = (double)largest / n;
    const double noise = 3 * sqrt(p * (1 - p) / n);
    property->accuracy = (double)right / n;
    property->majority = p;
    property->leak = property->accuracy - p > (noise > least_gain ? noise : least_gain);
out:
    return status;
}

enum colonnade_status leaks_find(struct check *check, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t classes = (size_t)check->data->classes;
    struct record *records = NULL;
    size_t *halves = NULL;
    TRY(memory_allocate(&records, check->count, sizeof *records, "properties of images", error));
    TRY(memory_allocate(&halves, 2 * classes, sizeof *halves, "counts of classes", error));
    for (int kind = 0; kind < CHECK_PROPERTIES; kind++) {
        size_t count = 0;
        for (size_t i = 0; i < check->count; i++)
            if (!check->unreadable[i] && check_label_fits(check, i))
                records[count++] =
                    (struct record){value_of(check, i, kind), check_label(check, i), half_of(i)};
        qsort(records, count, sizeof *records, by_value);
        TRY(judge(&check->properties[kind], kind, records, count, halves, classes, error));
    }
out:
    free(records);
    free(halves);
    return status;
}
