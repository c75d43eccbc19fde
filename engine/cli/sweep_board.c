/* A sweep under way: its rows are saved and told of as soon as they are there, and their data
 * opened.
 */
#include "engine/cli/sweep.h"

#include <stdio.h>
#include <string.h>

static bool is_done(const struct sweep *sweep, size_t combination)
{
    for (size_t seed = 0; seed < sweep->grid.seed_count; seed++)
        if (sweep_row(sweep, combination, seed)->status == SWEEP_WAITING)
            return false;
    return true;
}

struct sweep_tally board_count(const struct sweep_board *board)
{
    const struct sweep *sweep = board->sweep;
    struct sweep_tally tally = {.reason = ""};
    for (size_t i = 0; i < sweep->grid.combinations * sweep->grid.seed_count; i++) {
        tally.rows[sweep->rows[i].status]++;
        if (!tally.reason[0])
            tally.reason = sweep->rows[i].reason;
    }
    return tally;
}

enum colonnade_status board_begin(struct sweep_board *board, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct sweep *sweep = board->sweep;
    board->to_train = board_count(board).rows[SWEEP_WAITING];
    board->start = seconds_now();
    sweep->status = RUN_TRAINING;
    table_begin(board);
    for (size_t i = 0; board->json && i < sweep->grid.combinations; i++)
        if (is_done(sweep, i))
            TRY(sweep_print_json(sweep, i, error));
out:
    return status;
}

/* What a save that fails leaves out is in the next one. */
static void save_so_far(struct sweep_board *board)
{
    struct colonnade_error error = {0};
    if (sweep_save(board->sweep, board->path, &error) == COLONNADE_OK)
        return;
    table_clear(board);
    fprintf(stderr, "%s; the sweep goes on, and saves again after each row and at the end\n",
            error.message);
}

enum colonnade_status board_take(struct sweep_board *board, size_t combination, size_t seed,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    board->trained++;
    board->under_way = 0;
    board->moved = seconds_now();
    save_so_far(board);
    table_row(board, combination, seed);
    if (board->json && is_done(board->sweep, combination))
        TRY(sweep_print_json(board->sweep, combination, error));
out:
    return status;
}

enum colonnade_status board_end(const struct sweep_board *board, struct colonnade_error *error)
{
    const struct sweep_tally tally = board_count(board);
    if (!board->json) {
        printf("%s: %zu row%s complete, %zu failed, %zu invalid\n", board->path,
               tally.rows[SWEEP_COMPLETE], plural(tally.rows[SWEEP_COMPLETE]),
               tally.rows[SWEEP_FAILED], tally.rows[SWEEP_INVALID]);
        return output_flush(error);
    }
    struct json_object *line = json_object_new_object();
    json_add(line, "event", json_object_new_string("done"));
    json_add(line, "sweep", json_object_new_string(board->path));
    for (int i = SWEEP_COMPLETE; i <= SWEEP_FAILED; i++)
        json_add(line, sweep_row_status_names[i], json_object_new_uint64(tally.rows[i]));
    json_add(line, "seconds", json_number(seconds_now() - board->start));
    return output_json(line, error);
}

static bool sweeps_data(const struct sweep_grid *grid)
{
    for (size_t i = 0; i < grid->axis_count; i++)
        if (strcmp(grid->axes[i].section, "data") == 0)
            return true;
    return false;
}

struct listing {
    struct sweep_board *board;
    const struct sweep_data *data;
};

/* Rows whose keys of [data] are the same have the same images. */
static void tell_skipped_once(void *context, const char *reason)
{
    const struct listing *listing = context;
    if (listing->board->listed[listing->data->index])
        return;
    table_clear(listing->board);
    experiment_tell_skipped(NULL, reason);
}

enum colonnade_status board_open_row(struct sweep_board *board, struct sweep_data *data,
                                     size_t combination, size_t seed, int sharers,
                                     struct sweep_row *row, struct colonnade_error *error)
{
    struct colonnade_error reason = {0};
    struct listing listing = {board, data};
    data->skipped = (struct skip_listener){tell_skipped_once, &listing};
    const enum colonnade_status status =
        sweep_data_open(data, board->sweep, combination, seed, sharers, &reason);
    data->skipped = (struct skip_listener){0};
    board->listed[data->index] = true;
    if (status == COLONNADE_OK)
        return COLONNADE_OK;
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
