#!/usr/bin/env python3
"""Trains a config's recipe in PyTorch, so that its test accuracy can be compared with colonnade's.

    bench/recipes_pytorch.py configs/mnist/small.ini --seed 1 2 3

It is a second opinion on whole trainings, over seeds: the config's text and docs/config.md say what
is done, and nothing of the program does it. The network, its optimizer and its schedule are those
that the parity tests build; data, initial weights, augmentation and the loop are here, with random
numbers of their own. Images are decoded once, by Pillow, and kept as bytes. Keys that it does not
know are refused: what it trained was the whole recipe.

Losses and times go to standard error. On standard output is a JSON object a seed, and last one of
all seeds with the mean test accuracy and its standard error.
"""
import argparse
import concurrent.futures
import gzip
import json
import math
import os
import pathlib
import statistics
import sys
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "parity"))
from network import Network, freeze, make_optimizer, pair, parse
from training import make_schedule

KNOWN = {
    "data": {"source", "path", "mean", "std", "shuffle", "limit_train", "limit_test", "size",
             "channels", "fit", "on_bad_image", "memory", "tta"},
    "augment": {"flip", "crop", "rotate", "scale", "translate", "brightness", "contrast", "erase",
                "mixup"},
    "train": {"epochs", "batch", "optimizer", "lr", "momentum", "nesterov", "weight_decay", "beta1",
              "beta2", "eps", "clip_norm", "schedule", "warmup", "step_epochs", "gamma",
              "label_smoothing", "ema", "freeze", "checkpoint_every"},
}
TEST_BATCH = 500


def is_true(text):
    return text in ("true", "yes", "on", "1")


# Data: a split is (images, uint8 [N, C, H, W]; labels, int64 [N]).

def read_idx_file(folder, split, what, dimensions):
    for name in (f"{split}-{what}-idx{dimensions}-ubyte", f"{split}-{what}.idx{dimensions}-ubyte"):
        for path, open_ in ((folder / name, open), (folder / f"{name}.gz", gzip.open)):
            if path.exists():
                with open_(path, "rb") as file:
                    content = file.read()
                shape = np.frombuffer(content, ">u4", dimensions, offset=4)
                return np.frombuffer(content, np.uint8, offset=4 * (1 + dimensions)).reshape(shape)
    sys.exit(f"{folder} has no {split}-{what}-idx{dimensions}-ubyte")


def read_idx(folder, _, __):
    splits = [(read_idx_file(folder, split, "images", 3)[:, None],
               read_idx_file(folder, split, "labels", 1)) for split in ("train", "t10k")]
    return splits, int(splits[0][1].max()) + 1


def read_cifar10(folder, _, __):
    def read(names):
        records = np.concatenate([np.fromfile(folder / name, np.uint8).reshape(-1, 3073)
                                  for name in names])
        return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    return [read([f"data_batch_{number}.bin" for number in range(1, 6)]),
            read(["test_batch.bin"])], 10


def to_components(image, channels):
    """Grey or RGB, 8 bits; what is transparent over white."""
    if image.mode.startswith("I"):  # deeper than 8 bits
        image = Image.fromarray((np.asarray(image, np.float64) / 257).round().astype(np.uint8))
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB" if channels == 3 else "L")


def resample(image, size):
    shrinks = size[0] < image.width or size[1] < image.height
    return Image.LANCZOS if shrinks else Image.BICUBIC


def decode(path, keys):
    """uint8 [C, H, W]."""
    height, width = pair(keys["size"])
    channels, fit = int(keys.get("channels", 3)), keys.get("fit", "crop")
    with Image.open(path) as image:
        image.draft(None, (2 * max(height, width),) * 2)
        image = to_components(ImageOps.exif_transpose(image), channels)
    size = (width, height)
    if fit == "crop":
        image = ImageOps.fit(image, size, resample(image, size))
    elif fit == "pad":
        image = ImageOps.pad(image, size, resample(image, size))
    else:
        image = image.resize(size, resample(image, size))
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def decode_or_skip(path, keys):
    try:
        return decode(path, keys)
    except (OSError, ValueError, SyntaxError) as error:
        if keys.get("on_bad_image", "fail") == "fail":
            sys.exit(f"{path}: {error}")
        print(f"{path}: {error}: skipped", file=sys.stderr)
        return None


