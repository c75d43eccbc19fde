/* The sweep file: a sweep in HDF5, as docs/run-file.md has it, written whole. Writing and reading
 * go by the same tables. Knows nothing of how rows come about.
 */
#include "engine/base/memory.h"
#include "engine/experiment.h"
#include "engine/store/parts.h"
#include "engine/store/store.h"
#include "engine/sweep/sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_FORMAT "colonnade-sweep"

enum { NUMBER_BYTES = 8 }; /* a double or a uint64_t */

/* A column of numbers: a field of the row, or of each of its epochs. */
static const struct column {
    const char *name, *units;
    enum value_type type;
    size_t offset;
} columns[] = {
    {"test_accuracy", "fraction", VALUE_DOUBLE, offsetof(struct sweep_row, test_accuracy)},
    {"test_loss", "nats", VALUE_DOUBLE, offsetof(struct sweep_row, test_loss)},
    {"train_loss", "nats", VALUE_DOUBLE, offsetof(struct sweep_row, train_loss)},
    {"images_per_second", "images/s", VALUE_DOUBLE, offsetof(struct sweep_row, images_per_second)},
    {"step_ms", "ms", VALUE_DOUBLE, offsetof(struct sweep_row, step_ms)},
    {"seconds", "s", VALUE_DOUBLE, offsetof(struct sweep_row, seconds)},
    {"parameters", "1", VALUE_UINT64, offsetof(struct sweep_row, parameters)},
    {"macs", "multiply-adds", VALUE_UINT64, offsetof(struct sweep_row, macs)},
    {"activation_bytes", "B", VALUE_UINT64, offsetof(struct sweep_row, activation_bytes)},
};

static const struct column threads_column = {"threads", "1", VALUE_UINT64,
                                             offsetof(struct sweep_row, threads)};

static const struct column curves[] = {
    {"train_loss", "nats", VALUE_DOUBLE, offsetof(struct sweep_epoch, train_loss)},
    {"train_accuracy", "fraction", VALUE_DOUBLE, offsetof(struct sweep_epoch, train_accuracy)},
    {"val_loss", "nats", VALUE_DOUBLE, offsetof(struct sweep_epoch, val_loss)},
    {"val_accuracy", "fraction", VALUE_DOUBLE, offsetof(struct sweep_epoch, val_accuracy)},
};

/* A column of texts: `text` says what stands in a row, in `buffer` where it has to be made. */
struct text_column {
    const char *name;
    const char *(*text)(const struct sweep *sweep, size_t row, size_t axis, char *buffer);
    size_t axis;
};

static const char *axis_text(const struct sweep *sweep, size_t row, size_t axis, char *buffer)
{
    return sweep_value(&sweep->grid, row / sweep->grid.seed_count, axis);
}

static const char *status_text(const struct sweep *sweep, size_t row, size_t axis, char *buffer)
{
    return sweep_row_status_names[sweep->rows[row].status];
}

static const char *reason_text(const struct sweep *sweep, size_t row, size_t axis, char *buffer)
{
    return sweep->rows[row].reason;
}

static const char *shape_text(const struct sweep *sweep, size_t row, size_t axis, char *buffer)
{
    const struct shape shape = sweep->rows[row].output_shape;
    buffer[0] = '\0';
    if (shape.c)
        snprintf(buffer, SHAPE_BYTES, "%dx%dx%d", shape.c, shape.h, shape.w);
    return buffer;
}

static size_t count_rows(const struct sweep *sweep)
{
    return sweep->grid.combinations * sweep->grid.seed_count;
}

/* A curve over the epochs of each row. */
static struct array curve_array(const struct sweep *sweep, size_t epochs)
{
    return (struct array){.type = VALUE_DOUBLE,
                          .rank = 2,
                          .dims = {count_rows(sweep), epochs},
                          .labels = {"row", "epoch"}};
}

static double *epoch_value(struct sweep_epoch *epoch, const struct column *curve)
{
    return (double *)(void *)((char *)epoch + curve->offset);
}

/* --- writing --- */

