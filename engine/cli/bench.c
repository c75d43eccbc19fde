/* colonnade bench: how fast a config's steps are on this machine, and where their time goes.
 *
 * Steps are timed in rounds, with this machine's sgemm measured in turn between them, as the
 * clock drifts by several percent within minutes; medians over the rounds. Times by node come
 * from a pass of their own, so that taking them does not disturb the figures.
 */
#include "engine/cli/cli.h"

#include "engine/base/memory.h"
#include "engine/plan/plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_LEAST = 3, ROUNDS_MOST = 200, PROFILE_STEPS_LEAST = 3 };

static const double default_seconds = 5, warm_up_seconds = 0.3, round_seconds = 0.2,
                    peak_seconds = 0.1, profile_seconds = 0.5;

struct bench {
    struct config *config;
    struct settings settings;
    struct graph *graph;
    struct dataset *data;
    struct sampler *sampler;
    struct model *model;
    struct optimizer *optimizer;
    struct plan *plan;
    struct peak *peak;
    float *gradients;
    bool training;
    int threads;
    size_t batches; /* full ones */
    long steps;     /* done so far */
    struct profile *profile;
};

struct figures {
    double images_per_second, step_seconds, gflops, peak_gflops;
    double share; /* of sgemm's rate right before and after: a machine's clock drifts */
    size_t rounds;
    size_t peak_rss; /* bytes */
};

/* Synthetic data are made to measure: at least four mini-batches of them. */
static enum colonnade_status stretch_data(struct bench *bench, struct colonnade_error *error)
{
    const struct section *data = config_section(bench->config, "data");
    const struct entry *source = data ? config_entry(data, "source") : NULL;
    const struct entry *count = data ? config_entry(data, "count") : NULL;
    uint64_t wanted = 4 * (uint64_t)bench->settings.batch;
    if (!source || strcmp(source->value, "synthetic") != 0 || !count ||
        strtoull(count->value, NULL, 10) >= wanted)
        return COLONNADE_OK;
    char assignment[64];
    snprintf(assignment, sizeof assignment, "data.count=%" PRIu64, wanted);
    return config_override(bench->config, assignment, error);
}

static enum colonnade_status open_data(struct bench *bench, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const int batch = bench->settings.batch;
    TRY(stretch_data(bench, error));
    const struct data_request request = {.seed = bench->settings.seed, .threads = bench->threads};
    TRY(experiment_data(&bench->data, bench->config, &request, false, error));
    TRY(sampler_create(&bench->sampler, bench->data, PART_TRAINING, batch, error));
    bench->batches = sampler_samples(bench->sampler) / (size_t)batch;
    if (bench->batches == 0)
        RAISE(COLONNADE_USAGE, "%s: a mini-batch of %d, but the training part has %zu image%s",
              bench->config->path, batch, sampler_samples(bench->sampler),
              plural(sampler_samples(bench->sampler)));
    sampler_begin(bench->sampler, 1, 0);
out:
    return status;
}

static enum colonnade_status bench_open(struct bench *bench, const struct options *options,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    bench->training = !options->inference;
    TRY(experiment_config(&bench->config, options->operands[0], options, error));
    TRY(settings_read(&bench->settings, bench->config, error));
    TRY(experiment_graph(&bench->graph, bench->config, error));
    const struct settings *settings = &bench->settings;
    bench->threads = experiment_threads(options, settings);
    TRY(open_data(bench, error));
    TRY(model_create(&bench->model, bench->graph, settings->seed, error));
    TRY(plan_create(&bench->plan, bench->graph, bench->training ? PLAN_TRAINING : PLAN_INFERENCE,
                    settings->batch, bench->threads, NULL, error));
    if (bench->training) {
        const struct graph *graph = bench->graph;
        TRY(optimizer_create(&bench->optimizer, settings->optimizer, graph->updated_length, error));
        TRY(memory_allocate(&bench->gradients, graph->parameter_length, sizeof(float), "gradients",
                            error));
    }
    TRY(peak_create(&bench->peak, bench->threads, error));
    TRY(profile_create(&bench->profile, bench->graph, bench->threads, error));
out:
    return status;
}

