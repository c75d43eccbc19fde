/* The learning rate of each step, as a function of the settings and the step's number: nothing is
 * kept from one step to the next, so a resumed run needs no state here.
 */
#include "engine/train/schedule.h"

#include <math.h>

static double constant_shape(const struct settings *settings,
                             const struct schedule_position *position)
{
    return 1;
}

static double step_shape(const struct settings *settings, const struct schedule_position *position)
{
    return pow(settings->gamma,
               floor(position->step / (settings->step_epochs * position->an_epoch)));
}

/* From `from` to `to` while `part` goes from 0 to 1. */
static double anneal(double from, double to, double part)
{
    return to + (from - to) / 2 * (1 + cos(M_PI * part));
}

static double cosine_shape(const struct settings *settings,
                           const struct schedule_position *position)
{
    return anneal(1, 0, position->after / position->remaining);
}

static double linear_shape(const struct settings *settings,
                           const struct schedule_position *position)
{
    return 1 - position->after / position->remaining;
}

static double onecycle_shape(const struct settings *settings,
                             const struct schedule_position *position)
{
    const double first = 1 / 25.0, last = first / 1e4;
    double t = position->after;
    double peak = 0.3 * position->remaining - 1, end = position->remaining - 1;
    return t <= peak ? anneal(first, 1, t / peak) : anneal(1, last, (t - peak) / (end - peak));
}

static const char *const no_keys[] = {NULL}, *const step_keys[] = {"step_epochs", "gamma", NULL};

static const struct schedule_type constant_type = {"constant", "lr throughout", no_keys,
                                                   constant_shape};
static const struct schedule_type step_type = {
    "step", "lr times gamma after every step_epochs epochs", step_keys, step_shape};
static const struct schedule_type cosine_type = {
    "cosine", "half a cosine from lr to 0, step by step", no_keys, cosine_shape};
static const struct schedule_type linear_type = {"linear", "a line from lr to 0, step by step",
                                                 no_keys, linear_shape};
static const struct schedule_type onecycle_type = {
    "onecycle", "from lr / 25 up to lr in 3/10 of the steps, then down to lr / 250000", no_keys,
    onecycle_shape};

/* name, and a row of its own for each: the names also stand alone, for the config's table. */
const struct schedule_type *const schedule_types[] = {&constant_type, &step_type,   &cosine_type,
                                                      &onecycle_type, &linear_type, NULL};
const char *const schedule_names[] = {"constant", "step", "cosine", "onecycle", "linear", NULL};

double schedule_lr(const struct settings *settings, long step, size_t batches_an_epoch)
{
    double an_epoch = (double)batches_an_epoch;
    double total = settings->epochs * an_epoch;
    double warmup = round(settings->warmup * an_epoch);
    double s = (double)step;
    double ramp = s < warmup ? (s + 1) / warmup : 1;
    struct schedule_position position = {
        .step = s,
        .an_epoch = an_epoch,
        .after = fmax(s - warmup, 0),
        .remaining = fmax(total - warmup, 1),
    };
    return settings->lr * ramp * schedule_types[settings->schedule]->shape(settings, &position);
}
