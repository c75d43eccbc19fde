/* A sweep's numbers as tables: combinations, rows, and what could not be trained. */
#include "engine/report/html.h"
#include "engine/report/sweep_sections.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static void write_heading(FILE *page, const char *heading)
{
    fprintf(page, "<th scope=\"col\">%s</th>", heading);
}

void sweep_table_begin(FILE *page, const struct sweep *sweep, const char *label, const char *kind)
{
    html_table_begin(page, label, kind);
    fputs("<thead><tr><th scope=\"col\">no.</th>", page);
    for (size_t i = 0; i < sweep->grid.axis_count; i++) {
        fputs("<th scope=\"col\">", page);
        html_text(page, sweep->grid.axes[i].name);
        fputs("</th>", page);
    }
}

void sweep_table_row(FILE *page, const struct sweep *sweep, size_t combination)
{
    fprintf(page, "<tr><th scope=\"row\" data-value=\"%zu\">%zu</th>", combination + 1,
            combination + 1);
    for (size_t i = 0; i < sweep->grid.axis_count; i++) {
        fputs("<td class=\"setting\">", page);
        html_text(page, sweep_value(&sweep->grid, combination, i));
        fputs("</td>", page);
    }
}

static void write_sizes(FILE *page, const struct sweep_row *row)
{
    html_cell_count(page, row->parameters);
    html_cell_count(page, row->macs);
    html_cell_count(page, row->activation_bytes);
    if (row->output_shape.c)
        fprintf(page, "<td>%d×%d×%d</td>", row->output_shape.c, row->output_shape.h,
                row->output_shape.w);
    else
        fputs("<td>–</td>", page);
}

static void write_size_headings(FILE *page)
{
    write_heading(page, "parameters");
    write_heading(page, "multiply-adds");
    write_heading(page, "bytes");
    write_heading(page, "last map");
}

enum colonnade_status sweep_section_combinations(FILE *page, const struct sweep_subject *subject,
                                                 struct colonnade_error *error)
{
    static const char *const headings[] = {"accuracy", "± 95 %", "sd",       "test loss",
                                           "step ms",  "± 95 %", "images/s", "front"};
    const struct sweep *sweep = subject->sweep;
    const size_t combinations = sweep->grid.combinations;
    sweep_table_begin(page, sweep, "Combinations", "numbers sortable combinations");
    for (size_t i = 0; i < sizeof headings / sizeof *headings; i++)
        write_heading(page, headings[i]);
    write_size_headings(page);
    fputs("</tr></thead>\n<tbody>\n", page);
    for (size_t i = 0; i < combinations; i++) {
        const struct sweep_summary *summary = &subject->summaries[i];
        const bool front = sweep_is_efficient(subject->summaries, combinations, i);
        sweep_table_row(page, sweep, i);
        html_cell(page, summary->test_accuracy.mean, html_percent);
        html_cell(page, summary->test_accuracy.interval, html_percent);
        html_cell(page, summary->test_accuracy.sd, html_percent);
        html_cell(page, summary->test_loss.mean, html_number);
        html_cell(page, summary->step_ms.mean, html_number);
        html_cell(page, summary->step_ms.interval, html_number);
        html_cell(page, summary->images_per_second.mean, html_rate);
        fprintf(page, "<td data-value=\"%d\">%s</td>", front, front ? "●" : "");
        write_sizes(page, sweep_row(sweep, i, 0));
        fputs("</tr>\n", page);
    }
    fputs("</tbody>\n", page);
    html_table_end(page);
    fputs("<p class=\"note\">Means over the seeds that are complete; ± is half of the 95 % "
          "confidence interval of the mean, by Student's t. ● marks the efficient front: no other "
          "combination is as accurate in less time a step. Multiply-adds and bytes of all nodes' "
          "outputs are those of one image.</p>\n",
          page);
    return COLONNADE_OK;
}

