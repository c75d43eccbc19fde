/* [run] and [train]: how a run is trained. */
#ifndef ENGINE_TRAIN_SETTINGS_H
#define ENGINE_TRAIN_SETTINGS_H

#include "engine/config/config.h"

enum { THREADS_MOST = 4096, BATCH_MOST = 1 << 20 };

struct settings {
    uint64_t seed;
    const char *output; /* settings_read() adds runs/CONFIG-NAME.h5 where the config has none */
    int threads;        /* 0: none is asked for, see thread_count() */

    int epochs;
    uint64_t max_steps; /* 0: none */
    int batch;
    int optimizer; /* index into optimizer_types */
    double lr, momentum, weight_decay, beta1, beta2, eps;
    bool nesterov;
    double clip_norm; /* 0: none */
    int schedule;     /* index into schedule_types */
    double warmup;    /* epochs */
    double step_epochs, gamma;
    double label_smoothing;
    double ema;            /* decay of the weights' average; 0: none is kept */
    int early_stop;        /* epochs without progress that end training; 0: none do */
    struct names freeze;   /* nodes */
    const char *init_from; /* NULL: weights are drawn */
    struct period checkpoint_every;
};

/* Reads both sections. What depends on the optimizer (lr, weight_decay, beta2) and is not given
 * comes from the optimizer's row. The output's default is written into the config, so that the
 * config as run says where the run went. Texts stay valid while the config lives. */
enum colonnade_status settings_read(struct settings *settings, struct config *config,
                                    struct colonnade_error *error);

/* Raises where [train], or [sweep] for it, has a key that the optimizer or the schedule does not
 * read. Where --set has put another one in the place of the file's, the file's keys for that one
 * are no mistake: they are taken away. Where [sweep] has several, keys may be for any
 * of them. */
enum colonnade_status settings_check_choices(struct config *config, struct colonnade_error *error);

/* Of a config that was checked so and whose [sweep] is gone: takes the keys of [train] away that
 * are for other values of a swept optimizer or schedule. */
enum colonnade_status settings_choose(struct config *config, struct colonnade_error *error);

extern const struct key run_keys[], train_keys[];
extern const size_t run_key_count, train_key_count;

/* How many threads `requested` stands for; 0: OMP_NUM_THREADS where it is set, else the cores
 * that this process may run on. */
int thread_count(int requested);

#endif
