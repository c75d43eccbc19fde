/* Images and labels in memory, from any source.
 *
 * A source is one file in engine/data/ and one row in source_types[]. It fills a dataset; what
 * comes after (mean and deviation, the validation split, the order of an epoch) is the same for
 * all. Pixels are kept as the bytes they came as, [h, w, c] an image; the network's first node
 * scales them.
 */
#ifndef ENGINE_DATA_DATASET_H
#define ENGINE_DATA_DATASET_H

#include "engine/base/random.h"
#include "engine/config/config.h"
#include "engine/data/image.h"

enum { DATA_MAX_SIDE = 1 << 16, DATA_MAX_CLASSES = 1 << 16 };

/* [data], by data_keys[]. */
struct data_settings {
    int source; /* index into source_types */
    const char *path;
    double validation;
    struct pair size;         /* folder */
    int channels;             /* 0: 1; 1: 3 */
    int fit;                  /* enum image_fit */
    uint64_t memory;          /* megabytes; 0: half of what there is */
    struct numbers mean, std; /* empty: auto */
    bool shuffle;
    uint64_t limit_train, limit_test; /* 0: none */
    int shift_test;                   /* pixels */
    int tta;                          /* enum tta */
    int on_bad_image;                 /* enum bad_image */
    struct triple shape;              /* synthetic */
    int classes;
    uint64_t count;
    const struct config *config; /* where all this stands, for diagnostics */
    const struct section *section;
};

enum bad_image { BAD_IMAGE_FAIL, BAD_IMAGE_SKIP };

/* Test-time augmentation: the views of an image that scoring and predicting average over. */
enum tta { TTA_NONE, TTA_FLIP, TTA_SHIFT, TTA_FLIP_SHIFT };

extern const struct key data_keys[];
extern const size_t data_key_count;

struct split {
    size_t count;
    uint8_t *images; /* [count, h, w, c]; NULL: read from `files` whenever they are needed */
    char **files;    /* [count] paths; NULL: the source is not of files */
    int32_t *labels; /* [count], all in [0, classes), but see dataset_inspect() */
};

/* Told of what is passed over while a dataset is opened, file by file, "FILE: what is wrong". */
struct skip_listener {
    void (*tell)(void *context, const char *reason); /* NULL: nobody is told */
    void *context;
};

/* Told how many of `count` files of `folder` have been read, now and then and when all are; where
 * it ends before, 0 of 0. */
struct read_listener {
    void (*tell)(void *context, const char *folder, size_t done, size_t count); /* NULL: nobody */
    void *context;
};

struct dataset {
    const char *source; /* its name */
    int c, h, w;
    int classes;
    char **class_names; /* [classes]; "0", "1", ... where the source has no names */
    struct split train, test;
    float *mean, *std;               /* [c], in units of pixel / 255 */
    uint32_t *training, *validation; /* indices into train, ascending */
    size_t training_count, validation_count;
    bool shuffle;
    enum tta tta;
    bool inspected;     /* by dataset_inspect() */
    bool classes_given; /* by the request, and not by the source */
    bool streams;       /* for some images there is no room: they are read while they are used */
    int threads;        /* that images are read on */
    size_t memory;      /* bytes of images that are kept, at most, where they are read from files */
    uint64_t seed;
    enum image_fit fit; /* of images that are read from files, or were before they were packed */
    struct skip_listener skipped; /* while it is opened */
    struct read_listener reading; /* likewise, and while it is checked; by one thread */
    size_t bytes;                 /* memory held */
};

/* Tells the dataset's read_listener, if the calling thread is a team's first: so one does. */
void dataset_tell_read(const struct dataset *data, const char *folder, size_t done, size_t count);

size_t dataset_image_bytes(const struct dataset *data);
struct image_target dataset_target(const struct dataset *data);

/* How much of a source is read; each includes what stands before it. */
enum data_wanted {
    DATA_SHAPE, /* c, h, w, classes, class_names */
    DATA_TEST,
    DATA_TRAIN,
};

struct source_type {
    const char *name, *help;
    /* Of the keys that only some sources read, those that this one does (NULL-terminated): given
     * for another source they are an error; for this one, missing without a fallback, too. */
    const char *const *keys;
    bool seeded; /* its images come from the seed */
    bool files;  /* its images are files, in folders that have the names of their classes */
    /* Fills c, h, w, classes, class_names (or leaves it NULL), and the splits that are wanted, of
     * which at most limit_train and limit_test images are kept. `data` has source, seed, threads,
     * memory, and where they are given classes and, of `files`, class_names; names of the source's
     * own come before their number.
     * Settings are as [data] says, checked; a bad file's diagnostic names the file. */
    enum colonnade_status (*open)(struct dataset *data, const struct data_settings *settings,
                                  enum data_wanted wanted, struct colonnade_error *error);
};

extern const struct source_type *const source_types[];
extern const char *const source_names[]; /* NULL-terminated, same order */

/* What the opener of a dataset wants of it. */
struct data_request {
    uint64_t seed;
    int threads; /* to read images on, now and while they are used; at least 1 */
    int sharers; /* processes that have such a dataset each, and [data] memory together; 0: 1 */
    /* The training split is left unread where mean and std are given: to score a test split. */
    bool test_alone;
    /* Of the run that is to be scored: where images have their classes' names, their labels are the
     * indices of these, and any other name is an error; where they have numbers, there are so many.
     * NULL: the classes of the training split. */
    char *const *class_names; /* [classes] */
    int classes;
    struct skip_listener skipped; /* also where the opening fails */
    struct read_listener reading;
};

