/* Protobuf messages out of calls. */
#include "engine/export/onnx_graph.h"

#include "engine/base/memory.h"

#include ONNX_MESSAGES
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct onnx_model {
    Onnx__ModelProto proto;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opset, *opsets[1];
    Onnx__ValueInfoProto *input, *output;
    size_t node_capacity, tensor_capacity, metadata_capacity;
    const char *owner;
    int step; /* operations of the owner */
    void **blocks;
    size_t block_count, block_capacity;
    enum colonnade_status status;
    struct colonnade_error error;
};

void *onnx_allocate(struct onnx_model *model, size_t count, size_t size)
{
    if (model->status == COLONNADE_OK)
        model->status = memory_grow(&model->blocks, &model->block_capacity, model->block_count + 1,
                                    sizeof *model->blocks, "an ONNX model", &model->error);
    void *block = NULL;
    if (model->status == COLONNADE_OK)
        model->status = memory_allocate(&block, count, size, "an ONNX model", &model->error);
    if (block)
        model->blocks[model->block_count++] = block;
    return block;
}

static char *format_text(struct onnx_model *model, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static char *format_text(struct onnx_model *model, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = onnx_allocate(model, (size_t)length + 1, 1);
    if (!text)
        return NULL;
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}

/* Makes room for one more pointer in a message's array, and appends it. */
static void append(struct onnx_model *model, void *array, size_t *count, size_t *capacity,
                   void *message)
{
    void **pointers = *(void ***)array;
    if (model->status == COLONNADE_OK)
        model->status = memory_grow(&pointers, capacity, *count + 1, sizeof *pointers,
                                    "an ONNX model", &model->error);
    if (model->status != COLONNADE_OK || !message)
        return;
    *(void ***)array = pointers;
    pointers[(*count)++] = message;
}

enum colonnade_status onnx_create(struct onnx_model **created, const char *name,
                                  const char *producer_version, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    struct onnx_model *model;
    TRY(memory_allocate(&model, 1, sizeof *model, "an ONNX model", error));
    onnx__model_proto__init(&model->proto);
    onnx__graph_proto__init(&model->graph);
    onnx__operator_set_id_proto__init(&model->opset);
    model->proto.has_ir_version = true;
    model->proto.ir_version = ONNX_IR_VERSION;
    model->proto.producer_name = format_text(model, "%s", ONNX_PRODUCER);
    model->proto.producer_version = format_text(model, "%s", producer_version);
    model->proto.graph = &model->graph;
    model->opset.domain = format_text(model, "%s", ""); /* ONNX's own operators */
    model->opset.has_version = true;
    model->opset.version = ONNX_OPSET;
    model->opsets[0] = &model->opset;
    model->proto.n_opset_import = 1;
    model->proto.opset_import = model->opsets;
    model->graph.name = format_text(model, "%s", name);
    *created = model;
out:
    return status;
}

void onnx_destroy(struct onnx_model *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < model->block_count; i++)
        free(model->blocks[i]);
    free(model->blocks);
    free(model->graph.node);
    free(model->graph.initializer);
    free(model->proto.metadata_props);
    free(model);
}

void onnx_owner(struct onnx_model *model, const char *owner)
{
    model->owner = owner;
    model->step = 0;
}

const char *onnx_operation(struct onnx_model *model, const char *type, size_t count,
                           const char *const *inputs)
{
    Onnx__NodeProto *node = onnx_allocate(model, 1, sizeof *node);
    char **output = onnx_allocate(model, 1, sizeof *output);
    char **input = onnx_allocate(model, count, sizeof *input);
    if (!node || !output || !input)
        return NULL;
    onnx__node_proto__init(node);
    for (size_t i = 0; i < count; i++)
        input[i] = format_text(model, "%s", inputs[i] ? inputs[i] : "");
    node->n_input = count;
    node->input = input;
    *output = format_text(model, "%s.%d", model->owner, model->step++);
    node->n_output = 1;
    node->output = output;
    node->name = *output;
    node->op_type = format_text(model, "%s", type);
    append(model, &model->graph.node, &model->graph.n_node, &model->node_capacity, node);
    return *output;
}

