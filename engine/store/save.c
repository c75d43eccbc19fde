/* A run into its file. The HDF5 file is put together in memory and written by file_replace(): HDF5
 * never meets a full disk, and nobody a file half written. That takes its size twice for a moment.
 */
#include "engine/base/memory.h"
#include "engine/store/parts.h"
#include "engine/store/store.h"
#include "engine/train/samples.h"
#include "engine/train/worst.h"

#ifdef WITH_OPENBLAS
#include <cblas.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

enum { IMAGE_INCREMENT = 4 << 20 }; /* bytes that an image grows by */

/* HDF5 looks for a file of the image's name: here there cannot be any. */
static const char image_name[] = "/dev/null/run";

/* How a reader finds the draws of a run again, for resuming needs nothing kept. */
static const char random_note[] =
    "counter-based (Philox4x32-10): a draw is a function of the run's seed, its purpose, the epoch "
    "or step, and the sample; there is no state";

struct machine {
    char text[256];
};

/* The processor's name as Linux gives it, then the architecture. */
static struct machine describe_machine(void)
{
    struct machine machine = {""};
    char line[192], name[160] = "unknown processor";
    struct utsname system;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "model name : %159[^\n]", name) == 1)
            break;
    if (file)
        fclose(file);
    snprintf(machine.text, sizeof machine.text, "%s, %.64s", name,
             uname(&system) == 0 ? system.machine : "unknown architecture");
    return machine;
}

static enum colonnade_status write_machine(struct place file, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct machine machine = describe_machine();
#ifdef WITH_OPENBLAS
    const char *blas = openblas_get_config(), *kernel = openblas_get_corename();
#else
    const char *blas = "a library with the cblas interface", *kernel = "unknown";
#endif
    TRY(place_write_text(file, "machine", machine.text, error));
    TRY(place_write_text(file, "blas", blas, error));
    TRY(place_write_text(file, "blas_kernel", kernel, error));
out:
    return status;
}

enum colonnade_status store_write_root(struct place file, const char *format,
                                       const struct config *config, uint64_t seed,
                                       enum run_status run_status, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const int version = FORMAT_VERSION;
    char *text = NULL;
    TRY(config_print(config, &text, error));
    TRY(place_write_text(file, "format", format, error));
    TRY(place_write_attribute(file, "format_version", VALUE_INT, 0, &version, error));
    TRY(place_write_text(file, "colonnade_version", COLONNADE_VERSION, error));
    TRY(place_write_text(file, "config", text, error));
    TRY(place_write_attribute(file, "seed", VALUE_UINT64, 0, &seed, error));
    TRY(place_write_text(file, "status", run_status_names[run_status], error));
    TRY(write_machine(file, error));
out:
    free(text);
    return status;
}

/* What the training images are known by. */
static enum colonnade_status write_known_by(struct place group, const struct data_facts *data,
                                            struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    TRY(place_write_attribute(group, "train_count", VALUE_SIZE, 0, &data->train_count, error));
    TRY(place_write_attribute(group, "train_crc32", VALUE_UINT32, 0, &data->checksum, error));
    TRY(place_write_attribute(group, "train_crc32_images", VALUE_SIZE, 0, &data->checksum_images,
                              error));
out:
    return status;
}

static enum colonnade_status write_data(struct place file, const struct data_facts *data,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID}, classes = {.id = H5I_INVALID_HID};
    const int shape[] = {data->shape.c, data->shape.h, data->shape.w};
    const size_t channels = (size_t)data->shape.c;
    TRY(place_create_group(file, "data", &group, error));
    TRY(place_write_texts(group, "classes", (size_t)data->classes, data->class_names, error));
    TRY(place_open(group, "classes", &classes, error));
    TRY(place_write_attribute(classes, "mean", VALUE_FLOAT, channels, data->mean, error));
    TRY(place_write_attribute(classes, "std", VALUE_FLOAT, channels, data->std, error));
    TRY(place_write_attribute(classes, "shape", VALUE_INT, 3, shape, error));
    TRY(place_write_text(classes, "source", data->source, error));
    TRY(place_write_text(classes, "fit", image_fit_names[data->fit], error));
    if (data->checksum_images > 0)
        TRY(write_known_by(group, data, error));
out:
    place_close(classes.id);
    place_close(group.id);
    return status;
}

static enum colonnade_status write_model(struct place place, const char *group,
                                         const struct model *model, struct colonnade_error *error)
{
    return write_parameters(place, group, model->graph, model->parameters, model->buffers, error);
}

static enum colonnade_status write_optimizer(struct place file, const struct run *run,
                                             struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place group = {.id = H5I_INVALID_HID};
    const struct optimizer_type *type = run->optimizer->type;
    TRY(place_create_group(file, "optimizer", &group, error));
    TRY(place_write_text(group, "name", type->name, error));
    TRY(write_progress(group, &run->progress, error));
    TRY(place_write_text(group, "random", random_note, error));
    for (int i = 0; i < OPTIMIZER_STATES; i++)
        if (run->optimizer->states[i])
            TRY(write_parameters(group, type->states[i], run->graph, run->optimizer->states[i],
                                 NULL, error));
    /* What /state_dict does not hold. */
    if (run_weights(run) != run->model)
        TRY(write_model(group, "parameters", run->model, error));
    if (run_average(run) && run_weights(run) != run_average(run))
        TRY(write_model(group, "average", run_average(run), error));
out:
    place_close(group.id);
    return status;
}

