/* Running a plan: the one place where threads start. A unit of a stage goes to whichever thread is
 * free; what it computes depends on the unit alone. */
#include "engine/plan/internal.h"
#include "engine/plan/subnormal.h"

#include <omp.h>

/* One run of a plan. */
struct run_context {
    struct plan *plan;
    const struct model *model;
    const struct batch *batch;
    const struct plan_options *options;
    float *gradients;
};

static void *resolve(const struct plan *plan, const struct place *place, int thread, int first)
{
    if (!place->present)
        return NULL;
    if (place->private)
        return plan->private + (size_t)thread * plan->private_bytes + place->offset;
    return plan->shared + place->offset + (size_t)first * place->bytes_per_image;
}

static void bind(const struct run_context *run, const struct step *step, int thread, int first,
                 int n, struct tile *tile)
{
    const struct plan *plan = run->plan;
    const struct node *node = plan->nodes[step->node];
    tile->kernels = plan->kernels;
    tile->first = first;
    tile->n = n;
    tile->training = plan->mode == PLAN_TRAINING;
    for (int i = 0; i < node->input_count; i++) {
        tile->x[i] = resolve(plan, &step->x[i], thread, first);
        tile->dx[i] = resolve(plan, &step->dx[i], thread, first);
        tile->accumulate[i] = step->accumulate[i];
    }
    tile->y = resolve(plan, &step->y, thread, first);
    tile->dy = resolve(plan, &step->dy, thread, first);
    tile->saved = resolve(plan, &step->saved, thread, first);
    tile->state = resolve(plan, &step->state, thread, 0);
    tile->parameters = run->model->parameters;
    tile->buffers = run->model->buffers;
    tile->gradients = run->gradients;
    tile->accumulate_gradients = false;
    tile->partial = NULL;
    tile->scratch = (float *)(void *)(plan->private + (size_t)thread * plan->private_bytes +
                                      plan->scratch_offset);
    tile->batch = run->batch;
    tile->seed = run->options->seed;
    tile->step = run->options->step;
    tile->label_smoothing = (float)run->options->label_smoothing;
    tile->loss = plan->loss_values + first;
    tile->rank = plan->ranks + first;
}

static void run_phase(const struct node *node, enum phase phase, const struct tile *tile)
{
    switch (phase) {
    case PHASE_FORWARD_REDUCE:
        node->type->forward_reduce(node, tile);
        break;
    case PHASE_FORWARD:
        node->type->forward(node, tile);
        break;
    case PHASE_BACKWARD_REDUCE:
        node->type->backward_reduce(node, tile);
        break;
    case PHASE_BACKWARD:
        node->type->backward(node, tile);
        break;
    }
}

/* A gradient pointer such that adding a parameter's offset leads into a unit's accumulators. */
static float *accumulator(const struct plan *plan, const struct stage *stage,
                          const struct step *step, int unit)
{
    const struct node *node = plan->nodes[step->node];
    float *base = (float *)(void *)(plan->shared + stage->accumulator_offset);
    return base + (size_t)unit * stage->accumulator_floats + step->accumulator_offset -
           node->parameters[0].offset;
}

static void run_tile(const struct run_context *run, const struct stage *stage, int unit, int index,
                     bool first_of_unit)
{
    struct plan *plan = run->plan;
    int thread = omp_get_thread_num();
    int first = index * stage->images;
    int n = run->batch->n - first < stage->images ? run->batch->n - first : stage->images;
    for (int i = stage->first; i < stage->end; i++) {
        const struct step *step = &plan->steps[i];
        struct tile tile;
        bind(run, step, thread, first, n, &tile);
        if (step->partial_doubles > 0)
            tile.partial = (double *)(void *)(plan->shared + step->partial_offset) +
                           (size_t)index * step->partial_doubles;
        if (accumulates(plan, step)) {
            tile.gradients = accumulator(plan, stage, step, unit);
            tile.accumulate_gradients = !first_of_unit;
        }
        double start = plan->profiling ? profile_begin() : 0;
        run_phase(plan->nodes[step->node], step->phase, &tile);
        if (plan->profiling)
            profile_end(plan, step, thread, start);
    }
}

static void run_unit(const struct run_context *run, const struct stage *stage, int unit)
{
    unsigned before = subnormals_off();
    int tiles = tiles_of(stage, run->batch->n), units = units_of(stage, run->batch->n);
    int from = (int)((long)tiles * unit / units), to = (int)((long)tiles * (unit + 1) / units);
    for (int index = from; index < to; index++)
        run_tile(run, stage, unit, index, index == from);
    subnormals_restore(before);
}

static void fold_accumulators(const struct run_context *run, const struct stage *stage,
                              const struct item *item)
{
    const struct plan *plan = run->plan;
    size_t units = (size_t)units_of(stage, run->batch->n);
    const float *parts = (const float *)(const void *)(plan->shared + stage->accumulator_offset);
    plan->kernels->fold(item->count, units, stage->accumulator_floats, parts + item->from,
                        run->gradients + item->to);
}

