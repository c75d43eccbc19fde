/* onnx: the network as an ONNX model. Its input is pixels, 0 to 255, [images, c, h, w]: the data's
 * mean and deviation are its first two operations; its output the logits.
 *
 * Padding is explicit everywhere. Where windows of a pool hang over (`ceil`), the padding is
 * widened instead of ceil_mode being set, on whose sizes programs differ. Operators are those of
 * opset 17; what has none is written in others.
 */
#include "engine/base/memory.h"
#include "engine/export/formats.h"
#include "engine/export/onnx_graph.h"
#include "engine/nodes/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct writer {
    struct onnx_model *model;
    const struct network *network;
    const char **values; /* [network->count] what each layer gives */
};

/* Adds a layer's operations on `x`, its inputs, and returns what they give. */
typedef const char *layer_writer(struct writer *writer, const struct layer *layer,
                                 const char *const *x);

static const char *weight_of(struct writer *writer, const struct layer *layer, const char *suffix)
{
    const struct weight *weight = layer_weight(layer, suffix);
    return onnx_floats(writer->model, suffix, weight->rank, weight->dims, weight->values);
}

/* One number a channel, for an image's or a vector's values. */
static const char *channel_weight(struct writer *writer, const struct layer *layer,
                                  const char *suffix)
{
    const struct weight *weight = layer_weight(layer, suffix);
    const int dims[] = {weight->dims[0], 1, 1};
    return onnx_floats(writer->model, suffix, layer->vector ? 1 : 3, dims, weight->values);
}

static const char *reshape(struct writer *writer, const char *x, const char *suffix, int rank,
                           const int *dims)
{
    return onnx_operation2(writer->model, "Reshape", x,
                           onnx_shape(writer->model, suffix, rank, dims));
}

static const char *flat(struct writer *writer, const char *x)
{
    const char *y = onnx_operation1(writer->model, "Flatten", x);
    onnx_integer(writer->model, "axis", 1);
    return y;
}

/* Input i as an image, for operations that take nothing else. */
static const char *image(struct writer *writer, const struct layer *layer, const char *const *x,
                         int i)
{
    const struct layer *source = network_input(writer->network, layer, i);
    char suffix[32];
    if (!source->vector)
        return x[i];
    snprintf(suffix, sizeof suffix, "shape%d", i);
    return reshape(writer, x[i], suffix, ONNX_RANK, (int[]){0, source->out.c, 1, 1});
}

static const char *write_conv(struct writer *writer, const struct layer *layer,
                              const char *const *x)
{
    const struct window *w = layer_window(layer);
    const bool bias = layer_weight(layer, "bias");
    const char *inputs[] = {image(writer, layer, x, 0), weight_of(writer, layer, "weight"),
                            bias ? weight_of(writer, layer, "bias") : NULL};
    const char *y = onnx_operation(writer->model, "Conv", bias ? 3 : 2, inputs);
    onnx_integers(writer->model, "kernel_shape", 2, (int[]){w->kh, w->kw});
    onnx_integers(writer->model, "strides", 2, (int[]){w->sh, w->sw});
    onnx_integers(writer->model, "pads", 4, (int[]){w->pt, w->pl, w->pb, w->pr});
    onnx_integers(writer->model, "dilations", 2, (int[]){w->dh, w->dw});
    onnx_integer(writer->model, "group", w->g);
    return y;
}

static const char *write_dense(struct writer *writer, const struct layer *layer,
                               const char *const *x)
{
    const bool bias = layer_weight(layer, "bias");
    const bool vector = network_input(writer->network, layer, 0)->vector;
    const char *inputs[] = {vector ? x[0] : flat(writer, x[0]), weight_of(writer, layer, "weight"),
                            bias ? weight_of(writer, layer, "bias") : NULL};
    const char *y = onnx_operation(writer->model, "Gemm", bias ? 3 : 2, inputs);
    onnx_integer(writer->model, "transB", 1);
    return y;
}

static const char *write_pool(struct writer *writer, const struct layer *layer, const char *type,
                              const char *x)
{
    const struct window *w = layer_window(layer);
    const struct overhang over = window_overhang(w);
    const char *y = onnx_operation1(writer->model, type, x);
    onnx_integers(writer->model, "kernel_shape", 2, (int[]){w->kh, w->kw});
    onnx_integers(writer->model, "strides", 2, (int[]){w->sh, w->sw});
    onnx_integers(writer->model, "pads", 4, (int[]){w->pt, w->pl, w->pb + over.h, w->pr + over.w});
    return y;
}

static const char *write_maxpool(struct writer *writer, const struct layer *layer,
                                 const char *const *x)
{
    return write_pool(writer, layer, "MaxPool", image(writer, layer, x, 0));
}

