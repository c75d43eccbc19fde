/* Weights in a file of Keras's legacy layout (model.save_weights("x.h5"), model.save("x.h5")): a
 * group a layer, which for us is a node of that name, with datasets of Keras's names and orders
 * somewhere below it. Layouts are those of Keras's documentation: Conv2D [kh, kw, in, out],
 * DepthwiseConv2D [kh, kw, channels, multiplier], Dense [in, out] with the rows of an image in
 * the order rows, columns, channels. Knows nothing of what is done with the weights.
 */
#include "engine/store/parts.h"

#include <stdio.h>
#include <string.h>

bool keras_find_root(struct place file, const char **root)
{
    static const char *const roots[] = {"/", "model_weights"};
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        *root = roots[i];
        if ((i == 0 || place_has(file, roots[i])) &&
            (H5Aexists_by_name(file.id, roots[i], "layer_names", H5P_DEFAULT) > 0 ||
             H5Aexists_by_name(file.id, roots[i], "layer_names0", H5P_DEFAULT) > 0))
            return true;
    }
    return false;
}

/* Keras's names of a parameter, of which the first that a layer has counts. */
static const char *const *names_of(const struct named_parameter *item)
{
    static const char *const kernel[] = {"kernel", "depthwise_kernel", NULL};
    static const char *const bias[] = {"bias", NULL}, *const alpha[] = {"alpha", NULL};
    static const char *const gamma[] = {"gamma", NULL}, *const beta[] = {"beta", NULL};
    static const char *const mean[] = {"moving_mean", NULL};
    static const char *const variance[] = {"moving_variance", NULL};
    const char *type = item->node->type->name, *suffix = item->parameter->suffix;
    const bool weighs = strcmp(type, "conv") == 0 || strcmp(type, "dense") == 0;
    if (strcmp(suffix, "running_mean") == 0)
        return mean;
    if (strcmp(suffix, "running_var") == 0)
        return variance;
    if (strcmp(suffix, "bias") == 0)
        return weighs ? bias : beta;
    return weighs ? kernel : strcmp(type, "prelu") == 0 ? alpha : gamma;
}

struct search {
    const char *name; /* wanted, without ":0" */
    char *path;       /* [NAME_BYTES] found, below the layer */
};

static herr_t visit(hid_t group, const char *path, const H5L_info_t *info, void *context)
{
    const struct search *search = context;
    const char *slash = strrchr(path, '/'), *leaf = slash ? slash + 1 : path;
    const size_t length = strcspn(leaf, ":");
    if (length != strlen(search->name) || strncmp(leaf, search->name, length) != 0)
        return 0;
    return snprintf(search->path, NAME_BYTES, "%s", path) < NAME_BYTES;
}

/* The path below `root` of the parameter's dataset. */
static bool find_dataset(struct place root, const struct named_parameter *item, char *path)
{
    char below[NAME_BYTES];
    bool found = false;
    if (!place_has(root, item->node->name))
        return false;
    const hid_t layer = H5Gopen2(root.id, item->node->name, H5P_DEFAULT);
    for (const char *const *name = names_of(item); layer >= 0 && *name && !found; name++)
        found =
            H5Lvisit(layer, H5_INDEX_NAME, H5_ITER_INC, visit, &(struct search){*name, below}) > 0;
    place_close(layer);
    return found &&
           snprintf(path, STORED_PATH_BYTES, "%s/%s", item->node->name, below) < STORED_PATH_BYTES;
}

/* Whether a vector's values pass through a node one by one, whatever their order. */
static bool is_pointwise(const struct node *node)
{
    const char *type = node->type->name;
    return node->type->monotone || node->type->internal || strcmp(type, "dropout") == 0 ||
           strcmp(type, "gelu") == 0 || strcmp(type, "silu") == 0 || strcmp(type, "hardswish") == 0;
}

/* The image whose pixels a dense node's inputs are: its own input, or what a flatten before it
 * had. */
static struct shape image_of(const struct node *dense)
{
    const struct node *source = dense->sources[0];
    while (shape_pixels(source->out) == 1 && source->input_count == 1 && is_pointwise(source))
        source = source->sources[0];
    return strcmp(source->type->name, "flatten") == 0 ? source->in : dense->in;
}

static void describe_conv(const struct node *node, const struct found_array *found,
                          struct stored_weight *stored)
{
    const int *dims = node->parameters[0].dims;
    const hsize_t oc = (hsize_t)dims[0], ic = (hsize_t)dims[1], kh = (hsize_t)dims[2],
                  kw = (hsize_t)dims[3], channels = (hsize_t)node->in.c;
    const bool depthwise = ic == 1 && found->rank == 4 && found->dims[2] == channels &&
                           found->dims[2] * found->dims[3] == oc;
    /* A depthwise filter's number is channel * multiplier + its number there. */
    stored->array.dims[0] = kh;
    stored->array.dims[1] = kw;
    stored->array.dims[2] = depthwise ? channels : ic;
    stored->array.dims[3] = depthwise ? oc / channels : oc;
    const size_t strides[] = {1, oc, kw * ic * oc, ic * oc};
    memcpy(stored->strides, strides, sizeof strides);
}

static void describe_dense(const struct node *node, struct stored_weight *stored)
{
    const struct shape image = image_of(node);
    const size_t units = (size_t)node->out.c, c = (size_t)image.c, h = (size_t)image.h,
                 w = (size_t)image.w;
    const size_t extents[] = {units, c, h, w}, strides[] = {1, units, w * c * units, c * units};
    stored->array.rank = 2;
    stored->array.dims[0] = c * h * w;
    stored->array.dims[1] = units;
    memcpy(stored->extents, extents, sizeof extents);
    memcpy(stored->strides, strides, sizeof strides);
}

/* PReLU's slopes are [1, 1, channels] over images. */
static void describe_slopes(const struct found_array *found, struct stored_weight *stored)
{
    if (found->rank != 3)
        return;
    stored->array.dims[2] = stored->array.dims[0];
    stored->array.dims[0] = stored->array.dims[1] = 1;
    stored->array.rank = 3;
}

bool keras_find(struct place root, const struct named_parameter *item, struct stored_weight *stored)
{
    struct found_array found;
    const char *type = item->node->type->name;
    stored_weight_plain(item, stored);
    if (!find_dataset(root, item, stored->path) ||
        place_find_array(root, stored->path, &found, NULL) != COLONNADE_OK)
        return false;
    const bool kernel = strcmp(item->parameter->suffix, "weight") == 0;
    if (kernel && strcmp(type, "conv") == 0)
        describe_conv(item->node, &found, stored);
    else if (kernel && strcmp(type, "dense") == 0)
        describe_dense(item->node, stored);
    else if (strcmp(type, "prelu") == 0)
        describe_slopes(&found, stored);
    return true;
}
