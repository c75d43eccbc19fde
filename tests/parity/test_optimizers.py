"""Optimizers, schedules and the loss's options do what PyTorch's of the same names do, step for step.
"""
import pytest

for module in ("h5py", "torch"):
    pytest.importorskip(module)

import torch

from training import Comparison, Sample, make_schedule, run_program

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


STEPS_AN_EPOCH, EPOCHS = 4, 50
STEPS = STEPS_AN_EPOCH * EPOCHS


def compare(colonnade, folder, epochs, **keys):
    sample = Sample(folder, (2, 9, 9), 5, train=13, test=7)
    train = {"epochs": epochs, "batch": 4, **keys}
    body = "[train]\n" + "".join(f"{key} = {value}\n" for key, value in train.items()) + NODES
    made = Comparison(colonnade, folder, sample, body, draws=2)
    made.check()
    return made


# Each with a schedule, so that what it computes is what is applied.
@pytest.mark.parametrize("keys", [
    dict(optimizer="sgd"),
    dict(optimizer="sgd", lr=0.1, schedule="step", step_epochs=20, gamma=0.3),
    dict(optimizer="sgd", lr=0.05, momentum=0.9, schedule="cosine", warmup=5),
    dict(optimizer="sgd", lr=0.05, momentum=0.9, nesterov="true", schedule="linear"),
    dict(optimizer="sgd", lr=0.05, momentum=0.5, weight_decay=0.1),
    dict(optimizer="sgd", lr=0.05, momentum=0.5, weight_decay=0.1, nesterov="true",
         schedule="onecycle"),
    dict(optimizer="adam"),
    dict(optimizer="adam", lr=0.01, beta1=0.8, beta2=0.95, eps=1e-4, schedule="onecycle"),
    dict(optimizer="adam", lr=0.01, weight_decay=0.1, schedule="cosine"),
    dict(optimizer="adamw"),
    dict(optimizer="adamw", lr=0.01, weight_decay=0.3, schedule="linear", warmup=10.5),
    dict(optimizer="adamw", lr=0.01, beta1=0, beta2=0.9, eps=1e-3, weight_decay=0),
    dict(optimizer="rmsprop", lr=0.001),
    dict(optimizer="rmsprop", lr=0.001, momentum=0.9, beta2=0.9, eps=1e-3, schedule="cosine"),
    dict(optimizer="rmsprop", lr=0.001, weight_decay=0.1, schedule="step", step_epochs=12.5),
], ids=lambda keys: " ".join(map(str, keys.values())))
def test_optimizer(colonnade, tmp_path, keys):
    made = compare(colonnade, tmp_path, EPOCHS, **keys)
    assert len(made.ours.steps["loss"]) == STEPS


@pytest.mark.parametrize("warmup", [0, 0.5, 1, 7.25, 40])
@pytest.mark.parametrize("keys", [
    dict(schedule="constant"),
    dict(schedule="step", step_epochs=1, gamma=0.9),
    dict(schedule="step", step_epochs=10),
    dict(schedule="step", step_epochs=7.5, gamma=1.5),
    dict(schedule="cosine"),
    dict(schedule="linear"),
    dict(schedule="onecycle"),
], ids=lambda keys: " ".join(map(str, keys.values())))
def test_schedule(colonnade, tmp_path, keys, warmup):
    """PyTorch goes from one rate to the next by a factor or a sum: each of 200 steps may add some
    roundings, of double precision, in units of the largest rate."""
    train = {"epochs": EPOCHS, "batch": 4, "lr": 0.05, "warmup": warmup, **keys}
    sample = Sample(tmp_path, (1, 2, 2), 3, train=13)
    text = sample.head(tmp_path / "run.h5") + "[train]\n" + "".join(
        f"{key} = {value}\n" for key, value in train.items()) + "[fc]\ntype = dense\nunits = 3\n"
    rates = run_program(colonnade, tmp_path, text).steps["lr"]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.05)
    schedule = make_schedule(optimizer, {key: str(value) for key, value in train.items()},
                             STEPS_AN_EPOCH)
    expected = []
    for _ in range(STEPS):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(expected, rel=0, abs=STEPS * 8 * 2.0 ** -53 * max(expected))


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
    compare(colonnade, tmp_path, 2, lr=0.05, momentum=0.9, **keys)
