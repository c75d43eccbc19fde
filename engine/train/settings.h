/* [run] and [train]: how a run is trained. */
#ifndef ENGINE_TRAIN_SETTINGS_H
#define ENGINE_TRAIN_SETTINGS_H

#include "engine/config/config.h"

struct settings {
    uint64_t seed;
    const char *output; /* "" until settings_read() gives runs/CONFIG-NAME.h5 */
    int threads;        /* 0: all cores */

    int epochs;
    uint64_t max_steps; /* 0: none */
    int batch;
    int optimizer; /* index into optimizer_types */
    double lr, momentum, weight_decay, beta1, beta2, eps;
    bool nesterov;
    int schedule; /* index into schedule_types */
    double warmup; /* epochs */
    double step_epochs, gamma;
    double label_smoothing;
    int checkpoint_every; /* epochs */
};

/* Reads both sections. Texts stay valid while the config lives. */
enum colonnade_status settings_read(struct settings *settings, struct config *config,
                                    struct colonnade_error *error);

extern const struct key run_keys[], train_keys[];
extern const size_t run_key_count, train_key_count;

#endif
