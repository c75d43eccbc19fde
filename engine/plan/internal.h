/* What the files of the plan share. schedule.c fills steps and stages, memory.c places buffers and
 * binds steps to them, run.c runs, profile.c says what that took. */
#ifndef ENGINE_PLAN_INTERNAL_H
#define ENGINE_PLAN_INTERNAL_H

#include "engine/plan/plan.h"

enum phase { PHASE_FORWARD_REDUCE, PHASE_FORWARD, PHASE_BACKWARD_REDUCE, PHASE_BACKWARD };

/* Where a step finds an array: in the mini-batch's memory or in its thread's, how far each image
 * is from the last. `present` false: NULL. */
struct place {
    bool present, private;
    size_t offset, bytes_per_image;
};

struct step {
    int node;
    enum phase phase;
    int stage;
    struct place x[NODE_INPUTS], dx[NODE_INPUTS]; /* the first input_count of them */
    bool accumulate[NODE_INPUTS];
    struct place y, dy, saved, state;
    size_t partial_offset, partial_doubles; /* reduce phases: in the mini-batch's memory */
    size_t accumulator_offset;              /* floats, within a unit's accumulators */
};

/* A piece of work that needs a stage's tiles done, and runs beside the next stage's: a tile of a
 * node's weight gradient, or the sum of the accumulators of some parameters. */
struct item {
    int step;               /* >= 0: weight tile `index` of that step's node */
    int index;              /* folding: the step whose accumulators these are */
    size_t from, to, count; /* else: accumulator floats from `from` fold into gradients at `to` */
};

struct stage {
    int first, end;            /* steps */
    int images;                /* a tile */
    int units_most;            /* with accumulators: units at the most; else 0 */
    size_t accumulator_floats; /* a unit's */
    size_t accumulator_offset; /* of the first unit's, in the mini-batch's memory */
    int first_item, end_item;
};

struct plan {
    const struct graph *graph;
    enum plan_mode mode;
    int batch, threads;
    const struct kernels *kernels;
    struct node *loss;         /* a node of the plan's own, in training; else NULL */
    const struct node **nodes; /* [count]: the graph's, then the loss */
    struct node_plan *wants;   /* [count] */
    int count;
    struct step *steps;
    int step_count;
    struct stage *stages;
    int stage_count;
    struct item *items;
    int item_count;
    int *prepared; /* steps whose nodes prepare before the first stage */
    int prepared_count;
    size_t batch_bytes;    /* activations, gradients, accumulators: shared by all threads */
    size_t private_bytes;  /* a thread's */
    size_t scratch_offset; /* in a thread's */
    unsigned char *shared, *private;
    bool guest; /* both belong to another plan */
    struct place logits;
    double *loss_values;
    int32_t *ranks;
    size_t *tile_images; /* of the stage that runs: images of each tile */
    bool profiling;
    struct kernels timed;    /* then `kernels` is this one */
    struct node_time *times; /* [threads][count] */
};

static inline int tiles_of(const struct stage *stage, int n)
{
    return (n + stage->images - 1) / stage->images;
}

static inline int units_of(const struct stage *stage, int n)
{
    int tiles = tiles_of(stage, n);
    return stage->units_most > 0 && stage->units_most < tiles ? stage->units_most : tiles;
}

static inline bool is_backward(enum phase phase)
{
    return phase >= PHASE_BACKWARD_REDUCE;
}

/* Whether a step leaves parameter gradients in its unit's accumulators. */
static inline bool accumulates(const struct plan *plan, const struct step *step)
{
    return step->phase == PHASE_BACKWARD && plan->wants[step->node].accumulates &&
           plan->nodes[step->node]->parameter_count > 0;
}

/* profile.c, around all that a profiled plan does for a node: the clock at the beginning. */
double profile_begin(void);
void profile_end(struct plan *plan, const struct step *step, int thread, double start);

enum colonnade_status plan_schedule(struct plan *plan, struct colonnade_error *error);
enum colonnade_status plan_place(struct plan *plan, struct colonnade_error *error);

#endif
