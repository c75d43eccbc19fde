/* colonnade train: one run for each config, one after the other. */
#include "engine/cli/cli.h"

#include "engine/base/memory.h"
#include "engine/store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One config of the command line. */
struct job {
    struct config *config; /* NULL: it could not be read, or a run has it */
    struct settings settings;
    char *destination; /* the run file's place, resolved */
    const char *path;  /* of the config */
};

/* An error of one job; with several it has to be said whose it is. */
static void diagnose(const struct job *job, const struct colonnade_error *error)
{
    if (strncmp(error->message, job->path, strlen(job->path)) == 0)
        fprintf(stderr, "%s\n", error->message);
    else
        fprintf(stderr, "%s: %s\n", job->path, error->message);
}

static enum colonnade_status job_open(struct job *job, const char *path,
                                      const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    job->path = path;
    TRY(experiment_config(&job->config, path, options, error));
    TRY(settings_read(&job->settings, job->config, error));
    TRY(destination_resolve(&job->destination, job->settings.output, error));
out:
    if (status != COLONNADE_OK) {
        config_destroy(job->config);
        job->config = NULL;
    }
    return status;
}

static void job_close(struct job *job)
{
    config_destroy(job->config);
    free(job->destination);
}

static enum colonnade_status check_distinct(const struct job *jobs, size_t count,
                                            struct colonnade_error *error)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (jobs[i].destination && jobs[j].destination &&
                strcmp(jobs[i].destination, jobs[j].destination) == 0)
                return error_set(error, COLONNADE_USAGE,
                                 "%s and %s would write the same run file: %s", jobs[j].path,
                                 jobs[i].path, jobs[i].settings.output);
    return COLONNADE_OK;
}

/* A mistyped --out must not cost a file of another kind. */
static enum colonnade_status check_replaceable(const char *path, struct colonnade_error *error)
{
    struct run *old = NULL;
    struct colonnade_error reason = {0};
    if (!file_exists(path))
        return COLONNADE_OK;
    enum colonnade_status status = run_load(&old, path, &reason);
    run_destroy(old);
    if (status == COLONNADE_OK)
        return COLONNADE_OK;
    return error_set(error, COLONNADE_FAILURE,
                     "%s is there and is no run file that could be replaced: %.1024s", path,
                     reason.message);
}

/* Whether there is a run to resume. */
static bool goes_on(const struct job *job, const struct options *options)
{
    return options->resume && file_exists(job->settings.output);
}

static void print_taken(const struct job *job, const struct weights_taken *taken)
{
    fprintf(stderr, "%s: %zu array%s from %s: %s\n", job->path, taken->count, plural(taken->count),
            job->settings.init_from, taken->taken);
    if (taken->drawn)
        fprintf(stderr, "%s: not in that file, so drawn anew: %s\n", job->path, taken->drawn);
    if (taken->unused)
        fprintf(stderr, "%s: in that file, but not in the graph: %s\n", job->path, taken->unused);
}

/* Everything that can be wrong with a config or its destination, before its data are read. */
static enum colonnade_status check_job(struct job *job, const struct options *options,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct graph *graph = NULL;
    struct weights_taken taken = {0};
    TRY(experiment_graph(&graph, job->config, error));
    TRY(destination_check(job->settings.output, error));
    if (!options->resume)
        TRY(check_replaceable(job->settings.output, error));
    if (job->settings.init_from && !goes_on(job, options))
        TRY(weights_take(graph, NULL, job->config, job->settings.init_from, &taken, error));
out:
    weights_taken_finish(&taken);
    graph_destroy(graph);
    return status;
}

static enum colonnade_status open_run(struct run **run, struct dataset **data, struct job *job,
                                      const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct weights_taken taken = {0};
    const struct data_request request = {.seed = job->settings.seed,
                                         .threads = experiment_threads(options, &job->settings)};
    if (goes_on(job, options)) {
        TRY(resume_load(run, job->settings.output, job->config, error));
        TRY(experiment_data(data, (*run)->config, &request, error));
        TRY(experiment_check_data(*run, *data, error));
    } else {
        TRY(experiment_data(data, job->config, &request, error));
        struct config *config = job->config;
        job->config = NULL; /* experiment_begin takes it over, also on error */
        TRY(experiment_begin(run, config, *data, &taken, error));
        if (taken.count && !options->quiet)
            print_taken(job, &taken);
    }
    TRY(experiment_know_data(*run, *data, job->settings.output, error));
out:
    weights_taken_finish(&taken);
    return status;
}

