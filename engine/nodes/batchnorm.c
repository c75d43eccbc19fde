/* batchnorm: each channel of the mini-batch to mean 0 and variance 1, then scaled and shifted
 * (Ioffe & Szegedy 2015), as PyTorch computes it: the biased variance normalises, the unbiased one
 * goes into running_var, and evaluation uses the running statistics.
 *
 * The tiles leave their means and squared deviations; finish combines them into one scale and
 * shift a channel, so that forward is a single pass. Backward likewise:
 * dx = a dy + b x + d with a, b, d from two sums. */
#include "engine/nodes/keys.h"

#include <math.h>
#include <string.h>

struct batchnorm {
    double momentum, eps;
};

enum { WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR };

/* Rows of the state, each [c]. */
enum { SCALE, SHIFT, MEAN, INVERSE, A, B, D, STATE_ROWS };

static const struct key keys[] = {
    {"momentum", KEY_NUMBER, offsetof(struct batchnorm, momentum), "0.1", .minimum = 0,
     .maximum = 1, .help = "share of a mini-batch in the running statistics"},
    {"eps", KEY_NUMBER, offsetof(struct batchnorm, eps), "1e-5", .minimum = 0,
     .above_minimum = true, .maximum = 1, .help = "added to the variance"},
};

static enum colonnade_status build(struct node *node, const struct node_build *build,
                                   struct colonnade_error *error)
{
    node_keep_shape(node);
    int c = node->in.c;
    node_add_parameter(node, "weight", 1, &c, INIT_CONSTANT)->constant = 1.0;
    node_add_parameter(node, "bias", 1, &c, INIT_ZERO);
    node_add_parameter(node, "running_mean", 1, &c, INIT_ZERO)->trainable = false;
    struct parameter *variance = node_add_parameter(node, "running_var", 1, &c, INIT_CONSTANT);
    variance->constant = 1.0;
    variance->trainable = false;
    return COLONNADE_OK;
}

static void plan(const struct node *node, struct node_plan *plan)
{
    size_t c = (size_t)node->in.c;
    plan->state = STATE_ROWS * c;
    plan->forward_partial = plan->backward_partial = 2 * c;
    plan->scratch = 2 * c * sizeof(double) / sizeof(float);
    plan->needs_input = true;
    plan->backward_in_place = true;
}

static float *row(const struct node *node, const struct tile *tile, int index)
{
    return tile->state + (size_t)index * (size_t)node->in.c;
}

static void forward_reduce(const struct node *node, const struct tile *tile)
{
    tile->kernels->moments(node_extent_in(node), tile->n, tile->x[0], tile->partial,
                           tile->partial + node->in.c);
}

static void update_running(const struct node *node, const struct tile *tile, int channel,
                           double mean, double squares, double count)
{
    const struct batchnorm *norm = node->settings;
    float *running_mean = tile->buffers + node->parameters[RUNNING_MEAN].offset + channel;
    float *running_var = tile->buffers + node->parameters[RUNNING_VAR].offset + channel;
    double unbiased = squares / (count > 1.0 ? count - 1.0 : 1.0);
    *running_mean = (float)((1.0 - norm->momentum) * (double)*running_mean + norm->momentum * mean);
    *running_var =
        (float)((1.0 - norm->momentum) * (double)*running_var + norm->momentum * unbiased);
}

/* Of a channel, in the whole mini-batch. */
static double elements_of(const struct reduction *reduction, int pixels)
{
    size_t images = 0;
    for (size_t p = 0; p < reduction->parts; p++)
        images += reduction->images[p];
    return (double)images * pixels;
}

static void forward_finish(const struct node *node, const struct reduction *reduction,
                           const struct tile *tile)
{
    const struct batchnorm *norm = node->settings;
    const float *weight = node_parameter(node, tile, WEIGHT);
    const float *bias = node_parameter(node, tile, BIAS);
    double *mean = (double *)(void *)tile->scratch, *squares = mean + node->in.c;
    int pixels = shape_pixels(node->in);
    double count = elements_of(reduction, pixels);
    tile->kernels->moments_combine(node->in.c, pixels, reduction->parts, reduction->images,
                                   reduction->partials, mean, squares);
    for (int c = 0; c < node->in.c; c++) {
        double inverse = 1.0 / sqrt(squares[c] / count + norm->eps);
        row(node, tile, MEAN)[c] = (float)mean[c];
        row(node, tile, INVERSE)[c] = (float)inverse;
        row(node, tile, SCALE)[c] = (float)((double)weight[c] * inverse);
        row(node, tile, SHIFT)[c] =
            (float)((double)bias[c] - mean[c] * (double)weight[c] * inverse);
        update_running(node, tile, c, mean[c], squares[c], count);
    }
}

