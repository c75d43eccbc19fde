/* Training and evaluation: steps over plans. What happens is handed out as records through sinks;
 * the progress bar, the JSON lines and the run file are sinks, and train knows none of them.
 */
#ifndef ENGINE_TRAIN_TRAIN_H
#define ENGINE_TRAIN_TRAIN_H

#include "engine/data/dataset.h"
#include "engine/train/run.h"
#include "engine/train/schedule.h"

#include <signal.h>

/* Every function may be NULL. `run` is as it stands when the record is made. A status other than
 * COLONNADE_OK ends the training with it. */
struct sink {
    void *context;
    enum colonnade_status (*begin)(void *context, const struct run *run, size_t batches_an_epoch,
                                   struct colonnade_error *error);
    enum colonnade_status (*step)(void *context, const struct run *run,
                                  const struct step_record *record, struct colonnade_error *error);
    enum colonnade_status (*epoch)(void *context, const struct run *run,
                                   const struct epoch_record *record,
                                   struct colonnade_error *error);
    /* The run is in a state worth keeping: after checkpoint_every, at an interrupt, at the
     * end (evaluated, status complete). */
    enum colonnade_status (*checkpoint)(void *context, const struct run *run,
                                        struct colonnade_error *error);
    /* Training ended with an error, and `reason` is its message; the run's status is failed.
     * `sound`: the run is in a state worth keeping; else its last checkpoint is all there is. */
    void (*fail)(void *context, const struct run *run, bool sound, const char *reason);
};

/* Goes on from run->progress to the end of the settings, evaluates the test split and keeps golden
 * samples. The end is `epochs` or max_steps, whichever comes first; where max_steps ends an epoch
 * early its record is made of what ran, and a run that goes on from there replaces it. The same
 * bits come out whether or not a run was interrupted on the way.
 *
 * `stop` (NULL: never) holds the number of a signal once one has come: the step under way is
 * finished, the run checkpointed as interrupted, and the status is COLONNADE_INTERRUPTED or
 * COLONNADE_TERMINATED. Any other end is a failure: the run's status is then failed, with its
 * reason, and sinks are told. A loss or gradient gone non-finite is a COLONNADE_FAILURE that names
 * epoch and step, one of a validation or a test names the split; the weights are of no use then.
 * After all other failures, of a sink or of a file that can no longer be read, the run can go on
 * from where it stands. What fails before the first record leaves
 * the run file as it was. */
enum colonnade_status train(struct run *run, const struct dataset *data, int threads,
                            const struct sink *const *sinks, size_t sink_count,
                            const volatile sig_atomic_t *stop, struct colonnade_error *error);

/* Scores one part of the data with the run's weights. `evaluation` is to be finished by the
 * caller. */
enum colonnade_status evaluate(const struct run *run, const struct dataset *data, enum part part,
                               int threads, struct evaluation *evaluation,
                               struct colonnade_error *error);

/* Logits [n, classes] for n images as the network gets them, [n, c, h, w] normalised floats. The
 * same bits for the same n on one machine, whatever the number of threads. */
enum colonnade_status infer(const struct run *run, size_t n, const float *input, int threads,
                            float *logits, struct colonnade_error *error);

/* Bytes [n, h, w, c] to what the network gets, values [n, c, h, w]: (byte / 255 - mean) / std. */
enum colonnade_status normalize(const struct data_facts *facts, size_t n, const uint8_t *images,
                                float *values, struct colonnade_error *error);

/* Probabilities [n, classes] for n images of bytes [n, h, w, c]; COLONNADE_FAILURE where
 * they are not finite. */
enum colonnade_status predict(const struct run *run, size_t n, const uint8_t *images, int threads,
                              float *probabilities, struct colonnade_error *error);

/* What training a run will take, in bytes: weights, optimizer, plans; not the data. */
enum colonnade_status train_bytes(const struct graph *graph, const struct settings *settings,
                                  int threads, size_t *bytes, struct colonnade_error *error);

#endif
