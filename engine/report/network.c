/* The network's table: a row for the input and one for each node that the user wrote. What the
 * graph made for a node (its bias, its activation) is counted with it.
 */
#include "engine/report/html.h"
#include "engine/report/sections.h"

#include <string.h>

/* The sums of a declared node and of those made for it. */
struct cost {
    uint64_t parameters, macs;
};

static struct cost cost_of(const struct graph *graph, int declared)
{
    struct cost cost = {0};
    for (int i = 0; i < graph->count; i++) {
        const struct node *node = &graph->nodes[i];
        if (node->owner != declared)
            continue;
        cost.macs += node->macs;
        for (int p = 0; p < node->parameter_count; p++)
            if (node->parameters[p].trainable)
                cost.parameters += node->parameters[p].count;
    }
    return cost;
}

static uint64_t activation_bytes(const struct node *node)
{
    return shape_size(node->declared) * sizeof(float);
}

static double share_of(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
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

static void write_node(FILE *page, const struct run *run, int index)
{
    const struct graph *graph = run->graph;
    const struct node *node = &graph->nodes[index];
    const int *padding = node->padding;
    struct cost cost = cost_of(graph, index);
    fputs("<tr><th scope=\"row\">", page);
    html_text(page, node->name);
    fputs("</th><td class=\"text\">", page);
    html_text(page, index == 0 ? "data" : node->type->name);
    fputs("</td>", page);
    write_inputs(page, graph, node);
    write_keys(page, run, node);
    fprintf(page, "<td>%d×%d×%d</td><td>%d,%d,%d,%d</td>", node->declared.c, node->declared.h,
            node->declared.w, padding[0], padding[1], padding[2], padding[3]);
    html_cell_count_share(page, cost.parameters, share_of(cost.parameters, graph->parameters));
    html_cell_count_share(page, cost.macs, share_of(cost.macs, graph->macs));
    html_cell_count(page, activation_bytes(node));
    fputs("</tr>\n", page);
}

enum colonnade_status section_network(FILE *page, const struct run *run,
                                      struct colonnade_error *error)
{
    const struct graph *graph = run->graph;
    uint64_t bytes = activation_bytes(&graph->nodes[0]);
    html_table_begin(page, "Network", "numbers network");
    fputs("<thead><tr><th scope=\"col\">node</th><th scope=\"col\">type</th>"
          "<th scope=\"col\">input</th><th scope=\"col\">settings</th>"
          "<th scope=\"col\">shape</th><th scope=\"col\">padding</th>"
          "<th scope=\"col\">parameters</th><th scope=\"col\">multiply-adds</th>"
          "<th scope=\"col\">bytes</th></tr></thead>\n<tbody>\n",
          page);
    write_node(page, run, 0);
    for (int i = 0; i < graph->declared_count; i++)
        if (graph->declared[i] != 0) {
            write_node(page, run, graph->declared[i]);
            bytes += activation_bytes(&graph->nodes[graph->declared[i]]);
        }
    fputs("</tbody>\n<tfoot><tr><th scope=\"row\" colspan=\"6\">total</th>", page);
    html_cell_count(page, graph->parameters);
    html_cell_count(page, graph->macs);
    html_cell_count(page, bytes);
    fputs("</tr></tfoot>\n", page);
    html_table_end(page);
    fputs("<p class=\"note\">Shapes are channels × height × width, padding is top, left, bottom, "
          "right; multiply-adds and bytes of output are those of one image.</p>\n",
          page);
    return COLONNADE_OK;
}
