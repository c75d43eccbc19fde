/* The run file: what is saved comes back bit by bit, what is damaged is refused with a sentence,
 * and a failed save leaves what was there.
 */
#include "engine/store/store.h"
#include "engine/base/memory.h"
#include "tests/unit/support.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CLASSES = 3,
    CHANNELS = 2,
    HEIGHT = 6,
    WIDTH = 5,
    GOLDEN = 2,
    EPOCHS = 3,
    STEPS = 2500,
    SEAL = 16
};

static const char config_text[] = "[run]\nseed = 18446744073709551615\noutput = made-up.h5\n"
                                  "[data]\nsource = synthetic\n"
                                  "[train]\nepochs = 9\noptimizer = adam\nlr = 0.01\n"
                                  "[conv1]\ntype = conv\nfilters = 4\nkernel = 3x2\n"
                                  "padding = same\nactivation = relu\n"
                                  "[norm1]\ntype = batchnorm\n"
                                  "[conv2]\ntype = conv\nfilters = 6\nkernel = 2\ngroups = 2\n"
                                  "bias = false\n"
                                  "[fc1]\ntype = dense\nunits = classes\n";

static char folder[64]; /* each test has its own, gone afterwards */

static void make_folder(void)
{
    strcpy(folder, "/tmp/colonnade-store-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    remove_tree(folder);
}

TestSuite(store, .init = make_folder, .fini = remove_folder, .timeout = 120);

static const char *in_folder(const char *name)
{
    static char paths[4][128];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static size_t count_entries(const char *path)
{
    size_t count = 0;
    FILE *list;
    char command[256];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", path);
    list = popen(command, "r");
    cr_assert_not_null(list);
    cr_assert_eq(fscanf(list, "%zu", &count), 1);
    pclose(list);
    return count;
}

struct bytes {
    unsigned char *data;
    size_t count;
};

static struct bytes read_bytes(const char *path)
{
    struct bytes bytes = {NULL, 0};
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    fseek(file, 0, SEEK_END);
    bytes.count = (size_t)ftell(file);
    rewind(file);
    bytes.data = malloc(bytes.count + 1);
    cr_assert_eq(fread(bytes.data, 1, bytes.count, file), bytes.count);
    fclose(file);
    return bytes;
}

static void write_bytes(const char *path, const void *data, size_t count)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, count, file), count);
    fclose(file);
}

static void succeed(enum colonnade_status status, const struct colonnade_error *error)
{
    cr_assert_eq(status, COLONNADE_OK, "%s", error->message);
}

/* Every bit pattern that a float may have is to come back: among them -0, infinities, NaNs with a
 * payload, subnormals. */
static void fill_bits(float *values, size_t n, uint32_t seed)
{
    static const uint32_t special[] = {0x80000000u, 0x7f800000u, 0xff800000u,
                                       0x7fc00123u, 0x00000001u, 0x7f7fffffu};
    fill_random(values, n, seed);
    for (size_t i = 0; i < n && i < sizeof special / sizeof *special; i++)
        memcpy(&values[i], &special[i], sizeof special[i]);
}

static struct run *make_untrained_run(void)
{
    struct colonnade_error error = {COLONNADE_OK, "config"};
    struct config *config = NULL;
    struct run *run = NULL;
    char source[] = "synthetic", cat[] = "cat", empty[] = "", coffee[] = "caf\xc3\xa9 cr\xc3\xa8me";
    char *names[CLASSES] = {cat, empty, coffee};
    float mean[CHANNELS] = {0.25f, 0.5f}, std[CHANNELS] = {0.125f, 0.3f};
    const struct data_facts facts = {
        source, {CHANNELS, HEIGHT, WIDTH}, CLASSES, names, mean, std, IMAGE_PAD, 70, 0xfedcba98u,
        64};
    succeed(config_parse(&config, "made-up.ini", config_text, &error), &error);
    succeed(run_create(&run, config, &facts, &error), &error);
    return run;
}

static void add_records(struct metrics *metrics)
{
    struct colonnade_error error = {COLONNADE_OK, ""};
    succeed(memory_grow(&metrics->epochs, &metrics->epoch_capacity, EPOCHS, sizeof *metrics->epochs,
                        "epochs", &error),
            &error);
    succeed(memory_grow(&metrics->steps, &metrics->step_capacity, STEPS, sizeof *metrics->steps,
                        "steps", &error),
            &error);
    for (int i = 0; i < EPOCHS; i++)
        metrics->epochs[i] = (struct epoch_record){
            i + 1,    1.0 / (i + 3), 0.1 * i,       i ? 0.7 / i : NAN, i ? 0.3 * i : NAN,
            1e-3 * i, 1234.5 + i,    0.25 + 7.0 * i};
    for (long i = 0; i < STEPS; i++)
        metrics->steps[i] = (struct step_record){i + 1 + (1L << 40), 1.0 / (double)(i + 7),
                                                 1e-5 * (double)i, sqrt((double)i)};
    metrics->epoch_count = EPOCHS;
    metrics->step_count = STEPS;
}

