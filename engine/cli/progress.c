/* Progress for people, on standard error: a bar that is drawn over on a terminal, a plain line
 * an epoch elsewhere. Knows of a run what the sink's records say.
 */
#include "engine/cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_WIDTH = 24, LINE_BYTES = 256 };

static const double redraw_seconds = 0.1;

void progress_clear(struct progress_display *display)
{
    if (display->drawn)
        fprintf(stderr, "\r\033[K");
    display->drawn = false;
}

static void epoch_begins(struct progress_display *display, size_t samples)
{
    display->samples_first = samples;
    display->epoch_start = seconds_now();
}

static enum colonnade_status begin(void *context, const struct run *run, size_t batches,
                                   struct colonnade_error *error)
{
    struct progress_display *display = context;
    char memory[64] = "";
    size_t bytes;
    if (experiment_bytes(run->graph, &run->settings, display->threads, &bytes, NULL) ==
        COLONNADE_OK)
        snprintf(memory, sizeof memory, ", %s beside the data", bytes_text((double)bytes));
    display->terminal = terminal_is_live();
    display->batches = batches;
    fprintf(stderr, "%s: %s parameters, %s step%s an epoch, %d thread%s%s -> %s\n", display->name,
            count_text(run->graph->parameters), count_text(batches), plural(batches),
            display->threads, plural(display->threads), memory, run->settings.output);
    if (run->progress.step)
        fprintf(stderr, "going on after step %ld, in epoch %d\n", run->progress.step,
                run->progress.epoch + 1);
    epoch_begins(display, run->progress.samples);
    return COLONNADE_OK;
}

/* Puts a bar between the two texts, as long as `columns` leave room for, and none where there is
 * none. What then is still too long loses its parts, two blanks between, from the first on: the
 * time that is left stands last. */
static void fit_line(char *line, size_t columns, const char *before, const char *after,
                     double share)
{
    char bar[BAR_WIDTH + 1] = "";
    const size_t taken = strlen(before) + strlen(" [] ") + strlen(after);
    const size_t room = columns > taken ? columns - taken : 0;
    const size_t width = room < BAR_WIDTH ? room : BAR_WIDTH;
    memset(bar, ' ', width);
    memset(bar, '=', (size_t)(share * (double)width));
    snprintf(line, LINE_BYTES, width > 0 ? "%s [%s] %s" : "%s%s %s", before, bar, after);
    const char *rest = line;
    while (strlen(rest) > columns && strstr(rest, "  "))
        rest = strstr(rest, "  ") + 2;
    memmove(line, rest, strlen(rest) + 1);
    if (strlen(line) > columns)
        line[columns] = '\0';
}

static void draw(struct progress_display *display, const struct run *run, double now)
{
    const struct progress *progress = &run->progress;
    size_t done = progress->batch < display->batches ? progress->batch : display->batches;
    double share = display->batches ? (double)done / (double)display->batches : 0;
    double elapsed = now - display->epoch_start;
    double rate = (double)(progress->samples - display->samples_first) / fmax(elapsed, 1e-9);
    double left = (double)(display->batches - done) * run->settings.batch / fmax(rate, 1e-9);
    char line[LINE_BYTES], epoch[40], figures[120];
    snprintf(epoch, sizeof epoch, "epoch %d/%d", progress->epoch + 1, run->settings.epochs);
    snprintf(figures, sizeof figures, "%zu/%zu  loss %.4f  %s images/s  %s left", done,
             display->batches, progress->loss_sum / fmax((double)progress->samples, 1),
             count_text((uint64_t)rate), duration_text(left));
    /* A line that wraps cannot be drawn over. */
    fit_line(line, terminal_size(STDERR_FILENO).columns - 1, epoch, figures, share);
    fprintf(stderr, "\r%s\033[K", line);
    display->drawn = true;
    display->last_draw = now;
}

static enum colonnade_status step(void *context, const struct run *run,
                                  const struct step_record *record, struct colonnade_error *error)
{
    struct progress_display *display = context;
    if (!display->terminal)
        return COLONNADE_OK;
    double now = seconds_now();
    if (now - display->last_draw >= redraw_seconds && run->progress.samples)
        draw(display, run, now);
    return COLONNADE_OK;
}

static enum colonnade_status epoch(void *context, const struct run *run,
                                   const struct epoch_record *record, struct colonnade_error *error)
{
    struct progress_display *display = context;
    progress_clear(display);
    fprintf(stderr, "epoch %d/%d  train loss %.4f, accuracy %.2f %%", record->epoch,
            run->settings.epochs, record->train_loss, 100 * record->train_accuracy);
    if (!isnan(record->val_loss))
        fprintf(stderr, "  validation loss %.4f, accuracy %.2f %%", record->val_loss,
                100 * record->val_accuracy);
    fprintf(stderr, "  lr %.4g  %s images/s  %.1f s\n", record->lr,
            count_text((uint64_t)record->images_per_second), record->seconds);
    epoch_begins(display, 0);
    return COLONNADE_OK;
}

struct sink progress_sink(struct progress_display *display)
{
    return (struct sink){.context = display, .begin = begin, .step = step, .epoch = epoch};
}
