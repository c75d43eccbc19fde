/* Optimizer updates against the formulas of torch.optim in double, over 200 steps. */
#include "tests/unit/support.h"

#include <math.h>

#define EACH(index, array) (size_t index = 0; index < sizeof array / sizeof *array; index++)

typedef void step_function(const struct optimizer_settings *, long, size_t, const float *, float *,
                           float *, float *);
/* One parameter's step. a, b: its state. */
typedef void reference_function(const struct optimizer_settings *, long, double g, double *w,
                                double *a, double *b);

static void reference_sgd(const struct optimizer_settings *s, long step, double g, double *w,
                          double *velocity, double *unused)
{
    g += s->weight_decay * *w;
    if (s->momentum != 0.0) {
        *velocity = step == 1 ? g : s->momentum * *velocity + g;
        g = s->nesterov ? g + s->momentum * *velocity : *velocity;
    }
    *w -= s->lr * g;
}

static void moments(const struct optimizer_settings *s, long step, double g, double *w, double *m,
                    double *v)
{
    *m = s->beta1 * *m + (1.0 - s->beta1) * g;
    *v = s->beta2 * *v + (1.0 - s->beta2) * g * g;
    const double m_hat = *m / (1.0 - pow(s->beta1, (double)step));
    const double v_hat = *v / (1.0 - pow(s->beta2, (double)step));
    *w -= s->lr * m_hat / (sqrt(v_hat) + s->eps);
}

static void reference_adam(const struct optimizer_settings *s, long step, double g, double *w,
                           double *m, double *v)
{
    moments(s, step, g + s->weight_decay * *w, w, m, v);
}

static void reference_adamw(const struct optimizer_settings *s, long step, double g, double *w,
                            double *m, double *v)
{
    *w *= 1.0 - s->lr * s->weight_decay;
    moments(s, step, g, w, m, v);
}

static void reference_rmsprop(const struct optimizer_settings *s, long step, double g, double *w,
                              double *square, double *velocity)
{
    g += s->weight_decay * *w;
    *square = s->beta2 * *square + (1.0 - s->beta2) * g * g;
    double update = g / (sqrt(*square) + s->eps);
    if (s->momentum > 0.0)
        update = *velocity = s->momentum * *velocity + update;
    *w -= s->lr * update;
}

enum { STEPS = 200 };

static void check(const char *name, step_function *step_of, reference_function *reference,
                  const struct optimizer_settings *settings, size_t n, bool stateless)
{
    float *g = guarded_floats(n), *w = guarded_floats(n);
    float *a = stateless ? NULL : guarded_floats(n), *b = stateless ? NULL : guarded_floats(n);
    double *want = guarded_doubles(n), *want_a = guarded_doubles(n), *want_b = guarded_doubles(n);
    fill_random(w, n, 1);
    for (size_t i = 0; i < n; i++)
        want[i] = (double)w[i];
    for (long step = 1; step <= STEPS; step++) {
        fill_random(g, n, (uint32_t)step + 1);
        step_of(settings, step, n, g, w, a, b);
        for (size_t i = 0; i < n; i++)
            reference(settings, step, (double)g[i], &want[i], &want_a[i], &want_b[i]);
    }
    /* Each step rounds a weight of some ones, and an update of lr times some tens, to 2^-24. */
    assert_close(name, w, want, n, STEPS * 4.0 * 0x1p-24, 1e-5);
    guarded_free(g);
    guarded_free(w);
    if (!stateless) {
        guarded_free(a);
        guarded_free(b);
    }
    guarded_free(want);
    guarded_free(want_a);
    guarded_free(want_b);
}

static const size_t sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 257};
static const double decays[] = {0.0, 0.01};

Test(optimizer, sgd_with_and_without_momentum_and_nesterov)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(s, sizes)
            for
                EACH(d, decays)
            for (int mode = 0; mode < 3; mode++) {
                const struct optimizer_settings settings = {.lr = 0.02,
                                                            .momentum = mode ? 0.9 : 0.0,
                                                            .weight_decay = decays[d],
                                                            .nesterov = mode == 2};
                check("sgd", tables[t]->sgd_step, reference_sgd, &settings, sizes[s], mode == 0);
            }
}

Test(optimizer, adam_with_decay_in_the_gradient_and_adamw_beside_it)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(s, sizes)
            for
                EACH(d, decays)
                {
                    const struct optimizer_settings settings = {.lr = 0.01,
                                                                .weight_decay = 10.0 * decays[d],
                                                                .beta1 = 0.9,
                                                                .beta2 = 0.999,
                                                                .eps = 1e-3};
                    check("adam", tables[t]->adam_step, reference_adam, &settings, sizes[s], false);
                    check("adamw", tables[t]->adamw_step, reference_adamw, &settings, sizes[s],
                          false);
                }
}

Test(optimizer, rmsprop_with_and_without_momentum)
{
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(s, sizes)
            for
                EACH(d, decays)
            for (int mode = 0; mode < 2; mode++) {
                const struct optimizer_settings settings = {.lr = 0.003,
                                                            .momentum = mode ? 0.9 : 0.0,
                                                            .weight_decay = decays[d],
                                                            .beta2 = 0.99,
                                                            .eps = 1e-2};
                check("rmsprop", tables[t]->rmsprop_step, reference_rmsprop, &settings, sizes[s],
                      false);
            }
}

Test(optimizer, rmsprop_without_momentum_asks_for_no_velocity)
{
    const struct optimizer_settings settings = {.lr = 0.5, .beta2 = 0.75, .eps = 0.0};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++) {
        float w = 1.0f, square = 0.0f;
        const float g = 4.0f;
        tables[t]->rmsprop_step(&settings, 1, 1, &g, &w, &square, NULL);
        cr_expect_eq(square, 4.0f);
        cr_expect_eq(w, 0.0f); /* 1 - 0.5 * 4 / sqrt(4) */
    }
}

Test(optimizer, an_average_moves_by_its_rate_towards_the_values)
{
    enum { N = 37 };
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++) {
        float *values = guarded_floats(N), *average = guarded_floats(N);
        for (int i = 0; i < N; i++) {
            values[i] = (float)(i + 1);
            average[i] = (float)(3 - i);
        }
        tables[t]->average_step(0.25f, N, values, average);
        for (int i = 0; i < N; i++) /* quarters are exact */
            cr_expect_eq(average[i], 0.75f * (float)(3 - i) + 0.25f * (float)(i + 1));
        guarded_free(values);
        guarded_free(average);
    }
}
