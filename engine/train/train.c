/* The training loop. All that decides what the next step does stands in the run: so training goes
 * on from wherever a run is, whether it was just made or comes out of a file. Knows nothing of what
 * becomes of the records that it hands out.
 */
#include "engine/train/train.h"
#include "engine/base/clock.h"

#include "engine/base/memory.h"
#include "engine/plan/plan.h"
#include "engine/train/evaluate.h"
#include "engine/train/samples.h"
#include "engine/train/worst.h"

#include <math.h>
#include <stdlib.h>

enum { GOLDEN_SAMPLES = 8 };

struct trainer {
    struct run *run;
    const struct dataset *data;
    int threads;
    const struct sink *const *sinks;
    size_t sink_count;
    const volatile sig_atomic_t *stop;
    struct sampler *sampler;
    size_t batches; /* an epoch */
    struct plan *plan;
    float *gradients; /* [graph->parameter_length] */
    struct evaluator *evaluator;
    double last_checkpoint; /* seconds of the clock */
    bool spoilt;            /* numbers are no longer finite: the weights are of no use */
};

/* Tells every sink of an event; what follows `event` are its arguments after the run. */
#define EMIT(trainer, event, ...)                                                                  \
    do {                                                                                           \
        for (size_t i_ = 0; i_ < (trainer)->sink_count; i_++) {                                    \
            const struct sink *sink_ = (trainer)->sinks[i_];                                       \
            if (sink_->event)                                                                      \
                TRY(sink_->event(sink_->context, (trainer)->run, __VA_ARGS__));                    \
        }                                                                                          \
    } while (0)

static bool at_step_limit(const struct run *run)
{
    return run->settings.max_steps && (uint64_t)run->progress.step >= run->settings.max_steps;
}

/* Statistics of a mini-batch need more than one value: of one, the variance says nothing. */
static enum colonnade_status check_values(const struct trainer *trainer,
                                          struct colonnade_error *error)
{
    const struct run *run = trainer->run;
    const size_t batch = (size_t)run->settings.batch, samples = sampler_samples(trainer->sampler);
    const size_t last = samples % batch ? samples % batch : batch;
    for (int i = 0; i < run->graph->count && last == 1; i++) {
        const struct node *node = &run->graph->nodes[i];
        if (node->type->forward_reduce && !node->frozen && shape_pixels(node->in) == 1)
            return config_error(run->config, config_section(run->config, node->name), "type", error,
                                "[%s] %s takes the variance of one value a channel in a mini-batch "
                                "of one image, which %zu images in mini-batches of %zu end with: "
                                "another [train] batch, or a limit_train, leaves more",
                                node->name, node->type->name, samples, batch);
    }
    return COLONNADE_OK;
}

/* Of the first mini-batch that a new run will train on. */
static enum colonnade_status keep_samples(struct trainer *trainer, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = trainer->run;
    const struct batch *batch;
    if (run->progress.step > 0)
        goto out;
    TRY(sampler_batch(trainer->sampler, 0, &batch, error));
    TRY(samples_take(&run->samples, run, batch, error));
out:
    return status;
}

static enum colonnade_status trainer_init(struct trainer *trainer, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = trainer->run;
    const struct settings *settings = &run->settings;
    TRY(sampler_create(&trainer->sampler, trainer->data, PART_TRAINING, settings->batch, error));
    trainer->batches = sampler_batches(trainer->sampler);
    if (trainer->batches == 0)
        RAISE(COLONNADE_FAILURE, "there is no sample to train on");
    if (run->progress.batch > trainer->batches)
        RAISE(COLONNADE_FAILURE,
              "the run stands after mini-batch %zu of an epoch, and the data make only %zu: they "
              "are not what it was trained on",
              run->progress.batch, trainer->batches);
    TRY(check_values(trainer, error));
    sampler_begin(trainer->sampler, (uint32_t)run->progress.epoch + 1, run->progress.batch);
    TRY(keep_samples(trainer, error));
    TRY(memory_allocate(&trainer->gradients, run->graph->parameter_length,
                        sizeof *trainer->gradients, "gradients", error));
    TRY(plan_create(&trainer->plan, run->graph, PLAN_TRAINING, settings->batch, trainer->threads,
                    NULL, error));
    if (run->profile)
        plan_profile_start(trainer->plan);
    TRY(evaluator_create(&trainer->evaluator, run, trainer->threads, trainer->plan, error));
out:
    return status;
}

