/* Memory of a plan: which arrays there are, which may be one and the same, from which step to which
 * each lives, and where it lies. What lives within one stage is private to a thread and has the
 * size of a tile; what passes from stage to stage has the size of the mini-batch. Arrays that do
 * not live at the same time share memory.
 */
#include "engine/plan/internal.h"

#include "engine/base/memory.h"

#include <stdlib.h>
#include <string.h>

struct buffer {
    size_t bytes_per_image, bytes; /* bytes: those that do not grow with images */
    int first_step, last_step, first_stage, last_stage;
    bool used, whole; /* whole: read or written over all images at once */
    bool private;
    size_t offset;
};

/* A buffer each: value and gradient of every node's output, saved bytes, state; then partial
 * results of each step and accumulators of each stage. `same` leads from a buffer to the one that
 * it shares memory with. */
struct placer {
    struct plan *plan;
    struct buffer *buffers;
    int *same;
    int value, gradient, saved, state, partial, accumulators, count; /* first of each kind */
    int *forward, *backward;                                         /* [nodes]: the step, or -1 */
};

/* How much of an array a step reads or writes: its tile's images, those of the mini-batch at once,
 * or these once more by its items, which run beside the next stage. */
enum reach { REACH_TILE, REACH_BATCH, REACH_ITEMS };

static int find(const struct placer *p, int buffer)
{
    while (p->same[buffer] != buffer)
        buffer = p->same[buffer];
    return buffer;
}

static int stage_of(const struct placer *p, int step)
{
    return p->plan->steps[step].stage;
}

/* Whether anything reads the value of `node` after step `after`. */
static bool value_read_after(const struct placer *p, int node, int after)
{
    const struct plan *plan = p->plan;
    if (plan->mode == PLAN_INFERENCE && node == plan->graph->output)
        return true;
    if (plan->wants[node].needs_output && p->backward[node] > after)
        return true;
    for (int c = 0; c < plan->count; c++)
        for (int i = 0; i < plan->nodes[c]->input_count; i++)
            if (plan->nodes[c]->inputs[i] == node) {
                if (p->forward[c] > after)
                    return true;
                if (plan->wants[c].needs_input && p->backward[c] > after)
                    return true;
            }
    return false;
}

static void share_values(struct placer *p)
{
    const struct plan *plan = p->plan;
    for (int i = 0; i < plan->step_count; i++) {
        int node = plan->steps[i].node;
        if (plan->steps[i].phase != PHASE_FORWARD || !plan->wants[node].forward_in_place)
            continue;
        int input = plan->nodes[node]->inputs[0];
        if (!value_read_after(p, input, i))
            p->same[p->value + node] = find(p, p->value + input);
    }
}

/* The first step that writes a gradient of `node`: all others add to it. */
static int first_writer(const struct placer *p, int node)
{
    const struct plan *plan = p->plan;
    int first = plan->step_count;
    for (int c = 0; c < plan->count; c++)
        for (int i = 0; i < plan->nodes[c]->input_count; i++)
            if (plan->nodes[c]->inputs[i] == node && p->backward[c] >= 0 && p->backward[c] < first)
                first = p->backward[c];
    return first;
}

/* Whether `node` is through with its gradient when step `writer` begins. */
static bool gradient_done(const struct placer *p, int node, int writer)
{
    int reader = p->backward[node];
    if (reader >= writer)
        return false;
    /* Items read it in the stage after. */
    return p->plan->wants[node].weight_tiles == 0 || stage_of(p, reader) + 1 < stage_of(p, writer);
}

/* Whether all later additions to the gradient of `node`, after step `after`, find `other` through
 * with the memory that both would share. */
static bool additions_wait(const struct placer *p, int node, int after, int other)
{
    const struct plan *plan = p->plan;
    for (int c = 0; c < plan->count; c++)
        for (int i = 0; i < plan->nodes[c]->input_count; i++)
            if (plan->nodes[c]->inputs[i] == node && p->backward[c] > after &&
                !gradient_done(p, other, p->backward[c]))
                return false;
    return true;
}

static bool may_overwrite(const struct placer *p, int node, int step)
{
    int group = find(p, p->gradient + node);
    for (int m = 0; m < p->plan->graph->count; m++)
        if (m != node && p->backward[m] >= 0 && find(p, p->gradient + m) == group &&
            !gradient_done(p, m, step))
            return false;
    return true;
}

