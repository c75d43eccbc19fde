/* Parameters in a run file: /state_dict, and the optimizer's arrays, which lie like it. Names,
 * shapes and order are PyTorch's, whatever the model's inner layout.
 */
#include "engine/base/memory.h"
#include "engine/store/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static int by_name(const void *a, const void *b)
{
    const struct named_parameter *left = a, *right = b;
    return strcmp(left->name, right->name);
}

static size_t count_parameters(const struct graph *graph)
{
    size_t count = 0;
    for (int i = 0; i < graph->count; i++)
        count += (size_t)graph->nodes[i].parameter_count;
    return count;
}

/* A parameter has its name from the node that the user wrote. */
static enum colonnade_status list_node(struct parameter_list *list, const struct graph *graph,
                                       const struct node *node, bool buffers,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct node *owner = &graph->nodes[node->owner];
    for (int i = 0; i < node->parameter_count; i++) {
        const struct parameter *parameter = &node->parameters[i];
        if (!buffers && (!parameter->trainable || node->frozen))
            continue;
        struct named_parameter *item = &list->items[list->count++];
        const int length =
            snprintf(item->name, NAME_BYTES, "%s.%s", owner->name, parameter->suffix);
        if (length >= NAME_BYTES)
            RAISE(COLONNADE_FAILURE, "%s.%s: a run file takes names of at most %d bytes",
                  owner->name, parameter->suffix, NAME_BYTES - 1);
        item->node = owner;
        item->parameter = parameter;
        if (parameter->count > list->largest)
            list->largest = parameter->count;
    }
out:
    return status;
}

enum colonnade_status parameter_list_create(struct parameter_list *list, const struct graph *graph,
                                            bool buffers, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(memory_allocate(&list->items, count_parameters(graph), sizeof *list->items,
                        "the names of parameters", error));
    for (int i = 0; i < graph->count; i++)
        TRY(list_node(list, graph, &graph->nodes[i], buffers, error));
    qsort(list->items, list->count, sizeof *list->items, by_name);
out:
    return status;
}

struct array parameter_array(const struct parameter *parameter)
{
    static const char *const conv[] = {"filters", "channels", "kh", "kw"};
    static const char *const dense[] = {"out", "in"};
    struct array array = {.type = VALUE_FLOAT, .rank = parameter->rank};
    for (int i = 0; i < parameter->rank; i++) {
        array.dims[i] = (hsize_t)parameter->dims[i];
        array.labels[i] = parameter->rank == 4 ? conv[i] : parameter->rank == 2 ? dense[i] : NULL;
    }
    return array;
}

void stored_weight_plain(const struct named_parameter *item, struct stored_weight *stored)
{
    size_t stride = 1;
    *stored = (struct stored_weight){.array = parameter_array(item->parameter)};
    snprintf(stored->path, sizeof stored->path, "%s", item->name);
    for (int i = ARRAY_RANK - 1; i >= 0; i--) {
        stored->extents[i] = i < stored->array.rank ? (size_t)stored->array.dims[i] : 1;
        stored->strides[i] = stride;
        stride *= stored->extents[i];
    }
}

/* CRC-32 of what came before, and of these values as the file has them. */
static uint32_t add_checksum(uint32_t checksum, const float *values, size_t count)
{
    unsigned char bytes[4096];
    while (count > 0) {
        const size_t now = count < sizeof bytes / 4 ? count : sizeof bytes / 4;
        for (size_t i = 0; i < now; i++) {
            uint32_t bits;
            memcpy(&bits, &values[i], sizeof bits);
            for (size_t j = 0; j < 4; j++)
                bytes[4 * i + j] = (unsigned char)(bits >> 8 * j);
        }
        checksum = (uint32_t)crc32(checksum, bytes, (unsigned)(4 * now));
        values += now;
        count -= now;
    }
    return checksum;
}

enum colonnade_status write_parameters(struct place file, const char *group,
                                       const struct graph *graph, const float *parameters,
                                       const float *buffers, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place place = {.id = H5I_INVALID_HID};
    struct parameter_list list = {0};
    float *values = NULL;
    uint32_t checksum = 0;
    TRY(parameter_list_create(&list, graph, buffers != NULL, error));
    TRY(memory_allocate(&values, list.largest, sizeof *values, "a parameter", error));
    TRY(place_create_group(file, group, &place, error));
    for (size_t i = 0; i < list.count; i++) {
        const struct parameter *parameter = list.items[i].parameter;
        const struct array array = parameter_array(parameter);
        parameter_export(parameter, parameter->trainable ? parameters : buffers, values);
        TRY(place_write_array(place, list.items[i].name, &array, values, error));
        checksum = add_checksum(checksum, values, parameter->count);
    }
    TRY(place_write_attribute(place, "crc32", VALUE_UINT32, 0, &checksum, error));
out:
    place_close(place.id);
    free(values);
    free(list.items);
    return status;
}

/* A group that anybody made without a checksum is taken as it is. */
static enum colonnade_status check_checksum(struct place place, uint32_t checksum,
                                            struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    uint32_t stored;
    if (!place_has_attribute(place, "crc32"))
        goto out;
    TRY(place_read_attribute(place, "crc32", VALUE_UINT32, 0, &stored, error));
    if (stored != checksum)
        status = place_error(place, NULL, error,
                             "damaged: the values' CRC-32 is %08x, attribute crc32 says %08x",
                             checksum, stored);
out:
    return status;
}

enum colonnade_status read_parameters(struct place file, const char *group,
                                      const struct graph *graph, float *parameters, float *buffers,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place place = {.id = H5I_INVALID_HID};
    struct parameter_list list = {0};
    float *values = NULL;
    uint32_t checksum = 0;
    size_t found;
    TRY(parameter_list_create(&list, graph, buffers != NULL, error));
    TRY(memory_allocate(&values, list.largest, sizeof *values, "a parameter", error));
    TRY(place_open(file, group, &place, error));
    for (size_t i = 0; i < list.count; i++) {
        const struct parameter *parameter = list.items[i].parameter;
        const struct array array = parameter_array(parameter);
        TRY(place_read_array(place, list.items[i].name, &array, values, error));
        parameter_import(parameter, values, parameter->trainable ? parameters : buffers);
        checksum = add_checksum(checksum, values, parameter->count);
    }
    TRY(place_count(place, &found, error));
    if (found != list.count) {
        status = place_error(place, NULL, error, "holds %zu arrays, but the config's graph has %zu",
                             found, list.count);
        goto out;
    }
    TRY(check_checksum(place, checksum, error));
out:
    place_close(place.id);
    free(values);
    free(list.items);
    return status;
}
