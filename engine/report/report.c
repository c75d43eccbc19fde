/* Puts the pages together: which section of a template is written by whom. */
#include "engine/report/report.h"

#include "engine/base/memory.h"
#include "engine/report/assets.h"
#include "engine/report/compare.h"
#include "engine/report/sections.h"
#include "engine/report/sweep_sections.h"
#include "engine/report/template.h"
#include "engine/store/store.h"

#include <stdlib.h>

static const struct {
    const char *name;
    section_writer *write;
} run_sections[] = {
    {"title", section_title},         {"headline", section_headline},
    {"curves", section_curves},       {"epochs", section_epochs},
    {"data", section_data},           {"classes", section_classes},
    {"network", section_network},     {"graph", section_graph},
    {"confusion", section_confusion}, {"filters", section_filters},
    {"facts", section_facts},         {"config", section_config},
    {"samples", section_samples},     {"worst", section_worst},
    {"features", section_features},   {"occlusion", section_occlusion},
};

static const struct {
    const char *name;
    sweep_section_writer *write;
} sweep_sections[] = {
    {"title", sweep_section_title},
    {"headline", sweep_section_headline},
    {"front", sweep_section_front},
    {"data", sweep_section_data},
    {"keys", sweep_section_keys},
    {"maps", sweep_section_maps},
    {"combinations", sweep_section_combinations},
    {"curves", sweep_section_curves},
    {"rows", sweep_section_rows},
    {"facts", sweep_section_facts},
    {"troubles", sweep_section_troubles},
    {"config", sweep_section_config},
};

static enum colonnade_status unknown_section(const char *name, size_t length,
                                             struct colonnade_error *error)
{
    return error_set(error, COLONNADE_FAILURE, "the report's template names %.*s, which is nothing",
                     (int)length, name);
}

static enum colonnade_status write_run_section(FILE *page, const char *name, size_t length,
                                               const void *subject, struct colonnade_error *error)
{
    for (size_t i = 0; i < COUNT_OF(run_sections); i++)
        if (template_names(run_sections[i].name, name, length))
            return run_sections[i].write(page, subject, error);
    return unknown_section(name, length, error);
}

static enum colonnade_status write_sweep_section(FILE *page, const char *name, size_t length,
                                                 const void *subject, struct colonnade_error *error)
{
    for (size_t i = 0; i < COUNT_OF(sweep_sections); i++)
        if (template_names(sweep_sections[i].name, name, length))
            return sweep_sections[i].write(page, subject, error);
    return unknown_section(name, length, error);
}

static enum colonnade_status write_compare_section(FILE *page, const char *name, size_t length,
                                                   const void *subject,
                                                   struct colonnade_error *error)
{
    for (size_t i = 0; compare_sections[i].name; i++)
        if (template_names(compare_sections[i].name, name, length))
            return compare_sections[i].write(page, subject, error);
    return unknown_section(name, length, error);
}

static const struct template run_template = {
    report_page, {report_script, report_gallery}, write_run_section};
static const struct template sweep_template = {
    report_sweep_page, {report_sweep_script, report_multiples}, write_sweep_section};
static const struct template compare_template = {
    report_compare_page, {report_compare_script}, write_compare_section};

enum colonnade_status report_html(const struct run *run, char **html, size_t *count,
                                  struct colonnade_error *error)
{
    return template_fill(&run_template, run, html, count, error);
}

enum colonnade_status report_sweep_html(const struct sweep *sweep, char **html, size_t *count,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t combinations = sweep->grid.combinations;
    struct sweep_summary *summaries = NULL;
    TRY(memory_allocate(&summaries, combinations, sizeof *summaries, "a report", error));
    for (size_t i = 0; i < combinations; i++)
        summaries[i] = sweep_summarize(sweep, i);
    const struct sweep_subject subject = {sweep, summaries};
    TRY(template_fill(&sweep_template, &subject, html, count, error));
out:
    free(summaries);
    return status;
}

/* Takes over `html`. */
static enum colonnade_status put(const char *path, char *html, size_t count,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = file_replace(path, html, count, error);
    free(html);
    return status;
}

enum colonnade_status report_write(const struct run *run, const char *path,
                                   struct colonnade_error *error)
{
    enum colonnade_status status;
    char *html = NULL;
    size_t count = 0;
    TRY(report_html(run, &html, &count, error));
    TRY(put(path, html, count, error));
out:
    return status;
}

enum colonnade_status report_sweep_write(const struct sweep *sweep, const char *path,
                                         struct colonnade_error *error)
{
    enum colonnade_status status;
    char *html = NULL;
    size_t count = 0;
    TRY(report_sweep_html(sweep, &html, &count, error));
    TRY(put(path, html, count, error));
out:
    return status;
}

enum colonnade_status report_compare_write(struct run *const *runs, const char *const *paths,
                                           size_t count, const char *path,
                                           struct colonnade_error *error)
{
    enum colonnade_status status;
    const struct comparison comparison = {runs, paths, count};
    char *html = NULL;
    size_t bytes = 0;
    TRY(template_fill(&compare_template, &comparison, &html, &bytes, error));
    TRY(put(path, html, bytes, error));
out:
    return status;
}
