/* colonnade eval: a run's weights against a test split. */
#include "engine/cli/cli.h"

#include "engine/base/memory.h"
#include "engine/store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONFUSION_MOST = 20 }; /* classes whose confusion matrix fits on a terminal */

/* "0.13066, ..." for the run's own scaling, in digits that give the floats back. */
static enum colonnade_status keep_scaling(struct config *config, const char *key,
                                          const float *values, int channels,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    enum { NUMBER_BYTES = 24 };
    const size_t bytes = (size_t)channels * NUMBER_BYTES;
    char *numbers = NULL;
    TRY(memory_allocate(&numbers, bytes, 1, key, error));
    for (size_t i = 0, used = 0; i < (size_t)channels; i++)
        used += (size_t)snprintf(numbers + used, bytes - used, "%s%.9g", i ? ", " : "",
                                 (double)values[i]);
    TRY(config_set(config, "data", key, numbers, 0, error));
out:
    free(numbers);
    return status;
}

/* The images are scaled as they were in training, whatever split or source is read, and files are
 * brought to the same shape in the same way. */
static enum colonnade_status configure_data(struct run *run, const struct options *options,
                                            struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct data_facts *facts = &run->data;
    const struct image_target target = {facts->shape.c, facts->shape.h, facts->shape.w, facts->fit};
    TRY(keep_scaling(run->config, "mean", facts->mean, facts->shape.c, error));
    TRY(keep_scaling(run->config, "std", facts->std, facts->shape.c, error));
    for (size_t i = 0; i < options->set_count; i++) {
        if (strncmp(options->sets[i], "data.", 5) != 0)
            RAISE(COLONNADE_USAGE, "colonnade eval: --set %s: only keys of [data] can be set here",
                  options->sets[i]);
        TRY(config_override(run->config, options->sets[i], error));
    }
    dataset_drop_replaced(run->config);
    TRY(dataset_take_target(run->config, &target, error));
out:
    return status;
}

/* A run goes by the path that it was trained by, which need not be there any more. */
static enum colonnade_status check_path(const struct run *run, const char *path,
                                        struct colonnade_error *error)
{
    const struct entry *entry = config_entry(config_section(run->config, "data"), "path");
    if (!entry || entry->line == 0 || access(entry->value, F_OK) == 0)
        return COLONNADE_OK; /* of one that --set names the source tells */
    return error_set(error, COLONNADE_FAILURE,
                     "%s: the run's [data] path = %s: %s; --set data.path=PATH names another", path,
                     entry->value, strerror(errno));
}

static int64_t class_count(const struct evaluation *evaluation, int class)
{
    int64_t sum = 0;
    for (int i = 0; i < evaluation->classes; i++)
        sum += evaluation->confusion[(size_t) class * (size_t)evaluation->classes + (size_t)i];
    return sum;
}

static struct json_object *class_json(const struct run *run, const struct evaluation *evaluation,
                                      int class)
{
    struct json_object *object = json_object_new_object();
    json_add(object, "name", json_object_new_string(run->data.class_names[class]));
    json_add(object, "precision", json_number(evaluation->precision[class]));
    json_add(object, "recall", json_number(evaluation->recall[class]));
    json_add(object, "f1", json_number(evaluation->f1[class]));
    json_add(object, "count", json_object_new_int64(class_count(evaluation, class)));
    return object;
}

static enum colonnade_status print_as_json(const struct run *run,
                                           const struct evaluation *evaluation,
                                           struct colonnade_error *error)
{
    struct json_object *object = json_object_new_object();
    struct json_object *classes = json_object_new_array(), *confusion = json_object_new_array();
    const int64_t *entry = evaluation->confusion;
    for (int i = 0; i < evaluation->classes; i++) {
        struct json_object *row = json_object_new_array();
        for (int j = 0; j < evaluation->classes; j++)
            json_object_array_add(row, json_object_new_int64(*entry++));
        json_object_array_add(confusion, row);
        json_object_array_add(classes, class_json(run, evaluation, i));
    }
    json_add(object, "count", json_object_new_int64((int64_t)evaluation->count));
    json_add(object, "loss", json_number(evaluation->loss));
    json_add(object, "accuracy", json_number(evaluation->accuracy));
    json_add(object, "top5", json_number(evaluation->top5));
    json_add(object, "classes", classes);
    json_add(object, "confusion", confusion);
    return output_json(object, error);
}

static int name_width(const struct run *run)
{
    size_t width = strlen("class");
    for (int i = 0; i < run->data.classes; i++)
        if (strlen(run->data.class_names[i]) > width)
            width = strlen(run->data.class_names[i]);
    return (int)width;
}

static void print_confusion(const struct run *run, const struct evaluation *evaluation)
{
    const int64_t *entry = evaluation->confusion;
    printf("\nConfusion: a row is the true class, a column the predicted one\n");
    for (int i = 0; i < evaluation->classes; i++) {
        printf("%-*s", name_width(run), run->data.class_names[i]);
        for (int j = 0; j < evaluation->classes; j++)
            printf(" %6lld", (long long)*entry++);
        printf("\n");
    }
}

static enum colonnade_status print_for_people(const struct run *run,
                                              const struct evaluation *evaluation,
                                              struct colonnade_error *error)
{
    printf("%s image%s: accuracy %.2f %%, top-5 %.2f %%, loss %.4f\n\n",
           count_text(evaluation->count), plural(evaluation->count), 100 * evaluation->accuracy,
           100 * evaluation->top5, evaluation->loss);
    printf("%-*s  precision  recall      f1   count\n", name_width(run), "class");
    for (int i = 0; i < evaluation->classes; i++)
        printf("%-*s  %9.4f  %6.4f  %6.4f  %6lld\n", name_width(run), run->data.class_names[i],
               evaluation->precision[i], evaluation->recall[i], evaluation->f1[i],
               (long long)class_count(evaluation, i));
    if (evaluation->classes <= CONFUSION_MOST)
        print_confusion(run, evaluation);
    return output_flush(error);
}

enum colonnade_status verb_eval(const struct options *options, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = NULL;
    struct dataset *data = NULL;
    struct evaluation evaluation = {0};
    TRY(run_load(&run, options->operands[0], error));
    TRY(configure_data(run, options, error));
    TRY(check_path(run, options->operands[0], error));
    const int threads = experiment_threads(options, &run->settings);
    const struct data_request request = {.seed = run->settings.seed,
                                         .threads = threads,
                                         .test_alone = true,
                                         .class_names = run->data.class_names,
                                         .classes = run->data.classes};
    TRY(experiment_data(&data, run->config, &request, false, error));
    TRY(experiment_check_data(run, data, error));
    if (data->test.count == 0)
        RAISE(COLONNADE_FAILURE, "the data have no test split to score");
    TRY(evaluate(run, data, PART_TEST, threads, &evaluation, error));
    TRY(options->json ? print_as_json(run, &evaluation, error)
                      : print_for_people(run, &evaluation, error));
out:
    evaluation_finish(&evaluation);
    dataset_destroy(data);
    run_destroy(run);
    return status;
}
