/* The network's table: a row for the input and one for each node that the user wrote. What the
 * graph made for a node (its bias, its activation) is counted with it.
 */
#include "engine/report/network.h"

#include "engine/report/html.h"
#include "engine/report/sections.h"

#include <string.h>

struct cost network_cost(const struct run *run, int declared)
{
    const struct graph *graph = run->graph;
    struct cost cost = {.bytes = shape_size(graph->nodes[declared].declared) * sizeof(float)};
    for (int i = 0; i < graph->count; i++) {
        const struct node *node = &graph->nodes[i];
        if (node->owner != declared)
            continue;
        cost.macs += node->macs;
        for (int p = 0; p < node->parameter_count; p++)
            if (node->parameters[p].trainable)
                cost.parameters += node->parameters[p].count;
    }
    if (run->profile) {
        const struct node_time *time = &run->profile->nodes[declared];
        cost.forward_ms = profile_milliseconds(run->profile, time->forward.seconds);
        cost.backward_ms = profile_milliseconds(run->profile, time->backward.seconds);
    }
    return cost;
}

struct cost network_total(const struct run *run)
{
    struct cost sum = network_cost(run, 0);
    for (int i = 0; i < run->graph->declared_count; i++) {
        const struct cost cost = network_cost(run, run->graph->declared[i]);
        sum.parameters += cost.parameters;
        sum.macs += cost.macs;
        sum.bytes += cost.bytes;
        sum.forward_ms += cost.forward_ms;
        sum.backward_ms += cost.backward_ms;
    }
    return sum;
}

double network_share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

/* The keys of the node's section as the user wrote them. */
static void write_keys(FILE *page, const struct run *run, const struct node *node)
{
    fputs("<td class=\"text keys\">", page);
    for (size_t s = 0; s < run->config->count; s++) {
        const struct section *section = &run->config->sections[s];
        if (strcmp(section->name, node->name) != 0)
            continue;
        const char *separator = "";
        for (size_t i = 0; i < section->count; i++) {
            const struct entry *entry = &section->entries[i];
            if (strcmp(entry->key, "type") == 0 || strcmp(entry->key, "inputs") == 0)
                continue;
            fputs(separator, page);
            html_text(page, entry->key);
            fputs(" <b>", page);
            html_text(page, entry->value);
            fputs("</b>", page);
            separator = ", ";
        }
    }
    fputs("</td>", page);
}

static void write_inputs(FILE *page, const struct graph *graph, const struct node *node)
{
    fputs("<td class=\"text\">", page);
    for (int i = 0; i < node->input_count; i++) {
        fputs(i ? ", " : "", page);
        html_text(page, graph->nodes[node->written[i]].name);
    }
    fputs("</td>", page);
}

static void write_time(FILE *page, const struct run *run, double ms, const struct cost *all)
{
    if (run->profile)
        html_cell_share(page, ms, html_number,
                        network_share(ms, all->forward_ms + all->backward_ms));
}

static void write_node(FILE *page, const struct run *run, int index, const struct cost *all)
{
    const struct graph *graph = run->graph;
    const struct node *node = &graph->nodes[index];
    const int *padding = node->padding;
    const struct cost cost = network_cost(run, index);
    fputs("<tr><th scope=\"row\">", page);
    html_text(page, node->name);
    fputs("</th><td class=\"text\">", page);
    html_text(page, index == 0 ? "data" : node->type->name);
    fputs("</td>", page);
    write_inputs(page, graph, node);
    write_keys(page, run, node);
    fprintf(page, "<td>%d×%d×%d</td><td>%d,%d,%d,%d</td>", node->declared.c, node->declared.h,
            node->declared.w, padding[0], padding[1], padding[2], padding[3]);
    html_cell_count_share(page, cost.parameters,
                          network_share((double)cost.parameters, (double)all->parameters));
    html_cell_count_share(page, cost.macs, network_share((double)cost.macs, (double)all->macs));
    html_cell_count(page, cost.bytes);
    write_time(page, run, cost.forward_ms, all);
    write_time(page, run, cost.backward_ms, all);
    fputs("</tr>\n", page);
}

static void write_total(FILE *page, const struct run *run, const struct cost *all)
{
    fputs("</tbody>\n<tfoot><tr><th scope=\"row\" colspan=\"6\">total</th>", page);
    html_cell_count(page, all->parameters);
    html_cell_count(page, all->macs);
    html_cell_count(page, all->bytes);
    if (run->profile) {
        html_cell(page, all->forward_ms, html_number);
        html_cell(page, all->backward_ms, html_number);
    }
    fputs("</tr></tfoot>\n", page);
}

static void write_note(FILE *page, const struct run *run)
{
    fputs("<p class=\"note\">Shapes are channels × height × width, padding is top, left, bottom, "
          "right; multiply-adds and bytes of output are those of one image. ",
          page);
    if (run->profile)
        fprintf(page,
                "Milliseconds are those of a training step of up to %d image%s, the mean of %ld "
                "step%s on %d thread%s.</p>\n",
                run->settings.batch, plural(run->settings.batch), run->profile->steps,
                plural(run->profile->steps), run->profile->threads, plural(run->profile->threads));
    else
        fputs("A run of <code>train --profile</code> shows the time of each node too.</p>\n", page);
}

enum colonnade_status section_network(FILE *page, const struct run *run,
                                      struct colonnade_error *error)
{
    const struct graph *graph = run->graph;
    const struct cost all = network_total(run);
    html_table_begin(page, "Network", "numbers network");
    fputs("<thead><tr><th scope=\"col\">node</th><th scope=\"col\">type</th>"
          "<th scope=\"col\">input</th><th scope=\"col\">settings</th>"
          "<th scope=\"col\">shape</th><th scope=\"col\">padding</th>"
          "<th scope=\"col\">parameters</th><th scope=\"col\">multiply-adds</th>"
          "<th scope=\"col\">bytes</th>",
          page);
    if (run->profile)
        fputs("<th scope=\"col\">forward, ms</th><th scope=\"col\">backward, ms</th>", page);
    fputs("</tr></thead>\n<tbody>\n", page);
    write_node(page, run, 0, &all);
    for (int i = 0; i < graph->declared_count; i++)
        write_node(page, run, graph->declared[i], &all);
    write_total(page, run, &all);
    html_table_end(page);
    write_note(page, run);
    return COLONNADE_OK;
}
