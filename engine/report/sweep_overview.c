/* What a reader of a sweep wants first: what was swept, what came out best, and accuracy against
 * the time of a step. The numbers for the script that draws hold no text from outside.
 */
#include "engine/report/html.h"
#include "engine/report/sections.h"
#include "engine/report/sweep_sections.h"

#include "engine/base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void sweep_write_settings(FILE *page, const struct sweep *sweep, size_t combination)
{
    for (size_t i = 0; i < sweep->grid.axis_count; i++) {
        fputs(i ? ", " : "", page);
        html_text(page, sweep->grid.axes[i].name);
        fputs(" <b>", page);
        html_text(page, sweep_value(&sweep->grid, combination, i));
        fputs("</b>", page);
    }
}

enum colonnade_status sweep_section_title(FILE *page, const struct sweep_subject *subject,
                                          struct colonnade_error *error)
{
    html_file_name(page, subject->sweep->settings.output);
    return COLONNADE_OK;
}

/* The combination with the greatest figure, times `sign`; `combinations` where none has it. */
static size_t find_best(const struct sweep_subject *subject, size_t figure, double sign)
{
    const size_t combinations = subject->sweep->grid.combinations;
    size_t best = combinations;
    double most = -INFINITY;
    for (size_t i = 0; i < combinations; i++) {
        const char *summary = (const char *)&subject->summaries[i];
        const double mean = ((const struct sweep_figure *)(const void *)(summary + figure))->mean;
        if (!isnan(mean) && sign * mean > most) {
            most = sign * mean;
            best = i;
        }
    }
    return best;
}

static size_t count_rows(const struct sweep *sweep, enum sweep_row_status status)
{
    size_t count = 0;
    for (size_t i = 0; i < sweep->grid.combinations * sweep->grid.seed_count; i++)
        count += sweep->rows[i].status == status;
    return count;
}

static void write_counts(FILE *page, const struct sweep *sweep)
{
    html_headline_count(page, "Combinations", sweep->grid.combinations, "");
    html_headline_count(page, "Seeds", sweep->grid.seed_count, "");
    html_headline_count(page, "Rows complete", count_rows(sweep, SWEEP_COMPLETE), "");
    for (int i = 0; sweep_row_status_names[i]; i++)
        if (i != SWEEP_COMPLETE && count_rows(sweep, (enum sweep_row_status)i)) {
            char label[32];
            snprintf(label, sizeof label, "Rows %s", sweep_row_status_names[i]);
            html_headline_count(page, label, count_rows(sweep, (enum sweep_row_status)i), "");
        }
}

static void write_best(FILE *page, const struct sweep_subject *subject, const char *what,
                       size_t combination)
{
    fprintf(page, "<p class=\"note\">%s: ", what);
    sweep_write_settings(page, subject->sweep, combination);
    fputs(".</p>\n", page);
}

/* A sweep of which rows failed is complete, but not green. */
static void write_state(FILE *page, const struct sweep *sweep)
{
    const char *state = run_status_names[sweep->status];
    const size_t failed = count_rows(sweep, SWEEP_FAILED);
    const bool partial = sweep->status == RUN_COMPLETE && failed > 0;
    fprintf(page, "<span class=\"status %s\">%s", partial ? "partial" : state, state);
    if (failed)
        fprintf(page, ", %zu row%s failed", failed, plural(failed));
    fputs("</span>", page);
}

enum colonnade_status sweep_section_headline(FILE *page, const struct sweep_subject *subject,
                                             struct colonnade_error *error)
{
    const struct sweep *sweep = subject->sweep;
    const size_t combinations = sweep->grid.combinations;
    const size_t best = find_best(subject, offsetof(struct sweep_summary, test_accuracy), 1);
    const size_t fastest = find_best(subject, offsetof(struct sweep_summary, step_ms), -1);
    fputs("<h1>", page);
    html_file_name(page, sweep->settings.output);
    fputs("</h1>\n<p class=\"subtitle\">", page);
    write_state(page, sweep);
    fputs(" a sweep over ", page);
    for (size_t i = 0; i < sweep->grid.axis_count; i++) {
        fputs(i ? ", " : "", page);
        html_text(page, sweep->grid.axes[i].name);
    }
    fputs(sweep->grid.axis_count ? "</p>\n" : "seeds alone</p>\n", page);
    fputs("<dl class=\"headline\">\n", page);
    html_headline_number(page, "Best test accuracy",
                         best < combinations ? subject->summaries[best].test_accuracy.mean : NAN,
                         html_percent);
    html_headline_number(page, "Shortest step, ms",
                         fastest < combinations ? subject->summaries[fastest].step_ms.mean : NAN,
                         html_number);
    write_counts(page, sweep);
    fputs("</dl>\n", page);
    if (best < combinations && sweep->grid.axis_count)
        write_best(page, subject, "Best", best);
    if (fastest < combinations && sweep->grid.axis_count)
        write_best(page, subject, "Shortest step", fastest);
    if (sweep->jobs > 1)
        fprintf(page,
                "<p class=\"note\">%d rows were trained at a time: times do not compare with those "
                "of other sweeps, and among each other roughly.</p>\n",
                sweep->jobs);
    const struct sweep_threads threads = sweep_count_threads(sweep);
    if (threads.least < threads.most)
        fprintf(page,
                "<p class=\"note\">Rows were trained on %d to %d threads: their times do not "
                "compare.</p>\n",
                (int)threads.least, (int)threads.most);
    return COLONNADE_OK;
}

