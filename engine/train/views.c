/* Test-time augmentation: the weighted mean of class probabilities over views of each image. */
#include "engine/train/views.h"

#include "engine/base/memory.h"

#include <math.h>
#include <string.h>

/* --- the views --- */

/* The image itself weighs as much as the two that are moved, each of them half as much. */
static const struct shift {
    int pixels; /* down and to the right */
    double weight;
} shifts[] = {{0, 0.5}, {1, 0.25}, {-1, 0.25}};

/* --- their mean --- */

/* log(exp(a) + exp(b)), where a may be -infinity; NaN where either is. */
static double log_add(double a, double b)
{
    const double most = a > b ? a : b, least = a > b ? b : a;
    return most + log1p(exp(least - most));
}

/* Adds `weight` times the softmax of logits [n, classes] to what the logarithms sum [n, classes]
 * stand for; the first of all views begins them. */
static void add_view(int n, int classes, const float *logits, double weight, bool first, float *sum)
{
    for (int i = 0; i < n; i++, logits += classes, sum += classes) {
        double total = -INFINITY;
        for (int j = 0; j < classes; j++)
            total = log_add(total, (double)logits[j]);
        for (int j = 0; j < classes; j++) {
            const double value = (double)logits[j] - total + log(weight);
            sum[j] = (float)(first ? value : log_add((double)sum[j], value));
        }
    }
}

void views_run(struct plan *plan, const struct model *model, const struct batch *batch,
               uint64_t seed, enum tta tta, float *logits)
{
    const struct plan_options options = {.seed = seed};
    const int classes = model->graph->classes;
    const bool mirrored = tta == TTA_FLIP || tta == TTA_FLIP_SHIFT;
    const bool shifted = tta == TTA_SHIFT || tta == TTA_FLIP_SHIFT;
    struct batch shown = *batch;
    if (tta == TTA_NONE) {
        plan_run(plan, model, batch, &options, NULL);
        memcpy(logits, plan_logits(plan), (size_t)batch->n * (size_t)classes * sizeof *logits);
        return;
    }
    for (size_t i = 0; i < (shifted ? COUNT_OF(shifts) : 1); i++)
        for (int flip = 0; flip <= mirrored; flip++) {
            const double weight = (shifted ? shifts[i].weight : 1) / (mirrored ? 2 : 1);
            shown.view = (struct image_view){-shifts[i].pixels, -shifts[i].pixels, flip};
            plan_run(plan, model, &shown, &options, NULL);
            add_view(batch->n, classes, plan_logits(plan), weight, i == 0 && flip == 0, logits);
        }
}
