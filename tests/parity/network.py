"""Builds the network of a config in PyTorch, and its optimizer, from the config's text and the
documentation alone.

Knows nothing of the program: it is the second opinion that the program is compared with. Layers
follow the documented rules, with PyTorch's own operations where it has them, as a user of PyTorch
would write them, for they are timed as well: padding that is the same on both sides is theirs, all
other is resolved here and applied with pad(), and relu works in place where nothing else reads.

A network can also be disturbed: with a `noise` it multiplies every value that passes between nodes,
forward and backward, by 1 + r, where r is what float32 may have done to it. That is how far two
correct programs can be apart.
"""
import collections
import math

import torch
import torch.nn.functional as F
from torch import nn

RESERVED = ("run", "data", "augment", "train", "sweep")
EPS = 2.0 ** -24  # half a unit in the last place of float32: the error of one operation


def parse(text):
    """Sections in the order of the file: {name: {key: value}}."""
    sections = {}
    for line in text.splitlines():
        line = line.split(";")[0].split("#")[0].strip()
        if line.startswith("["):
            keys = sections[line.strip("[]")] = {}
        elif line:
            key, value = line.split("=", 1)
            keys[key.strip()] = value.strip()
    return sections


def pair(text):
    numbers = [int(number) for number in str(text).split("x")]
    return numbers[0], numbers[-1]


def same(size, kernel, stride, dilation, lower):
    """Padding (before, after) such that ceil(size / stride) comes out."""
    out = math.ceil(size / stride)
    total = max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - size)
    less = total // 2
    return (total - less, less) if lower else (less, total - less)


def padding(text, size, kernel, stride, dilation):
    """(top, left, bottom, right); the other arguments are pairs (height, width)."""
    if text == "valid":
        return 0, 0, 0, 0
    if text in ("same", "same_lower"):
        (t, b), (l, r) = (same(*axis, text == "same_lower")
                          for axis in zip(size, kernel, stride, dilation))
        return t, l, b, r
    if "," in text:
        return tuple(int(number) for number in text.split(","))
    h, w = pair(text)
    return h, w, h, w


def split_padding(pad):
    """(height, width) that a layer pads by itself on both sides, and the rest for pad()."""
    t, l, b, r = pad
    return ((t, l), (0, 0, 0, 0)) if (t, l) == (b, r) else ((0, 0), (l, r, t, b))


def gelu(x):
    """PyTorch 1.13's, whose gradient in float32 is wrong where x lies in memory channel by channel
    and the gradient that comes in pixel by pixel, as out of a layernorm."""
    y = F.gelu(x)
    if x.is_contiguous() and y.requires_grad:
        y.register_hook(torch.Tensor.contiguous)
    return y


ACTIVATIONS = {  # name: (function of x and a parameter, that parameter's key and default, kinks)
    "none": (lambda x, _: x, None, ()),
    "relu": (F.relu, None, (0,)),
    "relu6": (F.relu6, None, (0, 6)),
    "leaky_relu": (F.leaky_relu, ("slope", 0.01), (0,)),
    "elu": (F.elu, ("alpha", 1.0), (0,)),
    "sigmoid": (lambda x, _: torch.sigmoid(x), None, ()),
    "tanh": (lambda x, _: torch.tanh(x), None, ()),
    "gelu": (lambda x, _: gelu(x), None, ()),
    "silu": (lambda x, _: F.silu(x), None, ()),
    "hardswish": (lambda x, _: F.hardswish(x), None, (-3, 3)),
}


class Activation(nn.Module):
    def __init__(self, name, keys, in_place=False):
        super().__init__()
        self.function, parameter, self.kinks = ACTIVATIONS[name]
        self.value = parameter and float(keys.pop(parameter[0], parameter[1]))
        if name in ("relu", "relu6"):
            self.value = in_place  # what their second argument is
        self.margin = None  # how near x came to a kink, in shares of its largest value

    def forward(self, x):
        watch_kinks(self, x)
        return self.function(x, self.value)


def watch_kinks(module, x):
    if module.margin is not None and module.kinks:
        gaps = torch.cat([(x - kink).abs().flatten() for kink in module.kinks])
        module.margin = min(module.margin, smallest_share(gaps, x))


def smallest_share(gaps, x):
    """What is 0 to float64 counts for nothing: there, both sides come from the same values."""
    largest = x.abs().max()
    gaps = gaps[gaps > 1e-13 * largest]
    return (gaps.min() / largest).item() if len(gaps) and largest > 0 else math.inf


