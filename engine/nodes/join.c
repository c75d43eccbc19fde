/* add and concat: where branches of the graph meet. Inputs may lie in different layouts; the
 * output takes the first one's. */
#include "engine/nodes/keys.h"

#include <string.h>

static size_t input_size(const struct node *node, int i)
{
    return shape_size(node->sources[i]->out);
}

static enum colonnade_status build_add(struct node *node, const struct node_build *build,
                                       struct colonnade_error *error)
{
    for (int i = 1; i < node->input_count; i++) {
        struct shape a = node->in, b = node->sources[i]->out;
        if (a.c != b.c || a.h != b.h || a.w != b.w)
            return config_error(build->config, build->section, "inputs", error,
                                "[%s] add needs inputs of equal shape: %s has %dx%dx%d, %s has "
                                "%dx%dx%d",
                                node->name, node->sources[0]->name, a.c, a.h, a.w,
                                node->sources[i]->name, b.c, b.h, b.w);
    }
    node_keep_shape(node);
    return COLONNADE_OK;
}

static enum colonnade_status build_concat(struct node *node, const struct node_build *build,
                                          struct colonnade_error *error)
{
    node->out = node->in;
    for (int i = 1; i < node->input_count; i++) {
        struct shape a = node->in, b = node->sources[i]->out;
        if (a.h != b.h || a.w != b.w)
            return config_error(build->config, build->section, "inputs", error,
                                "[%s] concat needs inputs of equal height and width: %s has "
                                "%dx%dx%d, %s has %dx%dx%d",
                                node->name, node->sources[0]->name, a.c, a.h, a.w,
                                node->sources[i]->name, b.c, b.h, b.w);
        node->out.c += b.c;
    }
    node->out_layout = node->in_layout;
    return COLONNADE_OK;
}

static bool converts(const struct node *node, int i)
{
    return node->sources[i]->out_layout != node->out_layout && shape_pixels(node->in) > 1;
}

static void plan_add(const struct node *node, struct node_plan *plan)
{
    plan->forward_in_place = true;
    plan->passes_gradient = true;
    for (int i = 0; i < node->input_count; i++) {
        if (converts(node, i)) {
            plan->scratch = shape_size(node->in);
            plan->passes_gradient = false;
        }
        if (i > 1 && node->sources[i] == node->sources[0])
            plan->forward_in_place = false; /* the first sum would stand where x[i] is */
        for (int before = 0; before < i; before++)
            if (node->sources[i] == node->sources[before])
                plan->passes_gradient = false; /* dx[i] += dy would change dy */
    }
}

/* The image of input i in the output's layout, through scratch where it lies otherwise. */
static const float *input_image(const struct node *node, const struct tile *tile, int i, int image)
{
    size_t size = shape_size(node->in);
    const float *x = tile->x[i] + (size_t)image * size;
    if (!converts(node, i))
        return x;
    tile->kernels->layout_convert(1, node->in.c, shape_pixels(node->in),
                                  node->sources[i]->out_layout, node->out_layout, x, tile->scratch);
    return tile->scratch;
}

static void forward_add(const struct node *node, const struct tile *tile)
{
    size_t size = shape_size(node->in);
    for (int i = 1; i < node->input_count; i++) {
        for (int image = 0; image < tile->n; image++) {
            float *y = tile->y + (size_t)image * size;
            const float *sum = i == 1 ? tile->x[0] + (size_t)image * size : y;
            tile->kernels->add(size, sum, input_image(node, tile, i, image), y);
        }
    }
}

static void backward_add(const struct node *node, const struct tile *tile)
{
    size_t size = shape_size(node->in);
    for (int i = 0; i < node->input_count; i++) {
        if (!tile->dx[i] || (tile->dx[i] == tile->dy && !tile->accumulate[i]))
            continue;
        for (int image = 0; image < tile->n; image++) {
            const float *dy = tile->dy + (size_t)image * size;
            float *dx = tile->dx[i] + (size_t)image * size;
            if (converts(node, i)) {
                tile->kernels->layout_convert(1, node->in.c, shape_pixels(node->in),
                                              node->out_layout, node->sources[i]->out_layout, dy,
                                              tile->scratch);
                dy = tile->scratch;
            }
            if (tile->accumulate[i])
                tile->kernels->accumulate(size, dy, dx);
            else
                memcpy(dx, dy, size * sizeof *dx);
        }
    }
}

