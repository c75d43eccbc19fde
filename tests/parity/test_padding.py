"""Every form of padding gives PyTorch's results, for convolutions and pools of every kind."""
import itertools

import pytest

for module in ("h5py", "torch"):
    pytest.importorskip(module)

from training import Comparison, Sample

TRAIN = "[train]\nepochs = 1\nbatch = 4\nlr = 0.05\nmomentum = 0.9\n\n"
KERNELS = ("1", "2", "3", "4", "5", "3x2", "2x5")
STRIDES = ("1", "2", "3", "2x1")


def node(name, **keys):
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()) + "\n"


def check(colonnade, folder, nodes, shape=(3, 9, 8), threads=2):
    """Many nodes on the same data, each a branch of one network."""
    names, text = [], ""
    for name, keys in nodes.items():
        text += node(name, inputs="stem", **keys) + node(name + "_all", type="dense", units=4)
        names.append(name + "_all")
    stem = node("stem", type="conv", filters=6, kernel=1)
    join = node("join", type="add", inputs=", ".join(names)) if len(names) > 1 else ""
    sample = Sample(folder, shape, 4, train=10)
    Comparison(colonnade, folder, sample, TRAIN + stem + text + join, threads).check()


@pytest.mark.parametrize("filters", [1, 5, 16])
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("padding", ["valid", "same", "same_lower", "1", "2", "1x2",
                                     "0, 1, 2, 0", "2, 0, 1, 3"])
def test_conv(colonnade, tmp_path, padding, stride, filters):
    nodes = {f"k{kernel}": dict(type="conv", filters=filters, kernel=kernel, stride=stride,
                                padding=padding, activation="tanh") for kernel in KERNELS}
    check(colonnade, tmp_path, nodes)


@pytest.mark.parametrize("padding", ["valid", "same", "same_lower", "2", "2, 0, 1, 3"])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_dilated_and_grouped_conv(colonnade, tmp_path, padding, groups):
    nodes = {}
    for kernel, stride, dilation in itertools.product(("2", "3", "3x1"), ("1", "2"), ("1", "3x2")):
        nodes[f"k{kernel}s{stride}d{dilation}"] = dict(
            type="conv", filters=12, kernel=kernel, stride=stride, dilation=dilation,
            groups=groups, padding=padding, activation="tanh")
    check(colonnade, tmp_path, nodes)


@pytest.mark.parametrize("kind", ["maxpool", "avgpool"])
@pytest.mark.parametrize("channels", [3, 12, 32])
def test_of_what_is_read_in_part_the_rest_is_not_missed(colonnade, tmp_path, channels, kind):
    """The last pooling reads less than there is, so less than there is was read before it."""
    text, names = node("stem", type="conv", filters=channels, kernel=1), []
    for keys in (dict(), dict(stride=2), dict(dilation=2), dict(groups=channels),
                 dict(groups=3 if channels % 3 == 0 else 4), dict(padding=1), dict(kernel="4x2")):
        name = f"branch{len(names)}"
        conv = {"type": "conv", "filters": channels, "kernel": 3} | keys
        text += node(name, inputs="stem", **conv)
        text += node(name + "_pool", type=kind, kernel=2, stride=1)
        text += node(name + "_conv", **conv, activation="relu")
        text += node(name + "_last", type=kind, kernel=4, stride=5)
        text += node(name + "_all", type="dense", units=4)
        names.append(name + "_all")
    text += node("join", type="add", inputs=", ".join(names))
    sample = Sample(tmp_path, (3, 31, 29), 4, train=10)
    Comparison(colonnade, tmp_path, sample, TRAIN.replace("0.05", "0.01") + text, 2).check()


@pytest.mark.parametrize("kind", ["maxpool", "avgpool"])
@pytest.mark.parametrize("ceil", ["false", "true"])
@pytest.mark.parametrize("stride", STRIDES + ("4",))
@pytest.mark.parametrize("padding", ["valid", "1", "0, 1, 1, 0", "1, 0, 0, 1"])
def test_pool(colonnade, tmp_path, kind, padding, stride, ceil):
    nodes = {f"k{kernel}": dict(type=kind, kernel=kernel, stride=stride, padding=padding, ceil=ceil)
             for kernel in KERNELS if kernel != "1" or padding == "valid"}
    check(colonnade, tmp_path, nodes)


@pytest.mark.parametrize("kind", ["maxpool", "avgpool"])
@pytest.mark.parametrize("padding", ["same", "same_lower"])
def test_pool_that_keeps_its_size(colonnade, tmp_path, kind, padding):
    nodes = {f"k{kernel}s{stride}": dict(type=kind, kernel=kernel, stride=stride, padding=padding)
             for kernel, stride in itertools.product(KERNELS, STRIDES)}
    check(colonnade, tmp_path, nodes)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 7), (2, 7, 1), (17, 5, 5)])
def test_extreme_sizes(colonnade, tmp_path, shape):
    nodes = {f"{kind}{padding}{stride}": dict(type=kind, kernel=3, stride=stride, padding=padding)
             for kind in ("conv", "maxpool", "avgpool") for padding in ("same", "1")
             for stride in (1, 2)}
    for name, keys in nodes.items():
        if keys["type"] == "conv":
            keys["filters"] = 3
    check(colonnade, tmp_path, nodes, shape, threads=3)


CONVS = {
    "taps": dict(filters=5, kernel=3), "pointwise": dict(filters=7, kernel=1),
    "pixels": dict(filters=12, kernel=3, stride=2, padding=1),
    "rows": dict(filters=9, kernel="3x4", padding=2, dilation="1x2"),
    "depthwise": dict(filters=12, kernel=3, groups=12, padding="same"),
    "groups": dict(filters=8, kernel=2, groups=4),
}


@pytest.mark.parametrize("pool", [
    dict(type="maxpool", kernel=2), dict(type="avgpool", kernel=3),
    dict(type="maxpool", kernel="2x3", stride="3x4", padding="1, 0, 0, 1"),
    dict(type="avgpool", kernel=2, stride=4)])
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
def test_conv_before_a_pool_that_does_not_reach_its_end(colonnade, tmp_path, pool, activation):
    text, names = node("stem", type="conv", filters=12, kernel=1), []
    for name, keys in CONVS.items():
        source = "input" if name == "taps" else "stem"
        text += node(name, type="conv", inputs=source, activation=activation, **keys)
        text += node(name + "_pool", **pool) + node(name + "_all", type="dense", units=4)
        names.append(name + "_all")
    text += node("join", type="add", inputs=", ".join(names))
    sample = Sample(tmp_path, (3, 18, 17), 4, train=10)
    Comparison(colonnade, tmp_path, sample, TRAIN + text, threads=2).check()
