/* What each swept key does: values of one key against each other over all else equal, and two keys
 * at a time as maps of numbers whose shade follows them.
 */
#include "engine/report/html.h"
#include "engine/report/sweep_sections.h"

#include "engine/base/memory.h"

#include <math.h>
#include <stdlib.h>

enum { MAP_PAIRS = 10, MAP_SIDE = 40 };

/* How far two keys' values are apart in the order of combinations. */
static size_t stride_of(const struct sweep_grid *grid, size_t axis)
{
    size_t stride = 1;
    for (size_t i = axis + 1; i < grid->axis_count; i++)
        stride *= grid->axes[i].values.count;
    return stride;
}

static size_t value_of(const struct sweep_grid *grid, size_t combination, size_t axis)
{
    return combination / stride_of(grid, axis) % grid->axes[axis].values.count;
}

/* One value of a key beside the key's first, over pairs of rows: same seed, and combinations that
 * differ in nothing else. Pairs of one seed share its draws and are no independent samples; seeds
 * are. So each seed's mean over the grid counts as one sample (seeds as blocks: Montgomery, Design
 * and Analysis of Experiments, on the randomized complete block design). */
struct effect {
    size_t pairs, possible;
    double difference, interval; /* of test accuracy: mean of the seeds' means, and half of its 95 %
                                    interval over seeds, by Student's t; NaN below two of them */
    double least, greatest;      /* difference of a pair of combinations, a mean over its seeds */
    double time_ratio;           /* of step_ms: geometric mean, of the seeds' ones */
};

/* Pairs of one seed, or of one pair of combinations. */
struct pairs {
    size_t count;
    double differences, logarithms; /* sums */
};

static void add_pair(struct pairs *pairs, const struct sweep_row *first,
                     const struct sweep_row *other)
{
    const double difference = other->test_accuracy - first->test_accuracy;
    const double logarithm = log(other->step_ms / first->step_ms);
    if (first->status != SWEEP_COMPLETE || other->status != SWEEP_COMPLETE || isnan(difference) ||
        isnan(logarithm))
        return;
    pairs->count++;
    pairs->differences += difference;
    pairs->logarithms += logarithm;
}

/* Of one seed, over the grid. */
static struct pairs pairs_of_seed(const struct sweep *sweep, size_t axis, size_t value, size_t seed)
{
    const size_t apart = value * stride_of(&sweep->grid, axis);
    struct pairs pairs = {0, 0, 0};
    for (size_t i = 0; i < sweep->grid.combinations; i++)
        if (value_of(&sweep->grid, i, axis) == 0)
            add_pair(&pairs, sweep_row(sweep, i, seed), sweep_row(sweep, i + apart, seed));
    return pairs;
}

static void measure_range(struct effect *effect, const struct sweep *sweep, size_t axis,
                          size_t value)
{
    const size_t apart = value * stride_of(&sweep->grid, axis);
    for (size_t i = 0; i < sweep->grid.combinations; i++) {
        struct pairs pairs = {0, 0, 0};
        if (value_of(&sweep->grid, i, axis) != 0)
            continue;
        for (size_t seed = 0; seed < sweep->grid.seed_count; seed++)
            add_pair(&pairs, sweep_row(sweep, i, seed), sweep_row(sweep, i + apart, seed));
        if (pairs.count == 0)
            continue;
        effect->least = fmin(effect->least, pairs.differences / (double)pairs.count);
        effect->greatest = fmax(effect->greatest, pairs.differences / (double)pairs.count);
    }
}

static struct effect measure_effect(const struct sweep *sweep, size_t axis, size_t value)
{
    const struct sweep_grid *grid = &sweep->grid;
    struct effect effect = {.possible = grid->combinations / grid->axes[axis].values.count *
                                        grid->seed_count,
                            .difference = NAN,
                            .interval = NAN,
                            .least = NAN,
                            .greatest = NAN,
                            .time_ratio = NAN};
    double sum = 0, squares = 0, logarithms = 0;
    size_t seeds = 0;
    for (size_t seed = 0; seed < grid->seed_count; seed++) {
        const struct pairs pairs = pairs_of_seed(sweep, axis, value, seed);
        if (pairs.count == 0)
            continue;
        const double mean = pairs.differences / (double)pairs.count;
        seeds++;
        effect.pairs += pairs.count;
        sum += mean;
        squares += mean * mean;
        logarithms += pairs.logarithms / (double)pairs.count;
    }
    const double n = (double)seeds;
    if (seeds) {
        effect.difference = sum / n;
        effect.time_ratio = exp(logarithms / n);
    }
    if (seeds > 1)
        effect.interval =
            student_t(seeds - 1) * sqrt(fmax(squares - sum * sum / n, 0) / (n - 1)) / sqrt(n);
    measure_range(&effect, sweep, axis, value);
    return effect;
}

/* A difference of shares, in percentage points. */
static void format_points(FILE *page, double difference)
{
    if (isnan(difference))
        fputs("–", page);
    else
        fprintf(page, "%+.2f", 100 * difference);
}

