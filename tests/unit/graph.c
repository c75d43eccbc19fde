/* Graphs from configs: shapes as the slides and TensorFlow's padding rule have them, edges in any
 * order, and a diagnostic with its line for every mistake. */
#include "engine/graph/graph.h"
#include "kernels/convolution.h"
#include "tests/unit/layers.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct shape image = {3, 32, 32};

static struct graph *graph_of(struct shape in, int classes, const char *text)
{
    struct colonnade_error error = {0};
    struct config *config;
    struct graph *graph;
    cr_assert_eq(config_parse(&config, "net.ini", text, &error), 0, "%s", error.message);
    cr_assert_eq(graph_create(&graph, config, in, classes, &error), 0, "%s", error.message);
    config_destroy(config);
    return graph;
}

static void check_mistake(const char *text, const char *message)
{
    struct colonnade_error error = {0};
    struct config *config;
    struct graph *graph;
    cr_assert_eq(config_parse(&config, "net.ini", text, &error), 0, "%s", error.message);
    enum colonnade_status status = graph_create(&graph, config, image, 10, &error);
    cr_expect_eq(status, COLONNADE_USAGE, "%s", text);
    cr_expect_null(graph);
    cr_expect_str_eq(error.message, message);
    config_destroy(config);
}

/* One conv or pooling on `in` pixels a side, then a dense node to end on. */
static struct node window_node(int in, const char *keys)
{
    char text[512];
    snprintf(text, sizeof text, "[w]\n%s\n[out]\ntype = dense\nunits = 2\n", keys);
    struct graph *graph = graph_of((struct shape){3, in, in}, 2, text);
    struct node node = graph->nodes[graph_find(graph, "w")];
    graph_destroy(graph);
    return node;
}

Test(graph, slides_valid_padding_shrinks_the_image)
{
    struct node node = window_node(32, "type = conv\nfilters = 1\nkernel = 3");
    cr_expect_eq(node.out.h, 30);
    cr_expect_eq(node.out.w, 30);
}

Test(graph, slides_same_padding_keeps_the_size_at_stride_1)
{
    for (int kernel = 1; kernel <= 7; kernel++) {
        char keys[128];
        snprintf(keys, sizeof keys, "type = conv\nfilters = 1\nkernel = %d\npadding = same",
                 kernel);
        struct node node = window_node(32, keys);
        cr_expect_eq(node.out.h, 32, "kernel %d", kernel);
        cr_expect_eq(node.out.w, 32, "kernel %d", kernel);
    }
}

Test(graph, slides_stride_divides_the_size)
{
    for (int stride = 1; stride <= 4; stride++) {
        char keys[128];
        snprintf(keys, sizeof keys,
                 "type = conv\nfilters = 1\nkernel = 3\npadding = same\nstride = %d", stride);
        cr_expect_eq(window_node(32, keys).out.h, (32 + stride - 1) / stride, "stride %d", stride);
    }
}

Test(graph, slides_f_filters_give_f_maps)
{
    for (int filters = 1; filters <= 64; filters *= 4) {
        char keys[128];
        snprintf(keys, sizeof keys, "type = conv\nfilters = %d\nkernel = 3", filters);
        cr_expect_eq(window_node(32, keys).out.c, filters);
    }
}

