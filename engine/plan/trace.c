/* Runs a graph's nodes one after the other on one image, in the order and with the shapes that
 * users wrote: an activation that the graph took after a maximum is taken before it again, and
 * outputs are whole.
 */
#include "engine/plan/trace.h"

#include "engine/base/memory.h"
#include "engine/data/dataset.h"

#include <omp.h>
#include <stdlib.h>

void trace_finish(struct trace *trace)
{
    for (int i = 0; trace->outputs && i < trace->count; i++)
        free(trace->outputs[i]);
    free(trace->outputs);
    *trace = (struct trace){0};
}

/* Replaces `*y`, of that shape, by what the node makes of it: node->type works on single values. */
static enum colonnade_status apply(const struct node *node, struct shape shape,
                                   const struct tile *given, float **y,
                                   struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct node here = *node;
    struct tile tile = *given;
    float *result = NULL;
    here.in = here.out = shape;
    TRY(memory_allocate(&result, shape_size(shape), sizeof *result, "a trace", error));
    tile.x[0] = *y;
    tile.y = result;
    here.type->forward(&here, &tile);
    free(*y);
    *y = result;
out:
    return status;
}

static enum colonnade_status run_node(struct trace *trace, const struct graph *graph, int index,
                                      const struct tile *given, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct node node = graph->nodes[index]; /* with the shapes that it was written with */
    struct tile tile = *given;
    struct node_plan wants = {0};
    float *y = NULL, *scratch = NULL;
    if (node.input_count > 0)
        node.in = graph->nodes[node.written[0]].declared;
    node.out = node.declared;
    if (node.type->plan)
        node.type->plan(&node, &wants);
    TRY(memory_allocate(&y, shape_size(node.declared), sizeof *y, "a trace", error));
    TRY(memory_allocate(&scratch, wants.scratch, sizeof *scratch, "a trace", error));
    for (int i = 0; i < node.input_count; i++)
        tile.x[i] = trace->outputs[node.written[i]];
    tile.y = y;
    tile.scratch = scratch;
    node.type->forward(&node, &tile);
    for (int i = 0; i < graph->count; i++)
        if (graph->nodes[i].owner == index && i != index)
            TRY(apply(&graph->nodes[i], node.declared, &tile, &y, error));
    trace->outputs[index] = y;
    y = NULL;
out:
    free(y);
    free(scratch);
    return status;
}

static bool is_ready(const struct trace *trace, const struct graph *graph, int index)
{
    const struct node *node = &graph->nodes[index];
    if (node->owner != index || trace->outputs[index])
        return false;
    for (int i = 0; i < node->input_count; i++)
        if (!trace->outputs[node->written[i]])
            return false;
    return true;
}

static enum colonnade_status run_all(struct trace *trace, const struct graph *graph,
                                     const struct tile *tile, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (bool progress = true; progress;) {
        progress = false;
        for (int i = 0; i < graph->count; i++)
            if (is_ready(trace, graph, i)) {
                TRY(run_node(trace, graph, i, tile, error));
                progress = true;
            }
    }
out:
    return status;
}

/* From the kernels' layouts to planes. */
static enum colonnade_status lay_out(struct trace *trace, const struct graph *graph,
                                     struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    for (int i = 0; i < graph->count; i++) {
        const struct node *node = &graph->nodes[i];
        const struct shape shape = node->declared;
        float *planes = NULL;
        if (!trace->outputs[i] || node->out_layout == LAYOUT_NCHW)
            continue;
        TRY(memory_allocate(&planes, shape_size(shape), sizeof *planes, "a trace", error));
        kernels_best()->layout_convert(1, shape.c, shape_pixels(shape), LAYOUT_NHWC, LAYOUT_NCHW,
                                       trace->outputs[i], planes);
        free(trace->outputs[i]);
        trace->outputs[i] = planes;
    }
out:
    return status;
}

enum colonnade_status trace_init(struct trace *trace, const struct model *model, const float *input,
                                 struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    const struct graph *graph = model->graph;
    const struct batch batch = {.n = 1, .values = input};
    const struct tile tile = {
        .kernels = kernels_best(),
        .n = 1,
        .parameters = model->parameters,
        .buffers = model->buffers,
        .batch = &batch,
    };
    /* BLAS would take as many threads as OpenMP's default says, and other bits come out. */
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    *trace = (struct trace){.count = graph->count};
    TRY(memory_allocate(&trace->outputs, (size_t)graph->count, sizeof *trace->outputs, "a trace",
                        error));
    TRY(run_all(trace, graph, &tile, error));
    TRY(lay_out(trace, graph, error));
out:
    omp_set_num_threads(threads);
    return status;
}