class Conv(nn.Conv2d):
    def __init__(self, shape, keys):
        kernel, stride = pair(keys.pop("kernel")), pair(keys.pop("stride", 1))
        dilation, groups = pair(keys.pop("dilation", 1)), int(keys.pop("groups", 1))
        pad = padding(keys.pop("padding", "valid"), shape[1:], kernel, stride, dilation)
        both, self.pad = split_padding(pad)
        super().__init__(shape[0], int(keys.pop("filters")), kernel, stride, both, dilation, groups,
                         bias=keys.pop("bias", "true") == "true")
        self.activation = Activation(keys.pop("activation", "none"), {}, in_place=True)
        self.terms = self.weight[0].numel()

    def forward(self, x):
        return self.activation(super().forward(F.pad(x, self.pad) if any(self.pad) else x))


class Dense(nn.Linear):
    def __init__(self, shape, keys, classes):
        units = keys.pop("units")
        super().__init__(math.prod(shape), classes if units == "classes" else int(units),
                         bias=keys.pop("bias", "true") == "true")
        self.activation = Activation(keys.pop("activation", "none"), {}, in_place=True)
        self.terms = self.in_features

    def forward(self, x):
        return self.activation(super().forward(x.flatten(1)))[:, :, None, None]


class Pool(nn.Module):
    """Windows over the input; those that `ceil` adds may hang over its end. PyTorch's pools take
    padding of up to half a window on both sides; all other is applied to the input first."""

    def __init__(self, shape, keys):
        super().__init__()
        self.kernel = pair(keys.pop("kernel"))
        self.stride = pair(keys.pop("stride")) if "stride" in keys else self.kernel
        self.ceil = ceil = keys.pop("ceil", "false") == "true"
        t, l, b, r = padding(keys.pop("padding", "valid"), shape[1:], self.kernel, self.stride,
                             (1, 1))
        self.pad, self.terms, self.margin = (l, r, t, b), math.prod(self.kernel), None
        self.both, rest = split_padding((t, l, b, r))
        self.is_plain = not any(rest) and all(2 * pad <= kernel for pad, kernel in
                                              zip(self.both, self.kernel))
        over = [self.overhang(*axis, ceil) for axis in zip(shape[1:], self.kernel, self.stride,
                                                           (t, l), (b, r))]
        self.over = (0, over[1], 0, over[0])

    @staticmethod
    def overhang(size, kernel, stride, before, after, ceil):
        span = size + before + after - kernel
        out = math.ceil(span / stride) if ceil else span // stride
        if out * stride >= size + before:  # a window has to begin before the input's end
            out -= 1
        return max(0, out * stride - span)


class MaxPool(Pool):
    def forward(self, x):
        if self.is_plain and self.margin is None:
            return F.max_pool2d(x, self.kernel, self.stride, self.both, ceil_mode=self.ceil)
        padded = F.pad(F.pad(x, self.pad, value=-math.inf), self.over, value=-math.inf)
        if self.margin is not None and self.terms > 1:
            windows = F.unfold(padded.flatten(0, 1)[:, None], self.kernel, stride=self.stride)
            first, second = windows.topk(2, dim=1).values.unbind(1)
            self.margin = min(self.margin, smallest_share(first - second, x))
        return F.max_pool2d(padded, self.kernel, self.stride)


class AvgPool(Pool):
    """Padding counts; what hangs over beyond it does not."""

    def forward(self, x):
        if self.is_plain:
            return F.avg_pool2d(x, self.kernel, self.stride, self.both, self.ceil)

        def sums(values):
            return F.avg_pool2d(F.pad(values, self.over), self.kernel, self.stride)
        padded = F.pad(x, self.pad)
        return sums(padded) / sums(torch.ones_like(padded[:1, :1]))


