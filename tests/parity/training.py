"""Trains one config twice, with the program and with PyTorch, and compares all that comes out.

Tolerances come from the arithmetic, not from results. The truth is PyTorch in float64. How far
float32 may be from it is seen on PyTorch in float32, and on networks in float64 that are disturbed
at every node by the size of float32's rounding (a sum of k terms has a relative error of about
eps sqrt(k)). SLACK times the largest of these distances is allowed, tensor by tensor, and FLOOR
roundings of its largest value. Few disturbed networks may by chance all lie near: before anything
is called wrong, MORE of them are asked.

Adam and rmsprop divide a gradient g by the root r of its mean square, and so its rounding error,
which is about as large in every entry of a tensor: the weight of an entry whose gradient is small
is off by more. A distance of weights counts in units of the sum of lr / (r + eps) over the steps,
which is what a unit of error in g does to an entry; what is allowed is the smaller of both ways to
measure. Where g itself is of rounding size, as of a bias before batch norm, g / r is 1 or -1 as
rounding has it, for the program as for the disturbed networks: they show how far that may lead.
"""
import copy
import math
import pathlib
import subprocess
import types

import h5py
import numpy as np
import torch
import torch.nn.functional as F

from network import EPS, Network, freeze, make_optimizer, parse, trained, weights

SLACK, FLOOR, MORE = 8, 16, 20

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


class ProgramFailed(AssertionError):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def run_program(program, folder, text, *arguments):
    """The run file's contents, as plain numbers and arrays."""
    config = folder / "network.ini"
    config.write_text(text)
    output = parse(text)["run"]["output"]
    pathlib.Path(output).unlink(missing_ok=True)  # of another config, perhaps
    result = subprocess.run([program, "train", str(config), "--quiet", *arguments],
                            capture_output=True, text=True, timeout=120)
    if result.returncode:
        raise ProgramFailed(result.returncode,
                            f"exit status {result.returncode}\n{result.stderr}\n{text}")
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
    name, after = keys.get("schedule", "constant"), max(total - warmup, 1)
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


class Sensitivity:
    """What an error of a gradient's entry does to its weight, entry by entry, in the course of
    training; of those parameters where entries differ."""

    def __init__(self, network, optimizer):
        self.optimizer, self.names = optimizer, dict(network.named_parameters())
        self.sums = {}

    def step(self):
        group = self.optimizer.param_groups[0]
        for name, parameter in self.names.items():
            state = self.optimizer.state.get(parameter, {})
            square = state.get("exp_avg_sq", state.get("square_avg"))
            if square is None:
                continue
            if "betas" in group:
                square = square / (1 - group["betas"][1] ** int(state["step"]))
            gain = group["lr"] / (square.sqrt() + group["eps"])
            self.sums[name] = self.sums.get(name, 0) + gain


def disturb(tensor, size):
    tensor.mul_(1 + size * torch.randn_like(tensor))


def read(network, images):
    """Images as the network gets them, rounded where it is disturbed."""
    x = images.to(next(network.parameters()).dtype)
    return x + network.noise * (x.abs() + 4) * torch.randn_like(x) if network.noise else x


def train_torch(network, text, sample, sensitive=lambda network, optimizer: None):
    """Trains `network` in place; returns what it measured at each step, and its Sensitivity where
    `sensitive` makes one."""
    keys = parse(text)["train"]
    batch, limit = int(keys["batch"]), int(keys.get("max_steps", 0)) or math.inf
    images, labels = sample.train
    network.train()
    freeze(network, keys)
    optimizer = make_optimizer(network, keys)
    schedule = make_schedule(optimizer, keys, math.ceil(len(images) / batch))
    clip, steps = float(keys.get("clip_norm", 0)) or math.inf, {"loss": [], "lr": [],
                                                               "gradient_norm": []}
    sensitivity = sensitive(network, optimizer)
    for _ in range(int(keys["epochs"])):
        for first in range(0, len(images), batch):
            if len(steps["loss"]) == limit:
                return steps, sensitivity
            x = read(network, images[first:first + batch])
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
            if sensitivity:
                sensitivity.step()
            schedule.step()
            if network.noise:
                with torch.no_grad():
                    for value in weights(network).values():
                        disturb(value, network.noise)
    return steps, sensitivity


def evaluate(network, images):
    with torch.no_grad():
        return network.eval()(read(network, images)).double()


def distance(a, b):
    return (a.double() - b.double()).abs().max().item()