static void add_evaluation(struct run *run)
{
    struct colonnade_error error = {COLONNADE_OK, ""};
    struct evaluation *evaluation = &run->evaluation;
    succeed(evaluation_init(evaluation, CLASSES, &error), &error);
    evaluation->count = 123;
    evaluation->loss = 0.123456789012345;
    evaluation->accuracy = 2.0 / 3.0;
    evaluation->top5 = 1.0;
    for (int i = 0; i < CLASSES * CLASSES; i++)
        evaluation->confusion[i] = (int64_t)i << 33;
    for (int i = 0; i < CLASSES; i++) {
        evaluation->precision[i] = 0.1 * i;
        evaluation->recall[i] = 0.2 * i;
        evaluation->f1[i] = 0.3 * i;
    }
    run->evaluated = true;
}

static void add_golden(struct golden *golden)
{
    struct colonnade_error error = {COLONNADE_OK, ""};
    const size_t inputs = GOLDEN * CHANNELS * HEIGHT * WIDTH, logits = GOLDEN * CLASSES;
    succeed(memory_allocate(&golden->input, inputs, sizeof(float), "inputs", &error), &error);
    succeed(memory_allocate(&golden->logits, logits, sizeof(float), "logits", &error), &error);
    fill_bits(golden->input, inputs, 77);
    fill_bits(golden->logits, logits, 78);
    golden->n = GOLDEN;
}

static void add_samples(struct samples *samples)
{
    struct colonnade_error error = {COLONNADE_OK, ""};
    const size_t bytes = GOLDEN * CHANNELS * HEIGHT * WIDTH;
    succeed(memory_allocate(&samples->images, bytes, 1, "images", &error), &error);
    succeed(memory_allocate(&samples->labels, GOLDEN, sizeof(int32_t), "labels", &error), &error);
    for (size_t i = 0; i < bytes; i++)
        samples->images[i] = (uint8_t)(i * 7);
    for (int i = 0; i < GOLDEN; i++)
        samples->labels[i] = (i + 1) % CLASSES;
    samples->n = GOLDEN;
}

static void add_worst(struct worst *worst)
{
    struct colonnade_error error = {COLONNADE_OK, ""};
    const size_t bytes = GOLDEN * CHANNELS * HEIGHT * WIDTH;
    succeed(memory_allocate(&worst->records, GOLDEN, sizeof *worst->records, "w", &error), &error);
    succeed(memory_allocate(&worst->pixels, bytes, 1, "w", &error), &error);
    for (size_t i = 0; i < bytes; i++)
        worst->pixels[i] = (uint8_t)(i * 11);
    for (int i = 0; i < GOLDEN; i++)
        worst->records[i] = (struct worst_image){(1L << 40) + i, i % CLASSES, (i + 1) % CLASSES,
                                                 1.0 / (i + 3), 0.9 / (i + 7)};
    worst->n = GOLDEN;
}

static struct run *make_run(void)
{
    struct run *run = make_untrained_run();
    const struct graph *graph = run->graph;
    fill_bits(run->model->parameters, graph->parameter_length, 1);
    fill_bits(run->model->buffers, graph->buffer_length, 2);
    for (int i = 0; i < OPTIMIZER_STATES; i++) {
        cr_assert_not_null(run->optimizer->states[i]);
        fill_bits(run->optimizer->states[i], graph->parameter_length, 3 + (uint32_t)i);
    }
    run->status = RUN_INTERRUPTED;
    run->progress = (struct progress){4242424242L, 7, 13, 0.1 + 0.2, 99, 416, 1.75, 86400.125};
    add_records(&run->metrics);
    add_evaluation(run);
    add_samples(&run->samples);
    add_worst(&run->worst);
    add_golden(&run->golden);
    return run;
}

static void save(const struct run *run, const char *path)
{
    struct colonnade_error error = {COLONNADE_OK, ""};
    succeed(run_save(run, path, &error), &error);
}

static struct run *load(const char *path)
{
    struct colonnade_error error = {COLONNADE_OK, ""};
    struct run *run = NULL;
    succeed(run_load(&run, path, &error), &error);
    return run;
}

/* The file has to be refused, in words that have `part` in them. */
static void refuse(const char *path, const char *part)
{
    struct colonnade_error error = {COLONNADE_OK, ""};
    struct run *run = NULL;
    const enum colonnade_status status = run_load(&run, path, &error);
    cr_assert_eq(status, COLONNADE_FAILURE, "%s: loaded, or status %d (%s)", part, (int)status,
                 error.message);
    cr_assert_null(run);
    cr_assert_eq(strncmp(error.message, path, strlen(path)), 0, "does not begin with the path: %s",
                 error.message);
    cr_assert_not_null(strstr(error.message, part), "nothing of '%s': %s", part, error.message);
}

