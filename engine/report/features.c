/* What each node makes of a few test images: a table with a row a node and a column an image. The
 * maps are computed here, from the weights and samples of the run file.
 */
#include "engine/report/html.h"
#include "engine/report/image.h"
#include "engine/report/looks.h"
#include "engine/report/sections.h"

#include "engine/base/memory.h"
#include "engine/plan/trace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKS = 3, NODES_SHOWN = 20, MAPS_SHOWN = 16, MAPS_A_ROW = 8, SIDE = 32, UNITS_A_ROW = 32 };

/* A picture of the maps of one node: cells of columns x rows pixels, each the mean of a square of
 * `square` pixels of the map, with clear lines between. */
struct mosaic {
    int maps, across, down;
    int columns, rows, square, gap;
};

static struct mosaic mosaic_of(struct shape shape)
{
    const int longer = shape.h > shape.w ? shape.h : shape.w;
    const bool vector = longer == 1;
    struct mosaic mosaic = {.square = (longer + SIDE - 1) / SIDE, .gap = !vector};
    const int most = vector ? UNITS_A_ROW * MAPS_SHOWN : MAPS_SHOWN;
    const int a_row = vector ? UNITS_A_ROW : MAPS_A_ROW;
    mosaic.maps = shape.c < most ? shape.c : most;
    mosaic.across = mosaic.maps < a_row ? mosaic.maps : a_row;
    mosaic.down = (mosaic.maps + mosaic.across - 1) / mosaic.across;
    mosaic.columns = (shape.w + mosaic.square - 1) / mosaic.square;
    mosaic.rows = (shape.h + mosaic.square - 1) / mosaic.square;
    return mosaic;
}

static int mosaic_width(const struct mosaic *mosaic)
{
    return mosaic->across * (mosaic->columns + mosaic->gap) - mosaic->gap;
}

static int mosaic_height(const struct mosaic *mosaic)
{
    return mosaic->down * (mosaic->rows + mosaic->gap) - mosaic->gap;
}

static double mean_of_square(const float *map, struct shape shape, int x, int y, int square)
{
    double sum = 0;
    int count = 0;
    for (int j = y; j < y + square && j < shape.h; j++)
        for (int i = x; i < x + square && i < shape.w; i++, count++)
            sum += (double)map[j * shape.w + i];
    return sum / count;
}

/* From 0 for the least to 255 for the greatest; what is all the same is black. */
static unsigned char level(double value, double least, double greatest)
{
    if (!(greatest > least) || !isfinite(value))
        return 0;
    return (unsigned char)lround(fmin(fmax(255 * (value - least) / (greatest - least), 0), 255));
}

static void paint(const struct mosaic *mosaic, struct shape shape, const float *maps,
                  unsigned char *pixels)
{
    double least = INFINITY, greatest = -INFINITY;
    for (int i = 0; i < mosaic->maps * shape_pixels(shape); i++) {
        least = fmin(least, (double)maps[i]);
        greatest = fmax(greatest, (double)maps[i]);
    }
    for (int c = 0; c < mosaic->maps; c++)
        for (int y = 0; y < mosaic->rows; y++)
            for (int x = 0; x < mosaic->columns; x++) {
                const float *map = maps + (size_t)c * (size_t)shape_pixels(shape);
                const double value = mean_of_square(map, shape, x * mosaic->square,
                                                    y * mosaic->square, mosaic->square);
                const int column = c % mosaic->across * (mosaic->columns + mosaic->gap) + x;
                const int row = c / mosaic->across * (mosaic->rows + mosaic->gap) + y;
                unsigned char *pixel = pixels + 4 * (row * mosaic_width(mosaic) + column);
                memset(pixel, level(value, least, greatest), 3);
                pixel[3] = 255;
            }
}

static enum colonnade_status write_maps(FILE *page, const struct node *node, int look,
                                        const float *maps, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct mosaic mosaic = mosaic_of(node->declared);
    const int width = mosaic_width(&mosaic), height = mosaic_height(&mosaic);
    unsigned char *pixels = NULL;
    TRY(memory_allocate(&pixels, (size_t)width * (size_t)height, 4, "a picture", error));
    paint(&mosaic, node->declared, maps, pixels);
    fprintf(page, "<td><img class=\"pixels\" alt=\"maps of image %d, ", look);
    html_text(page, node->name);
    fprintf(page, "\" style=\"--columns:%d;--rows:%d\" src=\"", width, height);
    TRY(image_uri(page, pixels, width, height, 4, error));
    fputs("\"></td>", page);
out:
    free(pixels);
    return status;
}

