/* In place of onnx.c, where the program is built without what that needs. */
#include "engine/export/formats.h"

EXPORT_MAKER(onnx_make)
{
    return error_set(error, COLONNADE_FAILURE,
                     "%s: this program was built without ONNX: that needs protobuf-c, its "
                     "compiler, and ONNX's schema (Debian: libprotobuf-c-dev, "
                     "protobuf-c-compiler, libonnx-dev)",
                     path);
}
