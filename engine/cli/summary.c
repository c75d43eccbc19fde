/* colonnade summary: a network in numbers, one row a node that the user wrote. */
#include "engine/cli/cli.h"

#include "engine/store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What nodes of the graph's own making add goes to the node that they were made for. */
struct row {
    const struct node *node;
    uint64_t parameters, macs;
    size_t bytes; /* of its output, an image */
};

static struct row row_of(const struct graph *graph, int declared)
{
    struct row row = {.node = &graph->nodes[declared]};
    row.bytes = shape_size(row.node->declared) * sizeof(float);
    for (int i = 0; i < graph->count; i++) {
        const struct node *node = &graph->nodes[i];
        if (node->owner != declared)
            continue;
        row.macs += node->macs;
        for (int p = 0; p < node->parameter_count; p++)
            if (node->parameters[p].trainable)
                row.parameters += node->parameters[p].count;
    }
    return row;
}

static struct json_object *row_json(const struct row *row)
{
    const struct node *node = row->node;
    struct json_object *object = json_object_new_object();
    struct json_object *shape = json_object_new_array(), *padding = json_object_new_array();
    json_object_array_add(shape, json_object_new_int(node->declared.c));
    json_object_array_add(shape, json_object_new_int(node->declared.h));
    json_object_array_add(shape, json_object_new_int(node->declared.w));
    for (int i = 0; i < 4; i++)
        json_object_array_add(padding, json_object_new_int(node->padding[i]));
    json_add(object, "name", json_object_new_string(node->name));
    json_add(object, "type", json_object_new_string(node->type->name));
    json_add(object, "shape", shape);
    json_add(object, "padding", padding);
    json_add(object, "parameters", json_object_new_int64((int64_t)row->parameters));
    json_add(object, "macs", json_object_new_int64((int64_t)row->macs));
    json_add(object, "bytes", json_object_new_int64((int64_t)row->bytes));
    return object;
}

static enum colonnade_status print_as_json(const struct graph *graph, size_t bytes,
                                           struct colonnade_error *error)
{
    struct json_object *object = json_object_new_object(), *nodes = json_object_new_array();
    for (int i = 0; i < graph->declared_count; i++) {
        struct row row = row_of(graph, graph->declared[i]);
        json_object_array_add(nodes, row_json(&row));
    }
    json_add(object, "nodes", nodes);
    json_add(object, "parameters", json_object_new_int64((int64_t)graph->parameters));
    json_add(object, "macs", json_object_new_int64((int64_t)graph->macs));
    json_add(object, "train_bytes", json_object_new_int64((int64_t)bytes));
    return output_json(object, error);
}

static void print_row(const struct row *row, int width)
{
    const struct node *node = row->node;
    char padding[64];
    snprintf(padding, sizeof padding, "%d,%d,%d,%d", node->padding[0], node->padding[1],
             node->padding[2], node->padding[3]);
    printf("%-*s  %-13s  %-12s  %-9s  %12s  %15s  %10s\n", width, node->name, node->type->name,
           shape_text(node->declared), padding, count_text(row->parameters), count_text(row->macs),
           bytes_text((double)row->bytes));
}

static enum colonnade_status print_for_people(const struct graph *graph,
                                              const struct settings *settings, int threads,
                                              size_t bytes, struct colonnade_error *error)
{
    size_t width = strlen("node");
    for (int i = 0; i < graph->declared_count; i++) {
        size_t length = strlen(graph->nodes[graph->declared[i]].name);
        width = length > width ? length : width;
    }
    printf("input %s, %d classes; multiply-adds and bytes of the output are of one image\n\n",
           shape_text(graph->nodes[0].out), graph->classes);
    printf("%-*s  %-13s  %-12s  %-9s  %12s  %15s  %10s\n", (int)width, "node", "type", "output",
           "t,l,b,r", "parameters", "multiply-adds", "bytes");
    for (int i = 0; i < graph->declared_count; i++) {
        struct row row = row_of(graph, graph->declared[i]);
        print_row(&row, (int)width);
    }
    printf("\n%s parameters, %s multiply-adds an image\n", count_text(graph->parameters),
           count_text(graph->macs));
    printf("training with mini-batches of %d on %d thread%s takes %s beside the data\n",
           settings->batch, threads, plural(threads), bytes_text((double)bytes));
    return output_flush(error);
}

/* The graph that a run file's config makes, overrides applied; the data may be gone. */
static enum colonnade_status graph_of_run(struct graph **graph, struct config **config,
                                          const char *path, const struct options *options,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = NULL;
    struct graph *made = NULL;
    struct settings settings;
    char *text = NULL;
    TRY(run_load(&run, path, error));
    TRY(config_print(run->config, &text, error));
    TRY(config_parse(config, path, text, error));
    for (size_t i = 0; i < options->set_count; i++) {
        if (strncmp(options->sets[i], "data.", 5) == 0)
            RAISE(COLONNADE_USAGE, "colonnade summary: --set %s: a run file's data are given",
                  options->sets[i]);
        TRY(config_override(*config, options->sets[i], error));
    }
    config_section(*config, "data");
    TRY(settings_read(&settings, *config, error));
    TRY(graph_create(&made, *config, run->data.shape, run->data.classes, error));
    TRY(graph_freeze(made, *config, &settings.freeze, error));
    *graph = made;
    made = NULL;
out:
    graph_destroy(made);
    free(text);
    run_destroy(run);
    return status;
}

enum colonnade_status verb_summary(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char *path = options->operands[0];
    struct config *config = NULL;
    struct graph *graph = NULL;
    struct settings settings;
    size_t bytes;
    if (file_is_hdf5(path)) {
        TRY(graph_of_run(&graph, &config, path, options, error));
        TRY(settings_read(&settings, config, error));
        TRY(config_check_all_read(config, error));
    } else {
        TRY(experiment_config(&config, path, options, error));
        TRY(settings_read(&settings, config, error));
        TRY(experiment_graph(&graph, config, error));
    }
    const int threads = experiment_threads(options, &settings);
    TRY(experiment_bytes(graph, &settings, threads, &bytes, error));
    TRY(options->json ? print_as_json(graph, bytes, error)
                      : print_for_people(graph, &settings, threads, bytes, error));
out:
    graph_destroy(graph);
    config_destroy(config);
    return status;
}