/* Worth a row: the input stands above, and some types pass on what they get. */
static bool is_shown(const struct node *node)
{
    return strcmp(node->type->name, "dropout") != 0 && strcmp(node->type->name, "flatten") != 0;
}

/* Evenly among those worth it, the last always. Returns how many. */
static int choose_nodes(const struct graph *graph, int chosen[NODES_SHOWN], int *worth)
{
    int count = 0, at = 0;
    *worth = 0;
    for (int i = 0; i < graph->declared_count; i++)
        *worth += is_shown(&graph->nodes[graph->declared[i]]);
    const int shown = *worth < NODES_SHOWN ? *worth : NODES_SHOWN;
    for (int i = 0; i < graph->declared_count && count < shown; i++)
        if (is_shown(&graph->nodes[graph->declared[i]])) {
            const int wanted = shown > 1 ? (int)((long)count * (*worth - 1) / (shown - 1)) : 0;
            if (at++ == wanted)
                chosen[count++] = graph->declared[i];
        }
    return count;
}

static enum colonnade_status write_head(FILE *page, const struct run *run,
                                        const struct looks *looks, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct shape shape = run->data.shape;
    fputs("<thead><tr><th scope=\"col\">node</th>", page);
    for (size_t i = 0; i < looks->n; i++) {
        fprintf(page,
                "<th scope=\"col\"><img class=\"pixels\" alt=\"look %zu\" "
                "style=\"--columns:%d;--rows:%d\" src=\"",
                i, shape.w, shape.h);
        TRY(image_small_uri(page, looks->items[i].pixels, shape.w, shape.h, shape.c, error));
        fputs("\">", page);
        look_write_name(page, run, &looks->items[i]);
        fputs("</th>", page);
    }
    fputs("</tr></thead>\n<tbody>\n", page);
out:
    return status;
}

static enum colonnade_status write_table(FILE *page, const struct run *run,
                                         const struct looks *looks, const struct trace *traces,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    int chosen[NODES_SHOWN], worth;
    const int count = choose_nodes(run->graph, chosen, &worth);
    if (count < worth)
        fprintf(page, "<p class=\"note\">%d of %d nodes are shown.</p>\n", count, worth);
    html_table_begin(page, "Feature maps", "numbers features");
    TRY(write_head(page, run, looks, error));
    for (int i = 0; i < count; i++) {
        const struct node *node = &run->graph->nodes[chosen[i]];
        fputs("<tr><th scope=\"row\">", page);
        html_text(page, node->name);
        fprintf(page, "<br><small>%d×%d×%d", node->declared.c, node->declared.h, node->declared.w);
        if (mosaic_of(node->declared).maps < node->declared.c)
            fprintf(page, ", the first %d", mosaic_of(node->declared).maps);
        fputs("</small></th>", page);
        for (size_t look = 0; look < looks->n; look++)
            TRY(write_maps(page, node, (int)look, traces[look].outputs[chosen[i]], error));
        fputs("</tr>\n", page);
    }
    fputs("</tbody>\n", page);
    html_table_end(page);
out:
    return status;
}

enum colonnade_status section_features(FILE *page, const struct run *run,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct looks looks = {0};
    struct trace traces[LOOKS] = {{0}};
    if (run->golden.n == 0) {
        fputs("<p class=\"note\">The run file holds no test images yet.</p>\n", page);
        goto out;
    }
    TRY(looks_init(&looks, run, LOOKS, 0, error));
    for (size_t i = 0; i < looks.n; i++)
        TRY(trace_init(&traces[i], run_weights(run), looks.items[i].values, error));
    fputs("<p class=\"note\">What each node gives for the first test images, bias and activation "
          "included: of a picture's values the least is black and the greatest white.</p>\n",
          page);
    TRY(write_table(page, run, &looks, traces, error));
out:
    for (int i = 0; i < LOOKS; i++)
        trace_finish(&traces[i]);
    looks_finish(&looks);
    return status;
}
