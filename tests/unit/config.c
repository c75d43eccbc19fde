/* The config: what its grammar takes, what each mistake is told as, and that what is printed
 * parses to the same. Diagnostics are compared whole: they are part of the interface.
 */
#include "engine/config/config.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct config *parse(const char *text)
{
    struct config *config = NULL;
    struct colonnade_error error = {0};
    cr_assert_eq(config_parse(&config, "x.ini", text, &error), COLONNADE_OK, "%s", error.message);
    return config;
}

static void assert_refused(const char *text, const char *message)
{
    struct config *config = NULL;
    struct colonnade_error error = {0};
    cr_expect_eq(config_parse(&config, "x.ini", text, &error), COLONNADE_USAGE, "'%s'", text);
    cr_expect_null(config);
    cr_expect_str_eq(error.message, message);
}

static const char *value_of(const struct config *config, const char *section, const char *key)
{
    for (size_t i = 0; i < config->count; i++) {
        if (strcmp(config->sections[i].name, section))
            continue;
        const struct entry *entry = config_entry(&config->sections[i], key);
        return entry ? entry->value : NULL;
    }
    return NULL;
}

static void assert_value(const char *text, const char *value)
{
    struct config *config = parse(text);
    cr_expect_str_eq(value_of(config, "a", "k"), value);
    config_destroy(config);
}

/* ---- grammar ---- */

Test(config, keeps_sections_and_keys_in_order_with_their_lines)
{
    struct config *config =
        parse("# head\n\n[run]\nseed = 1\n[conv1]\n\ntype=conv\nkernel = 3x5\n");
    cr_assert_eq(config->count, 2);
    cr_expect_str_eq(config->sections[0].name, "run");
    cr_expect_eq(config->sections[0].line, 3);
    cr_expect_eq(config->sections[1].line, 5);
    const struct section *conv = config_section(config, "conv1");
    cr_assert_eq(conv->count, 2);
    cr_expect_str_eq(conv->entries[0].key, "type");
    cr_expect_str_eq(conv->entries[0].value, "conv");
    cr_expect_eq(conv->entries[0].line, 7);
    cr_expect_str_eq(conv->entries[1].value, "3x5");
    cr_expect_eq(conv->entries[1].line, 8);
    config_destroy(config);
}

Test(config, takes_a_section_without_keys)
{
    struct config *config = parse("[a]\n[b]\n");
    cr_expect_eq(config->count, 2);
    cr_expect_not_null(config_section(config, "a"));
    config_destroy(config);
}

Test(config, takes_a_text_without_sections)
{
    struct config *config = parse("\n ; nothing\n");
    cr_expect_eq(config->count, 0);
    config_destroy(config);
}

Test(config, takes_indented_lines_as_keys_and_sections)
{
    struct config *config = parse("  [a]\n\tk = 1\n    l = 2\n");
    cr_expect_str_eq(value_of(config, "a", "k"), "1");
    cr_expect_str_eq(value_of(config, "a", "l"), "2");
    config_destroy(config);
}

Test(config, takes_a_byte_order_mark_and_dos_lines)
{
    struct config *config = parse("\xef\xbb\xbf[a]\r\nk = v\r\n\r\nl = w");
    cr_expect_str_eq(value_of(config, "a", "k"), "v");
    cr_expect_str_eq(value_of(config, "a", "l"), "w");
    config_destroy(config);
}

Test(config, ends_a_value_at_a_comment_after_a_blank_only)
{
    assert_value("[a] ; one\nk = v ; two", "v");
    assert_value("[a]# one\nk = v\t# two", "v");
    assert_value("[a]\nk = v;w#x ; comment", "v;w#x");
    assert_value("[a]\nk = /data/c#/x # comment ; more", "/data/c#/x");
}

Test(config, splits_at_the_first_equals_sign_alone)
{
    assert_value("[a]\nk = b=c", "b=c");
    assert_value("[a]\nk=http://x:1", "http://x:1");
    assert_value("[a]\nk = [b]", "[b]");
}

Test(config, keeps_quoted_values_as_they_stand)
{
    assert_value("[a]\nk = \"  b ; c # d \" ; comment", "  b ; c # d ");
    assert_value("[a]\nk = \"\"", "");
    assert_value("[a]\nk = \"say \"\"x\"\"\"", "say \"x\"");
    assert_value("[a]\nk = it's \"b\"", "it's \"b\"");
}

/* inih's buffer has 200 bytes: lengths around its first three multiples, and some others. */
Test(config, takes_values_of_any_length)
{
    for (size_t length = 1; length < 1000; length += length < 180 || length > 620 ? 89 : 1) {
        char text[1100], value[1000] = "z";
        for (size_t i = 1; i < length; i++)
            value[i] = "ab,;#[\"="[i % 8];
        value[length] = '\0';
        snprintf(text, sizeof text, "[a]\nkey_of_node = %s # c\nl = 1\n", value);
        struct config *config = parse(text);
        cr_assert_str_eq(value_of(config, "a", "key_of_node"), value, "%zu bytes", length);
        cr_assert_str_eq(value_of(config, "a", "l"), "1");
        config_destroy(config);
    }
}

Test(config, takes_long_quoted_values_with_blanks_everywhere)
{
    char text[1100] = "[a]\nk = \"", want[801];
    memset(want, ' ', 800);
    for (size_t i = 150; i < 800; i += 3)
        want[i] = ";#x"[i % 2];
    want[800] = '\0';
    assert_value(strcat(strcat(text, want), "\""), want);
}

