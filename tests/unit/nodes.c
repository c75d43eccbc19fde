/* Gradient checks of every row of the node table, on the examples that the row gives: a new node
 * type is tested here unasked. Each node runs alone, on two tiles of a mini-batch, so that what is
 * reduced or accumulated over tiles is checked too. The loss is sum(y * dy) in double; its central
 * difference with step H stands against the backward pass.
 *
 * Tolerance. The forward pass has float rounding: the loss, a sum of up to a few thousand terms of
 * size 1, is off by about 1e-6, which the difference divides by 2 H = 0.02; curvature adds H^2 / 6
 * times a third derivative of order 1 (with the weights of a few hundred terms). TOLERANCE allows
 * for both. No value lies within H of a kink: inputs and parameters are multiples of GRID, inputs
 * half a step beside, so that x and x + bias keep away from 0 (and 6, and +-3); the inputs of a
 * maximum are all different by more than 2 H.
 */
#include "engine/data/dataset.h"
#include "engine/graph/graph.h"
#include "tests/unit/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double H = 0.01, TOLERANCE = 4e-3, GRID = 0.05;
enum { IMAGES = 3, FIRST_TILE = 2, CLASSES = 3, MOST_CHECKED = 40 };

struct trial {
    const struct graph *graph;
    const struct node *node;
    const struct node_plan *wants;
    const struct kernels *kernels;
    struct model *model;
    float *x[NODE_INPUTS], *dx[NODE_INPUTS], *y, *dy, *gradients, *state, *scratch;
    float *buffers; /* as before the run: running statistics must not carry over */
    unsigned char *saved;
    double *partials;
    struct batch batch;
    uint32_t samples[IMAGES];
    bool accumulate_dx, no_dx;
};

static struct graph *make_graph(const struct node_type *type, const struct node_example *example)
{
    char text[2048];
    int inputs = example->inputs > 0 ? example->inputs : 1;
    size_t used = 0;
    for (int i = 0; i < inputs; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "[s%d]\ntype = prelu\ninputs = input\n", i);
    used += (size_t)snprintf(text + used, sizeof text - used, "[node]\ntype = %s\n%s\ninputs = s0",
                             type->name, example->keys);
    for (int i = 1; i < inputs; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, ", s%d", i);
    snprintf(text + used, sizeof text - used, "\n[last]\ntype = dense\nunits = classes\n");
    struct colonnade_error error;
    struct config *config;
    struct graph *graph;
    cr_assert_eq(config_parse(&config, "example", text, &error), COLONNADE_OK, "%s", error.message);
    cr_assert_eq(graph_create(&graph, config, example->in, CLASSES, &error), COLONNADE_OK, "%s",
                 error.message);
    config_destroy(config);
    return graph;
}

static struct tile tile_of(struct trial *t, int first, int n)
{
    const struct node *node = t->node;
    size_t out = shape_size(node->out);
    struct tile tile = {
        .kernels = t->kernels,
        .first = first,
        .n = n,
        .training = true,
        .y = t->y + (size_t)first * out,
        .dy = t->dy + (size_t)first * out,
        .parameters = t->model->parameters,
        .buffers = t->model->buffers,
        .gradients = t->gradients,
        .accumulate_gradients = first > 0,
        .saved = t->saved + (size_t)first * t->wants->saved,
        .state = t->wants->state > 0 ? t->state : NULL,
        .scratch = t->scratch,
        .batch = &t->batch,
        .seed = 5,
        .step = 3,
    };
    for (int i = 0; i < node->input_count; i++) {
        size_t in = shape_size(node->sources[i]->out);
        tile.x[i] = t->x[i] + (size_t)first * in;
        tile.dx[i] = t->no_dx ? NULL : t->dx[i] + (size_t)first * in;
        tile.accumulate[i] = t->accumulate_dx;
    }
    return tile;
}

static void reduce(struct trial *t, bool backward)
{
    const struct node_type *type = t->node->type;
    size_t doubles = backward ? t->wants->backward_partial : t->wants->forward_partial;
    size_t images[2] = {FIRST_TILE, IMAGES - FIRST_TILE};
    for (int i = 0; i < 2; i++) {
        struct tile tile = tile_of(t, i * FIRST_TILE, (int)images[i]);
        tile.partial = t->partials + (size_t)i * doubles;
        (backward ? type->backward_reduce : type->forward_reduce)(t->node, &tile);
    }
    struct reduction reduction = {2, images, t->partials};
    struct tile all = tile_of(t, 0, IMAGES);
    (backward ? type->backward_finish : type->forward_finish)(t->node, &reduction, &all);
}