def compare(what, ours, truth, others, summands=0.0, unit=None):
    """What is wrong, or None; `others`: what float32 and disturbed networks make of it. `summands`:
    the size of what it is the sum or mean of, where that says more than its own. `unit`: how far an
    entry may be off where another one may be off by its own unit."""
    if ours.shape != truth.shape:
        return f"{what}: shape {tuple(ours.shape)} instead of {tuple(truth.shape)}"
    truth, largest = truth.double(), truth.abs().max().item()
    gaps = torch.stack([(other.double() - truth).abs() for other in others])
    allowed = gaps.max().expand(truth.shape)
    if unit is not None:
        allowed = torch.minimum(allowed, (gaps / unit).max() * unit)
    allowed = SLACK * allowed + FLOOR * EPS * max(largest, summands)
    found = (ours.double() - truth).abs()
    if (found <= allowed).all():
        return None
    worst = (found / allowed).nan_to_num(math.inf).argmax()
    return (f"{what}: off by {found.flatten()[worst]:.3g}, {allowed.flatten()[worst]:.3g} is "
            f"allowed; largest value {largest:.3g}")


class Comparison:
    """The same weights, which PyTorch draws, trained by both."""

    def __init__(self, program, folder, sample, body, threads=2, seed=1, draws=3):
        self.draws = draws  # disturbed networks
        self.program, self.folder, self.sample = program, folder, sample
        self.text = sample.head(folder / "run.h5", seed) + body.replace(
            "[train]\n", f"[train]\ninit_from = {folder / 'weights.h5'}\n", 1)
        self.arguments = ("--threads", str(threads))
        self.network = Network(self.text, sample.shape, sample.classes).double()
        self.network.draw(seed)
        with h5py.File(folder / "weights.h5", "w") as file:
            for name, value in weights(self.network).items():
                file[f"state_dict/{name}"] = value.float().numpy()

    def disturbed(self, count):
        others = [copy.deepcopy(self.network) for _ in range(count)]
        for other in others:
            other.noise = EPS
        return others

    def variants(self):
        """Fresh copies, not in float64 or disturbed: first a few, then MORE."""
        yield [copy.deepcopy(self.network).float(), *self.disturbed(self.draws)]
        yield self.disturbed(MORE)

    def train_truth(self):
        """Trains in float64; returns how near a value came to where a gradient jumps."""
        torch.manual_seed(1)
        self.truth = copy.deepcopy(self.network)
        self.truth.watch()
        self.steps, self.sensitivity = train_torch(self.truth, self.text, self.sample, Sensitivity)
        return self.truth.nearest_kink()

    def require(self, find):
        """Asserts that find(others) finds nothing wrong, with few or with many others."""
        others = []
        for more in self.variants():
            others += more
            complaints = find(others, more)
            if not complaints:
                return
        assert not complaints, "\n".join([*complaints, " ".join(self.arguments), self.text])

    def check_training(self):
        self.ours = run_program(self.program, self.folder, self.text, *self.arguments)
        assert self.ours.state.keys() == weights(self.truth).keys()
        others_steps = []

        def find(others, more):
            others_steps.extend(train_torch(other, self.text, self.sample)[0] for other in more)
            return self.wrong_steps(others_steps) + self.wrong_weights(map(weights, others))

        self.require(find)

    def wrong_steps(self, others):
        return [wrong for key, truth in self.steps.items() if (wrong := compare(
            f"{key} of the steps", torch.from_numpy(self.ours.steps[key]), torch.tensor(truth),
            [torch.tensor(steps[key]) for steps in others]))]

    def wrong_weights(self, others):
        truth, others, found = weights(self.truth), list(others), []
        for key, value in truth.items():
            variance = truth.get(key.replace("running_mean", "running_var"), torch.zeros(1))
            summands = variance.max().sqrt().item() if key.endswith("running_mean") else 0
            found.append(compare(key, self.ours.state[key], value, [other[key] for other in others],
                                 summands, self.sensitivity.sums.get(key)))
        return [wrong for wrong in found if wrong]

    def check_evaluation(self):
        """The trained weights on the test split: its score, and the stored samples."""
        self.network.load_state_dict(self.ours.state, strict=True)
        images, labels = self.sample.test
        logits, ours = evaluate(copy.deepcopy(self.network), images), self.ours
        n = len(ours.golden["input"])
        pixels = (images.abs().max() + (self.sample.mean / self.sample.std).max())
        assert distance(ours.golden["input"], images[:n]) <= FLOOR * EPS * pixels
        assert ours.test["count"] == len(images)
        answers = []

        def accuracy(logits):
            return (logits.argmax(1) == labels).double().mean().item()

        def find(_, more):
            answers.extend(evaluate(other, images) for other in more)
            wrong = [
                compare("golden logits", ours.golden["logits"], logits[:n],
                        [other[:n] for other in answers]),
                compare("test loss", torch.tensor(ours.test["loss"]),
                        F.cross_entropy(logits, labels),
                        [F.cross_entropy(other, labels) for other in answers])]
            right = [accuracy(other) for other in (logits, *answers)]
            if not min(right) - 1e-9 <= ours.test["accuracy"] <= max(right) + 1e-9:
                wrong.append(f"test accuracy: {ours.test['accuracy']} instead of {right[0]}")
            return [message for message in wrong if message]

        self.require(find)

    def check(self):
        self.train_truth()
        self.check_training()
        self.check_evaluation()