static void assert_bytes(const char *what, const void *got, const void *want, size_t count)
{
    cr_assert_eq(memcmp(got, want, count), 0, "%s differs", what);
}

/* Margins between parameters belong to nobody: compared is what is exported. */
static void assert_parameters(const char *what, const struct graph *graph, bool trainable,
                              const float *got, const float *want)
{
    size_t compared = 0;
    for (int i = 0; i < graph->count; i++)
        for (int j = 0; j < graph->nodes[i].parameter_count; j++) {
            const struct parameter *parameter = &graph->nodes[i].parameters[j];
            if (parameter->trainable != trainable)
                continue;
            float *a = malloc(parameter->count * sizeof *a),
                  *b = malloc(parameter->count * sizeof *b);
            parameter_export(parameter, got, a);
            parameter_export(parameter, want, b);
            assert_bytes(what, a, b, parameter->count * sizeof *a);
            free(a);
            free(b);
            compared++;
        }
    cr_assert_gt(compared, 1);
}

static void assert_facts(const struct data_facts *got, const struct data_facts *want)
{
    cr_assert_str_eq(got->source, want->source);
    assert_bytes("shape", &got->shape, &want->shape, sizeof got->shape);
    cr_assert_eq(got->classes, want->classes);
    for (int i = 0; i < want->classes; i++)
        cr_assert_str_eq(got->class_names[i], want->class_names[i]);
    assert_bytes("mean", got->mean, want->mean, (size_t)want->shape.c * sizeof(float));
    assert_bytes("std", got->std, want->std, (size_t)want->shape.c * sizeof(float));
    cr_assert_eq(got->fit, want->fit);
    cr_assert_eq(got->train_count, want->train_count);
    cr_assert_eq(got->checksum, want->checksum);
    cr_assert_eq(got->checksum_images, want->checksum_images);
}

static void assert_records(const struct metrics *got, const struct metrics *want)
{
    cr_assert_eq(got->epoch_count, want->epoch_count);
    cr_assert_eq(got->step_count, want->step_count);
    for (size_t i = 0; i < want->epoch_count; i++) {
        const struct epoch_record *a = &got->epochs[i], *b = &want->epochs[i];
        cr_assert_eq(a->epoch, b->epoch);
        assert_bytes("an epoch's numbers", &a->train_loss, &b->train_loss, 7 * sizeof(double));
    }
    for (size_t i = 0; i < want->step_count; i++)
        assert_bytes("a step", &got->steps[i], &want->steps[i], sizeof *got->steps);
}

static void assert_evaluation(const struct evaluation *got, const struct evaluation *want)
{
    const size_t n = (size_t)want->classes;
    cr_assert_eq(got->classes, want->classes);
    cr_assert_eq(got->count, want->count);
    assert_bytes("loss, accuracy, top5", &got->loss, &want->loss, 3 * sizeof(double));
    assert_bytes("confusion", got->confusion, want->confusion, n * n * sizeof(int64_t));
    assert_bytes("precision", got->precision, want->precision, n * sizeof(double));
    assert_bytes("recall", got->recall, want->recall, n * sizeof(double));
    assert_bytes("f1", got->f1, want->f1, n * sizeof(double));
}

static void assert_config(const struct config *got, const struct config *want)
{
    struct colonnade_error error = {COLONNADE_OK, ""};
    char *a = NULL, *b = NULL;
    succeed(config_print(got, &a, &error), &error);
    succeed(config_print(want, &b, &error), &error);
    cr_assert_str_eq(a, b);
    free(a);
    free(b);
}

static void assert_runs(const struct run *got, const struct run *want)
{
    assert_config(got->config, want->config);
    cr_assert_eq(got->settings.seed, want->settings.seed);
    cr_assert_eq(got->status, want->status);
    assert_facts(&got->data, &want->data);
    assert_parameters("a weight", want->graph, true, got->model->parameters,
                      want->model->parameters);
    assert_parameters("a statistic", want->graph, false, got->model->buffers, want->model->buffers);
    for (int i = 0; i < OPTIMIZER_STATES; i++)
        assert_parameters("the optimizer's state", want->graph, true, got->optimizer->states[i],
                          want->optimizer->states[i]);
    assert_bytes("progress", &got->progress, &want->progress, sizeof got->progress);
    assert_records(&got->metrics, &want->metrics);
    cr_assert_eq(got->evaluated, want->evaluated);
    if (want->evaluated)
        assert_evaluation(&got->evaluation, &want->evaluation);
    cr_assert_eq(got->samples.n, want->samples.n);
    if (want->samples.n) {
        const size_t n = (size_t)want->samples.n;
        assert_bytes("samples", got->samples.images, want->samples.images,
                     n * shape_size(want->data.shape));
        assert_bytes("labels", got->samples.labels, want->samples.labels, n * sizeof(int32_t));
    }
    cr_assert_eq(got->worst.n, want->worst.n);
    if (want->worst.n) {
        assert_bytes("mistakes", got->worst.records, want->worst.records,
                     want->worst.n * sizeof *want->worst.records);
        assert_bytes("their images", got->worst.pixels, want->worst.pixels,
                     want->worst.n * shape_size(want->data.shape));
    }
    cr_assert_eq(got->golden.n, want->golden.n);
    if (want->golden.n) {
        assert_bytes("golden input", got->golden.input, want->golden.input,
                     GOLDEN * CHANNELS * HEIGHT * WIDTH * sizeof(float));
        assert_bytes("golden logits", got->golden.logits, want->golden.logits,
                     GOLDEN * CLASSES * sizeof(float));
    }
}