/* Where the time of this call's steps went. */
static enum colonnade_status print_profile(const struct run *run, bool json,
                                           struct colonnade_error *error)
{
    const struct profile *profile = run->profile;
    if (json) {
        struct json_object *line = json_object_new_object();
        json_add(line, "event", json_object_new_string("profile"));
        json_add(line, "steps", json_object_new_int64(profile->steps));
        json_add(line, "threads", json_object_new_int(profile->threads));
        json_add(line, "step_ms",
                 json_number(profile_milliseconds(profile, profile->seconds * profile->threads)));
        profile_add_json(line, profile, run->graph);
        return output_json(line, error);
    }
    profile_print(profile, run->graph, run->optimizer->type->name);
    return output_flush(error);
}

static enum colonnade_status print_done(const struct run *run, const char *path, bool json,
                                        struct colonnade_error *error)
{
    const struct progress *progress = &run->progress;
    const struct evaluation *test = run->evaluated ? &run->evaluation : NULL;
    const int best = run_best_epoch(run);
    if (json) {
        struct json_object *line = json_object_new_object();
        json_add(line, "event", json_object_new_string("done"));
        json_add(line, "run", json_object_new_string(path));
        json_add(line, "epochs", json_object_new_int(progress->epoch));
        json_add(line, "steps", json_object_new_int64(progress->step));
        json_add(line, "test_loss", test ? json_number(test->loss) : NULL);
        json_add(line, "test_accuracy", test ? json_number(test->accuracy) : NULL);
        if (best)
            json_add(line, "best_epoch", json_object_new_int(best));
        json_add(line, "seconds", json_number(progress->total_seconds));
        json_add(line, "data_wait_seconds", json_number(run->data_wait_seconds));
        json_add(line, "peak_rss_bytes", json_object_new_int64((int64_t)peak_rss_bytes()));
        return output_json(line, error);
    }
    printf("%s: ", path);
    if (test)
        printf("test accuracy %.2f %%, test loss %.4f, ", 100 * test->accuracy, test->loss);
    printf("%d epoch%s, %s step%s, %.1f s", progress->epoch, plural(progress->epoch),
           count_text((uint64_t)progress->step), plural(progress->step), progress->total_seconds);
    if (run->metrics.epoch_count)
        printf(", %s images/s",
               count_text(
                   (uint64_t)run->metrics.epochs[run->metrics.epoch_count - 1].images_per_second));
    printf(", data wait %.1f s", run->data_wait_seconds);
    if (best)
        printf(", weights of epoch %d", best);
    printf("\n");
    return output_flush(error);
}

/* What is left of a run that did not come to its end. */
static void print_left(const struct checkpoint *checkpoint, enum colonnade_status status)
{
    if (!checkpoint->saved)
        return;
    if (status == COLONNADE_INTERRUPTED || status == COLONNADE_TERMINATED)
        fprintf(stderr, "%s is up to date: --resume goes on from there\n", checkpoint->path);
    else
        fprintf(stderr, "%s holds the run as it was after epoch %d\n", checkpoint->path,
                checkpoint->epoch);
}

/* Saving should be no part of a run's time that anybody has to think of. */
static void print_cost(const struct checkpoint *checkpoint, double seconds)
{
    if (checkpoint->seconds > 1 && checkpoint->seconds > 0.01 * seconds)
        fprintf(stderr,
                "writing %s took %.1f s, %.0f %% of the time: a larger train.checkpoint_every "
                "writes it less often\n",
                checkpoint->path, checkpoint->seconds, 100 * checkpoint->seconds / seconds);
}