static void plan_concat(const struct node *node, struct node_plan *plan)
{
    for (int i = 0; i < node->input_count; i++)
        if (converts(node, i) && plan->scratch < 2 * input_size(node, i))
            plan->scratch = 2 * input_size(node, i);
}

/* Concatenation copies runs: the channels of a pixel (NHWC), or all planes of an image (NCHW).
 * Input i has `width` floats in each of an image's `runs` runs of `total`. */
struct runs {
    size_t runs, total, width, start;
};

static struct runs runs_of(const struct node *node, int i)
{
    size_t pixels = (size_t)shape_pixels(node->in);
    bool nhwc = node->out_layout == LAYOUT_NHWC;
    struct runs r = {.runs = nhwc ? pixels : 1, .total = (size_t)node->out.c * (nhwc ? 1 : pixels)};
    for (int before = 0; before < i; before++)
        r.start += (size_t)node->sources[before]->out.c * (nhwc ? 1 : pixels);
    r.width = (size_t)node->sources[i]->out.c * (nhwc ? 1 : pixels);
    return r;
}

static void forward_concat(const struct node *node, const struct tile *tile)
{
    for (int i = 0; i < node->input_count; i++) {
        struct runs r = runs_of(node, i);
        size_t size = input_size(node, i);
        for (int image = 0; image < tile->n; image++) {
            const float *x = tile->x[i] + (size_t)image * size;
            if (converts(node, i)) {
                tile->kernels->layout_convert(1, node->sources[i]->out.c, shape_pixels(node->in),
                                              node->sources[i]->out_layout, node->out_layout, x,
                                              tile->scratch);
                x = tile->scratch;
            }
            float *y = tile->y + (size_t)image * shape_size(node->out) + r.start;
            for (size_t run = 0; run < r.runs; run++)
                memcpy(y + run * r.total, x + run * r.width, r.width * sizeof *y);
        }
    }
}

static void backward_concat(const struct node *node, const struct tile *tile)
{
    for (int i = 0; i < node->input_count; i++) {
        struct runs r = runs_of(node, i);
        size_t size = input_size(node, i);
        for (int image = 0; tile->dx[i] && image < tile->n; image++) {
            const float *dy = tile->dy + (size_t)image * shape_size(node->out) + r.start;
            float *dx = tile->dx[i] + (size_t)image * size;
            bool direct = !converts(node, i) && !tile->accumulate[i];
            float *to = direct ? dx : tile->scratch;
            if (!converts(node, i) && tile->accumulate[i]) {
                for (size_t run = 0; run < r.runs; run++)
                    tile->kernels->accumulate(r.width, dy + run * r.total, dx + run * r.width);
                continue;
            }
            for (size_t run = 0; run < r.runs; run++)
                memcpy(to + run * r.width, dy + run * r.total, r.width * sizeof *to);
            if (direct)
                continue;
            float *converted = tile->scratch + size;
            tile->kernels->layout_convert(1, node->sources[i]->out.c, shape_pixels(node->in),
                                          node->out_layout, node->sources[i]->out_layout, to,
                                          converted);
            if (tile->accumulate[i])
                tile->kernels->accumulate(size, converted, dx);
            else
                memcpy(dx, converted, size * sizeof *dx);
        }
    }
}

static const struct node_example examples[] = {
    {{4, 3, 5}, "", 2},                     /* planes, and a second input that lies by pixels */
    {{6, 2, 3}, "", 4}, {{9, 4, 3}, "", 3}, /* both by pixels */
    {{7, 1, 1}, "", 3}, {{0}, NULL, 0},
};

const struct node_type node_add = {
    .name = "add",
    .help = "sum of inputs of equal shape",
    .inputs_least = 2,
    .inputs_most = NODE_INPUTS,
    .examples = examples,
    .build = build_add,
    .plan = plan_add,
    .forward = forward_add,
    .backward = backward_add,
};

const struct node_type node_concat = {
    .name = "concat",
    .help = "channels of the inputs one after another",
    .inputs_least = 2,
    .inputs_most = NODE_INPUTS,
    .examples = examples,
    .takes_unequal = true,
    .build = build_concat,
    .plan = plan_concat,
    .forward = forward_concat,
    .backward = backward_concat,
};
