/* The one place where an error's message is put together. */
#include "engine/base/error.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 3, 0))) static void append(struct colonnade_error *error, size_t used,
                                                         const char *format, va_list arguments)
{
    if (used < sizeof error->message)
        vsnprintf(error->message + used, sizeof error->message - used, format, arguments);
}

enum colonnade_status error_set(struct colonnade_error *error, enum colonnade_status status,
                                const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        append(error, 0, format, arguments);
        va_end(arguments);
    }
    return status;
}

enum colonnade_status error_set_at(struct colonnade_error *error, enum colonnade_status status,
                                   const char *file, int line, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->status = status;
        int used = line > 0 ? snprintf(error->message, sizeof error->message, "%s:%d: ", file, line)
                            : snprintf(error->message, sizeof error->message, "%s: ", file);
        append(error, used > 0 ? (size_t)used : 0, format, arguments);
        va_end(arguments);
    }
    return status;
}
