/* Training over time: the charts' places, the same numbers as a table, and the numbers as JSON
 * for the script that draws. The JSON holds numbers alone, no text from outside.
 *
 * A long run has more steps than a chart has pixels. From CHART_POINTS steps on a point stands for
 * several: their mean, with the least and the greatest beside it; the page says so.
 */
#include "engine/report/curves.h"
#include "engine/report/html.h"
#include "engine/report/sections.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

enum { CHART_POINTS = 4000 };

struct column {
    const char *name, *heading;
    size_t offset; /* of a double in the record */
    html_format *format;
};

static const struct column epoch_columns[] = {
    {"train_loss", "train loss", offsetof(struct epoch_record, train_loss), html_number},
    {"val_loss", "val. loss", offsetof(struct epoch_record, val_loss), html_number},
    {"train_accuracy", "train accuracy", offsetof(struct epoch_record, train_accuracy),
     html_percent},
    {"val_accuracy", "val. accuracy", offsetof(struct epoch_record, val_accuracy), html_percent},
    {"lr", "learning rate", offsetof(struct epoch_record, lr), html_number},
    {"images_per_second", "images/s", offsetof(struct epoch_record, images_per_second), html_rate},
    {"seconds", "seconds", offsetof(struct epoch_record, seconds), html_number},
};

/* The steps (after those of the point before, up to and with `step`) behind one point. */
struct step_point {
    double step;
    double loss, loss_least, loss_greatest;
    double gradient_norm, gradient_norm_least, gradient_norm_greatest;
};

static const struct column step_columns[] = {
    {"step", NULL, offsetof(struct step_point, step), NULL},
    {"loss", NULL, offsetof(struct step_point, loss), NULL},
    {"loss_least", NULL, offsetof(struct step_point, loss_least), NULL},
    {"loss_greatest", NULL, offsetof(struct step_point, loss_greatest), NULL},
    {"gradient_norm", NULL, offsetof(struct step_point, gradient_norm), NULL},
    {"gradient_norm_least", NULL, offsetof(struct step_point, gradient_norm_least), NULL},
    {"gradient_norm_greatest", NULL, offsetof(struct step_point, gradient_norm_greatest), NULL},
};

/* `lines`: columns of `table` and what they are called, "column:name"; in a chart of steps each
 * has a band from its least to its greatest. */
static const struct chart {
    const char *title, *table, *lines, *format;
} charts[] = {
    {"Loss", "epoch", "train_loss:training val_loss:validation", "number"},
    {"Accuracy", "epoch", "train_accuracy:training val_accuracy:validation", "percent"},
    {"Loss of each mini-batch", "step", "loss:loss", "number"},
    {"Norm of the gradient", "step", "gradient_norm:norm", "number"},
    {"Learning rate", "epoch", "lr:rate", "number"},
    {"Images a second", "epoch", "images_per_second:images/s", "count"},
};

static double value(const void *records, size_t index, size_t stride, const struct column *column)
{
    const char *record = (const char *)records + index * stride;
    return *(const double *)(const void *)(record + column->offset);
}

static size_t steps_a_point(const struct run *run)
{
    return (run->metrics.step_count + CHART_POINTS - 1) / CHART_POINTS;
}

static void write_charts(FILE *page, const char *table, const char *note)
{
    for (size_t i = 0; i < sizeof charts / sizeof *charts; i++)
        if (charts[i].table[0] == table[0])
            fprintf(page,
                    "<figure class=\"chart\"><figcaption>%s <small>%s</small></figcaption>"
                    "<div class=\"plot\"><canvas role=\"img\" aria-label=\"%s over %ss\" "
                    "data-table=\"%s\" data-lines=\"%s\" data-format=\"%s\"></canvas></div>"
                    "</figure>\n",
                    charts[i].title, note, charts[i].title, table, table, charts[i].lines,
                    charts[i].format);
}

enum colonnade_status section_curves(FILE *page, const struct run *run,
                                     struct colonnade_error *error)
{
    if (run->metrics.epoch_count == 0 && run->metrics.step_count == 0) {
        fputs("<p class=\"note\">No step has been taken yet.</p>\n", page);
        return COLONNADE_OK;
    }
    fputs(
        "<noscript><p class=\"note\">The charts need JavaScript. Their numbers stand in the table "
        "below.</p></noscript>\n<div class=\"charts\">\n",
        page);
    if (run->metrics.epoch_count)
        write_charts(page, "epoch", "");
    char note[128] = "";
    if (steps_a_point(run) > 1)
        snprintf(note, sizeof note, "a point: the mean of %zu steps; shaded: least to greatest",
                 steps_a_point(run));
    if (run->metrics.step_count)
        write_charts(page, "step", note);
    fputs("</div>\n", page);
    return COLONNADE_OK;
}

