/* A run's life: made from a config and what its data are, and freed. Knows nothing of files, nor
 * of how a run is trained.
 */
#include "engine/train/run.h"

#include "engine/base/memory.h"

#include <stdlib.h>
#include <string.h>

const char *const run_status_names[] = {"training", "complete", "interrupted", "failed", NULL};

static enum colonnade_status create_models(struct run *run, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct settings *settings = &run->settings;
    TRY(model_create(&run->model, run->graph, settings->seed, error));
    if (settings->ema > 0)
        TRY(model_create(&run->average, run->graph, settings->seed, error));
    if (settings->early_stop)
        TRY(model_create(&run->best, run->graph, settings->seed, error));
out:
    return status;
}

size_t run_model_count(const struct settings *settings)
{
    return 1 + (size_t)(settings->ema > 0) + (size_t)(settings->early_stop > 0);
}

int run_best_epoch(const struct run *run)
{
    const struct epoch_record *best = NULL;
    for (size_t i = 0; run->best && i < run->metrics.epoch_count; i++) {
        const struct epoch_record *record = &run->metrics.epochs[i];
        if (record->epoch > run->progress.epoch)
            break; /* cut short */
        if (!best || record->val_accuracy > best->val_accuracy ||
            (record->val_accuracy == best->val_accuracy && record->val_loss < best->val_loss))
            best = record;
    }
    return best ? best->epoch : 0;
}

bool run_stops_early(const struct run *run)
{
    return run->best && run->progress.batch == 0 &&
           run->progress.epoch - run_best_epoch(run) >= run->settings.early_stop;
}

struct model *run_average(const struct run *run)
{
    return run->progress.step > 0 ? run->average : NULL;
}

struct model *run_weights(const struct run *run)
{
    struct model *average = run_average(run);
    return run_best_epoch(run) ? run->best : average ? average : run->model;
}

enum colonnade_status run_create(struct run **run, struct config *config,
                                 const struct data_facts *facts, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *made = NULL;
    TRY(memory_allocate(&made, 1, sizeof *made, "a run", error));
    made->config = config;
    config = NULL;
    TRY(settings_read(&made->settings, made->config, error));
    TRY(data_facts_copy(&made->data, facts, error));
    TRY(graph_create(&made->graph, made->config, facts->shape, facts->classes, error));
    TRY(graph_freeze(made->graph, made->config, &made->settings.freeze, error));
    TRY(create_models(made, error));
    TRY(optimizer_create(&made->optimizer, made->settings.optimizer, made->graph->updated_length,
                         error));
    *run = made;
    made = NULL;
out:
    config_destroy(config);
    run_destroy(made);
    return status;
}

enum colonnade_status run_set_failed(struct run *run, const char *reason,
                                     struct colonnade_error *error)
{
    run->status = RUN_FAILED;
    free(run->reason);
    run->reason = NULL;
    return memory_copy_text(&run->reason, reason, error);
}

void origin_finish(struct origin *origin)
{
    free(origin->version);
    free(origin->machine);
    free(origin->blas);
    free(origin->blas_kernel);
    *origin = (struct origin){0};
}

void run_destroy(struct run *run)
{
    if (!run)
        return;
    golden_finish(&run->golden);
    samples_finish(&run->samples);
    worst_finish(&run->worst);
    evaluation_finish(&run->evaluation);
    free(run->metrics.epochs);
    free(run->metrics.steps);
    optimizer_destroy(run->optimizer);
    model_destroy(run->model);
    model_destroy(run->average);
    model_destroy(run->best);
    profile_destroy(run->profile);
    origin_finish(&run->origin);
    free(run->reason);
    graph_destroy(run->graph);
    data_facts_finish(&run->data);
    config_destroy(run->config);
    free(run);
}

static enum colonnade_status copy_floats(float **to, const float *from, int count,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(memory_allocate(to, (size_t)count, sizeof **to, "mean and deviation", error));
    memcpy(*to, from, (size_t)count * sizeof **to);
out:
    return status;
}

enum colonnade_status data_facts_copy(struct data_facts *to, const struct data_facts *from,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct data_facts copy = {
        .shape = from->shape,
        .classes = from->classes,
        .fit = from->fit,
        .train_count = from->train_count,
        .checksum = from->checksum,
        .checksum_images = from->checksum_images,
    };
    TRY(memory_copy_text(&copy.source, from->source, error));
    TRY(memory_allocate(&copy.class_names, (size_t)copy.classes, sizeof *copy.class_names,
                        "class names", error));
    for (int i = 0; i < copy.classes; i++)
        TRY(memory_copy_text(&copy.class_names[i], from->class_names[i], error));
    TRY(copy_floats(&copy.mean, from->mean, copy.shape.c, error));
    TRY(copy_floats(&copy.std, from->std, copy.shape.c, error));
    *to = copy;
    return status;
out:
    data_facts_finish(&copy);
    return status;
}

void data_facts_finish(struct data_facts *facts)
{
    for (int i = 0; facts->class_names && i < facts->classes; i++)
        free(facts->class_names[i]);
    free(facts->class_names);
    free(facts->source);
    free(facts->mean);
    free(facts->std);
    *facts = (struct data_facts){0};
}

void golden_finish(struct golden *golden)
{
    free(golden->input);
    free(golden->logits);
    *golden = (struct golden){0};
}

enum colonnade_status evaluation_init(struct evaluation *evaluation, int classes,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    size_t n = (size_t)classes;
    struct evaluation made = {.classes = classes};
    TRY(memory_allocate(&made.confusion, size_multiply(n, n), sizeof *made.confusion,
                        "the confusion matrix", error));
    TRY(memory_allocate(&made.precision, n, sizeof *made.precision, "precision", error));
    TRY(memory_allocate(&made.recall, n, sizeof *made.recall, "recall", error));
    TRY(memory_allocate(&made.f1, n, sizeof *made.f1, "F1", error));
    *evaluation = made;
    return status;
out:
    evaluation_finish(&made);
    return status;
}

void evaluation_finish(struct evaluation *evaluation)
{
    free(evaluation->confusion);
    free(evaluation->precision);
    free(evaluation->recall);
    free(evaluation->f1);
    *evaluation = (struct evaluation){0};
}
