/* Allocation: checked sizes, aligned blocks, errors that say what was wanted. */
#include "engine/base/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t size_multiply(size_t a, size_t b)
{
    size_t product;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

size_t size_add(size_t a, size_t b)
{
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

size_t size_align(size_t bytes)
{
    size_t padded = size_add(bytes, MEMORY_ALIGNMENT - 1);
    return padded == SIZE_MAX ? SIZE_MAX : padded / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
}

void memory_text(char *text, size_t size, double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    while (bytes >= 999.5 && unit + 1 < COUNT_OF(units)) {
        bytes /= 1000;
        unit++;
    }
    snprintf(text, size, "%.*f %s", unit && bytes < 99.95 ? 1 : 0, bytes, units[unit]);
}

static enum colonnade_status raise_no_memory(const char *what, size_t bytes,
                                             struct colonnade_error *error)
{
    char text[32];
    memory_text(text, sizeof text, (double)bytes);
    return error_set(error, COLONNADE_FAILURE, "no memory for %s: %s were asked for", what, text);
}

enum colonnade_status memory_allocate(void *pointer, size_t count, size_t size, const char *what,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    void *block = NULL;
    size_t bytes = size_align(size_multiply(count, size));
    if (bytes == 0)
        bytes = MEMORY_ALIGNMENT;
    if (bytes < SIZE_MAX)
        block = aligned_alloc(MEMORY_ALIGNMENT, bytes);
    if (!block)
        TRY(raise_no_memory(what, bytes, error));
    memset(block, 0, bytes);
    *(void **)pointer = block;
out:
    return status;
}

enum colonnade_status memory_grow(void *pointer, size_t *capacity, size_t count, size_t size,
                                  const char *what, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    if (count <= *capacity)
        goto out;
    size_t grown = *capacity ? *capacity : 16;
    while (grown < count)
        grown = size_multiply(grown, 2);
    size_t bytes = size_multiply(grown, size);
    void *block = bytes < SIZE_MAX ? realloc(*(void **)pointer, bytes) : NULL;
    if (!block)
        TRY(raise_no_memory(what, bytes, error));
    *(void **)pointer = block;
    *capacity = grown;
out:
    return status;
}

enum colonnade_status memory_copy_text(char **copy, const char *text, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    size_t bytes = strlen(text) + 1;
    TRY(memory_allocate(copy, bytes, 1, "a text", error));
    memcpy(*copy, text, bytes);
out:
    return status;
}
