/* Layers in Keras's words: functional API, channels last. A value is v["NODE"] in the script; what
 * takes several Keras layers goes through it step by step.
 *
 * Keras flattens an image by rows, columns, channels, the run by channels, rows, columns. Where
 * nothing but dense layers comes of a flattened image, the rows of their kernels are put into
 * Keras's order; elsewhere the image is turned before it is flattened.
 */
#include "engine/base/memory.h"
#include "engine/export/formats.h"
#include "engine/export/keras.h"
#include "engine/nodes/keys.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_BYTES = 192 };

static struct keras_layer *entry_of(const struct keras_model *model, const struct layer *layer)
{
    return &model->layers[layer - model->network->layers];
}

/* Of a value, in the script. */
static const char *name_of(const struct layer *layer)
{
    return layer->node->name;
}

/* Of the Keras layer that has the weights. */
static const char *keras_name(const struct keras_model *model, const struct layer *layer)
{
    return entry_of(model, layer)->name;
}

/* One line: the value goes through a Keras layer, `text` up to its name. The layer that has the
 * weights is called as the node, which is `step` NULL; others NODE-STEP: no node has a name like
 * that. */
static void emit(struct keras_model *model, const struct layer *layer, const char *step,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

static void emit(struct keras_model *model, const struct layer *layer, const char *step,
                 const char *format, ...)
{
    struct keras_layer *entry = entry_of(model, layer);
    const struct layer *source = entry->steps ? layer : network_input(model->network, layer, 0);
    va_list arguments;
    fprintf(model->build, "    v[\"%s\"] = layers.", name_of(layer));
    va_start(arguments, format);
    vfprintf(model->build, format, arguments);
    va_end(arguments);
    fprintf(model->build, "name=\"%s%s%s\")(v[\"%s\"])\n", entry->name, step ? "-" : "",
            step ? step : "", name_of(source));
    entry->steps++;
}

/* A layer that needs no Keras layer: its value is its input. */
static void emit_nothing(struct keras_model *model, const struct layer *layer)
{
    if (entry_of(model, layer)->steps == 0)
        fprintf(model->build, "    v[\"%s\"] = v[\"%s\"]\n", name_of(layer),
                name_of(network_input(model->network, layer, 0)));
}

static float *add_weight(struct keras_model *model, const struct layer *layer, const char *name,
                         int rank, const int *dims)
{
    struct keras_layer *entry = entry_of(model, layer);
    struct keras_weight *weight = &entry->weights[entry->weight_count];
    size_t count = 1;
    *weight = (struct keras_weight){.name = name, .rank = rank};
    for (int i = 0; i < rank; i++) {
        weight->dims[i] = dims[i];
        count = size_multiply(count, (size_t)dims[i]);
    }
    if (model->status == COLONNADE_OK)
        model->status =
            memory_allocate(&weight->values, count, sizeof(float), "weights", &model->error);
    entry->weight_count += weight->values != NULL;
    return weight->values;
}

/* A weight of one dimension as it is; nothing where the layer has none. */
static void add_channels(struct keras_model *model, const struct layer *layer, const char *suffix,
                         const char *name)
{
    const struct weight *weight = layer_weight(layer, suffix);
    float *values = weight ? add_weight(model, layer, name, 1, weight->dims) : NULL;
    if (values)
        memcpy(values, weight->values, weight->count * sizeof *values);
}

/* --- shapes --- */

static void emit_image(struct keras_model *model, const struct layer *layer)
{
    const struct layer *source = network_input(model->network, layer, 0);
    if (source->vector)
        emit(model, layer, "image", "Reshape((1, 1, %d), ", source->out.c);
}

static void emit_vector(struct keras_model *model, const struct layer *layer)
{
    if (layer->vector)
        emit(model, layer, "vector", "Reshape((%d,), ", layer->out.c);
}

/* Whether a vector's values pass through one by one, whatever their order. */
static bool is_pointwise(const struct layer *layer)
{
    const char *type = layer->node->type->name;
    return layer_is_activation(layer) || strcmp(type, "dropout") == 0 ||
           strcmp(type, "flatten") == 0;
}

/* Whether nothing but dense layers comes of a vector, so that its order is nobody else's. */
static bool ends_in_dense(const struct network *network, const struct layer *vector)
{
    bool used = false;
    for (const struct layer *layer = vector + 1; layer < network->layers + network->count; layer++)
        for (int i = 0; i < layer->node->input_count; i++) {
            if (network_input(network, layer, i) != vector)
                continue;
            used = true;
            if (strcmp(layer->node->type->name, "dense") == 0)
                continue;
            if (!is_pointwise(layer) || !ends_in_dense(network, layer))
                return false;
        }
    return used;
}

/* --- windows --- */

/* Zeros around the image, and where a pool hangs over. */
static void emit_zeros(struct keras_model *model, const struct layer *layer, int t, int l, int b,
                       int r)
{
    if (t || l || b || r)
        emit(model, layer, "pad", "ZeroPadding2D(((%d, %d), (%d, %d)), ", t, b, l, r);
}

/* Whether Keras's "same" on an axis is this padding. */
static bool is_same(int in, int extent, int stride, int before, int after, int out)
{
    const int least = (in + stride - 1) / stride;
    const int total = (least - 1) * stride + extent - in;
    const int wanted = total > 0 ? total : 0;
    return out == least && before == wanted / 2 && after == wanted - wanted / 2;
}

static bool is_same_window(const struct window *w)
{
    return is_same(w->ih, (w->kh - 1) * w->dh + 1, w->sh, w->pt, w->pb, w->oh) &&
           is_same(w->iw, (w->kw - 1) * w->dw + 1, w->sw, w->pl, w->pr, w->ow);
}

/* [oc, ic/g, kh, kw] to [kh, kw, ic/g, oc]; depthwise, whose output channels count on within each
 * input channel, to [kh, kw, c, oc/c]. */
static void add_kernel(struct keras_model *model, const struct layer *layer, bool depthwise)
{
    const struct window *w = layer_window(layer);
    const struct weight *weight = layer_weight(layer, "weight");
    const int icg = w->ic / w->g, taps = w->kh * w->kw;
    const int dims[] = {w->kh, w->kw, depthwise ? w->ic : icg, depthwise ? w->oc / w->ic : w->oc};
    float *to =
        add_weight(model, layer, depthwise ? "depthwise_kernel" : "kernel", KERAS_RANK, dims);
    if (!to)
        return;
    const size_t across = depthwise ? 1 : (size_t)icg;
    for (int tap = 0; tap < taps; tap++)
        for (size_t c = 0; c < across; c++)
            for (size_t filter = 0; filter < (size_t)w->oc; filter++)
                *to++ = weight->values[(filter * across + c) * (size_t)taps + (size_t)tap];
}

/* The arguments that are not Keras's defaults, each with a comma and a blank behind it. */
static void conv_keys(const struct window *w, struct pair strides, bool depthwise, bool same,
                      bool bias, char keys[OPTIONS_BYTES])
{
    size_t used = 0;
    keys[0] = '\0';
    if (strides.h > 1 || strides.w > 1)
        used += (size_t)sprintf(keys + used, "strides=(%d, %d), ", strides.h, strides.w);
    if (same)
        used += (size_t)sprintf(keys + used, "padding=\"same\", ");
    if (w->dh > 1 || w->dw > 1)
        used += (size_t)sprintf(keys + used, "dilation_rate=(%d, %d), ", w->dh, w->dw);
    if (depthwise && w->oc > w->ic)
        used += (size_t)sprintf(keys + used, "depth_multiplier=%d, ", w->oc / w->ic);
    if (!depthwise && w->g > 1)
        used += (size_t)sprintf(keys + used, "groups=%d, ", w->g);
    if (!bias)
        sprintf(keys + used, "use_bias=False, ");
}

/* Strides that Keras takes: none with dilation, equal ones depthwise. Elsewhere every output is
 * computed, and those between are dropped by a pool of one pixel. */
static void write_conv(struct keras_model *model, const struct layer *layer)
{
    const struct window *w = layer_window(layer);
    const bool depthwise = w->g > 1 && w->g == w->ic;
    const bool strided = w->sh > 1 || w->sw > 1;
    const bool drops = strided && (w->dh > 1 || w->dw > 1 || (depthwise && w->sh != w->sw));
    const bool same =
        !strided && w->pt == w->pb && w->pl == w->pr && is_same_window(w) && (w->pt || w->pl);
    emit_image(model, layer);
    if (!same)
        emit_zeros(model, layer, w->pt, w->pl, w->pb, w->pr);
    char keys[OPTIONS_BYTES];
    const struct pair strides = {drops ? 1 : w->sh, drops ? 1 : w->sw};
    conv_keys(w, strides, depthwise, same, layer_weight(layer, "bias"), keys);
    if (depthwise)
        emit(model, layer, NULL, "DepthwiseConv2D((%d, %d), %s", w->kh, w->kw, keys);
    else
        emit(model, layer, NULL, "Conv2D(%d, (%d, %d), %s", w->oc, w->kh, w->kw, keys);
    if (drops)
        emit(model, layer, "stride", "MaxPooling2D(1, strides=(%d, %d), ", w->sh, w->sw);
    add_kernel(model, layer, depthwise);
    add_channels(model, layer, "bias", "bias");
}

static void write_maxpool(struct keras_model *model, const struct layer *layer)
{
    const struct window *w = layer_window(layer);
    const struct overhang over = window_overhang(w);
    const bool padded = w->pt || w->pl || w->pb || w->pr || over.h || over.w;
    const bool same = padded && is_same_window(w);
    emit_image(model, layer);
    if (padded && !same) {
        model->uses_pad = true;
        fprintf(model->build,
                "    v[\"%s\"] = PadWithLeast(((%d, %d), (%d, %d)), name=\"%s-pad\")(v[\"%s\"])\n",
                name_of(layer), w->pt, w->pb + over.h, w->pl, w->pr + over.w,
                keras_name(model, layer),
                name_of(entry_of(model, layer)->steps ? layer
                                                      : network_input(model->network, layer, 0)));
        entry_of(model, layer)->steps++;
    }
    emit(model, layer, NULL, "MaxPooling2D((%d, %d), strides=(%d, %d), %s", w->kh, w->kw, w->sh,
         w->sw, same ? "padding=\"same\", " : "");
}

/* The mean counts padding, as Keras's would not; what hangs over beyond it counts for nobody. */
static void write_avgpool(struct keras_model *model, const struct layer *layer)
{
    const struct window *w = layer_window(layer);
    const struct overhang over = window_overhang(w);
    emit_image(model, layer);
    emit_zeros(model, layer, w->pt, w->pl, w->pb + over.h, w->pr + over.w);
    emit(model, layer, NULL, "AveragePooling2D((%d, %d), strides=(%d, %d), ", w->kh, w->kw, w->sh,
         w->sw);
    if (over.h == 0 && over.w == 0)
        return;
    model->uses_last = true;
    emit(model, layer, "overhang", "Rescaling(last_differs(%d, %d / %d, %d, %d / %d), ", w->oh,
         w->kh, w->kh - over.h, w->ow, w->kw, w->kw - over.w);
}

static void write_globalavgpool(struct keras_model *model, const struct layer *layer)
{
    emit_image(model, layer);
    emit(model, layer, NULL, "GlobalAveragePooling2D(");
}

/* --- normalisations --- */

static void write_batchnorm(struct keras_model *model, const struct layer *layer)
{
    /* Keras's momentum is the share of what was there before. */
    emit(model, layer, NULL, "BatchNormalization(momentum=%.9g, epsilon=%.9g, ",
         1 - layer_number(layer, "momentum"), layer_number(layer, "eps"));
    add_channels(model, layer, "weight", "gamma");
    add_channels(model, layer, "bias", "beta");
    add_channels(model, layer, "running_mean", "moving_mean");
    add_channels(model, layer, "running_var", "moving_variance");
}

static void write_groupnorm(struct keras_model *model, const struct layer *layer)
{
    emit_image(model, layer);
    emit(model, layer, NULL, "GroupNormalization(groups=%d, epsilon=%.9g, ",
         (int)layer_number(layer, "groups"), layer_number(layer, "eps"));
    emit_vector(model, layer);
    add_channels(model, layer, "weight", "gamma");
    add_channels(model, layer, "bias", "beta");
}

static void write_layernorm(struct keras_model *model, const struct layer *layer)
{
    emit(model, layer, NULL, "LayerNormalization(epsilon=%.9g, ", layer_number(layer, "eps"));
    add_channels(model, layer, "weight", "gamma");
    add_channels(model, layer, "bias", "beta");
}

static void write_lrn(struct keras_model *model, const struct layer *layer)
{
    model->uses_lrn = true;
    fprintf(model->build,
            "    v[\"%s\"] = LocalResponseNormalization(size=%d, alpha=%.9g, beta=%.9g, k=%.9g,\n"
            "        name=\"%s\")(v[\"%s\"])\n",
            name_of(layer), (int)layer_number(layer, "size"), layer_number(layer, "alpha"),
            layer_number(layer, "beta"), layer_number(layer, "k"), keras_name(model, layer),
            name_of(network_input(model->network, layer, 0)));
    entry_of(model, layer)->steps++;
}

/* --- values one by one --- */

static void emit_activation(struct keras_model *model, const struct layer *layer, const char *step)
{
    const double alpha = (double)layer->alpha;
    switch (layer->activation) {
    case ACTIVATION_RELU:
        emit(model, layer, step, "ReLU(");
        break;
    case ACTIVATION_RELU6:
        emit(model, layer, step, "ReLU(max_value=6.0, ");
        break;
    case ACTIVATION_LEAKY_RELU:
        emit(model, layer, step, "ReLU(negative_slope=%.9g, ", alpha);
        break;
    case ACTIVATION_ELU:
        emit(model, layer, step, "ELU(alpha=%.9g, ", alpha);
        break;
    case ACTIVATION_SIGMOID:
        emit(model, layer, step, "Activation(\"sigmoid\", ");
        break;
    case ACTIVATION_TANH:
        emit(model, layer, step, "Activation(\"tanh\", ");
        break;
    case ACTIVATION_GELU:
        emit(model, layer, step, "Activation(\"gelu\", ");
        break;
    case ACTIVATION_SILU:
        emit(model, layer, step, "Activation(\"swish\", ");
        break;
    case ACTIVATION_HARDSWISH:
        model->uses_hard_swish = true;
        emit(model, layer, step, "Activation(hard_swish, ");
        break;
    case ACTIVATION_NONE:
    case ACTIVATION_COUNT:
        break;
    }
}

static void keep_order(struct keras_model *model, const struct layer *layer)
{
    entry_of(model, layer)->order = entry_of(model, network_input(model->network, layer, 0))->order;
}

static void write_activation(struct keras_model *model, const struct layer *layer)
{
    emit_activation(model, layer, NULL);
    keep_order(model, layer);
}

static void write_dropout(struct keras_model *model, const struct layer *layer)
{
    emit(model, layer, NULL, "Dropout(%.9g, ", layer_number(layer, "rate"));
    keep_order(model, layer);
}

static void write_prelu(struct keras_model *model, const struct layer *layer)
{
    const bool shared = layer_number(layer, "shared") != 0;
    const struct weight *weight = layer_weight(layer, "weight");
    const char *axes = layer->vector ? (shared ? "[1]" : "None") : shared ? "[1, 2, 3]" : "[1, 2]";
    const int dims[] = {1, 1, weight->dims[0]};
    emit(model, layer, NULL, "PReLU(shared_axes=%s, ", axes);
    float *alpha = add_weight(model, layer, "alpha", layer->vector ? 1 : 3,
                              layer->vector ? weight->dims : dims);
    if (alpha)
        memcpy(alpha, weight->values, weight->count * sizeof *alpha);
}

static void write_softmax(struct keras_model *model, const struct layer *layer)
{
    emit(model, layer, NULL, "Softmax(");
}

/* --- vectors --- */

/* [out, in] to [in, out], `in` put into the order in which Keras has it. */
static void add_dense_kernel(struct keras_model *model, const struct layer *layer,
                             struct shape order)
{
    const struct weight *weight = layer_weight(layer, "weight");
    const int dims[] = {weight->dims[1], weight->dims[0]};
    float *to = add_weight(model, layer, "kernel", 2, dims);
    const size_t pixels = (size_t)shape_pixels(order), inputs = (size_t)dims[0];
    for (size_t i = 0; i < inputs && to; i++) {
        const size_t channel = i % (size_t)order.c, pixel = i / (size_t)order.c;
        const size_t from = channel * pixels + pixel;
        for (size_t unit = 0; unit < (size_t)dims[1]; unit++)
            *to++ = weight->values[unit * inputs + from];
    }
}

static void write_dense(struct keras_model *model, const struct layer *layer)
{
    const struct layer *source = network_input(model->network, layer, 0);
    struct shape order = entry_of(model, source)->order;
    if (!source->vector)
        emit(model, layer, "flatten", "Flatten(");
    if (order.c == 0)
        order = layer->in; /* of a vector: the order that it has */
    emit(model, layer, NULL, "Dense(%d, %s", layer->out.c,
         layer_weight(layer, "bias") ? "" : "use_bias=False, ");
    add_dense_kernel(model, layer, order);
    add_channels(model, layer, "bias", "bias");
}

static void write_flatten(struct keras_model *model, const struct layer *layer)
{
    if (network_input(model->network, layer, 0)->vector) {
        emit_nothing(model, layer);
        keep_order(model, layer);
        return;
    }
    const bool reordered = layer->in.c > 1 && shape_pixels(layer->in) > 1;
    if (reordered && ends_in_dense(model->network, layer))
        entry_of(model, layer)->order = layer->in;
    else if (reordered)
        emit(model, layer, "turn", "Permute((3, 1, 2), ");
    emit(model, layer, NULL, "Flatten(");
}

static void write_join(struct keras_model *model, const struct layer *layer, const char *join)
{
    fprintf(model->build, "    v[\"%s\"] = layers.%s(name=\"%s\")([", name_of(layer), join,
            keras_name(model, layer));
    for (int i = 0; i < layer->node->input_count; i++) {
        const struct layer *source = network_input(model->network, layer, i);
        if (i)
            fputs(", ", model->build);
        if (source->vector && !layer->vector)
            fprintf(model->build,
                    "\n        layers.Reshape((1, 1, %d), name=\"%s-image%d\")(v[\"%s\"])",
                    source->out.c, keras_name(model, layer), i, name_of(source));
        else
            fprintf(model->build, "v[\"%s\"]", name_of(source));
    }
    fputs("])\n", model->build);
    entry_of(model, layer)->steps++;
}

static void write_add(struct keras_model *model, const struct layer *layer)
{
    write_join(model, layer, "Add");
}

static void write_concat(struct keras_model *model, const struct layer *layer)
{
    write_join(model, layer, "Concatenate");
}

static const struct {
    const char *type;
    void (*write)(struct keras_model *model, const struct layer *layer);
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
    {"dropout", write_dropout},
    {"add", write_add},
    {"concat", write_concat},
    {"flatten", write_flatten},
};

static enum colonnade_status take_name(struct keras_model *model, const struct layer *layer,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    static const char prefix[] = "node-";
    const char *name = name_of(layer);
    struct keras_layer *entry = entry_of(model, layer);
    TRY(memory_allocate(&entry->name, sizeof prefix + strlen(name), 1, "a name", error));
    sprintf(entry->name, "%s%s", name[0] == '_' ? prefix : "", name);
out:
    return status;
}

enum colonnade_status keras_add_layer(struct keras_model *model, const struct layer *layer,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = take_name(model, layer, error);
    if (status != COLONNADE_OK)
        return status;
    if (strcmp(name_of(layer), "top_level_model_weights") == 0)
        return layer_error(layer, "keras", error, "Keras keeps that name for itself");
    if (layer_is_activation(layer)) {
        write_activation(model, layer);
        return COLONNADE_OK;
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (strcmp(rows[i].type, layer->node->type->name) != 0)
            continue;
        rows[i].write(model, layer);
        emit_activation(model, layer, "activation");
        return COLONNADE_OK;
    }
    return layer_error(layer, "keras", error, "its layers have not been written down yet");
}

void keras_begin(struct keras_model *model)
{
    const struct shape shape = model->network->layers[0].out;
    fprintf(
        model->build,
        "    pixels = keras.Input((%d, %d, %d), name=\"input\")\n"
        "    v = {}  # what each node gives\n"
        "    v[\"input\"] = layers.Rescaling([1 / (255 * std) for std in STD],\n"
        "        [-mean / std for mean, std in zip(MEAN, STD)], name=\"input-scale\")(pixels)\n",
        shape.h, shape.w, shape.c);
}

void keras_end(struct keras_model *model)
{
    const struct layer *last = &model->network->layers[model->network->count - 1];
    if (!last->vector)
        emit(model, last, "logits", "Flatten(");
    fprintf(model->build, "    return keras.Model(pixels, v[\"%s\"], name=\"colonnade\")\n",
            name_of(last));
}