Test(store, a_run_comes_back_bit_by_bit)
{
    const char *path = in_folder("deep/er/run.h5");
    struct run *run = make_run();
    save(run, path);
    struct run *again = load(path);
    assert_runs(again, run);
    run_destroy(again);
    run_destroy(run);
}

Test(store, a_run_that_has_not_begun_comes_back)
{
    const char *path = in_folder("run.h5");
    struct run *run = make_untrained_run();
    save(run, path);
    struct run *again = load(path);
    assert_runs(again, run);
    run_destroy(again);
    run_destroy(run);
}

Test(store, a_run_makes_the_same_bytes_at_another_time)
{
    struct run *run = make_run();
    save(run, in_folder("a.h5"));
    usleep(1100 * 1000); /* times in HDF5 are whole seconds */
    save(run, in_folder("b.h5"));
    struct bytes a = read_bytes(in_folder("a.h5")), b = read_bytes(in_folder("b.h5"));
    cr_assert_eq(a.count, b.count);
    assert_bytes("the file", a.data, b.data, a.count);
    free(a.data);
    free(b.data);
    run_destroy(run);
}

Test(store, a_save_replaces_a_run_that_is_being_read)
{
    const char *path = in_folder("run.h5");
    struct run *run = make_untrained_run();
    save(run, path);
    const hid_t reader = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    cr_assert_geq(reader, 0);
    run->status = RUN_COMPLETE;
    save(run, path);
    H5Fclose(reader);
    struct run *again = load(path);
    cr_assert_eq(again->status, RUN_COMPLETE);
    run_destroy(again);
    run_destroy(run);
}

Test(store, what_is_no_run_file_is_refused)
{
    refuse(in_folder("absent.h5"), "No such file");
    refuse(folder, "not a regular file");
    write_bytes(in_folder("text"), "no HDF5 here\n", 13);
    refuse(in_folder("text"),
           "text: not an HDF5 file; a run file is what `colonnade train` writes");
    write_bytes(in_folder("empty"), "", 0);
    refuse(in_folder("empty"), "not an HDF5 file");
    const hid_t file = H5Fcreate(in_folder("other.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert_geq(file, 0);
    H5Fclose(file);
    refuse(in_folder("other.h5"), "not a Colonnade run file");
}

static hid_t open_for_change(const char *path)
{
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    cr_assert_geq(file, 0);
    return file;
}

static void write_attribute(const char *path, const char *object, const char *name, hid_t type,
                            const void *value)
{
    const hid_t file = open_for_change(path);
    const hid_t holder = H5Oopen(file, object, H5P_DEFAULT);
    const hid_t attribute = H5Aopen(holder, name, H5P_DEFAULT);
    cr_assert_geq(attribute, 0, "%s of %s", name, object);
    cr_assert_geq(H5Awrite(attribute, type, value), 0);
    H5Aclose(attribute);
    H5Oclose(holder);
    H5Fclose(file);
}

static void write_text_attribute(const char *path, const char *object, const char *name,
                                 const char *text)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    write_attribute(path, object, name, type, &text);
    H5Tclose(type);
}

Test(store, another_format_or_version_is_refused)
{
    const char *path = in_folder("run.h5");
    struct run *run = make_untrained_run();
    save(run, path);
    write_attribute(path, "/", "format_version", H5T_NATIVE_INT, &(int){7});
    refuse(path, "format_version 7; this program reads 1");
    save(run, path);
    write_text_attribute(path, "/", "format", "colonnade-sweep");
    refuse(path, "its format is 'colonnade-sweep', not 'colonnade-run'; `colonnade report` shows a "
                 "sweep");
    run_destroy(run);
}

Test(store, values_that_cannot_be_are_refused)
{
    const char *path = in_folder("run.h5");
    struct run *run = make_run();
    save(run, path);
    write_text_attribute(path, "/", "status", "asleep");
    refuse(path, "'asleep'");
    save(run, path);
    write_text_attribute(path, "/optimizer", "name", "sgd");
    refuse(path, "'sgd', but the config says 'adam'");
    save(run, path);
    write_attribute(path, "/optimizer", "epoch", H5T_NATIVE_INT, &(int){-1});
    refuse(path, "epoch -1");
    save(run, path);
    write_attribute(path, "/data/classes", "shape", H5T_NATIVE_INT, (int[]){2, 0, 5});
    refuse(path, "2 x 0 x 5");
    run_destroy(run);
}

/* A config that is no config is the file's fault, not that of a command line. */
Test(store, a_config_that_does_not_parse_is_refused)
{
    const char *path = in_folder("run.h5");
    struct run *run = make_untrained_run();
    save(run, path);
    write_text_attribute(path, "/", "config", "[run\nseed = 1\n");
    refuse(path, "config");
    write_text_attribute(path, "/", "config", "[fc1]\ntype = dance\n");
    refuse(path, "config");
    run_destroy(run);
}

Test(store, a_truncated_file_is_refused_wherever_it_ends)
{
    enum { LAST = 2100, STRIDE = 127 }; /* every length up to LAST bytes */
    const char *path = in_folder("run.h5");
    struct run *run = make_run();
    struct stat state;
    save(run, path);
    cr_assert_eq(stat(path, &state), 0);
    for (off_t length = state.st_size - SEAL - 1; length >= 0;
         length -= length > LAST ? STRIDE : 1) {
        cr_assert_eq(truncate(path, length), 0);
        refuse(path, "");
    }
    run_destroy(run);
}

/* Names of all links, or of all attributes as OBJECT@NAME. */
struct names_found {
    char names[256][96];
    size_t count;
};

static herr_t note_attribute(hid_t object, const char *name, const H5A_info_t *info, void *context)
{
    struct names_found *found = context;
    char path[64];
    cr_assert_lt(found->count, 256);
    H5Iget_name(object, path, sizeof path);
    snprintf(found->names[found->count++], 96, "%s@%.30s", path, name);
    return 0;
}

static void note_attributes(hid_t object, struct names_found *found)
{
    hsize_t at = 0;
    cr_assert_geq(H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, &at, note_attribute, found), 0);
}

