/* What happens to a dataset whatever its source: the keys of [data], the validation split, mean
 * and deviation. Knows no file format and no network.
 */
#include "engine/data/source.h"

#include "engine/base/memory.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const auto_word[] = {"auto", NULL};
static const char *const channel_words[] = {"1", "3", NULL};
const char *const image_fit_names[] = {
    [IMAGE_CROP] = "crop", [IMAGE_PAD] = "pad", [IMAGE_STRETCH] = "stretch", NULL};
static const char *const bad_image_words[] = {
    [BAD_IMAGE_FAIL] = "fail", [BAD_IMAGE_SKIP] = "skip", NULL};

const char *const tta_names[] = {[TTA_NONE] = "none",
                                 [TTA_FLIP] = "flip",
                                 [TTA_SHIFT] = "shift",
                                 [TTA_FLIP_SHIFT] = "flip_shift",
                                 NULL};

#define FIELD(name) offsetof(struct data_settings, name)

const struct key data_keys[] = {
    {"source", KEY_CHOICE, FIELD(source), .required = true, .choices = source_names,
     .help = "where the images come from"},
    {"path", KEY_TEXT, FIELD(path), .help = "the source's folder or file"},
    {"validation", KEY_NUMBER, FIELD(validation), .fallback = "0", .minimum = 0, .maximum = 1,
     .help = "the fraction of the training images held back, chosen by the seed"},
    {"mean", KEY_NUMBERS, FIELD(mean), .fallback = "auto", .minimum = 0, .maximum = 1,
     .choices = auto_word,
     .help = "what is subtracted from pixel / 255: one number or one a channel; auto: the mean of "
             "the images trained on"},
    {"std", KEY_NUMBERS, FIELD(std), .fallback = "auto", .minimum = 1e-6, .maximum = 1e6,
     .choices = auto_word, .help = "what it is divided by, likewise"},
    {"shuffle", KEY_BOOLEAN, FIELD(shuffle), .fallback = "true",
     .help = "train in a new order each epoch"},
    {"limit_train", KEY_COUNT, FIELD(limit_train), .minimum = 1, .maximum = UINT32_MAX,
     .help = "keep the first N training images"},
    {"limit_test", KEY_COUNT, FIELD(limit_test), .minimum = 1, .maximum = UINT32_MAX,
     .help = "keep the first N test images"},
    {"size", KEY_PAIR, FIELD(size), .minimum = 1, .maximum = IMAGE_MAX_SIDE,
     .help = "HxW, to which images are brought"},
    {"channels", KEY_CHOICE, FIELD(channels), .fallback = "3", .choices = channel_words,
     .help = "1: grey, 3: RGB, whatever the files hold"},
    {"fit", KEY_CHOICE, FIELD(fit), .fallback = "crop", .choices = image_fit_names,
     .help = "how another aspect ratio is met: cut off, padded with black, or stretched"},
    {"on_bad_image", KEY_CHOICE, FIELD(on_bad_image), .fallback = "fail",
     .choices = bad_image_words,
     .help = "whether a file that cannot be read ends it all or is passed over, and listed"},
    {"memory", KEY_COUNT, FIELD(memory), .fallback = "0", .maximum = UINT32_MAX,
     .help = "megabytes of images that are kept in memory; a split that does not fit is read while "
             "it is used; 0: half of the machine's, or of what its control group allows"},
    {"shift_test", KEY_INTEGER, FIELD(shift_test), .fallback = "0", .maximum = DATA_MAX_SIDE,
     .help = "pixels that each test image is moved by: right, left, down, up in turn"},
    {"tta", KEY_CHOICE, FIELD(tta), .fallback = "none", .choices = tta_names,
     .help = "what scoring and predicting average over besides the image: its mirror image, the "
             "image moved by a pixel, or both"},
    {"shape", KEY_SHAPE, FIELD(shape), .minimum = 1, .maximum = DATA_MAX_SIDE,
     .help = "CxHxW of the images"},
    {"classes", KEY_INTEGER, FIELD(classes), .fallback = "10", .minimum = 1,
     .maximum = DATA_MAX_CLASSES, .help = "how many classes"},
    {"count", KEY_COUNT, FIELD(count), .fallback = "1024", .minimum = 1, .maximum = UINT32_MAX,
     .help = "how many training images; there are a quarter as many to test"},
};
const size_t data_key_count = sizeof data_keys / sizeof *data_keys;

