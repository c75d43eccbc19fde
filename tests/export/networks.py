"""Networks that try what exports have to get right, as configs: {name: (shape, classes, nodes)}.

Sizes are odd and sides differ, so that a swapped axis or a wrong order of values shows.
"""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]

LENET = """\
[conv1]
type = conv
filters = 6
kernel = 5x3
padding = same
activation = relu
[pool1]
type = maxpool
kernel = 2
[conv2]
type = conv
filters = 5
kernel = 3
activation = tanh
[pool2]
type = maxpool
kernel = 2
[fc1]
type = dense
units = 9
activation = relu
[fc2]
type = dense
units = classes
bias = false
"""

WINDOWS = """\
[asymmetric]
type = conv
filters = 6
kernel = 3x2
stride = 2x1
padding = 1, 0, 2, 1
bias = false
[same]
type = conv
inputs = input
filters = 6
kernel = 4x3
stride = 2x1
padding = same
[lower]
type = conv
inputs = input
filters = 6
kernel = 4x2
stride = 2x1
padding = same_lower
[around]
type = conv
inputs = input
filters = 5
kernel = 3
padding = same
[around_lower]
type = conv
filters = 4
kernel = 2
padding = same_lower
[dilated]
type = conv
inputs = input
filters = 8
kernel = 3x2
stride = 2x3
dilation = 2x3
padding = 2, 1, 1, 4
[grouped]
type = conv
filters = 6
kernel = 3x2
groups = 2
padding = 1, 1, 1, 0
[multiplied]
type = conv
inputs = input
filters = 9
kernel = 3
stride = 2
groups = 3
padding = 1
[depthwise]
type = conv
filters = 9
kernel = 3x2
stride = 2x1
groups = 9
padding = same
[depthwise_dilated]
type = conv
filters = 9
kernel = 2
stride = 2
dilation = 2
groups = 9
padding = 1
[max_ceil]
type = maxpool
inputs = asymmetric
kernel = 3x2
stride = 2x3
padding = 1, 0, 0, 1
ceil = true
[max_same]
type = maxpool
inputs = same
kernel = 3
stride = 2
padding = same
[max_lower]
type = maxpool
inputs = lower
kernel = 2x3
stride = 1
padding = same_lower
[mean_ceil]
type = avgpool
inputs = asymmetric
kernel = 3x4
stride = 2x3
padding = 1, 0, 0, 1
ceil = true
[mean_same]
type = avgpool
inputs = around_lower
kernel = 3
stride = 2x1
padding = same
[mean]
type = avgpool
inputs = grouped
kernel = 2
[out1]
type = dense
inputs = max_ceil
units = classes
[out2]
type = dense
inputs = max_same
units = classes
[out3]
type = dense
inputs = max_lower
units = classes
[out4]
type = dense
inputs = mean_ceil
units = classes
[out5]
type = dense
inputs = mean_same
units = classes
[out6]
type = dense
inputs = mean
units = classes
[out7]
type = dense
inputs = depthwise_dilated
units = classes
[sum]
type = add
inputs = out1, out2, out3, out4, out5, out6, out7
"""

NORMS = """\
[conv]
type = conv
filters = 6
kernel = 3
stride = 2
[batch]
type = batchnorm
eps = 1e-3
momentum = 0.3
[group]
type = groupnorm
inputs = conv
groups = 3
eps = 1e-3
[layer]
type = layernorm
inputs = conv
eps = 1e-4
[local]
type = lrn
inputs = conv
size = 3
alpha = 0.5
k = 2
[local_even]
type = lrn
inputs = conv
size = 4
alpha = 0.7
beta = 0.6
[all]
type = concat
inputs = batch, group, layer, local, local_even
[fc]
type = dense
units = 12
[batch_vector]
type = batchnorm
[group_vector]
type = groupnorm
groups = 4
[layer_vector]
type = layernorm
[local_vector]
type = lrn
size = 3
alpha = 0.4
[local_vector_even]
type = lrn
inputs = layer_vector
size = 2
alpha = 0.4
[vectors]
type = add
inputs = local_vector, local_vector_even
[logits]
type = dense
units = classes
"""

_KINDS = {"relu": "", "relu6": "", "leaky_relu": "slope = 0.3", "elu": "alpha = 0.6", "sigmoid": "",
          "tanh": "", "gelu": "", "silu": "", "hardswish": "", "prelu": "init = 0.4",
          "softmax": ""}
