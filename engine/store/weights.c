/* Weights for a new run, out of any HDF5 file with /state_dict: a run file, or one that somebody
 * wrote with h5py. What both sides name is taken and has to fit; the rest is left, and listed.
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
    struct place group;    /* /state_dict, open */
    struct parameter_list list;
    struct model *model; /* NULL: names and shapes are looked at, and nothing is taken */
    float *values;       /* [list.largest] */
};

/* "a, b, c" */
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
    fprintf(names->stream, "%s%s", names->count++ ? ", " : "", name);
}

/* The text, which the caller frees; NULL where it is empty. */
static char *names_close(struct name_list *names)
{
    if (!names->stream)
        return NULL;
    fclose(names->stream);
    if (names->count)
        return names->text;
    free(names->text);
    return NULL;
}

static enum colonnade_status check_fit(const struct taking *taking,
                                       const struct named_parameter *item,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct array wanted = parameter_array(item->parameter);
    struct found_array found;
    TRY(place_find_array(taking->group, item->name, &found, error));
    bool fits = found.rank == wanted.rank;
    for (int i = 0; fits && i < wanted.rank; i++)
        fits = found.dims[i] == wanted.dims[i];
    if (!fits) {
        char there[SHAPE_BYTES], here[SHAPE_BYTES];
        shape_print(there, found.rank, found.dims);
        shape_print(here, wanted.rank, wanted.dims);
        TRY(config_error(taking->config, config_section(taking->config, "train"), "init_from",
                         error, "init_from = %s: %s is %s there; [%s] of line %d needs %s",
                         taking->path, item->name, there, item->node->name, item->node->line,
                         here));
    }
    if (!found.is_float)
        status = place_error(taking->group, item->name, error,
                             "is not of floating-point numbers: weights are");
out:
    return status;
}

static enum colonnade_status take_values(const struct taking *taking,
                                         const struct named_parameter *item,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct parameter *parameter = item->parameter;
    const struct array array = parameter_array(parameter);
    struct model *model = taking->model;
    TRY(place_read_array(taking->group, item->name, &array, taking->values, error));
    for (size_t i = 0; i < parameter->count; i++)
        if (!isfinite(taking->values[i])) {
            status = place_error(taking->group, item->name, error,
                                 "holds %g at index %zu, in the order of its values: weights are "
                                 "finite numbers",
                                 (double)taking->values[i], i);
            goto out;
        }
    parameter_import(parameter, taking->values,
                     parameter->trainable ? model->parameters : model->buffers);
out:
    return status;
}

static enum colonnade_status take_shared(const struct taking *taking, struct name_list *taken,
                                         struct name_list *drawn, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (size_t i = 0; i < taking->list.count; i++) {
        const struct named_parameter *item = &taking->list.items[i];
        if (!place_has(taking->group, item->name)) {
            names_add(drawn, item->name);
            continue;
        }
        TRY(check_fit(taking, item, error));
        if (taking->model)
            TRY(take_values(taking, item, error));
        names_add(taken, item->name);
    }
out:
    return status;
}

static bool in_graph(const struct taking *taking, const char *name)
{
    for (size_t i = 0; i < taking->list.count; i++)
        if (strcmp(taking->list.items[i].name, name) == 0)
            return true;
    return false;
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
        if (!in_graph(taking, names[i]))
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
                        "init_from = %s: /state_dict and the graph have no name in common: there "
                        "%.512s; here %.512s",
                        taking->path, taken->unused ? taken->unused : "nothing",
                        taken->drawn ? taken->drawn : "nothing");
}

/* /state_dict of the open file. */
static enum colonnade_status open_group(struct taking *taking, struct place file,
                                        struct colonnade_error *error)
{
    if (!place_has(file, "state_dict"))
        return error_set(error, COLONNADE_FAILURE,
                         "%s: has no group /state_dict, in which weights would stand under the "
                         "names of the graph, as %s",
                         file.path,
                         taking->list.count ? taking->list.items[0].name : "conv1.weight");
    return place_open(file, "state_dict", &taking->group, error);
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
    TRY(memory_allocate(&taking.values, taking.list.largest, sizeof(float), "a parameter", error));
    TRY(store_open(&file, error));
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
