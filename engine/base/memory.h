/* Allocation with an error instead of a NULL, and sizes that cannot wrap. */
#ifndef ENGINE_BASE_MEMORY_H
#define ENGINE_BASE_MEMORY_H

#include "engine/base/error.h"

#include <stddef.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

enum { MEMORY_ALIGNMENT = 64 }; /* a cache line, and the widest vector */

/* a * b and a + b, or SIZE_MAX where they do not fit: an allocation of that fails. */
size_t size_multiply(size_t a, size_t b);
size_t size_add(size_t a, size_t b);

/* Rounds `bytes` up to a multiple of MEMORY_ALIGNMENT. */
size_t size_align(size_t bytes);

/* `*pointer` becomes count * size zeroed bytes, aligned to MEMORY_ALIGNMENT, which
 * the caller frees with free(). `what` names them in the error's message. */
enum colonnade_status memory_allocate(void *pointer, size_t count, size_t size, const char *what,
                                      struct colonnade_error *error);

/* The same block grown to hold at least `count` elements of `size` bytes each:
 * doubles `*capacity` (in elements) as needed. New bytes are not zeroed. */
enum colonnade_status memory_grow(void *pointer, size_t *capacity, size_t count, size_t size,
                                  const char *what, struct colonnade_error *error);

/* "1.4 MB", for people; `size` is the text's room. */
void memory_text(char *text, size_t size, double bytes);

/* A copy of `text` that the caller frees. */
enum colonnade_status memory_copy_text(char **copy, const char *text,
                                       struct colonnade_error *error);

#endif
