/* Steps into stages. A stage ends where a result over the whole mini-batch is needed, or where
 * the next steps want tiles of a very different size. Within that, a step waits until something in
 * the stage needs it: so what a later stage uses is made there, and stays in the cache. */
#include "engine/plan/internal.h"

#include "engine/base/memory.h"

#include <stdlib.h>

enum {
    DEFAULT_IMAGES = 8,           /* a tile where no node minds: so many, or fewer, so that the */
    DEFAULT_BYTES = 1 << 20,      /* largest output is no larger than this */
    IMAGES_RATIO = 4,             /* nodes whose wishes differ so much do not share a stage */
    EVEN_TILES = 16,              /* fewer than so many are rounded up to a power of two */
    UNITS_LEAST = 4,              /* gradient accumulators of a stage: at least, */
    UNITS_MOST = 32,              /* at most, */
    ACCUMULATOR_BYTES = 16 << 20, /* and all together not much more than this */
    FOLD_FLOATS = 8192            /* a piece of the folding of accumulators */
};

struct scheduler {
    struct plan *plan;
    struct step *pool; /* all steps in a valid order: forward, then backward */
    int count;
    int *forward, *backward, *forward_reduce, *backward_reduce; /* [nodes]: step in pool or -1 */
    int *stage;         /* [count]: of a step that is scheduled; -1 */
    signed char *ready; /* [count]: memo of whether it can run in the stage under way; -1 unknown */
    bool *wanted;       /* [count] */
};

static int add_step(struct scheduler *s, int node, enum phase phase)
{
    s->pool[s->count] = (struct step){.node = node, .phase = phase};
    return s->count++;
}

static void list_steps(struct scheduler *s)
{
    const struct plan *plan = s->plan;
    bool training = plan->mode == PLAN_TRAINING;
    for (int i = 0; i < plan->count; i++) {
        const struct node_type *type = plan->nodes[i]->type;
        s->forward_reduce[i] = s->backward_reduce[i] = s->backward[i] = -1;
        if (training && type->forward_reduce && !plan->nodes[i]->frozen)
            s->forward_reduce[i] = add_step(s, i, PHASE_FORWARD_REDUCE);
        s->forward[i] = add_step(s, i, PHASE_FORWARD);
    }
    for (int i = plan->count - 1; training && i >= 0; i--) {
        const struct node *node = plan->nodes[i];
        if (!node->has_gradient || node == plan->loss)
            continue;
        if (node->type->backward_reduce && !node->frozen)
            s->backward_reduce[i] = add_step(s, i, PHASE_BACKWARD_REDUCE);
        s->backward[i] = add_step(s, i, PHASE_BACKWARD);
    }
}

/* Calls visit(s, step it depends on) for each; `visit` returning false stops. */
static bool for_each_dependency(struct scheduler *s, int step,
                                bool (*visit)(struct scheduler *, int))
{
    const struct plan *plan = s->plan;
    int node = s->pool[step].node;
    if (!is_backward(s->pool[step].phase)) {
        for (int i = 0; i < plan->nodes[node]->input_count; i++)
            if (!visit(s, s->forward[plan->nodes[node]->inputs[i]]))
                return false;
        return true;
    }
    for (int c = 0; c < plan->count; c++)
        for (int i = 0; i < plan->nodes[c]->input_count; i++)
            if (plan->nodes[c]->inputs[i] == node) {
                int dependency = plan->nodes[c] == plan->loss ? s->forward[c] : s->backward[c];
                if (!visit(s, dependency))
                    return false;
            }
    return true;
}

/* The reduce step whose finished result a step needs, or -1. */
static int reduction_before(const struct scheduler *s, int step)
{
    const struct step *at = &s->pool[step];
    if (at->phase == PHASE_FORWARD)
        return s->forward_reduce[at->node];
    if (at->phase == PHASE_BACKWARD)
        return s->backward_reduce[at->node];
    return -1;
}

static bool is_ready(struct scheduler *s, int step)
{
    if (s->stage[step] >= 0)
        return true;
    if (s->ready[step] < 0) {
        int reduction = reduction_before(s, step);
        bool finished = reduction < 0 ||
                        (s->stage[reduction] >= 0 && s->stage[reduction] < s->plan->stage_count);
        s->ready[step] = finished && for_each_dependency(s, step, is_ready);
    }
    return s->ready[step] == 1;
}