static double loss(struct trial *t)
{
    if (t->wants->prepares) {
        struct tile all = tile_of(t, 0, IMAGES);
        t->node->type->prepare(t->node, &all);
    }
    memcpy(t->model->buffers, t->buffers, t->graph->buffer_length * sizeof(float));
    if (t->node->type->forward_reduce)
        reduce(t, false);
    for (int first = 0; first < IMAGES; first += FIRST_TILE) {
        struct tile tile = tile_of(t, first, first == 0 ? FIRST_TILE : IMAGES - FIRST_TILE);
        t->node->type->forward(t->node, &tile);
    }
    double sum = 0.0;
    for (size_t i = 0; i < IMAGES * shape_size(t->node->out); i++)
        sum += (double)t->y[i] * (double)t->dy[i];
    return sum;
}

static void backward(struct trial *t)
{
    if (t->node->type->backward_reduce)
        reduce(t, true);
    for (int first = 0; first < IMAGES; first += FIRST_TILE) {
        struct tile tile = tile_of(t, first, first == 0 ? FIRST_TILE : IMAGES - FIRST_TILE);
        t->node->type->backward(t->node, &tile);
    }
    struct tile all = tile_of(t, 0, IMAGES);
    for (int i = 0; i < t->wants->weight_tiles; i++)
        t->node->type->backward_weights(t->node, &all, i);
}

/* `values` is what the loss is differentiated by, `gradient` what backward said. */
static void check(struct trial *t, const char *what, float *values, const float *gradient,
                  size_t count)
{
    size_t stride = count / MOST_CHECKED + 1;
    double scale = 1.0;
    for (size_t i = 0; i < count; i++)
        scale = fmax(scale, fabs((double)gradient[i]));
    for (size_t i = 0; i < count; i += stride) {
        float kept = values[i], up = kept + (float)H, down = kept - (float)H;
        values[i] = up;
        double above = loss(t);
        values[i] = down;
        double below = loss(t);
        values[i] = kept;
        double want = (above - below) / ((double)up - (double)down);
        cr_assert(fabs((double)gradient[i] - want) <= TOLERANCE * scale,
                  "%s (%s): %s[%zu]: backward says %.6g, the difference quotient %.6g",
                  t->node->name, t->node->type->name, what, i, (double)gradient[i], want);
    }
}

/* Multiples of GRID, `beside` them. */
static void fill_grid(float *x, size_t n, uint32_t seed, double beside)
{
    fill_random(x, n, seed);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(round((double)x[i] / GRID) * GRID + beside);
}

/* All different by 3 H or more, in no order: the prime shares no divisor with n. */
static void fill_distinct(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(3.0 * H * ((double)(i * 7919 % n) - (double)n / 2.0));
}

static void fill(struct trial *t)
{
    const struct node *node = t->node;
    for (int i = 0; i < node->input_count; i++)
        fill_grid(t->x[i], IMAGES * shape_size(node->sources[i]->out), 11u + (uint32_t)i, GRID / 2);
    if (node->type->takes_maximum)
        fill_distinct(t->x[0], IMAGES * shape_size(node->in));
    fill_random(t->dy, IMAGES * shape_size(node->out), 29u);
    for (int i = 0; i < node->parameter_count; i++)
        if (node->parameters[i].trainable)
            fill_grid(t->model->parameters + node->parameters[i].offset, node->parameters[i].count,
                      31u + (uint32_t)i, 0.0);
    for (int i = 0; i < IMAGES; i++)
        t->samples[i] = 100u + (uint32_t)i;
    t->batch = (struct batch){.n = IMAGES, .samples = t->samples};
    /* A gradient that backward forgets to overwrite is seen. */
    for (size_t i = 0; i < t->graph->parameter_length; i++)
        t->gradients[i] = 77.0f;
}

static void check_dx(struct trial *t, int input)
{
    size_t count = IMAGES * shape_size(t->node->sources[input]->out);
    char what[32];
    snprintf(what, sizeof what, "dx[%d]", input);
    float *before = guarded_floats(count);
    memcpy(before, t->dx[input], count * sizeof *before);
    check(t, what, t->x[input], before, count);
    guarded_free(before);
}

static void check_accumulation(struct trial *t)
{
    const struct node *node = t->node;
    float *plain[NODE_INPUTS];
    for (int i = 0; i < node->input_count; i++) {
        size_t count = IMAGES * shape_size(node->sources[i]->out);
        plain[i] = guarded_floats(count);
        memcpy(plain[i], t->dx[i], count * sizeof(float));
        for (size_t j = 0; j < count; j++)
            t->dx[i][j] = 2.0f;
    }
    t->accumulate_dx = true;
    loss(t);
    backward(t);
    t->accumulate_dx = false;
    for (int i = 0; i < node->input_count; i++) {
        size_t count = IMAGES * shape_size(node->sources[i]->out);
        for (size_t j = 0; j < count; j++)
            cr_assert(fabs((double)t->dx[i][j] - 2.0 - (double)plain[i][j]) <=
                          1e-5 * (2.0 + fabs((double)plain[i][j])),
                      "%s: dx[%d][%zu] added to 2 gives %g, alone it is %g", node->type->name, i, j,
                      (double)t->dx[i][j], (double)plain[i][j]);
        guarded_free(plain[i]);
    }
}

