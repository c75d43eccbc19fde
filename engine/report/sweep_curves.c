/* Training by epoch as small multiples: a place for the chart of each combination, the numbers of
 * all as JSON for the script that draws, and where each combination came to as a table. The JSON
 * holds numbers alone, no text from outside.
 *
 * What is shown of a combination is the mean over its seeds that are complete, or over those that
 * failed where none is, up to the last epoch that each of them reached; and the seeds themselves.
 */
#include "engine/report/html.h"
#include "engine/report/sweep_sections.h"

#include "engine/base/memory.h"

#include <math.h>
#include <stdlib.h>

enum {
    CURVE_NUMBERS = 100000, /* of all rows: from there on epochs are left out */
    ACROSS = 6              /* charts beside each other at the most */
};

static const struct curve {
    const char *name, *heading;
    size_t offset; /* in struct sweep_epoch */
    html_format *format;
} curves[] = {
    {"train_loss", "train loss", offsetof(struct sweep_epoch, train_loss), html_number},
    {"train_accuracy", "train accuracy", offsetof(struct sweep_epoch, train_accuracy),
     html_percent},
    {"val_loss", "val. loss", offsetof(struct sweep_epoch, val_loss), html_number},
    {"val_accuracy", "val. accuracy", offsetof(struct sweep_epoch, val_accuracy), html_percent},
};

static double value(const struct sweep_epoch *epoch, const struct curve *curve)
{
    return *(const double *)(const void *)((const char *)epoch + curve->offset);
}

/* The rows of a combination that its mean is over. */
struct counted {
    const struct sweep_row *rows; /* [seeds] */
    size_t seeds;
    enum sweep_row_status status; /* that they have */
    size_t count;                 /* 0: it has no curve */
    size_t shortest, longest;     /* epochs */
};

static bool counts(const struct counted *counted, size_t seed)
{
    return counted->rows[seed].status == counted->status && counted->rows[seed].epoch_count > 0;
}

static struct counted count_rows(const struct sweep *sweep, size_t combination)
{
    static const enum sweep_row_status statuses[] = {SWEEP_COMPLETE, SWEEP_FAILED};
    struct counted counted = {.rows = sweep_row(sweep, combination, 0),
                              .seeds = sweep->grid.seed_count};
    for (size_t i = 0; i < COUNT_OF(statuses) && counted.count == 0; i++) {
        counted.status = statuses[i];
        for (size_t seed = 0; seed < counted.seeds; seed++) {
            const size_t epochs = counted.rows[seed].epoch_count;
            if (!counts(&counted, seed))
                continue;
            if (counted.count++ == 0 || epochs < counted.shortest)
                counted.shortest = epochs;
            if (epochs > counted.longest)
                counted.longest = epochs;
        }
    }
    return counted;
}

/* The mean of a curve in epoch `epoch`, from 0, or where that is none in each row's last. */
static double mean(const struct counted *counted, const struct curve *curve, size_t epoch)
{
    double sum = 0;
    for (size_t seed = 0; seed < counted->seeds; seed++)
        if (counts(counted, seed)) {
            const struct sweep_row *row = &counted->rows[seed];
            const size_t at = epoch < row->epoch_count ? epoch : row->epoch_count - 1;
            sum += value(&row->epochs[at], curve);
        }
    return sum / (double)counted->count;
}

static size_t longest_curve(const struct sweep *sweep)
{
    size_t longest = 0;
    for (size_t i = 0; i < sweep->grid.combinations * sweep->grid.seed_count; i++)
        longest = sweep->rows[i].epoch_count > longest ? sweep->rows[i].epoch_count : longest;
    return longest;
}

/* --- numbers --- */

/* From one epoch that is shown to the next; the last one is shown in any case. */
static size_t step_of_epochs(const struct sweep *sweep)
{
    const size_t rows = sweep->grid.combinations * sweep->grid.seed_count;
    const size_t numbers = rows * COUNT_OF(curves) * longest_curve(sweep);
    return numbers / CURVE_NUMBERS + 1;
}