/* --- settings --- */

static bool reads_key(const struct source_type *type, const char *key)
{
    for (const char *const *name = type->keys; *name; name++)
        if (strcmp(*name, key) == 0)
            return true;
    return false;
}

/* The sources that read a key which not all do: "a, b"; empty for a key that all do. */
static void key_readers(const char *key, char *list, size_t bytes)
{
    size_t used = 0;
    list[0] = '\0';
    for (const struct source_type *const *type = source_types; *type; type++)
        if (reads_key(*type, key) && used < bytes)
            used += (size_t)snprintf(list + used, bytes - used, "%s%s", used > 0 ? ", " : "",
                                     (*type)->name);
}

/* NULL: there is none of that name, or no name. */
static const struct source_type *find_type(const struct entry *source)
{
    const int found = source ? find_name(source->value, source_names) : -1;
    return found >= 0 ? source_types[found] : NULL;
}

void dataset_drop_replaced(struct config *config)
{
    char readers[256];
    struct section *section = config_find(config, "data");
    const struct entry *source = section ? config_entry(section, "source") : NULL;
    const struct source_type *type = find_type(source);
    if (!type || source->line > 0)
        return;
    for (size_t i = 0; i < data_key_count; i++) {
        const char *name = data_keys[i].name;
        const struct entry *entry = config_entry(section, name);
        key_readers(name, readers, sizeof readers);
        if (entry && entry->line > 0 && readers[0] && !reads_key(type, name))
            config_remove_entry(section, name);
    }
}

enum colonnade_status dataset_take_target(struct config *config, const struct image_target *target,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char size[32], channels[16];
    snprintf(size, sizeof size, "%dx%d", target->h, target->w);
    snprintf(channels, sizeof channels, "%d", target->c);
    const struct {
        const char *key, *value;
    } parts[] = {{"size", size}, {"channels", channels}, {"fit", image_fit_names[target->fit]}};
    const struct section *section = config_find(config, "data");
    const struct source_type *type = section ? find_type(config_entry(section, "source")) : NULL;
    for (size_t i = 0; type && type->files && i < COUNT_OF(parts); i++)
        if (!config_entry(config_find(config, "data"), parts[i].key))
            TRY(config_set(config, "data", parts[i].key, parts[i].value, 0, error));
out:
    return status;
}

static enum colonnade_status check_keys(const struct config *config, const struct section *section,
                                        const struct source_type *type,
                                        struct colonnade_error *error)
{
    char readers[256];
    for (size_t i = 0; i < data_key_count; i++) {
        const struct key *key = &data_keys[i];
        bool given = config_entry(section, key->name) != NULL, read = reads_key(type, key->name);
        if (read && !given && !key->fallback)
            return config_error(config, section, "source", error,
                                "[data] source = %s needs the key '%s': %s", type->name, key->name,
                                key->help);
        key_readers(key->name, readers, sizeof readers);
        if (given && !read && readers[0])
            return config_error(config, section, key->name, error,
                                "[data] %s is only for source = %s; it means nothing to %s",
                                key->name, readers, type->name);
    }
    return COLONNADE_OK;
}

/* There is no [data]: it may have been written in another way, as no node, which has a type. */
static enum colonnade_status raise_no_section(const struct config *config,
                                              struct colonnade_error *error)
{
    static const char *const wanted[] = {"data", NULL};
    for (size_t i = 0; i < config->count; i++) {
        const struct section *section = &config->sections[i];
        if (!config_entry(section, "type") && nearest_name(section->name, wanted))
            return config_error(config, section, NULL, error,
                                "nothing reads the section [%s]; did you mean [data]?",
                                section->name);
    }
    return config_error(config, NULL, NULL, error,
                        "there is no section [data]: its source and path say where the images are");
}

static enum colonnade_status read_settings(struct config *config, struct section **section,
                                           struct data_settings *settings,
                                           struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    *section = config_section(config, "data");
    if (!*section)
        TRY(raise_no_section(config, error));
    TRY(config_read(config, *section, "data", data_keys, data_key_count, NULL, settings, error));
    TRY(check_keys(config, *section, source_types[settings->source], error));
    settings->config = config;
    settings->section = *section;
out:
    return status;
}

/* --- validation --- */

/* Fills `indices` with those of [0, count) whose mark is `mark`, ascending. */
static void collect(uint32_t *indices, const bool *marks, bool mark, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (marks[i] == mark)
            *indices++ = (uint32_t)i;
}