static void bench_close(struct bench *bench)
{
    peak_destroy(bench->peak);
    profile_destroy(bench->profile);
    free(bench->gradients);
    plan_destroy(bench->plan);
    optimizer_destroy(bench->optimizer);
    model_destroy(bench->model);
    sampler_destroy(bench->sampler);
    dataset_destroy(bench->data);
    graph_destroy(bench->graph);
    config_destroy(bench->config);
}

static void update_weights(struct bench *bench)
{
    const struct settings *settings = &bench->settings;
    const struct optimizer_settings update = {
        .lr = settings->lr,
        .momentum = settings->momentum,
        .weight_decay = settings->weight_decay,
        .beta1 = settings->beta1,
        .beta2 = settings->beta2,
        .eps = settings->eps,
        .nesterov = settings->nesterov,
    };
    double start = seconds_now();
    optimizer_step(bench->optimizer, &update, settings->clip_norm, bench->steps + 1, bench->threads,
                   bench->gradients, bench->model->parameters);
    bench->profile->optimizer_seconds += seconds_now() - start;
}

static enum colonnade_status run_step(struct bench *bench, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct batch *batch;
    const struct plan_options options = {
        .seed = bench->settings.seed,
        .step = (uint32_t)bench->steps,
        .label_smoothing = bench->settings.label_smoothing,
    };
    size_t index = (size_t)bench->steps % bench->batches;
    TRY(sampler_batch(bench->sampler, index, &batch, error));
    plan_run(bench->plan, bench->model, batch, &options, bench->gradients);
    if (bench->training)
        update_weights(bench);
    bench->steps++;
out:
    return status;
}