/* What hangs over counts in the operator's mean, and not in ours. */
static const char *write_avgpool(struct writer *writer, const struct layer *layer,
                                 const char *const *x)
{
    const struct window *w = layer_window(layer);
    const struct overhang over = window_overhang(w);
    const char *y = write_pool(writer, layer, "AveragePool", image(writer, layer, x, 0));
    onnx_integer(writer->model, "count_include_pad", 1);
    if (over.h == 0 && over.w == 0)
        return y;
    float *factors = onnx_allocate(writer->model, (size_t)w->oh * (size_t)w->ow, sizeof *factors);
    if (factors)
        window_corrections(w, factors);
    return onnx_operation2(
        writer->model, "Mul", y,
        onnx_floats(writer->model, "factors", 2, (int[]){w->oh, w->ow}, factors));
}

static const char *write_globalavgpool(struct writer *writer, const struct layer *layer,
                                       const char *const *x)
{
    return flat(writer,
                onnx_operation1(writer->model, "GlobalAveragePool", image(writer, layer, x, 0)));
}

static const char *write_batchnorm(struct writer *writer, const struct layer *layer,
                                   const char *const *x)
{
    const char *inputs[] = {
        x[0], weight_of(writer, layer, "weight"), weight_of(writer, layer, "bias"),
        weight_of(writer, layer, "running_mean"), weight_of(writer, layer, "running_var")};
    const char *y = onnx_operation(writer->model, "BatchNormalization", 5, inputs);
    onnx_number(writer->model, "epsilon", (float)layer_number(layer, "eps"));
    return y;
}

/* An instance normalisation takes each group as a channel; scale and shift follow. */
static const char *write_groupnorm(struct writer *writer, const struct layer *layer,
                                   const char *const *x)
{
    const struct shape shape = layer->out;
    const int groups = (int)layer_number(layer, "groups");
    float *ones = onnx_allocate(writer->model, (size_t)groups, sizeof *ones);
    float *zeros = onnx_allocate(writer->model, (size_t)groups, sizeof *zeros);
    for (int i = 0; i < groups && ones; i++)
        ones[i] = 1.0f;
    const char *inputs[] = {reshape(writer, x[0], "grouped", 3, (int[]){0, groups, -1}),
                            onnx_floats(writer->model, "ones", 1, &groups, ones),
                            onnx_floats(writer->model, "zeros", 1, &groups, zeros)};
    const char *y = onnx_operation(writer->model, "InstanceNormalization", 3, inputs);
    onnx_number(writer->model, "epsilon", (float)layer_number(layer, "eps"));
    y = reshape(writer, y, "ungrouped", layer->vector ? 2 : ONNX_RANK,
                (int[]){0, shape.c, shape.h, shape.w});
    y = onnx_operation2(writer->model, "Mul", y, channel_weight(writer, layer, "weight"));
    return onnx_operation2(writer->model, "Add", y, channel_weight(writer, layer, "bias"));
}

static const char *transpose(struct writer *writer, const char *x, const int *order)
{
    const char *y = onnx_operation1(writer->model, "Transpose", x);
    onnx_integers(writer->model, "perm", ONNX_RANK, order);
    return y;
}

/* The operator's axes are the last ones. */
static const char *write_layernorm(struct writer *writer, const struct layer *layer,
                                   const char *const *x)
{
    const char *moved = layer->vector ? x[0] : transpose(writer, x[0], (int[]){0, 2, 3, 1});
    const char *inputs[] = {moved, weight_of(writer, layer, "weight"),
                            weight_of(writer, layer, "bias")};
    const char *y = onnx_operation(writer->model, "LayerNormalization", 3, inputs);
    onnx_integer(writer->model, "axis", -1);
    onnx_number(writer->model, "epsilon", (float)layer_number(layer, "eps"));
    return layer->vector ? y : transpose(writer, y, (int[]){0, 3, 1, 2});
}

/* Programs take LRN of odd sizes alone. For an even one a 1x1 convolution sums the squares. */
static const char *even_lrn(struct writer *writer, const struct layer *layer, const char *x)
{
    const int c = layer->out.c, size = (int)layer_number(layer, "size");
    const float share = (float)(layer_number(layer, "alpha") / size);
    float *band = onnx_allocate(writer->model, (size_t)c * (size_t)c, sizeof *band);
    float *k = onnx_allocate(writer->model, (size_t)c, sizeof *k);
    for (int to = 0; to < c && band && k; to++) {
        k[to] = (float)layer_number(layer, "k");
        for (int from = 0; from < c; from++)
            if (from >= to - size / 2 && from <= to + (size - 1) / 2)
                band[(size_t)to * (size_t)c + (size_t)from] = share;
    }
    const char *inputs[] = {
        onnx_operation2(writer->model, "Mul", x, x),
        onnx_floats(writer->model, "band", ONNX_RANK, (int[]){c, c, 1, 1}, band),
        onnx_floats(writer->model, "k", 1, &c, k)};
    const char *sums = onnx_operation(writer->model, "Conv", 3, inputs);
    const char *beta = onnx_scalar(writer->model, "beta", (float)layer_number(layer, "beta"));
    return onnx_operation2(writer->model, "Div", x,
                           onnx_operation2(writer->model, "Pow", sums, beta));
}

