/* Drafts: the nodes of a config before they have shapes, in the order of the file. What is wrong
 * with sections, keys and edges is found here.
 */
#ifndef ENGINE_GRAPH_DRAFT_H
#define ENGINE_GRAPH_DRAFT_H

#include "engine/nodes/node.h"

struct draft {
    struct config *config;
    struct node *nodes;              /* edges by index into the same array; nodes[0] is the input */
    const struct section **sections; /* of each node; [augment] or NULL for the input */
    int *output_of; /* what stands for a declared node's output: an epilogue or it */
    int count, capacity;
    int output; /* the node that gives the logits */
};

/* Reads every section that is not reserved. To be finished whatever comes of it. */
enum colonnade_status draft_read(struct draft *draft, struct config *config,
                                 struct colonnade_error *error);
void draft_finish(struct draft *draft);

/* An order in which each node stands after its inputs, else as in the file: order[i] is the node at
 * place i, place[] the other way round; both [draft->capacity]. Raises where there is a cycle, and
 * where the output needs not all nodes, or not the data. */
enum colonnade_status draft_order(const struct draft *draft, int *order, int *place,
                                  struct colonnade_error *error);

/* Takes the sections of nodes that the output does not need out of the config. */
enum colonnade_status draft_drop_unused(const struct draft *draft, struct colonnade_error *error);

#endif
