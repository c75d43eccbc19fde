/* From text to settings: what a value of each kind may look like, checked whole and against its
 * key's bounds. Knows nothing of files and sections but where to say that an error stands.
 */
#include "engine/base/memory.h"
#include "engine/config/internal.h"

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct value {
    const struct config *config;
    const struct section *section; /* NULL where the file lacks it */
    const char *section_name;
    const struct entry *entry; /* NULL: the text is the key's fallback */
    const struct key *key;
    const char *text;
    struct colonnade_error *error;
};

static enum colonnade_status reject(const struct value *value, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "[SECTION] KEY = VALUE: " and the rule. */
static enum colonnade_status reject(const struct value *value, const char *format, ...)
{
    char rule[1536];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(rule, sizeof rule, format, arguments);
    va_end(arguments);
    enum { SHOWN = 200 };
    return config_error(value->config, value->section, value->entry ? value->entry->key : NULL,
                        value->error, "[%s] %s = %.*s%s: %s", value->section_name, value->key->name,
                        SHOWN, value->text, strlen(value->text) > SHOWN ? "..." : "", rule);
}

static enum colonnade_status malformed(const struct value *value)
{
    static const char *const forms[] = {
        [KEY_INTEGER] = "a whole number",
        [KEY_COUNT] = "a whole number without a sign",
        [KEY_NUMBER] = "a number",
        [KEY_BOOLEAN] = "true or false",
        [KEY_CHOICE] = NULL,
        [KEY_TEXT] = NULL,
        [KEY_PAIR] = "N or HxW, as 3 or 3x5",
        [KEY_SHAPE] = "CxHxW, as 1x28x28",
        [KEY_PADDING] = "valid, same, same_lower, N, HxW or t, l, b, r",
        [KEY_NAMES] = "names with commas between",
        [KEY_NUMBERS] = "numbers with commas between",
        [KEY_UNITS] = "a whole number",
        [KEY_PERIOD] = "a whole number of epochs, steps or minutes, as 500 steps",
    };
    const char *word = value->key->choices ? value->key->choices[0] : NULL;
    return reject(value, "must be %s%s%s", forms[value->key->kind], word ? " or " : "",
                  word ? word : "");
}

/* `many`: the number is one of several in the value. */
static enum colonnade_status check_bounds(const struct value *value, double number, bool many)
{
    const struct key *key = value->key;
    const char *subject = many ? "each number " : "";
    if (key->minimum == 0 && key->maximum == 0 && !key->above_minimum)
        return COLONNADE_OK;
    if (key->above_minimum && number <= key->minimum)
        return reject(value, "%smust be greater than %.10g", subject, key->minimum);
    if (number < key->minimum)
        return reject(value, "%smust be at least %.10g", subject, key->minimum);
    if (key->maximum > key->minimum && number > key->maximum)
        return reject(value, "%smust be at most %.10g", subject, key->maximum);
    return COLONNADE_OK;
}

/* Reads numbers with `separator` between them, which blanks may surround if it is a comma.
 * False where the text is anything else, or holds more than `most`. Too large ones saturate. */
static bool scan_integers(const char *text, char separator, long long *numbers, size_t most,
                          size_t *count)
{
    const char *blanks = separator == ',' ? BLANKS : "";
    for (*count = 0; *count < most;) {
        char *end;
        if (!isdigit((unsigned char)text[*text == '-' || *text == '+']))
            return false;
        numbers[(*count)++] = strtoll(text, &end, 10);
        text = end + strspn(end, blanks);
        if (*text == '\0')
            return true;
        if (*text++ != separator)
            return false;
        text += strspn(text, blanks);
    }
    return false;
}

/* Those numbers within the bounds of the key and of an int. */
static enum colonnade_status check_integers(const struct value *value, const long long *numbers,
                                            size_t count, int *checked)
{
    const char *subject = count > 1 ? "each number " : "";
    for (size_t i = 0; i < count; i++) {
        enum colonnade_status status = check_bounds(value, (double)numbers[i], count > 1);
        if (status != COLONNADE_OK)
            return status;
        if (numbers[i] > INT_MAX)
            return reject(value, "%smust be at most %d", subject, INT_MAX);
        if (numbers[i] < INT_MIN)
            return reject(value, "%smust be at least %d", subject, INT_MIN);
        checked[i] = (int)numbers[i];
    }
    return COLONNADE_OK;
}

static enum colonnade_status read_integer(const struct value *value, void *field)
{
    long long number;
    size_t count;
    if (!scan_integers(value->text, '\0', &number, 1, &count))
        return malformed(value);
    return check_integers(value, &number, 1, field);
}

static enum colonnade_status read_count(const struct value *value, void *field)
{
    if (value->text[strspn(value->text, "0123456789")] != '\0' || *value->text == '\0')
        return malformed(value);
    errno = 0;
    unsigned long long number = strtoull(value->text, NULL, 10);
    if (errno == ERANGE || number > UINT64_MAX)
        return reject(value, "must be at most %llu", (unsigned long long)UINT64_MAX);
    *(uint64_t *)field = number;
    return check_bounds(value, (double)number, false);
}

/* Reads one number at `*text` and steps over it. False where none stands there: "inf", "nan" and
 * hexadecimal are none. The decimal point is '.' whatever the program's locale. */
static bool scan_number(const char **text, double *number)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c)
        return false;
    const char *start = *text;
    char *end;
    *number = strtod_l(start, &end, c);
    freelocale(c);
    *text = end;
    return end > start && end <= start + strspn(start, "0123456789+-.eE");
}

