/* Training and evaluation: steps over plans. What happens is handed out as records through sinks;
 * the progress bar, the JSON lines and the run file are sinks, and train knows none of them.
 */
#ifndef ENGINE_TRAIN_TRAIN_H
#define ENGINE_TRAIN_TRAIN_H

#include "engine/data/dataset.h"
#include "engine/train/run.h"

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
    /* The run is in a state worth keeping: after checkpoint_every epochs, at an interrupt, at the
     * end (evaluated, status complete). */
    enum colonnade_status (*checkpoint)(void *context, const struct run *run,
                                        struct colonnade_error *error);
};

/* Goes on from run->progress to the end of the settings, evaluates the test split and keeps golden
 * samples. `stop` (NULL: never) holds the number of a signal once one has come: the step under way
 * is finished, the run checkpointed as interrupted, and the status is COLONNADE_INTERRUPTED or
 * COLONNADE_TERMINATED. Loss gone non-finite is a COLONNADE_FAILURE that names epoch and step;
 * then the last checkpoint stands. */
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
enum colonnade_status infer(const struct run *run, int n, const float *input, int threads,
                            float *logits, struct colonnade_error *error);

/* What training a run will take, in bytes: weights, optimizer, plan; not the data. */
enum colonnade_status train_bytes(const struct graph *graph, const struct settings *settings,
                                  int threads, size_t *bytes, struct colonnade_error *error);

/* The number of threads that `requested` (0: all that this process may use) stands for. */
int thread_count(int requested);

/* The learning rate of a step (counted from 0): schedule_types, one row each. */
extern const char *const schedule_names[]; /* NULL-terminated */
double schedule_lr(const struct settings *settings, long step, size_t batches_an_epoch);

#endif
