/* The formats, each in the file of its name; and what they share. */
#ifndef ENGINE_EXPORT_FORMATS_H
#define ENGINE_EXPORT_FORMATS_H

#include "engine/export/export.h"
#include "engine/export/network.h"

/* network, path, file, beside, error */
#define EXPORT_MAKER(name)                                                                         \
    enum colonnade_status name(const struct network *network, const char *path,                    \
                               struct export_file *file, struct export_file *beside,               \
                               struct colonnade_error *error)

EXPORT_MAKER(keras_make);
bool keras_recognizes(const char *path);
EXPORT_MAKER(npz_make);
bool npz_recognizes(const char *path);
EXPORT_MAKER(onnx_make);
bool onnx_recognizes(const char *path);

/* Whether the file has these bytes, 64 at the most, at `offset`. */
bool file_holds(const char *path, long offset, const char *bytes, size_t count);

/* "node conv1 of type conv cannot be exported to FORMAT: REASON"; a COLONNADE_FAILURE. */
enum colonnade_status layer_error(const struct layer *layer, const char *format,
                                  struct colonnade_error *error, const char *reason);

#endif
