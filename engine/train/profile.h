/* Where the time of training steps (or of inference) goes: what `bench` and `train --profile` show.
 */
#ifndef ENGINE_TRAIN_PROFILE_H
#define ENGINE_TRAIN_PROFILE_H

#include "engine/graph/graph.h"
#include "engine/plan/plan.h"

/* Sums over `steps`, in seconds: of the clock for whole steps and the optimizer, of all threads for
 * what nodes do. */
struct profile {
    long steps;
    int threads;
    double seconds, optimizer_seconds;
    struct node_time *nodes; /* [graph->count], the declared ones and the input: what the graph has
                                beside them counts as its owner's */
    double loss_seconds;
};

enum colonnade_status profile_create(struct profile **profile, const struct graph *graph,
                                     int threads, struct colonnade_error *error);
void profile_destroy(struct profile *profile);

/* Brings nodes and loss up to date with a plan that takes the time. */
void profile_take(struct profile *profile, const struct graph *graph, const struct plan *plan);

/* A step's milliseconds of what all threads spent so many seconds on, divided among them. */
double profile_milliseconds(const struct profile *profile, double seconds);

/* The rest of a step's milliseconds: threads that wait for each other, and what is done between
 * the stages and between the steps. */
double profile_waiting_milliseconds(const struct profile *profile, const struct graph *graph);

#endif