static herr_t note_link(hid_t file, const char *name, const H5L_info_t *info, void *context)
{
    struct names_found *found = context;
    const hid_t object = H5Oopen(file, name, H5P_DEFAULT);
    cr_assert_lt(found->count, 256);
    snprintf(found->names[found->count++], 96, "/%.90s", name);
    note_attributes(object, found);
    H5Oclose(object);
    return 0;
}

static void find_names(const char *path, struct names_found *found)
{
    found->count = 0;
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    cr_assert_geq(file, 0);
    note_attributes(file, found);
    cr_assert_geq(H5Lvisit(file, H5_INDEX_NAME, H5_ITER_INC, note_link, found), 0);
    H5Fclose(file);
}

static void delete_part(const char *path, const char *name)
{
    const hid_t file = open_for_change(path);
    const char *at = strchr(name, '@');
    if (at) {
        char object[96];
        snprintf(object, sizeof object, "%.*s", (int)(at - name), name);
        cr_assert_geq(H5Adelete_by_name(file, object, at + 1, H5P_DEFAULT), 0, "%s", name);
    } else {
        cr_assert_geq(H5Ldelete(file, name, H5P_DEFAULT), 0, "%s", name);
    }
    H5Fclose(file);
}

/* What a run can be loaded without: it explains, comes with the end of a training, or did not yet
 * exist in older files. */
static bool is_optional(const char *name)
{
    static const char *const optional[] = {"/@colonnade_version", "/@seed",
                                           "/@machine",           "/@blas",
                                           "/@blas_kernel",       "/optimizer@random",
                                           "/evaluation",         "/golden",
                                           "/data/samples",       "/evaluation/test/worst",
                                           "/data@train_crc32",   "/data/classes@fit"};
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        if (strcmp(name, optional[i]) == 0)
            return true;
    const char *at = strchr(name, '@');
    static const char *const explaining[] = {
        "@units", "@crc32", "@DIMENSION_LABELS", "@DIMENSION_LIST", "@REFERENCE_LIST",
        "@CLASS", "@NAME"};
    for (size_t i = 0; at && i < sizeof explaining / sizeof *explaining; i++)
        if (strcmp(at, explaining[i]) == 0)
            return true;
    return false;
}

