/* A sweep's numbers as tables: combinations, rows, and what could not be trained. */
#include "engine/report/html.h"
#include "engine/report/sweep_sections.h"

#include <math.h>

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

enum colonnade_status sweep_section_troubles(FILE *page, const struct sweep_subject *subject,
                                             struct colonnade_error *error)
{
    const struct sweep *sweep = subject->sweep;
    bool begun = false;
    for (size_t i = 0; i < sweep->grid.combinations * sweep->grid.seed_count; i++) {
        const struct sweep_row *row = &sweep->rows[i];
        const size_t seed = i % sweep->grid.seed_count;
        if (row->status == SWEEP_COMPLETE || (row->status == SWEEP_INVALID && seed > 0))
            continue;
        if (!begun) {
            sweep_table_begin(page, sweep, "Not trained", "numbers troubles");
            write_heading(page, "seed");
            write_heading(page, "status");
            fputs("<th scope=\"col\" class=\"text\">reason</th></tr></thead>\n<tbody>\n", page);
        }
        begun = true;
        sweep_table_row(page, sweep, i / sweep->grid.seed_count);
        if (row->status == SWEEP_INVALID)
            fputs("<td>all</td>", page);
        else
            fprintf(page, "<td>%llu</td>", (unsigned long long)sweep->grid.seeds[seed]);
        fprintf(page, "<td>%s</td><td class=\"text reason\">", sweep_row_status_names[row->status]);
        html_text(page, row->reason);
        fputs("</td></tr>\n", page);
    }
    if (begun) {
        fputs("</tbody>\n", page);
        html_table_end(page);
    } else
        fputs("<p class=\"note\">Every combination was trained with every seed.</p>\n", page);
    return COLONNADE_OK;
}