enum colonnade_status sweep_section_rows(FILE *page, const struct sweep_subject *subject,
                                         struct colonnade_error *error)
{
    static const char *const headings[] = {"seed",     "test accuracy", "test loss", "train loss",
                                           "images/s", "step ms",       "seconds"};
    const struct sweep *sweep = subject->sweep;
    sweep_table_begin(page, sweep, "Rows", "numbers sortable rows");
    for (size_t i = 0; i < sizeof headings / sizeof *headings; i++)
        write_heading(page, headings[i]);
    fputs("</tr></thead>\n<tbody>\n", page);
    for (size_t i = 0; i < sweep->grid.combinations; i++)
        for (size_t seed = 0; seed < sweep->grid.seed_count; seed++) {
            const struct sweep_row *row = sweep_row(sweep, i, seed);
            if (row->status != SWEEP_COMPLETE)
                continue;
            sweep_table_row(page, sweep, i);
            fprintf(page, "<td data-value=\"%llu\">%llu</td>",
                    (unsigned long long)sweep->grid.seeds[seed],
                    (unsigned long long)sweep->grid.seeds[seed]); /* a name, not an amount */
            html_cell(page, row->test_accuracy, html_percent);
            html_cell(page, row->test_loss, html_number);
            html_cell(page, row->train_loss, html_number);
            html_cell(page, row->images_per_second, html_rate);
            html_cell(page, row->step_ms, html_number);
            html_cell(page, row->seconds, html_number);
            fputs("</tr>\n", page);
        }
    fputs("</tbody>\n", page);
    html_table_end(page);
    return COLONNADE_OK;
}

static bool fared_alike(const struct sweep_row *a, const struct sweep_row *b)
{
    return a->status == b->status && strcmp(a->reason, b->reason) == 0;
}

/* Whether it was not trained, and no earlier seed's row tells the same. */
static bool is_first_trouble(const struct sweep_row *rows, size_t seed)
{
    for (size_t i = 0; i < seed; i++)
        if (fared_alike(&rows[i], &rows[seed]))
            return false;
    return rows[seed].status != SWEEP_COMPLETE;
}

/* The seeds of a combination whose rows fared as that of `first`. */
static void write_seeds(FILE *page, const struct sweep_grid *grid, const struct sweep_row *rows,
                        size_t first)
{
    fputs("<td class=\"text seeds\">", page);
    for (size_t i = first; i < grid->seed_count; i++)
        if (fared_alike(&rows[i], &rows[first]))
            fprintf(page, "%s%llu", i > first ? ", " : "", (unsigned long long)grid->seeds[i]);
    fputs("</td>", page);
}

enum colonnade_status sweep_section_troubles(FILE *page, const struct sweep_subject *subject,
                                             struct colonnade_error *error)
{
    const struct sweep *sweep = subject->sweep;
    bool begun = false;
    for (size_t i = 0; i < sweep->grid.combinations; i++)
        for (size_t seed = 0; seed < sweep->grid.seed_count; seed++) {
            const struct sweep_row *rows = sweep_row(sweep, i, 0);
            if (!is_first_trouble(rows, seed))
                continue;
            if (!begun) {
                sweep_table_begin(page, sweep, "Not trained", "numbers troubles");
                fputs("<th scope=\"col\" class=\"text\">seeds</th>", page);
                write_heading(page, "status");
                fputs("<th scope=\"col\" class=\"text\">reason</th></tr></thead>\n<tbody>\n", page);
            }
            begun = true;
            sweep_table_row(page, sweep, i);
            if (rows[seed].status == SWEEP_INVALID)
                fputs("<td class=\"text\">all</td>", page);
            else
                write_seeds(page, &sweep->grid, rows, seed);
            fprintf(page, "<td>%s</td><td class=\"text reason\">",
                    sweep_row_status_names[rows[seed].status]);
            html_text(page, rows[seed].reason);
            fputs("</td></tr>\n", page);
        }
    if (begun) {
        fputs("</tbody>\n", page);
        html_table_end(page);
    } else
        fputs("<p class=\"note\">Every combination was trained with every seed.</p>\n", page);
    return COLONNADE_OK;
}
