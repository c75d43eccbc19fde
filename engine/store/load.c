/* A run out of its file. Nothing in the file is believed: names, shapes and sizes are those that
 * the file's own config asks for, or the file is refused with the name of what is wrong.
 */
#include "engine/base/memory.h"
#include "engine/store/parts.h"
#include "engine/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is no file, not of HDF5, or damaged on its way is said in plainer words than HDF5 has. */
static enum colonnade_status check_file(const char *path, const char *kind,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct stat state;
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0 || fstat(descriptor, &state) != 0)
        RAISE(COLONNADE_FAILURE, "%s: cannot open: %s", path, strerror(errno));
    if (!S_ISREG(state.st_mode))
        RAISE(COLONNADE_FAILURE, "%s: cannot open: not a regular file", path);
    if (H5Fis_hdf5(path) <= 0 && kind)
        RAISE(COLONNADE_FAILURE, "%s: not an HDF5 file; a %s is what `colonnade %s` writes", path,
              kind, strcmp(kind, "sweep file") == 0 ? "sweep" : "train");
    if (H5Fis_hdf5(path) <= 0)
        RAISE(COLONNADE_FAILURE, "%s: not an HDF5 file", path);
    TRY(seal_check(path, error));
out:
    if (descriptor >= 0)
        close(descriptor);
    return status;
}

enum colonnade_status store_open(struct place *file, const char *kind,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    hid_t access = H5I_INVALID_HID;
    TRY(check_file(file->path, kind, error));
    access = H5Pcreate(H5P_FILE_ACCESS);
    if (access < 0 || H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0 ||
        H5Pset_file_locking(access, true, true) < 0)
        RAISE(COLONNADE_FAILURE, "%s: HDF5 cannot be made ready to read", file->path);
    file->id = H5Fopen(file->path, H5F_ACC_RDONLY, access);
    if (file->id < 0) {
        const struct hdf5_reason reason = hdf5_reason();
        RAISE(COLONNADE_FAILURE, "%s: damaged, or in use by another program: %s", file->path,
              reason.text);
    }
out:
    place_close(access);
    return status;
}

enum colonnade_status store_check_format(struct place file, const char *format, const char *kind,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *found = NULL;
    int version;
    if (!place_has_attribute(file, "format"))
        RAISE(COLONNADE_FAILURE, "%s: not a Colonnade %s: it has no attribute format", file.path,
              kind);
    TRY(place_read_text(file, "format", &found, error));
    if (strcmp(found, format) != 0)
        RAISE(COLONNADE_FAILURE, "%s: not a Colonnade %s: its format is '%s', not '%s'%s",
              file.path, kind, found, format,
              strcmp(found, "colonnade-sweep") == 0 ? "; `colonnade report` shows a sweep" : "");
    TRY(place_read_attribute(file, "format_version", VALUE_INT, 0, &version, error));
    if (version != FORMAT_VERSION)
        RAISE(COLONNADE_FAILURE, "%s: format_version %d; this program reads %d", file.path, version,
              FORMAT_VERSION);
out:
    free(found);
    return status;
}

static enum colonnade_status read_shape(struct place classes, struct shape *shape,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    enum { MOST_CHANNELS = 1 << 16 };
    int sizes[3];
    TRY(place_read_attribute(classes, "shape", VALUE_INT, 3, sizes, error));
    *shape = (struct shape){sizes[0], sizes[1], sizes[2]};
    if (shape->c < 1 || shape->h < 1 || shape->w < 1 || shape->c > MOST_CHANNELS)
        status = place_error(classes, "shape", error, "%d x %d x %d is no shape of an image",
                             shape->c, shape->h, shape->w);
out:
    return status;
}

/* What the training images are known by. */
static enum colonnade_status read_known_by(struct place group, struct data_facts *facts,
                                           struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(place_read_attribute(group, "train_count", VALUE_SIZE, 0, &facts->train_count, error));
    TRY(place_read_attribute(group, "train_crc32", VALUE_UINT32, 0, &facts->checksum, error));
    TRY(place_read_attribute(group, "train_crc32_images", VALUE_SIZE, 0, &facts->checksum_images,
                             error));
    if (facts->checksum_images > facts->train_count)
        status = place_error(group, "train_crc32_images", error, "%zu of %zu training images",
                             facts->checksum_images, facts->train_count);
out:
    return status;
}

