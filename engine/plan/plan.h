/* The plan: what runs when, in which tiles, in which memory. Made once from a graph and a batch
 * size, from shapes alone; then run for every mini-batch without allocating.
 *
 * A step is one phase of one node. Steps that need no result over the whole mini-batch of each
 * other form a stage: a thread takes a tile of whole images through all steps of the stage, so
 * that what passes between them stays in its cache. Between stages all threads meet.
 *
 *   stage    steps, images a tile, tiles grouped into units
 *   unit     what a thread takes: consecutive tiles that share one gradient accumulator
 *   items    what a stage leaves to run beside the next one: pieces of weight gradients, folding
 *            of accumulators
 *
 * Whatever is summed over tiles is summed in the tiles' order, and the tiles follow from shapes:
 * so the number of threads changes no bit of any result.
 */
#ifndef ENGINE_PLAN_PLAN_H
#define ENGINE_PLAN_PLAN_H

#include "engine/data/dataset.h"
#include "engine/graph/graph.h"

enum plan_mode { PLAN_TRAINING, PLAN_INFERENCE };

struct plan;

/* `batch` is the largest mini-batch that will be run. `threads` only says how many private
 * scratch areas there are. Allocates everything that running needs, or takes the memory of `host`
 * (NULL: none) where that suffices: another plan for as many threads that lives longer, and whose
 * results are no longer wanted when this one runs. */
enum colonnade_status plan_create(struct plan **plan, const struct graph *graph,
                                  enum plan_mode mode, int batch, int threads,
                                  const struct plan *host, struct colonnade_error *error);
void plan_destroy(struct plan *plan);

/* A plan without memory: for plan_bytes. */
enum colonnade_status plan_measure(const struct graph *graph, enum plan_mode mode, int batch,
                                   int threads, size_t *bytes, struct colonnade_error *error);
size_t plan_bytes(const struct plan *plan);

/* What depends on the step and not on the shapes. */
struct plan_options {
    uint64_t seed;
    uint32_t step; /* optimizer steps done before this one */
    double label_smoothing;
};

/* Runs forward, and in training backward: then `gradients` [graph->parameter_length] holds the
 * gradient of the mean loss, batch norms' running statistics in `model->buffers` are brought up to
 * date, and plan_loss() and plan_rank() are filled. */
void plan_run(struct plan *plan, const struct model *model, const struct batch *batch,
              const struct plan_options *options, float *gradients);

const float *plan_logits(const struct plan *plan); /* [n, classes] (inference) */
const double *plan_loss(const struct plan *plan);  /* [n] each sample's loss (training) */
const int32_t *plan_rank(const struct plan *plan); /* [n] classes ranked before the label's */

/* Parallel work outside of the graph (the optimizer) on the plan's threads: calls
 * run(context, item) for item = 0 .. items-1, in any order. */
void plan_parallel(int threads, int items, void (*run)(void *context, int item), void *context);

/* Where the time went, in seconds, summed over threads and runs since plan_profile_start(). */
struct pass_time {
    double seconds; /* in all; of these: */
    double im2col;  /* and col2im: gathering and scattering columns */
    double sgemm;   /* products */
};
struct node_time {
    struct pass_time forward, backward;
};
void node_time_add(struct node_time *sum, const struct node_time *time);

/* From here on the plan takes the time of all that it does, at two looks at the clock for each call
 * of im2col, of a product, and of a node for a tile. The results are the same bits. */
void plan_profile_start(struct plan *plan);
/* [graph->count + 1]: the nodes, and last the loss. */
void plan_profile(const struct plan *plan, struct node_time *times);

/* The stages in words, for people: one line a stage. The caller frees the text. */
enum colonnade_status plan_print(const struct plan *plan, char **text,
                                 struct colonnade_error *error);

#endif
