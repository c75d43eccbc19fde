/* The table of formats, and the writing of whole files: names are looked at first, then everything
 * is made in memory, then files are replaced. Knows nothing of what is in them.
 */
#include "engine/export/export.h"

#include "engine/base/memory.h"
#include "engine/export/formats.h"
#include "engine/store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct export_format export_formats[] = {
    {.name = "keras",
     .help = "weights and a Python file for Keras",
     .suffix = ".h5",
     .wrong_suffix = ".weights.h5",
     .why_wrong = "Keras takes that for another layout, which finds layers by class and order and "
                  "not by name",
     .beside = ".py",
     .beside_start = "\"\"\"Exported by colonnade ",
     .recognizes = keras_recognizes,
     .make = keras_make},
    {.name = "onnx", .help = "an ONNX model", .recognizes = onnx_recognizes, .make = onnx_make},
    {.name = "npz", .help = "NumPy's arrays", .recognizes = npz_recognizes, .make = npz_make},
    {.name = NULL},
};

enum colonnade_status export_format_find(const struct export_format **format, const char *name,
                                         struct colonnade_error *error)
{
    const char *names[sizeof export_formats / sizeof *export_formats] = {NULL};
    char list[64] = "";
    for (size_t i = 0; export_formats[i].name; i++) {
        if (strcmp(export_formats[i].name, name) == 0) {
            *format = &export_formats[i];
            return COLONNADE_OK;
        }
        names[i] = export_formats[i].name;
        strcat(strcat(list, i ? ", " : ""), names[i]);
    }
    const char *nearest = nearest_name(name, names);
    return error_set(error, COLONNADE_USAGE, "unknown format '%s'%s%s%s: the formats are %s", name,
                     nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "",
                     list);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), end_length = strlen(end);
    return length > end_length && strcmp(text + length - end_length, end) == 0;
}

enum colonnade_status export_beside(const struct export_format *format, const char *path,
                                    char **beside, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    *beside = NULL;
    if (format->suffix && !ends_with(path, format->suffix))
        RAISE(COLONNADE_USAGE, "%s: the name of a file of format %s has to end with %s", path,
              format->name, format->suffix);
    if (format->wrong_suffix && ends_with(path, format->wrong_suffix))
        RAISE(COLONNADE_USAGE, "%s: the name may not end with %s: %s", path, format->wrong_suffix,
              format->why_wrong);
    if (!format->beside)
        goto out;
    const size_t stem = strlen(path) - strlen(format->suffix);
    TRY(memory_allocate(beside, stem + strlen(format->beside) + 1, 1, "a path", error));
    sprintf(*beside, "%.*s%s", (int)stem, path, format->beside);
out:
    return status;
}

bool file_holds(const char *path, long offset, const char *bytes, size_t count)
{
    char found[64];
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    const bool equal = fseek(file, offset, SEEK_SET) == 0 &&
                       fread(found, 1, count, file) == count && memcmp(found, bytes, count) == 0;
    fclose(file);
    return equal;
}

/* Also of what cannot be read: that is for the writing to say. */
static bool is_absent_or_empty(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return true;
    const bool empty = fgetc(file) == EOF;
    fclose(file);
    return empty;
}

static enum colonnade_status check_replaced(bool recognized, const char *path,
                                            struct colonnade_error *error)
{
    if (recognized || is_absent_or_empty(path))
        return COLONNADE_OK;
    return error_set(error, COLONNADE_FAILURE,
                     "%s exists and was not exported by colonnade: it is not replaced", path);
}

enum colonnade_status export_write(const struct run *run, const struct export_format *format,
                                   const char *path, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct network *network = NULL;
    struct export_file first = {NULL, 0}, second = {NULL, 0};
    char *beside = NULL;
    TRY(export_beside(format, path, &beside, error));
    TRY(check_replaced(format->recognizes(path), path, error));
    if (beside)
        TRY(check_replaced(
            file_holds(beside, 0, format->beside_start, strlen(format->beside_start)), beside,
            error));
    TRY(network_create(&network, run, error));
    TRY(format->make(network, path, &first, &second, error));
    TRY(file_replace(path, first.bytes, first.count, error));
    if (beside)
        TRY(file_replace(beside, second.bytes, second.count, error));
out:
    free(first.bytes);
    free(second.bytes);
    free(beside);
    network_destroy(network);
    return status;
}

enum colonnade_status layer_error(const struct layer *layer, const char *format,
                                  struct colonnade_error *error, const char *reason)
{
    return error_set(error, COLONNADE_FAILURE, "node %s of type %s cannot be exported to %s: %s",
                     layer->node->name, layer->node->type->name, format, reason);
}
