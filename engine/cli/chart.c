/* Curves as text: points joined by lines on a canvas of dots, of which a character holds two by
 * four (Braille, U+2800) or, in ASCII, one. Knows nothing of what the numbers mean.
 */
#include "engine/cli/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SCALE_WIDTH = 8 };

static const char marks[] = "*o+x";
static const char *const colours[] = {"\033[36m", "\033[33m", "\033[35m", "\033[32m"};
enum { CURVE_LOOKS = sizeof colours / sizeof *colours };

struct cell {
    unsigned char dots; /* bits as in U+2800 */
    unsigned char look; /* of the curve drawn last */
};

struct canvas {
    const struct chart_style *style;
    struct cell *cells; /* [rows, columns] */
    long across, down;  /* dots a character */
    double left, right, low, high;
};

static long dots_across(const struct canvas *canvas)
{
    return (long)canvas->style->columns * canvas->across;
}

static long dots_down(const struct canvas *canvas)
{
    return (long)canvas->style->rows * canvas->down;
}

/* Widens the canvas's ranges to a point. */
static void take_in(struct canvas *canvas, struct point point)
{
    canvas->left = fmin(canvas->left, point.x);
    canvas->right = fmax(canvas->right, point.x);
    canvas->low = fmin(canvas->low, point.y);
    canvas->high = fmax(canvas->high, point.y);
}

/* Where `value` lies among `dots` between two ends; in the middle of ends that are one. */
static long place(double value, double from, double to, long dots)
{
    return to > from ? lround((value - from) / (to - from) * (double)(dots - 1)) : dots / 2;
}

static void draw_dot(struct canvas *canvas, long x, long y, unsigned char look)
{
    static const unsigned char bits[4][2] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    const size_t row = (size_t)(y / canvas->down), column = (size_t)(x / canvas->across);
    struct cell *cell = &canvas->cells[row * canvas->style->columns + column];
    cell->dots |= canvas->style->unicode ? bits[y % canvas->down][x % canvas->across] : 1;
    cell->look = look;
}

static void draw_line(struct canvas *canvas, struct point from, struct point to, unsigned char look)
{
    const long across = dots_across(canvas), down = dots_down(canvas);
    const long x0 = place(from.x, canvas->left, canvas->right, across);
    const long x1 = place(to.x, canvas->left, canvas->right, across);
    const long y0 = place(from.y, canvas->low, canvas->high, down);
    const long y1 = place(to.y, canvas->low, canvas->high, down);
    const long wide = labs(x1 - x0), tall = labs(y1 - y0);
    const long steps = wide > tall ? wide : tall;
    for (long i = 0; i <= steps; i++) {
        const double part = steps ? (double)i / (double)steps : 0;
        draw_dot(canvas, x0 + lround(part * (double)(x1 - x0)),
                 down - 1 - y0 - lround(part * (double)(y1 - y0)), look);
    }
}

static void draw_curve(struct canvas *canvas, const struct curve *curve, unsigned char look)
{
    const struct point *last = NULL;
    for (size_t i = 0; i < curve->count; i++) {
        const struct point *point = &curve->points[i];
        if (!isfinite(point->y))
            continue;
        draw_line(canvas, last ? *last : *point, *point, look);
        last = point;
    }
}

static void print_cell(FILE *stream, const struct canvas *canvas, struct cell cell)
{
    const bool colour = canvas->style->colour && cell.dots;
    fputs(colour ? colours[cell.look] : "", stream);
    if (canvas->style->unicode && cell.dots)
        fprintf(stream, "\xe2%c%c", 0xa0 | cell.dots >> 6, 0x80 | (cell.dots & 0x3f));
    else
        fputc(cell.dots ? marks[cell.look] : ' ', stream);
    fputs(colour ? "\033[0m" : "", stream);
}

static void print_rows(FILE *stream, const struct canvas *canvas)
{
    const struct chart_style *style = canvas->style;
    for (size_t row = 0; row < style->rows; row++) {
        if (row == 0 || row == style->rows - 1)
            fprintf(stream, "%*.4g ", SCALE_WIDTH, row ? canvas->low : canvas->high);
        else
            fprintf(stream, "%*s ", SCALE_WIDTH, "");
        fputs(style->unicode ? "\xe2\x94\x82" : "|", stream);
        for (size_t column = 0; column < style->columns; column++)
            print_cell(stream, canvas, canvas->cells[row * style->columns + column]);
        fputc('\n', stream);
    }
}

static void print_head(FILE *stream, const char *title, const struct curve *curves, size_t count,
                       const struct chart_style *style)
{
    fprintf(stream, "%*s", SCALE_WIDTH, title);
    for (size_t i = 0; i < count; i++)
        if (curves[i].count > 0)
            fprintf(stream, "  %s%c%s %s", style->colour ? colours[i % CURVE_LOOKS] : "",
                    marks[i % CURVE_LOOKS], style->colour ? "\033[0m" : "", curves[i].name);
    fputc('\n', stream);
}

void chart_print(FILE *stream, const char *title, const struct curve *curves, size_t count,
                 const struct chart_style *style)
{
    struct canvas canvas = {
        .style = style,
        .across = style->unicode ? 2 : 1,
        .down = style->unicode ? 4 : 1,
        .left = INFINITY,
        .right = -INFINITY,
        .low = INFINITY,
        .high = -INFINITY,
    };
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < curves[i].count; j++)
            if (isfinite(curves[i].points[j].y))
                take_in(&canvas, curves[i].points[j]);
    canvas.cells = calloc(style->rows * style->columns, sizeof *canvas.cells);
    if (!canvas.cells || canvas.high < canvas.low)
        goto out;
    for (size_t i = 0; i < count; i++)
        draw_curve(&canvas, &curves[i], (unsigned char)(i % CURVE_LOOKS));
    print_head(stream, title, curves, count, style);
    print_rows(stream, &canvas);
out:
    free(canvas.cells);
}