const char *onnx_operation1(struct onnx_model *model, const char *type, const char *a)
{
    return onnx_operation(model, type, 1, &a);
}

const char *onnx_operation2(struct onnx_model *model, const char *type, const char *a,
                            const char *b)
{
    return onnx_operation(model, type, 2, (const char *const[]){a, b});
}

static Onnx__NodeProto *last_operation(struct onnx_model *model)
{
    return model->status == COLONNADE_OK ? model->graph.node[model->graph.n_node - 1] : NULL;
}

static Onnx__AttributeProto *add_attribute(struct onnx_model *model, const char *name,
                                           Onnx__AttributeProto__AttributeType type)
{
    enum { MOST = 8 };
    Onnx__NodeProto *node = last_operation(model);
    if (!node)
        return NULL;
    if (!node->attribute)
        node->attribute = onnx_allocate(model, MOST, sizeof(Onnx__AttributeProto *));
    Onnx__AttributeProto *attribute = onnx_allocate(model, 1, sizeof *attribute);
    if (!attribute || node->n_attribute == MOST)
        return NULL;
    onnx__attribute_proto__init(attribute);
    attribute->name = format_text(model, "%s", name);
    attribute->has_type = true;
    attribute->type = type;
    node->attribute[node->n_attribute++] = attribute;
    return attribute;
}

