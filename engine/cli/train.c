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
    TRY(dataset_check_keys(job->config, error));
    TRY(graph_check_keys(job->config, false, error));
    TRY(config_check_all_read(job->config, error));
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

static void print_schedule(const struct job *job, const struct run *run, int epochs_before)
{
    fprintf(stderr, "%s: schedule = %s goes by epochs, from here on by %d and not %d\n", job->path,
            schedule_names[run->settings.schedule], run->settings.epochs, epochs_before);
}

/* Whoever forgot --resume, or named the wrong file, can still stop. */
static void print_replaced(const struct keeper *keeper)
{
    static const char *const kinds[] = {
        [RUN_TRAINING] = "an unfinished",
        [RUN_COMPLETE] = "a complete",
        [RUN_INTERRUPTED] = "an interrupted",
        [RUN_FAILED] = "a failed",
    };
    fprintf(stderr, "%s: replaces %s run of %d epoch%s\n", keeper->path,
            kinds[keeper->other_status], keeper->other_epochs,
            plural((uint64_t)keeper->other_epochs));
}

/* Everything that can be wrong with a config or its destination, before its data are read. */
static enum colonnade_status check_job(struct job *job, const struct options *options,
                                       struct keeper *keeper, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct graph *graph = NULL;
    struct weights_taken taken = {0};
    TRY(experiment_graph(&graph, job->config, error));
    TRY(keeper_open(keeper, job->settings.output, options->resume, error));
    signals_take_away(&keeper->lock);
    if (job->settings.init_from && !keeper->own)
        TRY(weights_take(graph, NULL, job->config, job->settings.init_from, &taken, error));
out:
    weights_taken_finish(&taken);
    graph_destroy(graph);
    return status;
}

static enum colonnade_status open_run(struct run **run, struct dataset **data, struct job *job,
                                      const struct options *options, const struct keeper *keeper,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct weights_taken taken = {0};
    int epochs_before;
    const struct data_request request = {.seed = job->settings.seed,
                                         .threads = experiment_threads(options, &job->settings)};
    if (keeper->own) {
        TRY(resume_load(run, keeper->path, job->config, &epochs_before, error));
        if (epochs_before && !options->quiet)
            print_schedule(job, *run, epochs_before);
        TRY(experiment_data(data, (*run)->config, &request, options->quiet, error));
        TRY(experiment_check_data(*run, *data, error));
    } else {
        TRY(experiment_data(data, job->config, &request, options->quiet, error));
        struct config *config = job->config;
        job->config = NULL; /* experiment_begin takes it over, also on error */
        TRY(experiment_begin(run, config, *data, &taken, error));
        if (taken.count && !options->quiet)
            experiment_print_taken(job->path, "", job->settings.init_from, &taken);
    }
    TRY(experiment_know_data(*run, *data, keeper->path, error));
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
    if (run_stops_early(run) && progress->epoch < run->settings.epochs)
        printf(", stopped early: no better validation score for %d epoch%s",
               run->settings.early_stop, plural((uint64_t)run->settings.early_stop));
    printf("\n");
    return output_flush(error);
}

/* What is left of a run that did not come to its end. */
static void print_left(const struct keeper *keeper, enum colonnade_status status)
{
    if (!keeper->own || !keeper->begun)
        return;
    if (status == COLONNADE_INTERRUPTED || status == COLONNADE_TERMINATED)
        fprintf(stderr, "%s is up to date: --resume goes on from there\n", keeper->path);
    else
        fprintf(stderr, "%s holds the run as it was after epoch %d, step %ld\n", keeper->path,
                keeper->epoch, keeper->step);
}

/* Saving should be no part of a run's time that anybody has to think of. */
static void print_cost(const struct keeper *keeper, double seconds)
{
    if (keeper->seconds > 1 && keeper->seconds > 0.01 * seconds)
        fprintf(stderr,
                "writing %s took %.1f s, %.0f %% of the time: a larger train.checkpoint_every "
                "writes it less often\n",
                keeper->path, keeper->seconds, 100 * keeper->seconds / seconds);
}

/* The bar goes first. */
static void tell(void *context, const char *message)
{
    progress_clear(context);
    fprintf(stderr, "%s\n", message);
}

static enum colonnade_status train_run(struct run *run, const struct dataset *data,
                                       const char *name, const struct options *options,
                                       struct keeper *keeper, struct colonnade_error *error)
{
    struct progress_display display = {.name = name,
                                       .threads = experiment_threads(options, &run->settings)};
    const double start = seconds_now();
    const struct sink progress = progress_sink(&display), lines = json_lines_sink(),
                      file = keeper_sink(keeper);
    const struct sink *sinks[3];
    size_t count = 0;
    if (!options->quiet)
        sinks[count++] = &progress;
    if (options->json)
        sinks[count++] = &lines;
    sinks[count++] = &file;
    keeper->tell = tell;
    keeper->context = &display;
    signals_defer(true);
    enum colonnade_status status =
        train(run, data, display.threads, sinks, count, signals_pending(), error);
    progress_clear(&display);
    if (status != COLONNADE_OK)
        print_left(keeper, status);
    if (status == COLONNADE_OK && run->profile)
        status = print_profile(run, options->json, error);
    if (status == COLONNADE_OK)
        status = print_done(run, keeper->path, options->json, error);
    print_cost(keeper, seconds_now() - start);
    keeper->tell = NULL;
    keeper->context = NULL; /* the display goes */
    signals_defer(false);
    return status;
}

static enum colonnade_status train_job(struct job *job, const struct options *options,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct dataset *data = NULL;
    struct run *run = NULL;
    struct keeper keeper = {0};
    TRY(check_job(job, options, &keeper, error));
    if (keeper.other_steps > 0 && !options->quiet)
        print_replaced(&keeper);
    TRY(open_run(&run, &data, job, options, &keeper, error));
    if (options->profile)
        TRY(profile_create(&run->profile, run->graph, experiment_threads(options, &run->settings),
                           error));
    TRY(train_run(run, data, job->path, options, &keeper, error));
out:
    signals_take_away(NULL);
    keeper_close(&keeper);
    run_destroy(run);
    dataset_destroy(data);
    return status;
}

/* The first failure is the status of all. An interrupt ends them all, and is their status where the
 * run under way could be brought up to date. */
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
        const bool failed = status == COLONNADE_FAILURE || status == COLONNADE_USAGE;
        if (*signals_pending() && failed)
            return first == COLONNADE_OK ? status : first;
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