/* TensorFlow's rule: in, kernel, stride, dilation -> before, after. */
Test(graph, same_padding_is_tensorflows_also_with_stride)
{
    static const int cases[][6] = {
        {32, 3, 2, 1, 0, 1}, {224, 7, 2, 1, 2, 3}, {32, 5, 2, 1, 1, 2}, {32, 11, 4, 1, 3, 4},
        {32, 2, 1, 1, 0, 1}, {33, 3, 2, 1, 1, 1},  {32, 3, 2, 2, 1, 2}, {32, 1, 2, 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int *c = cases[i];
        for (int lower = 0; lower < 2; lower++) {
            char keys[160];
            snprintf(keys, sizeof keys,
                     "type = conv\nfilters = 1\nkernel = %d\nstride = %d\ndilation = %d\n"
                     "padding = %s",
                     c[1], c[2], c[3], lower ? "same_lower" : "same");
            struct node node = window_node(c[0], keys);
            int before = lower ? c[5] : c[4], after = lower ? c[4] : c[5];
            cr_expect_eq(node.padding[0], before, "case %zu", i);
            cr_expect_eq(node.padding[1], before, "case %zu", i);
            cr_expect_eq(node.padding[2], after, "case %zu", i);
            cr_expect_eq(node.padding[3], after, "case %zu", i);
            cr_expect_eq(node.out.h, (c[0] + c[2] - 1) / c[2], "case %zu", i);
        }
    }
}

Test(graph, explicit_padding_counts_on_all_sides)
{
    struct node node = window_node(
        8, "type = conv\nfilters = 1\nkernel = 3x2\npadding = 1, 0, 2, 3\nstride = 2x1");
    cr_expect_eq(node.out.h, (8 + 1 + 2 - 3) / 2 + 1);
    cr_expect_eq(node.out.w, 8 + 0 + 3 - 2 + 1);
}

Test(graph, ceil_lets_a_last_window_hang_over_but_not_begin_outside)
{
    cr_expect_eq(window_node(7, "type = maxpool\nkernel = 2\nceil = true").out.h, 4);
    cr_expect_eq(window_node(7, "type = maxpool\nkernel = 2").out.h, 3);
    cr_expect_eq(window_node(4, "type = maxpool\nkernel = 1\nstride = 4\nceil = true").out.h, 1);
}

Test(graph, nodes_may_be_written_in_any_order)
{
    struct graph *graph = graph_of(image, 10,
                                   "[sum]\ntype = add\ninputs = a, b\n"
                                   "[a]\ntype = conv\nfilters = 4\nkernel = 1\ninputs = input\n"
                                   "[b]\ntype = conv\nfilters = 4\nkernel = 1\ninputs = a\n"
                                   "[fc]\ntype = dense\nunits = classes\ninputs = sum\n");
    for (int i = 0; i < graph->count; i++)
        for (int j = 0; j < graph->nodes[i].input_count; j++)
            cr_expect_lt(graph->nodes[i].inputs[j], i);
    cr_expect_eq(graph->nodes[graph->output].out.c, 10);
    graph_destroy(graph);
}

/* [conv] on 11x11, what stands in `more`, and a dense node to end on: what of [conv] is made. */
static struct shape made_of_conv(const char *kernel, const char *more)
{
    char text[512];
    snprintf(text, sizeof text,
             "[conv]\ntype = conv\nfilters = 4\nkernel = %s\n%s\n[out]\ntype = dense\nunits = 2\n",
             kernel, more);
    struct graph *graph = graph_of((struct shape){3, 13, 12}, 2, text);
    const struct node *node = &graph->nodes[graph_find(graph, "conv")];
    const int kernel_size = atoi(kernel);
    cr_expect_eq(node->declared.h, 14 - kernel_size);
    cr_expect_eq(node->declared.w, 13 - kernel_size);
    cr_expect_eq(node->macs,
                 (uint64_t)(12 * kernel_size * kernel_size * shape_pixels(node->declared)));
    const struct shape made = node->out;
    graph_destroy(graph);
    return made;
}

Test(graph, what_no_pooling_reaches_is_not_made)
{
    struct shape made = made_of_conv("3", "[p]\ntype = maxpool\nkernel = 2");
    cr_expect(made.h == 10 && made.w == 10, "%dx%d", made.h, made.w);
    made = made_of_conv("3", "activation = gelu\n[p]\ntype = avgpool\nkernel = 4x3");
    cr_expect(made.h == 8 && made.w == 9, "%dx%d", made.h, made.w);
    made = made_of_conv("3", "[p]\ntype = maxpool\nkernel = 2\nstride = 3\npadding = 1, 0, 0, 0");
    cr_expect(made.h == 10 && made.w == 8, "%dx%d", made.h, made.w);
}

/* 13x12 by 3x3 is 11x10, pooled 5x5, by 2x2 4x4, of which 3x3 is pooled: of 4x4 of 8x8. */
Test(graph, what_is_made_only_for_what_no_pooling_reaches_is_not_made)
{
    static const char more[] = "activation = %s\n[p]\ntype = %s\nkernel = 2\n"
                               "[c]\ntype = conv\nfilters = 3\nkernel = 2\n%s\n"
                               "[q]\ntype = maxpool\nkernel = 3";
    char text[256];
    snprintf(text, sizeof text, more, "relu", "maxpool", "activation = relu");
    struct shape made = made_of_conv("3", text);
    cr_expect(made.h == 8 && made.w == 8, "%dx%d", made.h, made.w);
    snprintf(text, sizeof text, more, "gelu", "avgpool", "groups = 1");
    made = made_of_conv("3", text);
    cr_expect(made.h == 8 && made.w == 8, "%dx%d", made.h, made.w);
    snprintf(text, sizeof text, more, "relu", "maxpool", "padding = 1"); /* 6x6 of 5x5 */
    made = made_of_conv("3", text);
    cr_expect(made.h == 10 && made.w == 10, "%dx%d", made.h, made.w);
    made = made_of_conv("3", "[c]\ntype = conv\nfilters = 3\nkernel = 2\nstride = 4x3");
    cr_expect(made.h == 10 && made.w == 8, "%dx%d", made.h, made.w);
}

Test(graph, what_anything_reaches_is_made)
{
    static const char two_readers[] =
        "[p]\ntype = avgpool\nkernel = 2\n[o]\ntype = dense\nunits = 2\n"
        "[all]\ntype = dense\nunits = 2\ninputs = conv\n[s]\ntype = add\ninputs = o, all";
    static const char *const nodes[] = {
        "[p]\ntype = maxpool\nkernel = 2\nceil = true",
        "[p]\ntype = maxpool\nkernel = 2\npadding = same",
        "[b]\ntype = batchnorm\n[p]\ntype = avgpool\nkernel = 2",
        two_readers,
    };
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        struct shape made = made_of_conv("3", nodes[i]);
        cr_expect(made.h == 11 && made.w == 10, "%s: %dx%d", nodes[i], made.h, made.w);
    }
}

