/* A sweep: the grid of [sweep], one row of results for each combination and seed, and its file.
 *
 * The grid is the product of the lists in the config's order, the last one turning fastest. All
 * combinations are trained with the same seeds; a combination's rows stand next to each other.
 */
#ifndef ENGINE_SWEEP_SWEEP_H
#define ENGINE_SWEEP_SWEEP_H

#include "engine/data/dataset.h"
#include "engine/store/store.h"
#include "engine/train/train.h"

/* One NODE.KEY line of [sweep]. */
struct sweep_axis {
    const char *name; /* "conv1.stride" */
    char *section;    /* "conv1" */
    const char *key;  /* "stride"; points into the name */
    int line;
    struct names values; /* no two are equal */
};

struct sweep_grid {
    struct sweep_axis *axes;
    size_t axis_count;
    size_t combinations;     /* at least 1 */
    struct names seed_texts; /* as written; empty: the config's own seed */
    int seeds_line;
    uint64_t *seeds;   /* [seed_count], no two of them equal */
    size_t seed_count; /* at least 1 */
    bool skip_invalid;
    bool drops_nodes; /* an axis is a node's `inputs`: nodes that a combination leaves unused go */
};

/* Names and values point into `config`, which has to outlive the grid. Raises COLONNADE_USAGE where
 * there is no [sweep], or a line of it names what is not there or may not be swept. */
enum colonnade_status sweep_grid_read(struct sweep_grid *grid, struct config *config,
                                      struct colonnade_error *error);
void sweep_grid_finish(struct sweep_grid *grid);

/* The value of an axis in a combination. */
const char *sweep_value(const struct sweep_grid *grid, size_t combination, size_t axis);
/* Equal for combinations that differ in no key of [data]. */
size_t sweep_data_index(const struct sweep_grid *grid, size_t combination);

/* The config of one run: the combination's values in place, [sweep] gone, with all that only other
 * combinations read. The caller destroys it. */
enum colonnade_status sweep_config(struct config **made, const struct config *config,
                                   const struct sweep_grid *grid, size_t combination, size_t seed,
                                   struct colonnade_error *error);

/* Raises where `one`, the config of a combination's run, leaves swept keys out, and these are not
 * all the first of their lists: of combinations that differ in such keys alone, and so are the same
 * training, one is to be trained. */
enum colonnade_status sweep_check_read(const struct config *one, const struct config *config,
                                       const struct sweep_grid *grid, size_t combination,
                                       struct colonnade_error *error);

/* Raises where a key or a value of any combination is none, at the line in [sweep] that has it.
 * Shapes are not looked at, nor is anything that [data] names. */
enum colonnade_status sweep_check_keys(const struct config *config, const struct sweep_grid *grid,
                                       struct colonnade_error *error);

/* Makes of a config the one of a single run: a [sweep] that it may have is checked and taken away,
 * with the nodes and the keys of [train] that only other values of a swept `inputs`, optimizer or
 * schedule use. A --set of what is left out so is an error. */
enum colonnade_status sweep_reduce_to_base(struct config *config, struct colonnade_error *error);

enum sweep_row_status { SWEEP_WAITING, SWEEP_COMPLETE, SWEEP_INVALID, SWEEP_FAILED };
extern const char *const sweep_row_status_names[]; /* "waiting", "complete", ...; NULL-terminated */

enum { SWEEP_REASON_BYTES = 1024 };

/* What an epoch came to, as a run file's /metrics/epoch has it. */
struct sweep_epoch {
    double train_loss, train_accuracy;
    double val_loss, val_accuracy; /* NaN where there is no validation part */
};

/* Results of one combination and seed. What is not known is NaN. */
struct sweep_row {
    enum sweep_row_status status;
    char reason[SWEEP_REASON_BYTES]; /* of invalid and failed ones, else empty */
    double test_accuracy, test_loss; /* NaN without a test split */
    double train_loss;               /* of the last epoch */
    double images_per_second;        /* median over the epochs */
    double step_ms;                  /* median over all steps */
    double seconds;                  /* of the row, tests included */
    uint64_t threads;                /* that it was trained on; 0: it was not */
    uint64_t parameters, macs;       /* multiply-adds of an image */
    uint64_t activation_bytes;       /* of an image: the outputs of all nodes as written */
    struct shape output_shape; /* the last feature map: of the last conv or pooling, else the data's
                                */
    struct sweep_epoch *epochs; /* [epoch_count], the row's own: of failed ones those before */
    size_t epoch_count;
};

/* What combinations begin with of the file that [train] init_from names. */
struct sweep_weights {
    char *path;
    struct weights_taken taken;
    size_t combinations; /* so many do */
};

