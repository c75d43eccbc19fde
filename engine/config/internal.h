/* What the files of the config share among themselves; no other folder includes this. */
#ifndef ENGINE_CONFIG_INTERNAL_H
#define ENGINE_CONFIG_INTERNAL_H

#include "engine/config/config.h"

#include <stdarg.h>

/* Bytes of a section's, node's or key's name. inih cuts a section's name after 49. */
enum { NAME_LIMIT = 48 };

#define BLANKS " \t"

/* A config without sections. */
enum colonnade_status config_create(struct config **config, const char *path,
                                    struct colonnade_error *error);

/* Append; names and values are copied. The pointer, which may be NULL, is valid until the next
 * section or entry. */
enum colonnade_status config_add_section(struct config *config, const char *name, int line,
                                         struct section **added, struct colonnade_error *error);
enum colonnade_status config_add_entry(struct section *section, const char *key, const char *value,
                                       int line, struct colonnade_error *error);

/* Takes `block` over, to be freed with the config; frees it at once where that fails. */
enum colonnade_status config_keep(const struct config *config, void *block,
                                  struct colonnade_error *error);

/* Raises COLONNADE_USAGE at `entry`, or at the section where it is NULL, or at the file. */
enum colonnade_status config_raise(const struct config *config, const struct section *section,
                                   const struct entry *entry, struct colonnade_error *error,
                                   const char *format, va_list arguments)
    __attribute__((format(printf, 5, 0)));

/* NULL if `name` may name a section, or its key where `section` is given, else the rule. */
const char *name_fault(const char *section, const char *name);

/* Whether the key's value is a list of items, each perhaps in quotes: a NODE.KEY of [sweep]. */
bool is_list(const char *section, const char *key);

/* NULL if `value`, without blanks around, may be one, else the rule it breaks. */
const char *value_fault(const char *value, bool list);

/* The byte after the quoted text that `value` begins with; NULL where its end is missing. */
const char *quoted_end(const char *value);

/* Undoes the quotes around a value that has no fault, in place. */
void unquote(char *value);

/* Cuts blanks off the end, and returns `text` after those at its start. */
char *trim(char *text);

#endif