/* Its columns are its input, pixel by pixel. */
Test(graph, a_pointwise_convolution_is_made_whole)
{
    struct graph *graph =
        graph_of((struct shape){3, 13, 12}, 2,
                 "[stem]\ntype = conv\nfilters = 16\nkernel = 3\n"
                 "[conv]\ntype = conv\nfilters = 4\nkernel = 1\n"
                 "[p]\ntype = maxpool\nkernel = 2\n[out]\ntype = dense\nunits = 2\n");
    const struct node *node = &graph->nodes[graph_find(graph, "conv")];
    cr_expect(node->out.h == 11 && node->out.w == 10, "%dx%d", node->out.h, node->out.w);
    graph_destroy(graph);
}

Test(graph, parameters_and_multiply_adds_of_lenet5_are_the_books)
{
    struct graph *graph = graph_of((struct shape){1, 28, 28}, 10,
                                   "[conv1]\ntype = conv\nfilters = 6\nkernel = 5\npadding = 2\n"
                                   "[pool1]\ntype = maxpool\nkernel = 2\n"
                                   "[conv2]\ntype = conv\nfilters = 16\nkernel = 5\n"
                                   "[pool2]\ntype = maxpool\nkernel = 2\n"
                                   "[fc1]\ntype = dense\nunits = 120\n"
                                   "[fc2]\ntype = dense\nunits = 84\n"
                                   "[fc3]\ntype = dense\nunits = 10\n");
    cr_expect_eq(graph->parameters, 61706);
    cr_expect_eq(graph->macs, 416520);
    graph_destroy(graph);
}

static struct graph *graph_of_model(const char *model, int *batch)
{
    struct colonnade_error error = {0};
    struct config *config;
    struct graph *graph;
    char path[512], shape[32];
    snprintf(path, sizeof path, SOURCE_ROOT "/configs/bench/%s.ini", model);
    cr_assert_eq(config_load(&config, path, &error), 0, "%s", error.message);
    const struct section *data = config_section(config, "data");
    snprintf(shape, sizeof shape, "%s", config_entry(data, "shape")->value);
    struct shape in;
    cr_assert_eq(sscanf(shape, "%dx%dx%d", &in.c, &in.h, &in.w), 3);
    *batch = atoi(config_entry(config_section(config, "train"), "batch")->value);
    const int classes = atoi(config_entry(data, "classes")->value);
    cr_assert_eq(graph_create(&graph, config, in, classes, &error), 0, "%s", error.message);
    config_destroy(config);
    return graph;
}

