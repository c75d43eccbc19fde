/* Softmax cross-entropy against its formula in double. */
#include "tests/unit/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EACH(index, array) (size_t index = 0; index < sizeof array / sizeof *array; index++)

enum { SAMPLES = 5 };

struct problem {
    int classes;
    float logits[SAMPLES * 1000];
    int32_t labels[SAMPLES], labels2[SAMPLES];
    float mix[SAMPLES];
};

static struct problem *problem_of(int classes, float scale)
{
    struct problem *p = calloc(1, sizeof *p);
    cr_assert_not_null(p);
    p->classes = classes;
    fill_random(p->logits, (size_t)(SAMPLES * classes), 1);
    for (int i = 0; i < SAMPLES * classes; i++)
        p->logits[i] *= scale;
    for (int i = 0; i < SAMPLES; i++) {
        p->labels[i] = i * 7 % classes;
        p->labels2[i] = i * 3 % classes; /* the first sample's is its label */
        p->mix[i] = (float)i / (SAMPLES - 1);
    }
    return p;
}

/* The loss of sample i, and its gradient by the logits. */
static double reference(const struct problem *p, int i, bool mixed, double smoothing, double *dx)
{
    const float *x = p->logits + i * p->classes;
    double largest = -INFINITY, sum = 0.0, loss = 0.0;
    for (int c = 0; c < p->classes; c++)
        largest = fmax(largest, (double)x[c]);
    for (int c = 0; c < p->classes; c++)
        sum += exp((double)x[c] - largest);
    for (int c = 0; c < p->classes; c++) {
        const double mix = mixed ? (double)p->mix[i] : 1.0;
        double target = smoothing / p->classes;
        target += (1.0 - smoothing) * mix * (c == p->labels[i]);
        target += (1.0 - smoothing) * (1.0 - mix) * (c == p->labels2[i]);
        loss += target * (log(sum) + largest - (double)x[c]);
        dx[c] = exp((double)x[c] - largest) / sum - target;
    }
    return loss;
}

static void check(const struct kernels *k, int classes, float logit_scale, bool mixed,
                  float smoothing, bool in_place)
{
    struct problem *p = problem_of(classes, logit_scale);
    const size_t total = (size_t)(SAMPLES * classes);
    float *logits = guarded_floats(total), *other = guarded_floats(total);
    double *want = guarded_doubles(total), *loss = guarded_doubles(SAMPLES);
    const float scale = 0.25f;
    int32_t rank[SAMPLES];
    memcpy(logits, p->logits, total * sizeof *logits);
    memset(other, 0xff, total * sizeof *other);
    k->softmax_cross_entropy(SAMPLES, classes, logits, p->labels, mixed ? p->labels2 : NULL,
                             mixed ? p->mix : NULL, smoothing, scale, loss, rank,
                             in_place ? logits : other);
    for (int i = 0; i < SAMPLES; i++) {
        double *dx = want + i * classes;
        const double expected = reference(p, i, mixed, (double)smoothing, dx);
        for (int c = 0; c < classes; c++)
            dx[c] *= (double)scale;
        /* Differences of logits are rounded to float before the power, and relative errors of
         * powers become absolute ones of their logarithm. */
        const double tolerance = 3e-7 + (double)logit_scale * 0x1p-24;
        cr_assert(fabs(loss[i] - expected) <= tolerance + 1e-12 * expected,
                  "%d classes, sample %d: loss %.12g instead of %.12g", classes, i, loss[i],
                  expected);
    }
    assert_close("dlogits", in_place ? logits : other, want, total,
                 (double)scale * (2e-7 + (double)logit_scale * 0x1p-24), 1e-6);
    guarded_free(logits);
    guarded_free(other);
    guarded_free(want);
    guarded_free(loss);
    free(p);
}

Test(loss, is_cross_entropy_with_smoothing_and_two_labels)
{
    static const int classes[] = {1, 2, 3, 10, 15, 16, 17, 100, 1000};
    static const float smoothings[] = {0.0f, 0.1f, 1.0f};
    static const float scales[] = {1.0f, 20.0f};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for
            EACH(c, classes)
            for
                EACH(s, smoothings)
                for
                    EACH(l, scales)
                for (int mode = 0; mode < 4; mode++)
                    check(tables[t], classes[c], scales[l], mode & 1, smoothings[s], mode & 2);
}

Test(loss, stays_finite_and_exact_for_huge_logits)
{
    static const float logits[] = {1e4f, -1e4f, 0.0f};
    static const int32_t label = 1;
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++) {
        double loss;
        int32_t rank;
        float dlogits[3];
        tables[t]->softmax_cross_entropy(1, 3, logits, &label, NULL, NULL, 0.0f, 1.0f, &loss, &rank,
                                         dlogits);
        cr_expect_eq(loss, 2e4);
        cr_expect_eq(rank, 2);
        cr_expect(dlogits[0] == 1.0f && dlogits[1] == -1.0f && dlogits[2] == 0.0f);
    }
}

/* A loss of 1e-6 is what float sums cannot hold: 1 + e^-14 is a float's last digits. */
Test(loss, keeps_small_losses)
{
    static const float logits[] = {0.0f, -14.0f};
    static const int32_t label = 0;
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++) {
        double loss;
        int32_t rank;
        tables[t]->softmax_cross_entropy(1, 2, logits, &label, NULL, NULL, 0.0f, 1.0f, &loss, &rank,
                                         NULL);
        cr_expect(fabs(loss - log1p(exp(-14.0))) < 1e-6 * loss, "%.9g", loss);
        cr_expect_eq(rank, 0);
    }
}

Test(loss, ranks_ties_to_the_lower_index_whether_or_not_a_gradient_is_wanted)
{
    static const float logits[] = {2.0f, 3.0f, 3.0f, 3.0f, 1.0f};
    static const int32_t ranks[] = {3, 0, 1, 2, 4};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for (int32_t label = 0; label < 5; label++)
            for (int wanted = 0; wanted < 2; wanted++) {
                double loss;
                int32_t rank = -1;
                float dlogits[5];
                tables[t]->softmax_cross_entropy(1, 5, logits, &label, NULL, NULL, 0.0f, 1.0f,
                                                 &loss, &rank, wanted ? dlogits : NULL);
                cr_expect_eq(rank, ranks[label]);
            }
}

Test(loss, counts_no_sample_of_nan_as_a_hit)
{
    static const float logits[] = {NAN, NAN, NAN};
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++)
        for (int32_t label = 0; label < 3; label++) {
            double loss;
            int32_t rank = 0;
            tables[t]->softmax_cross_entropy(1, 3, logits, &label, NULL, NULL, 0.0f, 1.0f, &loss,
                                             &rank, NULL);
            cr_expect_gt(rank, 0);
            cr_expect(isnan(loss));
        }
}

Test(loss, lets_a_class_without_weight_be_impossible)
{
    static const float logits[] = {1.0f, -INFINITY};
    static const int32_t label = 0, label2 = 1;
    static const float mix = 1.0f;
    const struct kernels *tables[3];
    for (size_t t = 0, count = all_kernels(tables); t < count; t++) {
        double loss;
        int32_t rank;
        float dlogits[2];
        tables[t]->softmax_cross_entropy(1, 2, logits, &label, &label2, &mix, 0.0f, 1.0f, &loss,
                                         &rank, dlogits);
        cr_expect_eq(loss, 0.0);
        cr_expect(dlogits[0] == 0.0f && dlogits[1] == 0.0f);
    }
}
