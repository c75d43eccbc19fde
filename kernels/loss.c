/* Softmax cross-entropy. It knows nothing of batches: each row is a sample on its own. */
#include "kernels.h"

#include "exponential.h"

#include <math.h>

/* Classes above the label's. A logit that is not a number is above every other, so that a
 * sample of such logits is no hit. */
static int32_t rank_of(size_t classes, const float *logits, size_t label)
{
    const float own = logits[label];
    int32_t before = 0, after = 0;
#pragma omp simd reduction(+ : before)
    for (size_t i = 0; i < label; i++)
        before += !(logits[i] < own);
#pragma omp simd reduction(+ : after)
    for (size_t i = label + 1; i < classes; i++)
        after += !(logits[i] <= own);
    return before + after;
}

static float largest_of(size_t classes, const float *logits)
{
    float largest = logits[0];
    for (size_t i = 1; i < classes; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    return largest;
}

/* Sum of e^(logit - largest). */
static double sum_exponentials(size_t classes, const float *logits, float largest)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < classes; i++)
        sum += (double)exponential(logits[i] - largest);
    return sum;
}

static double sum_below(size_t classes, const float *logits, float largest)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < classes; i++)
        sum += (double)logits[i] - (double)largest;
    return sum;
}

/* What a sample's classes should have: `weights` of two labels, and `rest` each. */
struct target {
    size_t labels[2];
    double weights[2], rest;
};

static struct target target_of(size_t i, size_t classes, const int32_t *labels,
                               const int32_t *labels2, const float *mix, float smoothing)
{
    const double first = labels2 ? (double)mix[i] : 1.0, sharp = 1.0 - (double)smoothing;
    return (struct target){
        .labels = {(size_t)labels[i], (size_t)(labels2 ? labels2[i] : labels[i])},
        .weights = {sharp * first, sharp * (1.0 - first)},
        .rest = (double)smoothing / (double)classes,
    };
}

/* Sum of target * (log sum of e^logit - logit), where nothing counts that has no weight. */
static double cross_entropy(size_t classes, const float *logits, float largest, double sum,
                            const struct target *target)
{
    double loss = log(sum);
    for (int i = 0; i < 2; i++)
        if (target->weights[i] != 0.0)
            loss -= target->weights[i] * ((double)logits[target->labels[i]] - (double)largest);
    if (target->rest != 0.0)
        loss -= target->rest * sum_below(classes, logits, largest);
    return loss;
}

/* scale * (softmax - target); dlogits may be logits. */
static void gradient(size_t classes, const float *logits, float largest, double sum,
                     const struct target *target, double scale, float *dlogits)
{
    const float factor = (float)(scale / sum), rest = (float)(scale * target->rest);
#pragma omp simd
    for (size_t i = 0; i < classes; i++)
        dlogits[i] = exponential(logits[i] - largest) * factor - rest;
    for (int i = 0; i < 2; i++)
        dlogits[target->labels[i]] -= (float)(scale * target->weights[i]);
}

void KERNEL(softmax_cross_entropy)(int n, int classes, const float *logits, const int32_t *labels,
                                   const int32_t *labels2, const float *mix, float smoothing,
                                   float scale, double *loss, int32_t *rank, float *dlogits)
{
    const size_t width = (size_t)classes;
    for (size_t i = 0; i < (size_t)n; i++) {
        const float *row = logits + i * width;
        const struct target target = target_of(i, width, labels, labels2, mix, smoothing);
        const float largest = largest_of(width, row);
        const double sum = sum_exponentials(width, row, largest);
        loss[i] = cross_entropy(width, row, largest, sum, &target);
        rank[i] = rank_of(width, row, target.labels[0]);
        if (dlogits)
            gradient(width, row, largest, sum, &target, (double)scale, dlogits + i * width);
    }
}