static size_t next_epoch(size_t epoch, size_t step, size_t longest)
{
    return epoch + step < longest || epoch + 1 == longest ? epoch + step : longest - 1;
}

static void write_epochs(FILE *page, const struct sweep *sweep)
{
    const size_t longest = longest_curve(sweep), step = step_of_epochs(sweep);
    for (size_t i = 0; i < longest; i = next_epoch(i, step, longest))
        fprintf(page, "%s%zu", i ? "," : "", i + 1);
}

/* {"complete":true,"train_loss":[...],...}: of the shown epochs below `count`; a curve that has no
 * values is empty. */
static void write_series(FILE *page, const struct sweep *sweep, const struct counted *counted,
                         size_t count)
{
    const size_t longest = longest_curve(sweep), step = step_of_epochs(sweep);
    fprintf(page, "{\"complete\":%s", counted->status == SWEEP_COMPLETE ? "true" : "false");
    for (size_t c = 0; c < COUNT_OF(curves); c++) {
        fprintf(page, ",\"%s\":[", curves[c].name);
        for (size_t i = 0; i < count && !isnan(mean(counted, &curves[c], 0));
             i = next_epoch(i, step, longest)) {
            fputs(i ? "," : "", page);
            html_json_number(page, mean(counted, &curves[c], i), 6);
        }
        fputc(']', page);
    }
    fputc('}', page);
}

static void write_seeds(FILE *page, const struct sweep *sweep, const struct counted *all)
{
    const char *separator = "";
    for (size_t seed = 0; seed < all->seeds && all->seeds > 1; seed++) {
        const struct sweep_row *row = &all->rows[seed];
        const struct counted one = {row, 1, row->status, 1, row->epoch_count, row->epoch_count};
        if (row->epoch_count == 0)
            continue;
        fputs(separator, page);
        write_series(page, sweep, &one, row->epoch_count);
        separator = ",";
    }
}

void sweep_write_curves(FILE *page, const struct sweep *sweep)
{
    const char *separator = "";
    fputs("\"epochs\":[", page);
    write_epochs(page, sweep);
    fputs("],\n\"curves\":[", page);
    for (size_t i = 0; i < sweep->grid.combinations; i++) {
        const struct counted counted = count_rows(sweep, i);
        if (counted.count == 0)
            continue;
        fprintf(page, "%s{\"index\":%zu,\"mean\":", separator, i);
        write_series(page, sweep, &counted, counted.shortest);
        fputs(",\"seeds\":[", page);
        write_seeds(page, sweep, &counted);
        fputs("]}", page);
        separator = ",\n";
    }
    fputc(']', page);
}

/* --- charts --- */

/* Charts beside each other on a wide screen: whole groups that differ in the last keys alone, so
 * that what stands below each other differs in none of them. */
static size_t count_across(const struct sweep_grid *grid)
{
    size_t group = 1;
    for (size_t i = grid->axis_count; i-- > 0;) {
        if (group * grid->axes[i].values.count > ACROSS)
            break;
        group *= grid->axes[i].values.count;
    }
    if (group == 1)
        return ACROSS;
    group *= ACROSS / group;
    return group < grid->combinations ? group : grid->combinations;
}

/* The values alone, as the keys are the same in every chart. */
static void write_values(FILE *page, const struct sweep *sweep, size_t combination)
{
    for (size_t i = 0; i < sweep->grid.axis_count; i++) {
        fputs(i ? " · " : "", page);
        html_text(page, sweep_value(&sweep->grid, combination, i));
    }
    if (sweep->grid.axis_count == 0)
        fputs("the config as it is", page);
}

static void write_label(FILE *page, const struct sweep *sweep, size_t combination)
{
    fputs("Training by epoch", page);
    for (size_t i = 0; i < sweep->grid.axis_count; i++) {
        fputs(i ? ", " : ": ", page);
        html_text(page, sweep->grid.axes[i].name);
        fputc(' ', page);
        html_text(page, sweep_value(&sweep->grid, combination, i));
    }
}

