/* One training run: all that a run file holds, live. Everything else (train, eval, predict,
 * verify, report, export) begins with a run, made new from a config or loaded from a run file.
 */
#ifndef ENGINE_TRAIN_RUN_H
#define ENGINE_TRAIN_RUN_H

#include "engine/graph/graph.h"
#include "engine/train/optimizer.h"
#include "engine/train/profile.h"
#include "engine/train/settings.h"

enum run_status { RUN_TRAINING, RUN_COMPLETE, RUN_INTERRUPTED, RUN_FAILED };
extern const char *const run_status_names[]; /* "training", "complete", ...; NULL-terminated */

struct epoch_record {
    int epoch; /* from 1 */
    double train_loss, train_accuracy;
    double val_loss, val_accuracy; /* NaN where there is no validation part */
    double lr;                     /* of the epoch's last step */
    double images_per_second, seconds;
};

struct step_record {
    long step; /* from 1 */
    double loss, lr, gradient_norm;
};

struct metrics {
    struct epoch_record *epochs;
    size_t epoch_count, epoch_capacity;
    struct step_record *steps;
    size_t step_count, step_capacity;
};

/* Where a run stands: with the config and the weights all that going on needs. */
struct progress {
    long step;       /* optimizer steps done */
    int epoch;       /* epochs done */
    size_t batch;    /* mini-batches done in the epoch under way */
    double loss_sum; /* over the samples of those */
    size_t correct;
    size_t samples;
    double seconds; /* of the epoch under way */
    double total_seconds;
};

struct evaluation {
    size_t count;
    double loss, accuracy, top5;
    int classes;
    int64_t *confusion;              /* [classes, classes]; row: the true class */
    double *precision, *recall, *f1; /* [classes]; 0 where a class never occurs */
};

/* What a run keeps of its data. */
struct data_facts {
    char *source;
    struct shape shape;
    int classes;
    char **class_names;     /* [classes] */
    float *mean, *std;      /* [shape.c] */
    enum image_fit fit;     /* of images from files */
    size_t train_count;     /* training images, before any are held back */
    uint32_t checksum;      /* dataset_checksum() of so many of them */
    size_t checksum_images; /* 0: not known, as in files of older programs */
};

/* A few test samples as the network gets them, and what it says. */
struct golden {
    int n;
    float *input;  /* [n, c, h, w] */
    float *logits; /* [n, classes] */
};

/* Training images as the network saw them at first, altered as [augment] says. Under mixup an
 * image has the first of its two labels. */
struct samples {
    int n;
    uint8_t *images; /* [n, h, w, c] */
    int32_t *labels; /* [n] */
};

/* A test image that was taken for another class. */
struct worst_image {
    long sample; /* its place in the test split, from 0 */
    int actual, predicted;
    double loss;        /* -log of the true class's probability */
    double probability; /* of the predicted class */
};

/* Those that are kept, the greatest loss first. */
struct worst {
    size_t n, capacity;
    struct worst_image *records; /* [n] */
    uint8_t *pixels;             /* [n, h, w, c] */
    char **files;                /* [n] where they were read; NULL: the source is not of files */
};

/* What a file was written by. A text is NULL where that is not known. */
struct origin {
    char *version, *machine, *blas, *blas_kernel;
};

struct run {
    struct config *config; /* as run, overrides applied */
    struct settings settings;
    struct data_facts data;
    struct graph *graph;
    struct model *model;   /* what is trained */
    struct model *average; /* its moving average, with [train] ema; else NULL */
    struct model *best;    /* of the best epoch, with [train] early_stop; else NULL */
    struct optimizer *optimizer;
    enum run_status status;
    char *reason; /* of a failed run; NULL: not known */
    struct progress progress;
    double data_wait_seconds; /* of training steps since the program began; not kept */
    struct metrics metrics;
    struct samples samples; /* n = 0: none */
    bool evaluated;
    struct evaluation evaluation; /* of the test split */
    struct worst worst;           /* of its mistakes; n = 0: none */
    struct golden golden;         /* n = 0: none yet */
    struct profile *profile;      /* of the steps since the program began; NULL: not wanted */
    struct origin origin;         /* of the file that it was loaded from */
    bool weights_checked; /* loaded, and the file's checksum of the weights is right; not kept */
};

/* Takes over `config`, also on error. The data's facts decide shapes and classes. */
enum colonnade_status run_create(struct run **run, struct config *config,
                                 const struct data_facts *facts, struct colonnade_error *error);
void run_destroy(struct run *run);

/* The status is failed, whatever comes; `reason` is copied. */
enum colonnade_status run_set_failed(struct run *run, const char *reason,
                                     struct colonnade_error *error);

/* The weights that the run stands for: what is evaluated, kept under /state_dict, and used from
 * then on. Those of the best epoch, else the average, else what is trained. */
struct model *run_weights(const struct run *run);
/* NULL where none is kept, or no step was made. */
struct model *run_average(const struct run *run);
/* The whole epoch, from 1, with the best validation accuracy, between equals the least loss,
 * between equals the first; 0: none yet, or no early_stop. */
int run_best_epoch(const struct run *run);
/* Whether as many epochs as [train] early_stop says have gone by since that one. */
bool run_stops_early(const struct run *run);
/* How many models a run of these settings holds. */
size_t run_model_count(const struct settings *settings);

enum colonnade_status data_facts_copy(struct data_facts *to, const struct data_facts *from,
                                      struct colonnade_error *error);
void data_facts_finish(struct data_facts *facts);
void samples_finish(struct samples *samples);
void worst_finish(struct worst *worst);
void golden_finish(struct golden *golden);
void origin_finish(struct origin *origin);
void evaluation_finish(struct evaluation *evaluation);
enum colonnade_status evaluation_init(struct evaluation *evaluation, int classes,
                                      struct colonnade_error *error);

#endif