/* Whether the combination has a place in the chart. */
static bool has_point(const struct sweep_summary *summary)
{
    return !isnan(summary->step_ms.mean) && !isnan(summary->test_accuracy.mean);
}

enum colonnade_status sweep_section_front(FILE *page, const struct sweep_subject *subject,
                                          struct colonnade_error *error)
{
    size_t points = 0;
    for (size_t i = 0; i < subject->sweep->grid.combinations; i++)
        points += has_point(&subject->summaries[i]);
    if (points == 0) {
        fputs("<p class=\"note\">No combination has a test accuracy and a time.</p>\n", page);
        return COLONNADE_OK;
    }
    fputs("<noscript><p class=\"note\">The chart needs JavaScript. Its numbers stand in the table "
          "of combinations.</p></noscript>\n"
          "<div class=\"charts wide\">\n<figure class=\"chart\"><figcaption>Test accuracy "
          "<small>over milliseconds a step; means over seeds with 95 % intervals; the line is the "
          "efficient front",
          page);
    for (size_t i = 0; i < subject->sweep->grid.axis_count; i++) {
        fputs(i ? " · <b>" : ", with the values of <b>", page);
        html_text(page, subject->sweep->grid.axes[i].name);
        fputs("</b>", page);
    }
    fputs("</small></figcaption><div class=\"plot tall\"><canvas role=\"img\" "
          "aria-label=\"Test accuracy over milliseconds a step\"></canvas></div></figure>\n"
          "</div>\n",
          page);
    return COLONNADE_OK;
}

/* One array a combination: its index, step_ms and accuracy, half of their intervals, and whether it
 * is on the front. */
static void write_points(FILE *page, const struct sweep_subject *subject)
{
    const size_t combinations = subject->sweep->grid.combinations;
    const char *separator = "";
    fputc('[', page);
    for (size_t i = 0; i < combinations; i++) {
        const struct sweep_summary *summary = &subject->summaries[i];
        if (!has_point(summary))
            continue;
        const double numbers[] = {summary->step_ms.mean, summary->test_accuracy.mean,
                                  summary->step_ms.interval, summary->test_accuracy.interval};
        fprintf(page, "%s[%zu", separator, i);
        for (size_t j = 0; j < COUNT_OF(numbers); j++) {
            fputc(',', page);
            html_json_number(page, numbers[j], 9);
        }
        fprintf(page, ",%d]", sweep_is_efficient(subject->summaries, combinations, i));
        separator = ",\n";
    }
    fputc(']', page);
}

enum colonnade_status sweep_section_data(FILE *page, const struct sweep_subject *subject,
                                         struct colonnade_error *error)
{
    fputs("{\"points\":", page);
    write_points(page, subject);
    fputs(",\n", page);
    sweep_write_curves(page, subject->sweep);
    fputc('}', page);
    return COLONNADE_OK;
}

static void write_threads(FILE *page, const struct sweep *sweep)
{
    const struct sweep_threads threads = sweep_count_threads(sweep);
    html_fact_begin(page, "Threads of a row");
    if (threads.least < threads.most)
        fprintf(page, "%d to ", (int)threads.least);
    fprintf(page, "%d</dd></div>\n", threads.most ? (int)threads.most : sweep->threads);
}

enum colonnade_status sweep_section_facts(FILE *page, const struct sweep_subject *subject,
                                          struct colonnade_error *error)
{
    const struct sweep *sweep = subject->sweep;
    double seconds = 0;
    for (size_t i = 0; i < sweep->grid.combinations * sweep->grid.seed_count; i++)
        seconds += isnan(sweep->rows[i].seconds) ? 0 : sweep->rows[i].seconds;
    fputs("<dl class=\"facts\">\n", page);
    html_fact_text(page, "File", sweep->config->path);
    html_fact_begin(page, "Seeds");
    for (size_t i = 0; i < sweep->grid.seed_count; i++)
        fprintf(page, "%s%llu", i ? ", " : "", (unsigned long long)sweep->grid.seeds[i]);
    fputs("</dd></div>\n", page);
    html_fact_count(page, "Epochs", (uint64_t)sweep->settings.epochs);
    html_fact_count(page, "Batch", (uint64_t)sweep->settings.batch);
    html_fact_count(page, "Rows at a time", (uint64_t)sweep->jobs);
    write_threads(page, sweep);
    html_fact_begin(page, "Time of all rows");
    html_duration(page, seconds);
    fputs("</dd></div>\n", page);
    write_origin(page, &sweep->origin);
    fputs("</dl>\n", page);
    return COLONNADE_OK;
}

enum colonnade_status sweep_section_config(FILE *page, const struct sweep_subject *subject,
                                           struct colonnade_error *error)
{
    char *text = NULL;
    enum colonnade_status status = config_print(subject->sweep->config, &text, error);
    if (status == COLONNADE_OK)
        html_text(page, text);
    free(text);
    return status;
}
