/* What a reader wants first: the run's name, its headline numbers, its facts, its config. */
#include "engine/report/html.h"
#include "engine/report/sections.h"

#include "engine/base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the output, or the config where there is none. */
static void write_name(FILE *page, const struct run *run)
{
    const char *output = run->settings.output;
    html_file_name(page, output && *output ? output : run->config->path);
}

enum colonnade_status section_title(FILE *page, const struct run *run,
                                    struct colonnade_error *error)
{
    write_name(page, run);
    if (run->evaluated) {
        fputs(" · ", page);
        html_percent(page, run->evaluation.accuracy);
    }
    return COLONNADE_OK;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of images a second over the epochs: the first epoch's warming up does not count. */
static enum colonnade_status median_rate(const struct run *run, double *median,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    size_t count = 0;
    double *rates = calloc(run->metrics.epoch_count + 1, sizeof *rates);
    if (!rates)
        RAISE(COLONNADE_FAILURE, "no memory for %zu epochs' rates", run->metrics.epoch_count);
    for (size_t i = 0; i < run->metrics.epoch_count; i++)
        if (isfinite(run->metrics.epochs[i].images_per_second))
            rates[count++] = run->metrics.epochs[i].images_per_second;
    qsort(rates, count, sizeof *rates, compare_doubles);
    *median = count ? (rates[(count - 1) / 2] + rates[count / 2]) / 2 : NAN;
out:
    free(rates);
    return status;
}

enum colonnade_status section_headline(FILE *page, const struct run *run,
                                       struct colonnade_error *error)
{
    double rate = NAN;
    enum colonnade_status status = median_rate(run, &rate, error);
    if (status != COLONNADE_OK)
        return status;
    const char *state = run_status_names[run->status];
    fputs("<h1>", page);
    write_name(page, run);
    fprintf(page, "</h1>\n<p class=\"subtitle\"><span class=\"status %s\">%s</span> ", state,
            state);
    html_text(page, run->data.source);
    fprintf(page, ", %d×%d×%d, %d classes</p>\n<dl class=\"headline\">\n", run->data.shape.c,
            run->data.shape.h, run->data.shape.w, run->data.classes);

    const struct evaluation *test = &run->evaluation;
    double accuracy = run->evaluated ? test->accuracy : NAN;
    html_headline_number(page, "Test accuracy", accuracy, html_percent);
    html_headline_number(page, "Test loss", run->evaluated ? test->loss : NAN, html_number);
    if (run->evaluated && test->classes > 5)
        html_headline_number(page, "Test top-5", test->top5, html_percent);
    html_headline_count(page, "Parameters", run->graph->parameters, "");
    char of[48] = "";
    if (run->settings.epochs != run->progress.epoch)
        snprintf(of, sizeof of, " <small>of %d</small>", run->settings.epochs);
    html_headline_count(page, "Epochs", (uint64_t)run->progress.epoch, of);
    html_headline_number(page, "Training time", run->progress.total_seconds, html_duration);
    html_headline_number(page, "Median images/s", rate, html_rate);
    fputs("</dl>\n", page);
    if (run->reason) {
        fputs("<p class=\"note\">It failed: ", page);
        html_text(page, run->reason);
        fputs(".</p>\n", page);
    }
    const enum tta tta = dataset_tta(run->config);
    if (tta != TTA_NONE)
        fprintf(
            page,
            "<p class=\"note\">Scores, mistakes and their probabilities are means over views of "
            "an image (tta = %s); maps and covered patches show it once.</p>\n",
            tta_names[tta]);
    if (!run->evaluated)
        fputs("<p class=\"note\">The test split has not been scored yet.</p>\n", page);
    return COLONNADE_OK;
}

static void fact_channels(FILE *page, const char *label, const float *values, int channels)
{
    html_fact_begin(page, label);
    for (int i = 0; i < channels; i++)
        fprintf(page, "%s%.4g", i ? ", " : "", (double)values[i]);
    fputs("</dd></div>\n", page);
}

void write_origin(FILE *page, const struct origin *origin)
{
    const struct {
        const char *label, *text;
    } facts[] = {{"Colonnade", origin->version},
                 {"Machine", origin->machine},
                 {"BLAS", origin->blas},
                 {"BLAS kernel", origin->blas_kernel}};
    for (size_t i = 0; i < COUNT_OF(facts); i++)
        if (facts[i].text)
            html_fact_text(page, facts[i].label, facts[i].text);
}

enum colonnade_status section_facts(FILE *page, const struct run *run,
                                    struct colonnade_error *error)
{
    fputs("<dl class=\"facts\">\n", page);
    html_fact_text(page, "File", run->config->path);
    html_fact_begin(page, "Seed");
    fprintf(page, "%" PRIu64 "</dd></div>\n", run->settings.seed); /* a name, not an amount */
    if (run->optimizer)
        html_fact_text(page, "Optimizer", run->optimizer->type->name);
    html_fact_count(page, "Batch", (uint64_t)run->settings.batch);
    html_fact_count(page, "Steps done", (uint64_t)run->progress.step);
    html_fact_count(page, "Multiply-adds an image", run->graph->macs);
    if (run->evaluated)
        html_fact_count(page, "Test images", run->evaluation.count);
    if (run->data.mean)
        fact_channels(page, "Mean of the pixels", run->data.mean, run->data.shape.c);
    if (run->data.std)
        fact_channels(page, "Their deviation", run->data.std, run->data.shape.c);
    write_origin(page, &run->origin);
    fputs("</dl>\n", page);
    return COLONNADE_OK;
}

enum colonnade_status section_config(FILE *page, const struct run *run,
                                     struct colonnade_error *error)
{
    char *text = NULL;
    enum colonnade_status status = config_print(run->config, &text, error);
    if (status == COLONNADE_OK)
        html_text(page, text);
    free(text);
    return status;
}