static enum colonnade_status write_numbers(struct place group, const char *name, const char *units,
                                           const struct array *array, const void *values,
                                           struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place set = {.id = H5I_INVALID_HID};
    TRY(place_write_array(group, name, array, values, error));
    TRY(place_open(group, name, &set, error));
    TRY(place_write_text(set, "units", units, error));
out:
    place_close(set.id);
    return status;
}

static enum colonnade_status write_column(struct place group, const struct sweep *sweep,
                                          const struct column *column,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t rows = count_rows(sweep);
    const struct array array = {.type = column->type, .rank = 1, .dims = {rows}};
    char *values = NULL;
    TRY(memory_allocate(&values, rows, NUMBER_BYTES, "a column", error));
    for (size_t i = 0; i < rows; i++)
        memcpy(values + i * NUMBER_BYTES, (const char *)&sweep->rows[i] + column->offset,
               NUMBER_BYTES);
    TRY(write_numbers(group, column->name, column->units, &array, values, error));
out:
    free(values);
    return status;
}

static enum colonnade_status write_text_column(struct place group, const struct sweep *sweep,
                                               const struct text_column *column,
                                               struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t rows = count_rows(sweep);
    char **texts = NULL, *buffers = NULL;
    TRY(memory_allocate(&texts, rows, sizeof *texts, "a column", error));
    TRY(memory_allocate(&buffers, rows, SHAPE_BYTES, "a column", error));
    for (size_t i = 0; i < rows; i++)
        texts[i] = (char *)column->text(sweep, i, column->axis, buffers + i * SHAPE_BYTES);
    TRY(place_write_texts(group, column->name, rows, texts, error));
out:
    free(texts);
    free(buffers);
    return status;
}

static enum colonnade_status write_seeds(struct place group, const struct sweep *sweep,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t rows = count_rows(sweep);
    const struct array array = {.type = VALUE_UINT64, .rank = 1, .dims = {rows}};
    uint64_t *seeds = NULL;
    TRY(memory_allocate(&seeds, rows, sizeof *seeds, "seeds", error));
    for (size_t i = 0; i < rows; i++)
        seeds[i] = sweep->grid.seeds[i % sweep->grid.seed_count];
    TRY(write_numbers(group, "seed", "1", &array, seeds, error));
out:
    free(seeds);
    return status;
}

static enum colonnade_status write_rows(struct place group, const struct sweep *sweep,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    static const struct text_column texts[] = {
        {"status", status_text, 0}, {"reason", reason_text, 0}, {"output_shape", shape_text, 0}};
    for (size_t i = 0; i < sweep->grid.axis_count; i++) {
        const struct text_column column = {sweep->grid.axes[i].name, axis_text, i};
        TRY(write_text_column(group, sweep, &column, error));
    }
    TRY(write_seeds(group, sweep, error));
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        TRY(write_text_column(group, sweep, &texts[i], error));
    for (size_t i = 0; i < COUNT_OF(columns); i++)
        TRY(write_column(group, sweep, &columns[i], error));
    TRY(write_column(group, sweep, &threads_column, error));
out:
    return status;
}

static size_t count_epochs(const struct sweep *sweep)
{
    size_t longest = 0;
    for (size_t i = 0; i < count_rows(sweep); i++)
        longest = sweep->rows[i].epoch_count > longest ? sweep->rows[i].epoch_count : longest;
    return longest;
}

static enum colonnade_status write_curve(struct place group, const struct sweep *sweep,
                                         const struct column *curve, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t rows = count_rows(sweep), epochs = count_epochs(sweep);
    const struct array array = curve_array(sweep, epochs);
    double *values = NULL;
    TRY(memory_allocate(&values, size_multiply(rows, epochs), sizeof *values, "curves", error));
    for (size_t i = 0; i < rows; i++) {
        const struct sweep_row *row = &sweep->rows[i];
        for (size_t j = 0; j < epochs; j++)
            values[i * epochs + j] =
                j < row->epoch_count ? *epoch_value(&row->epochs[j], curve) : NAN;
    }
    TRY(write_numbers(group, curve->name, curve->units, &array, values, error));
out:
    free(values);
    return status;
}