/* Runs at least `least` steps and `seconds`; `step_seconds` (NULL: not wanted) is one's mean. */
static enum colonnade_status run_steps(struct bench *bench, long least, double seconds,
                                       double *step_seconds, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const long before = bench->steps;
    double start = seconds_now(), elapsed;
    do {
        TRY(run_step(bench, error));
        elapsed = seconds_now() - start;
    } while (elapsed < seconds || bench->steps - before < least);
    if (step_seconds)
        *step_seconds = elapsed / (double)(bench->steps - before);
out:
    return status;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

/* Of an image, without what the graph leaves out because nothing reads it. */
static double macs_made(const struct graph *graph)
{
    double macs = 0;
    for (int i = 0; i < graph->count; i++) {
        const struct node *node = &graph->nodes[i];
        if (node->macs > 0)
            macs += (double)node->macs * shape_pixels(node->out) / shape_pixels(node->declared);
    }
    return macs;
}

static enum colonnade_status measure_rates(struct bench *bench, double seconds,
                                           struct figures *figures, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    double times[ROUNDS_MOST], peaks[ROUNDS_MOST], shares[ROUNDS_MOST];
    const double round = fmax(round_seconds, seconds / ROUNDS_MOST);
    TRY(run_steps(bench, 2, warm_up_seconds, NULL, error));
    peak_measure(bench->peak, peak_seconds); /* its own warm-up */
    double before = peak_measure(bench->peak, peak_seconds);
    const double step_gflop =
        (bench->training ? 3 : 1) * 2e-9 * macs_made(bench->graph) * bench->settings.batch;
    const double start = seconds_now();
    size_t rounds = 0;
    while (rounds < ROUNDS_MOST && (rounds < ROUNDS_LEAST || seconds_now() - start < seconds)) {
        TRY(run_steps(bench, 1, round, &times[rounds], error));
        peaks[rounds] = peak_measure(bench->peak, peak_seconds);
        shares[rounds] = step_gflop / times[rounds] / ((before + peaks[rounds]) / 2);
        before = peaks[rounds++];
    }
    figures->rounds = rounds;
    figures->step_seconds = median(times, rounds);
    figures->peak_gflops = median(peaks, rounds);
    figures->images_per_second = bench->settings.batch / figures->step_seconds;
    figures->gflops = step_gflop / figures->step_seconds;
    figures->share = median(shares, rounds);
out:
    return status;
}

static enum colonnade_status measure_nodes(struct bench *bench, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct profile *profile = bench->profile;
    const long before = bench->steps;
    double step_seconds;
    profile->optimizer_seconds = 0; /* of the steps before */
    plan_profile_start(bench->plan);
    TRY(run_steps(bench, PROFILE_STEPS_LEAST, profile_seconds, &step_seconds, error));
    profile_take(profile, bench->graph, bench->plan);
    profile->steps = bench->steps - before;
    profile->seconds = step_seconds * (double)profile->steps;
out:
    return status;
}

static enum colonnade_status print_as_json(const struct bench *bench, const struct figures *figures,
                                           struct colonnade_error *error)
{
    const char *kernel = blas_facts().kernel;
    struct json_object *object = json_object_new_object();
    json_add(object, "mode", json_object_new_string(bench->training ? "train" : "inference"));
    json_add(object, "batch", json_object_new_int(bench->settings.batch));
    json_add(object, "threads", json_object_new_int(bench->threads));
    json_add(object, "images_per_second", json_number(figures->images_per_second));
    json_add(object, "gflops", json_number(figures->gflops));
    json_add(object, "sgemm_peak_gflops", json_number(figures->peak_gflops));
    json_add(object, "sgemm_share", json_number(figures->share));
    json_add(object, "step_ms", json_number(1e3 * figures->step_seconds));
    json_add(object, "rounds", json_object_new_int64((int64_t)figures->rounds));
    json_add(object, "blas_kernel", kernel ? json_object_new_string(kernel) : NULL);
    json_add(object, "peak_rss_bytes", json_object_new_int64((int64_t)figures->peak_rss));
    profile_add_json(object, bench->profile, bench->graph);
    return output_json(object, error);
}

/* What runs in one go, in which tiles. */
static enum colonnade_status print_plan(const struct bench *bench, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *text = NULL;
    TRY(plan_print(bench->plan, &text, error));
    printf("\nStages: threads take unit after unit, tile after tile, through the passes of a\n"
           "stage, then the items (sums of weight gradients) that the stage before left, and\n"
           "wait for each other.\n"
           "' a backward pass, + bias and activation, reduce a part of a sum over the\n"
           "mini-batch, * an output that stays in the thread's memory\n"
           "%s",
           text);
    TRY(output_flush(error));
out:
    free(text);
    return status;
}

static enum colonnade_status print_for_people(const struct bench *bench,
                                              const struct figures *figures,
                                              struct colonnade_error *error)
{
    const char *kernel = blas_facts().kernel;
    printf("%s: %s, mini-batches of %d, %d thread%s, BLAS kernel %s, median of %zu round%s\n",
           bench->config->path, bench->training ? "training" : "inference", bench->settings.batch,
           bench->threads, plural(bench->threads), kernel ? kernel : "unknown", figures->rounds,
           plural(figures->rounds));
    printf("%s images/s, %.3f ms a step\n", count_text((uint64_t)figures->images_per_second),
           1e3 * figures->step_seconds);
    printf("%.1f GFLOP/s%s, %.0f %% of this machine's sgemm: %.1f GFLOP/s\n", figures->gflops,
           bench->training ? " (training counted as three times forward)" : "",
           100 * figures->share, figures->peak_gflops);
    printf("peak memory %s\n\n", bytes_text((double)figures->peak_rss));
    profile_print(bench->profile, bench->graph,
                  bench->training ? optimizer_names[bench->settings.optimizer] : NULL);
    return print_plan(bench, error);
}

enum colonnade_status verb_bench(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct bench bench = {0};
    struct figures figures = {0};
    TRY(bench_open(&bench, options, error));
    TRY(measure_rates(&bench, options->seconds > 0 ? options->seconds : default_seconds, &figures,
                      error));
    TRY(measure_nodes(&bench, error));
    figures.peak_rss = peak_rss_bytes();
    TRY(options->json ? print_as_json(&bench, &figures, error)
                      : print_for_people(&bench, &figures, error));
out:
    bench_close(&bench);
    return status;
}
