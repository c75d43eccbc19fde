/* Weights for a new run, out of any HDF5 file with /state_dict, a run file or one that somebody
 * wrote with h5py, or out of Keras's. What both sides name is taken and has to fit; the rest is
 * left, and listed.
 */
#include "engine/base/memory.h"
#include "engine/store/parts.h"
#include "engine/store/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is being taken, from where, into what. */
struct taking {
    const char *path;
    struct config *config; /* for diagnostics: where [train] init_from stands */
    struct place group;    /* that holds them, open */
    bool keras;            /* it is of Keras's layout */
    struct parameter_list list;
    struct model *model;  /* NULL: names and shapes are looked at, and nothing is taken */
    float *read, *values; /* [list.largest] in the file's order, in PyTorch's */
};

/* "a, b, c", or as many as are shown, ", and 7 more" */
enum { NAMES_SHOWN = 8 };
struct name_list {
    FILE *stream;
    char *text;
    size_t bytes, count;
};

static enum colonnade_status names_open(struct name_list *names, struct colonnade_error *error)
{
    names->stream = open_memstream(&names->text, &names->bytes);
    return names->stream ? COLONNADE_OK
                         : error_set(error, COLONNADE_FAILURE, "no memory for a list of names");
}

static void names_add(struct name_list *names, const char *name)
{
    if (names->count < NAMES_SHOWN)
        fprintf(names->stream, "%s%s", names->count ? ", " : "", name);
    names->count++;
}

/* The text, which the caller frees; NULL where it is empty. */
static char *names_close(struct name_list *names)
{
    if (!names->stream)
        return NULL;
    if (names->count > NAMES_SHOWN)
        fprintf(names->stream, ", and %zu more", names->count - NAMES_SHOWN);
    fclose(names->stream);
    if (names->count)
        return names->text;
    free(names->text);
    return NULL;
}

static bool find_stored(const struct taking *taking, const struct named_parameter *item,
                        struct stored_weight *stored)
{
    if (taking->keras)
        return keras_find(taking->group, item, stored);
    stored_weight_plain(item, stored);
    return place_has(taking->group, item->name);
}

static enum colonnade_status check_fit(const struct taking *taking,
                                       const struct named_parameter *item,
                                       const struct stored_weight *stored,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct array *wanted = &stored->array;
    struct found_array found;
    TRY(place_find_array(taking->group, stored->path, &found, error));
    bool fits = found.rank == wanted->rank;
    for (int i = 0; fits && i < wanted->rank; i++)
        fits = found.dims[i] == wanted->dims[i];
    if (!fits) {
        char there[SHAPE_BYTES], here[SHAPE_BYTES];
        shape_print(there, found.rank, found.dims);
        shape_print(here, wanted->rank, wanted->dims);
        TRY(config_error(taking->config, config_section(taking->config, "train"), "init_from",
                         error, "init_from = %s: %s is %s there; [%s] of line %d needs %s",
                         taking->path, stored->path, there, item->node->name, item->node->line,
                         here));
    }
    if (!found.is_float)
        status = place_error(taking->group, stored->path, error,
                             "is not of floating-point numbers: weights are");
out:
    return status;
}

/* From the file's order into PyTorch's. */
static void put_in_order(const struct stored_weight *stored, const float *read, float *values)
{
    const size_t *n = stored->extents, *s = stored->strides;
    for (size_t i = 0; i < n[0]; i++)
        for (size_t j = 0; j < n[1]; j++)
            for (size_t k = 0; k < n[2]; k++)
                for (size_t l = 0; l < n[3]; l++)
                    *values++ = read[i * s[0] + j * s[1] + k * s[2] + l * s[3]];
}

static enum colonnade_status take_values(const struct taking *taking,
                                         const struct named_parameter *item,
                                         const struct stored_weight *stored,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct parameter *parameter = item->parameter;
    struct model *model = taking->model;
    TRY(place_read_array(taking->group, stored->path, &stored->array, taking->read, error));
    for (size_t i = 0; i < parameter->count; i++)
        if (!isfinite(taking->read[i])) {
            status = place_error(taking->group, stored->path, error,
                                 "holds %g at index %zu, in the order of its values: weights are "
                                 "finite numbers",
                                 (double)taking->read[i], i);
            goto out;
        }
    put_in_order(stored, taking->read, taking->values);
    parameter_import(parameter, taking->values,
                     parameter->trainable ? model->parameters : model->buffers);
out:
    return status;
}

static enum colonnade_status take_shared(const struct taking *taking, struct name_list *taken,
                                         struct name_list *drawn, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct stored_weight stored;
    for (size_t i = 0; i < taking->list.count; i++) {
        const struct named_parameter *item = &taking->list.items[i];
        if (!find_stored(taking, item, &stored)) {
            names_add(drawn, item->name);
            continue;
        }
        TRY(check_fit(taking, item, &stored, error));
        if (taking->model)
            TRY(take_values(taking, item, &stored, error));
        names_add(taken, item->name);
    }
out:
    return status;
}