/* The node as a row of the list would have it; false: the list leaves out nodes of its type. */
static bool layer_of(const struct node *node, int batch, struct layer *layer)
{
    static const char *const kinds[] = {"conv",      "maxpool", "globalavgpool", "dense",
                                        "batchnorm", "relu",    "epilogue",      "add"};
    const int inputs = node->in.c * node->in.h * node->in.w;
    int kind = 0;
    while (kind <= LAYER_ADD && strcmp(node->type->name, kinds[kind]) != 0)
        kind++;
    *layer =
        (struct layer){.kind = (enum layer_kind)kind, .batch = batch, .layout = node->in_layout};
    if (kind == LAYER_CONV)
        layer->window = ((const struct convolution *)node->lowered)->window;
    else if (kind == LAYER_MAXPOOL || kind == LAYER_GLOBALAVGPOOL)
        layer->window = *(const struct window *)node->lowered;
    else
        layer->window = (struct window){
            node->in.c, node->in.h, node->in.w, node->out.c, node->out.h, node->out.w, 1, 1, 1,
            1,          1,          1,          0,           0,           0,           0, 1};
    if (kind == LAYER_DENSE)
        layer->window.ic = inputs, layer->window.ih = layer->window.iw = 1;
    return kind <= LAYER_ADD;
}

static bool same_window(struct window a, struct window b)
{
    return a.ic == b.ic && a.ih == b.ih && a.iw == b.iw && a.oc == b.oc && a.oh == b.oh &&
           a.ow == b.ow && a.kh == b.kh && a.kw == b.kw && a.sh == b.sh && a.sw == b.sw &&
           a.pt == b.pt && a.pl == b.pl;
}

/* What kernels are tested and timed over is what the models are made of: each layer stands in the
 * list, once, and the list has no others. Bias alone, after the last layer, is left out. */
Test(graph, the_list_of_layers_is_that_of_the_five_models)
{
    static const char *const models[] = {"lenet5", "typical", "vgg-cifar", "resnet18-cifar",
                                         "resnet18"};
    bool found[256] = {false};
    cr_assert_leq(layer_count, sizeof found / sizeof *found);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        int batch;
        struct graph *graph = graph_of_model(models[m], &batch);
        for (int i = 0; i < graph->count; i++) {
            struct layer layer;
            size_t rows = 0;
            if (!layer_of(&graph->nodes[i], batch, &layer) ||
                (layer.kind == LAYER_EPILOGUE && layer.window.oc == graph->classes))
                continue;
            for (size_t l = 0; l < layer_count; l++)
                if (layers[l].kind == layer.kind && layers[l].batch == batch &&
                    layers[l].layout == layer.layout &&
                    same_window(layers[l].window, layer.window)) {
                    found[l] = true;
                    rows++;
                }
            cr_expect_eq(rows, 1, "%s, %s: %zu rows", models[m], graph->nodes[i].name, rows);
        }
        graph_destroy(graph);
    }
    for (size_t l = 0; l < layer_count; l++)
        cr_expect(found[l], "%s, %s", layers[l].model, layers[l].name);
}

Test(graph, an_unknown_type_names_the_nearest)
{
    struct colonnade_error error = {0};
    struct config *config;
    struct graph *graph;
    config_parse(&config, "net.ini", "[c]\ntype = cnov\n", &error);
    cr_expect_eq(graph_create(&graph, config, image, 10, &error), COLONNADE_USAGE);
    cr_expect(strstr(error.message, "net.ini:2: [c] unknown type 'cnov'; did you mean 'conv'?"),
              "%s", error.message);
    config_destroy(config);
}

Test(graph, a_node_without_a_type_is_a_mistake)
{
    check_mistake("[c]\n", "net.ini:1: [c] has no type: a node needs one, such as type = conv");
}

Test(graph, a_mistyped_section_names_the_one_that_is_meant)
{
    check_mistake("[trian]\nepochs = 3\n",
                  "net.ini:1: [trian] has no type: a node needs one, such as type = conv; or did "
                  "you mean [train]?");
}

Test(graph, an_unknown_input_names_the_nearest)
{
    check_mistake("[conv1]\ntype = conv\nfilters = 2\nkernel = 3\n"
                  "[fc]\ntype = dense\nunits = 10\ninputs = conf1\n",
                  "net.ini:8: [fc] inputs: there is no node 'conf1'; did you mean 'conv1'?");
}

Test(graph, a_cycle_is_told_with_its_path)
{
    check_mistake("[a]\ntype = add\ninputs = input, b\n[b]\ntype = relu\ninputs = a\n"
                  "[fc]\ntype = dense\nunits = 10\ninputs = b\n",
                  "net.ini:6: the graph has a cycle: b <- a <- b");
}

Test(graph, a_node_that_nothing_uses_is_a_mistake)
{
    check_mistake("[a]\ntype = relu\n[b]\ntype = tanh\ninputs = input\n"
                  "[fc]\ntype = dense\nunits = 10\n",
                  "net.ini:1: [a] is used by no other node, and the output is [fc], the last one");
}

