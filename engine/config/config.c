/* The config as a list of sections and entries: looking up, overriding, printing, and where an
 * error stands. Knows nothing of the INI grammar beyond names and quotes, nor of what keys mean.
 */
#include "engine/base/memory.h"
#include "engine/config/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct owned {
    void **blocks;
    size_t count, capacity;
};

enum colonnade_status config_create(struct config **config, const char *path,
                                    struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *made = NULL;
    TRY(memory_allocate(&made, 1, sizeof *made, "a config", error));
    TRY(memory_allocate(&made->owned, 1, sizeof *made->owned, "a config", error));
    TRY(memory_copy_text(&made->path, path, error));
    *config = made;
    made = NULL;
out:
    config_destroy(made);
    return status;
}

static void entry_finish(struct entry *entry)
{
    free(entry->key);
    free(entry->value);
}

static void section_finish(struct section *section)
{
    for (size_t i = 0; i < section->count; i++)
        entry_finish(&section->entries[i]);
    free(section->entries);
    free(section->name);
}

void config_destroy(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->count; i++)
        section_finish(&config->sections[i]);
    free(config->sections);
    if (config->owned) {
        for (size_t i = 0; i < config->owned->count; i++)
            free(config->owned->blocks[i]);
        free(config->owned->blocks);
        free(config->owned);
    }
    free(config->path);
    free(config);
}

static enum colonnade_status copy_section(struct config *config, const struct section *from,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct section *section;
    TRY(config_add_section(config, from->name, from->line, &section, error));
    for (size_t i = 0; i < from->count; i++)
        TRY(config_add_entry(section, from->entries[i].key, from->entries[i].value,
                             from->entries[i].line, error));
out:
    return status;
}

enum colonnade_status config_copy(struct config **copy, const struct config *config,
                                  struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *made = NULL;
    TRY(config_create(&made, config->path, error));
    for (size_t i = 0; i < config->count; i++)
        TRY(copy_section(made, &config->sections[i], error));
    *copy = made;
    made = NULL;
out:
    config_destroy(made);
    return status;
}

enum colonnade_status config_keep(const struct config *config, void *block,
                                  struct colonnade_error *error)
{
    struct owned *owned = config->owned;
    enum colonnade_status status = memory_grow(&owned->blocks, &owned->capacity, owned->count + 1,
                                               sizeof *owned->blocks, "a config", error);
    if (status == COLONNADE_OK)
        owned->blocks[owned->count++] = block;
    else
        free(block);
    return status;
}

enum colonnade_status config_add_section(struct config *config, const char *name, int line,
                                         struct section **added, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct section section = {.line = line};
    TRY(memory_grow(&config->sections, &config->capacity, config->count + 1,
                    sizeof *config->sections, "a config", error));
    TRY(memory_copy_text(&section.name, name, error));
    config->sections[config->count] = section;
    if (added)
        *added = &config->sections[config->count];
    config->count++;
out:
    return status;
}

enum colonnade_status config_add_entry(struct section *section, const char *key, const char *value,
                                       int line, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct entry entry = {.line = line};
    TRY(memory_grow(&section->entries, &section->capacity, section->count + 1,
                    sizeof *section->entries, "a config", error));
    TRY(memory_copy_text(&entry.key, key, error));
    TRY(memory_copy_text(&entry.value, value, error));
    section->entries[section->count++] = entry;
    return status;
out:
    free(entry.key);
    return status;
}

struct section *config_find(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->count; i++)
        if (!strcmp(config->sections[i].name, name))
            return &config->sections[i];
    return NULL;
}

struct section *config_section(struct config *config, const char *name)
{
    struct section *section = config_find(config, name);
    if (section)
        section->read = true;
    return section;
}

