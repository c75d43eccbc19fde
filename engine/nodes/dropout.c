/* dropout: zeroes each value with probability `rate` in training and scales the rest by
 * 1 / (1 - rate). The mask is drawn by (seed, node, step, sample), so backward draws it again
 * instead of keeping it. */
#include "engine/base/random.h"
#include "engine/data/dataset.h"
#include "engine/nodes/keys.h"

#include <string.h>

struct dropout {
    double rate;
};

static const struct key keys[] = {
    {"rate", KEY_NUMBER, offsetof(struct dropout, rate), "0.5", .minimum = 0, .maximum = 0.999,
     .help = "share of values set to zero in training"},
};

static void plan(const struct node *node, struct node_plan *plan)
{
    plan->forward_in_place = true;
    plan->backward_in_place = true;
}

static void mask(const struct node *node, const struct tile *tile, bool accumulate, const float *x,
                 float *y)
{
    const struct dropout *dropout = node->settings;
    size_t size = shape_size(node->in);
    uint32_t key[2] = {(uint32_t)tile->seed, (uint32_t)(tile->seed >> 32)};
    uint32_t purpose = random_purpose(RANDOM_DROPOUT, node->name);
    for (int i = 0; i < tile->n; i++) {
        uint32_t sample = tile->batch->samples ? tile->batch->samples[tile->first + i]
                                               : (uint32_t)(tile->first + i);
        uint32_t counter[3] = {sample, tile->step, purpose};
        tile->kernels->dropout(size, dropout->rate, key, counter, accumulate, x + (size_t)i * size,
                               y + (size_t)i * size);
    }
}

static void forward(const struct node *node, const struct tile *tile)
{
    if (tile->training)
        mask(node, tile, false, tile->x[0], tile->y);
    else if (tile->y != tile->x[0])
        memcpy(tile->y, tile->x[0], (size_t)tile->n * shape_size(node->in) * sizeof *tile->y);
}

static void backward(const struct node *node, const struct tile *tile)
{
    if (tile->dx[0])
        mask(node, tile, tile->accumulate[0], tile->dy, tile->dx[0]);
}

static const struct node_example examples[] = {
    {{6, 5, 3}, "rate = 0.4", 1}, {{19, 1, 1}, "rate = 0.25", 1},
    {{9, 6, 7}, "", 1}, /* more values than are drawn at a time */
    {{5, 2, 2}, "rate = 0", 1},   {{0}, NULL, 0},
};

const struct node_type node_dropout = {
    .name = "dropout",
    .help = "zeroes values at random in training",
    .keys = keys,
    .key_count = COUNT_OF(keys),
    .settings_size = sizeof(struct dropout),
    .inputs_least = 1,
    .inputs_most = 1,
    .examples = examples,
    .build = node_build_alike,
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
