/* Making a plan: asking the nodes what they want, scheduling, placing, allocating. */
#include "engine/base/memory.h"
#include "engine/plan/internal.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct node_type node_loss;

enum { PAGE = 4096 };

static enum colonnade_status add_loss(struct plan *plan, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct graph *graph = plan->graph;
    const struct node *output = &graph->nodes[graph->output];
    TRY(memory_allocate(&plan->loss, 1, sizeof *plan->loss, "a plan", error));
    *plan->loss = (struct node){.name = NULL,
                                .type = &node_loss,
                                .owner = graph->count,
                                .settings = graph->nodes[0].settings,
                                .inputs = {graph->output},
                                .input_count = 1,
                                .in = output->out,
                                .in_layout = output->out_layout,
                                .sources = {output},
                                .has_gradient = true};
    TRY(node_loss.build(plan->loss, NULL, error));
    plan->nodes[plan->count++] = plan->loss;
out:
    return status;
}

static enum colonnade_status gather_nodes(struct plan *plan, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    size_t most = (size_t)plan->graph->count + 1;
    TRY(memory_allocate(&plan->nodes, most, sizeof *plan->nodes, "a plan", error));
    TRY(memory_allocate(&plan->wants, most, sizeof *plan->wants, "a plan", error));
    for (int i = 0; i < plan->graph->count; i++)
        plan->nodes[plan->count++] = &plan->graph->nodes[i];
    if (plan->mode == PLAN_TRAINING)
        TRY(add_loss(plan, error));
    for (int i = 0; i < plan->count; i++)
        plan->nodes[i]->type->plan(plan->nodes[i], &plan->wants[i]);
out:
    return status;
}

static enum colonnade_status plan_layout(struct plan **created, const struct graph *graph,
                                         enum plan_mode mode, int batch, int threads,
                                         struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct plan *plan = NULL;
    *created = NULL;
    TRY(memory_allocate(&plan, 1, sizeof *plan, "a plan", error));
    plan->graph = graph;
    plan->mode = mode;
    plan->batch = batch;
    plan->threads = threads;
    plan->kernels = kernels_best();
    TRY(gather_nodes(plan, error));
    TRY(plan_schedule(plan, error));
    TRY(plan_place(plan, error));
    plan->private_bytes = (plan->private_bytes + PAGE - 1) / PAGE * PAGE;
    *created = plan;
    plan = NULL;
out:
    plan_destroy(plan);
    return status;
}

static size_t most_tiles(const struct plan *plan)
{
    size_t most = 1;
    for (int t = 0; t < plan->stage_count; t++) {
        size_t tiles = (size_t)tiles_of(&plan->stages[t], plan->batch);
        if (tiles > most)
            most = tiles;
    }
    return most;
}

static bool suffices(const struct plan *host, const struct plan *guest)
{
    return host->threads == guest->threads && host->batch_bytes >= guest->batch_bytes &&
           host->private_bytes >= guest->private_bytes;
}

enum colonnade_status plan_create(struct plan **created, const struct graph *graph,
                                  enum plan_mode mode, int batch, int threads,
                                  const struct plan *host, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct plan *plan = NULL;
    size_t samples = (size_t)batch;
    char activations[96];
    snprintf(activations, sizeof activations,
             "the activations of a mini-batch of %d (a smaller batch takes less)", batch);
    *created = NULL;
    TRY(plan_layout(&plan, graph, mode, batch, threads, error));
    if (host && suffices(host, plan)) {
        plan->guest = true;
        plan->shared = host->shared;
        plan->private = host->private;
    } else {
        TRY(memory_allocate(&plan->shared, plan->batch_bytes, 1, activations, error));
        TRY(memory_allocate(&plan->private, (size_t)threads, plan->private_bytes, "scratch",
                            error));
    }
    TRY(memory_allocate(&plan->loss_values, samples, sizeof(double), "a plan", error));
    TRY(memory_allocate(&plan->ranks, samples, sizeof(int32_t), "a plan", error));
    TRY(memory_allocate(&plan->tile_images, most_tiles(plan), sizeof(size_t), "a plan", error));
    TRY(memory_allocate(&plan->times, (size_t)threads * (size_t)plan->count, sizeof *plan->times,
                        "a plan", error));
    *created = plan;
    plan = NULL;
out:
    plan_destroy(plan);
    return status;
}

void plan_destroy(struct plan *plan)
{
    if (!plan)
        return;
    free(plan->loss);
    free(plan->nodes);
    free(plan->wants);
    free(plan->steps);
    free(plan->stages);
    free(plan->items);
    free(plan->prepared);
    if (!plan->guest) {
        free(plan->shared);
        free(plan->private);
    }
    free(plan->loss_values);
    free(plan->ranks);
    free(plan->tile_images);
    free(plan->times);
    free(plan);
}

size_t plan_bytes(const struct plan *plan)
{
    return plan->batch_bytes + (size_t)plan->threads * plan->private_bytes;
}

enum colonnade_status plan_measure(const struct graph *graph, enum plan_mode mode, int batch,
                                   int threads, size_t *bytes, struct colonnade_error *error)
{
    struct plan *plan = NULL;
    enum colonnade_status status = plan_layout(&plan, graph, mode, batch, threads, error);
    if (plan)
        *bytes = plan_bytes(plan);
    plan_destroy(plan);
    return status;
}

static const char *phase_name(enum phase phase)
{
    static const char *const names[] = {"reduce ", "", "reduce' ", "' "};
    return names[phase];
}

enum colonnade_status plan_print(const struct plan *plan, char **text,
                                 struct colonnade_error *error)
{
    size_t bytes = 0;
    FILE *out = open_memstream(text, &bytes);
    if (!out)
        return error_set(error, COLONNADE_FAILURE, "no memory for a text");
    for (int t = 0; t < plan->stage_count; t++) {
        const struct stage *stage = &plan->stages[t];
        fprintf(out, "stage %d: tiles of %d image%s in %d unit%s:", t, stage->images,
                plural(stage->images), units_of(stage, plan->batch),
                plural(units_of(stage, plan->batch)));
        for (int i = stage->first; i < stage->end; i++) {
            const struct node *node = plan->nodes[plan->steps[i].node];
            fprintf(out, " %s%s%s%s", phase_name(plan->steps[i].phase),
                    node->name ? node->name : node->type->name,
                    node->type->internal && node->name ? "+" : "",
                    plan->steps[i].y.present && plan->steps[i].y.private ? "*" : "");
        }
        fprintf(out, "; %d item%s\n", stage->end_item - stage->first_item,
                plural(stage->end_item - stage->first_item));
    }
    fprintf(out, "%zu bytes shared, %zu a thread\n", plan->batch_bytes, plan->private_bytes);
    fclose(out);
    return COLONNADE_OK;
}