static enum colonnade_status write_run(struct place file, const void *content,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct run *run = content;
    TRY(store_write_root(file, FORMAT_NAME, run->config, run->settings.seed, run->status, error));
    if (run->status == RUN_FAILED && run->reason)
        TRY(place_write_text(file, "reason", run->reason, error));
    TRY(write_model(file, "state_dict", run_weights(run), error));
    TRY(write_optimizer(file, run, error));
    TRY(write_metrics(file, &run->metrics, error));
    TRY(write_data(file, &run->data, error));
    if (run->profile)
        TRY(write_profile(file, run->profile, run->graph, error));
    if (run->evaluated)
        TRY(write_evaluation(file, &run->evaluation, error));
    if (run->evaluated && run->worst.n > 0)
        TRY(write_worst(file, &run->worst, &run->data, error));
    if (run->samples.n > 0)
        TRY(write_samples(file, &run->samples, &run->data, error));
    if (run->golden.n > 0)
        TRY(write_golden(file, &run->golden, &run->data, error));
out:
    return status;
}

static enum colonnade_status create_image(struct place *file, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access < 0 || H5Pset_fapl_core(access, IMAGE_INCREMENT, false) < 0 ||
        H5Pset_libver_bounds(access, H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST) < 0 ||
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0 ||
        (file->id = H5Fcreate(image_name, H5F_ACC_TRUNC, H5P_DEFAULT, access)) < 0)
        RAISE(COLONNADE_FAILURE, "%s: HDF5 cannot make a file in memory", file->path);
out:
    place_close(access);
    return status;
}

static enum colonnade_status copy_image(struct place file, unsigned char **bytes, size_t *count,
                                        struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const ssize_t size =
        H5Fflush(file.id, H5F_SCOPE_GLOBAL) < 0 ? -1 : H5Fget_file_image(file.id, NULL, 0);
    if (size < 0)
        RAISE(COLONNADE_FAILURE, "%s: HDF5 cannot finish the file in memory", file.path);
    const size_t image = (size_t)size;
    TRY(memory_allocate(bytes, size_add(image, SEAL_BYTES), 1, "a run file", error));
    if (H5Fget_file_image(file.id, *bytes, image) != size)
        RAISE(COLONNADE_FAILURE, "%s: HDF5 cannot hand out the file in memory", file.path);
    seal_make(*bytes, image, (char *)*bytes + image);
    *count = image + SEAL_BYTES;
out:
    return status;
}

enum colonnade_status store_make(const char *path, store_writer *write, const void *content,
                                 unsigned char **bytes, size_t *count,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct place file = {path, H5I_INVALID_HID};
    struct hdf5_quiet quiet;
    hdf5_quiet_begin(&quiet);
    TRY(create_image(&file, error));
    TRY(write(file, content, error));
    TRY(copy_image(file, bytes, count, error));
out:
    place_close(file.id);
    hdf5_quiet_end(&quiet);
    return status;
}

enum colonnade_status run_save(const struct run *run, const char *path,
                               struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    unsigned char *bytes = NULL;
    size_t count = 0;
    TRY(store_make(path, write_run, run, &bytes, &count, error));
    TRY(file_replace(path, bytes, count, error));
out:
    free(bytes);
    return status;
}

enum colonnade_status run_mark_failed(const char *path, const char *reason,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct run *run = NULL;
    TRY(run_load(&run, path, error));
    TRY(run_load_profile(run, path, error));
    TRY(run_set_failed(run, reason, error));
    TRY(run_save(run, path, error));
out:
    run_destroy(run);
    return status;
}

size_t run_save_bytes(const struct graph *graph, const struct settings *settings)
{
    const struct optimizer_type *optimizer = optimizer_types[settings->optimizer];
    const size_t model = size_add(graph->parameter_length, graph->buffer_length);
    size_t floats = size_multiply(run_model_count(settings), model);
    for (int i = 0; i < OPTIMIZER_STATES; i++)
        if (optimizer->states[i])
            floats = size_add(floats, graph->updated_length);
    const struct shape shape = graph->nodes[0].out;
    const size_t images =
        size_add(samples_count(shape, (size_t)settings->batch), worst_count(shape, SIZE_MAX));
    const size_t image = size_add(size_multiply(sizeof(float), floats), images * shape_size(shape));
    /* The image as HDF5 holds it, the copy of it that is written, and half of it again: what of a
     * parameter is converted at a time, and what the allocator keeps; measured. */
    return size_add(size_add(size_multiply(2, image), image / 2), IMAGE_INCREMENT);
}
