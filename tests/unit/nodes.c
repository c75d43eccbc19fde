/* Gradient checks of every row of the node table, on the examples that the row gives: a new node
 * type is tested here unasked. Each node runs alone, on two tiles of a mini-batch, so that what is
 * reduced or accumulated over tiles is checked too. The loss is sum(y * dy) in double; its central
 * differences stand against the backward pass, one by one for some values, and for all together
 * along random signs. Whatever a pass has to write is NaN before it.
 *
 * Tolerance of a single value. The forward pass has float rounding: the loss, a sum of up to a few
 * thousand terms of size 1, is off by about 1e-6, which the difference divides by 2 H = 0.02;
 * curvature adds H^2 / 6 times a third derivative of order 1 (with the weights of a few hundred
 * terms). TOLERANCE allows for both. That of all together: see check_together().
 *
 * No value lies within H of a kink: inputs and parameters are multiples of GRID, inputs half a step
 * beside, so that x and x + bias keep away from 0 (and 6, and +-3); the inputs of a maximum are all
 * different by more than 2 H. Every fourth input of an activation is eight times as large, so that
 * it lies on all sides of its kinks.
 */
#include "engine/data/dataset.h"
#include "engine/graph/graph.h"
#include "tests/unit/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double H = 0.01, TOLERANCE = 4e-3, GRID = 0.05;
enum { IMAGES = 3, FIRST_TILE = 2, CLASSES = 3, MOST_CHECKED = 6, DIRECTIONS = 2 };

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

/* Writes the example as a config. The node takes its inputs from [s0], [s1], ..., of which every
 * second one is a convolution: its output is channels-last, whatever its input is. */
static void write_config(const struct node_type *type, const struct node_example *example,
                         char *text, size_t size)
{
    int inputs = example->inputs > 0 ? example->inputs : 1;
    size_t used = 0;
    for (int i = 0; i < inputs; i++) {
        int more = type->takes_unequal ? i : 0;
        const char *source = i % 2 == 0 && more == 0 ? "prelu" : "conv";
        used += (size_t)snprintf(text + used, size - used, "[s%d]\ntype = %s\n", i, source);
        if (strcmp(source, "conv") == 0)
            used += (size_t)snprintf(text + used, size - used, "kernel = 1\nfilters = %d\n",
                                     example->in.c + more);
        used += (size_t)snprintf(text + used, size - used, "inputs = input\n");
    }
    used += (size_t)snprintf(text + used, size - used, "[node]\ntype = %s\n%s\ninputs = s0",
                             type->name, example->keys);
    for (int i = 1; i < inputs; i++)
        used += (size_t)snprintf(text + used, size - used, ", s%d", i);
    snprintf(text + used, size - used, "\n[last]\ntype = dense\nunits = classes\n");
}

static struct graph *make_graph(const struct node_type *type, const struct node_example *example)
{
    char text[2048];
    struct colonnade_error error;
    struct config *config;
    struct graph *graph;
    write_config(type, example, text, sizeof text);
    cr_assert_eq(config_parse(&config, "example", text, &error), COLONNADE_OK, "%s", error.message);
    cr_assert_eq(graph_create(&graph, config, example->in, CLASSES, &error), COLONNADE_OK, "%s",
                 error.message);
    config_destroy(config);
    return graph;
}

static void fill_value(float *x, size_t n, float value)
{
    for (size_t i = 0; i < n; i++)
        x[i] = value;
}

static struct tile tile_of(struct trial *t, int first, int n)
{
    const struct node *node = t->node;
    size_t out = shape_size(node->out);
    fill_value(t->scratch, t->wants->scratch, NAN);
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
    fill_value(t->y, IMAGES * shape_size(t->node->out), NAN);
    fill_value(t->state, t->wants->state, NAN);
    memset(t->saved, 0xff, IMAGES * t->wants->saved);
    if (t->wants->prepares) {
        struct tile all = tile_of(t, 0, IMAGES);
        t->node->type->prepare(t->node, &all);
    }
    memcpy(t->model->buffers, t->buffers, t->graph->buffer_length * sizeof(float));
    if (t->node->type->forward_reduce && !t->node->frozen)
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
    for (int i = 0; i < t->node->input_count && !t->accumulate_dx; i++)
        fill_value(t->dx[i], IMAGES * shape_size(t->node->sources[i]->out), NAN);
    if (t->node->type->backward_reduce && !t->node->frozen)
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
                  "%s (%s, %s): %s[%zu]: backward says %.6g, the difference quotient %.6g",
                  t->node->name, t->node->type->name, t->kernels->isa, what, i, (double)gradient[i],
                  want);
    }
}

