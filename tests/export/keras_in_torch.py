"""The part of Keras that exported scripts use, over PyTorch: a second reading of Keras's
documentation, for machines without it. Channels last; refuses what Keras refuses. install() makes
`import keras` mean this module.
"""
import math
import re
import sys
import types

import h5py
import numpy
import torch
import torch.nn.functional as F


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


class Value:
    """What a layer will give for what its inputs give."""

    def __init__(self, layer, inputs):
        self.layer, self.inputs = layer, inputs


class Layer:
    def __init__(self, name=None):
        assert re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.>-]*", name), name  # TensorFlow's rule
        self.name, self.weights = name, []

    def __call__(self, inputs):
        return Value(self, inputs if isinstance(inputs, list) else [inputs])

    def run(self, *inputs):
        return self.call(*inputs)

    def get_config(self):
        return {"name": self.name}

    def take(self, *shapes):
        """The weights, which have to be of these shapes."""
        assert [tuple(w.shape) for w in self.weights] == [tuple(s) for s in shapes], self.name
        return self.weights


def first(x):
    return x.movedim(-1, 1)


def last(x):
    return x.movedim(1, -1)


def same_padding(x, kernel, strides, dilation=(1, 1), value=0.0):
    """TensorFlow's, of an image with channels first."""
    pads = []
    for size, k, stride, d in zip(x.shape[2:], kernel, strides, dilation):
        total = max(0, (math.ceil(size / stride) - 1) * stride + (k - 1) * d + 1 - size)
        pads.append((total // 2, total - total // 2))
    return F.pad(x, (*pads[1], *pads[0]), value=value)


class Rescaling(Layer):
    def __init__(self, scale, offset=0.0, **keys):
        super().__init__(**keys)
        self.scale, self.offset = torch.tensor(scale), torch.tensor(offset)

    def call(self, x):
        return x * self.scale + self.offset


class ZeroPadding2D(Layer):
    def __init__(self, padding, **keys):
        super().__init__(**keys)
        self.padding = padding

    def call(self, x):
        (t, b), (l, r) = self.padding
        return F.pad(x, (0, 0, l, r, t, b))


class Conv2D(Layer):
    depthwise = False

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", dilation_rate=(1, 1),
                 groups=1, use_bias=True, **keys):
        super().__init__(**keys)
        self.filters, self.kernel, self.strides = filters, pair(kernel_size), pair(strides)
        self.dilation, self.groups, self.use_bias = pair(dilation_rate), groups, use_bias
        assert padding in ("valid", "same")
        self.same = padding == "same"
        assert max(self.strides) == 1 or max(self.dilation) == 1

    def shapes(self, channels):
        return (*self.kernel, channels // self.groups, self.filters), (self.filters,)

    def call(self, x):
        shapes = self.shapes(x.shape[-1])
        kernel, *bias = self.take(*shapes[:1 + self.use_bias])
        kernel = kernel.permute(3, 2, 0, 1)
        return self.convolve(first(x), kernel, bias, self.groups)

    def convolve(self, x, kernel, bias, groups):
        if self.same:
            x = same_padding(x, self.kernel, self.strides, self.dilation)
        return last(F.conv2d(x, kernel, *bias, stride=self.strides, dilation=self.dilation,
                             groups=groups))


class DepthwiseConv2D(Conv2D):
    def __init__(self, kernel_size, depth_multiplier=1, **keys):
        super().__init__(None, kernel_size, **keys)
        self.multiplier = depth_multiplier
        assert self.strides[0] == self.strides[1]

    def call(self, x):
        channels = x.shape[-1]
        shapes = (*self.kernel, channels, self.multiplier), (channels * self.multiplier,)
        kernel, *bias = self.take(*shapes[:1 + self.use_bias])
        kernel = kernel.permute(2, 3, 0, 1).flatten(0, 1)[:, None]
        return self.convolve(first(x), kernel, bias, channels)


class MaxPooling2D(Layer):
    def __init__(self, pool_size, strides, padding="valid", **keys):
        super().__init__(**keys)
        self.kernel, self.strides, self.same = pair(pool_size), pair(strides), padding == "same"

    def call(self, x):
        x = first(x)
        if self.same:
            x = same_padding(x, self.kernel, self.strides, value=-math.inf)
        return last(F.max_pool2d(x, self.kernel, self.strides))


class AveragePooling2D(Layer):
    def __init__(self, pool_size, strides, **keys):
        super().__init__(**keys)
        self.kernel, self.strides = pair(pool_size), pair(strides)

    def call(self, x):
        return last(F.avg_pool2d(first(x), self.kernel, self.strides))


class GlobalAveragePooling2D(Layer):
    def call(self, x):
        assert x.dim() == 4
        return x.mean((1, 2))


class BatchNormalization(Layer):
    def __init__(self, momentum, epsilon, **keys):
        super().__init__(**keys)
        self.epsilon = epsilon

    def call(self, x):
        gamma, beta, mean, variance = self.take(*4 * [x.shape[-1:]])
        return (x - mean) / torch.sqrt(variance + self.epsilon) * gamma + beta


class GroupNormalization(Layer):
    def __init__(self, groups, epsilon, **keys):
        super().__init__(**keys)
        self.groups, self.epsilon = groups, epsilon

    def call(self, x):
        gamma, beta = self.take(*2 * [x.shape[-1:]])
        return last(F.group_norm(first(x), self.groups, gamma, beta, self.epsilon))


class LayerNormalization(Layer):
    def __init__(self, epsilon, **keys):
        super().__init__(**keys)
        self.epsilon = epsilon

    def call(self, x):
        gamma, beta = self.take(*2 * [x.shape[-1:]])
        return F.layer_norm(x, x.shape[-1:], gamma, beta, self.epsilon)


def relu(x, negative_slope=0.0, max_value=None):
    x = torch.where(x < 0, x * negative_slope, x)
    return x if max_value is None else x.clamp(max=max_value)


class ReLU(Layer):
    def __init__(self, max_value=None, negative_slope=0.0, **keys):
        super().__init__(**keys)
        self.keys = negative_slope, max_value

    def call(self, x):
        return relu(x, *self.keys)


class ELU(Layer):
    def __init__(self, alpha, **keys):
        super().__init__(**keys)
        self.alpha = alpha

    def call(self, x):
        return F.elu(x, self.alpha)


class Activation(Layer):
    NAMES = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": F.gelu, "swish": F.silu}

    def __init__(self, activation, **keys):
        super().__init__(**keys)
        self.call = activation if callable(activation) else self.NAMES[activation]


class PReLU(Layer):
    def __init__(self, shared_axes=None, **keys):
        super().__init__(**keys)
        self.shared = shared_axes or []

    def call(self, x):
        alpha, = self.take([1 if axis in self.shared else size
                            for axis, size in enumerate(x.shape) if axis > 0])
        return torch.where(x < 0, alpha * x, x)


class Softmax(Layer):
    def call(self, x):
        return F.softmax(x, -1)


class Dropout(Layer):
    def __init__(self, rate, **keys):
        super().__init__(**keys)

    def call(self, x):
        return x


class Add(Layer):
    def call(self, *inputs):
        assert len({x.shape for x in inputs}) == 1 and len(inputs) > 1
        return torch.stack(inputs).sum(0)


class Concatenate(Layer):
    def call(self, *inputs):
        return torch.cat(inputs, -1)


class Flatten(Layer):
    def call(self, x):
        return x.flatten(1)


class Permute(Layer):
    def __init__(self, dims, **keys):
        super().__init__(**keys)
        self.dims = dims

    def call(self, x):
        return x.permute(0, *self.dims)


class Reshape(Layer):
    def __init__(self, target_shape, **keys):
        super().__init__(**keys)
        self.shape = target_shape

    def call(self, x):
        return x.reshape(len(x), *self.shape)


class Dense(Layer):
    def __init__(self, units, use_bias=True, **keys):
        super().__init__(**keys)
        self.units, self.use_bias = units, use_bias

    def call(self, x):
        shapes = (x.shape[-1], self.units), (self.units,)
        kernel, *bias = self.take(*shapes[:1 + self.use_bias])
        return F.linear(x, kernel.T, *bias)


def Input(shape, name):
    return Value(None, [])


def names_of(group, name):
    """An attribute of names, which may be split into NAME0, NAME1, ..."""
    if name in group.attrs:
        return [text.decode() for text in group.attrs[name]]
    found, chunk = [], 0
    while f"{name}{chunk}" in group.attrs:
        found += [text.decode() for text in group.attrs[f"{name}{chunk}"]]
        chunk += 1
    return found


class Model:
    def __init__(self, inputs, outputs, name):
        self.inputs, self.outputs = inputs, outputs
        self.order = []  # values, each after its inputs
        self.visit(outputs, {inputs})
        names = [value.layer.name for value in self.order]
        assert len(names) == len(set(names)), "Keras wants layers of different names"
        self.layers = {value.layer.name: value.layer for value in self.order}

    def visit(self, value, seen):
        if value in seen:
            return
        seen.add(value)
        for source in value.inputs:
            self.visit(source, seen)
        self.order.append(value)

    def load_weights(self, path, by_name):
        assert by_name and path.endswith(".h5") and not path.endswith(".weights.h5")
        with h5py.File(path) as file:
            assert file.attrs["keras_version"] == b"2.15.0" and file.attrs["backend"] == b"tensorflow"
            for name in names_of(file, "layer_names"):
                self.layers[name].weights = [torch.from_numpy(file[name][weight][()])
                                             for weight in names_of(file[name], "weight_names")]

    def predict(self, pixels, verbose):
        values = {self.inputs: torch.from_numpy(pixels)}
        with torch.no_grad():
            for value in self.order:
                values[value] = value.layer.run(*[values[source] for source in value.inputs])
        return values[self.outputs].numpy()


def pad(x, widths, constant_values):
    return F.pad(x, [n for axis in reversed(widths) for n in axis], value=constant_values)


def install():
    module = types.ModuleType("keras")
    module.Input, module.Model = Input, Model
    module.layers = types.SimpleNamespace(**{name: value for name, value in globals().items()
                                             if isinstance(value, type) and issubclass(value, Layer)})
    module.ops = types.SimpleNamespace(pad=pad, matmul=torch.matmul,
                                       convert_to_tensor=lambda x: torch.from_numpy(numpy.array(x)))
    module.activations = types.SimpleNamespace(relu=relu)
    module.utils = types.SimpleNamespace(
        register_keras_serializable=lambda package: lambda thing: thing)
    module.backend = types.SimpleNamespace(set_image_data_format=lambda form: None)
    sys.modules["keras"] = module