static enum colonnade_status check_number(const struct value *value, double number, bool many)
{
    if (!isfinite(number))
        return reject(value, "%smust be at most %.10g in size", many ? "each number " : "",
                      DBL_MAX);
    return check_bounds(value, number, many);
}

static enum colonnade_status read_number(const struct value *value, void *field)
{
    const char *text = value->text;
    if (!scan_number(&text, field) || *text)
        return malformed(value);
    return check_number(value, *(double *)field, false);
}

static enum colonnade_status read_boolean(const struct value *value, void *field)
{
    static const char *const words[] = {"false", "no", "off", "0", "true", "yes", "on", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!strcmp(value->text, words[i])) {
            *(bool *)field = i >= 4;
            return COLONNADE_OK;
        }
    }
    return malformed(value);
}

/* "a, b, c", cut with "..." where it does not fit. */
static void join(char *text, size_t size, const char *const *names)
{
    size_t used = 0;
    text[0] = '\0';
    for (; *names; names++) {
        if (used + strlen(*names) + sizeof ", ..." > size) {
            strcpy(text + used, "...");
            return;
        }
        used += (size_t)sprintf(text + used, "%s%s", *names, names[1] ? ", " : "");
    }
}

static enum colonnade_status read_choice(const struct value *value, void *field)
{
    const char *const *choices = value->key->choices;
    const int found = find_name(value->text, choices);
    if (found >= 0) {
        *(int *)field = found;
        return COLONNADE_OK;
    }
    char known[1024];
    join(known, sizeof known, choices);
    const char *nearest = nearest_name(value->text, choices);
    if (nearest)
        return reject(value, "must be one of %s; did you mean '%s'?", known, nearest);
    return reject(value, "must be one of %s", known);
}

static enum colonnade_status read_text(const struct value *value, void *field)
{
    *(const char **)field = value->text;
    return COLONNADE_OK;
}

static enum colonnade_status read_pair(const struct value *value, void *field)
{
    struct pair *pair = field;
    long long numbers[2];
    int checked[2];
    size_t count;
    if (!scan_integers(value->text, 'x', numbers, 2, &count))
        return malformed(value);
    enum colonnade_status status = check_integers(value, numbers, count, checked);
    if (status == COLONNADE_OK)
        *pair = (struct pair){.h = checked[0], .w = checked[count - 1]};
    return status;
}

static enum colonnade_status read_shape(const struct value *value, void *field)
{
    struct triple *shape = field;
    long long numbers[3];
    int checked[3];
    size_t count;
    if (!scan_integers(value->text, 'x', numbers, 3, &count) || count != 3)
        return malformed(value);
    enum colonnade_status status = check_integers(value, numbers, count, checked);
    if (status == COLONNADE_OK)
        *shape = (struct triple){.c = checked[0], .h = checked[1], .w = checked[2]};
    return status;
}

static const char *const padding_words[] = {
    [PADDING_VALID] = "valid",
    [PADDING_SAME] = "same",
    [PADDING_SAME_LOWER] = "same_lower",
    [PADDING_EXPLICIT] = NULL,
};