static enum colonnade_status split_validation(struct dataset *data, const struct config *config,
                                              const struct section *section, double fraction,
                                              struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const size_t count = data->train.count;
    uint32_t *order = NULL;
    bool *held = NULL;

    /* 0.29 of 100 is 29, though 0.29 as a double is a little less. */
    const size_t held_count = (size_t)floor(fraction * (double)count * (1 + 1e-12));
    if (fraction > 0 && (held_count == 0 || held_count >= count))
        TRY(config_error(config, section, "validation", error,
                         "[data] validation = %g of %zu training images holds back %s", fraction,
                         count, held_count == 0 ? "none" : "all"));

    TRY(memory_allocate(&order, count, sizeof *order, "an order of the images", error));
    TRY(memory_allocate(&held, count, sizeof *held, "marks of the images", error));
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    random_shuffle((struct random_stream){.seed = data->seed, .purpose = RANDOM_VALIDATION}, order,
                   count);
    for (size_t i = 0; i < held_count; i++)
        held[order[i]] = true;

    data->validation_count = held_count;
    data->training_count = count - held_count;
    TRY(memory_allocate(&data->validation, data->validation_count, sizeof *data->validation,
                        "the validation split", error));
    TRY(memory_allocate(&data->training, data->training_count, sizeof *data->training,
                        "the training split", error));
    collect(data->validation, held, true, count);
    collect(data->training, held, false, count);
out:
    free(order);
    free(held);
    return status;
}

/* --- mean and deviation --- */

struct moments {
    uint64_t sum, squares; /* exact: no order of adding changes them */
};

/* Adds every `stride`th of `count` * `stride` bytes. */
static void add_pixels(struct moments *moments, const uint8_t *pixels, size_t count, size_t stride)
{
    enum { BLOCK = 1 << 16 }; /* 255 * 255 * BLOCK fits in 32 bits */
    for (size_t from = 0; from < count; from += BLOCK) {
        const size_t length = count - from < BLOCK ? count - from : BLOCK;
        const uint8_t *block = pixels + from * stride;
        uint32_t sum = 0, squares = 0;
        for (size_t i = 0; i < length; i++) {
            const uint32_t pixel = block[i * stride];
            sum += pixel;
            squares += pixel * pixel;
        }
        moments->sum += sum;
        moments->squares += squares;
    }
}

/* The population's deviation, in units of pixel / 255. */
static double deviation(struct moments moments, uint64_t n)
{
    __extension__ typedef unsigned __int128 wide;
    const wide variance_n2 = (wide)moments.squares * n - (wide)moments.sum * moments.sum;
    return sqrt((double)variance_n2) / (double)n / 255.0;
}

/* Adds the images trained on, side by side, to moments [c]. */
static enum colonnade_status measure(const struct dataset *data, struct moments *moments,
                                     struct colonnade_error *error)
{
    const size_t c = (size_t)data->c, pixels = (size_t)data->h * (size_t)data->w;
    enum colonnade_status status = COLONNADE_OK;
    size_t failed = SIZE_MAX; /* the first image that could not be read */
#pragma omp parallel num_threads(data->threads)
    {
        struct colonnade_error reason = {0};
        struct moments *sums = NULL;
        uint8_t *buffer = NULL;
        const uint8_t *image;
        enum colonnade_status ready = memory_allocate(&sums, c, sizeof *sums, "moments", &reason);
        if (ready == COLONNADE_OK)
            ready = memory_allocate(&buffer, pixels * c, 1, "an image", &reason);
#pragma omp for schedule(dynamic, 16)
        for (size_t i = 0; i < data->training_count; i++) {
            enum colonnade_status done = ready;
            if (done == COLONNADE_OK)
                done =
                    dataset_image(data, &data->train, data->training[i], buffer, &image, &reason);
            for (size_t channel = 0; channel < c && done == COLONNADE_OK; channel++)
                add_pixels(&sums[channel], image + channel, pixels, c);
            if (done == COLONNADE_OK)
                continue;
#pragma omp critical(measure)
            if (i < failed) {
                failed = i;
                status = error_set(error, done, "%s", reason.message);
            }
        }
#pragma omp critical(measure)
        for (size_t channel = 0; channel < c && sums; channel++) {
            moments[channel].sum += sums[channel].sum;
            moments[channel].squares += sums[channel].squares;
        }
        free(sums);
        free(buffer);
    }
    return status;
}