static void trainer_finish(struct trainer *trainer)
{
    evaluator_destroy(trainer->evaluator);
    plan_destroy(trainer->plan);
    free(trainer->gradients);
    sampler_destroy(trainer->sampler);
}

static double current_lr(const struct trainer *trainer, long step)
{
    return schedule_lr(&trainer->run->settings, step, trainer->batches);
}

/* Raises where `value` of the step under way is no finite number. */
static enum colonnade_status check_finite(struct trainer *trainer, const char *what, double value,
                                          struct colonnade_error *error)
{
    const struct run *run = trainer->run;
    if (isfinite(value))
        return COLONNADE_OK;
    trainer->spoilt = true;
    return error_set(error, COLONNADE_FAILURE,
                     "epoch %d, step %ld: the %s is %g, no finite number; a lower lr (it is %g) or "
                     "clip_norm may help",
                     run->progress.epoch + 1, run->progress.step + 1, what,
                     isnan(value) ? NAN : value, /* without its sign */
                     current_lr(trainer, run->progress.step));
}

/* Sums over the samples of the mini-batch that the plan has run. */
static double sum_batch(const struct trainer *trainer, int n, size_t *correct)
{
    const double *losses = plan_loss(trainer->plan);
    const int32_t *ranks = plan_rank(trainer->plan);
    double sum = 0;
    *correct = 0;
    for (int i = 0; i < n; i++) {
        sum += losses[i];
        *correct += ranks[i] == 0;
    }
    return sum;
}

static enum colonnade_status update_weights(struct trainer *trainer, double lr, double *norm,
                                            struct colonnade_error *error)
{
    struct run *run = trainer->run;
    const struct settings *settings = &run->settings;
    const struct optimizer_settings values = {
        .lr = lr,
        .momentum = settings->momentum,
        .weight_decay = settings->weight_decay,
        .beta1 = settings->beta1,
        .beta2 = settings->beta2,
        .eps = settings->eps,
        .nesterov = settings->nesterov,
    };
    const double start = run->profile ? seconds_now() : 0;
    *norm = optimizer_step(run->optimizer, &values, settings->clip_norm, run->progress.step + 1,
                           trainer->threads, trainer->gradients, run->model->parameters);
    if (run->profile)
        run->profile->optimizer_seconds += seconds_now() - start;
    return check_finite(trainer, "norm of the gradients", *norm, error);
}

/* The average after a step: at first what it is an average of, as in torch's AveragedModel; over
 * statistics as over weights. */
static void update_average(const struct trainer *trainer)
{
    const struct run *run = trainer->run;
    if (run->average && run->progress.step == 1)
        model_copy(run->average, run->model);
    else if (run->average) {
        double rate = 1 - run->settings.ema;
        average_update(run->graph->parameter_length, rate, run->model->parameters,
                       run->average->parameters, trainer->threads);
        average_update(run->graph->buffer_length, rate, run->model->buffers, run->average->buffers,
                       trainer->threads);
    }
}

static enum colonnade_status next_batch(struct trainer *trainer, const struct batch **batch,
                                        struct colonnade_error *error)
{
    struct run *run = trainer->run;
    enum colonnade_status status =
        sampler_batch(trainer->sampler, run->progress.batch, batch, error);
    run->data_wait_seconds = sampler_wait_seconds(trainer->sampler);
    return status;
}