def list_images(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and not any(
        part.startswith(".") for part in path.relative_to(folder).parts))


def in_turn(files_by_class):
    """(file, label): the first of each class, the second of each, and so on."""
    longest = max(map(len, files_by_class))
    return [(files[index], label) for index in range(longest)
            for label, files in enumerate(files_by_class) if index < len(files)]


def read_folder(folder, keys, threads):
    classes = sorted((path.name for path in (folder / "train").iterdir()
                      if path.is_dir() and not path.name.startswith(".")), key=os.fsencode)
    splits = []
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for split in ("train", "test"):
            files = in_turn([list_images(folder / split / name) for name in classes])
            files = files[:int(keys.get(f"limit_{split}", len(files)))]
            images = list(pool.map(lambda file: decode_or_skip(file[0], keys), files))
            splits.append((np.stack([image for image in images if image is not None]),
                           np.array([label for (_, label), image in zip(files, images)
                                     if image is not None])))
    return splits, len(classes)


READERS = {"idx": read_idx, "cifar10": read_cifar10, "folder": read_folder}


def load(keys, path, threads):
    """[train, test] as tensors, and the number of classes."""
    if keys["source"] not in READERS:
        sys.exit(f"source {keys['source']} is not known here: {', '.join(READERS)}")
    splits, classes = READERS[keys["source"]](pathlib.Path(path or keys["path"]), keys, threads)
    limits = [int(keys.get(f"limit_{split}", len(labels)))
              for split, (_, labels) in zip(("train", "test"), splits)]
    return [(torch.from_numpy(images[:limit].copy()),
             torch.from_numpy(labels[:limit].astype(np.int64)))
            for limit, (images, labels) in zip(limits, splits)], classes


def channel_statistics(images):
    """Mean and deviation of each channel, as shares of 255: from a histogram, so exact."""
    counts = torch.stack([sum(torch.bincount(chunk[:, channel].flatten().long(), minlength=256)
                              for chunk in images.split(2000))
                          for channel in range(images.shape[1])]).double()
    values = torch.arange(256, dtype=torch.float64) / 255
    shares = counts / counts.sum(1, keepdim=True)
    mean = shares @ values
    return mean, (shares @ values ** 2 - mean ** 2).sqrt()


class Normalization:
    """(pixel / 255 - mean) / std, of pixels from 0 to 255 in float32."""

    def __init__(self, keys, images):
        given = [None if keys.get(key, "auto") == "auto" else
                 torch.tensor([float(number) for number in keys[key].split(",")])
                 for key in ("mean", "std")]
        if None in given:
            given = [found if own is None else own
                     for own, found in zip(given, channel_statistics(images))]
        self.mean, self.std = (value.float()[:, None, None] for value in given)

    def __call__(self, pixels):
        return (pixels / 255 - self.mean) / self.std


# Augmentation: of a whole mini-batch, pixels from 0 to 255 in float32 [N, C, H, W].