static const char *write_lrn(struct writer *writer, const struct layer *layer, const char *const *x)
{
    const int size = (int)layer_number(layer, "size");
    const char *y = image(writer, layer, x, 0);
    if (size % 2 == 0) {
        y = even_lrn(writer, layer, y);
    } else {
        y = onnx_operation1(writer->model, "LRN", y);
        onnx_integer(writer->model, "size", size);
        onnx_number(writer->model, "alpha", (float)layer_number(layer, "alpha"));
        onnx_number(writer->model, "beta", (float)layer_number(layer, "beta"));
        onnx_number(writer->model, "bias", (float)layer_number(layer, "k"));
    }
    return layer->vector ? flat(writer, y) : y;
}

/* x / 2 * (1 + erf(x / sqrt(2))) */
static const char *gelu(struct onnx_model *model, const char *x)
{
    const char *y = onnx_operation2(model, "Mul", x, onnx_scalar(model, "root_half", 0.70710678f));
    y = onnx_operation2(model, "Add", onnx_operation1(model, "Erf", y),
                        onnx_scalar(model, "one", 1.0f));
    y = onnx_operation2(model, "Mul", x, y);
    return onnx_operation2(model, "Mul", y, onnx_scalar(model, "half", 0.5f));
}

static const char *with_alpha(struct onnx_model *model, const char *type, const char *x,
                              float alpha)
{
    const char *y = onnx_operation1(model, type, x);
    onnx_number(model, "alpha", alpha);
    return y;
}

static const char *activate(struct onnx_model *model, enum activation kind, float alpha,
                            const char *x)
{
    switch (kind) {
    case ACTIVATION_RELU:
        return onnx_operation1(model, "Relu", x);
    case ACTIVATION_RELU6: {
        const char *inputs[] = {x, onnx_scalar(model, "least", 0.0f),
                                onnx_scalar(model, "most", 6.0f)};
        return onnx_operation(model, "Clip", 3, inputs);
    }
    case ACTIVATION_LEAKY_RELU:
        return with_alpha(model, "LeakyRelu", x, alpha);
    case ACTIVATION_ELU:
        return with_alpha(model, "Elu", x, alpha);
    case ACTIVATION_SIGMOID:
        return onnx_operation1(model, "Sigmoid", x);
    case ACTIVATION_TANH:
        return onnx_operation1(model, "Tanh", x);
    case ACTIVATION_GELU:
        return gelu(model, x);
    case ACTIVATION_SILU:
        return onnx_operation2(model, "Mul", x, onnx_operation1(model, "Sigmoid", x));
    case ACTIVATION_HARDSWISH:
        return onnx_operation1(model, "HardSwish", x);
    case ACTIVATION_NONE:
    case ACTIVATION_COUNT:
        break;
    }
    return x;
}

static const char *write_activation(struct writer *writer, const struct layer *layer,
                                    const char *const *x)
{
    return activate(writer->model, layer->activation, layer->alpha, x[0]);
}

static const char *write_prelu(struct writer *writer, const struct layer *layer,
                               const char *const *x)
{
    return onnx_operation2(writer->model, "PRelu", x[0], channel_weight(writer, layer, "weight"));
}

static const char *write_softmax(struct writer *writer, const struct layer *layer,
                                 const char *const *x)
{
    const char *y = onnx_operation1(writer->model, "Softmax", x[0]);
    onnx_integer(writer->model, "axis", 1);
    return y;
}

/* Dropout is for training. */
static const char *write_nothing(struct writer *writer, const struct layer *layer,
                                 const char *const *x)
{
    return x[0];
}

static const char *write_join(struct writer *writer, const struct layer *layer, const char *type,
                              const char *const *x)
{
    const char *inputs[NODE_INPUTS];
    const int count = layer->node->input_count;
    for (int i = 0; i < count; i++)
        inputs[i] = layer->vector ? x[i] : image(writer, layer, x, i);
    return onnx_operation(writer->model, type, (size_t)count, inputs);
}

static const char *write_add(struct writer *writer, const struct layer *layer, const char *const *x)
{
    return write_join(writer, layer, layer->node->input_count == 2 ? "Add" : "Sum", x);
}