Test(config, takes_names_of_48_bytes_and_no_longer)
{
    char text[400], name[50] = "n";
    memset(name + 1, 'm', 47);
    snprintf(text, sizeof text, "[%s]\n%s = 1\n[sweep]\n%s.%s = 1, 2\n", name, name, name, name);
    struct config *config = parse(text);
    cr_expect_str_eq(value_of(config, name, name), "1");
    cr_expect_str_eq(config->sections[1].entries[0].value, "1, 2");
    cr_expect_eq(strlen(config->sections[1].entries[0].key), 97);
    config_destroy(config);
    name[48] = 'm';
    snprintf(text, sizeof text, "x.ini:1: section [%s]: a name has at most 48 characters", name);
    char header[64];
    snprintf(header, sizeof header, "[%s]", name);
    assert_refused(header, text);
}

Test(config, keeps_a_long_sweep_key_with_a_long_value)
{
    char text[1000] = "[sweep]\n", key[80] = "n", value[500];
    memset(key + 1, 'm', 45);
    strcat(key, ".kernel_of_this");
    memset(value, '7', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    strcat(strcat(strcat(strcat(text, key), " = "), value), "\n");
    struct config *config = parse(text);
    cr_expect_str_eq(value_of(config, "sweep", key), value);
    config_destroy(config);
}

Test(config, tells_what_is_wrong_with_a_line)
{
    assert_refused("[a]\nk\n", "x.ini:2: expected KEY = VALUE or [SECTION], found 'k'");
    assert_refused("[a]\nk = 1\n\n  more text\n",
                   "x.ini:4: expected KEY = VALUE or [SECTION], found 'more text'");
    assert_refused("[a]\nk: 1\n", "x.ini:2: expected KEY = VALUE or [SECTION], found 'k: 1'");
    assert_refused("\nk = 1\n[a]\n", "x.ini:2: key 'k' stands before the first [SECTION]");
    assert_refused("[a\nk = 1\n", "x.ini:1: expected ']' after '[a'");
    assert_refused("[a] b\n", "x.ini:1: 'b' follows a section's ']'");
    assert_refused("[]\n", "x.ini:1: section []: a name is letters, digits and '_', and no digit "
                           "first");
    assert_refused("[2a]\n", "x.ini:1: section [2a]: a name is letters, digits and '_', and no "
                             "digit first");
    assert_refused("[a]\nweight-decay = 1\n", "x.ini:2: [a] key 'weight-decay': a name is letters, "
                                              "digits and '_', and no digit first");
    assert_refused("[a]\n= 1\n",
                   "x.ini:2: [a] key '': a name is letters, digits and '_', and no digit first");
    assert_refused("[a]\nb.c = 1\n",
                   "x.ini:2: [a] key 'b.c': a name is letters, digits and '_', and no digit first");
    assert_refused("[sweep]\na.b.c = 1\n",
                   "x.ini:2: [sweep] key 'a.b.c': a key of [sweep] is NODE.KEY, or one of its own");
    assert_refused("[a]\nk = ; none\n", "x.ini:2: [a] k: no value; an empty text is written \"\"");
    assert_refused("[a]\nk = \"b\n", "x.ini:2: [a] k: the closing '\"' is missing");
    assert_refused("[a]\nk = \"b\" c\n", "x.ini:2: [a] k: nothing may follow the closing '\"'");
    assert_refused("[a]\nk = b\x01\n", "x.ini:2: [a] k: the value holds a control character");
}

Test(config, tells_both_lines_of_what_is_given_twice)
{
    assert_refused("[a]\nk = 1\n[b]\n\n[a]\n",
                   "x.ini:5: section [a] is given twice; the first is on line 1");
    assert_refused("[a]\nk = 1\nl = 2\nk = 1\n",
                   "x.ini:4: [a] key 'k' is given twice; the first is on line 2");
}

/* ---- files ---- */

static void assert_file_refused(const char *bytes, size_t count, const char *message)
{
    char path[] = "/tmp/config-test-XXXXXX";
    int file = mkstemp(path);
    cr_assert(file >= 0 && write(file, bytes, count) == (ssize_t)count);
    close(file);
    struct config *config = NULL;
    struct colonnade_error error = {0};
    cr_expect_eq(config_load(&config, path, &error), COLONNADE_USAGE);
    unlink(path);
    cr_expect_null(config);
    cr_assert(!strncmp(error.message, path, strlen(path)), "%s", error.message);
    cr_expect_str_eq(error.message + strlen(path), message);
}

Test(config, refuses_what_is_no_config_file)
{
    struct config *config = NULL;
    struct colonnade_error error;
    cr_expect_eq(config_load(&config, "/none/x.ini", &error), COLONNADE_USAGE);
    cr_expect_str_eq(error.message, "/none/x.ini: cannot be opened: No such file or directory");
    cr_expect_eq(config_load(&config, "/", &error), COLONNADE_USAGE);
    cr_expect_str_eq(error.message, "/: cannot be read: Is a directory");
    assert_file_refused("[a]\nk = 1\n\0", 11, ": not a text file: byte 10 is NUL");
    assert_file_refused("[a]\nk\n", 6, ":2: expected KEY = VALUE or [SECTION], found 'k'");
    char *large = malloc((1 << 20) + 1);
    memset(large, '\n', (1 << 20) + 1);
    assert_file_refused(large, (1 << 20) + 1, ": longer than 1048576 bytes, the limit of a config");
    free(large);
}

/* ---- values ---- */

struct everything {
    int integer, choice, units, positive;
    uint64_t count;
    double number, rate;
    bool boolean;
    const char *text;
    struct pair pair;
    struct triple shape;
    struct padding padding;
    struct names names;
    struct numbers numbers;
    struct period period;
};

static const char *const optimizers[] = {"sgd", "adam", "adamw", "rmsprop", NULL};
static const char *const classes[] = {"classes", NULL};
static const char *const automatic[] = {"auto", NULL};

#define FIELD(name) #name, .offset = offsetof(struct everything, name)

static const struct key keys[] = {
    {FIELD(integer), .kind = KEY_INTEGER},
    {FIELD(positive), .kind = KEY_INTEGER, .minimum = 1},
    {FIELD(count), .kind = KEY_COUNT},
    {FIELD(number), .kind = KEY_NUMBER},
    {FIELD(rate), .kind = KEY_NUMBER, .maximum = 1, .above_minimum = true},
    {FIELD(boolean), .kind = KEY_BOOLEAN},
    {FIELD(choice), .kind = KEY_CHOICE, .choices = optimizers},
    {FIELD(units), .kind = KEY_UNITS, .minimum = 1, .choices = classes},
    {FIELD(text), .kind = KEY_TEXT},
    {FIELD(pair), .kind = KEY_PAIR, .minimum = 1},
    {FIELD(shape), .kind = KEY_SHAPE, .minimum = 1, .maximum = 4096},
    {FIELD(padding), .kind = KEY_PADDING},
    {FIELD(names), .kind = KEY_NAMES},
    {FIELD(numbers), .kind = KEY_NUMBERS, .maximum = INFINITY, .choices = automatic},
    {FIELD(period), .kind = KEY_PERIOD, .minimum = 1},
};
enum { KEYS = sizeof keys / sizeof *keys };

/* Reads one assignment, on line 2 of [a]; the config goes to `*kept`, or away. */
static enum colonnade_status read_one(const char *assignment, struct everything *settings,
                                      struct config **kept, struct colonnade_error *error)
{
    char text[2000];
    snprintf(text, sizeof text, "[a]\n%s\n", assignment);
    struct config *config = parse(text);
    *settings = (struct everything){0};
    enum colonnade_status status =
        config_read(config, config_section(config, "a"), "a", keys, KEYS, NULL, settings, error);
    if (kept)
        *kept = config;
    else
        config_destroy(config);
    return status;
}

static struct everything read_ok(const char *assignment)
{
    struct everything settings;
    struct colonnade_error error = {0};
    cr_assert_eq(read_one(assignment, &settings, NULL, &error), COLONNADE_OK, "%s", error.message);
    return settings;
}

static void assert_value_refused(const char *assignment, const char *rule)
{
    struct everything settings;
    struct colonnade_error error = {0};
    char message[2100];
    snprintf(message, sizeof message, "x.ini:2: [a] %s: %s", assignment, rule);
    cr_expect_eq(read_one(assignment, &settings, NULL, &error), COLONNADE_USAGE, "%s", assignment);
    cr_expect_str_eq(error.message, message);
}

Test(config, reads_integers_whole)
{
    cr_expect_eq(read_ok("integer = 42").integer, 42);
    cr_expect_eq(read_ok("integer = -42").integer, -42);
    cr_expect_eq(read_ok("integer = +7").integer, 7);
    cr_expect_eq(read_ok("integer = 010").integer, 10);
    cr_expect_eq(read_ok("integer = 2147483647").integer, 2147483647);
    cr_expect_eq(read_ok("integer = -2147483648").integer, -2147483647 - 1);
    const char *const wrong[] = {"integer = 1.5",  "integer = 0x10", "integer = 1e3",
                                 "integer = 5 6",  "integer = -",    "integer = +-3",
                                 "integer = three"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_value_refused(wrong[i], "must be a whole number");
    assert_value_refused("integer = 2147483648", "must be at most 2147483647");
    assert_value_refused("integer = -2147483649", "must be at least -2147483648");
    assert_value_refused("integer = 99999999999999999999", "must be at most 2147483647");
    assert_value_refused("positive = 0", "must be at least 1");
    assert_value_refused("positive = -3", "must be at least 1");
}

Test(config, reads_counts_of_64_bits)
{
    cr_expect_eq(read_ok("count = 0").count, 0);
    cr_expect_eq(read_ok("count = 18446744073709551615").count, UINT64_MAX);
    assert_value_refused("count = 18446744073709551616", "must be at most 18446744073709551615");
    assert_value_refused("count = -1", "must be a whole number without a sign");
    assert_value_refused("count = 1k", "must be a whole number without a sign");
}

Test(config, reads_finite_decimal_numbers)
{
    cr_expect_eq(read_ok("number = 0.1").number, 0.1);
    cr_expect_eq(read_ok("number = -1e-5").number, -1e-5);
    cr_expect_eq(read_ok("number = .5").number, 0.5);
    cr_expect_eq(read_ok("number = 3").number, 3.0);
    const char *const wrong[] = {"number = nan",   "number = inf", "number = -infinity",
                                 "number = 0x1p3", "number = 0,1", "number = 1e",
                                 "number = 1 2",   "number = 0.1f"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_value_refused(wrong[i], "must be a number");
    assert_value_refused("number = -1e999", "must be at most 1.797693135e+308 in size");
    cr_expect_eq(read_ok("rate = 1").rate, 1.0);
    assert_value_refused("rate = 0", "must be greater than 0");
    assert_value_refused("rate = 1.01", "must be at most 1");
}

Test(config, reads_a_point_in_numbers_whatever_the_locale)
{
    if (!setlocale(LC_ALL, "de_DE.UTF-8"))
        cr_skip_test("no locale with a decimal comma here");
    cr_expect_eq(read_ok("number = 0.25").number, 0.25);
}

Test(config, reads_booleans)
{
    const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < 4; i++) {
        char line[40];
        snprintf(line, sizeof line, "boolean = %s", yes[i]);
        cr_expect(read_ok(line).boolean);
        struct everything settings;
        struct config *config = parse("[a]\nk = 1");
        struct key key = {FIELD(boolean), .kind = KEY_BOOLEAN, .fallback = no[i]};
        settings.boolean = true;
        cr_expect_eq(config_read(config, NULL, "b", &key, 1, NULL, &settings, NULL), COLONNADE_OK);
        cr_expect_not(settings.boolean);
        config_destroy(config);
    }
    assert_value_refused("boolean = 2", "must be true or false");
    assert_value_refused("boolean = TRUE", "must be true or false");
}

Test(config, reads_choices_and_names_the_nearest)
{
    cr_expect_eq(read_ok("choice = sgd").choice, 0);
    cr_expect_eq(read_ok("choice = rmsprop").choice, 3);
    assert_value_refused("choice = sdg",
                         "must be one of sgd, adam, adamw, rmsprop; did you mean 'sgd'?");
    assert_value_refused("choice = Adam",
                         "must be one of sgd, adam, adamw, rmsprop; did you mean 'adam'?");
    assert_value_refused("choice = lbfgs", "must be one of sgd, adam, adamw, rmsprop");
}

static void expect_period(const char *assignment, int unit, int count)
{
    const struct period period = read_ok(assignment).period;
    cr_expect((int)period.unit == unit && period.count == count, "%s", assignment);
}

Test(config, reads_periods)
{
    expect_period("period = 3", PERIOD_EPOCHS, 3);
    expect_period("period = 1 epoch", PERIOD_EPOCHS, 1);
    expect_period("period = 2 epochs", PERIOD_EPOCHS, 2);
    expect_period("period = 500steps", PERIOD_STEPS, 500);
    expect_period("period = 10\t minute", PERIOD_MINUTES, 10);
    const char *const wrong[] = {"period = steps",      "period = 3 days", "period = 3 step s",
                                 "period = 1.5 epochs", "period = + 3",    "period = 3 s",
                                 "period = 3 stepss"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_value_refused(wrong[i],
                             "must be a whole number of epochs, steps or minutes, as 500 steps");
    assert_value_refused("period = 0 steps", "must be at least 1");
    assert_value_refused("period = -2", "must be at least 1");
    assert_value_refused("period = 99999999999999999999 steps", "must be at most 2147483647");
}

Test(config, reads_units)
{
    cr_expect_eq(read_ok("units = 10").units, 10);
    cr_expect_eq(read_ok("units = classes").units, -1);
    assert_value_refused("units = class", "must be a whole number or classes");
    assert_value_refused("units = -1", "must be at least 1");
}

Test(config, reads_pairs)
{
    struct pair pair = read_ok("pair = 3").pair;
    cr_expect(pair.h == 3 && pair.w == 3);
    pair = read_ok("pair = 3x5").pair;
    cr_expect(pair.h == 3 && pair.w == 5);
    const char *const wrong[] = {"pair = 3x",   "pair = x3",  "pair = 3x5x7", "pair = 3 x 5",
                                 "pair = 3, 5", "pair = 3X5", "pair = 0y"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_value_refused(wrong[i], "must be N or HxW, as 3 or 3x5");
    assert_value_refused("pair = 0", "must be at least 1");
    assert_value_refused("pair = 3x0", "each number must be at least 1");
}

Test(config, reads_shapes)
{
    struct triple shape = read_ok("shape = 1x28x30").shape;
    cr_expect(shape.c == 1 && shape.h == 28 && shape.w == 30);
    assert_value_refused("shape = 28x28", "must be CxHxW, as 1x28x28");
    assert_value_refused("shape = 1x28x28x1", "must be CxHxW, as 1x28x28");
    assert_value_refused("shape = 1x28x-28", "each number must be at least 1");
    assert_value_refused("shape = 1x28x4097", "each number must be at most 4096");
}

static void assert_padding(const char *assignment, int kind, int t, int l, int b, int r)
{
    struct padding padding = read_ok(assignment).padding;
    cr_expect((int)padding.kind == kind && padding.t == t && padding.l == l && padding.b == b &&
                  padding.r == r,
              "%s: %d, %d, %d, %d, %d", assignment, padding.kind, padding.t, padding.l, padding.b,
              padding.r);
}

Test(config, reads_padding)
{
    assert_padding("padding = valid", PADDING_VALID, 0, 0, 0, 0);
    assert_padding("padding = same", PADDING_SAME, 0, 0, 0, 0);
    assert_padding("padding = same_lower", PADDING_SAME_LOWER, 0, 0, 0, 0);
    assert_padding("padding = 2", PADDING_EXPLICIT, 2, 2, 2, 2);
    assert_padding("padding = 1x2", PADDING_EXPLICIT, 1, 2, 1, 2);
    assert_padding("padding = 0, 1,2 , 3", PADDING_EXPLICIT, 0, 1, 2, 3);
    const char *const wrong[] = {"padding = full",   "padding = 1, 2",      "padding = 1x2x3",
                                 "padding = 1,2,3,", "padding = 1,2,3,4,5", "padding = 1x2, 3"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_value_refused(wrong[i], "must be valid, same, same_lower, N, HxW or t, l, b, r");
    assert_value_refused("padding = -1", "must be at least 0");
    assert_value_refused("padding = 0, 0, -1, 0", "each number must be at least 0");
}

Test(config, reads_lists_of_names)
{
    struct everything settings;
    struct config *config;
    cr_assert_eq(read_one("names = a, b c,\td", &settings, &config, NULL), COLONNADE_OK);
    cr_assert_eq(settings.names.count, 3);
    cr_expect_str_eq(settings.names.items[0], "a");
    cr_expect_str_eq(settings.names.items[1], "b c");
    cr_expect_str_eq(settings.names.items[2], "d");
    config_destroy(config);
    assert_value_refused("names = a, , b", "must be names with commas between");
    assert_value_refused("names = a,", "must be names with commas between");
}

Test(config, reads_lists_of_numbers)
{
    struct everything settings;
    struct config *config;
    cr_assert_eq(read_one("numbers = 0.5, 1,2e-1", &settings, &config, NULL), COLONNADE_OK);
    cr_assert_eq(settings.numbers.count, 3);
    cr_expect_eq(settings.numbers.items[0], 0.5);
    cr_expect_eq(settings.numbers.items[1], 1.0);
    cr_expect_eq(settings.numbers.items[2], 0.2);
    config_destroy(config);
    cr_expect_eq(read_ok("numbers = auto").numbers.count, 0);
    assert_value_refused("numbers = 1, 2,", "must be numbers with commas between or auto");
    assert_value_refused("numbers = 1 2", "must be numbers with commas between or auto");
    assert_value_refused("numbers = 1, -2", "each number must be at least 0");
    assert_value_refused("numbers = -2", "must be at least 0");
}

Test(config, cuts_long_values_in_diagnostics)
{
    char line[600] = "integer = ", shown[300] = "integer = ";
    memset(line + 10, 'q', 500);
    memset(shown + 10, 'q', 200);
    struct everything settings;
    struct colonnade_error error;
    cr_expect_eq(read_one(line, &settings, NULL, &error), COLONNADE_USAGE);
    char message[400];
    snprintf(message, sizeof message, "x.ini:2: [a] %s...: must be a whole number", shown);
    cr_expect_str_eq(error.message, message);
}

/* ---- sections against their tables ---- */

static void assert_read_refused(const char *text, const char *override, const struct key *table,
                                size_t count, const char *const *ignore, const char *message)
{
    struct config *config = parse(text);
    struct everything settings = {0};
    struct colonnade_error error = {0};
    if (override)
        cr_assert_eq(config_override(config, override, &error), COLONNADE_OK, "%s", error.message);
    cr_expect_eq(config_read(config, config_section(config, "conv1"), "conv1", table, count, ignore,
                             &settings, &error),
                 COLONNADE_USAGE);
    cr_expect_str_eq(error.message, message);
    config_destroy(config);
}

Test(config, names_the_nearest_of_an_unknown_key_or_lists_the_known)
{
    static const struct key conv[] = {
        {"filters", .kind = KEY_INTEGER, .offset = offsetof(struct everything, integer)},
        {"kernel", .kind = KEY_PAIR, .offset = offsetof(struct everything, pair)},
    };
    static const char *const ignore[] = {"type", "inputs", NULL};
    assert_read_refused("[conv1]\ntype = conv\nkernal = 3", NULL, conv, 2, ignore,
                        "x.ini:3: [conv1] unknown key 'kernal'; did you mean 'kernel'?");
    assert_read_refused("[conv1]\ntyp = conv", NULL, conv, 2, ignore,
                        "x.ini:2: [conv1] unknown key 'typ'; did you mean 'type'?");
    assert_read_refused(
        "[conv1]\nsharpness = 3", NULL, conv, 2, ignore,
        "x.ini:2: [conv1] unknown key 'sharpness'; known are type, inputs, filters, kernel");
    assert_read_refused("[conv1]\ntype = conv", NULL, conv, 2, NULL,
                        "x.ini:2: [conv1] unknown key 'type'; known are filters, kernel");
    assert_read_refused("[conv1]\nkernel = 3", NULL, conv, 0, NULL,
                        "x.ini:2: [conv1] unknown key 'kernel'; it takes none");
    assert_read_refused("[conv1]", "conv1.kernal=3", conv, 2, ignore,
                        "--set conv1.kernal=3: [conv1] unknown key 'kernal'; did you mean "
                        "'kernel'?");
}

Test(config, demands_required_keys)
{
    static const struct key table[] = {
        {FIELD(text), .kind = KEY_TEXT},
        {FIELD(integer), .kind = KEY_INTEGER, .required = true},
    };
    assert_read_refused("\n[conv1]\ntext = x", NULL, table, 2, NULL,
                        "x.ini:2: [conv1] needs the key 'integer'");
    assert_read_refused("[b]", NULL, table, 2, NULL, "x.ini: [conv1] needs the key 'integer'");
    assert_read_refused("[b]", "conv1.text=x", table, 2, NULL,
                        "--set conv1.text=x: [conv1] needs the key 'integer'");
}

Test(config, fills_fallbacks_and_leaves_the_rest_alone)
{
    static const struct key table[] = {
        {FIELD(text), .kind = KEY_TEXT, .fallback = ""},
        {FIELD(padding), .kind = KEY_PADDING, .fallback = "same"},
        {FIELD(names), .kind = KEY_NAMES, .fallback = "a, b"},
        {FIELD(number), .kind = KEY_NUMBER, .fallback = "0.1"},
        {FIELD(integer), .kind = KEY_INTEGER},
    };
    struct everything settings = {.integer = 5};
    struct config *config = parse("[a]\nnumber = 2");
    cr_assert_eq(
        config_read(config, config_section(config, "a"), "a", table, 5, NULL, &settings, NULL),
        COLONNADE_OK);
    cr_expect_str_eq(settings.text, "");
    cr_expect_eq(settings.padding.kind, PADDING_SAME);
    cr_expect_eq(settings.names.count, 2);
    cr_expect_eq(settings.number, 2.0);
    cr_expect_eq(settings.integer, 5);
    cr_assert_eq(config_read(config, NULL, "b", table, 5, NULL, &settings, NULL), COLONNADE_OK);
    cr_expect_eq(settings.number, 0.1);
    config_destroy(config);
}

Test(config, tells_of_the_first_section_that_nobody_reads)
{
    struct config *config = parse("[a]\n[b]\n[c]\n");
    struct colonnade_error error;
    config_section(config, "a");
    cr_expect_eq(config_check_all_read(config, &error), COLONNADE_USAGE);
    cr_expect_str_eq(error.message, "x.ini:2: nothing reads the section [b]");
    config_section(config, "b");
    config_section(config, "c");
    cr_expect_eq(config_check_all_read(config, &error), COLONNADE_OK);
    cr_assert_eq(config_override(config, "d.k=1", &error), COLONNADE_OK);
    cr_expect_eq(config_check_all_read(config, &error), COLONNADE_USAGE);
    cr_expect_str_eq(error.message, "--set d.k=1: nothing reads the section [d]");
    config_destroy(config);
}

Test(config, places_errors_of_its_readers)
{
    struct config *config = parse("[a]\n\nk = 1\n");
    struct colonnade_error error;
    const struct section *a = config_section(config, "a");
    cr_expect_eq(config_error(config, a, "k", &error, "bad %d", 7), COLONNADE_USAGE);
    cr_expect_str_eq(error.message, "x.ini:3: bad 7");
    config_error(config, a, "l", &error, "bad");
    cr_expect_str_eq(error.message, "x.ini:1: bad");
    config_error(config, a, NULL, &error, "bad");
    cr_expect_str_eq(error.message, "x.ini:1: bad");
    config_error(config, NULL, "k", &error, "bad");
    cr_expect_str_eq(error.message, "x.ini: bad");
    config_destroy(config);
}

/* ---- overrides ---- */

Test(config, overrides_a_key_in_its_place)
{
    struct config *config = parse("[a]\nk = 1\nl = 2\n[b]\nk = 3\n");
    struct everything settings;
    static const struct key table[] = {{"k", .kind = KEY_TEXT}, {"l", .kind = KEY_TEXT}};
    cr_assert_eq(
        config_read(config, config_section(config, "b"), "b", table, 2, NULL, &settings, NULL),
        COLONNADE_OK);
    const char *before = *(const char **)&settings;
    cr_assert_eq(config_override(config, "a.k = 9", NULL), COLONNADE_OK);
    cr_assert_eq(config_override(config, "b.k=\" x\"", NULL), COLONNADE_OK);
    cr_assert_eq(config_override(config, "b.k=y ;# = z", NULL), COLONNADE_OK);
    cr_assert_eq(config_override(config, "a.m=4", NULL), COLONNADE_OK);
    cr_assert_eq(config_override(config, "c.k=5", NULL), COLONNADE_OK);
    cr_assert_eq(config_override(config, "sweep.a.k=1, 2", NULL), COLONNADE_OK);
    char *text;
    cr_assert_eq(config_print(config, &text, NULL), COLONNADE_OK);
    cr_expect_str_eq(text, "[a]\nk = 9\nl = 2\nm = 4\n\n[b]\nk = \"y ;# = z\"\n\n[c]\nk = 5\n\n"
                           "[sweep]\na.k = 1, 2\n");
    cr_expect_str_eq(before, "3", "a value that was read stays");
    free(text);
    config_destroy(config);
}

Test(config, tells_of_an_override_by_its_own_text)
{
    static const struct key table[] = {{FIELD(pair), .kind = KEY_PAIR, .minimum = 1}};
    assert_read_refused("[conv1]\npair = 3", "conv1.pair=0", table, 1, NULL,
                        "--set conv1.pair=0: [conv1] pair = 0: must be at least 1");
}

Test(config, refuses_malformed_overrides)
{
    static const struct {
        const char *assignment, *rule;
    } cases[] = {
        {"conv1.kernel", "must be SECTION.KEY=VALUE"},
        {"kernel=3", "must be SECTION.KEY=VALUE"},
        {"kernel=0.3", "must be SECTION.KEY=VALUE"},
        {"", "must be SECTION.KEY=VALUE"},
        {".k=1", "'': a name is letters, digits and '_', and no digit first"},
        {"a.=1", "'': a name is letters, digits and '_', and no digit first"},
        {"a.b.c=1", "'b.c': a name is letters, digits and '_', and no digit first"},
        {"a.k=", "k: no value; an empty text is written \"\""},
        {"a.k=1\n2", "k: the value holds a control character"},
        {"a.k=\"x", "k: the closing '\"' is missing"},
    };
    struct config *config = parse("[a]\nk = 1\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct colonnade_error error;
        char message[200];
        snprintf(message, sizeof message, "--set %s: %s", cases[i].assignment, cases[i].rule);
        cr_expect_eq(config_override(config, cases[i].assignment, &error), COLONNADE_USAGE);
        cr_expect_str_eq(error.message, message);
    }
    cr_expect_eq(config->count, 1);
    cr_expect_str_eq(value_of(config, "a", "k"), "1");
    config_destroy(config);
}

/* ---- nearest names ---- */

Test(config, finds_the_nearest_name)
{
    static const char *const names[] = {
        "kernel", "stride", "lr",      "padding",       "x", "maxpool", "avgpool", "weight_decay",
        "dense",  "rate",   "filters", "globalavgpool", NULL};
    static const struct {
        const char *name, *nearest;
    } cases[] = {
        {"kernal", "kernel"},  /* replaced */
        {"kernl", "kernel"},   /* left out */
        {"kerneel", "kernel"}, /* inserted */
        {"sxxide", "stride"},  /* two of six letters */
        {"sxxxde", NULL},      /* three */
        {"srtide", "stride"},  /* swapped */
        {"STRIDE", "stride"},  /* case */
        {"rl", "lr"},          /* a swap is one */
        {"ab", NULL},          /* nothing in common */
        {"y", NULL},           /* a whole name replaced */
        {"paddings", "padding"},
        {"dilation", NULL},
        {"kernel_size", "kernel"}, /* a part of it */
        {"MaxPooling2D", "maxpool"},
        {"decay", "weight_decay"}, /* it is a part */
        {"pool", "maxpool"},
        {"learning_rate", "lr"}, /* not "rate", which is a part */
        {"out_channels", "filters"},
        {"Linear", "dense"},
        {"p", "rate"},
        {"AdaptiveAvgPool2d", "globalavgpool"}, /* not "avgpool" */
        {"out_features", NULL},                 /* "units" is none of the names */
        {"lr2x", NULL},                         /* two letters are no part */
        {"", NULL},
        {"kernelkernelkernelkernelkernelkernelkernelkernelkernelkernelkernelkernel", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *nearest = nearest_name(cases[i].name, names);
        const char *want = cases[i].nearest;
        cr_expect(want ? nearest && !strcmp(nearest, want) : !nearest, "'%s' gave '%s'",
                  cases[i].name, nearest ? nearest : "(none)");
    }
}

/* ---- round trip ---- */

static void assert_same(const struct config *a, const struct config *b)
{
    cr_assert_eq(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct section *s = &a->sections[i], *t = &b->sections[i];
        cr_assert_str_eq(s->name, t->name);
        cr_assert_eq(s->count, t->count);
        for (size_t j = 0; j < s->count; j++) {
            cr_assert_str_eq(s->entries[j].key, t->entries[j].key);
            cr_assert_str_eq(s->entries[j].value, t->entries[j].value);
        }
    }
}

static void assert_round_trip(const struct config *config)
{
    char *text;
    cr_assert_eq(config_print(config, &text, NULL), COLONNADE_OK);
    struct config *again = parse(text);
    assert_same(config, again);
    config_destroy(again);
    free(text);
}

static uint32_t draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

Test(config, parses_what_it_prints_to_the_same)
{
    struct config *config = parse("[a]\nk = \" ; # \"\"\" # c\nl=\"\"\nm = a\"b\n[b]\n[sweep]\n"
                                  "b.k = 1, 2\n");
    assert_round_trip(config);
    config_destroy(config);
}

Test(config, prints_any_value_so_that_it_parses_to_the_same)
{
    static const char letters[] = "a\"\"  \t;#='\\[]\xc3\xa9,";
    uint32_t state = 1;
    for (int round = 0; round < 3000; round++) {
        char line[600] = "a.k=\"";
        size_t length = draw(&state) % (round % 50 ? 12 : 500), used = strlen(line);
        for (size_t i = 0; i < length; i++) {
            char letter = letters[draw(&state) % (sizeof letters - 1)];
            line[used++] = letter;
            if (letter == '"' && used < sizeof line - 3)
                line[used++] = letter;
            if (used > sizeof line - 5)
                break;
        }
        strcpy(line + used, "\"");
        struct config *config = parse("[a]\n");
        struct colonnade_error error;
        cr_assert_eq(config_override(config, line, &error), COLONNADE_OK, "%s", error.message);
        assert_round_trip(config);
        config_destroy(config);
    }
}

Test(config, survives_mutated_texts, .timeout = 60)
{
    static const char seed[] = "\xef\xbb\xbf[run]\r\nseed = 1 ; c\n[conv1]\n  type = \"a \"\"b\"\n"
                               "kernel = 3x5\npadding = 1, 2, 3, 4\n[sweep]\nconv1.k = 1, 2\n";
    static const char bytes[] = "[]=\"\"\n\n ;#.:\t\r,xa1-\x01\x7f\xff";
    uint32_t state = 7;
    int parsed = 0, refused = 0;
    for (int round = 0; round < 20000; round++) {
        char text[2 * sizeof seed];
        size_t length = sizeof seed - 1;
        memcpy(text, seed, sizeof seed);
        for (uint32_t edits = 1 + draw(&state) % 4; edits > 0; edits--) {
            size_t place = draw(&state) % length, from = draw(&state) % length;
            switch (draw(&state) % 4) {
            case 0: /* replace */
                text[place] = bytes[draw(&state) % (sizeof bytes - 1)];
                break;
            case 1: /* cut out */
                memmove(text + place, text + place + 1, length-- - place);
                break;
            case 2: /* insert */
                memmove(text + place + 1, text + place, ++length - place);
                text[place] = bytes[draw(&state) % (sizeof bytes - 1)];
                break;
            default: /* copy a piece over another */
                memmove(text + place, text + from,
                        draw(&state) % (length - (place > from ? place : from)));
            }
        }
        struct config *config = NULL;
        struct colonnade_error error = {0};
        if (config_parse(&config, "x.ini", text, &error) == COLONNADE_OK) {
            struct everything settings;
            for (size_t i = 0; i < config->count; i++)
                config_read(config, &config->sections[i], config->sections[i].name, keys, KEYS,
                            NULL, &settings, &error);
            assert_round_trip(config);
            parsed++;
        } else {
            cr_assert_eq(error.status, COLONNADE_USAGE);
            cr_assert(!strncmp(error.message, "x.ini:", 6), "%s", error.message);
            cr_assert_null(config);
            refused++;
        }
        config_destroy(config);
    }
    cr_expect(parsed > 1000 && refused > 1000, "%d parsed, %d refused", parsed, refused);
}

/* ---- lists of [sweep] ---- */

static void assert_items(const char *value, size_t count, const char *const *items)
{
    char text[256];
    struct names found;
    struct colonnade_error error = {0};
    snprintf(text, sizeof text, "[sweep]\na.b = %s\n", value);
    for (int turn = 0; turn < 2; turn++) { /* and what is printed says the same */
        struct config *config = parse(text);
        const struct section *section = config_section(config, "sweep");
        cr_assert_eq(config_items(config, section, &section->entries[0], &found, &error),
                     COLONNADE_OK, "%s", error.message);
        cr_assert_eq(found.count, count, "'%s'", value);
        for (size_t i = 0; i < count; i++)
            cr_expect_str_eq(found.items[i], items[i]);
        char *printed = NULL;
        cr_assert_eq(config_print(config, &printed, &error), COLONNADE_OK);
        snprintf(text, sizeof text, "%s", printed);
        free(printed);
        config_destroy(config);
    }
}

#define ITEMS(...)                                                                                 \
    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), (const char *const[])             \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

Test(config, lists_of_a_sweep_have_quoted_items)
{
    assert_items("1", ITEMS("1"));
    assert_items("1,2 ,  3x5 ; comment", ITEMS("1", "2", "3x5"));
    assert_items("same, \"0, 1, 0, 1\"", ITEMS("same", "0, 1, 0, 1"));
    assert_items("\"0, 1, 0, 1\" , same # comment", ITEMS("0, 1, 0, 1", "same"));
    assert_items("\"a \"\"b\"\"\", \"\"", ITEMS("a \"b\"", ""));
    assert_items("\"a # b\", \"c ; d\" ; e", ITEMS("a # b", "c ; d"));
    assert_items("it's, 3\", 4", ITEMS("it's", "3\"", "4"));
}

Test(config, lists_of_a_sweep_refuse_what_is_no_item)
{
    assert_refused("[sweep]\na.b = 1,\n", "x.ini:2: [sweep] a.b: an item of the list is empty; an "
                                          "empty text is written \"\"");
    assert_refused("[sweep]\na.b = \"1\" 2, 3\n",
                   "x.ini:2: [sweep] a.b: nothing may follow the closing '\"'");
    assert_refused("[sweep]\na.b = 1, \"2\n", "x.ini:2: [sweep] a.b: the closing '\"' is missing");
}

Test(config, lists_of_a_sweep_refuse_an_item_given_twice)
{
    struct config *config = parse("[sweep]\na.b = 1, \"1\"\n");
    struct names items;
    struct colonnade_error error = {0};
    const struct section *section = config_section(config, "sweep");
    cr_assert_eq(config_items(config, section, &section->entries[0], &items, &error),
                 COLONNADE_USAGE);
    cr_expect_str_eq(error.message, "x.ini:2: [sweep] a.b = 1, \"1\": '1' is given twice");
    config_destroy(config);
}

/* ---- copies ---- */

Test(config, a_copy_has_the_lines_and_stands_alone)
{
    struct config *config = parse("[a]\nk = 1\n[b]\nk = 2\n"), *copy = NULL;
    cr_assert_eq(config_copy(&copy, config, NULL), COLONNADE_OK);
    cr_assert_eq(config_set(copy, "a", "k", "3", 9, NULL), COLONNADE_OK);
    config_remove_section(copy, "b");
    config_remove_section(copy, "c");
    cr_expect_str_eq(value_of(config, "a", "k"), "1");
    cr_expect_str_eq(value_of(config, "b", "k"), "2");
    cr_expect_str_eq(value_of(copy, "a", "k"), "3");
    cr_expect_eq(copy->count, 1);
    cr_expect_eq(copy->sections[0].entries[0].line, 9);
    config_remove_entry(&copy->sections[0], "k");
    config_remove_entry(&copy->sections[0], "k");
    cr_expect_eq(copy->sections[0].count, 0);
    config_destroy(config);
    cr_expect_eq(copy->sections[0].line, 1);
    config_destroy(copy);
}