static void run_weight_tile(const struct run_context *run, const struct item *item)
{
    const struct step *step = &run->plan->steps[item->step];
    const struct node *node = run->plan->nodes[step->node];
    struct tile tile;
    bind(run, step, omp_get_thread_num(), 0, run->batch->n, &tile);
    node->type->backward_weights(node, &tile, item->index);
}

/* Item `index` of those that `stage` leaves. */
static void run_item(const struct run_context *run, const struct stage *stage, int index)
{
    struct plan *plan = run->plan;
    const struct item *item = &plan->items[stage->first_item + index];
    unsigned before = subnormals_off();
    double start = plan->profiling ? profile_begin() : 0;
    if (item->step < 0)
        fold_accumulators(run, stage, item);
    else
        run_weight_tile(run, item);
    if (plan->profiling)
        profile_end(plan, &plan->steps[item->step < 0 ? item->index : item->step],
                    omp_get_thread_num(), start);
    subnormals_restore(before);
}

/* Combines the partial results that the stage's reduce steps left. */
static void finish(const struct run_context *run, const struct stage *stage)
{
    struct plan *plan = run->plan;
    int tiles = tiles_of(stage, run->batch->n);
    for (int i = stage->first; i < stage->end; i++) {
        const struct step *step = &plan->steps[i];
        const struct node *node = plan->nodes[step->node];
        if (step->phase != PHASE_FORWARD_REDUCE && step->phase != PHASE_BACKWARD_REDUCE)
            continue;
        for (int t = 0; t < tiles; t++) {
            int left = run->batch->n - t * stage->images;
            plan->tile_images[t] = (size_t)(left < stage->images ? left : stage->images);
        }
        struct reduction reduction = {
            .parts = (size_t)tiles,
            .images = plan->tile_images,
            .partials = (const double *)(const void *)(plan->shared + step->partial_offset),
        };
        struct tile tile;
        bind(run, step, 0, 0, run->batch->n, &tile);
        double start = plan->profiling ? profile_begin() : 0;
        if (step->phase == PHASE_FORWARD_REDUCE)
            node->type->forward_finish(node, &reduction, &tile);
        else
            node->type->backward_finish(node, &reduction, &tile);
        if (plan->profiling)
            profile_end(plan, step, 0, start);
    }
}

static void prepare(const struct run_context *run)
{
    struct plan *plan = run->plan;
#pragma omp parallel for schedule(dynamic, 1) num_threads(run->plan->threads)
    for (int i = 0; i < plan->prepared_count; i++) {
        const struct step *step = &plan->steps[plan->prepared[i]];
        int thread = omp_get_thread_num();
        struct tile tile;
        bind(run, step, thread, 0, run->batch->n, &tile);
        double start = plan->profiling ? profile_begin() : 0;
        plan->nodes[step->node]->type->prepare(plan->nodes[step->node], &tile);
        if (plan->profiling)
            profile_end(plan, step, thread, start);
    }
}

/* The units of `stage`, then the items that the stage before it left: they need nothing of each
 * other, so a thread that finds no unit left takes items instead of waiting. Before the first stage
 * there is none, nor after the last: NULL. */
static void run_stage(const struct run_context *run, const struct stage *before,
                      const struct stage *stage)
{
    int units = stage ? units_of(stage, run->batch->n) : 0;
    int items = before ? before->end_item - before->first_item : 0;
    if (units + items == 0)
        return;
#pragma omp parallel for schedule(dynamic, 1) num_threads(run->plan->threads)
    for (int i = 0; i < units + items; i++)
        if (i < units)
            run_unit(run, stage, i);
        else
            run_item(run, before, i - units);
    if (stage)
        finish(run, stage);
}

void plan_run(struct plan *plan, const struct model *model, const struct batch *batch,
              const struct plan_options *options, float *gradients)
{
    struct run_context run = {plan, model, batch, options, gradients};
    /* With one thread there is no parallel region in OpenBLAS's eyes, and it would start its own
     * threads: as many as OpenMP's default says. */
    int threads = omp_get_max_threads();
    omp_set_num_threads(plan->threads);
    if (plan->prepared_count > 0)
        prepare(&run);
    for (int t = 0; t <= plan->stage_count; t++)
        run_stage(&run, t > 0 ? &plan->stages[t - 1] : NULL,
                  t < plan->stage_count ? &plan->stages[t] : NULL);
    omp_set_num_threads(threads);
}

const float *plan_logits(const struct plan *plan)
{
    return (const float *)(const void *)(plan->shared + plan->logits.offset);
}

const double *plan_loss(const struct plan *plan)
{
    return plan->loss_values;
}

const int32_t *plan_rank(const struct plan *plan)
{
    return plan->ranks;
}

void plan_parallel(int threads, int items, void (*run)(void *context, int item), void *context)
{
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int i = 0; i < items; i++) {
        unsigned before = subnormals_off();
        run(context, i);
        subnormals_restore(before);
    }
}
