/* The INI grammar, strict, over inih.
 *
 * inih is lenient: it joins indented lines to the line before, cuts lines, names and values at its
 * buffers' ends, takes ':' for '=', and says nothing of sections without keys or of what it skips.
 * So its reader callback here hands it only checked statements, one a line, without comments and
 * indentation. Bytes of a value that inih would act on are hidden while they pass through it, and
 * a statement longer than its buffer goes on in indented lines, which the handler joins again.
 *
 * A comment begins with ';' or '#' at the start of a line or value, or after a blank. A value in
 * double quotes is kept as it stands; a quote inside is written twice.
 */
#include "engine/base/memory.h"
#include "engine/config/internal.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_LIMIT = 1 << 20 };

struct source {
    struct config *config;
    const char *text; /* not read yet */
    int line;         /* the last one read */
    char *statement;  /* what that line says, as inih may see it */
    size_t statement_capacity;
    const char *rest; /* of the statement, not handed to inih yet */
    bool begun;       /* a part of it has been */
    char *value;      /* joined from what inih hands back */
    size_t value_length, value_capacity;
    enum colonnade_status status;
    struct colonnade_error *error;
};

/* Neither begins nor ends what inih reads, and is refused in a file: so it can stand for another.
 */
static const char hidden_bytes[] = BLANKS ";#";

static void hide(char *value)
{
    for (; *value; value++) {
        const char *place = strchr(hidden_bytes, *value);
        if (place)
            *value = (char)(1 + (place - hidden_bytes));
    }
}

static void reveal(char *value)
{
    for (; *value; value++)
        if (*value >= 1 && (size_t)*value < sizeof hidden_bytes)
            *value = hidden_bytes[*value - 1];
}

static bool begins_comment(const char *text)
{
    return *text == ';' || *text == '#';
}

/* "[NAME]". inih does not report a section: it is opened here. */
static enum colonnade_status read_header(struct source *source, char *line)
{
    enum colonnade_status status = COLONNADE_OK;
    struct colonnade_error *error = source->error;
    const char *path = source->config->path, *name = line + 1;
    char *end = strchr(line, ']');
    if (!end)
        RAISE_AT(COLONNADE_USAGE, path, source->line, "expected ']' after '%s'", line);
    const char *after = end + 1 + strspn(end + 1, BLANKS);
    if (*after && !begins_comment(after))
        RAISE_AT(COLONNADE_USAGE, path, source->line, "'%s' follows a section's ']'", after);
    *end = '\0';
    const char *fault = name_fault(NULL, name);
    if (fault)
        RAISE_AT(COLONNADE_USAGE, path, source->line, "section [%s]: %s", name, fault);
    const struct section *first = config_find(source->config, name);
    if (first)
        RAISE_AT(COLONNADE_USAGE, path, source->line,
                 "section [%s] is given twice; the first is on line %d", name, first->line);
    TRY(config_add_section(source->config, name, source->line, NULL, error));
    sprintf(source->statement, "[%s]", name);
out:
    return status;
}

/* Cuts the comment off a value that has no blanks before it. Quotes stand at the value's start, in
 * a list at each item's. */
static void cut_comment(char *value, bool list)
{
    bool start = true; /* of what may be quoted */
    for (char *c = value; *c; c++) {
        const char *end = start && *c == '"' ? quoted_end(c) : NULL;
        if (end)
            c += end - c;
        if (begins_comment(c) && (c == value || strchr(BLANKS, c[-1])))
            *c = '\0';
        if (*c == '\0')
            return;
        start = list && (*c == ',' || (start && strchr(BLANKS, *c)));
    }
}

/* "KEY = VALUE" */
static enum colonnade_status read_pair(struct source *source, char *line)
{
    enum colonnade_status status = COLONNADE_OK;
    struct colonnade_error *error = source->error;
    const struct config *config = source->config;
    char *equals = strchr(line, '=');
    if (!equals)
        RAISE_AT(COLONNADE_USAGE, config->path, source->line,
                 "expected KEY = VALUE or [SECTION], found '%s'", line);
    *equals = '\0';
    const char *key = trim(line);
    if (config->count == 0)
        RAISE_AT(COLONNADE_USAGE, config->path, source->line,
                 "key '%s' stands before the first [SECTION]", key);
    const struct section *section = &config->sections[config->count - 1];
    const char *fault = name_fault(section->name, key);
    if (fault)
        RAISE_AT(COLONNADE_USAGE, config->path, source->line, "[%s] key '%s': %s", section->name,
                 key, fault);
    const bool list = is_list(section->name, key);
    char *value = trim(equals + 1);
    cut_comment(value, list);
    value = trim(value);
    fault = value_fault(value, list);
    if (fault)
        RAISE_AT(COLONNADE_USAGE, config->path, source->line, "[%s] %s: %s", section->name, key,
                 fault);
    hide(value);
    sprintf(source->statement, "%s=%s", key, value);
out:
    return status;
}

