/* The library's interface over the engine: experiments and runs as opaque things. */
#include "engine/experiment.h"

#include "engine/base/memory.h"
#include "engine/store/store.h"
#include "engine/sweep/sweep.h"
#include "engine/train/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct colonnade_run {
    struct run *run;
};

struct colonnade_experiment {
    struct dataset *data;
    struct colonnade_run run;
    bool weights_due; /* there is a run file, and whether init_from is read depends on resuming */
};

const char *colonnade_version(void)
{
    return COLONNADE_VERSION;
}

struct data_facts experiment_facts(const struct dataset *data)
{
    return (struct data_facts){
        .source = (char *)data->source,
        .shape = {data->c, data->h, data->w},
        .classes = data->classes,
        .class_names = data->class_names,
        .mean = data->mean,
        .std = data->std,
        .fit = data->fit,
    };
}

/* Those of init_from, if the config has it. */
static enum colonnade_status take_weights(struct run *run, struct weights_taken *taken,
                                          struct colonnade_error *error)
{
    *taken = (struct weights_taken){0};
    if (!run->settings.init_from)
        return COLONNADE_OK;
    return weights_take(run->graph, run->model, run->config, run->settings.init_from, taken, error);
}

enum colonnade_status experiment_begin(struct run **run, struct config *config,
                                       const struct dataset *data, struct weights_taken *taken,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct data_facts facts = experiment_facts(data);
    struct run *made = NULL;
    *taken = (struct weights_taken){0};
    TRY(run_create(&made, config, &facts, error));
    TRY(take_weights(made, taken, error));
    *run = made;
    made = NULL;
out:
    run_destroy(made);
    return status;
}

/* Where a source has no names, a class's is its number. */
static bool is_named(const char *name, int class)
{
    char number[16];
    snprintf(number, sizeof number, "%d", class);
    return strcmp(name, number) != 0;
}

/* A label that means another class than in training would be scored wrong, and nobody told. */
static enum colonnade_status check_class_names(const struct run *run, const struct dataset *data,
                                               struct colonnade_error *error)
{
    for (int i = 0; i < data->classes && i < run->data.classes; i++) {
        const char *name = data->class_names[i], *trained = run->data.class_names[i];
        if (is_named(name, i) && is_named(trained, i) && strcmp(name, trained) != 0)
            return error_set(error, COLONNADE_FAILURE,
                             "class %d of the data is '%s': the run was trained with '%s' there", i,
                             name, trained);
    }
    return COLONNADE_OK;
}

enum colonnade_status experiment_check_data(const struct run *run, const struct dataset *data,
                                            struct colonnade_error *error)
{
    const struct shape shape = run->data.shape;
    if (data->c != shape.c || data->h != shape.h || data->w != shape.w)
        return error_set(error, COLONNADE_FAILURE,
                         "the data's images are %dx%dx%d: the run was trained on %dx%dx%d", data->c,
                         data->h, data->w, shape.c, shape.h, shape.w);
    if (check_class_names(run, data, error) != COLONNADE_OK)
        return error->status;
    if (data->classes != run->data.classes)
        return error_set(error, COLONNADE_FAILURE,
                         "the data has %d classes: the run was trained on %d", data->classes,
                         run->data.classes);
    return COLONNADE_OK;
}

enum colonnade_status experiment_know_data(struct run *run, const struct dataset *data,
                                           const char *path, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct data_facts *facts = &run->data;
    const size_t count = data->train.count;
    const bool known = facts->checksum_images > 0;
    const size_t images = known ? facts->checksum_images : dataset_checksum_images(data);
    uint32_t checksum;
    if (known && count != facts->train_count)
        RAISE(COLONNADE_FAILURE,
              "the data have %zu training images: the run in %s was begun with %zu", count, path,
              facts->train_count);
    TRY(dataset_checksum(data, images, &checksum, error));
    if (known && checksum != facts->checksum)
        RAISE(COLONNADE_FAILURE,
              "the data are not those that the run in %s was begun with: the checksum of the "
              "training labels and of %zu of %zu images is %08x and was %08x; without --resume it "
              "begins anew",
              path, images, count, checksum, facts->checksum);
    facts->train_count = count;
    facts->checksum = checksum;
    facts->checksum_images = images;
out:
    return status;
}

enum colonnade_status colonnade_run_load(struct colonnade_run **run, const char *path,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct colonnade_run *made = NULL;
    TRY(memory_allocate(&made, 1, sizeof *made, "a run", error));
    TRY(run_load(&made->run, path, error));
    *run = made;
    made = NULL;
out:
    colonnade_run_destroy(made);
    return status;
}

void colonnade_run_destroy(struct colonnade_run *run)
{
    if (!run)
        return;
    run_destroy(run->run);
    free(run);
}

void colonnade_run_shape(const struct colonnade_run *run, int *height, int *width, int *channels)
{
    const struct shape shape = run->run->data.shape;
    *height = shape.h;
    *width = shape.w;
    *channels = shape.c;
}

int colonnade_run_classes(const struct colonnade_run *run)
{
    return run->run->data.classes;
}

const char *colonnade_run_class_name(const struct colonnade_run *run, int index)
{
    const struct data_facts *data = &run->run->data;
    return index >= 0 && index < data->classes ? data->class_names[index] : NULL;
}

