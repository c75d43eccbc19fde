/* Learning rate schedules: a row each in schedule_types[].
 *
 * The rate of step s (from 0), with B steps an epoch, T = epochs * B, W = warmup * B rounded:
 *
 *   lr * ramp(s) * shape(s)    ramp = (s + 1) / W for s < W, else 1
 *
 * max_steps only cuts a run short, so that going on without it gives what would have been. Shapes,
 * with t = max(s - W, 0) and N = T - W:
 *
 *   constant  1
 *   step      gamma ^ floor(s / (step_epochs * B)): torch StepLR, called once an epoch. It counts
 *             epochs from the beginning of the run, the warmup's among them
 *   cosine    (1 + cos(pi t / N)) / 2: torch CosineAnnealingLR(T_max=N), called every step
 *   linear    1 - t / N: torch LinearLR(start_factor=1, end_factor=0, total_iters=N), every step
 *   onecycle  torch OneCycleLR(max_lr=lr, total_steps=N, cycle_momentum=False) with its defaults:
 *             from 1/25 up to 1 over the first 3/10 of N, then down to 1/250000, both by cosine
 */
#ifndef ENGINE_TRAIN_SCHEDULE_H
#define ENGINE_TRAIN_SCHEDULE_H

#include "engine/train/settings.h"

/* Where a step stands. Steps are doubles: they are only ever put in proportion. */
struct schedule_position {
    double step;      /* s */
    double an_epoch;  /* B */
    double after;     /* t */
    double remaining; /* N, at least 1 */
};

struct schedule_type {
    const char *name, *help;
    const char *const *keys; /* of [train], those that not all schedules read; NULL-terminated */
    double (*shape)(const struct settings *settings, const struct schedule_position *position);
};

extern const struct schedule_type *const schedule_types[];
extern const char *const schedule_names[]; /* NULL-terminated, same order */

/* The learning rate of a step, counted from 0. */
double schedule_lr(const struct settings *settings, long step, size_t batches_an_epoch);

#endif
