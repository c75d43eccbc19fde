/* The graph: nodes in an order in which each stands after its inputs, their shapes, memory
 * layouts and parameters. Built from a config; knows nothing of mini-batches, plans or training.
 */
#ifndef ENGINE_GRAPH_GRAPH_H
#define ENGINE_GRAPH_GRAPH_H

#include "engine/nodes/node.h"

struct graph {
    struct node *nodes; /* nodes[0] is the input */
    int count;
    int output;    /* the node that gives the logits */
    int classes;   /* logits an image */
    int *declared; /* the nodes that users wrote, in their order */
    int declared_count;
    size_t parameters;       /* trainable numbers, frozen ones too */
    size_t parameter_length; /* floats in the array that holds them, each aligned */
    size_t updated_length;   /* of it, without the frozen ones: they stand last */
    size_t buffer_length;    /* the same of buffers (running means) */
    uint64_t macs;           /* multiply-adds, an image, of whole outputs */
};

/* Reads every section that is not reserved. `classes` is what the data has: the output must have
 * as many. */
enum colonnade_status graph_create(struct graph **graph, struct config *config, struct shape input,
                                   int classes, struct colonnade_error *error);
void graph_destroy(struct graph *graph);

/* Freezes the nodes of [train] freeze. No plan and no model may have been made of the graph. */
enum colonnade_status graph_freeze(struct graph *graph, struct config *config,
                                   const struct names *names, struct colonnade_error *error);

/* Reads the same sections for mistakes in them alone: keys and edges, but no shapes. With
 * `drop_unused`, sections of nodes that the output does not need are taken out of the config. */
enum colonnade_status graph_check_keys(struct config *config, bool drop_unused,
                                       struct colonnade_error *error);

/* The node that a user wrote and whose activation, if that is not the node itself, makes the
 * logits, with the activation's name; NULL: they may be any numbers, as a node with weights, a
 * pooling, a sum or some activations give them. The loss takes the softmax of the logits, which
 * other activations take some values from.
 */
const struct node *graph_output_activation(const struct graph *graph, const char **activation);

/* -1 where there is none. */
int graph_find(const struct graph *graph, const char *name);

/* The weights of a graph: memory in the kernels' order. */
struct model {
    const struct graph *graph;
    float *parameters; /* [graph->parameter_length] */
    float *buffers;    /* [graph->buffer_length] */
};

/* Draws the initial weights: those of a parameter depend on the seed and its name alone. */
enum colonnade_status model_create(struct model **model, const struct graph *graph, uint64_t seed,
                                   struct colonnade_error *error);
void model_destroy(struct model *model);
void model_copy(struct model *to, const struct model *from); /* of the same graph */

/* Copies a parameter out into, or in from, row-major order of its dims. `array` is the model's
 * parameters, buffers, or anything laid out like them (gradients, optimizer state). */
void parameter_export(const struct parameter *parameter, const float *array, float *values);
void parameter_import(const struct parameter *parameter, const float *values, float *array);

#endif
