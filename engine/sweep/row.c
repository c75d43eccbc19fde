/* One row of a sweep: its graph checked, its data at hand, its training run. Knows nothing of files
 * and of what else is trained.
 */
#include "engine/base/clock.h"
#include "engine/sweep/sweep.h"

#include "engine/base/memory.h"
#include "engine/experiment.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const sweep_row_status_names[] = {"waiting", "complete", "invalid", "failed", NULL};

void sweep_row_move(struct sweep_row *to, struct sweep_row *from)
{
    *to = *from;
    from->epochs = NULL;
    from->epoch_count = 0;
}

void sweep_row_end(struct sweep_row *row, enum sweep_row_status status, const char *reason)
{
    row->status = status;
    snprintf(row->reason, sizeof row->reason, "%.*s", SWEEP_REASON_BYTES - 1, reason);
}

enum colonnade_status sweep_create(struct sweep **sweep, struct config *config,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct sweep *made = NULL;
    TRY(memory_allocate(&made, 1, sizeof *made, "a sweep", error));
    made->config = config;
    config = NULL;
    TRY(settings_read(&made->settings, made->config, error));
    TRY(sweep_grid_read(&made->grid, made->config, error));
    TRY(sweep_check_keys(made->config, &made->grid, error));
    made->jobs = 1;
    made->threads = thread_count(made->settings.threads);
    const size_t rows = made->grid.combinations * made->grid.seed_count;
    TRY(memory_allocate(&made->rows, rows, sizeof *made->rows, "the rows of a sweep", error));
    for (size_t i = 0; i < rows; i++)
        made->rows[i] = (struct sweep_row){
            .test_accuracy = NAN,
            .test_loss = NAN,
            .train_loss = NAN,
            .images_per_second = NAN,
            .step_ms = NAN,
            .seconds = NAN,
        };
    *sweep = made;
    made = NULL;
out:
    config_destroy(config);
    sweep_destroy(made);
    return status;
}

static void weights_finish(struct sweep_weights *weights)
{
    free(weights->path);
    weights_taken_finish(&weights->taken);
}

void sweep_destroy(struct sweep *sweep)
{
    if (!sweep)
        return;
    const size_t rows = sweep->rows ? sweep->grid.combinations * sweep->grid.seed_count : 0;
    for (size_t i = 0; i < rows; i++)
        free(sweep->rows[i].epochs);
    free(sweep->rows);
    for (size_t i = 0; i < sweep->weights_count; i++)
        weights_finish(&sweep->weights[i]);
    free(sweep->weights);
    origin_finish(&sweep->origin);
    sweep_grid_finish(&sweep->grid);
    config_destroy(sweep->config);
    free(sweep);
}

struct sweep_row *sweep_row(const struct sweep *sweep, size_t combination, size_t seed)
{
    return &sweep->rows[combination * sweep->grid.seed_count + seed];
}

/* --- shapes --- */

static bool makes_feature_map(const struct node *node)
{
    static const char *const types[] = {"conv", "maxpool", "avgpool"};
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (strcmp(node->type->name, types[i]) == 0)
            return true;
    return false;
}

static void measure(struct sweep_row *row, const struct graph *graph)
{
    row->parameters = graph->parameters;
    row->macs = graph->macs;
    row->output_shape = graph->nodes[0].out;
    row->activation_bytes = 0;
    for (int i = 0; i < graph->declared_count; i++) {
        const struct node *node = &graph->nodes[graph->declared[i]];
        row->activation_bytes += shape_size(node->declared) * sizeof(float);
        if (makes_feature_map(node))
            row->output_shape = node->declared;
    }
}

/* What the data of a combination are, kept for the next one. */
struct description {
    struct dataset *data;
    size_t index;
};

static enum colonnade_status describe(struct description *description, const struct sweep *sweep,
                                      size_t combination, struct config *config,
                                      struct colonnade_error *error)
{
    const size_t index = sweep_data_index(&sweep->grid, combination);
    if (description->data && description->index == index)
        return COLONNADE_OK;
    dataset_destroy(description->data);
    description->data = NULL;
    description->index = index;
    return dataset_describe(&description->data, config, error);
}

