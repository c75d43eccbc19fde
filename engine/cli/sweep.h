/* What the files of the verb sweep share. */
#ifndef ENGINE_CLI_SWEEP_H
#define ENGINE_CLI_SWEEP_H

#include "engine/cli/cli.h"
#include "engine/store/store.h"
#include "engine/sweep/sweep.h"

/* A sweep under way: what becomes of its rows. */
struct sweep_board {
    struct sweep *sweep;
    const char *path; /* of its file */
    struct file_lock lock;
    bool json, quiet, terminal, drawn;
    size_t to_train, trained; /* rows, of this start of the program */
    double start, last_draw;  /* seconds */
    size_t batches;           /* an epoch of the row under way */
    double under_way;         /* the share of that row that is done; 0 of rows side by side */
    double moved;             /* seconds: when `trained` or `under_way` last changed */
    bool *listed;             /* [combinations], by sweep_data_index(): whether what their data
                               * skipped has been */
};

/* sweep_table.c: rows as people read them. */

/* The heading, and the rows that are there already. */
void table_begin(struct sweep_board *board);
/* A row that has come to its end. */
void table_row(struct sweep_board *board, size_t combination, size_t seed);
/* The line that tells of what is under way, drawn over; `text` is about the row. */
void table_status(struct sweep_board *board, const char *text);
void table_clear(struct sweep_board *board);
/* All combinations, on standard output. */
enum colonnade_status table_print(const struct sweep *sweep, struct colonnade_error *error);

/* sweep_json.c: a combination and its seeds, on standard output. */
enum colonnade_status sweep_print_json(const struct sweep *sweep, size_t combination,
                                       struct colonnade_error *error);

/* sweep_board.c: rows as they come. */

/* How many rows have come to which end. */
struct sweep_tally {
    size_t rows[SWEEP_FAILED + 1]; /* by status */
    const char *reason;            /* of the first that is not complete */
};
struct sweep_tally board_count(const struct sweep_board *board);

/* Tells what is known before anything is trained: rows that a resumed sweep has, and invalid
 * ones. */
enum colonnade_status board_begin(struct sweep_board *board, struct colonnade_error *error);
/* The last line: how many came to which end. */
enum colonnade_status board_end(const struct sweep_board *board, struct colonnade_error *error);

/* Saves the sweep with the row, and tells of it. A save that fails is told, and no error. */
enum colonnade_status board_take(struct sweep_board *board, size_t combination, size_t seed,
                                 struct colonnade_error *error);

/* Opens the data of a row, and lists what they skip where no row before has had the same. Where
 * they are the row's own, and cannot be read, the row has failed, which is no error: then
 * `data->data` is NULL. The second saves the sweep then, the first is for any process; `sharers` as
 * sweep_data_open() has it. */
enum colonnade_status board_open_row(struct sweep_board *board, struct sweep_data *data,
                                     size_t combination, size_t seed, int sharers,
                                     struct sweep_row *row, struct colonnade_error *error);
enum colonnade_status board_open_data(struct sweep_board *board, struct sweep_data *data,
                                      size_t combination, size_t seed,
                                      struct colonnade_error *error);

/* jobs.c: several rows at a time, each in a process on cores of its own. */

/* Sets the sweep's jobs and threads; raises where there are not so many cores. */
enum colonnade_status jobs_divide(struct sweep *sweep, int jobs, struct colonnade_error *error);
enum colonnade_status jobs_run(struct sweep_board *board, struct colonnade_error *error);

#endif