static enum colonnade_status train_step(struct trainer *trainer, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = trainer->run;
    struct progress *progress = &run->progress;
    const struct plan_options options = {
        .seed = run->settings.seed,
        .step = (uint32_t)progress->step,
        .label_smoothing = run->settings.label_smoothing,
    };
    struct step_record record = {
        .step = progress->step + 1,
        .lr = current_lr(trainer, progress->step),
    };
    size_t correct;
    double start = seconds_now();
    const struct batch *batch;
    TRY(next_batch(trainer, &batch, error));
    plan_run(trainer->plan, run->model, batch, &options, trainer->gradients);
    double sum = sum_batch(trainer, batch->n, &correct);
    record.loss = sum / batch->n;
    TRY(check_finite(trainer, "loss", record.loss, error));
    TRY(update_weights(trainer, record.lr, &record.gradient_norm, error));

    progress->step++;
    progress->batch++;
    update_average(trainer);
    progress->loss_sum += sum;
    progress->correct += correct;
    progress->samples += (size_t)batch->n;
    double seconds = seconds_now() - start;
    progress->seconds += seconds;
    progress->total_seconds += seconds;
    if (run->profile) {
        run->profile->steps++;
        run->profile->seconds += seconds;
    }
    run->metrics.steps[run->metrics.step_count++] = record;
    EMIT(trainer, step, &record, error);
out:
    return status;
}

static enum colonnade_status checkpoint(struct trainer *trainer, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct run *run = trainer->run;
    if (run->profile)
        profile_take(run->profile, run->graph, trainer->plan);
    EMIT(trainer, checkpoint, error);
    trainer->last_checkpoint = seconds_now();
out:
    return status;
}

/* After a step, or with `epoch_ends` after a whole epoch. */
static bool checkpoint_due(const struct trainer *trainer, bool epoch_ends)
{
    const struct period every = trainer->run->settings.checkpoint_every;
    switch (every.unit) {
    case PERIOD_EPOCHS:
        return epoch_ends && trainer->run->progress.epoch % every.count == 0;
    case PERIOD_STEPS:
        return !epoch_ends && trainer->run->progress.step % every.count == 0;
    case PERIOD_MINUTES:
        return seconds_now() - trainer->last_checkpoint >= 60.0 * every.count;
    }
    return false;
}

/* Makes room for the records of what is left of the epoch. */
static enum colonnade_status reserve_records(struct trainer *trainer, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct metrics *metrics = &trainer->run->metrics;
    size_t left = trainer->batches - trainer->run->progress.batch;
    TRY(memory_grow(&metrics->steps, &metrics->step_capacity, metrics->step_count + left,
                    sizeof *metrics->steps, "the metrics of steps", error));
    TRY(memory_grow(&metrics->epochs, &metrics->epoch_capacity, metrics->epoch_count + 1,
                    sizeof *metrics->epochs, "the metrics of epochs", error));
out:
    return status;
}

/* From where the epoch stands to its end, or that of the steps. */
static enum colonnade_status run_steps(struct trainer *trainer, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = trainer->run;
    TRY(reserve_records(trainer, error));
    while (run->progress.batch < trainer->batches && !at_step_limit(run)) {
        TRY(check_stop(trainer->stop, error));
        TRY(train_step(trainer, error));
        if (checkpoint_due(trainer, false))
            TRY(checkpoint(trainer, error));
    }
out:
    return status;
}

/* The scores of a part; what it takes is no time of training steps, but of the run. */
static enum colonnade_status score(struct trainer *trainer, const struct model *model,
                                   enum part part, struct evaluation *evaluation,
                                   struct verdict *verdicts, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    double start = seconds_now();
    TRY(evaluator_run(trainer->evaluator, model, trainer->data, part, trainer->stop, evaluation,
                      verdicts, error));
    trainer->spoilt = !isfinite(evaluation->loss);
    TRY(evaluation_check(evaluation, part, error));
    trainer->run->progress.total_seconds += seconds_now() - start;
out:
    return status;
}

/* What an epoch is judged by. */
static struct model *current_weights(const struct run *run)
{
    struct model *average = run_average(run);
    return average ? average : run->model;
}

static enum colonnade_status validate(struct trainer *trainer, struct epoch_record *record,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct evaluation evaluation = {0};
    record->val_loss = record->val_accuracy = NAN;
    if (trainer->data->validation_count == 0)
        goto out;
    double before = trainer->run->progress.total_seconds;
    TRY(score(trainer, current_weights(trainer->run), PART_VALIDATION, &evaluation, NULL, error));
    record->val_loss = evaluation.loss;
    record->val_accuracy = evaluation.accuracy;
    record->seconds += trainer->run->progress.total_seconds - before;
out:
    evaluation_finish(&evaluation);
    return status;
}