static enum colonnade_status write_curves(struct place file, const struct sweep *sweep,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    TRY(place_create_group(file, "curves", &group, error));
    for (size_t i = 0; i < COUNT_OF(curves); i++)
        TRY(write_curve(group, sweep, &curves[i], error));
out:
    place_close(group.id);
    return status;
}

/* What the attribute says: 0 where rows differ. */
static int common_threads(const struct sweep *sweep)
{
    const struct sweep_threads threads = sweep_count_threads(sweep);
    if (threads.most == 0)
        return sweep->threads;
    return threads.least == threads.most ? (int)threads.most : 0;
}

static enum colonnade_status write_sweep(struct place file, const void *content,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct sweep *sweep = content;
    struct place group = {.id = H5I_INVALID_HID};
    const int threads = common_threads(sweep);
    TRY(store_write_root(file, SWEEP_FORMAT, sweep->config, sweep->settings.seed, sweep->status,
                         error));
    TRY(place_write_attribute(file, "jobs", VALUE_INT, 0, &sweep->jobs, error));
    TRY(place_write_attribute(file, "threads", VALUE_INT, 0, &threads, error));
    TRY(place_create_group(file, "combinations", &group, error));
    TRY(write_rows(group, sweep, error));
    TRY(write_curves(file, sweep, error));
out:
    place_close(group.id);
    return status;
}

enum colonnade_status sweep_save(const struct sweep *sweep, const char *path,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    unsigned char *bytes = NULL;
    size_t count = 0;
    TRY(store_make(path, write_sweep, sweep, &bytes, &count, error));
    TRY(file_replace(path, bytes, count, error));
out:
    free(bytes);
    return status;
}

/* --- reading --- */

static enum colonnade_status read_column(struct place group, struct sweep *sweep,
                                         const struct column *column, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t rows = count_rows(sweep);
    const struct array array = {.type = column->type, .rank = 1, .dims = {rows}};
    char *values = NULL;
    TRY(memory_allocate(&values, rows, NUMBER_BYTES, "a column", error));
    TRY(place_read_array(group, column->name, &array, values, error));
    for (size_t i = 0; i < rows; i++)
        memcpy((char *)&sweep->rows[i] + column->offset, values + i * NUMBER_BYTES, NUMBER_BYTES);
out:
    free(values);
    return status;
}

/* What a text says of its row; raises where it cannot be. */
typedef enum colonnade_status take_text(struct sweep *sweep, size_t row, const char *text,
                                        struct place group, size_t axis,
                                        struct colonnade_error *error);

static enum colonnade_status take_axis(struct sweep *sweep, size_t row, const char *text,
                                       struct place group, size_t axis,
                                       struct colonnade_error *error)
{
    const char *value = sweep_value(&sweep->grid, row / sweep->grid.seed_count, axis);
    if (strcmp(text, value) == 0)
        return COLONNADE_OK;
    return place_error(group, sweep->grid.axes[axis].name, error,
                       "row %zu is '%.100s', by the config it is '%.100s'", row, text, value);
}

static enum colonnade_status take_status(struct sweep *sweep, size_t row, const char *text,
                                         struct place group, size_t axis,
                                         struct colonnade_error *error)
{
    const int found = find_name(text, sweep_row_status_names);
    if (found < 0)
        return place_error(group, "status", error, "'%.100s' is no status of a row", text);
    sweep->rows[row].status = (enum sweep_row_status)found;
    return COLONNADE_OK;
}

static enum colonnade_status take_reason(struct sweep *sweep, size_t row, const char *text,
                                         struct place group, size_t axis,
                                         struct colonnade_error *error)
{
    snprintf(sweep->rows[row].reason, sizeof sweep->rows[row].reason, "%s", text);
    return COLONNADE_OK;
}

