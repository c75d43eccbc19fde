/* Curves as text. */
#ifndef ENGINE_CLI_CHART_H
#define ENGINE_CLI_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct point {
    double x, y; /* y: NaN where there is none */
};

struct curve {
    const char *name;
    const struct point *points; /* x ascending */
    size_t count;
};

struct chart_style {
    size_t columns, rows; /* characters that the curves may take, without the scale */
    bool unicode;         /* dots of Braille characters, two by four each; else an ASCII mark */
    bool colour;
};

/* A line with the title and the names of the curves that have points, then `rows` lines with the
 * highest and the lowest value at their left; nothing where no curve has any. */
void chart_print(FILE *stream, const char *title, const struct curve *curves, size_t count,
                 const struct chart_style *style);

#endif
