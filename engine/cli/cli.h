/* The command line: what a verb is given, and what verbs share.
 *
 * A verb is one file and one row of the table in main.c. Only this folder prints and exits:
 * results go to standard output, progress and diagnostics to standard error.
 */
#ifndef ENGINE_CLI_CLI_H
#define ENGINE_CLI_CLI_H

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/experiment.h"
#include "engine/train/profile.h"
#include "engine/train/train.h"

#include <json-c/json.h>

/* A command line as parsed; what an option was not given for is zero. */
struct options {
    const char *const *operands;
    size_t operand_count;
    const char *const *sets; /* "SECTION.KEY=VALUE" each */
    size_t set_count;
    const char *out, *format;
    int threads, batch, jobs, top;
    double seconds;
    bool resume, quiet, json, inference, profile, open;
};

/* A verb prints its results and returns the exit status; what it leaves in `error` is printed
 * after it. */
enum colonnade_status verb_train(const struct options *options, struct colonnade_error *error);
enum colonnade_status verb_eval(const struct options *options, struct colonnade_error *error);
enum colonnade_status verb_predict(const struct options *options, struct colonnade_error *error);
enum colonnade_status verb_summary(const struct options *options, struct colonnade_error *error);
enum colonnade_status verb_check(const struct options *options, struct colonnade_error *error);
enum colonnade_status verb_sweep(const struct options *options, struct colonnade_error *error);
enum colonnade_status verb_bench(const struct options *options, struct colonnade_error *error);
enum colonnade_status verb_pack(const struct options *options, struct colonnade_error *error);
enum colonnade_status verb_report(const struct options *options, struct colonnade_error *error);
enum colonnade_status verb_export(const struct options *options, struct colonnade_error *error);
enum colonnade_status verb_verify(const struct options *options, struct colonnade_error *error);
enum colonnade_status verb_watch(const struct options *options, struct colonnade_error *error);
enum colonnade_status verb_doctor(const struct options *options, struct colonnade_error *error);

/* experiment.c: configs, data and runs as verbs need them. */

/* The config of a file, with --set, --out and --batch applied. */
enum colonnade_status experiment_load(struct config **config, const char *path,
                                      const struct options *options, struct colonnade_error *error);

/* The same for a single run: a [sweep] in it is checked and taken away. */
enum colonnade_status experiment_config(struct config **config, const char *path,
                                        const struct options *options,
                                        struct colonnade_error *error);

/* The graph of a config, with the shape and the classes of its data, which are not read. Every
 * mistake that a config can have is found here, and what it hardly means is warned of. */
enum colonnade_status experiment_graph(struct graph **graph, struct config *config,
                                       struct colonnade_error *error);

/* What a config may say but hardly means, on standard error. */
void experiment_warn(struct config *config, const struct settings *settings,
                     const struct graph *graph);

/* Of data that seem to be transposed: as what they are read, and how they would be put right. */
enum { TRANSPOSED_BYTES = 160 };
void experiment_transposed_text(const struct dataset *data, char *text, size_t size);

/* What was passed over, on standard error: for a skip_listener. */
void experiment_tell_skipped(void *context, const char *reason);

/* What the config `name` begins with of the file at `path`, on standard error; `scope` follows the
 * name, for what is not so of all of it. */
void experiment_print_taken(const char *name, const char *scope, const char *path,
                            const struct weights_taken *taken);

/* How far the reading of image files is, on standard error, where that takes its time (reading.c).
 * The display has to live as long as the listener. */
struct reading_display {
    bool quiet, terminal, drawn;
    double start, told; /* seconds: of what is read; of the last line */
};
struct reading_display reading_begin(bool quiet);
struct read_listener reading_listener(struct reading_display *display);

/* dataset_open(), with that of all that it passes over, and unless `quiet` how far it is. */
enum colonnade_status experiment_data(struct dataset **data, struct config *config,
                                      const struct data_request *request, bool quiet,
                                      struct colonnade_error *error);

/* The memory, in bytes, that the program takes to train, beside the data. */
enum colonnade_status experiment_bytes(const struct graph *graph, const struct settings *settings,
                                       int threads, size_t *bytes, struct colonnade_error *error);

/* The threads to run on: --threads, else those of the config, else all cores. */
int experiment_threads(const struct options *options, const struct settings *settings);

/* signals.c */

/* From here on SIGINT and SIGTERM exit with 130 and 143; in a deferred part only the second one
 * does, the first is held in signals_pending(). */
void signals_install(void);
void signals_defer(bool defer);
/* The lock whose file such an exit takes away, if it was taken; NULL: none. */
void signals_take_away(const struct file_lock *lock);
const volatile sig_atomic_t *signals_pending(void);

/* output.c */

/* One line of JSON on standard output; takes over `object`. */
enum colonnade_status output_json(struct json_object *object, struct colonnade_error *error);
/* Raises where anything printed to standard output did not get out. */
enum colonnade_status output_flush(struct colonnade_error *error);

/* null for a number that JSON cannot say. */
struct json_object *json_number(double value);
void json_add(struct json_object *object, const char *key, struct json_object *value);

/* For people: "61,706", "1.4 MB"; valid until the fourth call after. */
const char *count_text(uint64_t count);
const char *bytes_text(double bytes);
const char *shape_text(struct shape shape);
const char *duration_text(double seconds); /* "1:05:09", "2:03" */

/* Whether standard error is a terminal on which a line can be drawn over. */
bool terminal_is_live(void);

/* In characters; 80 by 24 where it is not known. */
struct terminal_size {
    size_t columns, rows;
};
struct terminal_size terminal_size(int descriptor);

/* The most memory that this process has had resident. */
size_t peak_rss_bytes(void);

/* libraries.c: one BLAS thread a call, kernels as wide as the processor's vectors, threads that do
 * not spin for long. Called first in main(); may start the program again. */
void libraries_prepare(char **argv);

struct blas_facts {
    const char *library;        /* name, version, build options */
    const char *kernel;         /* in use; NULL: not known */
    const char *default_kernel; /* what the library chose by itself; NULL: that same one */
    const char *wanted;         /* OPENBLAS_CORETYPE for this CPU, where `kernel` is narrower */
    bool own_threads;           /* the library's threads are not OpenMP's */
};
struct blas_facts blas_facts(void);

/* peak.c: cblas_sgemm as the engine calls it, for a scale to measure by. */
struct peak;
enum colonnade_status peak_create(struct peak **peak, int threads, struct colonnade_error *error);
void peak_destroy(struct peak *peak);
/* GFLOP/s over about that time, all threads together. */
double peak_measure(struct peak *peak, double seconds);

/* profile.c: where a step's time goes, for people and as keys of a JSON object; `optimizer`: the
 * name of what updates the weights, NULL in inference. */
void profile_print(const struct profile *profile, const struct graph *graph, const char *optimizer);
void profile_add_json(struct json_object *object, const struct profile *profile,
                      const struct graph *graph);

/* Sinks. The context stays the caller's. */

/* progress.c: a live bar on a terminal, plain lines elsewhere. */
struct progress_display {
    const char *name; /* of the run */
    bool terminal, drawn;
    int threads;
    size_t batches;                /* an epoch */
    size_t samples_first;          /* of the epoch under way, when it was begun or resumed */
    double epoch_start, last_draw; /* seconds */
};
struct sink progress_sink(struct progress_display *display);
/* Takes the bar off the terminal, so that something else can be printed. */
void progress_clear(struct progress_display *display);

/* json_lines.c */
struct sink json_lines_sink(void);

#endif