/* Reads [data] of the config and everything it names. */
enum colonnade_status dataset_open(struct dataset **data, struct config *config,
                                   const struct data_request *request,
                                   struct colonnade_error *error);
void dataset_destroy(struct dataset *data);

/* The same data under another seed: the validation part is chosen anew, and what is measured of the
 * rest; nothing is read again but where the images themselves come from the seed. */
enum colonnade_status dataset_reseed(struct dataset **data, struct config *config, uint64_t seed,
                                     struct colonnade_error *error);

/* Where --set has put another source in the place of the file's, takes the keys of [data] that only
 * the file's reads away. To be called before anything reads them. */
void dataset_drop_replaced(struct config *config);

/* The tta of [data], for those who predict without a dataset: of a config that has been checked. */
enum tta dataset_tta(const struct config *config);
extern const char *const tta_names[]; /* "none", ...; NULL-terminated */

/* Where the source is of files, gives [data] the size, channels and fit that it lacks: those of the
 * run that is to be scored. After dataset_drop_replaced(). */
enum colonnade_status dataset_take_target(struct config *config, const struct image_target *target,
                                          struct colonnade_error *error);

/* Reads [data] for its mistakes alone, and nothing that it names. */
enum colonnade_status dataset_check_keys(struct config *config, struct colonnade_error *error);

/* Just shape and classes: what `summary` needs. Cheap where a source's headers say it. */
enum colonnade_status dataset_describe(struct dataset **data, struct config *config,
                                       struct colonnade_error *error);

/* For a look at data that training might refuse: labels out of range are kept, as they are or,
 * where they do not fit, as the nearest that does; files of images are listed and not read. The
 * parts are those of training, where no file is passed over. No mean and deviation. */
enum colonnade_status dataset_inspect(struct dataset **data, struct config *config,
                                      const struct data_request *request,
                                      struct colonnade_error *error);

/* Whether the images of an HDF5 file seem to be [N, C, H, W], though they are read as
 * [N, H, W, C]: as high as images have channels, and with more channels than they have. */
bool dataset_seems_transposed(const struct dataset *data);

/* Whether dataset_open() will leave images in their files for want of [data] memory. Lists files,
 * and reads no image. */
enum colonnade_status dataset_streams(bool *streams, struct config *config,
                                      struct colonnade_error *error);

/* Points `*image` to the pixels [h, w, c] of sample `index`: in the dataset, or, where it is read
 * from its file, in `buffer` of dataset_image_bytes(). Thread-safe. */
enum colonnade_status dataset_image(const struct dataset *data, const struct split *split,
                                    size_t index, uint8_t *buffer, const uint8_t **image,
                                    struct colonnade_error *error);

/* CRC-32 of all training labels (int32), then of the CRC-32 (uint32) of each of `images` images
 * (bytes [h, w, c]), number i * count / images of them for i from 0: the same wherever the images
 * are. Of how many it is to be taken, lest a start wait for it: all, or what is soon read. */
enum colonnade_status dataset_checksum(const struct dataset *data, size_t images,
                                       uint32_t *checksum, struct colonnade_error *error);
size_t dataset_checksum_images(const struct dataset *data);

/* What the network is shown of an image, as the kernel planes_shift has it. All zero: all of it. */
struct image_view {
    int top, left; /* pixels */
    bool flip;
};

/* A mini-batch: pointers into the dataset, or into the sampler's reader. */
struct batch {
    int n;
    const uint8_t **images;     /* [n] of [h, w, c] */
    const float *scale, *shift; /* [c]: the network gets byte * scale + shift, which is
                                 * (byte / 255 - mean) / std */
    const float *values;     /* [n, c, h, w]: what the network gets, instead of images; else NULL */
    const int32_t *labels;   /* [n] */
    const uint32_t *samples; /* [n] indices into the split: what random draws are keyed by */
    uint32_t epoch;
    struct image_view view; /* of `images`, where it is not training */
};

enum part { PART_TRAINING, PART_VALIDATION, PART_TEST };

/* Hands out a part of a dataset in mini-batches; the last one may be short. */
struct sampler;
enum colonnade_status sampler_create(struct sampler **sampler, const struct dataset *data,
                                     enum part part, int batch, struct colonnade_error *error);
void sampler_destroy(struct sampler *sampler);
size_t sampler_samples(const struct sampler *sampler);
size_t sampler_batches(const struct sampler *sampler);
size_t sampler_bytes(const struct sampler *sampler);
/* How long sampler_batch() has waited for images to be read, altogether. */
double sampler_wait_seconds(const struct sampler *sampler);

/* Sets the order of an epoch (counted from 1): for the training part with shuffle a permutation
 * keyed by (seed, RANDOM_SHUFFLE, epoch), else as stored. Where images are read from files, those
 * of the batch at `first` and of some after it are read from now on. Allocates nothing. */
void sampler_begin(struct sampler *sampler, uint32_t epoch, size_t first);
/* The batch at `index`, valid until the next call of either. Where images are read from files those
 * after it are read ahead; a file that cannot be read is an error with the batch that it is in. */
enum colonnade_status sampler_batch(struct sampler *sampler, size_t index,
                                    const struct batch **batch, struct colonnade_error *error);

#endif
