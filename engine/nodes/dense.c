/* dense: every output sees every input. Takes an image of any shape and flattens it: the inputs
 * count in channel, row, column order, whatever their order in memory. Its bias and activation
 * are an epilogue node. */
#include "engine/nodes/keys.h"
#include "kernels/product.h"

struct dense {
    int units, activation, init;
    bool bias;
};

enum {
    TILE_IMAGES = 32,       /* rows of a product */
    TILE_IMAGES_LARGE = 64, /* with so many weights that packing them counts: */
    LARGE_WEIGHTS = 64 * 1024,
    PIECES_UNITS = 128,      /* up to so many units products in pieces are faster */
    WEIGHT_TILE_INPUTS = 256 /* a piece of the weight gradient */
};

static const char *const units_words[] = {"classes", NULL};

static const struct key keys[] = {
    {"units", KEY_UNITS, offsetof(struct dense, units), .required = true, .minimum = 1,
     .maximum = 1 << 20, .choices = units_words,
     .help = "outputs, or `classes`: as many as the data has"},
    {"bias", KEY_BOOLEAN, offsetof(struct dense, bias), "true",
     .help = "whether a bias is added, one a unit"},
    ACTIVATION_KEY(struct dense),
    INIT_KEY(struct dense),
};

static struct epilogue epilogue(const void *settings)
{
    const struct dense *dense = settings;
    return activation_epilogue(dense->bias, dense->activation);
}

static int inputs_of(const struct node *node)
{
    return (int)shape_size(node->in);
}

static int weight_tiles_of(const struct node *node)
{
    return (inputs_of(node) + WEIGHT_TILE_INPUTS - 1) / WEIGHT_TILE_INPUTS;
}

static enum colonnade_status build(struct node *node, const struct node_build *build,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct dense *dense = node->settings;
    size_t inputs = shape_size(node->in);
    int units = dense->units < 0 ? build->classes : dense->units;
    if (inputs * (size_t)units > (size_t)1 << 31) {
        status = config_error(build->config, build->section, "units", error,
                              "[%s] %zu inputs times %d units are more weights than the 2^31 that "
                              "a node may have",
                              node->name, inputs, units);
        goto out;
    }
    node->out = (struct shape){units, 1, 1};
    node->out_layout = LAYOUT_NHWC;
    int dims[2] = {units, (int)inputs};
    struct parameter *weight =
        node_add_parameter(node, "weight", 2, dims, (enum initializer)dense->init);
    struct shape in = node->in;
    size_t c = (size_t)in.c, h = (size_t)in.h, w = (size_t)in.w, u = (size_t)units;
    bool nhwc = node->in_layout == LAYOUT_NHWC;
    int extents[PARAMETER_RANK] = {1, units, in.c, in.h, in.w};
    size_t strides[PARAMETER_RANK] = {0, 1, nhwc ? u : h * w * u, nhwc ? w * c * u : w * u,
                                      nhwc ? c * u : u};
    for (int i = 0; i < PARAMETER_RANK; i++) {
        weight->extents[i] = extents[i];
        weight->strides[i] = strides[i];
    }
    weight->fan_in = inputs;
    weight->fan_out = (size_t)units;
    node->macs = (uint64_t)weight->count;
out:
    return status;
}

static void plan(const struct node *node, struct node_plan *plan)
{
    plan->needs_input = true;
    plan->images = node->parameters[0].count > LARGE_WEIGHTS ? TILE_IMAGES_LARGE : TILE_IMAGES;
    plan->weight_tiles = weight_tiles_of(node);
}

/* y [n, units] = x [n, inputs] w [inputs, units] */
static void forward(const struct node *node, const struct tile *tile)
{
    int inputs = inputs_of(node), units = node->out.c;
    struct product p = {tile->n, units, inputs, .c = tile->y, .stride = units};
    p.a = (struct matrix){tile->x[0], inputs, false};
    p.b = (struct matrix){node_parameter(node, tile, 0), units, false};
    tile->kernels->product(p, product_small_is_fast() && units <= PIECES_UNITS);
}

/* dx [n, inputs] = dy [n, units] w^T */
static void backward(const struct node *node, const struct tile *tile)
{
    int inputs = inputs_of(node), units = node->out.c;
    struct product p = {tile->n, inputs, units, .c = tile->dx[0], .stride = inputs};
    p.a = (struct matrix){tile->dy, units, false};
    p.b = (struct matrix){node_parameter(node, tile, 0), units, true};
    p.add = tile->accumulate[0];
    if (tile->dx[0])
        tile->kernels->product(p, false);
}

/* dw [inputs, units] = x^T dy, some inputs at a time */
static void backward_weights(const struct node *node, const struct tile *tile, int index)
{
    int inputs = inputs_of(node), units = node->out.c;
    int tiles = weight_tiles_of(node);
    int first = (int)((long)inputs * index / tiles);
    int count = (int)((long)inputs * (index + 1) / tiles) - first;
    struct product p = {count, units, tile->n, .stride = units};
    p.a = (struct matrix){tile->x[0] + first, inputs, true};
    p.b = (struct matrix){tile->dy, units, false};
    p.c = node_gradient(node, tile, 0) + (size_t)first * (size_t)units;
    tile->kernels->product(p, false);
}

static const struct node_example examples[] = {
    {{5, 3, 4}, "units = 7", 1},
    {{13, 1, 1}, "units = 1\nbias = false\nactivation = sigmoid", 1},
    {{3, 10, 10}, "units = 6\nactivation = leaky_relu", 1},
    {{9, 3, 4}, "units = 5\nactivation = relu", 1},
    {{7, 3, 3}, "units = classes\nactivation = relu6", 1},
    {{6, 4, 4}, "units = 4\nactivation = elu", 1},
    {{8, 1, 1}, "units = 17\nactivation = tanh", 1},
    {{4, 2, 3}, "units = 9\nactivation = gelu", 1},
    {{5, 3, 3}, "units = 8\nactivation = silu", 1},
    {{3, 3, 4}, "units = 6\nactivation = hardswish", 1},
    {{6, 2, 3}, "units = 5\nactivation = prelu", 1},
    {{7, 1, 1}, "units = 6\nactivation = softmax", 1},
    {{0}, NULL, 0},
};

const struct node_type node_dense = {
    .name = "dense",
    .help = "fully connected layer; flattens what it is given",
    .keys = keys,
    .key_count = COUNT_OF(keys),
    .settings_size = sizeof(struct dense),
    .inputs_least = 1,
    .inputs_most = 1,
    .examples = examples,
    .epilogue = epilogue,
    .build = build,
    .plan = plan,
    .forward = forward,
    .backward = backward,
    .backward_weights = backward_weights,
};
