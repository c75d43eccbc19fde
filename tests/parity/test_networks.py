"""Whole networks: some steps of training from equal weights give what PyTorch gives."""
import pathlib

import pytest

for module in ("h5py", "torch"):
    pytest.importorskip(module)

from training import Comparison, Sample

CONFIGS = pathlib.Path(__file__).parents[2] / "configs" / "bench"

TRAIN = """\
[train]
epochs = 1
batch = 8
lr = 0.05
momentum = 0.9

"""

RESIDUAL = TRAIN + """\
[stem]
type = conv
filters = 16
kernel = 3
padding = 1
bias = false
[stem_bn]
type = batchnorm
[stem_relu]
type = relu
[a1]
type = conv
filters = 16
kernel = 3
padding = same
bias = false
[a1_bn]
type = batchnorm
[a1_relu]
type = relu
[a2]
type = conv
filters = 16
kernel = 3
padding = 1
bias = false
[a2_bn]
type = batchnorm
momentum = 0.3
eps = 1e-3
[a_add]
type = add
inputs = a2_bn, stem_relu
[a]
type = relu
[b1]
type = conv
filters = 24
kernel = 3
stride = 2
padding = 1
bias = false
[b1_bn]
type = batchnorm
[b1_relu]
type = relu
[b2]
type = conv
filters = 24
kernel = 3
padding = 1
bias = false
[b2_bn]
type = batchnorm
[b_project]
type = conv
inputs = a
filters = 24
kernel = 1
stride = 2
bias = false
[b_project_bn]
type = batchnorm
[b_add]
type = add
inputs = b2_bn, b_project_bn
[b]
type = relu
[pool]
type = globalavgpool
[fc]
type = dense
units = classes
"""


def nodes_of(name):
    """The nodes of a config in configs/bench/."""
    text = (CONFIGS / f"{name}.ini").read_text()
    return text[text.index("[conv"):]


@pytest.mark.parametrize("threads", [1, 3])
def test_lenet5_trains_as_in_pytorch(colonnade, tmp_path, threads):
    sample = Sample(tmp_path, (1, 28, 28), 10, train=8 * 4 + 3, test=21)
    Comparison(colonnade, tmp_path, sample, TRAIN + nodes_of("lenet5"), threads).check()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_residual_network_trains_as_in_pytorch(colonnade, tmp_path, threads):
    sample = Sample(tmp_path, (3, 17, 15), 7, train=8 * 3 + 5, test=21)
    Comparison(colonnade, tmp_path, sample, RESIDUAL, threads).check()


# Branch's weights are enough for their gradient to be made beside the next stage. What it is made of
# is the sum's gradient, which stem's could share memory with, if bn's were not added to it there.
WIDE = TRAIN + """\
[stem]
type = conv
filters = 256
kernel = 3
[bn]
type = batchnorm
[branch]
type = conv
filters = 256
kernel = 3
padding = 1
bias = false
[sum]
type = add
inputs = branch, stem
[fc]
type = dense
units = classes
"""


@pytest.mark.parametrize("threads", [1, 3])
def test_a_wide_branch_trains_as_in_pytorch(colonnade, tmp_path, threads):
    sample = Sample(tmp_path, (3, 7, 6), 5, train=8 * 2 + 3, test=9)
    Comparison(colonnade, tmp_path, sample, WIDE, threads).check()


@pytest.mark.parametrize("name", ["typical", "vgg-cifar", "resnet18-cifar", "resnet18"])
def test_a_standard_model_trains_as_in_pytorch(colonnade, tmp_path, name):
    shape, classes = {"typical": ((1, 28, 28), 10),
                      "resnet18": ((3, 45, 43), 1000)}.get(name, ((3, 32, 32), 10))
    sample = Sample(tmp_path, shape, classes, train=7)
    body = TRAIN.replace("batch = 8", "batch = 4").replace("0.05", "0.01")
    Comparison(colonnade, tmp_path, sample, body + nodes_of(name), draws=1).check()


def test_mean_and_std_are_those_of_the_training_images(colonnade, tmp_path):
    sample = Sample(tmp_path, (3, 9, 8), 4, train=21, test=9)
    pixels = sample.train[0] * torch_row(sample.std) + torch_row(sample.mean)
    body = TRAIN + "[fc]\ntype = dense\nunits = classes\n"
    comparison = Comparison(colonnade, tmp_path, sample, body)
    comparison.text = comparison.text.replace("mean = ", "mean = auto ;").replace("std = ",
                                                                                  "std = auto ;")
    mean, std = pixels.mean((0, 2, 3)).numpy(), pixels.std((0, 2, 3), unbiased=False).numpy()
    for split in ("train", "test"):
        images, labels = getattr(sample, split)
        images = images * torch_row(sample.std) + torch_row(sample.mean)
        setattr(sample, split, ((images - torch_row(mean)) / torch_row(std), labels))
    sample.mean, sample.std = mean, std
    comparison.check()


def torch_row(channels):
    import torch
    return torch.as_tensor(channels)[:, None, None]


@pytest.mark.parametrize("frozen", ["stem", "stem, stem_bn", "a1", "a1_bn, a2_bn", "a2, a2_bn, b1",
                                    "stem, stem_bn, a1, a1_bn, a2, a2_bn"])
def test_frozen_nodes_train_as_in_pytorch(colonnade, tmp_path, frozen):
    keys = f"momentum = 0.9\nweight_decay = 0.01\nclip_norm = 0.5\nfreeze = {frozen}\n"
    body = RESIDUAL.replace("momentum = 0.9\n", keys, 1)
    Comparison(colonnade, tmp_path, Sample(tmp_path, (3, 9, 9), 5, train=8 * 2 + 5), body).check()


FOLLOWED = TRAIN + """\
[conv1]
type = conv
filters = 6
kernel = 3
activation = prelu
[conv2]
type = conv
filters = 6
kernel = 3
padding = same
activation = softmax
[sum]
type = add
inputs = conv1, conv2
[pool]
type = maxpool
kernel = 2
[fc1]
type = dense
units = 9
activation = prelu
[fc2]
type = dense
units = classes
"""


@pytest.mark.parametrize("more", ["", "freeze = conv1\n"])
def test_activations_that_are_nodes_train_as_in_pytorch(colonnade, tmp_path, more):
    body = FOLLOWED.replace("momentum = 0.9\n", "momentum = 0.9\n" + more, 1)
    sample = Sample(tmp_path, (2, 9, 9), 5, train=8 * 2 + 5)
    Comparison(colonnade, tmp_path, sample, body).check()
