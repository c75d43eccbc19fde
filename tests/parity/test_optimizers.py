"""Optimizers, schedules and the loss's options do what PyTorch's of the same names do."""
import pytest

for module in ("h5py", "torch"):
    pytest.importorskip(module)

from training import Comparison, Sample

# No bias stands right before a batch norm: its gradient is 0 but for rounding, which adam and
# rmsprop would scale up to whole steps.
NODES = """
[conv1]
type = conv
filters = 8
kernel = 3
activation = tanh
[bn1]
type = batchnorm
[pool1]
type = avgpool
kernel = 2
[fc1]
type = dense
units = 12
activation = silu
[fc2]
type = dense
units = classes
"""


def check(colonnade, folder, epochs=2, **keys):
    sample = Sample(folder, (2, 9, 9), 5, train=13, test=7)
    train = {"epochs": epochs, "batch": 4, **keys}
    body = "[train]\n" + "".join(f"{key} = {value}\n" for key, value in train.items()) + NODES
    Comparison(colonnade, folder, sample, body).check()


@pytest.mark.parametrize("keys", [
    dict(optimizer="sgd"),
    dict(optimizer="sgd", lr=0.1),
    dict(optimizer="sgd", lr=0.05, momentum=0.9),
    dict(optimizer="sgd", lr=0.05, momentum=0.9, nesterov="true"),
    dict(optimizer="sgd", lr=0.05, momentum=0.5, weight_decay=0.1),
    dict(optimizer="sgd", lr=0.05, momentum=0.5, weight_decay=0.1, nesterov="true"),
    dict(optimizer="adam"),
    dict(optimizer="adam", lr=0.01, beta1=0.8, beta2=0.95, eps=1e-4),
    dict(optimizer="adam", lr=0.01, weight_decay=0.1),
    dict(optimizer="adamw"),
    dict(optimizer="adamw", lr=0.01, weight_decay=0.3),
    dict(optimizer="adamw", lr=0.01, beta1=0, beta2=0.9, eps=1e-3, weight_decay=0),
    dict(optimizer="rmsprop"),
    dict(optimizer="rmsprop", lr=0.003, momentum=0.9, beta2=0.9, eps=1e-3),
    dict(optimizer="rmsprop", lr=0.003, weight_decay=0.1),
], ids=lambda keys: " ".join(map(str, keys.values())))
def test_optimizer(colonnade, tmp_path, keys):
    check(colonnade, tmp_path, **keys)


@pytest.mark.parametrize("warmup", [0, 0.5, 1, 2])
@pytest.mark.parametrize("keys", [
    dict(schedule="constant"),
    dict(schedule="step", step_epochs=1),
    dict(schedule="step", step_epochs=2, gamma=0.5),
    dict(schedule="cosine"),
    dict(schedule="linear"),
    dict(schedule="onecycle"),
], ids=lambda keys: " ".join(map(str, keys.values())))
def test_schedule(colonnade, tmp_path, keys, warmup):
    check(colonnade, tmp_path, epochs=4, lr=0.05, momentum=0.5, warmup=warmup, **keys)


@pytest.mark.parametrize("keys", [
    dict(label_smoothing=0.1),
    dict(label_smoothing=1),
    dict(clip_norm=0.5),
    dict(clip_norm=3),
    dict(clip_norm=1000),
    dict(max_steps=3),
    dict(max_steps=6),
], ids=lambda keys: " ".join(map(str, keys.items())))
def test_option(colonnade, tmp_path, keys):
    check(colonnade, tmp_path, lr=0.05, momentum=0.9, **keys)
