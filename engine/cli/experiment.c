/* What the verbs begin with: a config with its overrides, the graph of it, the data of a run. */
#include "engine/cli/cli.h"

#include "engine/base/memory.h"
#include "engine/store/store.h"
#include "engine/sweep/sweep.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum colonnade_status experiment_load(struct config **config, const char *path,
                                      const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *loaded = NULL;
    char batch[16];
    snprintf(batch, sizeof batch, "%d", options->batch);
    TRY(config_load(&loaded, path, error));
    for (size_t i = 0; i < options->set_count; i++)
        TRY(config_override(loaded, options->sets[i], error));
    if (options->out)
        TRY(config_set(loaded, "run", "output", options->out, 0, error));
    if (options->batch)
        TRY(config_set(loaded, "train", "batch", batch, 0, error));
    dataset_drop_replaced(loaded);
    TRY(settings_check_choices(loaded, error));
    *config = loaded;
    loaded = NULL;
out:
    config_destroy(loaded);
    return status;
}

enum colonnade_status experiment_config(struct config **config, const char *path,
                                        const struct options *options,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *loaded = NULL;
    TRY(experiment_load(&loaded, path, options, error));
    TRY(sweep_reduce_to_base(loaded, error));
    *config = loaded;
    loaded = NULL;
out:
    config_destroy(loaded);
    return status;
}

/* "FILE:LINE: warning: ..." at a key, on standard error. */
__attribute__((format(printf, 4, 5))) static void warn(const struct config *config,
                                                       const struct section *section,
                                                       const char *key, const char *format, ...)
{
    struct colonnade_error warning;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    config_error(config, section, key, &warning, "warning: %s", text);
    fprintf(stderr, "%s\n", warning.message);
}

/* Some train well all the same, so it is no error. */
static void warn_of_output(struct config *config, const struct graph *graph)
{
    const char *activation;
    const struct node *node = graph_output_activation(graph, &activation);
    if (!node)
        return;
    const struct section *section = config_section(config, node->name);
    const char *key = config_entry(section, "activation") ? "activation" : "type";
    warn(config, section, key, "[%s] %s = %s: the loss %s; leave it away", node->name, key,
         activation,
         strcmp(activation, "softmax") == 0
             ? "has a softmax of its own"
             : "takes any numbers from the last node, and this keeps some back");
}

void experiment_transposed_text(const struct dataset *data, char *text, size_t size)
{
    snprintf(text, size,
             "/train/images is read as [N, H, W, C]: %dx%d pixels of %d channels; if it is "
             "[N, C, H, W], transpose it (0, 2, 3, 1)",
             data->h, data->w, data->c);
}

static void warn_of_data(struct config *config, const struct dataset *data)
{
    char text[TRANSPOSED_BYTES];
    if (!dataset_seems_transposed(data))
        return;
    experiment_transposed_text(data, text, sizeof text);
    warn(config, config_section(config, "data"), "path", "%s", text);
}

void experiment_warn(struct config *config, const struct settings *settings,
                     const struct graph *graph)
{
    warn_of_output(config, graph);
    if (settings->warmup > 0 && settings->warmup >= settings->epochs)
        warn(config, config_section(config, "train"), "warmup",
             "[train] warmup = %g is not less than epochs = %d: the learning rate still rises "
             "towards lr = %g when training ends",
             settings->warmup, settings->epochs, settings->lr);
}

enum colonnade_status experiment_graph(struct graph **graph, struct config *config,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct dataset *data = NULL;
    struct graph *made = NULL;
    struct settings settings;
    TRY(settings_read(&settings, config, error));
    TRY(dataset_describe(&data, config, error));
    TRY(graph_create(&made, config, (struct shape){data->c, data->h, data->w}, data->classes,
                     error));
    TRY(config_check_all_read(config, error));
    TRY(graph_freeze(made, config, &settings.freeze, error));
    warn_of_data(config, data);
    experiment_warn(config, &settings, made);
    *graph = made;
    made = NULL;
out:
    graph_destroy(made);
    dataset_destroy(data);
    return status;
}

void experiment_tell_skipped(void *context, const char *reason)
{
    fprintf(stderr, "skipped: %s\n", reason);
}

void experiment_print_taken(const char *name, const char *scope, const char *path,
                            const struct weights_taken *taken)
{
    fprintf(stderr, "%s%s: %zu array%s from %s: %s\n", name, scope, taken->count,
            plural(taken->count), path, taken->taken);
    if (taken->drawn)
        fprintf(stderr, "%s%s: not in that file, so drawn anew: %s\n", name, scope, taken->drawn);
    if (taken->unused)
        fprintf(stderr, "%s%s: in that file, but not in the graph: %s\n", name, scope,
                taken->unused);
}

enum colonnade_status experiment_data(struct dataset **data, struct config *config,
                                      const struct data_request *request, bool quiet,
                                      struct colonnade_error *error)
{
    struct data_request heard = *request;
    struct reading_display display = reading_begin(quiet);
    heard.skipped.tell = experiment_tell_skipped;
    heard.reading = reading_listener(&display);
    return dataset_open(data, config, &heard, error);
}

int experiment_threads(const struct options *options, const struct settings *settings)
{
    return thread_count(options->threads ? options->threads : settings->threads);
}

/* What the program takes beside the training: its code, OpenBLAS's buffers, HDF5's and libgomp's
 * tables. The peak of trainings of networks that take nothing themselves. */
enum { PROGRAM_BYTES = 18 << 20 };

enum colonnade_status experiment_bytes(const struct graph *graph, const struct settings *settings,
                                       int threads, size_t *bytes, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(train_bytes(graph, settings, threads, bytes, error));
    *bytes = size_add(*bytes, run_save_bytes(graph, settings));
    *bytes = size_add(*bytes, PROGRAM_BYTES);
out:
    return status;
}
