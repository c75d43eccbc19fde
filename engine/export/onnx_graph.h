/* An ONNX model under construction: operations in order, each with one output, and constants. What
 * is made belongs to the model and is freed with it. A failure (memory) stays: later calls return
 * NULL and do nothing, and onnx_finish() raises it. Knows protobuf-c and ONNX's schema, and nothing
 * of networks.
 */
#ifndef ENGINE_EXPORT_ONNX_GRAPH_H
#define ENGINE_EXPORT_ONNX_GRAPH_H

#include "engine/base/error.h"

#include <stdint.h>

enum { ONNX_IR_VERSION = 8, ONNX_OPSET = 17, ONNX_RANK = 4 };
#define ONNX_PRODUCER "colonnade"

struct onnx_model;

/* `name` of the graph. Texts are copied. */
enum colonnade_status onnx_create(struct onnx_model **model, const char *name,
                                  const char *producer_version, struct colonnade_error *error);
void onnx_destroy(struct onnx_model *model); /* NULL is fine */

/* Values and constants from here on are named `owner`.something. */
void onnx_owner(struct onnx_model *model, const char *owner);

/* An operation on `count` values; returns its output's name. */
const char *onnx_operation(struct onnx_model *model, const char *type, size_t count,
                           const char *const *inputs);
const char *onnx_operation1(struct onnx_model *model, const char *type, const char *a);
const char *onnx_operation2(struct onnx_model *model, const char *type, const char *a,
                            const char *b);

/* Attributes of the operation that was made last. */
void onnx_integer(struct onnx_model *model, const char *name, int64_t value);
void onnx_integers(struct onnx_model *model, const char *name, size_t count, const int *values);
void onnx_number(struct onnx_model *model, const char *name, float value);

/* Constants; return their names. `suffix` is unique for the owner. Floats are not copied: they have
 * to outlive the model. */
const char *onnx_floats(struct onnx_model *model, const char *suffix, int rank, const int *dims,
                        const float *values);
const char *onnx_shape(struct onnx_model *model, const char *suffix, int rank, const int *dims);
/* Of no dimensions. */
const char *onnx_scalar(struct onnx_model *model, const char *suffix, float value);

/* Memory that lives as long as the model, zeroed; NULL after a failure. */
void *onnx_allocate(struct onnx_model *model, size_t count, size_t size);

/* The graph's one input and one output: float32, [images, dims...]. */
void onnx_set_input(struct onnx_model *model, const char *name, int rank, const int *dims,
                    const char *help);
void onnx_set_output(struct onnx_model *model, const char *name, int rank, const int *dims,
                     const char *help);
/* The operation made last, and what it gives, are called `name`. */
void onnx_rename_last(struct onnx_model *model, const char *name);

void onnx_metadata(struct onnx_model *model, const char *key, const char *value);

/* The model's bytes, allocated by malloc(). */
enum colonnade_status onnx_finish(struct onnx_model *model, const char *path, void **bytes,
                                  size_t *count, struct colonnade_error *error);

#endif
