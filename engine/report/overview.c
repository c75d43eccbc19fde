/* What a reader wants first: the run's name, its headline numbers, its facts, its config. */
#include "engine/report/html.h"
#include "engine/report/sections.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The last part of the output's path (of the config's, where there is none), without its
 * extension. */
static void write_name(FILE *page, const struct run *run)
{
    const char *output = run->settings.output;
    const char *path = output && *output ? output : run->config->path;
    const char *slash = strrchr(path, '/');
    char name[256];
    snprintf(name, sizeof name, "%s", slash ? slash + 1 : path);
    char *dot = strrchr(name, '.');
    if (dot && dot != name)
        *dot = '\0';
    html_text(page, name);
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

static void headline_number(FILE *page, const char *label, double number, html_format *format)
{
    fprintf(page, "<div><dt>%s</dt><dd", label);
    if (isfinite(number))
        fprintf(page, " data-value=\"%.9g\"", number);
    fputc('>', page);
    format(page, number);
    fputs("</dd></div>\n", page);
}

static void headline_count(FILE *page, const char *label, uint64_t count, const char *note)
{
    fprintf(page, "<div><dt>%s</dt><dd data-value=\"%" PRIu64 "\">", label, count);
    html_count(page, count);
    fprintf(page, "%s</dd></div>\n", note);
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
    headline_number(page, "Test accuracy", accuracy, html_percent);
    headline_number(page, "Test loss", run->evaluated ? test->loss : NAN, html_number);
    if (run->evaluated && test->classes > 5)
        headline_number(page, "Test top-5", test->top5, html_percent);
    headline_count(page, "Parameters", run->graph->parameters, "");
    char of[48] = "";
    if (run->settings.epochs != run->progress.epoch)
        snprintf(of, sizeof of, " <small>of %d</small>", run->settings.epochs);
    headline_count(page, "Epochs", (uint64_t)run->progress.epoch, of);
    headline_number(page, "Training time", run->progress.total_seconds, html_duration);
    headline_number(page, "Median images/s", rate, html_rate);
    fputs("</dl>\n", page);
    if (!run->evaluated)
        fputs("<p class=\"note\">The test split has not been scored yet.</p>\n", page);
    return COLONNADE_OK;
}

static void fact_begin(FILE *page, const char *label)
{
    fprintf(page, "<div><dt>%s</dt><dd>", label);
}

static void fact_text(FILE *page, const char *label, const char *text)
{
    fact_begin(page, label);
    html_text(page, text);
    fputs("</dd></div>\n", page);
}

static void fact_count(FILE *page, const char *label, uint64_t count)
{
    fact_begin(page, label);
    html_count(page, count);
    fputs("</dd></div>\n", page);
}

static void fact_channels(FILE *page, const char *label, const float *values, int channels)
{
    fact_begin(page, label);
    for (int i = 0; i < channels; i++)
        fprintf(page, "%s%.4g", i ? ", " : "", (double)values[i]);
    fputs("</dd></div>\n", page);
}

enum colonnade_status section_facts(FILE *page, const struct run *run,
                                    struct colonnade_error *error)
{
    fputs("<dl class=\"facts\">\n", page);
    fact_text(page, "File", run->config->path);
    fact_begin(page, "Seed");
    fprintf(page, "%" PRIu64 "</dd></div>\n", run->settings.seed); /* a name, not an amount */
    if (run->optimizer)
        fact_text(page, "Optimizer", run->optimizer->type->name);
    fact_count(page, "Batch", (uint64_t)run->settings.batch);
    fact_count(page, "Steps done", (uint64_t)run->progress.step);
    fact_count(page, "Multiply-adds an image", run->graph->macs);
    if (run->evaluated)
        fact_count(page, "Test images", run->evaluation.count);
    if (run->data.mean)
        fact_channels(page, "Mean of the pixels", run->data.mean, run->data.shape.c);
    if (run->data.std)
        fact_channels(page, "Their deviation", run->data.std, run->data.shape.c);
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
