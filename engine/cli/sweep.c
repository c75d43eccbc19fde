/* colonnade sweep: the rows of a grid, one after the other or several at a time, each saved as soon
 * as it is there.
 */
#include "engine/cli/sweep.h"

#include "engine/base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- results --- */

static bool is_done(const struct sweep *sweep, size_t combination)
{
    for (size_t seed = 0; seed < sweep->grid.seed_count; seed++)
        if (sweep_row(sweep, combination, seed)->status == SWEEP_WAITING)
            return false;
    return true;
}

static struct json_object *json_text(const char *text)
{
    return json_object_new_string(text);
}

/* Of a figure: the mean under its name, its spread and its interval. */
static void add_figure(struct json_object *line, const char *name, struct sweep_figure figure)
{
    char spread[64], interval[64];
    snprintf(spread, sizeof spread, "%s_sd", name);
    snprintf(interval, sizeof interval, "%s_interval", name);
    json_add(line, name, json_number(figure.mean));
    json_add(line, spread, json_number(figure.sd));
    json_add(line, interval, json_number(figure.interval));
}

static struct json_object *settings_json(const struct sweep *sweep, size_t combination)
{
    struct json_object *settings = json_object_new_object();
    for (size_t i = 0; i < sweep->grid.axis_count; i++)
        json_add(settings, sweep->grid.axes[i].name,
                 json_text(sweep_value(&sweep->grid, combination, i)));
    return settings;
}

static enum colonnade_status print_combination(const struct sweep *sweep, size_t combination,
                                               struct colonnade_error *error)
{
    const struct sweep_summary summary = sweep_summarize(sweep, combination);
    const struct sweep_row *row = sweep_row(sweep, combination, 0);
    struct json_object *line = json_object_new_object(), *seeds = json_object_new_array();
    for (size_t i = 0; i < sweep->grid.seed_count; i++)
        json_object_array_add(seeds, json_object_new_uint64(sweep->grid.seeds[i]));
    json_add(line, "event", json_text("combination"));
    json_add(line, "settings", settings_json(sweep, combination));
    json_add(line, "seeds", seeds);
    json_add(line, "status", json_text(sweep_row_status_names[summary.status]));
    json_add(line, "reason", summary.reason[0] ? json_text(summary.reason) : NULL);
    add_figure(line, "test_accuracy", summary.test_accuracy);
    add_figure(line, "test_loss", summary.test_loss);
    add_figure(line, "train_loss", summary.train_loss);
    add_figure(line, "images_per_second", summary.images_per_second);
    add_figure(line, "step_ms", summary.step_ms);
    json_add(line, "parameters", json_object_new_uint64(row->parameters));
    json_add(line, "macs", json_object_new_uint64(row->macs));
    json_add(line, "activation_bytes", json_object_new_uint64(row->activation_bytes));
    json_add(line, "output_shape",
             row->output_shape.c ? json_text(shape_text(row->output_shape)) : NULL);
    return output_json(line, error);
}

/* How many rows have come to which end. */
struct tally {
    size_t rows[SWEEP_FAILED + 1]; /* by status */
    const char *reason;            /* of the first that is not complete */
};

static struct tally count_rows(const struct sweep *sweep)
{
    struct tally tally = {.reason = ""};
    for (size_t i = 0; i < sweep->grid.combinations * sweep->grid.seed_count; i++) {
        tally.rows[sweep->rows[i].status]++;
        if (!tally.reason[0])
            tally.reason = sweep->rows[i].reason;
    }
    return tally;
}