static enum colonnade_status take_shape(struct sweep *sweep, size_t row, const char *text,
                                        struct place group, size_t axis,
                                        struct colonnade_error *error)
{
    struct shape shape = {0};
    if (*text && (sscanf(text, "%dx%dx%d", &shape.c, &shape.h, &shape.w) != 3 || shape.c < 1 ||
                  shape.h < 1 || shape.w < 1))
        return place_error(group, "output_shape", error, "'%.100s' is no CxHxW", text);
    sweep->rows[row].output_shape = shape;
    return COLONNADE_OK;
}

static enum colonnade_status read_texts(struct place group, struct sweep *sweep, const char *name,
                                        take_text *take, size_t axis, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t rows = count_rows(sweep);
    char **texts = NULL;
    TRY(memory_allocate(&texts, rows, sizeof *texts, "a column", error));
    TRY(place_read_texts(group, name, rows, texts, error));
    for (size_t i = 0; i < rows; i++)
        TRY(take(sweep, i, texts[i], group, axis, error));
out:
    for (size_t i = 0; texts && i < rows; i++)
        free(texts[i]);
    free(texts);
    return status;
}

/* Files of older programs have the attribute alone. */
static enum colonnade_status read_threads(struct place group, struct sweep *sweep,
                                          struct colonnade_error *error)
{
    if (place_has(group, threads_column.name))
        return read_column(group, sweep, &threads_column, error);
    for (size_t i = 0; i < count_rows(sweep); i++)
        if (sweep->rows[i].status == SWEEP_COMPLETE)
            sweep->rows[i].threads = (uint64_t)sweep->threads;
    return COLONNADE_OK;
}

static enum colonnade_status read_rows(struct place file, struct sweep *sweep,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    TRY(place_open(file, "combinations", &group, error));
    for (size_t i = 0; i < sweep->grid.axis_count; i++)
        TRY(read_texts(group, sweep, sweep->grid.axes[i].name, take_axis, i, error));
    TRY(read_texts(group, sweep, "status", take_status, 0, error));
    TRY(read_texts(group, sweep, "reason", take_reason, 0, error));
    TRY(read_texts(group, sweep, "output_shape", take_shape, 0, error));
    for (size_t i = 0; i < COUNT_OF(columns); i++)
        TRY(read_column(group, sweep, &columns[i], error));
    TRY(read_threads(group, sweep, error));
out:
    place_close(group.id);
    return status;
}

/* How many epochs of `values` [epochs] a row had: from the next one on all are NaN. */
static size_t measure_curve(const double *values, size_t epochs)
{
    while (epochs > 0 && isnan(values[epochs - 1]))
        epochs--;
    return epochs;
}

/* `values` [rows, epochs] are of the training loss, which every epoch has. */
static enum colonnade_status make_epochs(struct sweep *sweep, const double *values, size_t epochs,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (size_t i = 0; i < count_rows(sweep); i++) {
        struct sweep_row *row = &sweep->rows[i];
        row->epoch_count = measure_curve(values + i * epochs, epochs);
        TRY(memory_allocate(&row->epochs, row->epoch_count, sizeof *row->epochs, "a row's epochs",
                            error));
    }
out:
    return status;
}

static enum colonnade_status read_curve(struct place group, struct sweep *sweep, size_t epochs,
                                        const struct column *curve, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct array array = curve_array(sweep, epochs);
    double *values = NULL;
    TRY(place_check_array(group, curve->name, &array, error));
    TRY(memory_allocate(&values, size_multiply(count_rows(sweep), epochs), sizeof *values, "curves",
                        error));
    TRY(place_read_array(group, curve->name, &array, values, error));
    if (curve == curves)
        TRY(make_epochs(sweep, values, epochs, error));
    for (size_t i = 0; i < count_rows(sweep); i++)
        for (size_t j = 0; j < sweep->rows[i].epoch_count; j++)
            *epoch_value(&sweep->rows[i].epochs[j], curve) = values[i * epochs + j];
out:
    free(values);
    return status;
}