static bool may_pass(const struct placer *p, int node, int input, int step)
{
    int group = find(p, p->gradient + node);
    for (int m = 0; m < p->plan->graph->count; m++) {
        if (m == input || p->backward[m] < 0 || find(p, p->gradient + m) != group)
            continue;
        if (!additions_wait(p, input, step, m) || !additions_wait(p, m, step, input))
            return false;
    }
    return true;
}

static void share_gradients(struct placer *p)
{
    struct plan *plan = p->plan;
    if (plan->loss)
        p->same[p->gradient + plan->graph->output] = p->value + plan->count - 1;
    for (int i = 0; i < plan->step_count; i++) {
        struct step *step = &plan->steps[i];
        const struct node *node = plan->nodes[step->node];
        const struct node_plan *wants = &plan->wants[step->node];
        if (step->phase != PHASE_BACKWARD)
            continue;
        for (int j = 0; j < node->input_count; j++) {
            int input = node->inputs[j];
            if (!plan->nodes[input]->has_gradient)
                continue;
            step->accumulate[j] = first_writer(p, input) != i;
            for (int k = 0; k < j; k++)
                step->accumulate[j] |= node->inputs[k] == input;
            if (step->accumulate[j])
                continue;
            bool overwrites = wants->backward_in_place && j == 0 && may_overwrite(p, step->node, i);
            bool passes = wants->passes_gradient && may_pass(p, step->node, input, i);
            if (overwrites || passes)
                p->same[p->gradient + input] = find(p, p->gradient + step->node);
        }
    }
}

static void touch(struct placer *p, int buffer, int step, enum reach reach, size_t bytes_per_image)
{
    struct buffer *b = &p->buffers[find(p, buffer)];
    int stage = stage_of(p, step), last = reach == REACH_ITEMS ? stage + 1 : stage;
    if (!b->used) {
        b->first_step = b->last_step = step;
        b->first_stage = stage;
        b->last_stage = last;
        b->used = true;
    }
    b->first_step = step < b->first_step ? step : b->first_step;
    b->last_step = step > b->last_step ? step : b->last_step;
    b->first_stage = stage < b->first_stage ? stage : b->first_stage;
    b->last_stage = last > b->last_stage ? last : b->last_stage;
    b->whole |= reach != REACH_TILE;
    if (bytes_per_image > b->bytes_per_image)
        b->bytes_per_image = bytes_per_image;
}

static size_t value_bytes(const struct plan *plan, int node)
{
    return shape_size(plan->nodes[node]->out) * sizeof(float);
}

/* Which arrays a step reads and writes. */
struct uses {
    bool x, y, dy, dx, saved, state;
};

static struct uses uses_of(const struct plan *plan, const struct step *step)
{
    const struct node_plan *wants = &plan->wants[step->node];
    bool training = plan->mode == PLAN_TRAINING;
    struct uses uses = {.state = training && wants->state > 0};
    switch (step->phase) {
    case PHASE_FORWARD_REDUCE:
        uses.x = true;
        break;
    case PHASE_FORWARD:
        uses.x = uses.y = true;
        uses.saved = training && wants->saved > 0;
        break;
    case PHASE_BACKWARD_REDUCE:
    case PHASE_BACKWARD:
        uses.x = wants->needs_input;
        uses.y = wants->needs_output;
        uses.dy = true;
        uses.dx = step->phase == PHASE_BACKWARD;
        uses.saved = wants->saved > 0;
        break;
    }
    return uses;
}

static bool writes_dx(const struct plan *plan, const struct step *step, int input)
{
    return plan->nodes[input]->has_gradient || plan->wants[step->node].needs_dx;
}

