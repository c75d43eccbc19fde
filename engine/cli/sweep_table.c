/* A sweep as people read it: rows on standard error while it is under way, all combinations on
 * standard output at its end.
 */
#include "engine/cli/sweep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 512 };

static const double redraw_seconds = 0.1;

static int at_least(const char *text, size_t width)
{
    return (int)(strlen(text) > width ? strlen(text) : width);
}

/* The width of an axis' column. */
static int axis_width(const struct sweep_axis *axis)
{
    size_t width = strlen(axis->name);
    for (size_t i = 0; i < axis->values.count; i++)
        width = (size_t)at_least(axis->values.items[i], width);
    return (int)width;
}

static void print_names(FILE *stream, const struct sweep_grid *grid)
{
    for (size_t i = 0; i < grid->axis_count; i++)
        fprintf(stream, "%-*s  ", axis_width(&grid->axes[i]), grid->axes[i].name);
}

static void print_values(FILE *stream, const struct sweep_grid *grid, size_t combination)
{
    for (size_t i = 0; i < grid->axis_count; i++)
        fprintf(stream, "%-*s  ", axis_width(&grid->axes[i]), sweep_value(grid, combination, i));
}

/* A guess: as long as what is done so far took, row for row, less what has passed since. */
static const char *time_left(const struct sweep_board *board)
{
    const double done = (double)board->trained + board->under_way;
    if (done == 0)
        return "?";
    const double each = (board->moved - board->start) / done;
    const double left = each * ((double)board->to_train - done) - (seconds_now() - board->moved);
    return duration_text(fmax(left, 0));
}

void table_clear(struct sweep_board *board)
{
    if (board->drawn)
        fprintf(stderr, "\r\033[K");
    board->drawn = false;
}

void table_status(struct sweep_board *board, const char *text)
{
    const double now = seconds_now();
    if (!board->terminal || board->quiet || now - board->last_draw < redraw_seconds)
        return;
    char line[LINE_BYTES];
    snprintf(line, sizeof line, "%zu/%zu  %s  %s left", board->trained, board->to_train, text,
             time_left(board));
    const size_t columns = terminal_size(STDERR_FILENO).columns;
    if (columns < sizeof line)
        line[columns - 1] = '\0'; /* a line that wraps cannot be drawn over */
    fprintf(stderr, "\r%s\033[K", line);
    board->drawn = true;
    board->last_draw = now;
}

void table_begin(struct sweep_board *board)
{
    const struct sweep *sweep = board->sweep;
    const struct sweep_grid *grid = &sweep->grid;
    if (board->quiet)
        return;
    fprintf(stderr, "%s: %zu combination%s, %zu seed%s, %zu row%s to train, ", sweep->config->path,
            grid->combinations, plural(grid->combinations), grid->seed_count,
            plural(grid->seed_count), board->to_train, plural(board->to_train));
    if (sweep->jobs > 1)
        fprintf(stderr, "%d at a time, ", sweep->jobs);
    fprintf(stderr, "%d thread%s -> %s\n", sweep->threads, plural(sweep->threads), board->path);
    print_names(stderr, grid);
    fprintf(stderr, "%6s  %8s  %8s  %10s  %s\n", "seed", "accuracy", "step ms", "images/s", "left");
    for (size_t i = 0; i < grid->combinations; i++)
        if (sweep_row(sweep, i, 0)->status == SWEEP_INVALID) {
            print_values(stderr, grid, i);
            fprintf(stderr, "invalid: %s\n", sweep_row(sweep, i, 0)->reason);
        }
}

void table_row(struct sweep_board *board, size_t combination, size_t seed)
{
    const struct sweep *sweep = board->sweep;
    const struct sweep_row *row = sweep_row(sweep, combination, seed);
    if (board->quiet)
        return;
    table_clear(board);
    print_values(stderr, &sweep->grid, combination);
    fprintf(stderr, "%6llu  ", (unsigned long long)sweep->grid.seeds[seed]);
    if (row->status == SWEEP_COMPLETE)
        fprintf(stderr, "%6.2f %%  %8.3f  %10s  %s\n", 100 * row->test_accuracy, row->step_ms,
                isnan(row->images_per_second) ? "-" : count_text((uint64_t)row->images_per_second),
                time_left(board));
    else
        fprintf(stderr, "%s: %s\n", sweep_row_status_names[row->status], row->reason);
}

/* "96.52 +- 0.31" of a share, where there is an interval. */
static void print_accuracy(struct sweep_figure figure)
{
    char text[48] = "-";
    if (!isnan(figure.interval))
        snprintf(text, sizeof text, "%.2f +- %.2f", 100 * figure.mean, 100 * figure.interval);
    else if (!isnan(figure.mean))
        snprintf(text, sizeof text, "%.2f", 100 * figure.mean);
    printf("%14s  ", text);
}

static void print_combination(const struct sweep *sweep, size_t combination)
{
    const struct sweep_summary summary = sweep_summarize(sweep, combination);
    const struct sweep_row *row = sweep_row(sweep, combination, 0);
    print_values(stdout, &sweep->grid, combination);
    if (summary.status != SWEEP_COMPLETE) {
        printf("%s: %s\n", sweep_row_status_names[summary.status], summary.reason);
        return;
    }
    print_accuracy(summary.test_accuracy);
    const double rate = summary.images_per_second.mean;
    printf("%8.3f  %10s  %10s  ", summary.step_ms.mean,
           isnan(rate) ? "-" : count_text((uint64_t)rate), count_text(row->parameters));
    printf("%13s  %10s  %s", count_text(row->macs), bytes_text((double)row->activation_bytes),
           shape_text(row->output_shape));
    if (summary.test_accuracy.count < sweep->grid.seed_count && summary.reason[0])
        printf("  %zu of %zu seeds; %s", summary.test_accuracy.count, sweep->grid.seed_count,
               summary.reason);
    printf("\n");
}

enum colonnade_status table_print(const struct sweep *sweep, struct colonnade_error *error)
{
    print_names(stdout, &sweep->grid);
    printf("%14s  %8s  %10s  %10s  %13s  %10s  %s\n", "accuracy %", "step ms", "images/s",
           "parameters", "multiply-adds", "bytes", "last map");
    for (size_t i = 0; i < sweep->grid.combinations; i++)
        print_combination(sweep, i);
    if (sweep->grid.seed_count > 1)
        printf("accuracy: mean of %zu seeds, and half of its 95 %% confidence interval\n",
               sweep->grid.seed_count);
    return output_flush(error);
}