static enum colonnade_status print_done(const struct sweep_board *board,
                                        struct colonnade_error *error)
{
    const struct tally tally = count_rows(board->sweep);
    if (!board->json) {
        printf("%s: %zu row%s complete, %zu failed, %zu invalid\n", board->path,
               tally.rows[SWEEP_COMPLETE], plural(tally.rows[SWEEP_COMPLETE]),
               tally.rows[SWEEP_FAILED], tally.rows[SWEEP_INVALID]);
        return output_flush(error);
    }
    struct json_object *line = json_object_new_object();
    json_add(line, "event", json_text("done"));
    json_add(line, "sweep", json_text(board->path));
    for (int i = SWEEP_COMPLETE; i <= SWEEP_FAILED; i++)
        json_add(line, sweep_row_status_names[i], json_object_new_uint64(tally.rows[i]));
    json_add(line, "seconds", json_number(seconds_now() - board->start));
    return output_json(line, error);
}

enum colonnade_status board_take(struct sweep_board *board, size_t combination, size_t seed,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    board->trained++;
    TRY(sweep_save(board->sweep, board->path, error));
    table_row(board, combination, seed);
    if (board->json && is_done(board->sweep, combination))
        TRY(print_combination(board->sweep, combination, error));
out:
    return status;
}

/* --- training --- */

static bool sweeps_data(const struct sweep_grid *grid)
{
    for (size_t i = 0; i < grid->axis_count; i++)
        if (strcmp(grid->axes[i].section, "data") == 0)
            return true;
    return false;
}

/* Rows whose keys of [data] are the same have the same images. */
static void list_skipped_once(struct sweep_board *board, const struct sweep_data *data)
{
    if (board->listed[data->index])
        return;
    board->listed[data->index] = true;
    table_clear(board);
    experiment_list_skipped(data->data);
}

enum colonnade_status board_open_row(struct sweep_board *board, struct sweep_data *data,
                                     size_t combination, size_t seed, int sharers,
                                     struct sweep_row *row, struct colonnade_error *error)
{
    struct colonnade_error reason = {0};
    const enum colonnade_status status =
        sweep_data_open(data, board->sweep, combination, seed, sharers, &reason);
    if (status == COLONNADE_OK) {
        list_skipped_once(board, data);
        return COLONNADE_OK;
    }
    if (!sweeps_data(&board->sweep->grid))
        return error_set(error, status, "%s", reason.message);
    sweep_row_end(row, SWEEP_FAILED, reason.message);
    return COLONNADE_OK;
}

enum colonnade_status board_open_data(struct sweep_board *board, struct sweep_data *data,
                                      size_t combination, size_t seed,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct sweep_row *row = sweep_row(board->sweep, combination, seed);
    TRY(board_open_row(board, data, combination, seed, 1, row, error));
    if (!data->data)
        TRY(board_take(board, combination, seed, error));
out:
    return status;
}

/* Where the run under way stands, for the terminal. */
static enum colonnade_status show_step(void *context, const struct run *run,
                                       const struct step_record *record,
                                       struct colonnade_error *error)
{
    struct sweep_board *board = context;
    char text[160];
    const struct progress *progress = &run->progress;
    if (!board->terminal || board->quiet)
        return COLONNADE_OK;
    snprintf(text, sizeof text, "epoch %d/%d, step %s, loss %.4f", progress->epoch + 1,
             run->settings.epochs, count_text((uint64_t)progress->step),
             progress->samples ? progress->loss_sum / (double)progress->samples : record->loss);
    table_status(board, text);
    return COLONNADE_OK;
}

static enum colonnade_status run_row(struct sweep_board *board, struct sweep_data *data,
                                     size_t combination, size_t seed, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct sweep_row *row = sweep_row(board->sweep, combination, seed);
    const struct sink sink = {.context = board, .step = show_step};
    TRY(board_open_data(board, data, combination, seed, error));
    if (row->status != SWEEP_WAITING)
        goto out;
    TRY(sweep_train(board->sweep, combination, seed, data->data, &sink, signals_pending(), row,
                    error));
    TRY(board_take(board, combination, seed, error));
out:
    return status;
}

