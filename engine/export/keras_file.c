/* Weights in the layout that Keras 3 and tf.keras read by load_weights(path, by_name=True): a group
 * a layer, named like it, whose attribute weight_names lists its datasets in Keras's order. Layers
 * without weights are left out, as they may be.
 */
#include "engine/base/memory.h"
#include "engine/export/formats.h"
#include "engine/export/keras.h"
#include "engine/store/parts.h"

#include <stdlib.h>
#include <string.h>

enum {
    ATTRIBUTE_BYTES = 64512, /* of an attribute, at the most: Keras splits longer ones */
    PATH_BYTES = 64
};

/* Any but "1", which would have kernels turned. */
static const char keras_version[] = "2.15.0";
/* No node has a name like it, and Keras passes over groups that it does not know. */
static const char golden_name[] = "colonnade-golden";

/* Texts as one attribute, or as NAME0, NAME1, ... where they are too much for one. */
static enum colonnade_status write_names(struct place place, const char *name, size_t count,
                                         const char *const *names, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char numbered[PATH_BYTES];
    size_t longest = 1;
    for (size_t i = 0; i < count; i++)
        longest = strlen(names[i]) > longest ? strlen(names[i]) : longest;
    const size_t most = ATTRIBUTE_BYTES / longest;
    if (count <= most) {
        TRY(place_write_ascii(place, name, count, names, error));
        goto out;
    }
    for (size_t first = 0, chunk = 0; first < count; first += most, chunk++) {
        const size_t left = count - first;
        snprintf(numbered, sizeof numbered, "%s%zu", name, chunk);
        TRY(place_write_ascii(place, numbered, left < most ? left : most, names + first, error));
    }
out:
    return status;
}

/* LAYER/WEIGHT:0 in the layer's group, as tf.keras names it. */
static enum colonnade_status write_weights(struct place group, const struct keras_layer *layer,
                                           struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place inner = {.id = H5I_INVALID_HID};
    char *paths[KERAS_WEIGHTS] = {NULL};
    const size_t count = (size_t)layer->weight_count;
    TRY(place_create_group(group, layer->name, &inner, error));
    for (size_t i = 0; i < count; i++) {
        const struct keras_weight *weight = &layer->weights[i];
        const size_t bytes = strlen(layer->name) + PATH_BYTES;
        TRY(memory_allocate(&paths[i], bytes, 1, "a name", error));
        snprintf(paths[i], bytes, "%s/%s:0", layer->name, weight->name);
        struct array array = {.type = VALUE_FLOAT, .rank = weight->rank};
        for (int j = 0; j < weight->rank; j++)
            array.dims[j] = (hsize_t)weight->dims[j];
        TRY(place_write_array(inner, paths[i] + strlen(layer->name) + 1, &array, weight->values,
                              error));
    }
    TRY(place_write_ascii(group, "weight_names", count, (const char *const *)paths, error));
out:
    for (size_t i = 0; i < count; i++)
        free(paths[i]);
    place_close(inner.id);
    return status;
}

static enum colonnade_status write_layers(struct place file, const struct keras_model *model,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    const char **names = NULL;
    size_t count = 0;
    TRY(memory_allocate(&names, (size_t)model->network->count, sizeof *names, "names", error));
    for (int i = 0; i < model->network->count; i++) {
        const struct keras_layer *layer = &model->layers[i];
        if (layer->weight_count == 0)
            continue;
        names[count++] = layer->name;
        TRY(place_create_group(file, layer->name, &group, error));
        TRY(write_weights(group, layer, error));
        place_close(group.id);
        group.id = H5I_INVALID_HID;
    }
    TRY(write_names(file, "layer_names", count, names, error));
out:
    free(names);
    place_close(group.id);
    return status;
}

/* [n, c, h, w] to [n, h, w, c] */
static void put_channels_last(struct shape shape, size_t n, const float *from, float *to)
{
    const size_t pixels = (size_t)shape_pixels(shape), channels = (size_t)shape.c;
    for (size_t image = 0; image < n; image++, from += channels * pixels)
        for (size_t pixel = 0; pixel < pixels; pixel++)
            for (size_t channel = 0; channel < channels; channel++)
                *to++ = from[channel * pixels + pixel];
}

static enum colonnade_status write_golden_samples(struct place file, const struct network *network,
                                                  struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    float *pixels = NULL, *turned = NULL;
    const struct golden *golden = &network->run->golden;
    const struct shape shape = network->run->data.shape;
    const hsize_t n = (hsize_t)golden->n, classes = (hsize_t)network->run->data.classes;
    const struct array inputs = {.type = VALUE_FLOAT,
                                 .rank = 4,
                                 .dims = {n, (hsize_t)shape.h, (hsize_t)shape.w, (hsize_t)shape.c}};
    const struct array logits = {.type = VALUE_FLOAT, .rank = 2, .dims = {n, classes}};
    TRY(place_create_group(file, golden_name, &group, error));
    if (n == 0)
        goto out;
    TRY(network_golden_pixels(network, &pixels, error));
    TRY(memory_allocate(&turned, (size_t)n * shape_size(shape), sizeof *turned, "the golden inputs",
                        error));
    put_channels_last(shape, (size_t)n, pixels, turned);
    TRY(place_write_array(group, "pixels", &inputs, turned, error));
    TRY(place_write_array(group, "logits", &logits, golden->logits, error));
out:
    free(pixels);
    free(turned);
    place_close(group.id);
    return status;
}

static enum colonnade_status write_file(struct place file, const void *content,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct keras_model *model = content;
    static const char *const backend[] = {"tensorflow"}, *const version[] = {keras_version};
    static const char *const mark[] = {"colonnade " COLONNADE_VERSION};
    TRY(place_write_ascii(file, "backend", 0, backend, error));
    TRY(place_write_ascii(file, "keras_version", 0, version, error));
    TRY(place_write_ascii(file, KERAS_MARK, 0, mark, error));
    TRY(write_layers(file, model, error));
    TRY(write_golden_samples(file, model->network, error));
out:
    return status;
}

enum colonnade_status keras_make_weights(const struct keras_model *model, const char *path,
                                         unsigned char **bytes, size_t *count,
                                         struct colonnade_error *error)
{
    return store_make(path, write_file, model, bytes, count, error);
}

bool keras_recognizes(const char *path)
{
    struct place file = {path, H5I_INVALID_HID};
    struct hdf5_quiet quiet;
    hdf5_quiet_begin(&quiet);
    const bool recognized =
        store_open(&file, NULL, NULL) == COLONNADE_OK && place_has_attribute(file, KERAS_MARK);
    place_close(file.id);
    hdf5_quiet_end(&quiet);
    return recognized;
}
