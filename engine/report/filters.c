/* The filters of the first convolution as pictures: in colour where they see three channels, else
 * a grey picture a channel, side by side. Middle grey is 0, one scale holds for all of them.
 */
#include "engine/report/html.h"
#include "engine/report/image.h"
#include "engine/report/sections.h"

#include "engine/base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FILTERS_SHOWN = 256, CHANNELS_SHOWN = 64 };

/* Weights [oc, ic, kh, kw]. */
struct filters {
    const struct node *node;
    const struct parameter *weight;
    const float *values;
    float greatest; /* absolute */
};

static bool find_filters(const struct graph *graph, struct filters *filters)
{
    for (int i = 0; i < graph->count; i++)
        for (int p = 0; p < graph->nodes[i].parameter_count; p++) {
            const struct parameter *parameter = &graph->nodes[i].parameters[p];
            if (parameter->rank == 4 && strcmp(parameter->suffix, "weight") == 0) {
                *filters = (struct filters){&graph->nodes[i], parameter, NULL, 0};
                return true;
            }
        }
    return false;
}

static unsigned char level(const struct filters *filters, float weight)
{
    if (!(filters->greatest > 0) || !isfinite(weight))
        return 128;
    return (unsigned char)lround(127.5 + 127.5 * (double)(weight / filters->greatest));
}

/* pixels [kh, kw, 4] from values [3, kh, kw] */
static void paint_colour(const struct filters *filters, const float *values, unsigned char *pixels)
{
    size_t area = (size_t)filters->weight->dims[2] * (size_t)filters->weight->dims[3];
    for (size_t i = 0; i < area; i++) {
        for (size_t c = 0; c < 3; c++)
            pixels[4 * i + c] = level(filters, values[c * area + i]);
        pixels[4 * i + 3] = 255;
    }
}

/* pixels [kh, channels * (kw + 1) - 1, 4] from values [channels, kh, kw]: a clear column lies
 * between two channels. */
static void paint_grey(const struct filters *filters, int channels, const float *values,
                       unsigned char *pixels)
{
    int kh = filters->weight->dims[2], kw = filters->weight->dims[3];
    for (int y = 0; y < kh; y++)
        for (int c = 0; c < channels; c++)
            for (int x = 0; x < kw; x++) {
                unsigned char grey = level(filters, values[(c * kh + y) * kw + x]);
                unsigned char *pixel =
                    pixels + 4 * (y * (channels * (kw + 1) - 1) + c * (kw + 1) + x);
                memset(pixel, grey, 3);
                pixel[3] = 255;
            }
}

static enum colonnade_status write_filter(FILE *page, const struct filters *filters, int index,
                                          struct colonnade_error *error)
{
    enum colonnade_status status;
    const int *dims = filters->weight->dims;
    bool colour = dims[1] == 3;
    int channels = colour ? 1 : dims[1] < CHANNELS_SHOWN ? dims[1] : CHANNELS_SHOWN;
    int width = channels * (dims[3] + 1) - 1;
    const float *values =
        filters->values + (size_t)index * (size_t)dims[1] * (size_t)dims[2] * (size_t)dims[3];
    unsigned char *pixels = NULL;
    TRY(memory_allocate(&pixels, (size_t)width * (size_t)dims[2], 4, "a filter's picture", error));
    if (colour)
        paint_colour(filters, values, pixels);
    else
        paint_grey(filters, channels, values, pixels);
    fprintf(page,
            "<li><img class=\"pixels\" alt=\"filter %d\" title=\"filter %d\" "
            "style=\"--columns:%d;--rows:%d\" src=\"",
            index, index, width, dims[2]);
    TRY(image_uri(page, pixels, width, dims[2], 4, error));
    fputs("\"></li>\n", page);
out:
    free(pixels);
    return status;
}

static void write_note(FILE *page, const struct filters *filters)
{
    const int *dims = filters->weight->dims;
    fputs("<p class=\"note\">", page);
    html_text(page, filters->node->name);
    fprintf(page, ": %d filter%s of %d×%d×%d. ", dims[0], plural(dims[0]), dims[1], dims[2],
            dims[3]);
    if (dims[0] > FILTERS_SHOWN)
        fprintf(page, "The first %d are shown. ", FILTERS_SHOWN);
    if (dims[1] > CHANNELS_SHOWN)
        fprintf(page, "Of the channels the first %d are shown. ", CHANNELS_SHOWN);
    fprintf(page, "Middle grey is 0; dark is -%.3g, bright is %.3g%s.</p>\n",
            (double)filters->greatest, (double)filters->greatest,
            dims[1] == 3 ? " (red, green, blue: the three channels)" : "");
}

enum colonnade_status section_filters(FILE *page, const struct run *run,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct filters filters;
    float *values = NULL;
    if (!find_filters(run->graph, &filters)) {
        fputs("<p class=\"note\">The network has no convolution.</p>\n", page);
        return COLONNADE_OK;
    }
    TRY(memory_allocate(&values, filters.weight->count, sizeof *values, "filters", error));
    parameter_export(filters.weight, run_weights(run)->parameters, values);
    filters.values = values;
    for (size_t i = 0; i < filters.weight->count; i++)
        if (isfinite(values[i]))
            filters.greatest = fmaxf(filters.greatest, fabsf(values[i]));
    write_note(page, &filters);
    fputs("<ul class=\"filters\">\n", page);
    for (int i = 0; i < filters.weight->dims[0] && i < FILTERS_SHOWN; i++)
        TRY(write_filter(page, &filters, i, error));
    fputs("</ul>\n", page);
out:
    free(values);
    return status;
}