/* What the loss's difference is more than `gradient` says where every value goes `step` up or down
 * by its sign in `signs`, a step. */
static double excess(struct trial *t, float *values, const float *kept, const float *signs,
                     const float *gradient, size_t count, double step)
{
    double difference = 0.0, want = 0.0;
    for (int side = 1; side >= -1; side -= 2) {
        for (size_t i = 0; i < count; i++) {
            values[i] = kept[i] + (float)(side * step) * signs[i];
            want += side * ((double)values[i] - (double)kept[i]) * (double)gradient[i];
        }
        difference += side * loss(t);
    }
    return (difference - want) / (2.0 * step);
}

/* All values at once, each up or down at random, so that a wrong entry anywhere is seen.
 *
 * Tolerance. A y of up to 2304 terms (a convolution's) is off by the root of that, 48, in float
 * roundings: SPREAD. The loss is then off by SPREAD times the root of sum (y dy)^2, and the sum
 * over the gradient in the same way. Of the curvature (H^2) two steps, H and H / 2, take out all
 * but a term in H^4, a small part of what they differ by. An error of `gradient` itself is in both
 * steps alike and widens nothing. */
static void check_together(struct trial *t, const char *what, float *values, const float *gradient,
                           size_t count)
{
    static const double SPREAD = 48 * 0x1p-24, REST = 0.05;
    float *kept = guarded_floats(count), *signs = guarded_floats(count);
    double squares = 0.0, magnitude = 0.0;
    memcpy(kept, values, count * sizeof *kept);
    for (size_t i = 0; i < IMAGES * shape_size(t->node->out); i++)
        squares += pow((double)t->y[i] * (double)t->dy[i], 2);
    for (size_t i = 0; i < count; i++)
        magnitude += pow((double)gradient[i], 2);
    for (uint32_t direction = 0; direction < DIRECTIONS; direction++) {
        fill_random(signs, count, 41u + direction);
        for (size_t i = 0; i < count; i++)
            signs[i] = signs[i] < 0.0f ? -1.0f : 1.0f;
        double whole = excess(t, values, kept, signs, gradient, count, H);
        double half = excess(t, values, kept, signs, gradient, count, H / 2.0);
        double error = (4.0 * half - whole) / 3.0;
        double allowed = SPREAD * (sqrt(squares) / H + sqrt(magnitude)) + REST * fabs(half - whole);
        memcpy(values, kept, count * sizeof *kept);
        cr_assert(fabs(error) <= allowed,
                  "%s (%s, %s): %s, all together: backward is off by %.3g, more than %.3g",
                  t->node->name, t->node->type->name, t->kernels->isa, what, error, allowed);
    }
    guarded_free(kept);
    guarded_free(signs);
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
    for (size_t i = 0; node->type->monotone && i < IMAGES * shape_size(node->in); i += 4)
        t->x[0][i] = 8.0f * (t->x[0][i] - (float)GRID / 2) + (float)GRID / 2;
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
    check_together(t, what, t->x[input], before, count);
    guarded_free(before);
}

static void check_parameter(struct trial *t, const struct parameter *parameter)
{
    float *values = t->model->parameters + parameter->offset;
    const float *gradient = t->gradients + parameter->offset;
    check(t, parameter->suffix, values, gradient, parameter->count);
    check_together(t, parameter->suffix, values, gradient, parameter->count);
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
        if (node->parameters[i].trainable && !node->frozen)
            check_parameter(&t, &node->parameters[i]);
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

/* Keys that change nothing in what forward and backward compute from given parameters. */
static const struct exception {
    const char *type, *key, *why;
} exceptions[] = {
    {"conv", "init", "says which weights there are at first; the checks set their own"},
    {"dense", "init", "as conv's"},
    {"prelu", "init", "as conv's"},
    {"batchnorm", "momentum", "goes into the running statistics alone, which evaluation takes"},
};

static bool is_exception(const struct node_type *type, const struct key *key)
{
    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++)
        if (strcmp(exceptions[i].type, type->name) == 0 &&
            strcmp(exceptions[i].key, key->name) == 0)
            return true;
    return false;
}

/* The settings that an example's keys make. */
static void *read_settings(const struct node_type *type, const struct node_example *example)
{
    char text[2048];
    struct colonnade_error error;
    struct config *config;
    void *settings = calloc(1, type->settings_size);
    cr_assert_not_null(settings);
    snprintf(text, sizeof text, "[node]\n%s\n", example->keys);
    cr_assert_eq(config_parse(&config, "example", text, &error), COLONNADE_OK, "%s", error.message);
    cr_assert_eq(config_read(config, config_section(config, "node"), "node", type->keys,
                             type->key_count, NULL, settings, &error),
                 COLONNADE_OK, "%s", error.message);
    config_destroy(config);
    return settings;
}