/* Whether the graph has what a name in the file's group stands for: an array, or Keras's layer. */
static bool in_graph(const struct taking *taking, const char *name)
{
    for (size_t i = 0; i < taking->list.count; i++)
        if (strcmp(taking->keras ? taking->list.items[i].node->name : taking->list.items[i].name,
                   name) == 0)
            return true;
    return false;
}

/* Keras has a group for each layer, with weights or without. */
static bool is_empty(struct place group, const char *name)
{
    struct place layer = {.id = H5I_INVALID_HID};
    size_t links = 0;
    if (place_open(group, name, &layer, NULL) == COLONNADE_OK)
        place_count(layer, &links, NULL);
    place_close(layer.id);
    return links == 0;
}

/* What the file has and the graph has not. */
static enum colonnade_status list_unused(const struct taking *taking, struct name_list *unused,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char **names = NULL;
    size_t count = 0;
    TRY(place_list(taking->group, &names, &count, error));
    for (size_t i = 0; i < count; i++)
        if (!in_graph(taking, names[i]) && !(taking->keras && is_empty(taking->group, names[i])))
            names_add(unused, names[i]);
out:
    for (size_t i = 0; names && i < count; i++)
        free(names[i]);
    free(names);
    return status;
}

static enum colonnade_status raise_strangers(const struct taking *taking,
                                             const struct weights_taken *taken,
                                             struct colonnade_error *error)
{
    return config_error(taking->config, config_section(taking->config, "train"), "init_from", error,
                        "init_from = %s: the file and the graph have no name in common: there "
                        "%.512s; here %.512s",
                        taking->path, taken->unused ? taken->unused : "nothing",
                        taken->drawn ? taken->drawn : "nothing");
}

/* Puts where the config names the file before what is wrong with it. */
static enum colonnade_status locate(const struct taking *taking, struct colonnade_error *error)
{
    if (!error)
        return COLONNADE_FAILURE;
    const struct colonnade_error reason = *error;
    config_error(taking->config, config_section(taking->config, "train"), "init_from", error,
                 "init_from = %s", reason.message);
    error->status = COLONNADE_FAILURE;
    return COLONNADE_FAILURE;
}

/* The group of weights in the open file. */
static enum colonnade_status open_group(struct taking *taking, struct place file,
                                        struct colonnade_error *error)
{
    const char *root = "state_dict";
    if (!place_has(file, root))
        taking->keras = keras_find_root(file, &root);
    if (!place_has(file, "state_dict") && !taking->keras)
        return error_set(error, COLONNADE_FAILURE,
                         "%s: has neither a group /state_dict, in which weights would stand under "
                         "the names of the graph, as %s, nor Keras's attribute layer_names",
                         file.path,
                         taking->list.count ? taking->list.items[0].name : "conv1.weight");
    return place_open(file, root, &taking->group, error);
}

enum colonnade_status weights_take(const struct graph *graph, struct model *model,
                                   struct config *config, const char *path,
                                   struct weights_taken *result, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place file = {path, H5I_INVALID_HID};
    struct taking taking = {
        .path = path, .config = config, .group.id = H5I_INVALID_HID, .model = model};
    struct name_list taken = {0}, drawn = {0}, unused = {0};
    struct hdf5_quiet quiet;
    *result = (struct weights_taken){0};
    hdf5_quiet_begin(&quiet);
    TRY(names_open(&taken, error));
    TRY(names_open(&drawn, error));
    TRY(names_open(&unused, error));
    TRY(parameter_list_create(&taking.list, graph, true, error));
    TRY(memory_allocate(&taking.read, taking.list.largest, sizeof(float), "a parameter", error));
    TRY(memory_allocate(&taking.values, taking.list.largest, sizeof(float), "a parameter", error));
    TRY(store_open(&file, NULL, error));
    TRY(open_group(&taking, file, error));
    TRY(take_shared(&taking, &taken, &drawn, error));
    TRY(list_unused(&taking, &unused, error));
out:
    place_close(taking.group.id);
    place_close(file.id);
    hdf5_quiet_end(&quiet);
    *result = (struct weights_taken){
        .count = taken.count,
        .taken = names_close(&taken),
        .drawn = names_close(&drawn),
        .unused = names_close(&unused),
    };
    if (status == COLONNADE_OK && result->count == 0)
        status = raise_strangers(&taking, result, error);
    if (status == COLONNADE_FAILURE)
        status = locate(&taking, error);
    free(taking.read);
    free(taking.values);
    free(taking.list.items);
    return status;
}

void weights_taken_finish(struct weights_taken *taken)
{
    free(taken->taken);
    free(taken->drawn);
    free(taken->unused);
    *taken = (struct weights_taken){0};
}
