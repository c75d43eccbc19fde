/* Runs an optimizer's kernel over all parameters, in slices whose size depends on nothing, so that
 * neither does any bit. Knows nothing of nodes: parameters are one array.
 */
#include "engine/train/optimizer.h"

#include "engine/base/memory.h"
#include "engine/plan/plan.h"

#include <math.h>
#include <stdlib.h>

enum { SLICE = 16384 }; /* floats: weights, gradient and two states of a slice stay in L2 */

#define STEP_OF(name)                                                                              \
    static void run_##name(const struct kernels *kernels,                                          \
                           const struct optimizer_settings *settings, long step, size_t n,         \
                           const float *g, float *w, float *state0, float *state1)                 \
    {                                                                                              \
        kernels->name##_step(settings, step, n, g, w, state0, state1);                             \
    }

STEP_OF(sgd)
STEP_OF(adam)
STEP_OF(adamw)
STEP_OF(rmsprop)

#define KEYS(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static const struct optimizer_type sgd_type = {
    .name = "sgd",
    .help = "gradient descent, with momentum and Nesterov's",
    .keys = KEYS("momentum", "nesterov"),
    .states = {"momentum_buffer"},
    .lr = 0.01,
    .beta2 = 0.999,
    .step = run_sgd,
};

static const struct optimizer_type adam_type = {
    .name = "adam",
    .help = "Kingma & Ba 2015",
    .keys = KEYS("beta1", "beta2", "eps"),
    .states = {"exp_avg", "exp_avg_sq"},
    .lr = 0.001,
    .beta2 = 0.999,
    .step = run_adam,
};

static const struct optimizer_type adamw_type = {
    .name = "adamw",
    .help = "adam with decoupled weight decay (Loshchilov & Hutter 2019)",
    .keys = KEYS("beta1", "beta2", "eps"),
    .states = {"exp_avg", "exp_avg_sq"},
    .lr = 0.001,
    .weight_decay = 0.01,
    .beta2 = 0.999,
    .step = run_adamw,
};

static const struct optimizer_type rmsprop_type = {
    .name = "rmsprop",
    .help = "gradients over the root of their mean square (Hinton's lecture 6)",
    .keys = KEYS("momentum", "beta2", "eps"),
    .states = {"square_avg", "momentum_buffer"},
    .lr = 0.01,
    .beta2 = 0.99,
    .step = run_rmsprop,
};

const struct optimizer_type *const optimizer_types[] = {&sgd_type, &adam_type, &adamw_type,
                                                        &rmsprop_type, NULL};
const char *const optimizer_names[] = {"sgd", "adam", "adamw", "rmsprop", NULL};

static size_t slice_count(size_t count)
{
    return (count + SLICE - 1) / SLICE;
}

enum colonnade_status optimizer_create(struct optimizer **optimizer, int type, size_t count,
                                       struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct optimizer *made = NULL;
    TRY(memory_allocate(&made, 1, sizeof *made, "the optimizer", error));
    made->type = optimizer_types[type];
    made->count = count;
    for (int i = 0; i < OPTIMIZER_STATES && made->type->states[i]; i++)
        TRY(memory_allocate(&made->states[i], count, sizeof(float), "the optimizer's state",
                            error));
    TRY(memory_allocate(&made->partials, slice_count(count), sizeof(double), "the gradient's norm",
                        error));
    *optimizer = made;
    made = NULL;
out:
    optimizer_destroy(made);
    return status;
}

void optimizer_destroy(struct optimizer *optimizer)
{
    if (!optimizer)
        return;
    for (int i = 0; i < OPTIMIZER_STATES; i++)
        free(optimizer->states[i]);
    free(optimizer->partials);
    free(optimizer);
}

size_t optimizer_bytes(int type, size_t count)
{
    size_t bytes = size_align(sizeof(struct optimizer));
    for (int i = 0; i < OPTIMIZER_STATES && optimizer_types[type]->states[i]; i++)
        bytes = size_add(bytes, size_align(size_multiply(count, sizeof(float))));
    return size_add(bytes, size_align(size_multiply(slice_count(count), sizeof(double))));
}

/* One pass over the slices. */
struct pass {
    struct optimizer *optimizer;
    const struct optimizer_settings *settings;
    const struct kernels *kernels;
    long step;
    bool measure, update;
    float scale; /* of the gradients, before the update */
    float *gradients, *parameters;
};

static void run_slice(void *context, int item)
{
    const struct pass *pass = context;
    struct optimizer *optimizer = pass->optimizer;
    size_t first = (size_t)item * SLICE;
    size_t n = optimizer->count - first < SLICE ? optimizer->count - first : SLICE;
    float *g = pass->gradients + first;
    float *states[OPTIMIZER_STATES];
    for (int i = 0; i < OPTIMIZER_STATES; i++)
        states[i] = optimizer->states[i] ? optimizer->states[i] + first : NULL;

    if (pass->measure)
        pass->kernels->sum_squares(n, g, &optimizer->partials[item]);
    if (pass->scale != 1)
        for (size_t i = 0; i < n; i++)
            g[i] *= pass->scale;
    if (pass->update)
        optimizer->type->step(pass->kernels, pass->settings, pass->step, n, g,
                              pass->parameters + first, states[0], states[1]);
}

static double combine_norm(const struct optimizer *optimizer, size_t slices)
{
    double sum = 0;
    for (size_t i = 0; i < slices; i++)
        sum += optimizer->partials[i];
    return sqrt(sum);
}

double optimizer_step(struct optimizer *optimizer, const struct optimizer_settings *settings,
                      double clip_norm, long step, int threads, float *gradients, float *parameters)
{
    int slices = (int)slice_count(optimizer->count);
    bool clips = clip_norm > 0;
    struct pass pass = {
        .optimizer = optimizer,
        .settings = settings,
        .kernels = kernels_best(),
        .step = step,
        .measure = true,
        .update = !clips, /* else the norm comes first */
        .scale = 1,
        .gradients = gradients,
        .parameters = parameters,
    };
    plan_parallel(threads, slices, run_slice, &pass);
    double norm = combine_norm(optimizer, (size_t)slices);
    if (clips) {
        double scale = clip_norm / (norm + 1e-6);
        pass.measure = false;
        pass.update = true;
        pass.scale = scale < 1 ? (float)scale : 1;
        plan_parallel(threads, slices, run_slice, &pass);
    }
    return norm;
}

struct averaging {
    size_t count;
    float rate;
    const float *values;
    float *average;
};

static void average_slice(void *context, int item)
{
    const struct averaging *averaging = context;
    size_t first = (size_t)item * SLICE, left = averaging->count - first;
    kernels_best()->average_step(averaging->rate, left < SLICE ? left : SLICE,
                                 averaging->values + first, averaging->average + first);
}

void average_update(size_t count, double rate, const float *values, float *average, int threads)
{
    struct averaging averaging = {count, (float)rate, values, average};
    plan_parallel(threads, (int)slice_count(count), average_slice, &averaging);
}