/* Files of older programs have none. */
static enum colonnade_status read_curves(struct place file, struct sweep *sweep,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    struct found_array found;
    hsize_t rows;
    if (!place_has(file, "curves"))
        return COLONNADE_OK;
    TRY(place_open(file, "curves", &group, error));
    TRY(place_read_length(group, curves[0].name, 2, &rows, error));
    TRY(place_find_array(group, curves[0].name, &found, error));
    for (size_t i = 0; i < COUNT_OF(curves); i++)
        TRY(read_curve(group, sweep, found.dims[1], &curves[i], error));
out:
    place_close(group.id);
    return status;
}

/* The sweep as its config makes it, before anything was trained. A config that is wrong here is a
 * fault of the file. */
static enum colonnade_status begin_sweep(struct place file, struct sweep **sweep,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct config *config = NULL;
    char *text = NULL;
    struct colonnade_error reason = {.message = ""};
    TRY(place_read_text(file, "config", &text, error));
    status = config_parse(&config, file.path, text, &reason);
    if (status == COLONNADE_OK)
        status = sweep_create(sweep, config, &reason);
    if (status != COLONNADE_OK)
        status = place_error(file, "config", error, "%s", reason.message);
out:
    free(text);
    return status;
}

enum colonnade_status sweep_load(struct sweep **loaded, const char *path,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place file = {path, H5I_INVALID_HID};
    struct sweep *sweep = NULL;
    struct hdf5_quiet quiet;
    hdf5_quiet_begin(&quiet);
    TRY(store_open(&file, "sweep file", error));
    TRY(store_check_format(file, SWEEP_FORMAT, "sweep file", error));
    TRY(begin_sweep(file, &sweep, error));
    TRY(store_read_status(file, &sweep->status, error));
    TRY(store_read_origin(file, &sweep->origin, error));
    TRY(place_read_attribute(file, "jobs", VALUE_INT, 0, &sweep->jobs, error));
    TRY(place_read_attribute(file, "threads", VALUE_INT, 0, &sweep->threads, error));
    TRY(read_rows(file, sweep, error));
    TRY(read_curves(file, sweep, error));
    *loaded = sweep;
    sweep = NULL;
out:
    place_close(file.id);
    sweep_destroy(sweep);
    hdf5_quiet_end(&quiet);
    return status;
}

bool sweep_file_is(const char *path)
{
    struct place file = {path, H5I_INVALID_HID};
    struct hdf5_quiet quiet;
    hdf5_quiet_begin(&quiet);
    bool is = store_open(&file, "sweep file", NULL) == COLONNADE_OK &&
              store_check_format(file, SWEEP_FORMAT, "sweep file", NULL) == COLONNADE_OK;
    place_close(file.id);
    hdf5_quiet_end(&quiet);
    return is;
}

/* The order of the lists is that of the rows. */
static bool same_axes(const struct sweep_grid *a, const struct sweep_grid *b)
{
    if (a->axis_count != b->axis_count)
        return false;
    for (size_t i = 0; i < a->axis_count; i++)
        if (strcmp(a->axes[i].name, b->axes[i].name) != 0)
            return false;
    return true;
}

enum colonnade_status sweep_resume(struct sweep *sweep, const char *path,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    static const struct key_name ignored[] = {
        {"run", "output"}, {"train", "checkpoint_every"}, {NULL, NULL}};
    struct sweep *before = NULL;
    TRY(sweep_load(&before, path, error));
    TRY(resume_check(before->config, sweep->config, path, ignored, error));
    if (!same_axes(&before->grid, &sweep->grid))
        RAISE(COLONNADE_USAGE, "%s cannot go on in %s: the lists of [sweep] stand in another order",
              sweep->config->path, path);
    if (before->jobs != sweep->jobs)
        RAISE(COLONNADE_USAGE,
              "%s cannot go on in %s: --jobs was %d, is %d: times would not be comparable",
              sweep->config->path, path, before->jobs, sweep->jobs);
    for (size_t i = 0; i < count_rows(sweep); i++)
        if (before->rows[i].status == SWEEP_COMPLETE)
            sweep_row_move(&sweep->rows[i], &before->rows[i]);
out:
    sweep_destroy(before);
    return status;
}