static enum colonnade_status read_padding(const struct value *value, void *field)
{
    struct padding *padding = field;
    long long numbers[4];
    int checked[4];
    size_t count;
    for (int i = 0; padding_words[i]; i++) {
        if (!strcmp(value->text, padding_words[i])) {
            *padding = (struct padding){.kind = i};
            return COLONNADE_OK;
        }
    }
    if (!scan_integers(value->text, 'x', numbers, 2, &count) &&
        !(scan_integers(value->text, ',', numbers, 4, &count) && count == 4))
        return malformed(value);
    for (size_t i = 0; i < count; i++)
        if (numbers[i] < 0)
            return reject(value, "%smust be at least 0", count > 1 ? "each number " : "");
    enum colonnade_status status = check_integers(value, numbers, count, checked);
    if (status == COLONNADE_OK) {
        const int *h = checked, *w = checked + (count > 1);
        *padding = (struct padding){PADDING_EXPLICIT, *h, *w, count == 4 ? checked[2] : *h,
                                    count == 4 ? checked[3] : *w};
    }
    return status;
}

static size_t count_commas(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += *text == ',';
    return count;
}

/* `names` becomes a list of no items with room for as many as `text` may have; `*copy`, which the
 * config has too, is a copy of the text for them to point into. */
static enum colonnade_status names_init(struct names *names, const struct config *config,
                                        const char *text, char **copy,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t most = count_commas(text) + 1;
    char **items;
    TRY(memory_allocate(&items, most * sizeof *items + strlen(text) + 1, 1, "a list", error));
    TRY(config_keep(config, items, error));
    *names = (struct names){.items = items};
    *copy = strcpy((char *)(items + most), text);
out:
    return status;
}

static enum colonnade_status read_names(const struct value *value, void *field)
{
    struct names *names = field;
    char *rest;
    enum colonnade_status status =
        names_init(names, value->config, value->text, &rest, value->error);
    while (status == COLONNADE_OK && rest) {
        char *item = trim(strsep(&rest, ","));
        if (*item == '\0')
            return malformed(value);
        names->items[names->count++] = item;
    }
    return status;
}

enum colonnade_status config_items(const struct config *config, const struct section *section,
                                   const struct entry *entry, struct names *items,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *rest;
    TRY(names_init(items, config, entry->value, &rest, error));
    while (rest) {
        rest += strspn(rest, BLANKS);
        char *item = rest;
        const char *end = *item == '"' ? quoted_end(item) : NULL;
        rest = strchr(end ? end : item, ',');
        if (rest)
            *rest++ = '\0';
        unquote(trim(item));
        for (size_t i = 0; i < items->count; i++)
            if (strcmp(items->items[i], item) == 0)
                TRY(config_error(config, section, entry->key, error,
                                 "[%s] %s = %s: '%s' is given twice", section->name, entry->key,
                                 entry->value, item));
        items->items[items->count++] = item;
    }
out:
    return status;
}

/* The word in choices[0], if there is one, stands for no numbers. */
static enum colonnade_status read_numbers(const struct value *value, void *field)
{
    struct numbers *numbers = field;
    if (value->key->choices && !strcmp(value->text, value->key->choices[0])) {
        *numbers = (struct numbers){0};
        return COLONNADE_OK;
    }
    size_t count = count_commas(value->text) + 1;
    double *items;
    enum colonnade_status status =
        memory_allocate(&items, count, sizeof *items, "a list", value->error);
    if (status == COLONNADE_OK)
        status = config_keep(value->config, items, value->error);
    const char *text = value->text;
    for (size_t i = 0; status == COLONNADE_OK && i < count; i++) {
        text += strspn(text, BLANKS);
        if (!scan_number(&text, &items[i]))
            return malformed(value);
        status = check_number(value, items[i], count > 1);
        text += strspn(text, BLANKS);
        if (*text != (i + 1 < count ? ',' : '\0'))
            return malformed(value);
        text++;
    }
    *numbers = (struct numbers){.items = items, .count = count};
    return status;
}

static enum colonnade_status read_units(const struct value *value, void *field)
{
    if (strcmp(value->text, value->key->choices[0]) != 0)
        return read_integer(value, field);
    *(int *)field = -1;
    return COLONNADE_OK;
}

