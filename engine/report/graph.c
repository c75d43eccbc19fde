/* The network drawn: a row a node, in the order of the config, each with its shape and with bars
 * for what it costs. An edge to the next row is a line, any other runs down a lane of its own on
 * the left. The same numbers stand in the table below.
 */
#include "engine/report/html.h"
#include "engine/report/network.h"
#include "engine/report/sections.h"

#include "engine/base/memory.h"

#include <stdlib.h>
#include <string.h>

/* Pixels. */
enum { ROW = 46, BOX = 34, HEAD = 26, NAME = 170, SHAPE = 100, BAR = 112, LANES = 132, LANE = 12 };

/* Rows `from` and `to`, of which the upper one is row `top`. */
struct edge {
    int from, to, top, bottom, lane;
};

struct drawing {
    const struct run *run;
    const int *nodes;   /* [rows] of the graph */
    int rows, *row_of;  /* [graph->count] */
    struct edge *edges; /* those that are not to the next row */
    int edge_count, lanes, left;
    struct cost most; /* of a node, each for itself; forward_ms: forward and backward together */
};

static int compare_edges(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    return x->top != y->top ? x->top - y->top : x->bottom - y->bottom;
}

static void find_most(struct drawing *drawing)
{
    struct cost *most = &drawing->most;
    for (int row = 0; row < drawing->rows; row++) {
        const struct cost cost = network_cost(drawing->run, drawing->nodes[row]);
        const double ms = cost.forward_ms + cost.backward_ms;
        most->parameters = cost.parameters > most->parameters ? cost.parameters : most->parameters;
        most->macs = cost.macs > most->macs ? cost.macs : most->macs;
        most->bytes = cost.bytes > most->bytes ? cost.bytes : most->bytes;
        most->forward_ms = ms > most->forward_ms ? ms : most->forward_ms;
    }
}

/* Each edge gets the first lane that is free where it begins. `free_from` [edge_count]: the row at
 * which a lane's last edge ends. */
static void choose_lanes(struct drawing *drawing, int *free_from)
{
    qsort(drawing->edges, (size_t)drawing->edge_count, sizeof *drawing->edges, compare_edges);
    for (int i = 0; i < drawing->edge_count; i++) {
        struct edge *edge = &drawing->edges[i];
        while (edge->lane < drawing->lanes && free_from[edge->lane] > edge->top)
            edge->lane++;
        if (edge->lane == drawing->lanes)
            drawing->lanes++;
        free_from[edge->lane] = edge->bottom;
    }
}

static void find_edges(struct drawing *drawing)
{
    const struct graph *graph = drawing->run->graph;
    for (int row = 0; row < drawing->rows; row++) {
        const struct node *node = &graph->nodes[drawing->nodes[row]];
        for (int i = 0; i < node->input_count; i++) {
            const int from = drawing->row_of[node->written[i]];
            if (from + 1 != row)
                drawing->edges[drawing->edge_count++] =
                    (struct edge){from, row, from < row ? from : row, from < row ? row : from, 0};
        }
    }
}

static int lane_x(const struct drawing *drawing, int lane)
{
    const int step = drawing->lanes * LANE > LANES ? LANES / drawing->lanes : LANE;
    return drawing->left - 10 - (lane + 1) * (step > 3 ? step : 3);
}

static int row_y(int row)
{
    return HEAD + row * ROW;
}

/* Down the lane from below the middle of one box to above that of the other. */
static void write_edge(FILE *page, const struct drawing *drawing, const struct edge *edge)
{
    const int x = lane_x(drawing, edge->lane), way = edge->from < edge->to ? 4 : -4;
    const int from = row_y(edge->from) + BOX / 2 + way, to = row_y(edge->to) + BOX / 2 - way;
    fprintf(page, "<path class=\"skip-edge\" d=\"M%d %dH%dQ%d %d %d %dV%dQ%d %d %d %dH%d\"/>",
            drawing->left, from, x + 4, x, from, x, from + way, to - way, x, to, x + 4, to,
            drawing->left - 5);
    fprintf(page, "<path class=\"tip\" d=\"M%d %dl-6 -4v8z\"/>\n", drawing->left, to);
}

static bool feeds_next(const struct drawing *drawing, int row)
{
    const struct graph *graph = drawing->run->graph;
    const struct node *next = &graph->nodes[drawing->nodes[row + 1]];
    for (int i = 0; i < next->input_count; i++)
        if (drawing->row_of[next->written[i]] == row)
            return true;
    return false;
}

static void write_bar(FILE *page, int x, int y, const char *what, double number, double share,
                      html_format *format)
{
    fprintf(page, "<rect class=\"share %s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"18\"/>", what,
            x, y + 8, share * (BAR - 8));
    fprintf(page, "<text x=\"%d\" y=\"%d\" data-what=\"%s\" data-value=\"%.9g\">", x + 4, y + 21,
            what, number);
    format(page, number);
    fputs("</text>", page);
}

static void html_whole(FILE *page, double number)
{
    html_count(page, (uint64_t)number);
}