/* Those of `mean` and `std` ([c]) that are not NULL. */
static enum colonnade_status measure_scale(const struct dataset *data, float *mean, float *std,
                                           struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const uint64_t n = (uint64_t)data->training_count * (uint64_t)data->h * (uint64_t)data->w;
    struct moments *moments = NULL;
    TRY(memory_allocate(&moments, (size_t)data->c, sizeof *moments, "moments", error));
    TRY(measure(data, moments, error));
    for (int channel = 0; channel < data->c; channel++) {
        if (mean)
            mean[channel] = (float)((double)moments[channel].sum / (double)n / 255.0);
        if (std)
            std[channel] = (float)deviation(moments[channel], n);
        if (std && std[channel] == 0)
            RAISE(COLONNADE_FAILURE,
                  "every pixel of channel %d of the training images is %" PRIu64
                  ": there is no deviation to divide by; give [data] std",
                  channel, moments[channel].sum / n);
    }
out:
    free(moments);
    return status;
}

/* Spreads one number over the channels; an empty list is left to be measured. */
static enum colonnade_status take_numbers(const struct dataset *data, const struct config *config,
                                          const struct section *section, const char *key,
                                          struct numbers numbers, float *values,
                                          struct colonnade_error *error)
{
    const size_t c = (size_t)data->c;
    if (numbers.count > 1 && numbers.count != c)
        return config_error(
            config, section, key, error,
            "[data] %s has %zu numbers; the images have %zu channel%s: give one number or "
            "one a channel",
            key, numbers.count, c, plural(c));
    for (size_t i = 0; i < c && numbers.count > 0; i++)
        values[i] = (float)numbers.items[numbers.count == 1 ? 0 : i];
    return COLONNADE_OK;
}

static enum colonnade_status set_scale(struct dataset *data, const struct config *config,
                                       const struct section *section,
                                       const struct data_settings *settings,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const bool auto_mean = settings->mean.count == 0, auto_std = settings->std.count == 0;
    TRY(memory_allocate(&data->mean, (size_t)data->c, sizeof *data->mean, "the mean", error));
    TRY(memory_allocate(&data->std, (size_t)data->c, sizeof *data->std, "the deviation", error));
    TRY(take_numbers(data, config, section, "mean", settings->mean, data->mean, error));
    TRY(take_numbers(data, config, section, "std", settings->std, data->std, error));
    if (auto_mean || auto_std)
        TRY(measure_scale(data, auto_mean ? data->mean : NULL, auto_std ? data->std : NULL, error));
out:
    return status;
}

/* --- moved test images --- */

/* Moves an image [h, w, c] by so many pixels; what comes in is 0, black. */
static void move_image(uint8_t *image, const struct dataset *data, int down, int right)
{
    const int h = data->h, w = data->w, c = data->c;
    const size_t row = (size_t)w * (size_t)c;
    const size_t kept = (size_t)(w - abs(right)) * (size_t)c; /* bytes of a row */
    const size_t from = (size_t)(right < 0 ? -right : 0) * (size_t)c;
    const size_t to = (size_t)(right > 0 ? right : 0) * (size_t)c;
    for (int i = 0; i < h; i++) {
        const int y = down > 0 ? h - 1 - i : i; /* rows that are read are not written yet */
        uint8_t *target = image + (size_t)y * row;
        if (y - down < 0 || y - down >= h) {
            memset(target, 0, row);
            continue;
        }
        memmove(target + to, image + (size_t)(y - down) * row + from, kept);
        memset(target + (to ? 0 : kept), 0, row - kept);
    }
}

/* A network's loss by an offset that it was not trained on, in every direction alike. */
static enum colonnade_status shift_test(struct dataset *data, const struct config *config,
                                        const struct section *section, int pixels,
                                        struct colonnade_error *error)
{
    static const int down[] = {0, 0, 1, -1}, right[] = {1, -1, 0, 0};
    const size_t bytes = (size_t)data->h * (size_t)data->w * (size_t)data->c;
    if (pixels >= data->h || pixels >= data->w)
        return config_error(config, section, "shift_test", error,
                            "[data] shift_test = %d: the images are %dx%d, nothing would be left",
                            pixels, data->h, data->w);
    if (pixels > 0 && !data->test.images)
        return config_error(config, section, "shift_test", error,
                            "[data] shift_test = %d: the test images are not in memory, which "
                            "[data] memory limits",
                            pixels);
    for (size_t i = 0; i < data->test.count && pixels > 0; i++)
        move_image(data->test.images + i * bytes, data, down[i % 4] * pixels,
                   right[i % 4] * pixels);
    return COLONNADE_OK;
}