static void touch_step(struct placer *p, int index)
{
    const struct plan *plan = p->plan;
    const struct step *step = &plan->steps[index];
    const struct node *node = plan->nodes[step->node];
    const struct node_plan *wants = &plan->wants[step->node];
    struct uses uses = uses_of(plan, step);
    bool items = step->phase == PHASE_BACKWARD && wants->weight_tiles > 0;
    enum reach reach = items ? REACH_ITEMS : REACH_TILE;
    for (int i = 0; i < node->input_count; i++) {
        size_t bytes = value_bytes(plan, node->inputs[i]);
        if (uses.x)
            touch(p, p->value + node->inputs[i], index, reach, bytes);
        if (uses.dx && writes_dx(plan, step, node->inputs[i]))
            touch(p, p->gradient + node->inputs[i], index, REACH_TILE, bytes);
    }
    if (uses.y)
        touch(p, p->value + step->node, index, REACH_TILE, value_bytes(plan, step->node));
    if (uses.dy)
        touch(p, p->gradient + step->node, index, reach, value_bytes(plan, step->node));
    if (uses.saved)
        touch(p, p->saved + step->node, index, REACH_TILE, wants->saved);
    if (uses.state) {
        touch(p, p->state + step->node, index, REACH_BATCH, 0);
        p->buffers[p->state + step->node].bytes = wants->state * sizeof(float);
        if (wants->prepares)
            touch(p, p->state + step->node, 0, REACH_BATCH, 0);
    }
}

static void touch_partials(struct placer *p, int index)
{
    const struct plan *plan = p->plan;
    struct step *step = &p->plan->steps[index];
    const struct node_plan *wants = &plan->wants[step->node];
    if (step->phase == PHASE_FORWARD_REDUCE)
        step->partial_doubles = wants->forward_partial;
    else if (step->phase == PHASE_BACKWARD_REDUCE)
        step->partial_doubles = wants->backward_partial;
    if (step->partial_doubles == 0)
        return;
    int tiles = tiles_of(&plan->stages[step->stage], plan->batch);
    touch(p, p->partial + index, index, REACH_BATCH, 0);
    p->buffers[p->partial + index].bytes = (size_t)tiles * step->partial_doubles * sizeof(double);
}

static void touch_all(struct placer *p)
{
    const struct plan *plan = p->plan;
    for (int i = 0; i < plan->step_count; i++) {
        touch_step(p, i);
        touch_partials(p, i);
    }
    for (int t = 0; t < plan->stage_count; t++) {
        const struct stage *stage = &plan->stages[t];
        if (stage->accumulator_floats == 0)
            continue;
        touch(p, p->accumulators + t, stage->first, REACH_ITEMS, 0);
        p->buffers[p->accumulators + t].bytes =
            (size_t)units_of(stage, plan->batch) * stage->accumulator_floats * sizeof(float);
    }
    if (plan->mode == PLAN_INFERENCE) /* the caller reads the logits */
        touch(p, p->value + plan->graph->output, plan->step_count - 1, REACH_BATCH, 0);
}

static size_t bytes_of(const struct placer *p, const struct buffer *b)
{
    int images = b->private ? p->plan->stages[b->first_stage].images : p->plan->batch;
    return size_align(size_add(size_multiply(b->bytes_per_image, (size_t)images), b->bytes));
}

static bool overlap(const struct buffer *a, const struct buffer *b)
{
    if (a->private != b->private)
        return false;
    if (a->private)
        return a->first_stage == b->first_stage && a->first_step <= b->last_step &&
               b->first_step <= a->last_step;
    return a->first_stage <= b->last_stage && b->first_stage <= a->last_stage;
}

/* The lowest offset at which `b` meets no buffer of placed[0, count) that lives at the same time.
 */
static size_t lowest_offset(const struct placer *p, const struct buffer *b, const int *placed,
                            int count)
{
    size_t offset = 0, bytes = bytes_of(p, b);
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < count; i++) {
            const struct buffer *other = &p->buffers[placed[i]];
            if (overlap(b, other) && offset < other->offset + bytes_of(p, other) &&
                other->offset < offset + bytes) {
                offset = other->offset + bytes_of(p, other);
                moved = true;
            }
        }
    }
    return offset;
}