class Augmentation:
    def __init__(self, keys, random):
        self.random = random  # NumPy's generator
        self.flips = keys.get("flip", "none") == "horizontal"
        for key in sorted(KNOWN["augment"] - {"flip"}):
            setattr(self, key, float(keys.get(key, 0)))

    def around(self, middle, reach, count):
        return self.random.uniform(middle - reach, middle + reach, count)

    def placement(self, count, height, width):
        """[N, 2, 3]: from a place in the new image to one in the old, both in pixels (x, y) from
        the middle. Scaled and turned, moved, cropped, flipped: so backwards, from the last."""
        angle = np.radians(self.around(0, self.rotate, count))
        factor = self.around(1, self.scale, count)
        crop = self.random.integers(-int(self.crop), int(self.crop) + 1, (count, 2))
        shift = np.stack([self.around(0, self.translate * width, count),
                          self.around(0, self.translate * height, count)], 1)
        sign = np.where(self.random.random(count) < 0.5, -1.0, 1.0) if self.flips else np.ones(count)
        cosine, sine = np.cos(angle) / factor, np.sin(angle) / factor
        turn = np.stack([cosine, -sine, sine, cosine], 1).reshape(count, 2, 2)
        move = turn @ (crop - shift)[:, :, None]
        turn[:, :, 0] *= sign[:, None]
        return np.concatenate([turn, move], 2)

    def place(self, pixels):
        if not (self.flips or self.crop or self.rotate or self.scale or self.translate):
            return pixels
        count, _, height, width = pixels.shape
        half = np.array([width / 2, height / 2])  # of PyTorch's unit of place
        map_ = self.placement(count, height, width)
        map_[:, :, :2] *= half
        map_ /= half[:, None]
        grid = F.affine_grid(torch.from_numpy(map_).float(), pixels.shape, align_corners=False)
        return F.grid_sample(pixels, grid, padding_mode="zeros", align_corners=False)

    def factors(self, reach, count):
        return torch.from_numpy(self.around(1, reach, count)).float()[:, None, None, None]

    def colour(self, pixels):
        if self.brightness:
            pixels = (pixels * self.factors(self.brightness, len(pixels))).clamp(0, 255)
        if self.contrast:
            weights = [0.2989, 0.587, 0.114] if pixels.shape[1] == 3 else [1 / pixels.shape[1]]
            grey = (pixels * torch.tensor(weights)[:, None, None]).sum(1, keepdim=True)
            mean = grey.mean((2, 3), keepdim=True)
            factor = self.factors(self.contrast, len(pixels))
            pixels = (factor * pixels + (1 - factor) * mean).clamp(0, 255)
        return pixels

    def rectangle(self, height, width):
        """(top, left, bottom, right), or None after ten that were too large."""
        for _ in range(10):
            area = self.random.uniform(0.02, 0.33) * height * width
            ratio = math.exp(self.random.uniform(math.log(0.3), math.log(3.3)))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if h < height and w < width:
                top = self.random.integers(0, height - h + 1)
                left = self.random.integers(0, width - w + 1)
                return top, left, top + h, left + w
        return None

    def cover(self, x):
        """Of normalized images, in place."""
        for index in np.flatnonzero(self.random.random(len(x)) < self.erase):
            if found := self.rectangle(*x.shape[2:]):
                top, left, bottom, right = found
                x[index, :, top:bottom, left:right] = 0
        return x

    def mix(self, x, labels):
        """x, the labels of the other images, and the shares of the own ones."""
        if not self.mixup:
            return x, labels, torch.ones(len(x))
        share = torch.from_numpy(self.random.beta(self.mixup, self.mixup, len(x))).float()
        own = share[:, None, None, None]
        return own * x + (1 - own) * x.roll(1, 0), labels.roll(1), share


# Training.

def draw_weights(network, sections):
    """As `init` of each node says; norms and biases begin as PyTorch's do, or with 0."""
    for name, module in network.named_children():
        if not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        weight, init = module.weight, sections[name].get("init", "he")
        fan_in = weight[0].numel()
        fan_out = weight.shape[0] * weight[0, 0].numel()
        with torch.no_grad():
            if init == "xavier":
                bound = math.sqrt(6 / (fan_in + fan_out))
                weight.uniform_(-bound, bound)
            elif init in ("uniform", "dirac"):
                weight.uniform_(-math.sqrt(1 / fan_in), math.sqrt(1 / fan_in))
                if init == "dirac":
                    for filters in weight.chunk(getattr(module, "groups", 1)):
                        passing = filters[:filters.shape[1]]
                        nn.init.dirac_(passing) if weight.dim() == 4 else nn.init.eye_(passing)
            else:
                gain = {"he": 2, "lecun": 1, "zero": 0}[init]
                weight.normal_(0, math.sqrt(gain / fan_in))
            if module.bias is not None:
                module.bias.zero_()


