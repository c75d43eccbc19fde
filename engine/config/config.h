/* An experiment's INI text: sections of keys with their lines, overrides applied.
 *
 * The config knows nothing of what the keys mean. Who reads a section names the keys it accepts
 * in a table of `struct key`; config_read() parses and checks every value by that table, and a key
 * of the section that the table lacks is an error with its line and the nearest name. The same
 * tables make the documentation of keys. A section that nobody reads is found by
 * config_check_all_read().
 */
#ifndef ENGINE_CONFIG_CONFIG_H
#define ENGINE_CONFIG_CONFIG_H

#include "engine/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct entry {
    char *key, *value;
    int line; /* 0: from --set */
};

struct section {
    char *name;
    int line;
    struct entry *entries;
    size_t count, capacity;
    bool read;
};

struct owned;

struct config {
    char *path; /* as the user gave it; what diagnostics begin with */
    struct section *sections;
    size_t count, capacity;
    struct owned *owned; /* what values that were read point to */
};

/* What a value may be, and the C type of the field that takes it. */
enum key_kind {
    KEY_INTEGER, /* int */
    KEY_COUNT,   /* uint64_t: no sign */
    KEY_NUMBER,  /* double, finite */
    KEY_BOOLEAN, /* bool: true, false, yes, no, on, off, 1, 0 */
    KEY_CHOICE,  /* int: index into `choices` */
    KEY_TEXT,    /* const char *, owned by the config */
    KEY_PAIR,    /* struct pair: N or HxW */
    KEY_SHAPE,   /* struct triple: CxHxW */
    KEY_PADDING, /* struct padding */
    KEY_NAMES,   /* struct names: comma-separated, in order */
    KEY_NUMBERS, /* struct numbers: comma-separated; or empty, for the word in `choices[0]` */
    KEY_UNITS,   /* int: a number, or -1 for the word in `choices[0]` (as `classes`) */
    KEY_PERIOD,  /* struct period: N, N epochs, N steps or N minutes */
};

struct pair {
    int h, w;
};

struct triple {
    int c, h, w;
};

struct period {
    enum { PERIOD_EPOCHS, PERIOD_STEPS, PERIOD_MINUTES } unit;
    int count;
};

struct padding {
    enum { PADDING_VALID, PADDING_SAME, PADDING_SAME_LOWER, PADDING_EXPLICIT } kind;
    int t, l, b, r; /* explicit */
};

struct names {
    char **items; /* owned by the config */
    size_t count;
};

struct numbers {
    double *items; /* owned by the config */
    size_t count;
};

struct key {
    const char *name;
    enum key_kind kind;
    size_t offset;        /* of the field in the settings struct */
    const char *fallback; /* default, as the user would write it; NULL: none (see required) */
    bool required;        /* an error where missing; else a missing key without a fallback
                           * leaves the field as it was (zero) */
    /* Inclusive, for every number of a value. A maximum not above the minimum is none; both 0 (and
     * not above_minimum) are no bounds: "0 or more" has the maximum INFINITY. */
    double minimum, maximum;
    bool above_minimum;         /* the minimum itself is not allowed */
    const char *const *choices; /* NULL-terminated */
    const char *help;           /* one line, for the documentation */
};

/* Reads the file (or text, with `path` for its diagnostics). On error nothing is left behind.
 * A comment begins with '#' or ';' at the start of a line or value or after a blank. Blanks around
 * keys and values, and indentation, mean nothing. A value may stand in double quotes, which keep
 * it as it is; a quote in it is then written twice. Keys of [sweep] may be NODE.KEY: the value of
 * such a one is kept as it stands, for config_items(). */
enum colonnade_status config_load(struct config **config, const char *path,
                                  struct colonnade_error *error);
enum colonnade_status config_parse(struct config **config, const char *path, const char *text,
                                   struct colonnade_error *error);
void config_destroy(struct config *config); /* NULL is fine */

/* Another config of the same text and lines, of which nothing has been read. */
enum colonnade_status config_copy(struct config **copy, const struct config *config,
                                  struct colonnade_error *error);

/* Applies "SECTION.KEY=VALUE" of a --set. A key that stands in the file keeps its place; a section
 * or key that does not is added at the end: whether it means anything is for the reader to say.
 * '#' and ';' begin no comment here. Pointers to sections and entries may become invalid. */
enum colonnade_status config_override(struct config *config, const char *assignment,
                                      struct colonnade_error *error);

/* The same of one key whose value stands as it is, on `line` as far as diagnostics go. */
enum colonnade_status config_set(struct config *config, const char *section, const char *key,
                                 const char *value, int line, struct colonnade_error *error);

/* Takes a section, or a section's key, away; one that is not there is fine. Pointers to sections,
 * or to the section's entries, become invalid. */
void config_remove_section(struct config *config, const char *name);
void config_remove_entry(struct section *section, const char *key);

/* The items of a NODE.KEY's value in [sweep]: commas between, and an item that holds commas in
 * quotes. They stay valid while the config lives. */
enum colonnade_status config_items(const struct config *config, const struct section *section,
                                   const struct entry *entry, struct names *items,
                                   struct colonnade_error *error);

/* NULL where there is none. config_section marks it read, config_find leaves the mark alone. */
struct section *config_section(struct config *config, const char *name);
struct section *config_find(const struct config *config, const char *name);
const struct entry *config_entry(const struct section *section, const char *key);

/* Fills `settings` from `section` (NULL: all fallbacks; then a required key is an error naming
 * `name`). `name` is the section's, for diagnostics. Values stay valid while the config lives.
 * `ignore` (NULL-terminated or NULL): keys of the section that somebody else reads. */
enum colonnade_status config_read(const struct config *config, const struct section *section,
                                  const char *name, const struct key *keys, size_t count,
                                  const char *const *ignore, void *settings,
                                  struct colonnade_error *error);

/* Raises where a section has not been read. */
enum colonnade_status config_check_all_read(const struct config *config,
                                            struct colonnade_error *error);

/* The INI text as it now stands, overrides applied, without comments; parses to the same config.
 * The caller frees it. */
enum colonnade_status config_print(const struct config *config, char **text,
                                   struct colonnade_error *error);

/* The place of `name` in `names` (NULL-terminated); -1 where it is none of them. */
int find_name(const char *name, const char *const *names);

/* The name in `names` (NULL-terminated) that `name` is likely to mean, or NULL: what stands for it
 * in PyTorch or Keras; else the nearest by edit distance, if it is near; else one that is a part of
 * `name`, or has it for a part. Case does not count. */
const char *nearest_name(const char *name, const char *const *names);

/* "FILE:LINE: " errors for a section or one of its keys (the section's line where it lacks it;
 * "FILE: " for a section that is NULL; "--set SECTION.KEY=VALUE: " for what came from there). */
enum colonnade_status config_error(const struct config *config, const struct section *section,
                                   const char *key, struct colonnade_error *error,
                                   const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