static void write_row(FILE *page, const struct drawing *drawing, int row)
{
    const struct run *run = drawing->run;
    const struct node *node = &run->graph->nodes[drawing->nodes[row]];
    const struct cost cost = network_cost(run, drawing->nodes[row]);
    const struct cost *most = &drawing->most;
    const int x = drawing->left, y = row_y(row), shape = x + NAME + 10;
    fprintf(page, "<g class=\"node\"><title>");
    html_text(page, node->name);
    fprintf(page,
            "</title><rect class=\"box\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"5\"/>"
            "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\">"
            "<text class=\"name\" x=\"8\" y=\"15\">",
            x, y, NAME, BOX, x, y, NAME - 6, BOX);
    html_text(page, node->name);
    fputs("</text><text class=\"type\" x=\"8\" y=\"28\">", page);
    html_text(page, row == 0 ? "data" : node->type->name);
    fprintf(page, "</text></svg><text x=\"%d\" y=\"%d\">%d×%d×%d</text>", shape, y + 21,
            node->declared.c, node->declared.h, node->declared.w);
    const int at = shape + SHAPE;
    write_bar(page, at, y, "parameters", (double)cost.parameters,
              network_share((double)cost.parameters, (double)most->parameters), html_whole);
    write_bar(page, at + BAR, y, "macs", (double)cost.macs,
              network_share((double)cost.macs, (double)most->macs), html_whole);
    write_bar(page, at + 2 * BAR, y, "bytes", (double)cost.bytes,
              network_share((double)cost.bytes, (double)most->bytes), html_whole);
    if (run->profile)
        write_bar(page, at + 3 * BAR, y, "time", cost.forward_ms + cost.backward_ms,
                  network_share(cost.forward_ms + cost.backward_ms, most->forward_ms), html_number);
    fputs("</g>\n", page);
    if (row + 1 < drawing->rows && feeds_next(drawing, row))
        fprintf(
            page,
            "<path class=\"edge\" d=\"M%d %dV%d\"/><path class=\"tip\" d=\"M%d %dl-4 -6h8z\"/>\n",
            x + NAME / 2, y + BOX, y + ROW - 5, x + NAME / 2, y + ROW);
}

static void write_heads(FILE *page, const struct drawing *drawing)
{
    static const char *const heads[] = {"parameters", "multiply-adds", "bytes an image",
                                        "ms a step"};
    const int first = drawing->left + NAME + 10;
    fprintf(page, "<text class=\"head\" x=\"%d\" y=\"14\">shape</text>", first);
    for (int i = 0; i < (drawing->run->profile ? 4 : 3); i++)
        fprintf(page, "<text class=\"head\" x=\"%d\" y=\"14\">%s</text>",
                first + SHAPE + i * BAR + 4, heads[i]);
    fputs("\n", page);
}

static void draw(FILE *page, struct drawing *drawing)
{
    const int spacing = drawing->lanes * LANE > LANES ? LANES / drawing->lanes : LANE;
    drawing->left = 14 + drawing->lanes * (spacing > 3 ? spacing : 3);
    const int bars = drawing->run->profile ? 4 : 3;
    const int width = drawing->left + NAME + 10 + SHAPE + bars * BAR;
    const int height = row_y(drawing->rows);
    fprintf(page,
            "<div class=\"scroll graph\" tabindex=\"0\" role=\"region\" aria-label=\"Graph\">\n"
            "<svg width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"The "
            "graph of %d nodes, from the input at the top; its numbers stand in the table "
            "below\">\n",
            width, height, width, height, drawing->rows);
    write_heads(page, drawing);
    for (int i = 0; i < drawing->edge_count; i++)
        write_edge(page, drawing, &drawing->edges[i]);
    for (int row = 0; row < drawing->rows; row++)
        write_row(page, drawing, row);
    fputs("</svg>\n</div>\n", page);
}

enum colonnade_status section_graph(FILE *page, const struct run *run,
                                    struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct graph *graph = run->graph;
    struct drawing drawing = {.run = run, .rows = graph->declared_count + 1};
    const size_t rows = (size_t)drawing.rows;
    int *nodes = NULL, *free_from = NULL;
    size_t edges = 0;
    for (int i = 0; i < graph->count; i++)
        edges += (size_t)graph->nodes[i].input_count;
    TRY(memory_allocate(&nodes, rows, sizeof *nodes, "a drawing", error));
    TRY(memory_allocate(&drawing.row_of, (size_t)graph->count, sizeof(int), "a drawing", error));
    TRY(memory_allocate(&drawing.edges, edges, sizeof *drawing.edges, "a drawing", error));
    TRY(memory_allocate(&free_from, edges, sizeof *free_from, "a drawing", error));
    for (int row = 1; row < drawing.rows; row++) {
        nodes[row] = graph->declared[row - 1];
        drawing.row_of[nodes[row]] = row;
    }
    drawing.nodes = nodes;
    find_most(&drawing);
    find_edges(&drawing);
    choose_lanes(&drawing, free_from);
    draw(page, &drawing);
out:
    free(nodes);
    free(free_from);
    free(drawing.row_of);
    free(drawing.edges);
    return status;
}