class Average(torch.optim.swa_utils.AveragedModel):
    """Exponential, running statistics included."""

    def __init__(self, network, decay):
        super().__init__(network, use_buffers=True, avg_fn=lambda average, value, _: (
            decay * average + (1 - decay) * value))


class Recipe:
    def __init__(self, text, splits, classes, epochs=None):
        self.sections = sections = parse(text)
        refuse_unknown(sections)
        defaults = {"epochs": "10", "batch": "64", "step_epochs": "10",
                    "lr": "0.001" if sections.get("train", {}).get("optimizer", "sgd")
                    in ("adam", "adamw") else "0.01"}
        self.text, self.splits, self.classes = text, splits, classes
        self.keys = {**defaults, **sections.get("train", {})}
        if epochs is not None:
            self.keys["epochs"] = str(epochs)
        self.epochs, self.batch = int(self.keys["epochs"]), int(self.keys["batch"])
        self.shuffles = is_true(sections["data"].get("shuffle", "true"))
        self.normalize = Normalization(sections["data"], splits[0][0])
        self.tta = sections["data"].get("tta", "none")
        self.form = torch.contiguous_format

    def make_network(self, seed):
        torch.manual_seed(seed)
        network = Network(self.text, tuple(self.splits[0][0].shape[1:]), self.classes)
        draw_weights(network, self.sections)
        network.train()
        freeze(network, self.keys)
        return network.to(memory_format=self.form)

    def choose_layout(self):
        """PyTorch's faster one on this network, by a few steps in each, in turn."""
        images, labels = (part[:self.batch] for part in self.splits[0])
        forms = (torch.contiguous_format, torch.channels_last)
        seconds, sides, x = dict.fromkeys(forms, math.inf), {}, self.normalize(images.float())
        for self.form in forms:
            sides[self.form] = self.make_network(1), x.to(memory_format=self.form)
        for _ in range(6):
            for form, (network, values) in sides.items():
                start = time.monotonic()
                F.cross_entropy(network(values), labels).backward()
                seconds[form] = min(seconds[form], time.monotonic() - start)
        self.form = min(seconds, key=seconds.get)

    def batches(self, augmentation, random):
        """(x, labels, other labels, shares of the own ones) of an epoch."""
        images, labels = self.splits[0]
        order = random.permutation(len(images)) if self.shuffles else np.arange(len(images))
        for chosen in torch.from_numpy(order).split(self.batch):
            pixels = augmentation.colour(augmentation.place(images[chosen].float()))
            x = augmentation.cover(self.normalize(pixels))
            x, others, shares = augmentation.mix(x, labels[chosen])
            yield x.to(memory_format=self.form), labels[chosen], others, shares

    def loss(self, logits, labels, others, shares):
        smoothing = float(self.keys.get("label_smoothing", 0))
        own, other = (F.cross_entropy(logits, wanted, reduction="none", label_smoothing=smoothing)
                      for wanted in (labels, others))
        return (shares * own + (1 - shares) * other).mean()

    def train(self, seed, report):
        """The test loss and accuracy. report(epoch, loss, seconds) is told of each epoch."""
        random = np.random.default_rng(seed)
        augmentation = Augmentation(self.sections.get("augment", {}), random)
        network = self.make_network(seed)
        optimizer = make_optimizer(network, self.keys)
        schedule = make_schedule(optimizer, self.keys,
                                 math.ceil(len(self.splits[0][0]) / self.batch))
        decay, clip = (float(self.keys.get(key, 0)) for key in ("ema", "clip_norm"))
        average = Average(network, decay) if decay else None
        for epoch in range(self.epochs):
            start, total = time.monotonic(), 0.0
            for x, *target in self.batches(augmentation, random):
                loss = self.loss(network(x), *target)
                optimizer.zero_grad()
                loss.backward()
                if clip:
                    nn.utils.clip_grad_norm_(network.parameters(), clip)
                optimizer.step()
                schedule.step()
                if average:
                    average.update_parameters(network)
                total += loss.item() * len(x)
            report(epoch + 1, total / len(self.splits[0][0]), time.monotonic() - start)
        return self.test(average.module if average else network)

    def test(self, network):
        network.eval()
        loss = right = 0
        images, labels = self.splits[1]
        with torch.no_grad():
            for chosen, wanted in zip(images.split(TEST_BATCH), labels.split(TEST_BATCH)):
                chances = sum(
                    weight * network(self.normalize(view).to(memory_format=self.form)).double()
                    .softmax(1) for weight, view in views(chosen.float(), self.tta))
                loss += F.nll_loss(chances.log(), wanted, reduction="sum").item()
                right += (chances.argmax(1) == wanted).sum().item()
        return loss / len(images), right / len(images)