/* Makes a statement of `line`, of `length` bytes; an empty one of a blank line or a comment. */
static enum colonnade_status read_line(struct source *source, const char *line, size_t length)
{
    enum colonnade_status status = COLONNADE_OK;
    struct colonnade_error *error = source->error;
    char *copy = NULL;
    TRY(memory_allocate(&copy, length + 1, 1, "a line", error));
    memcpy(copy, line, length);
    if (length > 0 && copy[length - 1] == '\r')
        copy[length - 1] = '\0';
    TRY(memory_grow(&source->statement, &source->statement_capacity, length + 1, 1, "a line",
                    error));
    source->statement[0] = '\0';
    char *text = trim(copy);
    if (*text == '[')
        TRY(read_header(source, text));
    else if (*text && !begins_comment(text))
        TRY(read_pair(source, text));
    source->rest = source->statement;
    source->begun = false;
out:
    free(copy);
    return status;
}

/* inih's reader: fgets() over the statements. */
static char *next_line(char *line, int size, void *stream)
{
    struct source *source = stream;
    while (source->status == COLONNADE_OK && !*source->rest && *source->text) {
        const char *start = source->text;
        size_t length = strcspn(start, "\n");
        source->text += length + (start[length] == '\n');
        source->line++;
        source->status = read_line(source, start, length);
    }
    if (source->status != COLONNADE_OK || !*source->rest)
        return NULL;
    int most = size - 3; /* the indentation of a further part, the line's end, and the NUL */
    int part =
        snprintf(line, (size_t)size, "%s%.*s\n", source->begun ? " " : "", most, source->rest);
    source->rest += part - 1 - source->begun;
    source->begun = true;
    return line;
}

static enum colonnade_status add_pair(struct source *source)
{
    enum colonnade_status status = COLONNADE_OK;
    struct colonnade_error *error = source->error;
    const char *key = source->statement; /* inih may have cut it in its copy */
    *strchr(source->statement, '=') = '\0';
    struct section *section = &source->config->sections[source->config->count - 1];
    const struct entry *first = config_entry(section, key);
    if (first)
        RAISE_AT(COLONNADE_USAGE, source->config->path, source->line,
                 "[%s] key '%s' is given twice; the first is on line %d", section->name, key,
                 first->line);
    reveal(source->value);
    if (!is_list(section->name, key))
        unquote(source->value);
    TRY(config_add_entry(section, key, source->value, source->line, error));
    source->value_length = 0;
out:
    return status;
}

/* inih's handler: joins the parts of a value, and adds it when the last one is there. */
static int take_value(void *user, const char *section, const char *key, const char *part)
{
    struct source *source = user;
    size_t length = strlen(part);
    source->status = memory_grow(&source->value, &source->value_capacity,
                                 source->value_length + length + 1, 1, "a value", source->error);
    if (source->status != COLONNADE_OK)
        return 0;
    memcpy(source->value + source->value_length, part, length + 1);
    source->value_length += length;
    if (!*source->rest)
        source->status = add_pair(source);
    return source->status == COLONNADE_OK;
}

enum colonnade_status config_parse(struct config **config, const char *path, const char *text,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct source source = {.text = text, .rest = "", .error = error};
    TRY(config_create(&source.config, path, error));
    if (!strncmp(text, "\xef\xbb\xbf", 3))
        source.text += 3; /* the byte order mark of UTF-8 */
    if (ini_parse_stream(next_line, &source, take_value, &source) != 0 &&
        source.status == COLONNADE_OK)
        RAISE_AT(COLONNADE_FAILURE, path, source.line, "inih refuses this line");
    TRY(source.status);
    *config = source.config;
    source.config = NULL;
out:
    free(source.statement);
    free(source.value);
    config_destroy(source.config);
    return status;
}

enum colonnade_status config_load(struct config **config, const char *path,
                                  struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *text = NULL;
    errno = 0;
    FILE *file = fopen(path, "rb");
    if (!file)
        RAISE(COLONNADE_USAGE, "%s: cannot be opened: %s", path, strerror(errno));
    TRY(memory_allocate(&text, FILE_BYTES_LIMIT + 2, 1, "a config", error));
    size_t bytes = fread(text, 1, FILE_BYTES_LIMIT + 1, file);
    if (ferror(file))
        RAISE(COLONNADE_USAGE, "%s: cannot be read: %s", path, strerror(errno));
    if (strlen(text) < bytes)
        RAISE(COLONNADE_USAGE, "%s: not a text file: byte %zu is NUL", path, strlen(text));
    if (bytes > FILE_BYTES_LIMIT)
        RAISE(COLONNADE_USAGE, "%s: longer than %d bytes, the limit of a config", path,
              FILE_BYTES_LIMIT);
    TRY(config_parse(config, path, text, error));
out:
    if (file)
        fclose(file);
    free(text);
    return status;
}