static enum colonnade_status check_tta(const struct dataset *data, const struct config *config,
                                       const struct section *section, struct colonnade_error *error)
{
    const bool shifts = data->tta == TTA_SHIFT || data->tta == TTA_FLIP_SHIFT;
    if (shifts && (data->h == 1 || data->w == 1))
        return config_error(config, section, "tta", error,
                            "[data] tta = %s moves images by a pixel: they are %dx%d, nothing "
                            "would be left",
                            tta_names[data->tta], data->h, data->w);
    return COLONNADE_OK;
}

/* --- opening --- */

static enum colonnade_status number_classes(struct dataset *data, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    char name[16];
    TRY(memory_allocate(&data->class_names, (size_t)data->classes, sizeof *data->class_names,
                        "class names", error));
    for (int i = 0; i < data->classes; i++) {
        snprintf(name, sizeof name, "%d", i);
        TRY(memory_copy_text(&data->class_names[i], name, error));
    }
out:
    return status;
}

static enum colonnade_status take_classes(struct dataset *data, const struct data_request *request,
                                          struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    data->classes_given = true;
    TRY(memory_allocate(&data->class_names, (size_t)request->classes, sizeof *data->class_names,
                        "class names", error));
    for (int i = 0; i < data->classes; i++)
        TRY(memory_copy_text(&data->class_names[i], request->class_names[i], error));
out:
    return status;
}

static enum colonnade_status open_source(struct dataset **data,
                                         const struct data_settings *settings,
                                         const struct data_request *request,
                                         enum data_wanted wanted, bool inspect,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct source_type *type = source_types[settings->source];
    const int sharers = request->sharers ? request->sharers : 1;
    struct stat facts;
    assert(request->threads >= 1);
    if (settings->path && stat(settings->path, &facts) != 0)
        TRY(source_path_error(settings, error, "%s", strerror(errno)));
    TRY(memory_allocate(data, 1, sizeof **data, "a dataset", error));
    (*data)->source = type->name;
    (*data)->shuffle = settings->shuffle;
    (*data)->tta = (enum tta)settings->tta;
    (*data)->seed = request->seed;
    (*data)->threads = request->threads;
    (*data)->memory = source_memory(settings) / (size_t)sharers;
    (*data)->inspected = inspect;
    (*data)->classes = request->classes;
    (*data)->skipped = request->skipped;
    (*data)->reading = request->reading;
    if (type->files && request->class_names)
        TRY(take_classes(*data, request, error));
    TRY(type->open(*data, settings, wanted, error));
    if (!(*data)->class_names)
        TRY(number_classes(*data, error));
out:
    return status;
}

static size_t count_split(const struct dataset *data, const struct split *split)
{
    size_t bytes = split->count * sizeof *split->labels;
    if (split->images)
        bytes += split->count * dataset_image_bytes(data);
    for (size_t i = 0; split->files && i < split->count; i++)
        bytes += sizeof *split->files + strlen(split->files[i]) + 1;
    return bytes;
}

static size_t count_bytes(const struct dataset *data)
{
    size_t indices = data->training_count + data->validation_count;
    return count_split(data, &data->train) + count_split(data, &data->test) +
           indices * sizeof *data->training;
}

enum colonnade_status dataset_open(struct dataset **result, struct config *config,
                                   const struct data_request *request,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct data_settings settings = {0};
    struct section *section;
    struct dataset *data = NULL;

    TRY(read_settings(config, &section, &settings, error));
    const bool want_train =
        !request->test_alone || settings.mean.count == 0 || settings.std.count == 0;
    TRY(open_source(&data, &settings, request, want_train ? DATA_TRAIN : DATA_TEST, false, error));
    TRY(shift_test(data, config, section, settings.shift_test, error));
    TRY(check_tta(data, config, section, error));
    if (want_train)
        TRY(split_validation(data, config, section, settings.validation, error));
    TRY(set_scale(data, config, section, &settings, error));
    data->bytes = count_bytes(data);
    *result = data;
out:
    if (status != COLONNADE_OK)
        dataset_destroy(data);
    return status;
}

