"""Trains one config twice, with the program and with PyTorch, and compares all that comes out.

Tolerances come from the arithmetic, not from results. The truth is PyTorch in float64. How far
float32 may be from it is seen on PyTorch in float32, and on networks in float64 that are disturbed
at every node by the size of float32's rounding (a sum of k terms has a relative error of about
eps sqrt(k)). SLACK times the largest of these distances is allowed, tensor by tensor, and FLOOR
roundings of its largest value.
"""
import copy
import math
import subprocess
import types

import h5py
import numpy as np
import torch
import torch.nn.functional as F

from network import EPS, Network, freeze, make_optimizer, parse, trained

SLACK, FLOOR = 8, 16

torch.set_num_threads(1)  # the networks are small, and tests share the machine

DATA = """\
[run]
seed = {seed}
output = {output}

[data]
source = hdf5
path = {path}
shuffle = false
mean = {mean}
std = {std}

"""


class Sample:
    """Random images and labels in the file that an hdf5 source reads; shape is (c, h, w)."""

    def __init__(self, folder, shape, classes, train, test=5, seed=1):
        self.path, self.shape, self.classes = folder / "data.h5", shape, classes
        random = np.random.default_rng(seed)
        channels = random.uniform(0.3, 0.6, (2, shape[0])).round(3)
        self.mean, self.std = channels[0], channels[1] / 2
        c, h, w = shape
        with h5py.File(self.path, "w") as file:
            for split, count in (("train", train), ("test", test)):
                images = random.integers(0, 256, (count, h, w, c), dtype=np.uint8)
                labels = random.integers(0, classes, count)
                labels[:1] = classes - 1  # the largest label says how many classes there are
                file[f"{split}/images"], file[f"{split}/labels"] = images, labels
                scaled = (images / 255 - self.mean) / self.std
                setattr(self, split, (torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy()),
                                      torch.from_numpy(labels)))

    def head(self, output, seed=1):
        numbers = {key: ", ".join(map(str, getattr(self, key))) for key in ("mean", "std")}
        return DATA.format(seed=seed, output=output, path=self.path, **numbers)