/* On the data itself nobody wants dx; the parameters' gradients are the same. */
static void check_without_dx(struct trial *t)
{
    size_t count = t->graph->parameter_length;
    float *before = guarded_floats(count);
    memcpy(before, t->gradients, count * sizeof *before);
    t->no_dx = true;
    loss(t);
    backward(t);
    t->no_dx = false;
    cr_assert_arr_eq(t->gradients, before, count * sizeof *before,
                     "%s: gradients change where dx is not wanted", t->node->type->name);
    guarded_free(before);
}

static void check_node(const struct graph *graph, const struct node *node,
                       const struct kernels *kernels)
{
    struct node_plan wants = {0};
    node->type->plan(node, &wants);
    size_t out = IMAGES * shape_size(node->out);
    size_t partials = wants.forward_partial > wants.backward_partial ? wants.forward_partial
                                                                     : wants.backward_partial;
    struct trial t = {.graph = graph, .node = node, .wants = &wants, .kernels = kernels};
    struct colonnade_error error;
    cr_assert_eq(model_create(&t.model, graph, 1, &error), COLONNADE_OK);
    t.y = guarded_floats(out);
    t.dy = guarded_floats(out);
    t.gradients = guarded_floats(graph->parameter_length);
    t.state = guarded_floats(wants.state);
    t.scratch = guarded_floats(wants.scratch);
    t.saved = (unsigned char *)guarded_floats(IMAGES * wants.saved / sizeof(float) + 1);
    t.partials = guarded_doubles(2 * partials);
    t.buffers = guarded_floats(graph->buffer_length);
    memcpy(t.buffers, t.model->buffers, graph->buffer_length * sizeof(float));
    for (int i = 0; i < node->input_count; i++) {
        t.x[i] = guarded_floats(IMAGES * shape_size(node->sources[i]->out));
        t.dx[i] = guarded_floats(IMAGES * shape_size(node->sources[i]->out));
    }
    fill(&t);
    loss(&t);
    backward(&t);
    for (int i = 0; i < node->input_count; i++)
        check_dx(&t, i);
    for (int i = 0; i < node->parameter_count; i++)
        if (node->parameters[i].trainable)
            check(&t, node->parameters[i].suffix, t.model->parameters + node->parameters[i].offset,
                  t.gradients + node->parameters[i].offset, node->parameters[i].count);
    check_accumulation(&t);
    if (!wants.needs_dx)
        check_without_dx(&t);
    for (int i = 0; i < node->input_count; i++) {
        guarded_free(t.x[i]);
        guarded_free(t.dx[i]);
    }
    guarded_free(t.y);
    guarded_free(t.dy);
    guarded_free(t.gradients);
    guarded_free(t.state);
    guarded_free(t.scratch);
    guarded_free(t.saved);
    guarded_free(t.partials);
    guarded_free(t.buffers);
    model_destroy(t.model);
}

Test(nodes, every_row_has_examples_and_help)
{
    for (size_t i = 0; node_types[i]; i++) {
        const struct node_type *type = node_types[i];
        cr_assert(type->name && type->help && type->help[0], "row %zu lacks a name or help", i);
        cr_assert(type->internal || (type->examples && type->examples[0].keys),
                  "%s has no example: nothing would test it", type->name);
        for (size_t k = 0; k < type->key_count; k++)
            cr_assert(type->keys[k].help && type->keys[k].help[0], "%s.%s has no help", type->name,
                      type->keys[k].name);
    }
}

Test(nodes, backward_is_the_derivative_of_forward_for_every_row, .timeout = 900)
{
    const struct kernels *tables[3];
    size_t table_count = all_kernels(tables);
    for (size_t k = 0; k < table_count; k++)
        for (size_t i = 0; node_types[i]; i++)
            for (const struct node_example *e = node_types[i]->examples; e && e->keys; e++) {
                struct graph *graph = make_graph(node_types[i], e);
                int declared = graph_find(graph, "node");
                for (int n = 0; n < graph->count; n++)
                    if (graph->nodes[n].owner == declared)
                        check_node(graph, &graph->nodes[n], tables[k]);
                graph_destroy(graph);
            }
}