bool colonnade_run_score(const struct colonnade_run *run, struct colonnade_score *score)
{
    const struct evaluation *evaluation = &run->run->evaluation;
    if (!run->run->evaluated)
        return false;
    *score = (struct colonnade_score){
        .count = evaluation->count,
        .loss = evaluation->loss,
        .accuracy = evaluation->accuracy,
        .top5 = evaluation->top5,
    };
    return true;
}

enum colonnade_status colonnade_run_predict(const struct colonnade_run *run, size_t n,
                                            const uint8_t *images, int threads,
                                            float *probabilities, struct colonnade_error *error)
{
    return predict(run->run, n, images, thread_count(threads), probabilities, error);
}

/* Takes over `config`, also on error. */
static enum colonnade_status open_config(struct colonnade_experiment *experiment,
                                         struct config *config, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct settings settings;
    struct weights_taken taken = {0};
    TRY(settings_read(&settings, config, error));
    const struct data_request request = {.seed = settings.seed,
                                         .threads = thread_count(settings.threads)};
    TRY(dataset_open(&experiment->data, config, &request, error));
    const struct data_facts facts = experiment_facts(experiment->data);
    status = run_create(&experiment->run.run, config, &facts, error);
    config = NULL;
    TRY(status);
    TRY(config_check_all_read(experiment->run.run->config, error));
    experiment->weights_due = access(colonnade_experiment_output(experiment), F_OK) == 0;
    if (!experiment->weights_due)
        TRY(take_weights(experiment->run.run, &taken, error));
out:
    weights_taken_finish(&taken);
    config_destroy(config);
    return status;
}

enum colonnade_status colonnade_experiment_open(struct colonnade_experiment **experiment,
                                                const char *path, const char *const *overrides,
                                                struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct colonnade_experiment *made = NULL;
    struct config *config = NULL;
    TRY(memory_allocate(&made, 1, sizeof *made, "an experiment", error));
    TRY(config_load(&config, path, error));
    for (size_t i = 0; overrides && overrides[i]; i++)
        TRY(config_override(config, overrides[i], error));
    dataset_drop_replaced(config);
    TRY(settings_check_choices(config, error));
    TRY(sweep_reduce_to_base(config, error));
    status = open_config(made, config, error);
    config = NULL;
    TRY(status);
    *experiment = made;
    made = NULL;
out:
    config_destroy(config);
    colonnade_experiment_destroy(made);
    return status;
}

void colonnade_experiment_destroy(struct colonnade_experiment *experiment)
{
    if (!experiment)
        return;
    run_destroy(experiment->run.run);
    dataset_destroy(experiment->data);
    free(experiment);
}

const char *colonnade_experiment_output(const struct colonnade_experiment *experiment)
{
    return experiment->run.run->settings.output;
}

const struct colonnade_run *colonnade_experiment_run(const struct colonnade_experiment *experiment)
{
    return &experiment->run;
}

/* The caller's view of a training: its progress function, which may ask for the end. */
struct view {
    const struct colonnade_training *training;
    volatile sig_atomic_t stop;
};

static enum colonnade_status report_epoch(void *context, const struct run *run,
                                          const struct epoch_record *record,
                                          struct colonnade_error *error)
{
    struct view *view = context;
    const struct colonnade_epoch epoch = {
        .epoch = record->epoch,
        .train_loss = record->train_loss,
        .train_accuracy = record->train_accuracy,
        .val_loss = record->val_loss,
        .val_accuracy = record->val_accuracy,
        .lr = record->lr,
        .images_per_second = record->images_per_second,
    };
    if (!view->training->progress(view->training->context, &epoch))
        view->stop = SIGINT;
    return COLONNADE_OK;
}

/* Replaces the experiment's run by the one in its run file. */
static enum colonnade_status resume(struct colonnade_experiment *experiment,
                                    struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *loaded = NULL;
    int epochs_before;
    const char *path = colonnade_experiment_output(experiment);
    TRY(resume_load(&loaded, path, experiment->run.run->config, &epochs_before, error));
    TRY(experiment_check_data(loaded, experiment->data, error));
    TRY(experiment_know_data(loaded, experiment->data, path, error));
    run_destroy(experiment->run.run);
    experiment->run.run = loaded;
    experiment->weights_due = false;
    loaded = NULL;
out:
    run_destroy(loaded);
    return status;
}

enum colonnade_status colonnade_experiment_train(struct colonnade_experiment *experiment,
                                                 const struct colonnade_training *training,
                                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    static const struct colonnade_training plain = {0};
    struct view view = {.training = training ? training : &plain};
    const int asked = view.training->threads;
    struct weights_taken taken = {0};
    const char *path = colonnade_experiment_output(experiment);
    struct keeper keeper = {0};
    const struct sink file = keeper_sink(&keeper);
    const struct sink progress = {.context = &view, .epoch = report_epoch};
    const struct sink *sinks[] = {&file, &progress};
    experiment->data->threads = thread_count(asked ? asked : experiment->run.run->settings.threads);
    TRY(keeper_open(&keeper, path, view.training->resume, error));
    if (keeper.own)
        TRY(resume(experiment, error));
    if (experiment->weights_due)
        TRY(take_weights(experiment->run.run, &taken, error));
    experiment->weights_due = false;
    TRY(experiment_know_data(experiment->run.run, experiment->data,
                             colonnade_experiment_output(experiment), error));
    struct run *run = experiment->run.run;
    TRY(train(run, experiment->data, experiment->data->threads, sinks,
              view.training->progress ? 2 : 1, &view.stop, error));
out:
    keeper_close(&keeper);
    weights_taken_finish(&taken);
    return status;
}