def views(images, tta):
    """Of images [N, C, H, W] those that scoring takes the mean of, each after its weight."""
    moves = [(0, 0.5), (1, 0.25), (-1, 0.25)] if "shift" in tta else [(0, 1)]
    moved = [(weight, F.pad(images, (by, -by, by, -by))) for by, weight in moves]
    if "flip" not in tta:
        return moved
    return [(weight / 2, side) for weight, view in moved for side in (view, view.flip(3))]


def refuse_unknown(sections):
    for section, known in KNOWN.items():
        for key in sections.get(section, {}):
            if key not in known:
                sys.exit(f"[{section}] {key} is not known here")


def parse_options(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", type=pathlib.Path, metavar="CONFIG")
    parser.add_argument("--seed", type=int, nargs="+", metavar="N", help="(default: the config's)")
    parser.add_argument("--data-path", type=pathlib.Path, metavar="DIR",
                        help="instead of the config's")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of the config's")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE",
                        help="the last line of standard output goes there, too, after each seed")
    return parser.parse_args(words)


def summarize(options, recipe, results):
    accuracies = [result["test_accuracy"] for result in results]
    error = (statistics.stdev(accuracies) / math.sqrt(len(accuracies))
             if len(accuracies) > 1 else None)
    return {"config": str(options.config), "version": f"PyTorch {torch.__version__}",
            "layout": str(recipe.form).removeprefix("torch."), "threads": options.threads,
            "epochs": recipe.epochs, "seeds": [result["seed"] for result in results],
            "test_accuracies": accuracies, "test_accuracy": statistics.mean(accuracies),
            "standard_error": error}


def main(words=None):
    options = parse_options(words)
    text = options.config.read_text()
    sections = parse(text)
    refuse_unknown(sections)
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", "The epoch parameter in")  # SequentialLR's own use of it
    start = time.monotonic()
    splits, classes = load(sections["data"], options.data_path, options.threads)
    recipe = Recipe(text, splits, classes, options.epochs)
    recipe.choose_layout()
    print(f"{options.config}: {len(splits[0][0])} images to train and {len(splits[1][0])} to test, "
          f"{classes} classes, {str(recipe.form).removeprefix('torch.')}, "
          f"ready after {time.monotonic() - start:.1f} s", file=sys.stderr)
    results = []
    for seed in options.seed or [int(sections.get("run", {}).get("seed", 1))]:
        start = time.monotonic()

        def report(epoch, loss, seconds):
            print(f"{options.config} seed {seed} epoch {epoch}/{recipe.epochs}: loss {loss:.4f}, "
                  f"{seconds:.1f} s", file=sys.stderr, flush=True)
        loss, accuracy = recipe.train(seed, report)
        results.append({"seed": seed, "test_loss": loss, "test_accuracy": accuracy,
                        "seconds": time.monotonic() - start})
        print(json.dumps(results[-1]), flush=True)
        if options.json:
            options.json.write_text(json.dumps(summarize(options, recipe, results)) + "\n")
    print(json.dumps(summarize(options, recipe, results)))


if __name__ == "__main__":
    main()