class GlobalAvgPool(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.terms = math.prod(shape[1:])

    def forward(self, x):
        return x.mean((2, 3), keepdim=True)


class BatchNorm(nn.BatchNorm2d):
    terms = 1

    def __init__(self, shape, keys):
        super().__init__(shape[0], float(keys.pop("eps", 1e-5)), float(keys.pop("momentum", 0.1)))


class LayerNorm(nn.LayerNorm):
    """Over the channels of each pixel."""

    def __init__(self, shape, keys):
        super().__init__(shape[0], float(keys.pop("eps", 1e-5)))
        self.terms = shape[0]

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class GroupNorm(nn.GroupNorm):
    def __init__(self, shape, keys):
        groups = int(keys.pop("groups", 32))
        super().__init__(groups, shape[0], float(keys.pop("eps", 1e-5)))
        self.terms = math.prod(shape) // groups


class PRelu(nn.PReLU):
    terms, kinks, margin = 1, (0,), None

    def __init__(self, shape, keys):
        shared = keys.pop("shared", "true") == "true"
        super().__init__(1 if shared else shape[0], float(keys.pop("init", 0.25)))

    def forward(self, x):
        watch_kinks(self, x)
        return super().forward(x)


class Lrn(nn.LocalResponseNorm):
    def __init__(self, keys):
        super().__init__(int(keys.pop("size", 5)), float(keys.pop("alpha", 1e-4)),
                         float(keys.pop("beta", 0.75)), float(keys.pop("k", 1)))
        self.terms = self.size


class Softmax(nn.Softmax):
    """Over the channels of each pixel."""

    def __init__(self, shape):
        super().__init__(dim=1)
        self.terms = shape[0]


class Join(nn.Module):
    terms = 1

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(inputs)


def add(inputs):
    total = inputs[0]
    for x in inputs[1:]:
        total = total + x
    return total


def make(kind, shapes, keys, classes, in_place):
    """The module of a node; what it does not know is left in `keys`. in_place: it may overwrite
    its input."""
    shape = shapes[0]
    if kind in ACTIVATIONS:
        return Activation(kind, keys, in_place)
    if kind == "dropout":
        return nn.Dropout(float(keys.pop("rate", 0.5)))
    makers = {
        "conv": lambda: Conv(shape, keys),
        "dense": lambda: Dense(shape, keys, classes),
        "maxpool": lambda: MaxPool(shape, keys),
        "avgpool": lambda: AvgPool(shape, keys),
        "globalavgpool": lambda: GlobalAvgPool(shape),
        "batchnorm": lambda: BatchNorm(shape, keys),
        "groupnorm": lambda: GroupNorm(shape, keys),
        "layernorm": lambda: LayerNorm(shape, keys),
        "lrn": lambda: Lrn(keys),
        "prelu": lambda: PRelu(shape, keys),
        "softmax": lambda: Softmax(shape),
        "add": lambda: Join(add),
        "concat": lambda: Join(lambda inputs: torch.cat(inputs, 1)),
        "flatten": lambda: Join(lambda inputs: inputs[0].flatten(1)[:, :, None, None]),
    }
    return makers[kind]()


def weights(module):
    """Without batch norm's count of batches, which PyTorch itself fills in where a file has none.
    """
    return {key: value for key, value in module.state_dict().items()
            if value.is_floating_point()}


class Disturb(torch.autograd.Function):
    @staticmethod
    def forward(context, x, size):
        context.size = size
        return x * (1 + size * torch.randn_like(x))

    @staticmethod
    def backward(context, gradient):
        return gradient * (1 + context.size * torch.randn_like(gradient)), None


def disturb_norm(norm, x, size):
    """A norm takes the mean, and the share along y, out of the gradient that it hands on. What is
    left may be 0, but float32 rounded what was subtracted: up to `size` of y's gradient times the
    slope, which is how much wider y spreads than x."""
    x = x * 1.0  # whose gradient alone is disturbed
    y = norm(x)
    if x.requires_grad:
        over = [axis for axis in range(x.dim()) if axis != 1]
        slope = (y.detach().std(over, keepdim=True) / x.detach().std(over, keepdim=True))
        slope, coming = slope.nan_to_num(0, 0, 0), []
        y.register_hook(lambda gradient: coming.append(gradient.abs()))
        x.register_hook(lambda gradient: gradient + size * slope * coming.pop() *
                        torch.randn_like(gradient))
    return y


class Network(nn.Module):
    def __init__(self, text, shape, classes):
        super().__init__()
        self.noise = 0.0
        self.nodes = {}  # name: inputs, in an order to run them in
        sections = {k: dict(v) for k, v in parse(text).items() if k not in RESERVED}
        names = list(sections)
        self.last = names[-1]
        above = dict(zip(names, ["input"] + names))
        inputs = {name: [i.strip() for i in sections[name].pop("inputs", above[name]).split(",")]
                  for name in names}
        self.follow(sections, inputs)
        names = list(sections)
        self.shapes = {"input": shape}
        reads = collections.Counter(source for name in names for source in inputs[name])
        # Values that nothing needs, not even their own gradient, once their reader has read them.
        self.lost = {name for name in names if reads[name] == 1 and
                     sections[name]["type"] in ("batchnorm", "add")}
        self.build(self.last, sections, inputs, classes)

    def follow(self, sections, inputs):
        """An activation that is a node type becomes one, NODE_TYPE, which others read instead."""
        for name in [n for n in sections if sections[n].get("activation") in ("prelu", "softmax")]:
            kind = sections[name].pop("activation")
            after = f"{name}_{kind}"
            for sources in inputs.values():
                sources[:] = [after if source == name else source for source in sources]
            sections[after], inputs[after] = {"type": kind}, [name]
            if self.last == name:
                self.last = after

    def build(self, name, sections, inputs, classes):
        if name in self.shapes:
            return
        for source in inputs[name]:
            self.build(source, sections, inputs, classes)
        keys = sections[name]
        keys.pop("init", None)
        shapes = [self.shapes[source] for source in inputs[name]]
        module = make(keys.pop("type"), shapes, keys, classes, self.lost.issuperset(inputs[name]))
        assert not keys, f"[{name}] has keys that parity does not know: {keys}"
        self.add_module(name, module)
        self.nodes[name] = inputs[name]
        with torch.no_grad():
            y = module.eval()(*[torch.zeros(1, *shape) for shape in shapes])
        self.shapes[name] = tuple(y.shape[1:])

    def forward(self, x):
        values = {"input": x}
        for name, inputs in self.nodes.items():
            module = self._modules[name]
            x = [values[source] for source in inputs]
            if self.noise and isinstance(module, (BatchNorm, GroupNorm, LayerNorm)):
                y = disturb_norm(module, x[0], self.noise)
            else:
                y = module(*x)
            if self.noise:
                y = Disturb.apply(y, self.noise * (1 + math.sqrt(getattr(module, "terms", 1))))
            values[name] = y
        return values[self.last].flatten(1)

    def draw(self, seed):
        """Random numbers for all that PyTorch begins with 0, 1 or another constant; what remains
        is as PyTorch draws it. All are numbers that float32 has."""
        torch.manual_seed(seed)
        for module in self.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        ranges = {"weight": (0.5, 1.5), "bias": (-0.5, 0.5), "running_mean": (-0.5, 0.5),
                  "running_var": (0.5, 1.5)}
        for name, value in weights(self).items():
            if value.dim() == 1:
                value.uniform_(*ranges[name.rpartition(".")[2]])
        for module in self.modules():
            if isinstance(module, PRelu):
                module.weight.detach().uniform_(-0.2, 0.6)
        for value in weights(self).values():
            value.copy_(value.float())

    def watch(self):
        """From now on, nearest_kink() tells how near a value came to a kink."""
        for module in self.modules():
            if hasattr(module, "margin"):
                module.margin = math.inf

    def nearest_kink(self):
        return min((m.margin for m in self.modules() if getattr(m, "margin", None) is not None),
                   default=math.inf)


def freeze(network, keys):
    """Frozen modules compute as in evaluation, and none of their state changes."""
    for name in filter(None, keys.get("freeze", "").replace(" ", "").split(",")):
        for own in (name, f"{name}_prelu"):
            if hasattr(network, own):
                getattr(network, own).eval().requires_grad_(False)


def trained(network):
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def make_optimizer(network, keys):
    """PyTorch's optimizer for a config's [train]."""
    def number(key, default):
        return float(keys.get(key, default))
    name, momentum = keys.get("optimizer", "sgd"), number("momentum", 0)
    adam = {"lr": number("lr", 1e-3), "betas": (number("beta1", 0.9), number("beta2", 0.999)),
            "eps": number("eps", 1e-8)}
    decay = number("weight_decay", 0.01 if name == "adamw" else 0)
    parameters = trained(network)
    if name == "sgd":
        return torch.optim.SGD(parameters, number("lr", 0.01), momentum, weight_decay=decay,
                               nesterov=keys.get("nesterov") == "true")
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, number("lr", 0.01), number("beta2", 0.99),
                                   number("eps", 1e-8), decay, momentum)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[name](parameters, weight_decay=decay, **adam)
