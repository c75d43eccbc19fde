/* What is recorded of a run: progress, metrics, profile, evaluation, golden samples. Writing and
 * reading go by the same tables and shapes.
 */
#include "engine/base/memory.h"
#include "engine/store/parts.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* A field of a record. On disk it is an attribute or a column of its name. */
struct field {
    const char *name, *units;
    enum value_type type;
    size_t offset;
};

static const struct field progress_fields[] = {
    {"step", NULL, VALUE_LONG, offsetof(struct progress, step)},
    {"epoch", NULL, VALUE_INT, offsetof(struct progress, epoch)},
    {"batch", NULL, VALUE_SIZE, offsetof(struct progress, batch)},
    {"loss_sum", NULL, VALUE_DOUBLE, offsetof(struct progress, loss_sum)},
    {"correct", NULL, VALUE_SIZE, offsetof(struct progress, correct)},
    {"samples", NULL, VALUE_SIZE, offsetof(struct progress, samples)},
    {"seconds", NULL, VALUE_DOUBLE, offsetof(struct progress, seconds)},
    {"total_seconds", NULL, VALUE_DOUBLE, offsetof(struct progress, total_seconds)},
};

static const struct field epoch_fields[] = {
    {"epoch", "epochs", VALUE_INT, offsetof(struct epoch_record, epoch)},
    {"train_loss", "nats", VALUE_DOUBLE, offsetof(struct epoch_record, train_loss)},
    {"train_accuracy", "fraction", VALUE_DOUBLE, offsetof(struct epoch_record, train_accuracy)},
    {"val_loss", "nats", VALUE_DOUBLE, offsetof(struct epoch_record, val_loss)},
    {"val_accuracy", "fraction", VALUE_DOUBLE, offsetof(struct epoch_record, val_accuracy)},
    {"lr", "1", VALUE_DOUBLE, offsetof(struct epoch_record, lr)},
    {"images_per_second", "images/s", VALUE_DOUBLE,
     offsetof(struct epoch_record, images_per_second)},
    {"seconds", "s", VALUE_DOUBLE, offsetof(struct epoch_record, seconds)},
};

static const struct field step_fields[] = {
    {"step", "steps", VALUE_LONG, offsetof(struct step_record, step)},
    {"loss", "nats", VALUE_DOUBLE, offsetof(struct step_record, loss)},
    {"lr", "1", VALUE_DOUBLE, offsetof(struct step_record, lr)},
    {"gradient_norm", "1", VALUE_DOUBLE, offsetof(struct step_record, gradient_norm)},
};

static const struct field worst_fields[] = {
    {"sample", "1", VALUE_LONG, offsetof(struct worst_image, sample)},
    {"actual", "1", VALUE_INT, offsetof(struct worst_image, actual)},
    {"predicted", "1", VALUE_INT, offsetof(struct worst_image, predicted)},
    {"loss", "nats", VALUE_DOUBLE, offsetof(struct worst_image, loss)},
    {"probability", "fraction", VALUE_DOUBLE, offsetof(struct worst_image, probability)},
};

static const struct field evaluation_fields[] = {
    {"count", NULL, VALUE_SIZE, offsetof(struct evaluation, count)},
    {"loss", NULL, VALUE_DOUBLE, offsetof(struct evaluation, loss)},
    {"accuracy", NULL, VALUE_DOUBLE, offsetof(struct evaluation, accuracy)},
    {"top5", NULL, VALUE_DOUBLE, offsetof(struct evaluation, top5)},
};

static const struct field profile_fields[] = {
    {"steps", NULL, VALUE_LONG, offsetof(struct profile, steps)},
    {"threads", NULL, VALUE_INT, offsetof(struct profile, threads)},
    {"seconds", NULL, VALUE_DOUBLE, offsetof(struct profile, seconds)},
    {"optimizer_seconds", NULL, VALUE_DOUBLE, offsetof(struct profile, optimizer_seconds)},
    {"loss_seconds", NULL, VALUE_DOUBLE, offsetof(struct profile, loss_seconds)},
};

