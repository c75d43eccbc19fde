/* Errors are values: a status, which is also the exit status of the program,
 * and a message that names the thing, its value and the rule.
 *
 * A function that can fail returns `enum colonnade_status` and takes a
 * `struct colonnade_error *` as its last argument. Inside, RAISE and TRY set
 * the local variable `status` and jump to the label `out:`, where everything
 * is cleaned up, once.
 */
#ifndef ENGINE_BASE_ERROR_H
#define ENGINE_BASE_ERROR_H

#include "engine/colonnade.h"

#include <stdint.h>

/* Fills `error` (NULL is fine) and returns `status`. */
enum colonnade_status error_set(struct colonnade_error *error, enum colonnade_status status,
                                const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same, with "FILE:LINE: " before the message where `line` is positive. */
enum colonnade_status error_set_at(struct colonnade_error *error, enum colonnade_status status,
                                   const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* The ending of a counted word: "1 step", "2 steps". */
static inline const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

#define RAISE(code, ...)                                                                           \
    do {                                                                                           \
        status = error_set(error, (code), __VA_ARGS__);                                            \
        goto out;                                                                                  \
    } while (0)

#define RAISE_AT(code, file, line, ...)                                                            \
    do {                                                                                           \
        status = error_set_at(error, (code), (file), (line), __VA_ARGS__);                         \
        goto out;                                                                                  \
    } while (0)

#define TRY(call)                                                                                  \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != COLONNADE_OK)                                                                \
            goto out;                                                                              \
    } while (0)

#endif
