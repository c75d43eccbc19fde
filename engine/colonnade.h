/* libcolonnade: training of convolutional neural networks for image classification on CPUs.
 *
 * An experiment is opened from a config, trained into a run file, and a run file is loaded to
 * classify images. Every function that can fail returns a status and fills the error it is given
 * (NULL is fine). What a function creates the caller destroys; destroying NULL is fine. Nothing
 * here prints, exits, or keeps global state; calls on different objects may run in different
 * threads, but for HDF5, which must not be in use elsewhere at the same time.
 *
 * Nothing here changes the environment. OpenBLAS and libgomp read theirs before main(), so what
 * the program `colonnade` sets for itself has to be set before a caller's program starts:
 * OPENBLAS_CORETYPE to the kernel that `colonnade doctor` shows, where it says "set by colonnade"
 * (without it OpenBLAS is many times slower on processors newer than itself), and GOMP_SPINCOUNT
 * to 2000 (without it threads that wait hold cores that other programs want).
 *
 * Once installed (`meson install -C build && ldconfig`, as root) it is linked by -lcolonnade.
 */
#ifndef COLONNADE_H
#define COLONNADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define COLONNADE_API __attribute__((visibility("default")))

/* Statuses are the exit statuses of the program. */
enum colonnade_status {
    COLONNADE_OK = 0,
    COLONNADE_FAILURE = 1, /* data, file, memory, numbers gone non-finite */
    COLONNADE_USAGE = 2,   /* a wrong command line or config */
    COLONNADE_INTERRUPTED = 130,
    COLONNADE_TERMINATED = 143,
};

struct colonnade_error {
    enum colonnade_status status;
    char message[2048]; /* names thing, value and rule; "FILE:LINE: " in front where known */
};

/* "MAJOR.MINOR.PATCH"; static. */
COLONNADE_API const char *colonnade_version(void);

/* --- A run: a network with its weights, and what is known of its training --- */

struct colonnade_run;

/* Scores on the test split. */
struct colonnade_score {
    size_t count;          /* images */
    double loss;           /* mean softmax cross-entropy, natural logarithm */
    double accuracy, top5; /* shares of the images, 0 to 1 */
};

/* Loads a run file. COLONNADE_FAILURE where it cannot be read or is no run file. */
COLONNADE_API enum colonnade_status colonnade_run_load(struct colonnade_run **run, const char *path,
                                                       struct colonnade_error *error);
COLONNADE_API void colonnade_run_destroy(struct colonnade_run *run);

/* The size of the images that the network takes, in pixels and channels (1 grey, 3 RGB). */
COLONNADE_API void colonnade_run_shape(const struct colonnade_run *run, int *height, int *width,
                                       int *channels);
COLONNADE_API int colonnade_run_classes(const struct colonnade_run *run);
/* The name of a class, 0 <= index < classes; belongs to the run. NULL outside of that. */
COLONNADE_API const char *colonnade_run_class_name(const struct colonnade_run *run, int index);

/* Fills `score`; false where the run has not been trained to its end. */
COLONNADE_API bool colonnade_run_score(const struct colonnade_run *run,
                                       struct colonnade_score *score);

/* Classifies n images. `images`: bytes [n, height, width, channels] of the run's shape, pixels as
 * they come (0 to 255); they are normalised here as in training, and shown in as many views as the
 * run's [data] tta says. `probabilities`: [n, classes], the caller's; each row adds up to 1.
 * COLONNADE_FAILURE where they are no finite numbers, as of a training that diverged. `threads`: 0
 * for OMP_NUM_THREADS, else all that this process may use; the number changes no bit of the
 * result. */
COLONNADE_API enum colonnade_status colonnade_run_predict(const struct colonnade_run *run, size_t n,
                                                          const uint8_t *images, int threads,
                                                          float *probabilities,
                                                          struct colonnade_error *error);

/* --- An experiment: a config, its data in memory, and the run that comes of it --- */

struct colonnade_experiment;

/* Reads the config at `path` and the data that it names. `overrides`: "SECTION.KEY=VALUE" each,
 * ending with NULL; or NULL for none. COLONNADE_USAGE for a mistake in either, COLONNADE_FAILURE
 * for data that cannot be read. */
COLONNADE_API enum colonnade_status
colonnade_experiment_open(struct colonnade_experiment **experiment, const char *path,
                          const char *const *overrides, struct colonnade_error *error);
COLONNADE_API void colonnade_experiment_destroy(struct colonnade_experiment *experiment);

/* The path of the run file; belongs to the experiment. */
COLONNADE_API const char *
colonnade_experiment_output(const struct colonnade_experiment *experiment);

/* The run as it stands; belongs to the experiment, until the next call that trains it. */
COLONNADE_API const struct colonnade_run *
colonnade_experiment_run(const struct colonnade_experiment *experiment);

struct colonnade_epoch {
    int epoch; /* from 1 */
    double train_loss, train_accuracy;
    double val_loss, val_accuracy; /* NaN where nothing is held back for validation */
    double lr;                     /* of its last step */
    double images_per_second;      /* of training steps alone */
};

/* How to train; all zero is fine. */
struct colonnade_training {
    int threads; /* 0: as the config says, else OMP_NUM_THREADS, else all that this process may
                  * use */
    bool resume; /* go on from the run file where there is one, with the experiment's epochs, which
                  * cannot be below those done */
    /* Called after each epoch, or NULL. False ends the training: the run file is brought up to
     * date for a later resume, and the status is COLONNADE_INTERRUPTED. */
    bool (*progress)(void *context, const struct colonnade_epoch *epoch);
    void *context;
};

/* Trains to the end, scores the test split and leaves the run file, which is also brought up to
 * date while training, as often as the config says; folders on the way are made. Its metrics stand
 * beside it meanwhile, in PATH.live. A run that stood there and was further, with whole epochs, is
 * kept as PATH.replaced where the training ends before its first checkpoint came due. `training`
 * may be NULL.
 *
 * COLONNADE_USAGE where a run file to resume was made with another config, or is further
 * already; COLONNADE_FAILURE where another training has the file, where the training images are
 * not those of the run to resume, where a file stands in its place that is no run file, and
 * where training fails: the run file then says so and why, and is of the last checkpoint where
 * numbers were no longer finite, else of the last step. It can be resumed. */
COLONNADE_API enum colonnade_status
colonnade_experiment_train(struct colonnade_experiment *experiment,
                           const struct colonnade_training *training,
                           struct colonnade_error *error);

#ifdef __cplusplus
}
#endif

#endif