static enum colonnade_status run_in_turn(struct sweep_board *board, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct sweep_grid *grid = &board->sweep->grid;
    struct sweep_data data = {0};
    for (size_t i = 0; i < grid->combinations; i++)
        for (size_t seed = 0; seed < grid->seed_count; seed++)
            if (sweep_row(board->sweep, i, seed)->status == SWEEP_WAITING)
                TRY(run_row(board, &data, i, seed, error));
out:
    sweep_data_close(&data);
    return status;
}

/* --- the verb --- */

/* A mistyped --out must not cost a file of another kind. */
static enum colonnade_status check_destination(const char *path, bool resume,
                                               struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(destination_check(path, error));
    if (!resume && file_exists(path) && !sweep_file_is(path))
        RAISE(COLONNADE_FAILURE, "%s is there and is no sweep file that could be replaced", path);
out:
    return status;
}

static enum colonnade_status open_sweep(struct sweep_board *board, const struct options *options,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *config = NULL;
    TRY(experiment_load(&config, options->operands[0], options, error));
    TRY(sweep_create(&board->sweep, config, error));
    board->path = board->sweep->settings.output;
    TRY(memory_allocate(&board->listed, board->sweep->grid.combinations, sizeof *board->listed,
                        "combinations", error));
    TRY(jobs_divide(board->sweep, options->jobs ? options->jobs : 1, error));
    TRY(check_destination(board->path, options->resume, error));
    TRY(sweep_check_shapes(board->sweep, error));
    if (options->resume && file_exists(board->path))
        TRY(sweep_resume(board->sweep, board->path, error));
out:
    return status;
}

/* What is known before anything is trained: rows that a resumed sweep has, and invalid ones. */
static enum colonnade_status begin(struct sweep_board *board, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct sweep *sweep = board->sweep;
    board->to_train = count_rows(sweep).rows[SWEEP_WAITING];
    board->start = seconds_now();
    sweep->status = RUN_TRAINING;
    table_begin(board);
    for (size_t i = 0; board->json && i < sweep->grid.combinations; i++)
        if (is_done(sweep, i))
            TRY(print_combination(sweep, i, error));
out:
    return status;
}

static enum colonnade_status keep_interrupted(struct sweep_board *board,
                                              enum colonnade_status interrupted,
                                              struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct tally tally = count_rows(board->sweep);
    board->sweep->status = RUN_INTERRUPTED;
    TRY(sweep_save(board->sweep, board->path, error));
    status = error_set(error, interrupted,
                       "%s, %zu row%s to train; %s is up to date: --resume goes on from there",
                       interrupted == COLONNADE_TERMINATED ? "terminated" : "interrupted",
                       tally.rows[SWEEP_WAITING], plural(tally.rows[SWEEP_WAITING]), board->path);
out:
    return status;
}

static enum colonnade_status run(struct sweep_board *board, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(begin(board, error));
    status = board->sweep->jobs > 1 ? jobs_run(board, error) : run_in_turn(board, error);
    table_clear(board);
    if (status == COLONNADE_INTERRUPTED || status == COLONNADE_TERMINATED)
        TRY(keep_interrupted(board, status, error));
    TRY(status);
    board->sweep->status = RUN_COMPLETE;
    TRY(sweep_save(board->sweep, board->path, error));
    if (!board->json)
        TRY(table_print(board->sweep, error));
    TRY(print_done(board, error));
    const struct tally tally = count_rows(board->sweep);
    if (tally.rows[SWEEP_COMPLETE] == 0)
        RAISE(COLONNADE_FAILURE, "no combination could be trained: %s", tally.reason);
out:
    return status;
}

enum colonnade_status verb_sweep(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct sweep_board board = {
        .json = options->json, .quiet = options->quiet, .terminal = terminal_is_live()};
    TRY(open_sweep(&board, options, error));
    signals_defer(true);
    status = run(&board, error);
    signals_defer(false);
out:
    free(board.listed);
    sweep_destroy(board.sweep);
    return status;
}