/* Which of a key's cases a value is: a choice, a kind of padding, false or true; of numbers, the
 * default or another (any, where there is none); of pairs, equal ones or not; of units, the word or
 * a number. */
static int case_of(const struct key *key, const void *settings)
{
    const void *field = (const char *)settings + key->offset;
    switch (key->kind) {
    case KEY_CHOICE:
        return *(const int *)field;
    case KEY_PADDING:
        return (int)((const struct padding *)field)->kind;
    case KEY_BOOLEAN:
        return *(const bool *)field;
    case KEY_PAIR: {
        const struct pair *pair = field;
        return pair->h != pair->w;
    }
    case KEY_INTEGER:
        return !key->fallback || *(const int *)field != atoi(key->fallback);
    case KEY_NUMBER:
        return !key->fallback || *(const double *)field != strtod(key->fallback, NULL);
    case KEY_UNITS:
        return *(const int *)field >= 0;
    default:
        cr_assert_fail("%s: a kind of key that this test does not know", key->name);
        return 0;
    }
}

static int cases_of(const struct key *key)
{
    int choices = 2;
    if (key->kind == KEY_PADDING)
        choices = PADDING_EXPLICIT + 1;
    for (int i = 0; key->kind == KEY_CHOICE && key->choices[i]; i++)
        choices = i + 1;
    return choices;
}

static void check_key(const struct node_type *type, const struct key *key)
{
    bool seen[32] = {false};
    bool number = key->kind == KEY_INTEGER || key->kind == KEY_NUMBER;
    for (const struct node_example *e = type->examples; e && e->keys; e++) {
        void *settings = read_settings(type, e);
        seen[case_of(key, settings)] = true;
        free(settings);
    }
    for (int i = number ? 1 : 0; i < cases_of(key); i++) /* a default needs no example */
        cr_expect(seen[i],
                  "%s: no example has %s in case %d (see case_of): nothing checks its gradient",
                  type->name, key->name, i);
}

Test(nodes, examples_take_every_key_that_changes_arithmetic_off_its_default)
{
    for (size_t i = 0; node_types[i]; i++)
        for (size_t k = 0; k < node_types[i]->key_count; k++)
            if (!is_exception(node_types[i], &node_types[i]->keys[k]))
                check_key(node_types[i], &node_types[i]->keys[k]);
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
                for (int n = 0; n < graph->count; n++) {
                    if (graph->nodes[n].owner != declared)
                        continue;
                    check_node(graph, &graph->nodes[n], tables[k]);
                    if (node_types[i]->forward_reduce) {
                        graph->nodes[n].frozen = true;
                        check_node(graph, &graph->nodes[n], tables[k]);
                    }
                }
                graph_destroy(graph);
            }
}

/* A gradient check cannot see that: another function has another derivative. */
Test(nodes, a_fused_activation_is_the_row_of_its_name)
{
    static const char *const names[] = {"relu", "relu6", "leaky_relu", "elu",      "sigmoid",
                                        "tanh", "gelu",  "silu",       "hardswish"};
    const struct node_example vector = {{16, 1, 1}, "", 1};
    const struct kernels *kernels = kernels_best();
    float x[16], fused[16], alone[16];
    fill_random(x, 16, 3);
    for (int i = 0; i < 16; i++)
        x[i] *= 8.0f;
    for (size_t a = 0; a < sizeof names / sizeof *names; a++) {
        char keys[64];
        snprintf(keys, sizeof keys, "units = 16\nbias = false\nactivation = %s", names[a]);
        const struct node_example with_activation = {vector.in, keys, 1};
        struct graph *graph = make_graph(node_type_find("dense"), &with_activation);
        struct graph *row = make_graph(node_type_find(names[a]), &vector);
        const struct node *epilogue = &graph->nodes[graph_find(graph, "node") + 1];
        const struct node *node = &row->nodes[graph_find(row, "node")];
        cr_assert_str_eq(epilogue->type->name, "epilogue");
        struct tile tile = {.kernels = kernels, .n = 1, .x = {x}, .y = fused};
        epilogue->type->forward(epilogue, &tile);
        tile.y = alone;
        node->type->forward(node, &tile);
        cr_expect_arr_eq(fused, alone, sizeof alone, "%s", names[a]);
        if (strcmp(names[a], "tanh") == 0)
            for (int i = 0; i < 16; i++)
                cr_expect_float_eq(alone[i], tanhf(x[i]), 1e-6f);
        graph_destroy(graph);
        graph_destroy(row);
    }
}