static bool want(struct scheduler *s, int step)
{
    if (s->stage[step] < 0 && !s->wanted[step]) {
        s->wanted[step] = true;
        for_each_dependency(s, step, want);
    }
    return true;
}

static bool is_reduction(const struct scheduler *s, int step)
{
    return s->pool[step].phase == PHASE_FORWARD_REDUCE ||
           s->pool[step].phase == PHASE_BACKWARD_REDUCE;
}

static int images_wanted(const struct plan *plan, const struct step *step)
{
    bool works = step->phase == PHASE_FORWARD || step->phase == PHASE_BACKWARD;
    return works ? plan->wants[step->node].images : 0;
}

/* At most `count`, and easily dealt out evenly: a power of two. */
static int even_count(int count)
{
    int even = 1;
    while (2 * even <= count)
        even *= 2;
    return even;
}

static int default_images(const struct plan *plan, int first, int end)
{
    size_t largest = 1;
    for (int i = first; i < end; i++) {
        size_t bytes = shape_size(plan->nodes[plan->steps[i].node]->out) * sizeof(float);
        largest = bytes > largest ? bytes : largest;
    }
    size_t images = DEFAULT_BYTES / largest;
    return images < 1 ? 1 : images < DEFAULT_IMAGES ? (int)images : DEFAULT_IMAGES;
}

static void close_stage(struct plan *plan, int first, int end, int images)
{
    if (images < 1)
        images = default_images(plan, first, end);
    if (images > plan->batch)
        images = plan->batch;
    /* As many tiles as threads share well, each of the wanted size or less. */
    int tiles = (plan->batch + images - 1) / images;
    if (tiles < EVEN_TILES)
        tiles = even_count(2 * tiles - 1);
    plan->stages[plan->stage_count] =
        (struct stage){.first = first, .end = end, .images = (plan->batch + tiles - 1) / tiles};
    for (int i = first; i < end; i++)
        plan->steps[i].stage = plan->stage_count;
    plan->stage_count++;
}

/* Cuts plan->steps[first, end) into stages of similar wishes. Steps without a wish go with what
 * follows them in backward, with what stands before them in forward. */
static void split_stage(struct plan *plan, int first, int end)
{
    int least = 0, most = 0, last_wish = first;
    for (int i = first; i < end; i++) {
        int wish = images_wanted(plan, &plan->steps[i]);
        if (wish == 0)
            continue;
        if (most > 0 && (wish >= least * IMAGES_RATIO || most >= wish * IMAGES_RATIO)) {
            int cut = is_backward(plan->steps[i].phase) ? last_wish + 1 : i;
            close_stage(plan, first, cut, most);
            first = cut;
            least = most = 0;
        }
        most = wish > most ? wish : most;
        least = least == 0 || wish < least ? wish : least;
        last_wish = i;
    }
    if (first < end)
        close_stage(plan, first, end, most);
}

/* One stage's worth of steps into plan->steps. Returns how many. */
static int take_stage(struct scheduler *s)
{
    struct plan *plan = s->plan;
    bool any = false;
    for (int i = 0; i < s->count; i++) {
        s->ready[i] = -1;
        s->wanted[i] = false;
    }
    for (int i = 0; i < s->count; i++)
        if (is_reduction(s, i) && s->stage[i] < 0 && is_ready(s, i))
            any = want(s, i);
    int first = plan->step_count;
    for (int i = 0; i < s->count; i++)
        if (s->stage[i] < 0 && (any ? s->wanted[i] : is_ready(s, i))) {
            plan->steps[plan->step_count++] = s->pool[i];
            s->stage[i] = plan->stage_count;
        }
    split_stage(plan, first, plan->step_count);
    return plan->step_count - first;
}

static size_t accumulator_floats(const struct node *node)
{
    const struct parameter *last = &node->parameters[node->parameter_count - 1];
    size_t floats = last->offset + last->count - node->parameters[0].offset;
    return (floats + 15) / 16 * 16;
}

