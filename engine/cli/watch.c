/* colonnade watch: the curves of a run, under way or ended, in the terminal. Drawn anew every
 * second while the run goes on; once where standard output is no terminal.
 */
#include "engine/cli/cli.h"

#include "engine/base/memory.h"
#include "engine/cli/chart.h"
#include "engine/store/store.h"

#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROWS_LEAST = 4, ROWS_MOST = 16, COLUMNS_LEAST = 20, MARGIN_COLUMNS = 12, OTHER_ROWS = 5 };

/* A run's curves, by epoch. */
struct picture {
    struct point *steps; /* means of neighbouring steps' losses */
    size_t step_count;
    struct point *train_loss, *val_loss, *train_accuracy, *val_accuracy; /* [epochs] */
    size_t epochs;
};

static void picture_finish(struct picture *picture)
{
    free(picture->steps);
    free(picture->train_loss);
    free(picture->val_loss);
    free(picture->train_accuracy);
    free(picture->val_accuracy);
}

static enum colonnade_status allocate_points(struct point **points, size_t count,
                                             struct colonnade_error *error)
{
    return memory_allocate(points, count, sizeof **points, "a curve", error);
}

/* At most `most` points out of all steps. An epoch has as many steps as those that ended had. */
static enum colonnade_status average_steps(struct picture *picture, const struct metrics *metrics,
                                           size_t most, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t count = metrics->step_count;
    const size_t bucket = count / most + 1;
    const double epochs =
        metrics->epoch_count ? (double)metrics->epochs[metrics->epoch_count - 1].epoch : 1;
    TRY(allocate_points(&picture->steps, count / bucket + 1, error));
    for (size_t first = 0; first < count; first += bucket) {
        const size_t n = count - first < bucket ? count - first : bucket;
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += metrics->steps[first + i].loss;
        picture->steps[picture->step_count++] =
            (struct point){(double)(first + n) / (double)count * epochs, sum / (double)n};
    }
out:
    return status;
}

static enum colonnade_status picture_init(struct picture *picture, const struct metrics *metrics,
                                          size_t most, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t n = metrics->epoch_count;
    *picture = (struct picture){.epochs = n};
    TRY(average_steps(picture, metrics, most, error));
    TRY(allocate_points(&picture->train_loss, n, error));
    TRY(allocate_points(&picture->val_loss, n, error));
    TRY(allocate_points(&picture->train_accuracy, n, error));
    TRY(allocate_points(&picture->val_accuracy, n, error));
    for (size_t i = 0; i < n; i++) {
        const struct epoch_record *epoch = &metrics->epochs[i];
        const double x = epoch->epoch;
        picture->train_loss[i] = (struct point){x, epoch->train_loss};
        picture->val_loss[i] = (struct point){x, epoch->val_loss};
        picture->train_accuracy[i] = (struct point){x, epoch->train_accuracy};
        picture->val_accuracy[i] = (struct point){x, epoch->val_accuracy};
    }
out:
    return status;
}

/* The epochs of a curve that has any number in them. */
static size_t present(const struct point *points, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (isfinite(points[i].y))
            return count;
    return 0;
}

static void print_standing(const char *path, const struct watched *watched)
{
    const struct metrics *metrics = &watched->metrics;
    const bool lost = watched->status == RUN_TRAINING && !watched->under_way;
    printf("%s: %s", path,
           lost ? "not being trained, it ended without a word" : run_status_names[watched->status]);
    if (metrics->epoch_count)
        printf(", epoch %d", metrics->epochs[metrics->epoch_count - 1].epoch);
    if (metrics->step_count) {
        const struct step_record *last = &metrics->steps[metrics->step_count - 1];
        printf(", step %s, lr %.4g", count_text((uint64_t)last->step), last->lr);
    }
    if (metrics->epoch_count)
        printf(", %s images/s",
               count_text((uint64_t)metrics->epochs[metrics->epoch_count - 1].images_per_second));
    printf("\n");
}

static enum colonnade_status draw(const char *path, const struct watched *watched,
                                  const struct chart_style *style, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct picture picture = {0};
    TRY(picture_init(&picture, &watched->metrics, 2 * style->columns, error));
    const size_t n = picture.epochs;
    const struct curve losses[] = {
        {"steps", picture.steps, picture.step_count},
        {"validation", picture.val_loss, present(picture.val_loss, n)},
        {"training", picture.train_loss, n},
    };
    const struct curve accuracies[] = {
        {"training", picture.train_accuracy, n},
        {"validation", picture.val_accuracy, present(picture.val_accuracy, n)},
    };
    print_standing(path, watched);
    chart_print(stdout, "loss", losses, 3, style);
    chart_print(stdout, "accuracy", accuracies, 2, style);
    TRY(output_flush(error));
out:
    picture_finish(&picture);
    return status;
}

static struct chart_style choose_style(bool terminal)
{
    const char *term = getenv("TERM");
    const struct terminal_size size = terminal_size(STDOUT_FILENO);
    size_t rows = size.rows > OTHER_ROWS ? (size.rows - OTHER_ROWS) / 2 : 0;
    setlocale(LC_CTYPE, "");
    return (struct chart_style){
        .columns = size.columns > MARGIN_COLUMNS + COLUMNS_LEAST ? size.columns - MARGIN_COLUMNS
                                                                 : COLUMNS_LEAST,
        .rows = rows < ROWS_LEAST  ? ROWS_LEAST
                : rows > ROWS_MOST ? ROWS_MOST
                                   : rows,
        .unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
        .colour = terminal && (!term || strcmp(term, "dumb") != 0) && !getenv("NO_COLOR"),
    };
}

enum colonnade_status verb_watch(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const char *path = options->operands[0];
    const bool terminal = isatty(STDOUT_FILENO);
    struct watched watched = {0};
    bool again = true;
    while (again) {
        const struct chart_style style = choose_style(terminal);
        watched_finish(&watched);
        TRY(watched_load(&watched, path, error));
        again = terminal && watched.under_way;
        if (again)
            printf("\033[H\033[2J");
        TRY(draw(path, &watched, &style, error));
        if (again)
            nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
out:
    watched_finish(&watched);
    return status;
}