/* Frozen and in evaluation alike; forward and backward share what a gradient check cannot see. */
Test(nodes, batchnorm_by_running_statistics_is_its_formula)
{
    enum { CHANNELS = 3, PIXELS = 4, SIZE = CHANNELS * PIXELS };
    const struct node_example example = {{CHANNELS, 2, 2}, "eps = 0.5", 1};
    struct graph *graph = make_graph(node_type_find("batchnorm"), &example);
    struct node *node = &graph->nodes[graph_find(graph, "node")];
    float *parameters = guarded_floats(graph->parameter_length), x[SIZE], y[SIZE];
    float *buffers = guarded_floats(graph->buffer_length), scratch[64];
    double want[SIZE];
    fill_random(parameters, graph->parameter_length, 1);
    fill_random(buffers, graph->buffer_length, 2);
    fill_random(x, SIZE, 3);
    const float *weight = parameters + node->parameters[0].offset;
    const float *bias = parameters + node->parameters[1].offset;
    const float *mean = buffers + node->parameters[2].offset;
    float *variance = buffers + node->parameters[3].offset;
    for (int c = 0; c < CHANNELS; c++)
        variance[c] = fabsf(variance[c]);
    for (int i = 0; i < SIZE; i++) {
        int c = i / PIXELS; /* of few channels, planes */
        want[i] =
            ((double)x[i] - (double)mean[c]) / sqrt((double)variance[c] + 0.5) * (double)weight[c] +
            (double)bias[c];
    }
    for (int frozen = 0; frozen < 2; frozen++) {
        node->frozen = frozen;
        struct tile tile = {.kernels = kernels_best(),
                            .n = 1,
                            .training = frozen,
                            .x = {x},
                            .y = y,
                            .parameters = parameters,
                            .buffers = buffers,
                            .scratch = scratch};
        node->type->forward(node, &tile);
        assert_close("y", y, want, SIZE, 8 * 0x1p-24, 8 * 0x1p-24); /* a few roundings */
    }
    guarded_free(parameters);
    guarded_free(buffers);
    graph_destroy(graph);
}

/* What the loss's row says of a mini-batch of logits [IMAGES, CLASSES]: the mean. Leaves the
 * gradient in `gradient`. */
static double cross_entropy(const struct kernels *kernels, const float *logits, float smoothing,
                            float *gradient)
{
    static const int32_t labels[IMAGES] = {2, 0, 2};
    extern const struct node_type node_loss;
    const struct node node = {.type = &node_loss, .in = {CLASSES, 1, 1}, .out = {CLASSES, 1, 1}};
    const struct batch batch = {.n = IMAGES, .labels = labels};
    double losses[IMAGES], sum = 0.0;
    int32_t ranks[IMAGES];
    for (int first = 0; first < IMAGES; first += FIRST_TILE) {
        struct tile tile = {.kernels = kernels,
                            .first = first,
                            .n = first == 0 ? FIRST_TILE : IMAGES - FIRST_TILE,
                            .x = {logits + first * CLASSES},
                            .y = gradient + first * CLASSES,
                            .batch = &batch,
                            .label_smoothing = smoothing,
                            .loss = losses + first,
                            .rank = ranks + first};
        node_loss.forward(&node, &tile);
    }
    for (int i = 0; i < IMAGES; i++)
        sum += losses[i];
    return sum / IMAGES;
}

/* The loss is in double but for each logit's exponential: its difference quotient is off by less
 * than 1e-7 / H, and by H^2. */
Test(nodes, the_loss_leaves_its_own_derivative)
{
    static const float smoothings[] = {0.0f, 0.1f, 1.0f};
    const struct kernels *tables[3];
    size_t table_count = all_kernels(tables);
    float logits[IMAGES * CLASSES], gradient[IMAGES * CLASSES], unused[IMAGES * CLASSES];
    fill_random(logits, IMAGES * CLASSES, 7);
    for (size_t k = 0; k < 3 * table_count; k++) {
        const struct kernels *kernels = tables[k / 3];
        float smoothing = smoothings[k % 3];
        cross_entropy(kernels, logits, smoothing, gradient);
        for (int i = 0; i < IMAGES * CLASSES; i++) {
            float kept = logits[i], up = kept + (float)H, down = kept - (float)H;
            logits[i] = up;
            double above = cross_entropy(kernels, logits, smoothing, unused);
            logits[i] = down;
            double below = cross_entropy(kernels, logits, smoothing, unused);
            logits[i] = kept;
            double want = (above - below) / ((double)up - (double)down);
            cr_assert(fabs((double)gradient[i] - want) <= 1e-4,
                      "%s, smoothing %g: [%d] is %.6g, the difference quotient %.6g", kernels->isa,
                      (double)smoothing, i, (double)gradient[i], want);
        }
    }
}