/* Appended, or in place of one that max_steps had made of the same epoch. */
static void keep_record(struct metrics *metrics, const struct epoch_record *record)
{
    if (metrics->epoch_count == 0 ||
        metrics->epochs[metrics->epoch_count - 1].epoch != record->epoch)
        metrics->epoch_count++;
    metrics->epochs[metrics->epoch_count - 1] = *record;
}

/* Where another epoch follows the one whose steps are done, its first mini-batches are read from
 * now on, while the weights are judged and saved. */
static void begin_next_epoch(struct trainer *trainer)
{
    const struct run *run = trainer->run;
    const struct progress *progress = &run->progress;
    if (progress->batch == trainer->batches && progress->epoch + 1 < run->settings.epochs &&
        !at_step_limit(run))
        sampler_begin(trainer->sampler, (uint32_t)progress->epoch + 2, 0);
}

/* The epoch's record, and on to the next one if it ran to its end. */
static enum colonnade_status finish_epoch(struct trainer *trainer, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = trainer->run;
    struct progress *progress = &run->progress;
    double samples = (double)progress->samples;
    struct epoch_record record = {
        .epoch = progress->epoch + 1,
        .train_loss = progress->loss_sum / samples,
        .train_accuracy = (double)progress->correct / samples,
        .lr = current_lr(trainer, progress->step - 1),
        .images_per_second = samples / progress->seconds,
        .seconds = progress->seconds,
    };
    TRY(validate(trainer, &record, error));
    keep_record(&run->metrics, &record);
    bool whole = progress->batch == trainer->batches;
    if (whole)
        *progress = (struct progress){
            .step = progress->step,
            .epoch = progress->epoch + 1,
            .total_seconds = progress->total_seconds,
        };
    if (whole && run_best_epoch(run) == record.epoch)
        model_copy(run->best, current_weights(run));
    EMIT(trainer, epoch, &record, error);
    if (whole && checkpoint_due(trainer, true))
        TRY(checkpoint(trainer, error));
out:
    return status;
}

static enum colonnade_status run_epochs(struct trainer *trainer, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = trainer->run;
    const struct progress *progress = &run->progress;
    /* At the limit of steps an epoch cut short may still lack its record. */
    while (progress->epoch < run->settings.epochs && !run_stops_early(run) &&
           (!at_step_limit(run) || progress->batch > 0)) {
        TRY(run_steps(trainer, error));
        begin_next_epoch(trainer);
        TRY(finish_epoch(trainer, error));
        if (at_step_limit(run))
            break;
    }
    TRY(check_stop(trainer->stop, error));
out:
    return status;
}

static enum colonnade_status score_test(struct trainer *trainer, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = trainer->run;
    struct evaluation evaluation = {0};
    struct verdict *verdicts = NULL;
    const size_t count = trainer->data->test.count;
    if (count == 0)
        goto out;
    TRY(memory_allocate(&verdicts, count, sizeof *verdicts, "the verdicts of a test", error));
    TRY(score(trainer, run_weights(run), PART_TEST, &evaluation, verdicts, error));
    evaluation_finish(&run->evaluation);
    run->evaluation = evaluation;
    evaluation = (struct evaluation){0};
    TRY(worst_take(&run->worst, run, trainer->data, verdicts, error));
    run->evaluated = true;
out:
    evaluation_finish(&evaluation);
    free(verdicts);
    return status;
}

static enum colonnade_status keep_golden(struct trainer *trainer, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = trainer->run;
    const struct split *test = &trainer->data->test;
    struct golden golden = {.n = test->count < GOLDEN_SAMPLES ? (int)test->count : GOLDEN_SAMPLES};
    size_t n = (size_t)golden.n;
    uint8_t *buffer = NULL;
    TRY(memory_allocate(&buffer, dataset_image_bytes(trainer->data), 1, "a sample", error));
    TRY(memory_allocate(&golden.input, size_multiply(n, shape_size(run->data.shape)),
                        sizeof *golden.input, "golden samples", error));
    TRY(memory_allocate(&golden.logits, size_multiply(n, (size_t)run->graph->classes),
                        sizeof *golden.logits, "golden logits", error));
    for (size_t i = 0; i < n; i++) {
        const uint8_t *image;
        TRY(dataset_image(trainer->data, test, i, buffer, &image, error));
        TRY(normalize(&run->data, 1, image, golden.input + i * shape_size(run->data.shape), error));
    }
    TRY(infer(run, n, golden.input, trainer->threads, golden.logits, error));
    golden_finish(&run->golden);
    run->golden = golden;
    golden = (struct golden){0};
out:
    free(buffer);
    golden_finish(&golden);
    return status;
}

