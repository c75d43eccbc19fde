/* What the program and the library's interface both begin with: a config and its data become a
 * run, new or out of a file.
 */
#ifndef ENGINE_EXPERIMENT_H
#define ENGINE_EXPERIMENT_H

#include "engine/data/dataset.h"
#include "engine/store/store.h"
#include "engine/train/train.h"

/* What a run keeps of `data`; points into it. */
struct data_facts experiment_facts(const struct dataset *data);

/* A new run of `config` on `data`, with the weights that [train] init_from names. Takes over
 * `config`, also on error; the caller finishes `taken`, likewise. */
enum colonnade_status experiment_begin(struct run **run, struct config *config,
                                       const struct dataset *data, struct weights_taken *taken,
                                       struct colonnade_error *error);

/* Raises where a run cannot work on `data`. */
enum colonnade_status experiment_check_data(const struct run *run, const struct dataset *data,
                                            struct colonnade_error *error);

/* Keeps in a new run what its training images are known by. Raises where a run that has this from
 * its file, at `path`, would go on with others; one without, of an older program, takes it. */
enum colonnade_status experiment_know_data(struct run *run, const struct dataset *data,
                                           const char *path, struct colonnade_error *error);

/* keeper.c: a training kept in its run file. */
struct keeper {
    char *path;     /* of the run file */
    bool own;       /* the file there is this run's: gone on from, or written */
    int epoch;      /* epochs done, */
    long step;      /* and steps, in that file */
    double seconds; /* that all saving took */
    /* The run that stands there and will be replaced: a step or more, or none. */
    enum run_status other_status;
    int other_epochs;
    long other_steps;
    /* Told of a save that failed while training goes on, which the next checkpoint tries again, and
     * of a failure that could not be written down. NULL: a save that fails ends the training. */
    void (*tell)(void *context, const char *message);
    void *context;
    bool begun; /* there may be metrics beside the file */
    struct file_lock lock;
    double next_live; /* seconds of the clock when they are written next */
};

/* Looks whether a run can be kept at `path`, long before there is one to put there, and keeps
 * others from training into that file until the keeper is closed. A run that another trains there,
 * and a file that is no run file, are a COLONNADE_FAILURE; with `resume` a file is own, and looked
 * at when it is loaded. The caller fills in `tell` and closes the keeper, also on error. */
enum colonnade_status keeper_open(struct keeper *keeper, const char *path, bool resume,
                                  struct colonnade_error *error);
void keeper_close(struct keeper *keeper);

/* For train(); the keeper stays the caller's. Another run in the file is replaced at the first
 * checkpoint that comes due; where the training ends before that, and the other is further and has
 * whole epochs, it stays as PATH.replaced. At an end that is a failure a run that is in a sound
 * state is saved as failed, and of one that is not the file's last state is marked so. */
struct sink keeper_sink(struct keeper *keeper);

/* A key of a config, by name; a list of them ends with NULL. */
struct key_name {
    const char *section, *key;
};

/* Raises where what was begun as `before`, and is in the file at `path`, cannot go on as `now`,
 * with the keys that differ; those `ignored` may. */
enum colonnade_status resume_check(const struct config *before, const struct config *now,
                                   const char *path, const struct key_name *ignored,
                                   struct colonnade_error *error);

/* A run out of its file, to go on with under the settings of `config`. Only keys that change
 * nothing of what was trained so far may differ from those that the file holds, and epochs and
 * max_steps may not be below what is done. `epochs_before`: where the schedule goes by the epochs
 * and these have changed, what they were; else 0. */
enum colonnade_status resume_load(struct run **run, const char *path, const struct config *config,
                                  int *epochs_before, struct colonnade_error *error);

#endif