Test(store, a_failed_run_keeps_what_it_failed_of)
{
    const char *path = in_folder("failed.h5"), *lacking = in_folder("lacking.h5");
    struct colonnade_error error = {COLONNADE_OK, ""};
    struct run *run = make_run();
    succeed(memory_copy_text(&run->reason, "epoch 3, step 9: <nan>", &error), &error);
    save(run, path);
    struct run *other = load(path);
    cr_expect_null(other->reason, "of a run that did not fail");
    run_destroy(other);
    run->status = RUN_FAILED;
    save(run, path);
    other = load(path);
    cr_expect_eq(other->status, RUN_FAILED);
    cr_expect_str_eq(other->reason, run->reason);
    run_destroy(other);
    const struct bytes whole = read_bytes(path);
    write_bytes(lacking, whole.data, whole.count);
    delete_part(lacking, "/@reason");
    other = load(lacking);
    cr_expect_null(other->reason);
    run_destroy(other);
    const hid_t file = open_for_change(lacking);
    const hid_t space = H5Screate(H5S_SCALAR);
    H5Aclose(H5Acreate2(file, "reason", H5T_NATIVE_INT, space, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    H5Fclose(file);
    refuse(lacking, "reason");
    free(whole.data);
    run_destroy(run);
}

Test(store, every_part_that_is_missing_is_named)
{
    const char *path = in_folder("run.h5"), *lacking = in_folder("lacking.h5");
    struct run *run = make_run();
    save(run, path);
    const struct bytes whole = read_bytes(path);
    struct names_found found;
    find_names(path, &found);
    cr_assert_gt(found.count, 70);
    size_t refused = 0;
    for (size_t i = 0; i < found.count; i++) {
        const char *name = found.names[i], *at = strchr(name, '@');
        write_bytes(lacking, whole.data, whole.count);
        delete_part(lacking, name);
        if (is_optional(name)) {
            run_destroy(load(lacking));
            continue;
        }
        refuse(lacking, at ? at + 1 : name);
        refused++;
    }
    cr_assert_gt(refused, 50);
    free(whole.data);
    run_destroy(run);
}

static void replace_dataset(const char *path, const char *name, int rank, const hsize_t *dims,
                            hid_t type)
{
    const hid_t file = open_for_change(path);
    const hid_t space = H5Screate_simple(rank, dims, NULL);
    if (H5Lexists(file, name, H5P_DEFAULT) > 0)
        H5Ldelete(file, name, H5P_DEFAULT);
    const hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert_geq(set, 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Fclose(file);
}

Test(store, a_shape_that_does_not_fit_is_named_with_the_one_that_would)
{
    const char *path = in_folder("run.h5");
    struct run *run = make_run();
    save(run, path);
    replace_dataset(path, "/state_dict/conv1.weight", 4, (hsize_t[]){4, 2, 2, 3}, H5T_IEEE_F32LE);
    refuse(path, "/state_dict/conv1.weight: shape is [4, 2, 2, 3] instead of [4, 2, 3, 2]");
    save(run, path);
    replace_dataset(path, "/state_dict/fc1.bias", 2, (hsize_t[]){3, 1}, H5T_IEEE_F32LE);
    refuse(path, "/state_dict/fc1.bias: shape is [3, 1] instead of [3]");
    save(run, path);
    replace_dataset(path, "/data/samples", 4, (hsize_t[]){2, 6, 5, 3}, H5T_STD_U8LE);
    refuse(path, "/data/samples: shape is [2, 6, 5, 3] instead of [2, 6, 5, 2]");
    save(run, path);
    replace_dataset(path, "/evaluation/test/worst/images", 4, (hsize_t[]){3, 6, 5, 2},
                    H5T_STD_U8LE);
    refuse(path, "/evaluation/test/worst/images: shape is [3, 6, 5, 2] instead of [2, 6, 5, 2]");
    save(run, path);
    replace_dataset(path, "/golden/input", 4, (hsize_t[]){2, 2, 5, 6}, H5T_IEEE_F32LE);
    refuse(path, "/golden/input: shape is [2, 2, 5, 6] instead of [2, 2, 6, 5]");
    save(run, path);
    replace_dataset(path, "/metrics/step/lr", 1, (hsize_t[]){STEPS - 1}, H5T_IEEE_F64LE);
    refuse(path, "/metrics/step/lr: shape is [2499] instead of [2500]");
    run_destroy(run);
}

Test(store, parts_of_another_kind_are_refused)
{
    const char *path = in_folder("run.h5");
    struct run *run = make_run();
    save(run, path);
    replace_dataset(path, "/state_dict", 1, (hsize_t[]){1}, H5T_IEEE_F32LE);
    refuse(path, "/state_dict");
    save(run, path);
    replace_dataset(path, "/state_dict/extra", 1, (hsize_t[]){1}, H5T_IEEE_F32LE);
    refuse(path, "/state_dict");
    run_destroy(run);
}

static void extend_dataset(const char *path, const char *name, hsize_t length)
{
    const hid_t file = open_for_change(path);
    const hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    cr_assert_geq(H5Dset_extent(set, &length), 0);
    H5Dclose(set);
    H5Fclose(file);
}

/* As many values as no file, or not this one, can hold are not asked of memory. */
Test(store, a_length_beyond_the_file_is_refused)
{
    const char *path = in_folder("run.h5");
    struct run *run = make_run();
    save(run, path);
    extend_dataset(path, "/metrics/step/step", (hsize_t)1 << 40);
    refuse(path, "/metrics/step/step: damaged: its shape is [1099511627776]");
    save(run, path);
    extend_dataset(path, "/metrics/step/step", (hsize_t)1 << 24);
    refuse(path, "/metrics/step/step: damaged: its shape is [16777216]");
    run_destroy(run);
}

/* In place. */
static void flip_bit(const char *path, off_t offset)
{
    const int file = open(path, O_RDWR);
    unsigned char byte;
    cr_assert_eq(pread(file, &byte, 1, offset), 1);
    byte ^= 0x04;
    cr_assert_eq(pwrite(file, &byte, 1, offset), 1);
    close(file);
}

Test(store, a_changed_weight_is_found_by_the_checksum)
{
    static const char *const sets[] = {"/state_dict/fc1.weight", "/state_dict/norm1.running_var",
                                       "/optimizer/exp_avg/conv1.bias"};
    const char *path = in_folder("run.h5");
    struct run *run = make_run();
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        save(run, path);
        const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
        const hid_t set = H5Dopen2(file, sets[i], H5P_DEFAULT);
        cr_assert_geq(set, 0);
        const haddr_t offset = H5Dget_offset(set);
        H5Dclose(set);
        H5Fclose(file);
        struct stat state;
        cr_assert_eq(stat(path, &state), 0);
        cr_assert_eq(truncate(path, state.st_size - SEAL), 0);
        flip_bit(path, (off_t)offset + 1);
        refuse(path, "attribute crc32");
    }
    run_destroy(run);
}

Test(store, a_flipped_bit_is_refused_wherever_it_is)
{
    enum { STRIDE = 331 };
    const char *path = in_folder("run.h5");
    struct run *run = make_run();
    struct stat state;
    save(run, path);
    cr_assert_eq(stat(path, &state), 0);
    for (off_t offset = 8; offset < state.st_size - SEAL; offset += STRIDE) {
        flip_bit(path, offset);
        refuse(path, "CRC-32");
        flip_bit(path, offset);
    }
    flip_bit(path, state.st_size - 1);
    refuse(path, "CRC-32");
    flip_bit(path, state.st_size - 1);
    run_destroy(load(path));
    run_destroy(run);
}

static mode_t mode_of(const char *path)
{
    struct stat state;
    cr_assert_eq(stat(path, &state), 0);
    return state.st_mode & 07777;
}

static void replace(const char *path, const char *text)
{
    struct colonnade_error error = {COLONNADE_OK, ""};
    succeed(file_replace(path, text, strlen(text), &error), &error);
}

static void fail_to_replace(const char *path, size_t count, const char *part)
{
    struct colonnade_error error = {COLONNADE_OK, ""};
    char *bytes = calloc(count, 1);
    cr_assert_eq(file_replace(path, bytes, count, &error), COLONNADE_FAILURE);
    free(bytes);
    cr_assert_not_null(strstr(error.message, path), "no path: %s", error.message);
    cr_assert_not_null(strstr(error.message, part), "nothing of '%s': %s", part, error.message);
}

static void assert_text(const char *path, const char *text)
{
    const struct bytes bytes = read_bytes(path);
    cr_assert_eq(bytes.count, strlen(text), "%s", path);
    assert_bytes(path, bytes.data, text, bytes.count);
    free(bytes.data);
}

Test(store, a_file_is_replaced_whole_and_alone)
{
    const char *path = in_folder("page.html");
    replace(path, "a longer first text");
    replace(path, "short");
    assert_text(path, "short");
    replace(path, "");
    assert_text(path, "");
    cr_assert_eq(count_entries(folder), 1);
}

Test(store, new_files_go_by_the_umask_and_old_ones_keep_their_mode)
{
    const char *path = in_folder("page.html");
    umask(027);
    replace(path, "new");
    cr_assert_eq(mode_of(path), 0640);
    chmod(path, 0604);
    replace(path, "newer");
    cr_assert_eq(mode_of(path), 0604);
}

Test(store, relative_paths_and_long_names_work)
{
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    cr_assert_eq(chdir(folder), 0);
    replace(name, "long");
    assert_text(name, "long");
    replace("here/./there//x", "relative");
    assert_text("here/there/x", "relative");
    cr_assert_eq(chdir("/"), 0);
}

Test(store, a_symbolic_link_stays_one)
{
    replace(in_folder("real"), "old");
    cr_assert_eq(symlink("real", in_folder("link")), 0);
    replace(in_folder("link"), "new");
    assert_text(in_folder("real"), "new");
    struct stat state;
    cr_assert_eq(lstat(in_folder("link"), &state), 0);
    cr_assert(S_ISLNK(state.st_mode));
}

Test(store, what_is_not_a_file_is_not_replaced)
{
    cr_assert_eq(mkfifo(in_folder("pipe"), 0600), 0);
    fail_to_replace(in_folder("pipe"), 1, "not a regular file");
    fail_to_replace(folder, 1, "not a regular file");
    fail_to_replace(in_folder("new/"), 1, "not the name of a file");
    replace(in_folder("file"), "x");
    fail_to_replace(in_folder("file/below"), 1, "Not a directory");
    cr_assert_eq(count_entries(folder), 2);
}

Test(store, a_left_over_temporary_file_does_no_harm)
{
    const char *path = in_folder("run.h5");
    char temporary[160];
    snprintf(temporary, sizeof temporary, "%s/.run.h5.tmp-%ld-0", folder, (long)getpid());
    write_bytes(temporary, "other's", 7);
    replace(path, "whole");
    assert_text(path, "whole");
    assert_text(temporary, "other's");
    cr_assert_eq(count_entries(folder), 2);
}

/* No names of run.h5's temporary files. */
static const char *const others[] = {".run.h5.tmp-1-", ".run.h5.tmp-x-0", ".run.h5.tmp-1-0x",
                                     ".other.h5.tmp-1-0", "run.h5.tmp-1-0"};

Test(store, what_killed_programs_left_is_removed_and_what_is_being_written_is_not)
{
    static const char *const left[] = {".run.h5.tmp-1-0", ".run.h5.tmp-999999999-7"};
    char path[160], name[160];
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    snprintf(path, sizeof path, "%s", in_folder("run.h5"));
    replace(path, "whole");
    for (size_t i = 0; i < COUNT_OF(others); i++)
        write_bytes(in_folder(others[i]), "x", 1);
    for (size_t i = 0; i < COUNT_OF(left); i++)
        write_bytes(in_folder(left[i]), "half", 4);
    snprintf(name, sizeof name, "%s", in_folder(".run.h5.tmp-1-1"));
    const int written = open(name, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(fcntl(written, F_OFD_SETLK, &whole), 0);
    file_remove_leftovers(path);
    cr_assert_eq(count_entries(folder), 2 + COUNT_OF(others));
    cr_assert_eq(access(name, F_OK), 0);
    close(written);
    file_remove_leftovers(path);
    cr_assert_eq(count_entries(folder), 1 + COUNT_OF(others));
    assert_text(path, "whole");
}

static enum colonnade_status remove_leftovers_and_write(const void *context, const char *path,
                                                        const char *temporary, int descriptor,
                                                        struct colonnade_error *error)
{
    file_remove_leftovers(path);
    return write(descriptor, "new", 3) == 3 ? COLONNADE_OK : COLONNADE_FAILURE;
}

Test(store, a_file_is_not_taken_for_a_leftover_while_it_is_written)
{
    const struct file_content content = {remove_leftovers_and_write, NULL};
    struct colonnade_error error = {0};
    const char *path = in_folder("run.h5");
    cr_assert_eq(file_replace_with(path, &content, &error), COLONNADE_OK, "%s", error.message);
    assert_text(path, "new");
}

/* Root may write anywhere: then the test takes another user's rights. */
Test(store, a_folder_without_permission_is_named)
{
    const char *path = in_folder("closed/run.h5");
    replace(path, "old");
    chmod(folder, 0755);
    chmod(in_folder("closed"), 0555);
    const bool root = geteuid() == 0;
    if (root)
        cr_assert_eq(seteuid(65534), 0);
    fail_to_replace(in_folder("closed/new.h5"), 1, "Permission denied");
    fail_to_replace(in_folder("closed/deep/new.h5"), 1, "Permission denied");
    fail_to_replace(path, 1, "Permission denied");
    if (root)
        cr_assert_eq(seteuid(0), 0);
    assert_text(path, "old");
    cr_assert_eq(count_entries(in_folder("closed")), 1);
    chmod(in_folder("closed"), 0755);
}

/* As a full disk does it: some bytes are written, then no more. */
static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN);
}

Test(store, a_save_that_finds_no_room_leaves_the_old_run_and_nothing_else)
{
    struct colonnade_error error = {COLONNADE_OK, ""};
    const char *path = in_folder("run.h5");
    struct run *run = make_run();
    save(run, path);
    const struct bytes before = read_bytes(path);
    limit_file_size(10000);
    run->status = RUN_COMPLETE;
    cr_assert_eq(run_save(run, path, &error), COLONNADE_FAILURE);
    cr_assert_not_null(strstr(error.message, path));
    cr_assert_not_null(strstr(error.message, strerror(EFBIG)), "%s", error.message);
    fail_to_replace(in_folder("new/folders/run.h5"), 20000, strerror(EFBIG));
    limit_file_size(RLIM_INFINITY);
    const struct bytes after = read_bytes(path);
    cr_assert_eq(before.count, after.count);
    assert_bytes("the old run", after.data, before.data, before.count);
    cr_assert_eq(count_entries(folder), 1);
    free(before.data);
    free(after.data);
    run_destroy(run);
}
