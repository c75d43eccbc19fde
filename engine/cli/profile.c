/* A profile as a table and as JSON: a row a node, forward and backward, milliseconds a step. */
#include "engine/cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { CELL_BYTES = 16 };

static double milliseconds(const struct profile *profile, double seconds)
{
    return profile_milliseconds(profile, seconds);
}

static void add_pass(struct json_object *object, const struct profile *profile,
                     const struct pass_time *pass, const char *const keys[3])
{
    json_add(object, keys[0], json_number(milliseconds(profile, pass->seconds)));
    json_add(object, keys[1], json_number(milliseconds(profile, pass->im2col)));
    json_add(object, keys[2], json_number(milliseconds(profile, pass->sgemm)));
}

static struct json_object *node_json(const struct profile *profile, const char *name,
                                     const struct node_time *time)
{
    static const char *const forward[] = {"forward_ms", "forward_im2col_ms", "forward_sgemm_ms"};
    static const char *const backward[] = {"backward_ms", "backward_im2col_ms",
                                           "backward_sgemm_ms"};
    struct json_object *object = json_object_new_object();
    json_add(object, "name", json_object_new_string(name));
    add_pass(object, profile, &time->forward, forward);
    add_pass(object, profile, &time->backward, backward);
    return object;
}

void profile_add_json(struct json_object *object, const struct profile *profile,
                      const struct graph *graph)
{
    struct json_object *nodes = json_object_new_array();
    json_object_array_add(nodes, node_json(profile, graph->nodes[0].name, &profile->nodes[0]));
    for (int i = 0; i < graph->declared_count; i++) {
        const int node = graph->declared[i];
        json_object_array_add(nodes,
                              node_json(profile, graph->nodes[node].name, &profile->nodes[node]));
    }
    json_add(object, "loss_ms", json_number(milliseconds(profile, profile->loss_seconds)));
    json_add(object, "optimizer_ms",
             json_number(milliseconds(profile, profile->optimizer_seconds * profile->threads)));
    json_add(object, "waiting_ms", json_number(profile_waiting_milliseconds(profile, graph)));
    json_add(object, "nodes", nodes);
}

struct table {
    const struct profile *profile;
    int width;     /* of the names */
    double all_ms; /* what the percentages are of */
};

/* What was not done at all is a blank. */
static void cell(char text[CELL_BYTES], double value)
{
    text[0] = '\0';
    if (value > 0)
        snprintf(text, CELL_BYTES, "%.3f", value);
}

static void print_row(const struct table *table, const char *name, const char *type,
                      const double parts[6], double all)
{
    char cells[6][CELL_BYTES];
    for (int i = 0; i < 6; i++)
        cell(cells[i], parts[i]);
    printf("%-*s  %-13s  %9s %9s %9s  %9s %9s %9s  %9.3f  %5.1f\n", table->width, name, type,
           cells[0], cells[1], cells[2], cells[3], cells[4], cells[5], all,
           table->all_ms > 0 ? 100 * all / table->all_ms : 0);
}

static void print_time(const struct table *table, const char *name, const char *type,
                       const struct node_time *time)
{
    const struct pass_time *passes[] = {&time->forward, &time->backward};
    double parts[6], all = 0;
    for (int i = 0; i < 2; i++) {
        double *part = parts + 3 * i;
        part[0] = milliseconds(table->profile, passes[i]->im2col);
        part[1] = milliseconds(table->profile, passes[i]->sgemm);
        part[2] = milliseconds(table->profile, passes[i]->seconds) - part[0] - part[1];
        all += part[0] + part[1] + part[2];
    }
    print_row(table, name, type, parts, all);
}

static void print_single(const struct table *table, const char *name, const char *type,
                         double value)
{
    print_row(table, name, type, (const double[6]){0}, value);
}

void profile_print(const struct profile *profile, const struct graph *graph, const char *optimizer)
{
    struct table table = {.profile = profile, .width = (int)strlen("optimizer")};
    const double updates = profile->optimizer_seconds * profile->threads;
    const struct node_time loss = {.forward.seconds = profile->loss_seconds};
    struct node_time sum = loss;
    table.all_ms = milliseconds(profile, profile->seconds * profile->threads);
    for (int i = 0; i < graph->count; i++) {
        const int length = (int)strlen(graph->nodes[i].name);
        if (graph->nodes[i].owner == i && length > table.width)
            table.width = length;
        node_time_add(&sum, &profile->nodes[i]);
    }
    printf("Milliseconds a step, over %s step%s: what all threads spend on a node, divided among "
           "them\n",
           count_text((uint64_t)profile->steps), plural((uint64_t)profile->steps));
    printf("%*s  %13s  %29s  %29s\n", table.width, "", "", "---------- forward ----------",
           "---------- backward ---------");
    printf("%-*s  %-13s  %9s %9s %9s  %9s %9s %9s  %9s  %5s\n", table.width, "node", "type",
           "im2col", "sgemm", "rest", "im2col", "sgemm", "rest", "all", "%");
    print_time(&table, graph->nodes[0].name, graph->nodes[0].type->name, &profile->nodes[0]);
    for (int i = 0; i < graph->declared_count; i++) {
        const struct node *node = &graph->nodes[graph->declared[i]];
        print_time(&table, node->name, node->type->name, &profile->nodes[graph->declared[i]]);
    }
    if (optimizer) {
        print_time(&table, "loss", "cross-entropy", &loss);
        print_single(&table, "optimizer", optimizer, milliseconds(profile, updates));
    }
    print_single(&table, "waiting", "", profile_waiting_milliseconds(profile, graph));
    print_time(&table, "all nodes", "", &sum);
    print_single(&table, "step", "", table.all_ms);
}