static void format_spread(FILE *page, double spread)
{
    if (isnan(spread))
        fputs("–", page);
    else
        fprintf(page, "%.2f", 100 * spread);
}

static void format_ratio(FILE *page, double ratio)
{
    if (isnan(ratio))
        fputs("–", page);
    else
        fprintf(page, "×%.2f", ratio);
}

static void write_effect(FILE *page, const struct sweep_subject *subject, size_t axis, size_t value)
{
    const struct sweep_axis *one = &subject->sweep->grid.axes[axis];
    const struct effect effect = measure_effect(subject->sweep, axis, value);
    fputs("<tr><th scope=\"row\">", page);
    html_text(page, one->name);
    fputs("</th><td class=\"setting\">", page);
    html_text(page, one->values.items[value]);
    fputs("</td><td class=\"setting\">", page);
    html_text(page, one->values.items[0]);
    fputs("</td>", page);
    html_cell(page, effect.difference, format_points);
    html_cell(page, effect.interval, format_spread);
    html_cell(page, effect.least, format_points);
    html_cell(page, effect.greatest, format_points);
    html_cell(page, effect.time_ratio, format_ratio);
    fprintf(page, "<td data-value=\"%zu\">%zu", effect.pairs, effect.pairs);
    if (effect.pairs < effect.possible)
        fprintf(page, " of %zu", effect.possible);
    fputs("</td></tr>\n", page);
}

enum colonnade_status sweep_section_keys(FILE *page, const struct sweep_subject *subject,
                                         struct colonnade_error *error)
{
    const struct sweep_grid *grid = &subject->sweep->grid;
    if (grid->axis_count == 0) {
        fputs("<p class=\"note\">No key was swept.</p>\n", page);
        return COLONNADE_OK;
    }
    html_table_begin(page, "Keys", "numbers keys");
    fputs("<thead><tr><th scope=\"col\">key</th><th scope=\"col\">value</th>"
          "<th scope=\"col\">instead of</th><th scope=\"col\">accuracy, points</th>"
          "<th scope=\"col\">± 95 %</th><th scope=\"col\">least</th>"
          "<th scope=\"col\">greatest</th><th scope=\"col\">time a step</th>"
          "<th scope=\"col\">pairs</th></tr></thead>\n<tbody>\n",
          page);
    for (size_t axis = 0; axis < grid->axis_count; axis++)
        for (size_t value = 1; value < grid->axes[axis].values.count; value++)
            write_effect(page, subject, axis, value);
    fputs("</tbody>\n", page);
    html_table_end(page);
    fputs(
        "<p class=\"note\">Pairs are trainings with the same seed that differ in this key alone. "
        "Accuracy is the difference in percentage points and time the ratio of step times, each a "
        "mean over a seed's pairs, then over the seeds (of ratios: geometric). ± is half of the "
        "95 % interval of the difference by Student's t over the seeds' means: what other seeds "
        "may come to, on this data and this grid. One seed tells none. Least and greatest are of "
        "single pairs of combinations, over their seeds: where they are far apart, what the key "
        "does depends on the other keys. Pairs of which one could not be trained are left out; "
        "where seeds lack different ones, ± is the greater for it.</p>\n",
        page);
    return COLONNADE_OK;
}

/* --- maps --- */

/* A figure of combinations, averaged over all with the same values of two keys. Cells compare where
 * they are over the same values of the other keys: an `other` is one choice of those. */
struct map {
    const struct sweep_subject *subject;
    size_t rows_axis, columns_axis;
    size_t rows, columns;
    double *cells;  /* [rows, columns]; NaN where there is none */
    size_t *counts; /* [rows, columns]: combinations that a cell is over */
    size_t most;    /* others that any cell has a combination of */
    bool uneven;    /* a cell that has a value lacks some of them */
    double least, greatest;
};

static double accuracy_of(const struct sweep_summary *summary)
{
    return summary->test_accuracy.mean;
}

static double time_of(const struct sweep_summary *summary)
{
    return summary->step_ms.mean;
}

static void fill_map(struct map *map, double (*figure)(const struct sweep_summary *summary))
{
    const struct sweep_grid *grid = &map->subject->sweep->grid;
    const size_t down = stride_of(grid, map->rows_axis), right = stride_of(grid, map->columns_axis);
    const size_t cells = map->rows * map->columns;
    for (size_t i = 0; i < cells; i++)
        map->cells[i] = map->counts[i] = 0;
    map->most = 0;
    for (size_t c = 0; c < grid->combinations; c++) {
        bool any = false;
        if (value_of(grid, c, map->rows_axis) > 0 || value_of(grid, c, map->columns_axis) > 0)
            continue;
        for (size_t i = 0; i < cells; i++) {
            const size_t at = c + i / map->columns * down + i % map->columns * right;
            const double value = figure(&map->subject->summaries[at]);
            if (isnan(value))
                continue;
            map->cells[i] += value;
            map->counts[i]++;
            any = true;
        }
        map->most += any;
    }
    map->least = INFINITY;
    map->greatest = -INFINITY;
    map->uneven = false;
    for (size_t i = 0; i < cells; i++) {
        map->cells[i] = map->counts[i] ? map->cells[i] / (double)map->counts[i] : NAN;
        map->least = fmin(map->least, map->cells[i]);
        map->greatest = fmax(map->greatest, map->cells[i]);
        map->uneven = map->uneven || (map->counts[i] > 0 && map->counts[i] < map->most);
    }
}