/* Largest first: the small ones find room between. */
static void place_buffers(struct placer *p, int *order)
{
    struct plan *plan = p->plan;
    int count = 0;
    for (int i = 0; i < p->count; i++) {
        struct buffer *b = &p->buffers[i];
        if (!b->used)
            continue;
        b->private = b->first_stage == b->last_stage && !b->whole;
        int at = count++;
        while (at > 0 && bytes_of(p, &p->buffers[order[at - 1]]) < bytes_of(p, b)) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    for (int i = 0; i < count; i++) {
        struct buffer *b = &p->buffers[order[i]];
        b->offset = lowest_offset(p, b, order, i);
        size_t end = b->offset + bytes_of(p, b);
        size_t *total = b->private ? &plan->private_bytes : &plan->batch_bytes;
        if (end > *total)
            *total = end;
    }
}

static struct place place_of(const struct placer *p, bool present, int buffer, size_t bytes)
{
    const struct buffer *b = &p->buffers[find(p, buffer)];
    return (struct place){present, b->private, b->offset, bytes};
}

static void bind_step(struct placer *p, int index)
{
    const struct plan *plan = p->plan;
    struct step *step = &p->plan->steps[index];
    const struct node *node = plan->nodes[step->node];
    struct uses uses = uses_of(plan, step);
    for (int i = 0; i < node->input_count; i++) {
        int input = node->inputs[i];
        size_t bytes = value_bytes(plan, input);
        step->x[i] = place_of(p, uses.x, p->value + input, bytes);
        step->dx[i] =
            place_of(p, uses.dx && writes_dx(plan, step, input), p->gradient + input, bytes);
    }
    size_t bytes = value_bytes(plan, step->node);
    step->y = place_of(p, uses.y, p->value + step->node, bytes);
    step->dy = place_of(p, uses.dy, p->gradient + step->node, bytes);
    step->saved = place_of(p, uses.saved, p->saved + step->node, plan->wants[step->node].saved);
    step->state = place_of(p, uses.state, p->state + step->node, 0);
    step->partial_offset = p->buffers[p->partial + index].offset;
}

static void number_buffers(struct placer *p)
{
    const struct plan *plan = p->plan;
    p->value = 0;
    p->gradient = p->value + plan->count;
    p->saved = p->gradient + plan->count;
    p->state = p->saved + plan->count;
    p->partial = p->state + plan->count;
    p->accumulators = p->partial + plan->step_count;
    p->count = p->accumulators + plan->stage_count;
}

static void find_steps(struct placer *p)
{
    const struct plan *plan = p->plan;
    for (int i = 0; i < plan->count; i++)
        p->forward[i] = p->backward[i] = -1;
    for (int i = 0; i < plan->step_count; i++) {
        const struct step *step = &plan->steps[i];
        if (step->phase == PHASE_FORWARD)
            p->forward[step->node] = i;
        else if (step->phase == PHASE_BACKWARD)
            p->backward[step->node] = i;
    }
}

static size_t scratch_bytes(const struct plan *plan)
{
    size_t floats = 0;
    for (int i = 0; i < plan->count; i++)
        if (plan->wants[i].scratch > floats)
            floats = plan->wants[i].scratch;
    return size_align(floats * sizeof(float));
}

enum colonnade_status plan_place(struct plan *plan, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct placer p = {.plan = plan};
    int *order = NULL;
    size_t nodes = (size_t)plan->count;
    number_buffers(&p);
    size_t count = (size_t)p.count;
    TRY(memory_allocate(&p.buffers, count, sizeof *p.buffers, "a plan", error));
    TRY(memory_allocate(&p.same, count, sizeof *p.same, "a plan", error));
    TRY(memory_allocate(&order, count, sizeof *order, "a plan", error));
    TRY(memory_allocate(&p.forward, nodes, sizeof *p.forward, "a plan", error));
    TRY(memory_allocate(&p.backward, nodes, sizeof *p.backward, "a plan", error));
    for (int i = 0; i < p.count; i++)
        p.same[i] = i;
    find_steps(&p);
    share_values(&p);
    share_gradients(&p);
    touch_all(&p);
    place_buffers(&p, order);
    for (int i = 0; i < plan->step_count; i++)
        bind_step(&p, i);
    for (int t = 0; t < plan->stage_count; t++)
        plan->stages[t].accumulator_offset = p.buffers[p.accumulators + t].offset;
    plan->logits = place_of(&p, true, p.value + plan->graph->output, 0);
    plan->scratch_offset = plan->private_bytes;
    plan->private_bytes += scratch_bytes(plan);
out:
    free(p.buffers);
    free(p.same);
    free(order);
    free(p.forward);
    free(p.backward);
    return status;
}
