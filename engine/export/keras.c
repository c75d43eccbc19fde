/* keras: weights as Keras's legacy HDF5 file, and beside them a Python file that builds the model,
 * loads them and checks the run's samples. */
#include "engine/export/keras.h"

#include "engine/base/memory.h"
#include "engine/export/formats.h"

#include <stdlib.h>

/* The function's lines, by going through all layers. */
static enum colonnade_status describe(struct keras_model *model, char **build,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    size_t count;
    model->build = open_memstream(build, &count);
    if (!model->build)
        RAISE(COLONNADE_FAILURE, "no memory for a script");
    keras_begin(model);
    for (int i = 1; i < model->network->count; i++)
        TRY(keras_add_layer(model, &model->network->layers[i], error));
    keras_end(model);
    if (model->status != COLONNADE_OK)
        RAISE(model->status, "%s", model->error.message);
out:
    if (model->build && fclose(model->build) != 0 && status == COLONNADE_OK)
        status = error_set(error, COLONNADE_FAILURE, "no memory for a script");
    return status;
}

static enum colonnade_status make_script(const struct keras_model *model, const char *build,
                                         const char *path, struct export_file *script,
                                         struct colonnade_error *error)
{
    char *text = NULL;
    FILE *stream = open_memstream(&text, &script->count);
    if (!stream)
        return error_set(error, COLONNADE_FAILURE, "no memory for a script");
    keras_write_script(stream, model, build, path);
    const bool failed = ferror(stream);
    const bool closed = fclose(stream) == 0;
    script->bytes = text;
    if (failed || !closed)
        return error_set(error, COLONNADE_FAILURE, "no memory for a script");
    return COLONNADE_OK;
}

EXPORT_MAKER(keras_make)
{
    enum colonnade_status status = COLONNADE_OK;
    struct keras_model model = {.network = network};
    char *build = NULL;
    unsigned char *weights = NULL;
    TRY(memory_allocate(&model.layers, (size_t)network->count, sizeof *model.layers, "layers",
                        error));
    TRY(describe(&model, &build, error));
    TRY(make_script(&model, build, path, beside, error));
    TRY(keras_make_weights(&model, path, &weights, &file->count, error));
out:
    file->bytes = weights;
    for (int i = 0; model.layers && i < network->count; i++) {
        free(model.layers[i].name);
        for (int j = 0; j < model.layers[i].weight_count; j++)
            free(model.layers[i].weights[j].values);
    }
    free(model.layers);
    free(build);
    return status;
}