Test(graph, the_output_must_have_as_many_numbers_as_classes)
{
    check_mistake("[fc]\ntype = dense\nunits = 12\n",
                  "net.ini:3: the last node [fc] gives 12 numbers an image, the data has 10 "
                  "classes: they must be equal (units = classes makes them so)");
}

Test(graph, joins_of_unequal_shapes_show_both)
{
    check_mistake("[a]\ntype = conv\nfilters = 2\nkernel = 3\n[b]\ntype = add\ninputs = a, input\n"
                  "[fc]\ntype = dense\nunits = 10\n",
                  "net.ini:7: [b] add needs inputs of equal shape: a has 2x30x30, input has "
                  "3x32x32");
}

Test(graph, a_kernel_larger_than_its_input_shows_both)
{
    check_mistake("[c]\ntype = conv\nfilters = 2\nkernel = 35\npadding = 1\n"
                  "[fc]\ntype = dense\nunits = 10\n",
                  "net.ini:4: [c] a kernel that covers 35x35 does not fit into its input of 32x32 "
                  "with padding 1,1,1,1 (it must be no larger than 34x34)");
}

Test(graph, groups_must_divide)
{
    check_mistake("[c]\ntype = conv\nfilters = 4\nkernel = 3\ngroups = 2\n"
                  "[fc]\ntype = dense\nunits = 10\n",
                  "net.ini:5: [c] groups = 2 must divide the input's 3 channels and filters = 4");
}

Test(graph, pooling_padding_must_be_smaller_than_the_kernel)
{
    check_mistake("[p]\ntype = maxpool\nkernel = 2\npadding = 2\n"
                  "[fc]\ntype = dense\nunits = 10\n",
                  "net.ini:4: [p] padding 2,2,2,2 is too wide for a kernel of 2x2: some windows "
                  "would see padding alone (it must be smaller than the kernel)");
}

/* --- initial weights --- */

/* The weights of node `name`, in row-major order; the caller frees them. */
static float *drawn_weights(const struct graph *graph, const char *name)
{
    struct colonnade_error error = {0};
    struct model *model;
    const struct parameter *weight = graph->nodes[graph_find(graph, name)].parameters;
    float *values = malloc(weight->count * sizeof *values);
    cr_assert_eq(model_create(&model, graph, 3, &error), COLONNADE_OK, "%s", error.message);
    parameter_export(weight, model->parameters, values);
    model_destroy(model);
    return values;
}

/* 6 channels to 10 filters in 2 groups: 3 of a group's 5 filters pass a channel on. Of 192 filters,
 * whose weights may lie in slices, the first 10 do. */
Test(graph, dirac_passes_inputs_on_and_draws_what_is_left)
{
    struct graph *graph = graph_of((struct shape){6, 9, 9}, 4,
                                   "[c]\ntype = conv\nfilters = 10\ngroups = 2\nkernel = 3x4\n"
                                   "init = dirac\n[e]\ntype = conv\nfilters = 192\nkernel = 1\n"
                                   "init = dirac\n[mean]\ntype = globalavgpool\n"
                                   "[d]\ntype = dense\nunits = 4\ninit = dirac\n");
    const float bound = 1 / 6.0f; /* 36 inputs of a filter */
    float *conv = drawn_weights(graph, "c"), *dense = drawn_weights(graph, "d");
    float *pointwise = drawn_weights(graph, "e");
    for (int i = 0; i < 10 * 36; i++) {
        const int filter = i / 36 % 5, channel = i / 12 % 3, row = i / 4 % 3, column = i % 4;
        if (filter < 3)
            cr_expect_eq(conv[i], channel == filter && row == 1 && column == 2 ? 1 : 0, "%d", i);
        else
            cr_expect(conv[i] != 0 && conv[i] >= -bound && conv[i] <= bound, "%d: %g", i,
                      (double)conv[i]);
    }
    for (int i = 0; i < 192 * 10; i++)
        cr_expect(i < 100 ? pointwise[i] == (i / 10 == i % 10) : pointwise[i] != 0, "%d: %g", i,
                  (double)pointwise[i]);
    for (int i = 0; i < 4 * 192; i++)
        cr_expect_eq(dense[i], i / 192 == i % 192 ? 1 : 0, "%d", i);
    free(conv);
    free(pointwise);
    free(dense);
    graph_destroy(graph);
}