/* "epoch" as well as "epochs"; without a unit, epochs. */
static enum colonnade_status read_period(const struct value *value, void *field)
{
    static const char *const units[] = {
        [PERIOD_EPOCHS] = "epochs", [PERIOD_STEPS] = "steps", [PERIOD_MINUTES] = "minutes"};
    struct period *period = field;
    long long number;
    char *unit;
    if (!isdigit((unsigned char)value->text[value->text[0] == '-']))
        return malformed(value);
    number = strtoll(value->text, &unit, 10);
    unit += strspn(unit, BLANKS);
    for (int i = 0; i <= PERIOD_MINUTES; i++) {
        const size_t singular = strlen(units[i]) - 1;
        if (strcmp(unit, units[i]) != 0 &&
            (strlen(unit) != singular || strncmp(unit, units[i], singular) != 0) &&
            (*unit || i != PERIOD_EPOCHS))
            continue;
        period->unit = i;
        return check_integers(value, &number, 1, &period->count);
    }
    return malformed(value);
}

static enum colonnade_status read_value(const struct value *value, void *settings)
{
    static enum colonnade_status (*const readers[])(const struct value *, void *) = {
        [KEY_INTEGER] = read_integer, [KEY_COUNT] = read_count,     [KEY_NUMBER] = read_number,
        [KEY_BOOLEAN] = read_boolean, [KEY_CHOICE] = read_choice,   [KEY_TEXT] = read_text,
        [KEY_PAIR] = read_pair,       [KEY_SHAPE] = read_shape,     [KEY_PADDING] = read_padding,
        [KEY_NAMES] = read_names,     [KEY_NUMBERS] = read_numbers, [KEY_UNITS] = read_units,
        [KEY_PERIOD] = read_period,
    };
    return readers[value->key->kind](value, (char *)settings + value->key->offset);
}

static const struct key *find_key(const struct key *keys, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(keys[i].name, name))
            return &keys[i];
    return NULL;
}

static bool is_ignored(const char *const *ignore, const char *name)
{
    for (; ignore && *ignore; ignore++)
        if (!strcmp(*ignore, name))
            return true;
    return false;
}

static enum colonnade_status unknown_key(const struct config *config, const struct section *section,
                                         const char *unknown, const struct key *keys, size_t count,
                                         const char *const *ignore, struct colonnade_error *error)
{
    size_t ignored = 0;
    while (ignore && ignore[ignored])
        ignored++;
    const char **names; /* ends with NULL */
    enum colonnade_status status =
        memory_allocate(&names, count + ignored + 1, sizeof *names, "names of keys", error);
    if (status != COLONNADE_OK)
        return status;
    for (size_t i = 0; i < ignored; i++)
        names[i] = ignore[i];
    for (size_t i = 0; i < count; i++)
        names[ignored + i] = keys[i].name;

    char known[1024];
    join(known, sizeof known, names);
    const char *nearest = nearest_name(unknown, names);
    if (nearest)
        status = config_error(config, section, unknown, error,
                              "[%s] unknown key '%s'; did you mean '%s'?", section->name, unknown,
                              nearest);
    else
        status =
            config_error(config, section, unknown, error, "[%s] unknown key '%s'; %s%s",
                         section->name, unknown, *known ? "known are " : "it takes none", known);
    free(names);
    return status;
}

enum colonnade_status config_read(const struct config *config, const struct section *section,
                                  const char *name, const struct key *keys, size_t count,
                                  const char *const *ignore, void *settings,
                                  struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct value value = {
        .config = config, .section = section, .section_name = name, .error = error};
    for (size_t i = 0; section && i < section->count; i++) {
        value.entry = &section->entries[i];
        value.text = value.entry->value;
        value.key = find_key(keys, count, value.entry->key);
        if (value.key)
            TRY(read_value(&value, settings));
        else if (!is_ignored(ignore, value.entry->key))
            TRY(unknown_key(config, section, value.entry->key, keys, count, ignore, error));
    }
    value.entry = NULL;
    for (size_t i = 0; i < count; i++) {
        value.key = &keys[i];
        value.text = keys[i].fallback;
        if (section && config_entry(section, keys[i].name))
            continue;
        if (keys[i].required)
            TRY(config_error(config, section, NULL, error, "[%s] needs the key '%s'", name,
                             keys[i].name));
        if (value.text)
            TRY(read_value(&value, settings));
    }
out:
    return status;
}