static const char *write_concat(struct writer *writer, const struct layer *layer,
                                const char *const *x)
{
    const char *y = write_join(writer, layer, "Concat", x);
    onnx_integer(writer->model, "axis", 1);
    return y;
}

static const char *write_flatten(struct writer *writer, const struct layer *layer,
                                 const char *const *x)
{
    return network_input(writer->network, layer, 0)->vector ? x[0] : flat(writer, x[0]);
}

static const struct {
    const char *type;
    layer_writer *write;
} rows[] = {
    {"conv", write_conv},
    {"dense", write_dense},
    {"maxpool", write_maxpool},
    {"avgpool", write_avgpool},
    {"globalavgpool", write_globalavgpool},
    {"batchnorm", write_batchnorm},
    {"groupnorm", write_groupnorm},
    {"layernorm", write_layernorm},
    {"lrn", write_lrn},
    {"prelu", write_prelu},
    {"softmax", write_softmax},
    {"dropout", write_nothing},
    {"add", write_add},
    {"concat", write_concat},
    {"flatten", write_flatten},
};

static layer_writer *find_writer(const struct layer *layer)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (strcmp(rows[i].type, layer->node->type->name) == 0)
            return rows[i].write;
    return layer_is_activation(layer) ? write_activation : NULL;
}

/* The first layer: pixels to what the network was trained on. */
static const char *write_input(struct writer *writer)
{
    const struct shape shape = writer->network->layers[0].out;
    const int dims[] = {shape.c, 1, 1};
    float *offset = onnx_allocate(writer->model, (size_t)shape.c, sizeof *offset);
    float *scale = onnx_allocate(writer->model, (size_t)shape.c, sizeof *scale);
    for (int c = 0; c < shape.c && offset && scale; c++) {
        const struct normalization normalization = network_normalization(writer->network, c);
        offset[c] = normalization.offset;
        scale[c] = normalization.scale;
    }
    onnx_owner(writer->model, "input");
    const char *y = onnx_operation2(writer->model, "Sub", "input",
                                    onnx_floats(writer->model, "mean", 3, dims, offset));
    return onnx_operation2(writer->model, "Div", y,
                           onnx_floats(writer->model, "std", 3, dims, scale));
}

static enum colonnade_status write_layer(struct writer *writer, int index,
                                         struct colonnade_error *error)
{
    const struct layer *layer = &writer->network->layers[index];
    const char *x[NODE_INPUTS];
    layer_writer *write = find_writer(layer);
    if (!write)
        return layer_error(layer, "onnx", error, "its operators have not been written down yet");
    for (int i = 0; i < layer->node->input_count; i++)
        x[i] = writer->values[network_input(writer->network, layer, i) - writer->network->layers];
    onnx_owner(writer->model, layer->node->name);
    const char *y = write(writer, layer, x);
    if (write != write_activation)
        y = activate(writer->model, layer->activation, layer->alpha, y);
    writer->values[index] = y;
    return COLONNADE_OK;
}

/* The graph's output has a name of its own, and what a layer gives has the layer's: so the last
 * value goes through one more operation, which flattens it where that is wanted. */
static void write_output(struct writer *writer)
{
    const struct network *network = writer->network;
    const struct layer *last = &network->layers[network->count - 1];
    const char *y = writer->values[network->count - 1];
    if (last->vector)
        onnx_operation1(writer->model, "Identity", y);
    else
        flat(writer, y);
    onnx_rename_last(writer->model, "logits");
    onnx_set_output(writer->model, "logits", 1, &last->out.c,
                    "one number a class; softmax makes probabilities of them");
}

static void write_facts(struct writer *writer)
{
    const struct data_facts *data = &writer->network->run->data;
    const struct shape shape = data->shape;
    char key[32];
    onnx_set_input(writer->model, "input", 3, (int[]){shape.c, shape.h, shape.w},
                   "pixels from 0 to 255; channels, rows, columns");
    for (int i = 0; i < data->classes; i++) {
        snprintf(key, sizeof key, "class.%d", i);
        onnx_metadata(writer->model, key, writer->network->class_names[i]);
    }
}

EXPORT_MAKER(onnx_make)
{
    enum colonnade_status status = COLONNADE_OK;
    struct writer writer = {.network = network};
    TRY(onnx_create(&writer.model, "colonnade", COLONNADE_VERSION, error));
    TRY(memory_allocate(&writer.values, (size_t)network->count, sizeof *writer.values, "names",
                        error));
    write_facts(&writer);
    writer.values[0] = write_input(&writer);
    for (int i = 1; i < network->count; i++)
        TRY(write_layer(&writer, i, error));
    write_output(&writer);
    TRY(onnx_finish(writer.model, path, &file->bytes, &file->count, error));
out:
    free(writer.values);
    onnx_destroy(writer.model);
    return status;
}