const struct epoch_record *curves_best_epoch(const struct metrics *metrics)
{
    const struct epoch_record *best = NULL;
    for (size_t i = 0; i < metrics->epoch_count; i++) {
        const struct epoch_record *epoch = &metrics->epochs[i];
        if (!isnan(epoch->val_accuracy) && (!best || epoch->val_accuracy > best->val_accuracy))
            best = epoch;
    }
    return best;
}

enum colonnade_status section_epochs(FILE *page, const struct run *run,
                                     struct colonnade_error *error)
{
    const struct metrics *metrics = &run->metrics;
    const size_t count = sizeof epoch_columns / sizeof *epoch_columns;
    if (metrics->epoch_count == 0)
        return COLONNADE_OK;
    const struct epoch_record *best = curves_best_epoch(metrics);
    if (best) {
        fputs("<p class=\"note\">Best validation accuracy: ", page);
        html_percent(page, best->val_accuracy);
        fprintf(page, " in epoch %d.</p>\n", best->epoch);
    }
    fputs("<details>\n<summary>All epochs as numbers</summary>\n", page);
    html_table_begin(page, "Epochs", "numbers sortable epochs");
    fputs("<thead><tr><th scope=\"col\">epoch</th>", page);
    for (size_t c = 0; c < count; c++)
        fprintf(page, "<th scope=\"col\">%s</th>", epoch_columns[c].heading);
    fputs("</tr></thead>\n<tbody>\n", page);
    for (size_t i = 0; i < metrics->epoch_count; i++) {
        int epoch = metrics->epochs[i].epoch;
        fprintf(page, "<tr><th scope=\"row\" data-value=\"%d\">%d</th>", epoch, epoch);
        for (size_t c = 0; c < count; c++)
            html_cell(page, value(metrics->epochs, i, sizeof *metrics->epochs, &epoch_columns[c]),
                      epoch_columns[c].format);
        fputs("</tr>\n", page);
    }
    fputs("</tbody>\n", page);
    html_table_end(page);
    fputs("</details>\n", page);
    return COLONNADE_OK;
}

static void write_columns(FILE *page, const void *records, size_t count, size_t stride,
                          const struct column *columns, size_t column_count)
{
    for (size_t c = 0; c < column_count; c++) {
        fprintf(page, "%s\"%s\":[", c ? "," : "", columns[c].name);
        for (size_t i = 0; i < count; i++) {
            fputs(i ? "," : "", page);
            html_json_number(page, value(records, i, stride, &columns[c]), 7);
        }
        fputc(']', page);
    }
}

static struct step_point point_of(const struct step_record *steps, size_t count)
{
    struct step_point point = {
        .step = (double)steps[count - 1].step,
        .loss_least = INFINITY,
        .loss_greatest = -INFINITY,
        .gradient_norm_least = INFINITY,
        .gradient_norm_greatest = -INFINITY,
    };
    for (size_t i = 0; i < count; i++) {
        double loss = steps[i].loss, norm = steps[i].gradient_norm;
        point.loss += loss / (double)count;
        point.gradient_norm += norm / (double)count;
        point.loss_least = fmin(point.loss_least, loss);
        point.loss_greatest = fmax(point.loss_greatest, loss);
        point.gradient_norm_least = fmin(point.gradient_norm_least, norm);
        point.gradient_norm_greatest = fmax(point.gradient_norm_greatest, norm);
    }
    return point;
}

static enum colonnade_status write_steps(FILE *page, const struct run *run,
                                         struct colonnade_error *error)
{
    const struct metrics *metrics = &run->metrics;
    size_t each = steps_a_point(run), count = each ? (metrics->step_count + each - 1) / each : 0;
    struct step_point *points = calloc(count + 1, sizeof *points);
    if (!points)
        return error_set(error, COLONNADE_FAILURE, "no memory for a chart's %zu points", count);
    for (size_t i = 0; i < count; i++) {
        size_t left = metrics->step_count - i * each;
        points[i] = point_of(metrics->steps + i * each, left < each ? left : each);
    }
    write_columns(page, points, count, sizeof *points, step_columns,
                  sizeof step_columns / sizeof *step_columns);
    free(points);
    return COLONNADE_OK;
}

void curves_write_epochs(FILE *page, const struct metrics *metrics)
{
    fputs("{\"epoch\":[", page);
    for (size_t i = 0; i < metrics->epoch_count; i++)
        fprintf(page, "%s%d", i ? "," : "", metrics->epochs[i].epoch);
    fputs("],", page);
    write_columns(page, metrics->epochs, metrics->epoch_count, sizeof *metrics->epochs,
                  epoch_columns, sizeof epoch_columns / sizeof *epoch_columns);
    fputs("}", page);
}

enum colonnade_status section_data(FILE *page, const struct run *run, struct colonnade_error *error)
{
    fputs("{\"epoch\":", page);
    curves_write_epochs(page, &run->metrics);
    fputs(",\n\"step\":{", page);
    enum colonnade_status status = write_steps(page, run, error);
    fputs("}}", page);
    return status;
}