static void write_chart(FILE *page, const struct sweep_subject *subject, size_t combination)
{
    const enum sweep_row_status status = subject->summaries[combination].status;
    const bool drawn = count_rows(subject->sweep, combination).count > 0;
    fprintf(page, "<figure class=\"chart\" data-index=\"%zu\"><figcaption>", combination);
    write_values(page, subject->sweep, combination);
    if (drawn && status == SWEEP_FAILED)
        fputs(" <small>failed</small>", page);
    fputs("</figcaption>", page);
    if (drawn) {
        fputs("<p class=\"values\"></p><div class=\"plot\"><canvas role=\"img\" aria-label=\"",
              page);
        write_label(page, subject->sweep, combination);
        fputs("\"></canvas></div>", page);
    } else
        fprintf(page, "<p class=\"values\">%s</p>",
                status == SWEEP_COMPLETE ? "no curve" : sweep_row_status_names[status]);
    fputs("</figure>\n", page);
}

static void write_explanation(FILE *page, const struct sweep *sweep)
{
    const size_t step = step_of_epochs(sweep);
    fputs("<p class=\"note\">", page);
    if (sweep->grid.axis_count)
        fputs("A chart's title has the values of ", page);
    for (size_t i = 0; i < sweep->grid.axis_count; i++) {
        fputs(i ? " · <b>" : "<b>", page);
        html_text(page, sweep->grid.axes[i].name);
        fputs("</b>", page);
    }
    fputs(sweep->grid.axis_count ? ". All have the same axes." : "", page);
    if (sweep->grid.seed_count > 1)
        fputs(" Lines are means over the seeds that are complete, as far as each of them went; "
              "faint lines are single seeds.",
              page);
    if (step > 1)
        fprintf(page, " One epoch in %zu is shown, and the last.", step);
    fputs("</p>\n<noscript><p class=\"note\">The charts need JavaScript. Where they end stands in "
          "the table below.</p></noscript>\n",
          page);
}

/* --- the table --- */

static void write_ends(FILE *page, const struct sweep *sweep)
{
    fputs("<details>\n<summary>The last epoch of each as numbers</summary>\n", page);
    sweep_table_begin(page, sweep, "Last epochs", "numbers sortable ends");
    fputs("<th scope=\"col\">epochs</th>", page);
    for (size_t c = 0; c < COUNT_OF(curves); c++)
        fprintf(page, "<th scope=\"col\">%s</th>", curves[c].heading);
    fputs("</tr></thead>\n<tbody>\n", page);
    for (size_t i = 0; i < sweep->grid.combinations; i++) {
        const struct counted counted = count_rows(sweep, i);
        if (counted.count == 0)
            continue;
        sweep_table_row(page, sweep, i);
        if (counted.shortest < counted.longest)
            fprintf(page, "<td data-value=\"%zu\">%zu–%zu</td>", counted.longest, counted.shortest,
                    counted.longest);
        else
            html_cell_count(page, counted.longest);
        for (size_t c = 0; c < COUNT_OF(curves); c++)
            html_cell(page, mean(&counted, &curves[c], counted.longest), curves[c].format);
        fputs("</tr>\n", page);
    }
    fputs("</tbody>\n", page);
    html_table_end(page);
    fputs("<p class=\"note\">Means over the seeds that are complete, or over those that failed "
          "where none is: of the last epoch that each of them ended.</p>\n</details>\n",
          page);
}

enum colonnade_status sweep_section_curves(FILE *page, const struct sweep_subject *subject,
                                           struct colonnade_error *error)
{
    const struct sweep *sweep = subject->sweep;
    if (longest_curve(sweep) == 0) {
        fputs("<p class=\"note\">The file holds no curves: no epoch of a row has ended, or it was "
              "written before sweeps kept them.</p>\n",
              page);
        return COLONNADE_OK;
    }
    write_explanation(page, sweep);
    fprintf(page, "<div class=\"charts multiples\" style=\"--across:%zu\">\n",
            count_across(&sweep->grid));
    for (size_t i = 0; i < sweep->grid.combinations; i++)
        write_chart(page, subject, i);
    fputs("</div>\n", page);
    write_ends(page, sweep);
    return COLONNADE_OK;
}