static void write_cell(FILE *page, const struct map *map, size_t i, html_format *format)
{
    const double range = map->greatest - map->least, value = map->cells[i];
    const double shade = 0.08 + 0.84 * (range > 0 ? (value - map->least) / range : 0);
    if (isnan(value)) {
        fputs("<td class=\"none\">–</td>", page);
        return;
    }
    fprintf(page, "<td class=\"%s\" style=\"--shade:%.3f\" data-value=\"%.9g\">",
            html_shade_class(shade), shade, value);
    format(page, value);
    if (map->counts[i] < map->most)
        fprintf(page, "* <small>%zu of %zu</small>", map->counts[i], map->most);
    fputs("</td>", page);
}

static void write_map(FILE *page, const struct map *map, const char *what, const char *kind,
                      html_format *format)
{
    const struct sweep_grid *grid = &map->subject->sweep->grid;
    const struct sweep_axis *rows = &grid->axes[map->rows_axis];
    const struct sweep_axis *columns = &grid->axes[map->columns_axis];
    char label[64];
    snprintf(label, sizeof label, "%s %zu-%zu", what, map->rows_axis + 1, map->columns_axis + 1);
    fprintf(page, "<figure><figcaption>%s</figcaption>\n", what);
    html_table_begin(page, label, kind);
    fputs("<thead><tr><td class=\"corner\">", page);
    html_text(page, rows->name);
    fputs(" ↓<br>", page);
    html_text(page, columns->name);
    fputs(" →</td>", page);
    for (size_t i = 0; i < map->columns; i++) {
        fputs("<th scope=\"col\">", page);
        html_text(page, columns->values.items[i]);
        fputs("</th>", page);
    }
    fputs("</tr></thead>\n<tbody>\n", page);
    for (size_t i = 0; i < map->rows; i++) {
        fputs("<tr><th scope=\"row\">", page);
        html_text(page, rows->values.items[i]);
        fputs("</th>", page);
        for (size_t j = 0; j < map->columns; j++)
            write_cell(page, map, i * map->columns + j, format);
        fputs("</tr>\n", page);
    }
    fputs("</tbody>\n", page);
    html_table_end(page);
    if (map->uneven)
        fputs("<p class=\"note\">* over fewer combinations than other cells</p>\n", page);
    fputs("</figure>\n", page);
}

static enum colonnade_status write_pair(FILE *page, const struct sweep_subject *subject,
                                        size_t rows_axis, size_t columns_axis,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct sweep_axis *axes = subject->sweep->grid.axes;
    struct map map = {.subject = subject,
                      .rows_axis = rows_axis,
                      .columns_axis = columns_axis,
                      .rows = axes[rows_axis].values.count,
                      .columns = axes[columns_axis].values.count};
    if (map.rows < 2 || map.columns < 2 || map.rows > MAP_SIDE || map.columns > MAP_SIDE)
        return COLONNADE_OK;
    TRY(memory_allocate(&map.cells, map.rows * map.columns, sizeof *map.cells, "a map", error));
    TRY(memory_allocate(&map.counts, map.rows * map.columns, sizeof *map.counts, "a map", error));
    fputs("<div class=\"pair\">\n", page);
    fill_map(&map, accuracy_of);
    write_map(page, &map, "Test accuracy", "map accuracy", html_percent);
    fill_map(&map, time_of);
    write_map(page, &map, "Step, ms", "map time", html_number);
    fputs("</div>\n", page);
out:
    free(map.cells);
    free(map.counts);
    return status;
}

enum colonnade_status sweep_section_maps(FILE *page, const struct sweep_subject *subject,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t axes = subject->sweep->grid.axis_count;
    size_t pairs = 0;
    for (size_t i = 0; i < axes; i++)
        for (size_t j = i + 1; j < axes && pairs < MAP_PAIRS; j++, pairs++)
            TRY(write_pair(page, subject, i, j, error));
    if (pairs == 0)
        fputs("<p class=\"note\">A map takes two swept keys.</p>\n", page);
    else
        fputs(
            "<p class=\"note\">A cell is the mean over all combinations that have both values and "
            "could be trained; the stronger its shade, the greater. Where some of them could not, "
            "cells are over different values of the other keys and do not quite compare: * marks "
            "those that lack combinations which other cells of the map have.</p>\n",
            page);
out:
    return status;
}
