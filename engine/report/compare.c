/* Several runs on one page: their final figures, their curves on common axes, and what their
 * configs differ in.
 */
#include "engine/report/compare.h"

#include "engine/base/memory.h"
#include "engine/report/curves.h"
#include "engine/report/html.h"

#include <math.h>
#include <string.h>

static void write_file_name(char *name, size_t bytes, const char *path)
{
    const char *slash = strrchr(path, '/');
    snprintf(name, bytes, "%s", slash ? slash + 1 : path);
}

/* The file's name, or the whole path where two runs have that name. */
static void write_name(FILE *page, const struct comparison *comparison, size_t index)
{
    char name[256], other[256];
    bool unique = true;
    write_file_name(name, sizeof name, comparison->paths[index]);
    for (size_t i = 0; i < comparison->count; i++) {
        write_file_name(other, sizeof other, comparison->paths[i]);
        unique &= i == index || strcmp(name, other) != 0;
    }
    if (unique)
        html_file_name(page, comparison->paths[index]);
    else
        html_text(page, comparison->paths[index]);
}

static enum colonnade_status section_title(FILE *page, const struct comparison *comparison,
                                           struct colonnade_error *error)
{
    for (size_t i = 0; i < comparison->count; i++) {
        fputs(i ? " · " : "", page);
        write_name(page, comparison, i);
    }
    return COLONNADE_OK;
}

static enum colonnade_status section_headline(FILE *page, const struct comparison *comparison,
                                              struct colonnade_error *error)
{
    size_t best = comparison->count;
    for (size_t i = 0; i < comparison->count; i++)
        if (comparison->runs[i]->evaluated &&
            (best == comparison->count || comparison->runs[i]->evaluation.accuracy >
                                              comparison->runs[best]->evaluation.accuracy))
            best = i;
    const bool any = best < comparison->count;
    fprintf(page, "<h1>%zu runs</h1>\n<p class=\"subtitle\">", comparison->count);
    if (any) {
        fputs("Most accurate on its test images: <b>", page);
        write_name(page, comparison, best);
        fputs("</b>", page);
    } else
        fputs("None of them has been scored yet.", page);
    fputs("</p>\n<dl class=\"headline\">\n", page);
    html_headline_number(page, "Best test accuracy",
                         any ? comparison->runs[best]->evaluation.accuracy : NAN, html_percent);
    fputs("</dl>\n", page);
    return COLONNADE_OK;
}

static void write_figures(FILE *page, const struct run *run)
{
    const struct epoch_record *best = curves_best_epoch(&run->metrics);
    const size_t epochs = run->metrics.epoch_count;
    const struct epoch_record *last = epochs ? &run->metrics.epochs[epochs - 1] : NULL;
    fprintf(page, "<td>%s</td>", run_status_names[run->status]);
    html_cell(page, run->evaluated ? run->evaluation.accuracy : NAN, html_percent);
    html_cell(page, run->evaluated ? run->evaluation.loss : NAN, html_number);
    html_cell(page, best ? best->val_accuracy : NAN, html_percent);
    html_cell(page, last ? last->train_loss : NAN, html_number);
    html_cell_count(page, (uint64_t)run->progress.epoch);
    html_cell(page, run->progress.total_seconds, html_duration);
    html_cell(page, last ? last->images_per_second : NAN, html_rate);
    html_cell_count(page, run->graph->parameters);
    html_cell_count(page, run->graph->macs);
}

static enum colonnade_status section_figures(FILE *page, const struct comparison *comparison,
                                             struct colonnade_error *error)
{
    static const char *const headings[] = {"run",
                                           "status",
                                           "test accuracy",
                                           "test loss",
                                           "best val. accuracy",
                                           "train loss",
                                           "epochs",
                                           "time",
                                           "images/s, last epoch",
                                           "parameters",
                                           "multiply-adds"};
    html_table_begin(page, "Figures", "numbers sortable figures");
    fputs("<thead><tr>", page);
    for (size_t i = 0; i < COUNT_OF(headings); i++)
        fprintf(page, "<th scope=\"col\">%s</th>", headings[i]);
    fputs("</tr></thead>\n<tbody>\n", page);
    for (size_t i = 0; i < comparison->count; i++) {
        fputs("<tr><th scope=\"row\">", page);
        write_name(page, comparison, i);
        fputs("</th>", page);
        write_figures(page, comparison->runs[i]);
        fputs("</tr>\n", page);
    }
    fputs("</tbody>\n", page);
    html_table_end(page);
    return COLONNADE_OK;
}