static void forget_parts(struct dataset *data)
{
    free(data->training);
    free(data->validation);
    free(data->mean);
    free(data->std);
    data->training = data->validation = NULL;
    data->mean = data->std = NULL;
}

enum colonnade_status dataset_reseed(struct dataset **data, struct config *config, uint64_t seed,
                                     struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct data_settings settings = {0};
    struct section *section;
    if ((*data)->seed == seed)
        return COLONNADE_OK;
    TRY(read_settings(config, &section, &settings, error));
    if (source_types[settings.source]->seeded) {
        const struct data_request request = {.seed = seed, .threads = (*data)->threads};
        dataset_destroy(*data);
        *data = NULL;
        TRY(dataset_open(data, config, &request, error));
        goto out;
    }
    forget_parts(*data);
    (*data)->seed = seed;
    TRY(split_validation(*data, config, section, settings.validation, error));
    TRY(set_scale(*data, config, section, &settings, error));
out:
    return status;
}

enum tta dataset_tta(const struct config *config)
{
    const struct section *section = config_find(config, "data");
    const struct entry *entry = section ? config_entry(section, "tta") : NULL;
    const int found = entry ? find_name(entry->value, tta_names) : -1;
    return found >= 0 ? (enum tta)found : TTA_NONE;
}

enum colonnade_status dataset_check_keys(struct config *config, struct colonnade_error *error)
{
    struct data_settings settings = {0};
    struct section *section;
    return read_settings(config, &section, &settings, error);
}

/* Opened, and nothing more. */
static enum colonnade_status open_alone(struct dataset **result, struct config *config,
                                        const struct data_request *request, enum data_wanted wanted,
                                        bool inspect, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct data_settings settings = {0};
    struct section *section;
    struct dataset *data = NULL;
    TRY(read_settings(config, &section, &settings, error));
    TRY(open_source(&data, &settings, request, wanted, inspect, error));
    if (inspect)
        TRY(split_validation(data, config, section, settings.validation, error));
    *result = data;
out:
    if (status != COLONNADE_OK)
        dataset_destroy(data);
    return status;
}

enum colonnade_status dataset_describe(struct dataset **data, struct config *config,
                                       struct colonnade_error *error)
{
    const struct data_request request = {.threads = 1};
    return open_alone(data, config, &request, DATA_SHAPE, false, error);
}

enum colonnade_status dataset_inspect(struct dataset **data, struct config *config,
                                      const struct data_request *request,
                                      struct colonnade_error *error)
{
    return open_alone(data, config, request, DATA_TRAIN, true, error);
}

enum colonnade_status dataset_streams(bool *streams, struct config *config,
                                      struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct data_settings settings = {0};
    struct section *section;
    struct dataset *data = NULL;
    const struct data_request request = {.threads = 1};
    TRY(read_settings(config, &section, &settings, error));
    *streams = false;
    if (!source_types[settings.source]->files)
        goto out;
    TRY(dataset_inspect(&data, config, &request, error));
    *streams = data->streams;
out:
    dataset_destroy(data);
    return status;
}

void dataset_tell_read(const struct dataset *data, const char *folder, size_t done, size_t count)
{
    if (data->reading.tell && omp_get_thread_num() == 0)
        data->reading.tell(data->reading.context, folder, done, count);
}

size_t dataset_image_bytes(const struct dataset *data)
{
    return (size_t)data->h * (size_t)data->w * (size_t)data->c;
}

struct image_target dataset_target(const struct dataset *data)
{
    return (struct image_target){.c = data->c, .h = data->h, .w = data->w, .fit = data->fit};
}

enum colonnade_status dataset_image(const struct dataset *data, const struct split *split,
                                    size_t index, uint8_t *buffer, const uint8_t **image,
                                    struct colonnade_error *error)
{
    const struct image_target target = dataset_target(data);
    *image = split->images ? split->images + index * dataset_image_bytes(data) : buffer;
    return split->images ? COLONNADE_OK
                         : image_read(split->files[index], &target, buffer, NULL, error);
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; texts && i < count; i++)
        free(texts[i]);
    free(texts);
}

static void free_split(struct split *split)
{
    free(split->images);
    free_texts(split->files, split->count);
    free(split->labels);
}

void dataset_destroy(struct dataset *data)
{
    if (!data)
        return;
    free_split(&data->train);
    free_split(&data->test);
    free_texts(data->class_names, (size_t)data->classes);
    forget_parts(data);
    free(data);
}