void onnx_integer(struct onnx_model *model, const char *name, int64_t value)
{
    Onnx__AttributeProto *attribute =
        add_attribute(model, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    if (!attribute)
        return;
    attribute->has_i = true;
    attribute->i = value;
}

void onnx_number(struct onnx_model *model, const char *name, float value)
{
    Onnx__AttributeProto *attribute =
        add_attribute(model, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    if (!attribute)
        return;
    attribute->has_f = true;
    attribute->f = value;
}

static int64_t *widen(struct onnx_model *model, size_t count, const int *values)
{
    int64_t *wide = onnx_allocate(model, count, sizeof *wide);
    for (size_t i = 0; i < count && wide; i++)
        wide[i] = values[i];
    return wide;
}

void onnx_integers(struct onnx_model *model, const char *name, size_t count, const int *values)
{
    Onnx__AttributeProto *attribute =
        add_attribute(model, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    int64_t *wide = widen(model, count, values);
    if (!attribute || !wide)
        return;
    attribute->n_ints = count;
    attribute->ints = wide;
}

/* A constant without its values. */
static Onnx__TensorProto *add_tensor(struct onnx_model *model, const char *suffix, int rank,
                                     const int *dims, Onnx__TensorProto__DataType type)
{
    Onnx__TensorProto *tensor = onnx_allocate(model, 1, sizeof *tensor);
    int64_t *wide = widen(model, (size_t)rank, dims);
    if (!tensor || !wide)
        return NULL;
    onnx__tensor_proto__init(tensor);
    tensor->name = format_text(model, "%s.%s", model->owner, suffix);
    tensor->n_dims = (size_t)rank;
    tensor->dims = wide;
    tensor->has_data_type = true;
    tensor->data_type = type;
    append(model, &model->graph.initializer, &model->graph.n_initializer, &model->tensor_capacity,
           tensor);
    return tensor;
}

const char *onnx_floats(struct onnx_model *model, const char *suffix, int rank, const int *dims,
                        const float *values)
{
    Onnx__TensorProto *tensor =
        add_tensor(model, suffix, rank, dims, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    if (!tensor)
        return NULL;
    tensor->n_float_data = 1;
    for (int i = 0; i < rank; i++)
        tensor->n_float_data *= (size_t)dims[i];
    tensor->float_data = (float *)values;
    return tensor->name;
}

const char *onnx_scalar(struct onnx_model *model, const char *suffix, float value)
{
    float *kept = onnx_allocate(model, 1, sizeof *kept);
    if (!kept)
        return NULL;
    *kept = value;
    return onnx_floats(model, suffix, 0, NULL, kept);
}

const char *onnx_shape(struct onnx_model *model, const char *suffix, int rank, const int *dims)
{
    Onnx__TensorProto *tensor =
        add_tensor(model, suffix, 1, &rank, ONNX__TENSOR_PROTO__DATA_TYPE__INT64);
    int64_t *wide = widen(model, (size_t)rank, dims);
    if (!tensor || !wide)
        return NULL;
    tensor->n_int64_data = (size_t)rank;
    tensor->int64_data = wide;
    return tensor->name;
}

/* One dimension of a value's shape; 0: the images, whose number is open. */
static Onnx__TensorShapeProto__Dimension *make_dimension(struct onnx_model *model, int size)
{
    Onnx__TensorShapeProto__Dimension *dimension = onnx_allocate(model, 1, sizeof *dimension);
    if (!dimension)
        return NULL;
    onnx__tensor_shape_proto__dimension__init(dimension);
    if (size > 0) {
        dimension->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        dimension->dim_value = size;
    } else {
        dimension->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        dimension->dim_param = format_text(model, "images");
    }
    return dimension;
}

static Onnx__TypeProto *make_type(struct onnx_model *model, int rank, const int *dims)
{
    Onnx__TypeProto *type = onnx_allocate(model, 1, sizeof *type);
    Onnx__TypeProto__Tensor *tensor = onnx_allocate(model, 1, sizeof *tensor);
    Onnx__TensorShapeProto *shape = onnx_allocate(model, 1, sizeof *shape);
    Onnx__TensorShapeProto__Dimension **dimensions =
        onnx_allocate(model, (size_t)rank + 1, sizeof *dimensions);
    if (!type || !tensor || !shape || !dimensions)
        return NULL;
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    for (int i = 0; i <= rank; i++)
        dimensions[i] = make_dimension(model, i ? dims[i - 1] : 0);
    shape->n_dim = (size_t)rank + 1;
    shape->dim = dimensions;
    tensor->has_elem_type = true;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = shape;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    return type;
}

static Onnx__ValueInfoProto *make_value(struct onnx_model *model, const char *name, int rank,
                                        const int *dims, const char *help)
{
    Onnx__ValueInfoProto *value = onnx_allocate(model, 1, sizeof *value);
    if (!value)
        return NULL;
    onnx__value_info_proto__init(value);
    value->name = format_text(model, "%s", name);
    value->type = make_type(model, rank, dims);
    value->doc_string = format_text(model, "%s", help);
    return value;
}

void onnx_set_input(struct onnx_model *model, const char *name, int rank, const int *dims,
                    const char *help)
{
    model->input = make_value(model, name, rank, dims, help);
    model->graph.input = &model->input;
    model->graph.n_input = 1;
}

void onnx_set_output(struct onnx_model *model, const char *name, int rank, const int *dims,
                     const char *help)
{
    model->output = make_value(model, name, rank, dims, help);
    model->graph.output = &model->output;
    model->graph.n_output = 1;
}

void onnx_rename_last(struct onnx_model *model, const char *name)
{
    Onnx__NodeProto *node = last_operation(model);
    if (node)
        node->name = *node->output = format_text(model, "%s", name);
}

void onnx_metadata(struct onnx_model *model, const char *key, const char *value)
{
    Onnx__StringStringEntryProto *entry = onnx_allocate(model, 1, sizeof *entry);
    if (!entry)
        return;
    onnx__string_string_entry_proto__init(entry);
    entry->key = format_text(model, "%s", key);
    entry->value = format_text(model, "%s", value);
    append(model, &model->proto.metadata_props, &model->proto.n_metadata_props,
           &model->metadata_capacity, entry);
}

enum colonnade_status onnx_finish(struct onnx_model *model, const char *path, void **bytes,
                                  size_t *count, struct colonnade_error *error)
{
    enum colonnade_status status = COLONNADE_OK;
    if (model->status != COLONNADE_OK)
        RAISE(model->status, "%s", model->error.message);
    *count = onnx__model_proto__get_packed_size(&model->proto);
    if (*count > INT_MAX)
        RAISE(COLONNADE_FAILURE,
              "%s: the model takes %zu bytes; protobuf messages have at most 2 GB", path, *count);
    TRY(memory_allocate(bytes, *count, 1, "an ONNX model", error));
    onnx__model_proto__pack(&model->proto, *bytes);
out:
    return status;
}