static bool same_list(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Counts a combination that begins so; takes `taken` over where none has before. */
static enum colonnade_status keep_taken(struct sweep *sweep, const char *path,
                                        struct weights_taken *taken, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct sweep_weights *weights = sweep->weights;
    for (size_t i = 0; i < sweep->weights_count; i++, weights++)
        if (strcmp(weights->path, path) == 0 && same_list(weights->taken.taken, taken->taken) &&
            same_list(weights->taken.drawn, taken->drawn) &&
            same_list(weights->taken.unused, taken->unused)) {
            weights->combinations++;
            goto out;
        }
    TRY(memory_grow(&sweep->weights, &sweep->weights_capacity, sweep->weights_count + 1,
                    sizeof *sweep->weights, "the weights of a sweep", error));
    weights = &sweep->weights[sweep->weights_count];
    *weights = (struct sweep_weights){.combinations = 1};
    TRY(memory_copy_text(&weights->path, path, error));
    weights->taken = *taken;
    *taken = (struct weights_taken){0};
    sweep->weights_count++;
out:
    return status;
}

static enum colonnade_status check_combination(struct sweep *sweep, size_t combination,
                                               struct description *description,
                                               struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *config = NULL;
    struct graph *graph = NULL;
    struct weights_taken taken = {0};
    struct colonnade_error reason = {0};
    struct settings settings;
    TRY(sweep_config(&config, sweep->config, &sweep->grid, combination, 0, error));
    TRY(settings_read(&settings, config, error));
    TRY(describe(description, sweep, combination, config, error));
    const struct dataset *data = description->data;
    status = sweep_check_read(config, sweep->config, &sweep->grid, combination, &reason);
    if (status == COLONNADE_OK)
        status = graph_create(&graph, config, (struct shape){data->c, data->h, data->w},
                              data->classes, &reason);
    if (status == COLONNADE_OK)
        status = graph_freeze(graph, config, &settings.freeze, &reason);
    if (status == COLONNADE_OK && settings.init_from)
        status = weights_take(graph, NULL, config, settings.init_from, &taken, &reason);
    if (status != COLONNADE_OK && (status != COLONNADE_USAGE || !sweep->grid.skip_invalid))
        RAISE(status, "%s", reason.message);
    if (status == COLONNADE_OK && taken.count)
        TRY(keep_taken(sweep, settings.init_from, &taken, error));
    for (size_t seed = 0; seed < sweep->grid.seed_count; seed++)
        if (status == COLONNADE_OK)
            measure(sweep_row(sweep, combination, seed), graph);
        else
            sweep_row_end(sweep_row(sweep, combination, seed), SWEEP_INVALID, reason.message);
    status = COLONNADE_OK;
out:
    weights_taken_finish(&taken);
    graph_destroy(graph);
    config_destroy(config);
    return status;
}

enum colonnade_status sweep_check_shapes(struct sweep *sweep, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct description description = {0};
    for (size_t i = 0; i < sweep->grid.combinations; i++)
        TRY(check_combination(sweep, i, &description, error));
out:
    dataset_destroy(description.data);
    return status;
}

/* --- data --- */

enum colonnade_status sweep_data_open(struct sweep_data *data, const struct sweep *sweep,
                                      size_t combination, size_t seed, int sharers,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t index = sweep_data_index(&sweep->grid, combination);
    const uint64_t seed_value = sweep->grid.seeds[seed];
    const struct data_request request = {.seed = seed_value,
                                         .threads = sweep->threads,
                                         .sharers = sharers,
                                         .skipped = data->skipped};
    struct config *config = NULL;
    TRY(sweep_config(&config, sweep->config, &sweep->grid, combination, seed, error));
    if (data->data && data->index != index)
        sweep_data_close(data);
    data->index = index;
    TRY(data->data ? dataset_reseed(&data->data, config, seed_value, error)
                   : dataset_open(&data->data, config, &request, error));
out:
    if (status != COLONNADE_OK)
        sweep_data_close(data);
    config_destroy(config);
    return status;
}

enum colonnade_status sweep_data_streams(bool *streams, const struct sweep *sweep,
                                         size_t combination, size_t seed,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *config = NULL;
    TRY(sweep_config(&config, sweep->config, &sweep->grid, combination, seed, error));
    TRY(dataset_streams(streams, config, error));
out:
    config_destroy(config);
    return status;
}

void sweep_data_close(struct sweep_data *data)
{
    dataset_destroy(data->data);
    data->data = NULL;
}

/* --- training --- */

/* The time of each step, taken from what the run counts. */
struct stopwatch {
    double *steps; /* seconds */
    size_t count, capacity;
    size_t batches; /* an epoch */
    double before;  /* of the epoch, when the step began */
};

static enum colonnade_status stopwatch_begin(void *context, const struct run *run, size_t batches,
                                             struct colonnade_error *error)
{
    struct stopwatch *watch = context;
    watch->batches = batches;
    return COLONNADE_OK;
}

/* An epoch's first step makes room for all of it. */
static enum colonnade_status stopwatch_step(void *context, const struct run *run,
                                            const struct step_record *record,
                                            struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct stopwatch *watch = context;
    if (run->progress.batch == 1) {
        watch->before = 0;
        TRY(memory_grow(&watch->steps, &watch->capacity, watch->count + watch->batches,
                        sizeof *watch->steps, "the times of steps", error));
    }
    watch->steps[watch->count++] = run->progress.seconds - watch->before;
    watch->before = run->progress.seconds;
out:
    return status;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts them. */
static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return count ? (values[(count - 1) / 2] + values[count / 2]) / 2 : NAN;
}

static enum colonnade_status fill_rates(struct sweep_row *row, const struct run *run,
                                        struct stopwatch *watch, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t count = run->metrics.epoch_count;
    double *rates = NULL;
    TRY(memory_allocate(&rates, count, sizeof *rates, "rates of epochs", error));
    for (size_t i = 0; i < count; i++)
        rates[i] = run->metrics.epochs[i].images_per_second;
    row->images_per_second = median(rates, count);
    row->step_ms = 1e3 * median(watch->steps, watch->count);
out:
    free(rates);
    return status;
}

static enum colonnade_status fill_row(struct sweep_row *row, const struct run *run,
                                      struct stopwatch *watch, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct metrics *metrics = &run->metrics;
    TRY(fill_rates(row, run, watch, error));
    if (run->evaluated) {
        row->test_accuracy = run->evaluation.accuracy;
        row->test_loss = run->evaluation.loss;
    }
    if (metrics->epoch_count)
        row->train_loss = metrics->epochs[metrics->epoch_count - 1].train_loss;
    sweep_row_end(row, SWEEP_COMPLETE, "");
out:
    return status;
}

static enum colonnade_status keep_epochs(struct sweep_row *row, const struct metrics *metrics,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(memory_allocate(&row->epochs, metrics->epoch_count, sizeof *row->epochs, "a row's epochs",
                        error));
    row->epoch_count = metrics->epoch_count;
    for (size_t i = 0; i < row->epoch_count; i++) {
        const struct epoch_record *record = &metrics->epochs[i];
        row->epochs[i] = (struct sweep_epoch){
            .train_loss = record->train_loss,
            .train_accuracy = record->train_accuracy,
            .val_loss = record->val_loss,
            .val_accuracy = record->val_accuracy,
        };
    }
out:
    return status;
}

static bool is_interrupt(enum colonnade_status status)
{
    return status == COLONNADE_INTERRUPTED || status == COLONNADE_TERMINATED;
}

/* The training itself, with its errors as they are. */
static enum colonnade_status train_row(const struct sweep *sweep, struct config *config,
                                       const struct dataset *data, const struct sink *sink,
                                       const volatile sig_atomic_t *stop, struct sweep_row *row,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = NULL;
    struct weights_taken taken = {0};
    struct stopwatch watch = {0};
    const struct sink times = {.context = &watch, .begin = stopwatch_begin, .step = stopwatch_step};
    const struct sink *sinks[] = {&times, sink};
    TRY(experiment_begin(&run, config, data, &taken, error));
    const enum colonnade_status trained =
        train(run, data, sweep->threads, sinks, sink ? 2 : 1, stop, error);
    if (!is_interrupt(trained))
        TRY(keep_epochs(row, &run->metrics, error));
    TRY(trained);
    TRY(fill_row(row, run, &watch, error));
out:
    weights_taken_finish(&taken);
    run_destroy(run);
    free(watch.steps);
    return status;
}

enum colonnade_status sweep_train(const struct sweep *sweep, size_t combination, size_t seed,
                                  const struct dataset *data, const struct sink *sink,
                                  const volatile sig_atomic_t *stop, struct sweep_row *row,
                                  struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct colonnade_error reason = {0};
    struct config *config = NULL;
    const double start = seconds_now();
    TRY(sweep_config(&config, sweep->config, &sweep->grid, combination, seed, error));
    status = train_row(sweep, config, data, sink, stop, row, &reason);
    if (is_interrupt(status))
        RAISE(status, "%s", reason.message);
    if (status != COLONNADE_OK)
        sweep_row_end(row, SWEEP_FAILED, reason.message);
    row->seconds = seconds_now() - start;
    row->threads = (uint64_t)sweep->threads;
    status = COLONNADE_OK;
out:
    return status;
}