/* `facts` is the caller's to finish, also on error. */
static enum colonnade_status read_data(struct place file, struct data_facts *facts,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID}, classes = {.id = H5I_INVALID_HID};
    hsize_t count;
    TRY(place_open(file, "data", &group, error));
    TRY(place_read_length(group, "classes", 1, &count, error));
    if (count == 0) {
        status = place_error(group, "classes", error, "empty: there has to be a class");
        goto out;
    }
    TRY(memory_allocate(&facts->class_names, (size_t)count, sizeof *facts->class_names,
                        "the names of classes", error));
    facts->classes = (int)count;
    TRY(place_read_texts(group, "classes", (size_t)count, facts->class_names, error));
    TRY(place_open(group, "classes", &classes, error));
    TRY(read_shape(classes, &facts->shape, error));
    const size_t channels = (size_t)facts->shape.c;
    TRY(memory_allocate(&facts->mean, channels, sizeof *facts->mean, "means", error));
    TRY(memory_allocate(&facts->std, channels, sizeof *facts->std, "deviations", error));
    TRY(place_read_attribute(classes, "mean", VALUE_FLOAT, channels, facts->mean, error));
    TRY(place_read_attribute(classes, "std", VALUE_FLOAT, channels, facts->std, error));
    TRY(place_read_text(classes, "source", &facts->source, error));
    if (place_has_attribute(group, "train_crc32"))
        TRY(read_known_by(group, facts, error));
out:
    place_close(classes.id);
    place_close(group.id);
    return status;
}

/* The run as its config and its data make it, before anything was trained. A config that is wrong
 * here is a fault of the file, not of whoever uses it. */
static enum colonnade_status begin_run(struct place file, struct run **run,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct data_facts facts = {0};
    struct config *config = NULL;
    char *text = NULL;
    struct colonnade_error reason = {.message = ""};
    TRY(read_data(file, &facts, error));
    TRY(place_read_text(file, "config", &text, error));
    status = config_parse(&config, file.path, text, &reason);
    if (status == COLONNADE_OK)
        status = run_create(run, config, &facts, &reason);
    if (status != COLONNADE_OK)
        status = place_error(file, "config", error, "%s", reason.message);
out:
    free(text);
    data_facts_finish(&facts);
    return status;
}

/* Files of older programs do not have it, and their runs went by the config. */
static enum colonnade_status read_fit(struct place file, struct run *run,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place classes = {.id = H5I_INVALID_HID};
    const struct section *section = config_section(run->config, "data");
    const struct entry *entry = section ? config_entry(section, "fit") : NULL;
    char *word = NULL;
    TRY(place_open(file, "data/classes", &classes, error));
    if (place_has_attribute(classes, "fit"))
        TRY(place_read_text(classes, "fit", &word, error));
    else
        TRY(memory_copy_text(&word, entry ? entry->value : image_fit_names[IMAGE_CROP], error));
    const int found = find_name(word, image_fit_names);
    if (found >= 0)
        run->data.fit = (enum image_fit)found;
    else
        status = place_error(classes, "fit", error, "'%s'; it is crop, pad or stretch", word);
out:
    free(word);
    place_close(classes.id);
    return status;
}

enum colonnade_status store_read_status(struct place file, enum run_status *run_status,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char *name = NULL;
    TRY(place_read_text(file, "status", &name, error));
    const int found = find_name(name, run_status_names);
    if (found >= 0)
        *run_status = (enum run_status)found;
    else
        status = place_error(file, "status", error, "'%s' is no status of a run", name);
out:
    free(name);
    return status;
}

enum colonnade_status store_read_origin(struct place file, struct origin *origin,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct {
        const char *name;
        char **text;
    } parts[] = {{"colonnade_version", &origin->version},
                 {"machine", &origin->machine},
                 {"blas", &origin->blas},
                 {"blas_kernel", &origin->blas_kernel}};
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (place_has_attribute(file, parts[i].name))
            TRY(place_read_text(file, parts[i].name, parts[i].text, error));
out:
    return status;
}

