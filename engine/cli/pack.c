/* colonnade pack: the data of a config as one HDF5 file. */
#include "engine/cli/cli.h"

#include "engine/store/store.h"

#include <stdio.h>

static enum colonnade_status print_packed(const struct dataset *data, const char *path, bool json,
                                          struct colonnade_error *error)
{
    if (json) {
        struct json_object *object = json_object_new_object();
        json_add(object, "file", json_object_new_string(path));
        json_add(object, "train", json_object_new_int64((int64_t)data->train.count));
        json_add(object, "test", json_object_new_int64((int64_t)data->test.count));
        json_add(object, "classes", json_object_new_int(data->classes));
        return output_json(object, error);
    }
    printf("%s: %s image%s to train on and %s to test, %dx%dx%d, %d classes\n", path,
           count_text(data->train.count), plural(data->train.count), count_text(data->test.count),
           data->c, data->h, data->w, data->classes);
    return output_flush(error);
}

enum colonnade_status verb_pack(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *config = NULL;
    struct settings settings;
    struct graph *graph = NULL;
    struct dataset *data = NULL;
    /* --out is the packed file's here, not the run's. */
    struct options without = *options;
    without.out = NULL;
    if (!options->out)
        RAISE(COLONNADE_USAGE, "colonnade pack: -o FILE is missing");
    TRY(destination_check(options->out, error));
    TRY(experiment_config(&config, options->operands[0], &without, error));
    TRY(settings_read(&settings, config, error));
    TRY(experiment_graph(&graph, config, error));
    const struct data_request request = {.seed = settings.seed,
                                         .threads = experiment_threads(options, &settings)};
    TRY(experiment_data(&data, config, &request, false, error));
    TRY(data_pack(data, options->out, error));
    TRY(print_packed(data, options->out, options->json, error));
out:
    dataset_destroy(data);
    graph_destroy(graph);
    config_destroy(config);
    return status;
}