/* Parameter by parameter: what lies between them is never written, and is no gradient. */
static void add_folds(struct plan *plan, const struct step *step, const struct node *node)
{
    for (int i = 0; i < node->parameter_count; i++) {
        const struct parameter *parameter = &node->parameters[i];
        size_t to = parameter->offset;
        size_t from = step->accumulator_offset + to - node->parameters[0].offset;
        for (size_t done = 0; done < parameter->count; done += FOLD_FLOATS) {
            size_t left = parameter->count - done;
            size_t piece = left < FOLD_FLOATS ? left : FOLD_FLOATS;
            plan->items[plan->item_count++] =
                (struct item){-1, (int)(step - plan->steps), from + done, to + done, piece};
        }
    }
}

/* Without items the work would be counted twice: once to size the array, once to fill it. */
static size_t count_items(const struct plan *plan)
{
    size_t count = 0;
    for (int i = 0; i < plan->step_count; i++) {
        const struct step *step = &plan->steps[i];
        if (step->phase != PHASE_BACKWARD)
            continue;
        count += (size_t)plan->wants[step->node].weight_tiles;
        if (accumulates(plan, step))
            count += accumulator_floats(plan->nodes[step->node]) / FOLD_FLOATS +
                     (size_t)plan->nodes[step->node]->parameter_count;
    }
    return count;
}

static void fill_items(struct plan *plan)
{
    for (int t = 0; t < plan->stage_count; t++) {
        struct stage *stage = &plan->stages[t];
        stage->first_item = plan->item_count;
        for (int i = stage->first; i < stage->end; i++) {
            struct step *step = &plan->steps[i];
            const struct node *node = plan->nodes[step->node];
            if (step->phase != PHASE_BACKWARD)
                continue;
            for (int w = 0; w < plan->wants[step->node].weight_tiles; w++)
                plan->items[plan->item_count++] = (struct item){.step = i, .index = w};
            if (accumulates(plan, step)) {
                step->accumulator_offset = stage->accumulator_floats;
                add_folds(plan, step, node);
                stage->accumulator_floats += accumulator_floats(node);
            }
        }
        stage->end_item = plan->item_count;
        size_t bytes = stage->accumulator_floats * sizeof(float);
        if (bytes > 0) {
            size_t units = ACCUMULATOR_BYTES / bytes;
            stage->units_most = units < UNITS_LEAST  ? UNITS_LEAST
                                : units > UNITS_MOST ? UNITS_MOST
                                                     : even_count((int)units);
        }
    }
}

enum colonnade_status plan_schedule(struct plan *plan, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct scheduler s = {.plan = plan};
    size_t nodes = (size_t)plan->count, most = 4 * nodes;
    TRY(memory_allocate(&s.pool, most, sizeof *s.pool, "a schedule", error));
    TRY(memory_allocate(&s.forward, nodes, sizeof(int), "a schedule", error));
    TRY(memory_allocate(&s.backward, nodes, sizeof(int), "a schedule", error));
    TRY(memory_allocate(&s.forward_reduce, nodes, sizeof(int), "a schedule", error));
    TRY(memory_allocate(&s.backward_reduce, nodes, sizeof(int), "a schedule", error));
    TRY(memory_allocate(&s.stage, most, sizeof(int), "a schedule", error));
    TRY(memory_allocate(&s.ready, most, sizeof *s.ready, "a schedule", error));
    TRY(memory_allocate(&s.wanted, most, sizeof *s.wanted, "a schedule", error));
    list_steps(&s);
    TRY(memory_allocate(&plan->steps, (size_t)s.count, sizeof *plan->steps, "a schedule", error));
    TRY(memory_allocate(&plan->stages, (size_t)s.count, sizeof *plan->stages, "a schedule", error));
    for (int i = 0; i < s.count; i++)
        s.stage[i] = -1;
    while (plan->step_count < s.count)
        take_stage(&s);
    TRY(memory_allocate(&plan->prepared, (size_t)s.count, sizeof(int), "a schedule", error));
    for (int i = 0; i < plan->step_count; i++)
        if (plan->steps[i].phase == PHASE_BACKWARD && plan->wants[plan->steps[i].node].prepares)
            plan->prepared[plan->prepared_count++] = i;
    TRY(memory_allocate(&plan->items, count_items(plan), sizeof *plan->items, "a schedule", error));
    fill_items(plan);
out:
    free(s.pool);
    free(s.forward);
    free(s.backward);
    free(s.forward_reduce);
    free(s.backward_reduce);
    free(s.stage);
    free(s.ready);
    free(s.wanted);
    return status;
}