_OF_CONV = [kind for kind in _KINDS if kind not in ("prelu", "softmax")]
ACTIVATIONS = """\
[spread]
type = conv
filters = 4
kernel = 3x2
stride = 3
[wide]
type = batchnorm
""" + "".join(f"[of_{kind}]\ntype = conv\ninputs = wide\nfilters = 3\nkernel = 2\n"
              f"activation = {kind}\n" for kind in _OF_CONV) + "".join(
    f"[{kind}_]\ntype = {kind}\ninputs = wide\n{keys}\n" for kind, keys in _KINDS.items()) + """\
[prelu_each]
type = prelu
inputs = wide
shared = false
init = 0.3
[steep]
type = leaky_relu
inputs = wide
slope = 1.5
[of_convs]
type = concat
inputs = """ + ", ".join(f"of_{kind}" for kind in _OF_CONV) + """
[of_nodes]
type = concat
inputs = prelu_each, steep, """ + ", ".join(f"{kind}_" for kind in _KINDS) + """
[fc1]
type = dense
inputs = of_convs
units = 14
activation = silu
[fc2]
type = dense
inputs = of_nodes
units = 14
activation = hardswish
[fc]
type = add
inputs = fc1, fc2
""" + "".join(f"[vector_{kind}]\ntype = {kind}\ninputs = fc\n{keys}\n"
              for kind, keys in _KINDS.items()) + """\
[vector_each]
type = prelu
inputs = fc
shared = false
[vectors]
type = concat
inputs = vector_each, """ + ", ".join(f"vector_{kind}" for kind in _KINDS) + """
[logits]
type = dense
units = classes
"""

# A value that is read many times and joined with itself; vectors that meet images of one pixel;
# a vector that is convolved; sections in another order than that of the work; the name of a layer
# that other programs use themselves.
JOINS = """\
[late]
type = conv
inputs = early
filters = 7
kernel = 3
padding = 1
[sum]
type = add
inputs = late, early, late
[early]
type = conv
inputs = input
filters = 7
kernel = 3
stride = 2
activation = relu
[twice]
type = add
inputs = sum, sum
[means]
type = globalavgpool
inputs = twice
[shrunk]
type = avgpool
inputs = twice
kernel = 6x4
[met]
type = add
inputs = means, shrunk
[side]
type = concat
inputs = means, shrunk
[vectors]
type = concat
inputs = means, means
[convolved]
type = conv
inputs = means
filters = 5
kernel = 3x2
padding = 1
activation = elu
[pooled]
type = maxpool
inputs = means
kernel = 2
padding = 1
[means_again]
type = globalavgpool
inputs = means
[dropped]
type = dropout
inputs = convolved
rate = 0.3
[a]
type = dense
inputs = met
units = classes
[b]
type = dense
inputs = side
units = classes
[c]
type = dense
inputs = vectors
units = classes
[d]
type = dense
inputs = dropped
units = classes
[e]
type = dense
inputs = pooled
units = classes
[f]
type = dense
inputs = means_again
units = classes
[output]
type = add
inputs = a, b, c, d, e, f
"""

# Where the order of an image's values counts.
FLATTENS = """\
[conv]
type = conv
filters = 4
kernel = 3
stride = 3
[flat]
type = flatten
[dropped]
type = dropout
rate = 0.2
[lambda]
type = relu
[through]
type = dense
units = 5
[flat_again]
type = flatten
inputs = lambda
[after]
type = dense
units = 5
[_kept]
type = flatten
inputs = conv
[norm]
type = batchnorm
[slopes]
type = prelu
shared = false
[grouped]
type = groupnorm
groups = 4
[from_norm]
type = dense
units = 5
[flat_joined]
type = flatten
inputs = conv
[side]
type = concat
inputs = flat_joined, from_norm
[_from_side]
type = dense
units = 5
[flat_both]
type = flatten
inputs = conv
[soft]
type = softmax
[from_both]
type = dense
inputs = flat_both
units = 5
[from_soft]
type = dense
inputs = soft
units = 5
[image]
type = conv
inputs = flat_both
filters = 5
kernel = 1
[from_image]
type = flatten
inputs = image
[sum]
type = add
inputs = through, after, _from_side, from_both, from_soft, from_image
[fc]
type = dense
units = classes
"""

# The logits are an image's values, flattened by nothing but the network's end.
FLAT_END = """\
[conv]
type = conv
filters = 5
kernel = 3x4
activation = relu
[pool]
type = maxpool
kernel = 3x5
[classes]
type = flatten
"""

# A maximum that activations are taken after, though they are written before it.
SWAPPED = """\
[conv]
type = conv
filters = 4
kernel = 2
activation = elu
[lambda]
type = leaky_relu
slope = 0.2
[pool1]
type = maxpool
kernel = 2
[bent_again]
type = sigmoid
[pool2]
type = maxpool
kernel = 2x1
[pool3]
type = maxpool
kernel = 1x2
stride = 1
[norm]
type = batchnorm
[end]
type = conv
filters = 3
kernel = 2
activation = relu
[last]
type = globalavgpool
"""

NETWORKS = {
    "lenet": ((1, 13, 11), 4, LENET),
    "windows": ((3, 13, 11), 5, WINDOWS),
    "norms": ((2, 9, 8), 3, NORMS),
    "activations": ((3, 13, 10), 4, ACTIVATIONS),
    "joins": ((3, 13, 9), 4, JOINS),
    "flattens": ((2, 11, 9), 4, FLATTENS),
    "flat-end": ((1, 5, 13), 10, FLAT_END),
    "swapped": ((2, 10, 8), 3, SWAPPED),
}

# Of configs/, as they are.
CONFIGS = {
    "lenet5": "bench/lenet5.ini",
    "resnet18-cifar": "bench/resnet18-cifar.ini",
    "mobilenetv2": "networks/mobilenetv2.ini",
    "densenet": "networks/densenet.ini",
}
