/* What every node makes of an image: for looking into a network, not for speed. */
#ifndef ENGINE_PLAN_TRACE_H
#define ENGINE_PLAN_TRACE_H

#include "engine/graph/graph.h"

/* The nodes as users wrote them, bias and activation included, whatever a plan does to be fast. */
struct trace {
    int count;
    float **outputs; /* [count], the graph's nodes: [c, h, w] of the input and of those that users
                      * wrote, whose shape is node->declared; else NULL */
};

/* `input` [c, h, w] as the network gets it. The caller finishes the trace, also on error. The same
 * bits on any number of cores. */
enum colonnade_status trace_init(struct trace *trace, const struct model *model, const float *input,
                                 struct colonnade_error *error);
void trace_finish(struct trace *trace);

#endif
