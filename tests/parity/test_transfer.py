"""Weights that PyTorch trained, written with a few lines of h5py, score as they score there, to the
image."""
import json
import pathlib
import re
import subprocess

import pytest

for module in ("h5py", "torch"):
    pytest.importorskip(module)

import h5py
import numpy as np
import torch
from torch import nn

CLASSES, SIZE = 4, 12
DOCUMENTATION = pathlib.Path(__file__).parents[2] / "docs" / "run-file.md"

CONFIG = """\
[run]
output = {folder}/run.h5
[data]
source = hdf5
path = {folder}/data.h5
mean = 0.5
std = 0.25
[train]
epochs = 0
init_from = {folder}/weights.h5
[conv1]
type = conv
filters = 8
kernel = 3
padding = 1
bias = false
[bn1]
type = batchnorm
[relu1]
type = relu
[pool1]
type = maxpool
kernel = 2
[conv2]
type = conv
filters = 12
kernel = 3
stride = 2
padding = 1
activation = silu
[fc]
type = dense
units = classes
"""


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.fc = nn.Linear(12 * 3 * 3, CLASSES)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 2)
        return self.fc(nn.functional.silu(self.conv2(x)).flatten(1))


def draw_images(random, patterns, count):
    """A pattern a class, under noise that hides it in part."""
    labels = random.integers(0, CLASSES, count)
    noise = random.normal(0, 40, (count, SIZE, SIZE, 3))
    images = 128 + patterns[labels] + noise
    return images.clip(0, 255).astype(np.uint8), labels


def as_input(images):
    scaled = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    return scaled.contiguous()


def train(model, images, labels):
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    for first in range(0, len(images), 32):
        loss = nn.functional.cross_entropy(model(as_input(images[first:first + 32])),
                                           torch.from_numpy(labels[first:first + 32]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def documented_lines():
    """The lines of the documentation that write a model's weights."""
    text = DOCUMENTATION.read_text()
    lines, = re.findall(r'^with h5py.File\("weights.h5", "w"\).*?(?=```)', text, re.M | re.S)
    return lines


def test_a_model_of_pytorch_scores_as_there_to_the_image(colonnade, tmp_path, monkeypatch):
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    patterns = random.normal(0, 11, (CLASSES, SIZE, SIZE, 3))
    model = Model()
    train(model, *draw_images(random, patterns, 2000))
    images, labels = draw_images(random, patterns, 500)

    monkeypatch.chdir(tmp_path)
    exec(documented_lines(), {"h5py": h5py, "model": model})  # writes weights.h5
    with h5py.File("data.h5", "w") as file:
        for split in ("train", "test"):
            file[f"{split}/images"], file[f"{split}/labels"] = images, labels
    pathlib.Path("transfer.ini").write_text(CONFIG.format(folder=tmp_path))
    result = subprocess.run([colonnade, "train", "transfer.ini"], check=True, capture_output=True,
                            text=True)
    assert "bn1.num_batches_tracked" in result.stderr  # what was left is said
    ours = json.loads(subprocess.run([colonnade, "eval", "run.h5", "--json"], check=True,
                                     capture_output=True, text=True).stdout)

    with torch.no_grad():
        logits = model.eval()(as_input(images))
    first, second = logits.topk(2).values.unbind(1)
    assert (first - second).min() > 1e-5 * logits.abs().max()  # else rounding chooses the class
    confusion = np.zeros((CLASSES, CLASSES), int)
    np.add.at(confusion, (labels, logits.argmax(1).numpy()), 1)
    assert 0.5 < confusion.trace() / len(labels) < 0.95  # many are right, and many are not
    assert ours["confusion"] == confusion.tolist()
    assert ours["count"] == len(labels)
    assert ours["accuracy"] == confusion.trace() / len(labels)
    assert ours["loss"] == pytest.approx(
        nn.functional.cross_entropy(logits.double(), torch.from_numpy(labels)).item(), rel=1e-5)