/* What the running statistics make of a channel: scale [c] and shift [c]. */
static void use_running(const struct node *node, const struct tile *tile, float *scale,
                        float *shift)
{
    const struct batchnorm *norm = node->settings;
    const float *mean = tile->buffers + node->parameters[RUNNING_MEAN].offset;
    const float *variance = tile->buffers + node->parameters[RUNNING_VAR].offset;
    for (int c = 0; c < node->in.c; c++) {
        double factor =
            (double)node_parameter(node, tile, WEIGHT)[c] / sqrt((double)variance[c] + norm->eps);
        scale[c] = (float)factor;
        shift[c] = (float)((double)node_parameter(node, tile, BIAS)[c] - (double)mean[c] * factor);
    }
}

static void forward(const struct node *node, const struct tile *tile)
{
    const float *scale = tile->scratch, *shift = tile->scratch + node->in.c;
    if (tile->training && !node->frozen) {
        scale = row(node, tile, SCALE);
        shift = row(node, tile, SHIFT);
    } else {
        use_running(node, tile, tile->scratch, tile->scratch + node->in.c);
    }
    tile->kernels->scale_shift(node_extent_in(node), tile->n, tile->x[0], scale, shift, tile->y);
}

static void backward_reduce(const struct node *node, const struct tile *tile)
{
    tile->kernels->batchnorm_reduce(node_extent_in(node), tile->n, tile->x[0], tile->dy,
                                    row(node, tile, MEAN), row(node, tile, INVERSE), tile->partial);
}

static void backward_finish(const struct node *node, const struct reduction *reduction,
                            const struct tile *tile)
{
    size_t stride = 2 * (size_t)node->in.c;
    double count = elements_of(reduction, shape_pixels(node->in));
    for (int c = 0; c < node->in.c; c++) {
        double sum = 0.0, product = 0.0;
        for (size_t p = 0; p < reduction->parts; p++) {
            sum += reduction->partials[p * stride + (size_t)c];
            product += reduction->partials[p * stride + (size_t)(node->in.c + c)];
        }
        double scale = (double)row(node, tile, SCALE)[c];
        double b = -scale * (double)row(node, tile, INVERSE)[c] * product / count;
        row(node, tile, A)[c] = (float)scale;
        row(node, tile, B)[c] = (float)b;
        row(node, tile, D)[c] =
            (float)(-scale * sum / count - b * (double)row(node, tile, MEAN)[c]);
        node_gradient(node, tile, WEIGHT)[c] = (float)product;
        node_gradient(node, tile, BIAS)[c] = (float)sum;
    }
}

static void backward(const struct node *node, const struct tile *tile)
{
    const float *a = row(node, tile, A), *b = row(node, tile, B), *d = row(node, tile, D);
    const size_t c = (size_t)node->in.c;
    if (!tile->dx[0])
        return;
    if (node->frozen) { /* y is linear in x: dx = a dy */
        float *scale = tile->scratch, *zero = tile->scratch + c;
        use_running(node, tile, scale, zero);
        memset(zero, 0, c * sizeof *zero);
        a = scale;
        b = d = zero;
    }
    tile->kernels->batchnorm_backward(node_extent_in(node), tile->n, tile->x[0], tile->dy, a, b, d,
                                      tile->accumulate[0], tile->dx[0]);
}

static const struct node_example examples[] = {
    {{5, 4, 3}, "", 1},
    {{18, 3, 2}, "momentum = 0.3\neps = 0.1", 1},
    {{3, 9, 8}, "eps = 0.5", 1},   /* a plane longer than a row of its view */
    {{600, 1, 2}, "eps = 0.5", 1}, /* more channels than a view takes */
    {{0}, NULL, 0},
};

const struct node_type node_batchnorm = {
    .name = "batchnorm",
    .help = "batch normalisation, momentum and eps as PyTorch means them",
    .keys = keys,
    .key_count = COUNT_OF(keys),
    .settings_size = sizeof(struct batchnorm),
    .inputs_least = 1,
    .inputs_most = 1,
    .examples = examples,
    .build = build,
    .plan = plan,
    .forward_reduce = forward_reduce,
    .forward_finish = forward_finish,
    .forward = forward,
    .backward_reduce = backward_reduce,
    .backward_finish = backward_finish,
    .backward = backward,
};
