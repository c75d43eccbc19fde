/* colonnade sweep: the rows of a grid, one after the other or several at a time, each saved as soon
 * as it is there.
 */
#include "engine/cli/sweep.h"

#include "engine/base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- training --- */

static enum colonnade_status count_batches(void *context, const struct run *run, size_t batches,
                                           struct colonnade_error *error)
{
    struct sweep_board *board = context;
    board->batches = batches;
    return COLONNADE_OK;
}

/* The share of its training that a run has done: `max_steps` may end it before the epochs do. */
static double share_done(const struct run *run, size_t batches)
{
    const struct settings *settings = &run->settings;
    const struct progress *progress = &run->progress;
    const double epochs =
        (progress->epoch + (double)progress->batch / (double)batches) / settings->epochs;
    return settings->max_steps ? fmax(epochs, (double)progress->step / (double)settings->max_steps)
                               : epochs;
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
    board->under_way = share_done(run, board->batches);
    board->moved = seconds_now();
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
    const struct sink sink = {.context = board, .begin = count_batches, .step = show_step};
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

/* What rows begin with of init_from. */
static void print_taken(const struct sweep *sweep)
{
    for (size_t i = 0; i < sweep->weights_count; i++) {
        const struct sweep_weights *weights = &sweep->weights[i];
        char scope[64] = "";
        if (weights->combinations < sweep->grid.combinations)
            snprintf(scope, sizeof scope, ": %zu of %zu combinations", weights->combinations,
                     sweep->grid.combinations);
        experiment_print_taken(sweep->config->path, scope, weights->path, &weights->taken);
    }
}

/* Of a resumed sweep. */
static void compare_threads(const struct sweep_board *board)
{
    const struct sweep_threads before = sweep_count_threads(board->sweep);
    const uint64_t now = (uint64_t)board->sweep->threads;
    if (before.most == 0 || (before.least == now && before.most == now) ||
        board_count(board).rows[SWEEP_WAITING] == 0)
        return;
    fprintf(stderr,
            "%s: the rows trained before took %s%s thread%s, those to come take %s: their "
            "times are not comparable\n",
            board->path, before.least < before.most ? "up to " : "", count_text(before.most),
            plural(before.most), count_text(now));
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
    TRY(file_lock_take(&board->lock, board->path, error));
    signals_take_away(&board->lock);
    TRY(sweep_check_shapes(board->sweep, error));
    if (options->resume && file_exists(board->path)) {
        TRY(sweep_resume(board->sweep, board->path, error));
        compare_threads(board);
    }
    if (!board->quiet && board_count(board).rows[SWEEP_WAITING])
        print_taken(board->sweep);
out:
    return status;
}

static enum colonnade_status keep_interrupted(struct sweep_board *board,
                                              enum colonnade_status interrupted,
                                              struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct sweep_tally tally = board_count(board);
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
    struct colonnade_error unsaved = {0};
    TRY(board_begin(board, error));
    status = board->sweep->jobs > 1 ? jobs_run(board, error) : run_in_turn(board, error);
    table_clear(board);
    if (status == COLONNADE_INTERRUPTED || status == COLONNADE_TERMINATED)
        TRY(keep_interrupted(board, status, error));
    TRY(status);
    board->sweep->status = RUN_COMPLETE;
    const enum colonnade_status saved = sweep_save(board->sweep, board->path, &unsaved);
    if (!board->json)
        TRY(table_print(board->sweep, error));
    if (saved != COLONNADE_OK)
        RAISE(saved, "%s", unsaved.message);
    TRY(board_end(board, error));
    const struct sweep_tally tally = board_count(board);
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
    signals_take_away(NULL);
    file_lock_release(&board.lock);
    free(board.listed);
    sweep_destroy(board.sweep);
    return status;
}