def run_program(program, folder, text, *arguments):
    """The run file's contents, as plain numbers and arrays."""
    config = folder / "network.ini"
    config.write_text(text)
    output = parse(text)["run"]["output"]
    result = subprocess.run([program, "train", str(config), "--quiet", *arguments],
                            capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, f"{result.stderr}\n{text}"
    with h5py.File(output) as file:
        return types.SimpleNamespace(
            state={key: torch.from_numpy(value[()]) for key, value in file["state_dict"].items()},
            steps={key: file["metrics/step"][key][()] for key in ("loss", "lr", "gradient_norm")},
            test=dict(file["evaluation/test"].attrs),
            golden={key: torch.from_numpy(file["golden"][key][()]) for key in ("input", "logits")})


def make_schedule(optimizer, keys, batches):
    """PyTorch's scheduler, stepped after every mini-batch."""
    schedules = torch.optim.lr_scheduler
    total, warmup = int(keys["epochs"]) * batches, round(float(keys.get("warmup", 0)) * batches)
    name, after = keys.get("schedule", "constant"), total - warmup
    ramp = warmup and schedules.LinearLR(optimizer, 1 / warmup, total_iters=max(warmup - 1, 1))
    if name == "step":  # its epochs count from the beginning, warm-up or not
        step = schedules.StepLR(optimizer, int(float(keys["step_epochs"]) * batches),
                                float(keys.get("gamma", 0.1)))
        return schedules.ChainedScheduler([ramp, step]) if warmup else step
    main = {
        "constant": lambda: schedules.ConstantLR(optimizer, 1.0),
        "cosine": lambda: schedules.CosineAnnealingLR(optimizer, after),
        "linear": lambda: schedules.LinearLR(optimizer, 1.0, 0.0, after),
        "onecycle": lambda: schedules.OneCycleLR(optimizer, float(keys["lr"]), after,
                                                 cycle_momentum=False),
    }[name]()
    return schedules.SequentialLR(optimizer, [ramp, main], [warmup]) if warmup else main


def disturb(tensor, size):
    tensor.mul_(1 + size * torch.randn_like(tensor))


def train_torch(network, text, sample):
    """Trains `network` in place; returns what it measured at each step."""
    keys = parse(text)["train"]
    batch, limit = int(keys["batch"]), int(keys.get("max_steps", 0)) or math.inf
    images, labels = sample.train
    dtype = next(network.parameters()).dtype
    network.train()
    freeze(network, keys)
    optimizer = make_optimizer(network, keys)
    schedule = make_schedule(optimizer, keys, math.ceil(len(images) / batch))
    clip, steps = float(keys.get("clip_norm", 0)) or math.inf, {"loss": [], "lr": [],
                                                               "gradient_norm": []}
    for _ in range(int(keys["epochs"])):
        for first in range(0, len(images), batch):
            if len(steps["loss"]) == limit:
                return steps
            x = images[first:first + batch].to(dtype)
            if network.noise:
                x = x + network.noise * (x.abs() + 4) * torch.randn_like(x)
            loss = F.cross_entropy(network(x), labels[first:first + batch],
                                   label_smoothing=float(keys.get("label_smoothing", 0)))
            optimizer.zero_grad()
            loss.backward()
            if network.noise:
                for parameter in trained(network):
                    disturb(parameter.grad, network.noise * math.sqrt(batch))
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
            measured = {"loss": loss, "lr": optimizer.param_groups[0]["lr"], "gradient_norm": norm}
            for key, value in measured.items():
                steps[key].append(float(value))
            optimizer.step()
            schedule.step()
            if network.noise:
                with torch.no_grad():
                    for value in weights(network).values():
                        disturb(value, network.noise)
    return steps


def evaluate(network, images):
    with torch.no_grad():
        return network.eval()(images.to(next(network.parameters()).dtype)).double()


def weights(network):
    """Without the count of batches, which PyTorch itself fills in where a file has none."""
    return {key: value for key, value in network.state_dict().items()
            if value.is_floating_point()}


def distance(a, b):
    return (a.double() - b.double()).abs().max().item()


def compare(what, ours, truth, others, summands=0.0):
    """What is wrong, or None; `others`: what float32 and disturbed networks make of it. `summands`:
    the size of what it is the sum or mean of, where that says more than its own."""
    if ours.shape != truth.shape:
        return f"{what}: shape {tuple(ours.shape)} instead of {tuple(truth.shape)}"
    largest = truth.abs().max().item()
    allowed = SLACK * max(distance(other, truth) for other in others) + FLOOR * EPS * max(
        largest, summands)
    found = distance(ours, truth)
    if found <= allowed:
        return None
    return f"{what}: off by {found:.3g}, {allowed:.3g} is allowed; largest value {largest:.3g}"


class Comparison:
    """The same weights, trained by both."""

    def __init__(self, program, folder, sample, body, threads=2, seed=1, draws=3):
        self.draws = draws  # disturbed networks
        self.program, self.folder, self.sample = program, folder, sample
        self.text = sample.head(folder / "run.h5", seed) + body
        self.arguments = ("--threads", str(threads))
        initial = run_program(program, folder, self.text, *self.arguments, "--set",
                              "train.epochs=0")
        self.network = Network(self.text, sample.shape, sample.classes).double()
        self.network.load_state_dict(initial.state, strict=True)

    def variants(self):
        """Fresh copies: float64; then float32 and disturbed ones."""
        others = [copy.deepcopy(self.network).float()]
        for _ in range(self.draws):
            others.append(copy.deepcopy(self.network))
            others[-1].noise = EPS
        return copy.deepcopy(self.network), others

    def train_truth(self):
        """Trains in float64; returns how near a value came to where a gradient jumps."""
        torch.manual_seed(1)
        self.truth, self.others = self.variants()
        self.truth.watch()
        self.truth_steps = train_torch(self.truth, self.text, self.sample)
        return self.truth.nearest_kink()

    def require(self, complaints):
        complaints = [complaint for complaint in complaints if complaint]
        assert not complaints, "\n".join([*complaints, " ".join(self.arguments), self.text])

    def check_training(self):
        self.ours = run_program(self.program, self.folder, self.text, *self.arguments)
        others_steps = [train_torch(other, self.text, self.sample) for other in self.others]
        complaints = [compare(f"{key} of the steps", torch.from_numpy(self.ours.steps[key]),
                              torch.tensor(truth), [torch.tensor(steps[key])
                                                    for steps in others_steps])
                      for key, truth in self.truth_steps.items()]
        truth, others = weights(self.truth), [weights(other) for other in self.others]
        assert self.ours.state.keys() == truth.keys()
        for key, value in truth.items():
            variance = truth.get(key.replace("running_mean", "running_var"), torch.zeros(1))
            summands = variance.max().sqrt().item() if key.endswith("running_mean") else 0
            complaints.append(compare(key, self.ours.state[key], value,
                                      [other[key] for other in others], summands))
        self.require(complaints)

    def check_evaluation(self):
        """The trained weights on the test split: its score, and the stored samples."""
        self.network.load_state_dict(self.ours.state, strict=True)
        truth, others = self.variants()
        images, labels = self.sample.test
        logits = evaluate(truth, images)
        others = [evaluate(other, images) for other in others]
        n = len(self.ours.golden["input"])
        pixels = (images.abs().max() + (self.sample.mean / self.sample.std).max())
        assert distance(self.ours.golden["input"], images[:n]) <= FLOOR * EPS * pixels
        assert self.ours.test["count"] == len(images)
        self.require([
            compare("golden logits", self.ours.golden["logits"], logits[:n],
                    [other[:n] for other in others]),
            compare("test loss", torch.tensor(self.ours.test["loss"]),
                    F.cross_entropy(logits, labels),
                    [F.cross_entropy(other, labels) for other in others])])
        right = [(other.argmax(1) == labels).double().mean().item() for other in [logits, *others]]
        assert min(right) - 1e-9 <= self.ours.test["accuracy"] <= max(right) + 1e-9, self.text

    def check(self):
        self.train_truth()
        self.check_training()
        self.check_evaluation()
