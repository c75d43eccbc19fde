"""Runs an ONNX model with PyTorch: a second reading of ONNX's documentation, for machines without
ONNX Runtime. Knows the operators that exports use, and refuses all others."""
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper


def padded(x, pads, value=0.0):
    top, left, bottom, right = pads
    return F.pad(x, (left, right, top, bottom), value=value)


def conv(x, weight, bias=None, *, kernel_shape, strides, pads, dilations, group):
    assert list(weight.shape[2:]) == kernel_shape
    return F.conv2d(padded(x, pads), weight, bias, strides, 0, dilations, group)


def simple_conv(x, weight, bias=None, **attributes):
    whole = {"kernel_shape": list(weight.shape[2:]), "strides": [1, 1], "pads": [0] * 4,
             "dilations": [1, 1], "group": 1}
    return conv(x, weight, bias, **{**whole, **attributes})


def max_pool(x, *, kernel_shape, strides, pads):
    return F.max_pool2d(padded(x, pads, -torch.inf), kernel_shape, strides)


def average_pool(x, *, kernel_shape, strides, pads, count_include_pad):
    assert count_include_pad == 1
    return F.avg_pool2d(padded(x, pads), kernel_shape, strides)


def gemm(x, weight, bias=None, *, transB):
    assert transB == 1 and x.dim() == 2
    return F.linear(x, weight, bias)


def batch_norm(x, scale, shift, mean, variance, *, epsilon):
    return F.batch_norm(x, mean, variance, scale, shift, eps=epsilon)


def layer_norm(x, weight, bias, *, axis, epsilon):
    assert axis == -1
    return F.layer_norm(x, weight.shape, weight, bias, epsilon)


def lrn(x, *, size, alpha, beta, bias):
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    squares = F.pad(x * x, (0, 0, 0, 0, before, after))
    sums = sum(squares[:, i:i + x.shape[1]] for i in range(size))
    return x / (bias + alpha / size * sums) ** beta


def reshape(x, shape):
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(shape.tolist())])


def total(*inputs):
    return torch.stack(inputs).sum(0)


OPERATORS = {
    "Add": lambda a, b: a + b,
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Clip": lambda x, least, most: torch.minimum(torch.maximum(x, least), most),
    "Concat": lambda *inputs, axis: torch.cat(inputs, axis),
    "Conv": simple_conv,
    "Div": lambda a, b: a / b,
    "Elu": lambda x, alpha: F.elu(x, alpha),
    "Erf": torch.erf,
    "Flatten": lambda x, axis: x.flatten(axis),
    "Gemm": gemm,
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "HardSwish": F.hardswish,
    "Identity": lambda x: x,
    "InstanceNormalization": lambda x, scale, shift, epsilon: F.group_norm(x, x.shape[1], scale,
                                                                           shift, epsilon),
    "LRN": lrn,
    "LayerNormalization": layer_norm,
    "LeakyRelu": lambda x, alpha: F.leaky_relu(x, alpha),
    "MaxPool": max_pool,
    "Mul": lambda a, b: a * b,
    "PRelu": lambda x, slope: torch.where(x < 0, x * slope, x),
    "Pow": lambda a, b: a ** b,
    "Relu": F.relu,
    "Reshape": reshape,
    "Sigmoid": torch.sigmoid,
    "Softmax": lambda x, axis: F.softmax(x, axis),
    "Sub": lambda a, b: a - b,
    "Sum": total,
    "Tanh": torch.tanh,
    "Transpose": lambda x, perm: x.permute(perm),
}


def run(model, pixels):
    values = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
              for tensor in model.graph.initializer}
    values[model.graph.input[0].name] = torch.from_numpy(pixels)
    for node in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        values[node.output[0]] = OPERATORS[node.op_type](*[values[name] for name in node.input],
                                                         **attributes)
    return values[model.graph.output[0].name].numpy()
