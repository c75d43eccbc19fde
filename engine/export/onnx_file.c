/* How a file that onnx.c made begins: the first two fields of its message. */
#include "engine/export/formats.h"

bool onnx_recognizes(const char *path)
{
    static const char start[] = "\x08\x08\x12\x09"
                                "colonnade"; /* ir_version = 8, producer_name */
    return file_holds(path, 0, start, sizeof start - 1);
}
