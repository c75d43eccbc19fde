/* Draws a roofline as SVG. Knows nothing of how it was measured. */
#include "bench/roofline.h"

#include <math.h>

enum { WIDTH = 860, HEIGHT = 520, LEFT = 64, RIGHT = 24, TOP = 78, BOTTOM = 52 };

/* Of the axes, powers of two: operations a byte, GFLOP/s. */
enum { X_LEAST = -4, X_MOST = 10, Y_LEAST = -2, Y_MOST = 9 };

static const struct {
    const char *name, *colour;
} families[FAMILY_COUNT] = {
    [FAMILY_CONVOLUTION] = {"convolution", "#2563eb"},
    [FAMILY_DENSE] = {"dense", "#7c3aed"},
    [FAMILY_POOLING] = {"pooling", "#d97706"},
    [FAMILY_PASS] = {"batch norm, relu, add", "#059669"},
};

static double clamp(double value, double least, double most)
{
    return value < least ? least : value > most ? most : value;
}

static double x_of(double intensity)
{
    const double share =
        (clamp(log2(intensity), X_LEAST, X_MOST) - X_LEAST) / (double)(X_MOST - X_LEAST);
    return LEFT + share * (WIDTH - LEFT - RIGHT);
}

static double y_of(double gflops)
{
    const double share =
        (clamp(log2(gflops), Y_LEAST, Y_MOST) - Y_LEAST) / (double)(Y_MOST - Y_LEAST);
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
}

static void draw_axes(FILE *file)
{
    const double bottom = HEIGHT - BOTTOM;
    for (int power = X_LEAST; power <= X_MOST; power += 2) {
        const double x = x_of(exp2(power));
        fprintf(file,
                "<line x1='%.1f' y1='%d' x2='%.1f' y2='%.1f' class='grid'/>"
                "<text x='%.1f' y='%.1f' text-anchor='middle'>%g</text>\n",
                x, TOP, x, bottom, x, bottom + 18, exp2(power));
    }
    for (int power = Y_LEAST; power <= Y_MOST; power++) {
        const double y = y_of(exp2(power));
        fprintf(file,
                "<line x1='%d' y1='%.1f' x2='%d' y2='%.1f' class='grid'/>"
                "<text x='%d' y='%.1f' text-anchor='end'>%g</text>\n",
                LEFT, y, WIDTH - RIGHT, y, LEFT - 8, y + 4, exp2(power));
    }
    fprintf(
        file,
        "<text x='%d' y='%d' text-anchor='middle'>operations a byte of input and output</text>\n"
        "<text x='18' y='%d' text-anchor='middle' transform='rotate(-90 18 %d)'>GFLOP/s</text>\n",
        (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, (TOP + HEIGHT - BOTTOM) / 2,
        (TOP + HEIGHT - BOTTOM) / 2);
}

/* From the left edge, or where it comes in at the bottom, up to the peak. */
static void draw_slope(FILE *file, double gb, double peak, const char *name)
{
    double from = exp2(X_LEAST);
    if (from * gb < exp2(Y_LEAST))
        from = exp2(Y_LEAST) / gb;
    const double to = peak / gb, middle = sqrt(from * to);
    const double x1 = x_of(from), y1 = y_of(from * gb), x2 = x_of(to), y2 = y_of(peak);
    const double x = x_of(middle), y = y_of(middle * gb) - 6;
    fprintf(file,
            "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' class='roof'/>"
            "<text x='%.1f' y='%.1f' text-anchor='middle' transform='rotate(%.1f %.1f %.1f)'>"
            "%s, %.0f GB/s</text>\n",
            x1, y1, x2, y2, x, y, atan2(y2 - y1, x2 - x1) * 180 / 3.14159265358979, x, y, name, gb);
}

static void draw_roofs(const struct roofline *r, FILE *file)
{
    const double y = y_of(r->peak_gflops);
    const double fastest = r->cache_gb > r->memory_gb ? r->cache_gb : r->memory_gb;
    fprintf(file,
            "<line x1='%.1f' y1='%.1f' x2='%d' y2='%.1f' class='roof'/>"
            "<text x='%d' y='%.1f' text-anchor='end'>sgemm, %.0f GFLOP/s</text>\n",
            x_of(r->peak_gflops / fastest), y, WIDTH - RIGHT, y, WIDTH - RIGHT, y - 6,
            r->peak_gflops);
    draw_slope(file, r->cache_gb, r->peak_gflops, "second cache");
    draw_slope(file, r->memory_gb, r->peak_gflops, "memory");
}

static void draw_legend(FILE *file)
{
    double x = LEFT;
    for (int family = 0; family < FAMILY_COUNT; family++) {
        fprintf(file,
                "<circle cx='%.0f' cy='52' r='5' fill='%s' fill-opacity='0.7'/>"
                "<text x='%.0f' y='56'>%s</text>\n",
                x + 6, families[family].colour, x + 16, families[family].name);
        x += family == FAMILY_PASS ? 0 : 110;
    }
}

void roofline_draw(const struct roofline *r, FILE *file)
{
    fprintf(file,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' height='%d' "
            "font-family='sans-serif' font-size='12' fill='#374151'>\n"
            "<style>.grid{stroke:#e5e7eb;stroke-width:1}.roof{stroke:#111827;stroke-width:1.5}"
            "</style>\n<rect width='%d' height='%d' fill='#ffffff'/>\n"
            "<text x='%d' y='28' font-size='16' fill='#111827'>%s</text>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, r->title);
    draw_legend(file);
    draw_axes(file);
    draw_roofs(r, file);
    for (size_t i = 0; i < r->count; i++) {
        const struct dot *dot = &r->dots[i];
        fprintf(file,
                "<circle cx='%.1f' cy='%.1f' r='4' fill='%s' fill-opacity='0.6' stroke='#ffffff' "
                "stroke-width='0.5'><title>%s: %.1f GFLOP/s, %.2f a byte</title></circle>\n",
                x_of(dot->intensity), y_of(dot->gflops), families[dot->family].colour, dot->label,
                dot->gflops, dot->intensity);
    }
    fprintf(file, "</svg>\n");
}