static enum colonnade_status section_curves(FILE *page, const struct comparison *comparison,
                                            struct colonnade_error *error)
{
    static const char *const charts[][3] = {
        {"Training loss", "train_loss", "number"},
        {"Validation loss", "val_loss", "number"},
        {"Training accuracy", "train_accuracy", "percent"},
        {"Validation accuracy", "val_accuracy", "percent"},
    };
    bool validated = false;
    for (size_t i = 0; i < comparison->count; i++)
        validated |= curves_best_epoch(&comparison->runs[i]->metrics) != NULL;
    fputs("<noscript><p class=\"note\">The charts need JavaScript. Each run's own page has its "
          "numbers.</p></noscript>\n<div class=\"charts\">\n",
          page);
    for (size_t i = 0; i < COUNT_OF(charts); i++)
        if (validated || strncmp(charts[i][1], "val", 3) != 0)
            fprintf(
                page,
                "<figure class=\"chart\"><figcaption>%s</figcaption><div class=\"plot\"><canvas "
                "role=\"img\" aria-label=\"%s over epochs\" data-column=\"%s\" "
                "data-format=\"%s\"></canvas></div></figure>\n",
                charts[i][0], charts[i][0], charts[i][1], charts[i][2]);
    fputs("</div>\n", page);
    return COLONNADE_OK;
}

/* "" where the config does not say. */
static const char *value_of(const struct run *run, const char *section_name, const char *key)
{
    const struct section *section = config_section(run->config, section_name);
    const struct entry *entry = section ? config_entry(section, key) : NULL;
    return entry ? entry->value : "";
}

static bool has_key(const struct run *run, const char *section_name, const char *key)
{
    const struct section *section = config_section(run->config, section_name);
    return section && config_entry(section, key);
}

/* Whether a key that run `first` has is none that a run before it has, and not the same in all. */
static bool is_difference(const struct comparison *comparison, size_t first, const char *section,
                          const char *key)
{
    const char *value = value_of(comparison->runs[first], section, key);
    bool differs = false;
    if (strcmp(section, "run") == 0 && strcmp(key, "output") == 0)
        return false;
    for (size_t i = 0; i < comparison->count; i++) {
        if (i < first && has_key(comparison->runs[i], section, key))
            return false;
        differs |= strcmp(value_of(comparison->runs[i], section, key), value) != 0;
    }
    return differs;
}

static void write_difference(FILE *page, const struct comparison *comparison, const char *section,
                             const char *key)
{
    fputs("<tr><th scope=\"row\">", page);
    html_text(page, section);
    fputs(".", page);
    html_text(page, key);
    fputs("</th>", page);
    for (size_t i = 0; i < comparison->count; i++) {
        const bool has = has_key(comparison->runs[i], section, key);
        fputs("<td>", page);
        html_text(page, has ? value_of(comparison->runs[i], section, key) : "–");
        fputs("</td>", page);
    }
    fputs("</tr>\n", page);
}

static void begin_differences(FILE *page, const struct comparison *comparison)
{
    html_table_begin(page, "Differences", "numbers differences");
    fputs("<thead><tr><th scope=\"col\">key</th>", page);
    for (size_t i = 0; i < comparison->count; i++) {
        fputs("<th scope=\"col\">", page);
        write_name(page, comparison, i);
        fputs("</th>", page);
    }
    fputs("</tr></thead>\n<tbody>\n", page);
}

static enum colonnade_status section_differences(FILE *page, const struct comparison *comparison,
                                                 struct colonnade_error *error)
{
    size_t found = 0;
    for (size_t i = 0; i < comparison->count; i++)
        for (size_t s = 0; s < comparison->runs[i]->config->count; s++) {
            const struct section *section = &comparison->runs[i]->config->sections[s];
            for (size_t e = 0; e < section->count; e++) {
                const char *key = section->entries[e].key;
                if (!is_difference(comparison, i, section->name, key))
                    continue;
                if (found++ == 0)
                    begin_differences(page, comparison);
                write_difference(page, comparison, section->name, key);
            }
        }
    if (found) {
        fputs("</tbody>\n", page);
        html_table_end(page);
    } else
        fputs("<p class=\"note\">In nothing but their outputs.</p>\n", page);
    return COLONNADE_OK;
}

static enum colonnade_status section_data(FILE *page, const struct comparison *comparison,
                                          struct colonnade_error *error)
{
    fputc('[', page);
    for (size_t i = 0; i < comparison->count; i++) {
        fputs(i ? ",\n" : "", page);
        curves_write_epochs(page, &comparison->runs[i]->metrics);
    }
    fputc(']', page);
    return COLONNADE_OK;
}

const struct compare_section compare_sections[] = {
    {"title", section_title},
    {"headline", section_headline},
    {"figures", section_figures},
    {"curves", section_curves},
    {"differences", section_differences},
    {"data", section_data},
    {NULL, NULL},
};