/* The file keeps the last good state, and says why the run did not get further. */
static void mark_failed(const char *path, const char *reason)
{
    struct run *run = NULL;
    struct colonnade_error error = {0};
    enum colonnade_status status = run_load(&run, path, &error);
    if (status == COLONNADE_OK)
        status = memory_copy_text(&run->reason, reason, &error);
    if (status == COLONNADE_OK) {
        run->status = RUN_FAILED;
        status = run_save(run, path, &error);
    }
    if (status != COLONNADE_OK)
        fprintf(stderr, "%s\n", error.message);
    run_destroy(run);
}

static enum colonnade_status train_run(struct run *run, const struct dataset *data,
                                       const char *name, const struct options *options,
                                       struct colonnade_error *error)
{
    struct progress_display display = {.name = name,
                                       .threads = experiment_threads(options, &run->settings)};
    struct checkpoint checkpoint = {.path = run->settings.output, .display = &display};
    struct live live = {.path = run->settings.output};
    const double start = seconds_now();
    const struct sink progress = progress_sink(&display), lines = json_lines_sink(),
                      file = checkpoint_sink(&checkpoint), metrics = live_sink(&live);
    const struct sink *sinks[4];
    size_t count = 0;
    if (!options->quiet)
        sinks[count++] = &progress;
    if (options->json)
        sinks[count++] = &lines;
    sinks[count++] = &metrics;
    sinks[count++] = &file;
    signals_defer(true);
    enum colonnade_status status =
        train(run, data, display.threads, sinks, count, signals_pending(), error);
    progress_clear(&display);
    live_remove(live.path);
    if (status == COLONNADE_OK && run->profile)
        status = print_profile(run, options->json, error);
    if (status == COLONNADE_OK)
        status = print_done(run, checkpoint.path, options->json, error);
    else
        print_left(&checkpoint, status);
    print_cost(&checkpoint, seconds_now() - start);
    if (checkpoint.saved && run->status == RUN_FAILED)
        mark_failed(checkpoint.path, error->message);
    signals_defer(false);
    return status;
}

static enum colonnade_status train_job(struct job *job, const struct options *options,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct dataset *data = NULL;
    struct run *run = NULL;
    TRY(check_job(job, options, error));
    TRY(open_run(&run, &data, job, options, error));
    if (options->profile)
        TRY(profile_create(&run->profile, run->graph, experiment_threads(options, &run->settings),
                           error));
    TRY(train_run(run, data, job->path, options, error));
out:
    run_destroy(run);
    dataset_destroy(data);
    return status;
}

/* The first failure is the status of all. An interrupt ends them all. */
static enum colonnade_status train_jobs(struct job *jobs, size_t count,
                                        const struct options *options, enum colonnade_status first)
{
    for (size_t i = 0; i < count; i++) {
        struct colonnade_error error = {0};
        if (!jobs[i].config)
            continue;
        enum colonnade_status status = train_job(&jobs[i], options, &error);
        if (error.message[0] && status != COLONNADE_OK)
            diagnose(&jobs[i], &error);
        if (*signals_pending())
            return *signals_pending() == SIGINT ? COLONNADE_INTERRUPTED : COLONNADE_TERMINATED;
        if (first == COLONNADE_OK)
            first = status;
    }
    return first;
}

enum colonnade_status verb_train(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK, first = COLONNADE_OK;
    struct job *jobs = NULL;
    const size_t count = options->operand_count;
    if (options->out && count > 1)
        RAISE(COLONNADE_USAGE, "colonnade train: --out %s for %zu configs: it names one run file",
              options->out, count);
    TRY(memory_allocate(&jobs, count, sizeof *jobs, "the configs", error));
    for (size_t i = 0; i < count; i++) {
        struct colonnade_error reason = {0};
        status = job_open(&jobs[i], options->operands[i], options, &reason);
        if (status != COLONNADE_OK)
            diagnose(&jobs[i], &reason);
        if (first == COLONNADE_OK)
            first = status;
    }
    TRY(check_distinct(jobs, count, error));
    status = train_jobs(jobs, count, options, first);
out:
    for (size_t i = 0; jobs && i < count; i++)
        job_close(&jobs[i]);
    free(jobs);
    return status;
}