struct sweep {
    struct config *config; /* overrides applied */
    struct settings settings;
    struct sweep_grid grid;
    int jobs, threads; /* rows trained at a time, and the threads of each row to come */
    enum run_status status;
    struct origin origin;          /* of the file that it was loaded from */
    struct sweep_row *rows;        /* [combinations, seeds] */
    struct sweep_weights *weights; /* [weights_count], no two alike; of sweep_check_shapes() */
    size_t weights_count, weights_capacity;
};

/* Takes over `config`, also on error. Every row waits. */
enum colonnade_status sweep_create(struct sweep **sweep, struct config *config,
                                   struct colonnade_error *error);
void sweep_destroy(struct sweep *sweep); /* NULL is fine */

struct sweep_row *sweep_row(const struct sweep *sweep, size_t combination, size_t seed);

/* `to`, which has no epochs, becomes `from`, which keeps none. */
void sweep_row_move(struct sweep_row *to, struct sweep_row *from);

/* What a row comes to; a reason too long for it is cut. */
void sweep_row_end(struct sweep_row *row, enum sweep_row_status status, const char *reason);

/* Builds the graph of every combination, and looks at the weights that it begins with: rows get
 * their sizes, and those whose shapes cannot be, or that sweep_check_read() refuses, become
 * invalid, with the reason; without skip_invalid that is an error. */
enum colonnade_status sweep_check_shapes(struct sweep *sweep, struct colonnade_error *error);

/* The data of the row to come, kept for the next one where it can be. All zero to begin with. */
struct sweep_data {
    struct dataset *data;
    size_t index; /* sweep_data_index() */
    struct skip_listener skipped;
};
/* `sharers`: processes that have data of the sweep each, as data_request has it; read on the
 * sweep's threads. */
enum colonnade_status sweep_data_open(struct sweep_data *data, const struct sweep *sweep,
                                      size_t combination, size_t seed, int sharers,
                                      struct colonnade_error *error);
void sweep_data_close(struct sweep_data *data);

/* Whether the images of the row's data are too many for [data] memory, and will be read from their
 * files. Reads none. */
enum colonnade_status sweep_data_streams(bool *streams, const struct sweep *sweep,
                                         size_t combination, size_t seed,
                                         struct colonnade_error *error);

/* Trains one combination with one seed and fills its results into `row`. COLONNADE_OK also where
 * the training failed: the row says so. An interrupt leaves the row as it was. `sink` may be NULL.
 */
enum colonnade_status sweep_train(const struct sweep *sweep, size_t combination, size_t seed,
                                  const struct dataset *data, const struct sink *sink,
                                  const volatile sig_atomic_t *stop, struct sweep_row *row,
                                  struct colonnade_error *error);

/* A figure over the seeds of a combination that are complete. */
struct sweep_figure {
    size_t count;
    double mean;     /* NaN where the count is 0 */
    double sd;       /* the sample's, n - 1; NaN where the count is below 2 */
    double interval; /* half of the mean's 95 % confidence interval, by Student's t; likewise */
};

struct sweep_summary {
    enum sweep_row_status status; /* complete where a seed is; else waiting, failed, invalid */
    const char *reason;           /* of a seed that failed, or why it is invalid; else "" */
    struct sweep_figure test_accuracy, test_loss, train_loss, images_per_second, step_ms;
};
struct sweep_summary sweep_summarize(const struct sweep *sweep, size_t combination);

/* Of the rows that were trained: the least and the most threads of one. 0 where none was. */
struct sweep_threads {
    uint64_t least, most;
};
struct sweep_threads sweep_count_threads(const struct sweep *sweep);

/* The 97.5 % quantile of Student's t. */
double student_t(size_t degrees);

/* Whether the combination is on the efficient front: no other one has as much accuracy in less
 * time a step, or more in as much. */
bool sweep_is_efficient(const struct sweep_summary *summaries, size_t count, size_t combination);

/* The sweep file, as docs/run-file.md has it; errors as those of run files. */
enum colonnade_status sweep_save(const struct sweep *sweep, const char *path,
                                 struct colonnade_error *error);
enum colonnade_status sweep_load(struct sweep **sweep, const char *path,
                                 struct colonnade_error *error);
/* Whether there is a file at `path` that says it is a sweep's. */
bool sweep_file_is(const char *path);

/* Takes the rows over that are complete in the file of the same sweep, begun earlier. Raises where
 * it was another. */
enum colonnade_status sweep_resume(struct sweep *sweep, const char *path,
                                   struct colonnade_error *error);

#endif