const struct entry *config_entry(const struct section *section, const char *key)
{
    for (size_t i = 0; i < section->count; i++)
        if (!strcmp(section->entries[i].key, key))
            return &section->entries[i];
    return NULL;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"

static size_t name_length(const char *text)
{
    return isdigit((unsigned char)*text) ? 0 : strspn(text, LETTERS "0123456789");
}

const char *name_fault(const char *section, const char *name)
{
    bool dotted = section && !strcmp(section, "sweep");
    const char *part = name;
    size_t length = name_length(part);
    if (dotted && length > 0 && length <= NAME_LIMIT && part[length] == '.') {
        part += length + 1;
        length = name_length(part);
    }
    if (length == 0 || part[length] != '\0')
        return dotted ? "a key of [sweep] is NODE.KEY, or one of its own"
                      : "a name is letters, digits and '_', and no digit first";
    _Static_assert(NAME_LIMIT == 48, "the message says the limit");
    return length > NAME_LIMIT ? "a name has at most 48 characters" : NULL;
}

char *trim(char *text)
{
    text += strspn(text, BLANKS);
    size_t length = strlen(text);
    while (length > 0 && strchr(BLANKS, text[length - 1]))
        length--;
    text[length] = '\0';
    return text;
}

const char *quoted_end(const char *value)
{
    for (const char *c = value + 1; *c; c++) {
        if (*c != '"')
            continue;
        if (c[1] != '"')
            return c + 1;
        c++; /* a quote inside is written twice */
    }
    return NULL;
}

bool is_list(const char *section, const char *key)
{
    return !strcmp(section, "sweep") && strchr(key, '.') != NULL;
}

/* NULL if the text at `*value` may be a value as far as its quotes go, else the rule it breaks;
 * steps over it, which a comma ends in a list. */
static const char *item_fault(const char **value, bool list)
{
    if (**value == '"') {
        *value = quoted_end(*value);
        if (!*value)
            return "the closing '\"' is missing";
        *value += list ? strspn(*value, BLANKS) : 0;
        return **value && !(list && **value == ',') ? "nothing may follow the closing '\"'" : NULL;
    }
    const size_t length = strcspn(*value, list ? "," : "");
    *value += length;
    return length == 0 ? "an item of the list is empty; an empty text is written \"\"" : NULL;
}

const char *value_fault(const char *value, bool list)
{
    if (*value == '\0')
        return "no value; an empty text is written \"\"";
    for (const char *c = value; *c; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
            return "the value holds a control character";
    const char *fault = item_fault(&value, list);
    while (!fault && *value) {
        value += 1 + strspn(value + 1, BLANKS);
        fault = item_fault(&value, list);
    }
    return fault;
}

void unquote(char *value)
{
    if (*value != '"')
        return;
    char *to = value;
    for (const char *from = value + 1; *from; from++) {
        if (*from == '"' && *++from == '\0') /* the second of a pair stays */
            break;
        *to++ = *from;
    }
    *to = '\0';
}

/* Splits "SECTION.KEY=VALUE" in place. */
static enum colonnade_status split_assignment(char *text, const char *assignment, char **section,
                                              char **key, char **value,
                                              struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *equals = strchr(text, '=');
    if (equals)
        *equals = '\0';
    char *dot = strchr(text, '.');
    if (!equals || !dot)
        RAISE(COLONNADE_USAGE, "--set %s: must be SECTION.KEY=VALUE", assignment);
    *dot = '\0';
    *section = trim(text);
    *key = trim(dot + 1);
    *value = trim(equals + 1);
    const char *fault = name_fault(NULL, *section);
    if (fault)
        RAISE(COLONNADE_USAGE, "--set %s: '%s': %s", assignment, *section, fault);
    fault = name_fault(*section, *key);
    if (fault)
        RAISE(COLONNADE_USAGE, "--set %s: '%s': %s", assignment, *key, fault);
    const bool list = is_list(*section, *key);
    fault = value_fault(*value, list);
    if (fault)
        RAISE(COLONNADE_USAGE, "--set %s: %s: %s", assignment, *key, fault);
    if (!list)
        unquote(*value);
out:
    return status;
}

enum colonnade_status config_set(struct config *config, const char *name, const char *key,
                                 const char *value, int line, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *copy = NULL;
    struct section *section = config_find(config, name);
    if (!section)
        TRY(config_add_section(config, name, line, &section, error));
    for (size_t i = 0; i < section->count; i++) {
        struct entry *entry = &section->entries[i];
        if (strcmp(entry->key, key) != 0)
            continue;
        TRY(memory_copy_text(&copy, value, error));
        char *old = entry->value; /* settings that were read may point to it */
        entry->value = copy;
        entry->line = line;
        TRY(config_keep(config, old, error));
        goto out;
    }
    TRY(config_add_entry(section, key, value, line, error));
out:
    return status;
}

enum colonnade_status config_override(struct config *config, const char *assignment,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *text = NULL, *name = NULL, *key = NULL, *value = NULL;
    TRY(memory_copy_text(&text, assignment, error));
    TRY(split_assignment(text, assignment, &name, &key, &value, error));
    TRY(config_set(config, name, key, value, 0, error));
out:
    free(text);
    return status;
}

void config_remove_section(struct config *config, const char *name)
{
    struct section *section = config_find(config, name);
    if (!section)
        return;
    section_finish(section);
    const size_t after = config->count - (size_t)(section - config->sections) - 1;
    memmove(section, section + 1, after * sizeof *section);
    config->count--;
}

void config_remove_entry(struct section *section, const char *key)
{
    for (size_t i = 0; i < section->count; i++) {
        struct entry *entry = &section->entries[i];
        if (strcmp(entry->key, key) != 0)
            continue;
        entry_finish(entry);
        memmove(entry, entry + 1, (section->count - i - 1) * sizeof *entry);
        section->count--;
        return;
    }
}

enum colonnade_status config_check_all_read(const struct config *config,
                                            struct colonnade_error *error)
{
    for (size_t i = 0; i < config->count; i++) {
        const struct section *section = &config->sections[i];
        if (!section->read)
            return config_error(config, section, NULL, error, "nothing reads the section [%s]",
                                section->name);
    }
    return COLONNADE_OK;
}

static bool needs_quotes(const char *value)
{
    size_t length = strlen(value);
    if (length == 0 || strchr(BLANKS "\";#", value[0]) || strchr(BLANKS, value[length - 1]))
        return true;
    for (size_t i = 1; i < length; i++)
        if (strchr(";#", value[i]) && strchr(BLANKS, value[i - 1]))
            return true;
    return false;
}

/* `as_it_is`: a list, which has its quotes in it. */
static void print_value(FILE *stream, const char *value, bool as_it_is)
{
    if (as_it_is || !needs_quotes(value)) {
        fputs(value, stream);
        return;
    }
    fputc('"', stream);
    for (; *value; value++) {
        if (*value == '"')
            fputc('"', stream);
        fputc(*value, stream);
    }
    fputc('"', stream);
}

enum colonnade_status config_print(const struct config *config, char **text,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *printed = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&printed, &bytes);
    if (!stream)
        RAISE(COLONNADE_FAILURE, "no memory for the text of %s", config->path);
    for (size_t i = 0; i < config->count; i++) {
        const struct section *section = &config->sections[i];
        fprintf(stream, "%s[%s]\n", i ? "\n" : "", section->name);
        for (size_t j = 0; j < section->count; j++) {
            fprintf(stream, "%s = ", section->entries[j].key);
            print_value(stream, section->entries[j].value,
                        is_list(section->name, section->entries[j].key));
            fputc('\n', stream);
        }
    }
    bool failed = ferror(stream);
    if (fclose(stream) || failed)
        RAISE(COLONNADE_FAILURE, "no memory for the text of %s", config->path);
    *text = printed;
    printed = NULL;
out:
    free(printed);
    return status;
}

enum colonnade_status config_raise(const struct config *config, const struct section *section,
                                   const struct entry *entry, struct colonnade_error *error,
                                   const char *format, va_list arguments)
{
    char message[sizeof error->message];
    vsnprintf(message, sizeof message, format, arguments);
    if (!section)
        return error_set_at(error, COLONNADE_USAGE, config->path, 0, "%s", message);
    if (!entry && section->line == 0 && section->count > 0)
        entry = &section->entries[0]; /* the --set that made the section */
    int line = entry ? entry->line : section->line;
    if (line > 0)
        return error_set_at(error, COLONNADE_USAGE, config->path, line, "%s", message);
    if (!entry)
        return error_set_at(error, COLONNADE_USAGE, config->path, 0, "%s", message);
    return error_set(error, COLONNADE_USAGE, "--set %s.%s=%s: %s", section->name, entry->key,
                     entry->value, message);
}

enum colonnade_status config_error(const struct config *config, const struct section *section,
                                   const char *key, struct colonnade_error *error,
                                   const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const struct entry *entry = section && key ? config_entry(section, key) : NULL;
    enum colonnade_status status = config_raise(config, section, entry, error, format, arguments);
    va_end(arguments);
    return status;
}