static const struct field node_time_fields[] = {
    {"forward", "s", VALUE_DOUBLE, offsetof(struct node_time, forward.seconds)},
    {"forward_im2col", "s", VALUE_DOUBLE, offsetof(struct node_time, forward.im2col)},
    {"forward_sgemm", "s", VALUE_DOUBLE, offsetof(struct node_time, forward.sgemm)},
    {"backward", "s", VALUE_DOUBLE, offsetof(struct node_time, backward.seconds)},
    {"backward_im2col", "s", VALUE_DOUBLE, offsetof(struct node_time, backward.im2col)},
    {"backward_sgemm", "s", VALUE_DOUBLE, offsetof(struct node_time, backward.sgemm)},
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* A table of records in a group: what its columns are, and how much of them a chunk takes. */
struct table {
    const char *group;
    const struct field *fields;
    size_t field_count, record_bytes;
    hsize_t chunk;
};

static const struct table epoch_table = {"epoch", epoch_fields, COUNT(epoch_fields),
                                         sizeof(struct epoch_record), 64};
static const struct table step_table = {"step", step_fields, COUNT(step_fields),
                                        sizeof(struct step_record), 1024};
static const struct table worst_table = {"worst", worst_fields, COUNT(worst_fields),
                                         sizeof(struct worst_image), 64};

static enum colonnade_status write_fields(struct place place, const struct field *fields,
                                          size_t count, const void *record,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (size_t i = 0; i < count; i++)
        TRY(place_write_attribute(place, fields[i].name, fields[i].type, 0,
                                  (const char *)record + fields[i].offset, error));
out:
    return status;
}

static enum colonnade_status read_fields(struct place place, const struct field *fields,
                                         size_t count, void *record, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (size_t i = 0; i < count; i++)
        TRY(place_read_attribute(place, fields[i].name, fields[i].type, 0,
                                 (char *)record + fields[i].offset, error));
out:
    return status;
}

enum colonnade_status write_progress(struct place optimizer, const struct progress *progress,
                                     struct colonnade_error *error)
{
    return write_fields(optimizer, progress_fields, COUNT(progress_fields), progress, error);
}

enum colonnade_status read_progress(struct place optimizer, struct progress *progress,
                                    struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(read_fields(optimizer, progress_fields, COUNT(progress_fields), progress, error));
    if (progress->step < 0 || progress->epoch < 0)
        status =
            place_error(optimizer, NULL, error, "step %ld, epoch %d: neither can be less than 0",
                        progress->step, progress->epoch);
out:
    return status;
}

/* A column between records and an array of its own; `type` is one of those that records have. */
static size_t value_bytes(enum value_type type)
{
    switch (type) {
    case VALUE_INT:
        return sizeof(int);
    case VALUE_LONG:
        return sizeof(long);
    default:
        return sizeof(double);
    }
}

static void gather(const struct field *field, const char *records, size_t record_bytes,
                   size_t count, char *column)
{
    const size_t bytes = value_bytes(field->type);
    for (size_t i = 0; i < count; i++)
        memcpy(column + i * bytes, records + i * record_bytes + field->offset, bytes);
}

static void scatter(const struct field *field, const char *column, size_t record_bytes,
                    size_t count, char *records)
{
    const size_t bytes = value_bytes(field->type);
    for (size_t i = 0; i < count; i++)
        memcpy(records + i * record_bytes + field->offset, column + i * bytes, bytes);
}

static enum colonnade_status write_column(struct place group, const struct field *field,
                                          const struct array *array, const void *column,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place set = {.id = H5I_INVALID_HID};
    TRY(place_write_array(group, field->name, array, column, error));
    TRY(place_open(group, field->name, &set, error));
    TRY(place_write_text(set, "units", field->units, error));
out:
    place_close(set.id);
    return status;
}

static enum colonnade_status write_table(struct place metrics, const struct table *table,
                                         const void *records, size_t count,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    char *column = NULL;
    TRY(memory_allocate(&column, count, sizeof(double), "a column of metrics", error));
    TRY(place_create_group(metrics, table->group, &group, error));
    for (size_t i = 0; i < table->field_count; i++) {
        const struct field *field = &table->fields[i];
        const struct array array = {
            .type = field->type, .rank = 1, .dims = {count}, .chunk = table->chunk};
        gather(field, records, table->record_bytes, count, column);
        TRY(write_column(group, field, &array, column, error));
        if (i > 0) /* the first column numbers the others */
            TRY(place_attach_scale(group, table->fields[0].name, field->name, error));
    }
out:
    place_close(group.id);
    free(column);
    return status;
}

enum colonnade_status write_metrics(struct place file, const struct metrics *metrics,
                                    struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    TRY(place_create_group(file, "metrics", &group, error));
    TRY(write_table(group, &epoch_table, metrics->epochs, metrics->epoch_count, error));
    TRY(write_table(group, &step_table, metrics->steps, metrics->step_count, error));
out:
    place_close(group.id);
    return status;
}

/* All columns of a table are as long as its first. `records` is the run's growing array. */
static enum colonnade_status read_table(struct place metrics, const struct table *table,
                                        void *records, size_t *capacity, size_t *count,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    char *column = NULL;
    hsize_t length;
    TRY(place_open(metrics, table->group, &group, error));
    TRY(place_read_length(group, table->fields[0].name, 1, &length, error));
    TRY(memory_grow(records, capacity, (size_t)length, table->record_bytes, "metrics", error));
    TRY(memory_allocate(&column, (size_t)length, sizeof(double), "a column of metrics", error));
    for (size_t i = 0; i < table->field_count; i++) {
        const struct field *field = &table->fields[i];
        const struct array array = {.type = field->type, .rank = 1, .dims = {length}};
        TRY(place_read_array(group, field->name, &array, column, error));
        scatter(field, column, table->record_bytes, (size_t)length, *(char **)records);
    }
    *count = (size_t)length;
out:
    place_close(group.id);
    free(column);
    return status;
}

enum colonnade_status read_metrics(struct place file, struct metrics *metrics,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    TRY(place_open(file, "metrics", &group, error));
    TRY(read_table(group, &epoch_table, &metrics->epochs, &metrics->epoch_capacity,
                   &metrics->epoch_count, error));
    TRY(read_table(group, &step_table, &metrics->steps, &metrics->step_capacity,
                   &metrics->step_count, error));
out:
    place_close(group.id);
    return status;
}

/* The input and the nodes that users wrote, by name: `indices` into the graph. */
static size_t list_profiled(const struct graph *graph, int *indices, char **names)
{
    size_t count = 0;
    indices[count++] = 0;
    for (int i = 0; i < graph->declared_count; i++)
        indices[count++] = graph->declared[i];
    for (size_t i = 0; i < count; i++)
        names[i] = graph->nodes[indices[i]].name;
    return count;
}

enum colonnade_status write_profile(struct place file, const struct profile *profile,
                                    const struct graph *graph, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    const size_t most = (size_t)graph->declared_count + 1;
    int *indices = NULL;
    char **names = NULL;
    double *column = NULL;
    TRY(memory_allocate(&indices, most, sizeof *indices, "a profile", error));
    TRY(memory_allocate(&names, most, sizeof *names, "a profile", error));
    TRY(memory_allocate(&column, most, sizeof *column, "a profile", error));
    TRY(place_create_group(file, "profile", &group, error));
    TRY(write_fields(group, profile_fields, COUNT(profile_fields), profile, error));
    const size_t count = list_profiled(graph, indices, names);
    TRY(place_write_texts(group, "node", count, names, error));
    for (size_t i = 0; i < COUNT(node_time_fields); i++) {
        const struct field *field = &node_time_fields[i];
        const struct array array = {.type = VALUE_DOUBLE, .rank = 1, .dims = {count}};
        for (size_t n = 0; n < count; n++)
            gather(field, (const char *)&profile->nodes[indices[n]], sizeof *profile->nodes, 1,
                   (char *)&column[n]);
        TRY(write_column(group, field, &array, column, error));
    }
out:
    place_close(group.id);
    free(column);
    free(names);
    free(indices);
    return status;
}

/* `*column` stays [count]; nodes are the graph's, in the same order. */
static enum colonnade_status read_times(struct place group, struct profile *profile,
                                        const struct graph *graph, double *column,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t count = (size_t)graph->declared_count + 1;
    for (size_t i = 0; i < COUNT(node_time_fields); i++) {
        const struct field *field = &node_time_fields[i];
        const struct array array = {.type = VALUE_DOUBLE, .rank = 1, .dims = {count}};
        TRY(place_read_array(group, field->name, &array, column, error));
        for (size_t n = 0; n < count; n++)
            scatter(field, (const char *)&column[n], sizeof *profile->nodes, 1,
                    (char *)&profile->nodes[n ? graph->declared[n - 1] : 0]);
    }
out:
    return status;
}

enum colonnade_status read_profile(struct place file, struct profile **profile,
                                   const struct graph *graph, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    struct profile *made = NULL;
    double *column = NULL;
    if (!place_has(file, "profile"))
        goto out;
    TRY(profile_create(&made, graph, 1, error));
    TRY(memory_allocate(&column, (size_t)graph->declared_count + 1, sizeof *column, "a profile",
                        error));
    TRY(place_open(file, "profile", &group, error));
    TRY(read_fields(group, profile_fields, COUNT(profile_fields), made, error));
    if (made->steps < 1 || made->threads < 1)
        TRY(place_error(group, NULL, error, "%ld steps on %d threads: neither can be less than 1",
                        made->steps, made->threads));
    TRY(read_times(group, made, graph, column, error));
    *profile = made;
    made = NULL;
out:
    place_close(group.id);
    profile_destroy(made);
    free(column);
    return status;
}

static struct array confusion_array(int classes)
{
    return (struct array){.type = VALUE_INT64,
                          .rank = 2,
                          .dims = {(hsize_t)classes, (hsize_t)classes},
                          .labels = {"true", "predicted"}};
}

static struct array score_array(int classes)
{
    return (struct array){
        .type = VALUE_DOUBLE, .rank = 1, .dims = {(hsize_t)classes}, .labels = {"class"}};
}

enum colonnade_status write_evaluation(struct place file, const struct evaluation *evaluation,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct array confusion = confusion_array(evaluation->classes);
    const struct array scores = score_array(evaluation->classes);
    struct place group = {.id = H5I_INVALID_HID}, test = {.id = H5I_INVALID_HID};
    TRY(place_create_group(file, "evaluation", &group, error));
    TRY(place_create_group(group, "test", &test, error));
    TRY(write_fields(test, evaluation_fields, COUNT(evaluation_fields), evaluation, error));
    TRY(place_write_array(test, "confusion", &confusion, evaluation->confusion, error));
    TRY(place_write_array(test, "precision", &scores, evaluation->precision, error));
    TRY(place_write_array(test, "recall", &scores, evaluation->recall, error));
    TRY(place_write_array(test, "f1", &scores, evaluation->f1, error));
out:
    place_close(test.id);
    place_close(group.id);
    return status;
}

enum colonnade_status read_evaluation(struct place file, struct evaluation *evaluation,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct array confusion = confusion_array(evaluation->classes);
    const struct array scores = score_array(evaluation->classes);
    struct place group = {.id = H5I_INVALID_HID}, test = {.id = H5I_INVALID_HID};
    TRY(place_open(file, "evaluation", &group, error));
    TRY(place_open(group, "test", &test, error));
    TRY(read_fields(test, evaluation_fields, COUNT(evaluation_fields), evaluation, error));
    TRY(place_read_array(test, "confusion", &confusion, evaluation->confusion, error));
    TRY(place_read_array(test, "precision", &scores, evaluation->precision, error));
    TRY(place_read_array(test, "recall", &scores, evaluation->recall, error));
    TRY(place_read_array(test, "f1", &scores, evaluation->f1, error));
out:
    place_close(test.id);
    place_close(group.id);
    return status;
}

static struct array input_array(hsize_t n, struct shape shape)
{
    return (struct array){.type = VALUE_FLOAT,
                          .rank = 4,
                          .dims = {n, (hsize_t)shape.c, (hsize_t)shape.h, (hsize_t)shape.w},
                          .labels = {"n", "c", "h", "w"}};
}

static struct array logits_array(hsize_t n, int classes)
{
    return (struct array){
        .type = VALUE_FLOAT, .rank = 2, .dims = {n, (hsize_t)classes}, .labels = {"n", "class"}};
}

enum colonnade_status write_golden(struct place file, const struct golden *golden,
                                   const struct data_facts *data, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct array input = input_array((hsize_t)golden->n, data->shape);
    const struct array logits = logits_array((hsize_t)golden->n, data->classes);
    struct place group = {.id = H5I_INVALID_HID};
    TRY(place_create_group(file, "golden", &group, error));
    TRY(place_write_array(group, "input", &input, golden->input, error));
    TRY(place_write_array(group, "logits", &logits, golden->logits, error));
out:
    place_close(group.id);
    return status;
}

enum colonnade_status read_golden(struct place file, struct golden *golden,
                                  const struct data_facts *data, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    hsize_t n;
    TRY(place_open(file, "golden", &group, error));
    TRY(place_read_length(group, "input", 4, &n, error));
    const struct array input = input_array(n, data->shape);
    const struct array logits = logits_array(n, data->classes);
    const size_t image_bytes = size_multiply(shape_size(data->shape), sizeof(float));
    const size_t logits_bytes = size_multiply((size_t)data->classes, sizeof(float));
    TRY(place_check_array(group, "input", &input, error));
    TRY(memory_allocate(&golden->input, (size_t)n, image_bytes, "golden samples", error));
    TRY(memory_allocate(&golden->logits, (size_t)n, logits_bytes, "golden logits", error));
    TRY(place_read_array(group, "input", &input, golden->input, error));
    TRY(place_read_array(group, "logits", &logits, golden->logits, error));
    golden->n = (int)n;
out:
    place_close(group.id);
    return status;
}

static struct array images_array(hsize_t n, struct shape shape)
{
    return (struct array){.type = VALUE_UINT8,
                          .rank = 4,
                          .dims = {n, (hsize_t)shape.h, (hsize_t)shape.w, (hsize_t)shape.c},
                          .labels = {"n", "h", "w", "c"}};
}

/* The group of what is known of the test split. */
static enum colonnade_status open_test(struct place file, struct place *test,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    TRY(place_open(file, "evaluation", &group, error));
    TRY(place_open(group, "test", test, error));
out:
    place_close(group.id);
    return status;
}

enum colonnade_status write_worst(struct place file, const struct worst *worst,
                                  const struct data_facts *data, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct array images = images_array(worst->n, data->shape);
    struct place test = {.id = H5I_INVALID_HID}, group = {.id = H5I_INVALID_HID};
    TRY(open_test(file, &test, error));
    TRY(write_table(test, &worst_table, worst->records, worst->n, error));
    TRY(place_open(test, worst_table.group, &group, error));
    TRY(place_write_array(group, "images", &images, worst->pixels, error));
    if (worst->files)
        TRY(place_write_texts(group, "file", worst->n, worst->files, error));
out:
    place_close(group.id);
    place_close(test.id);
    return status;
}

static enum colonnade_status check_classes(struct place group, const struct worst *worst,
                                           int classes, struct colonnade_error *error)
{
    for (size_t i = 0; i < worst->n; i++) {
        const struct worst_image *image = &worst->records[i];
        const bool actual_is = image->actual >= 0 && image->actual < classes;
        if (!actual_is || image->predicted < 0 || image->predicted >= classes)
            return place_error(group, actual_is ? "predicted" : "actual", error,
                               "%d is none of %d classes",
                               actual_is ? image->predicted : image->actual, classes);
    }
    return COLONNADE_OK;
}

enum colonnade_status read_worst(struct place file, struct worst *worst,
                                 const struct data_facts *data, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place test = {.id = H5I_INVALID_HID}, group = {.id = H5I_INVALID_HID};
    TRY(open_test(file, &test, error));
    if (!place_has(test, worst_table.group))
        goto out;
    TRY(read_table(test, &worst_table, &worst->records, &worst->capacity, &worst->n, error));
    TRY(place_open(test, worst_table.group, &group, error));
    TRY(check_classes(group, worst, data->classes, error));
    const struct array images = images_array(worst->n, data->shape);
    TRY(place_check_array(group, "images", &images, error));
    TRY(memory_allocate(&worst->pixels, worst->n, shape_size(data->shape), "images", error));
    TRY(place_read_array(group, "images", &images, worst->pixels, error));
    if (place_has(group, "file")) {
        TRY(memory_allocate(&worst->files, worst->n, sizeof *worst->files, "names of files",
                            error));
        TRY(place_read_texts(group, "file", worst->n, worst->files, error));
    }
out:
    place_close(group.id);
    place_close(test.id);
    return status;
}

static struct array labels_array(hsize_t n)
{
    return (struct array){.type = VALUE_INT, .rank = 1, .dims = {n}, .labels = {"n"}};
}

enum colonnade_status write_samples(struct place file, const struct samples *samples,
                                    const struct data_facts *data, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct array images = images_array((hsize_t)samples->n, data->shape);
    const struct array labels = labels_array((hsize_t)samples->n);
    struct place group = {.id = H5I_INVALID_HID};
    TRY(place_open(file, "data", &group, error));
    TRY(place_write_array(group, "samples", &images, samples->images, error));
    TRY(place_write_array(group, "sample_labels", &labels, samples->labels, error));
out:
    place_close(group.id);
    return status;
}

static enum colonnade_status check_labels(struct place group, const int32_t *labels, size_t n,
                                          int classes, struct colonnade_error *error)
{
    for (size_t i = 0; i < n; i++)
        if (labels[i] < 0 || labels[i] >= classes)
            return place_error(group, "sample_labels", error, "%d is none of %d classes", labels[i],
                               classes);
    return COLONNADE_OK;
}

enum colonnade_status read_samples(struct place file, struct samples *samples,
                                   const struct data_facts *data, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    hsize_t n;
    TRY(place_open(file, "data", &group, error));
    if (!place_has(group, "samples"))
        goto out;
    TRY(place_read_length(group, "samples", 4, &n, error));
    const struct array images = images_array(n, data->shape);
    const struct array labels = labels_array(n);
    TRY(place_check_array(group, "samples", &images, error));
    TRY(memory_allocate(&samples->images, (size_t)n, shape_size(data->shape), "samples", error));
    TRY(memory_allocate(&samples->labels, (size_t)n, sizeof *samples->labels, "samples", error));
    TRY(place_read_array(group, "samples", &images, samples->images, error));
    TRY(place_read_array(group, "sample_labels", &labels, samples->labels, error));
    TRY(check_labels(group, samples->labels, (size_t)n, data->classes, error));
    samples->n = (int)n;
out:
    place_close(group.id);
    return status;
}