static enum colonnade_status complete(struct trainer *trainer, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(score_test(trainer, error));
    TRY(keep_golden(trainer, error));
    trainer->run->status = RUN_COMPLETE;
    TRY(checkpoint(trainer, error));
out:
    return status;
}

/* Keeps an interrupted run; where that fails, it is what the caller has to know. */
static enum colonnade_status keep_interrupted(struct trainer *trainer,
                                              enum colonnade_status interrupted,
                                              struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    trainer->run->status = RUN_INTERRUPTED;
    TRY(checkpoint(trainer, error));
    status = error_set(error, interrupted, "%s after step %ld, %d epoch%s done",
                       interrupted == COLONNADE_TERMINATED ? "terminated" : "interrupted",
                       trainer->run->progress.step, trainer->run->progress.epoch,
                       plural(trainer->run->progress.epoch));
out:
    return status;
}

static bool is_interrupt(enum colonnade_status status)
{
    return status == COLONNADE_INTERRUPTED || status == COLONNADE_TERMINATED;
}

/* The sinks have to keep what can be kept. */
static void end_failed(struct trainer *trainer, const char *reason)
{
    struct run *run = trainer->run;
    if (run->profile)
        profile_take(run->profile, run->graph, trainer->plan);
    run_set_failed(run, reason, NULL);
    for (size_t i = 0; i < trainer->sink_count; i++)
        if (trainer->sinks[i]->fail)
            trainer->sinks[i]->fail(trainer->sinks[i]->context, run, !trainer->spoilt, reason);
}

static enum colonnade_status run_to_end(struct trainer *trainer, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    EMIT(trainer, begin, trainer->batches, error);
    TRY(run_epochs(trainer, error));
    TRY(complete(trainer, error));
out:
    return status;
}

enum colonnade_status train(struct run *run, const struct dataset *data, int threads,
                            const struct sink *const *sinks, size_t sink_count,
                            const volatile sig_atomic_t *stop, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct trainer trainer = {
        .run = run,
        .data = data,
        .threads = threads,
        .sinks = sinks,
        .sink_count = sink_count,
        .stop = stop,
    };
    struct colonnade_error own = {0};
    if (!error)
        error = &own; /* the reason of a failure */
    run->status = RUN_TRAINING;
    free(run->reason);
    run->reason = NULL;
    /* What an earlier end said of its weights is not true of others. */
    run->evaluated = false;
    golden_finish(&run->golden);
    TRY(trainer_init(&trainer, error));
    trainer.last_checkpoint = seconds_now();
    status = run_to_end(&trainer, error);
    if (is_interrupt(status))
        status = keep_interrupted(&trainer, status, error);
    if (status != COLONNADE_OK && !is_interrupt(status))
        end_failed(&trainer, error->message);
out:
    trainer_finish(&trainer);
    return status;
}

enum colonnade_status train_bytes(const struct graph *graph, const struct settings *settings,
                                  int threads, size_t *bytes, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    size_t plan, evaluation;
    /* The evaluation is a guest in the training's memory: it takes what it needs above that. */
    const size_t model = size_add(graph->parameter_length, graph->buffer_length);
    const size_t gradients = graph->parameter_length;
    size_t floats = size_add(size_multiply(run_model_count(settings), model), gradients);
    size_t sum = size_add(size_multiply(floats, sizeof(float)),
                          optimizer_bytes(settings->optimizer, graph->updated_length));
    TRY(plan_measure(graph, PLAN_TRAINING, settings->batch, threads, &plan, error));
    TRY(plan_measure(graph, PLAN_INFERENCE, settings->batch, threads, &evaluation, error));
    *bytes = size_add(sum, plan > evaluation ? plan : evaluation);
out:
    return status;
}