static enum colonnade_status read_model(struct place place, const char *group, struct model *model,
                                        struct colonnade_error *error)
{
    return read_parameters(place, group, model->graph, model->parameters, model->buffers, error);
}

static bool has_checksum(struct place file)
{
    struct place group = {.id = H5I_INVALID_HID};
    const bool has = place_open(file, "state_dict", &group, NULL) == COLONNADE_OK &&
                     place_has_attribute(group, "crc32");
    place_close(group.id);
    return has;
}

/* Which weights /state_dict holds depends on where the run stands: so that has been read. */
static enum colonnade_status read_weights(struct place file, struct place optimizer,
                                          struct run *run, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct model *weights = run_weights(run), *average = run_average(run);
    TRY(read_model(file, "state_dict", weights, error));
    run->weights_checked = has_checksum(file);
    if (weights != run->model)
        TRY(read_model(optimizer, "parameters", run->model, error));
    if (average && weights != average)
        TRY(read_model(optimizer, "average", average, error));
out:
    return status;
}

static enum colonnade_status read_optimizer(struct place file, struct run *run,
                                            struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    const struct optimizer_type *type = run->optimizer->type;
    char *name = NULL;
    TRY(place_open(file, "optimizer", &group, error));
    TRY(place_read_text(group, "name", &name, error));
    if (strcmp(name, type->name) != 0) {
        status =
            place_error(group, "name", error, "'%s', but the config says '%s'", name, type->name);
        goto out;
    }
    TRY(read_progress(group, &run->progress, error));
    for (int i = 0; i < OPTIMIZER_STATES; i++)
        if (run->optimizer->states[i])
            TRY(read_parameters(group, type->states[i], run->graph, run->optimizer->states[i], NULL,
                                error));
    TRY(read_metrics(file, &run->metrics, error));
    TRY(read_weights(file, group, run, error));
out:
    free(name);
    place_close(group.id);
    return status;
}

static enum colonnade_status fill_run(struct place file, struct run *run,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(store_read_status(file, &run->status, error));
    if (run->status == RUN_FAILED && place_has_attribute(file, "reason"))
        TRY(place_read_text(file, "reason", &run->reason, error));
    TRY(store_read_origin(file, &run->origin, error));
    TRY(read_fit(file, run, error));
    TRY(read_optimizer(file, run, error));
    if (place_has(file, "evaluation")) {
        TRY(evaluation_init(&run->evaluation, run->data.classes, error));
        TRY(read_evaluation(file, &run->evaluation, error));
        TRY(read_worst(file, &run->worst, &run->data, error));
        run->evaluated = true;
    }
    TRY(read_samples(file, &run->samples, &run->data, error));
    if (place_has(file, "golden"))
        TRY(read_golden(file, &run->golden, &run->data, error));
out:
    return status;
}

enum colonnade_status run_load(struct run **loaded, const char *path, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place file = {path, H5I_INVALID_HID};
    struct run *run = NULL;
    struct hdf5_quiet quiet;
    hdf5_quiet_begin(&quiet);
    TRY(store_open(&file, "run file", error));
    TRY(store_check_format(file, FORMAT_NAME, "run file", error));
    TRY(begin_run(file, &run, error));
    TRY(fill_run(file, run, error));
    *loaded = run;
    run = NULL;
out:
    place_close(file.id);
    run_destroy(run);
    hdf5_quiet_end(&quiet);
    return status;
}

enum colonnade_status run_load_profile(struct run *run, const char *path,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place file = {path, H5I_INVALID_HID};
    struct hdf5_quiet quiet;
    hdf5_quiet_begin(&quiet);
    TRY(store_open(&file, "run file", error));
    profile_destroy(run->profile);
    run->profile = NULL;
    TRY(read_profile(file, &run->profile, run->graph, error));
out:
    place_close(file.id);
    hdf5_quiet_end(&quiet);
    return status;
}
