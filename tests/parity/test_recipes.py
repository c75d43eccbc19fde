"""bench/recipes_pytorch.py, with which whole trainings are compared, does what docs/config.md says:
its augmentation against pictures whose changes can be read off, its initial weights, a short run.

Bounds of shares and means are 5 standard deviations of what is drawn; draws have fixed seeds.
"""
import gzip
import json
import math
import pathlib
import sys

import pytest

for module in ("h5py", "torch", "PIL"):
    pytest.importorskip(module)

import numpy as np
import torch
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import recipes_pytorch as recipes

NETWORK = """
[conv1]
type = conv
filters = 6
kernel = 3
bias = false
[bn1]
type = batchnorm
[relu1]
type = relu
[fc1]
type = dense
units = classes
"""
ALL_KEYS = {"flip": "horizontal", "crop": "1", "rotate": "10", "scale": "0.1", "translate": "0.1",
            "brightness": "0.2", "contrast": "0.2", "erase": "0.5", "mixup": "0.4"}
COUNT = 4000


def augment(seed=1, **keys):
    return recipes.Augmentation({key: str(value) for key, value in keys.items()},
                                np.random.default_rng(seed))


def noise(*shape, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape)).float()


def share_is(found, probability, count=COUNT):
    return abs(found - probability) <= 5 * math.sqrt(probability * (1 - probability) / count)


def is_uniform(values, low, high):
    """All of them within, and their mean in the middle."""
    values = np.asarray(values, dtype=float)
    slack = 1e-3 * (high - low)  # a place is read off to that
    middle = 5 * (high - low) / math.sqrt(12 * len(values))
    return (low - slack <= values.min() <= low + 0.02 * (high - low) and
            high - 0.02 * (high - low) <= values.max() <= high + slack and
            abs(values.mean() - (low + high) / 2) <= middle)


def test_without_keys_nothing_changes():
    x, labels = noise(5, 3, 6, 7), torch.arange(5)
    made = augment()
    assert torch.equal(made.cover(made.colour(made.place(x))), x)
    mixed, others, shares = made.mix(x, labels)
    assert torch.equal(mixed, x) and (shares == 1).all()


@pytest.mark.parametrize("key", ALL_KEYS)
def test_each_key_changes_images(key):
    x = noise(16, 3, 12, 10)
    made = augment(**{key: ALL_KEYS[key]})
    changed, _, _ = made.mix(made.cover(made.colour(made.place(x.clone()))), torch.arange(16))
    assert changed.shape == x.shape and (changed - x).abs().max() > 1


def test_half_of_the_images_are_mirrored():
    image = noise(1, 2, 5, 8)
    placed = augment(flip="horizontal").place(image.repeat(COUNT, 1, 1, 1))
    as_it_was = (placed - image).abs().amax((1, 2, 3)) < 0.01
    mirrored = (placed - image.flip(3)).abs().amax((1, 2, 3)) < 0.01
    assert (as_it_was ^ mirrored).all()
    assert share_is(mirrored.float().mean().item(), 0.5)


def test_crops_are_uniform():
    image = noise(1, 1, 6, 4)
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
    placed = augment(crop=1).place(image.repeat(COUNT, 1, 1, 1))
    shares = [((placed - padded[:, :, top:top + 6, left:left + 4]).abs().amax((1, 2, 3)) < 0.01)
              .float().mean().item() for top in range(3) for left in range(3)]
    assert sum(shares) == pytest.approx(1)
    assert all(share_is(share, 1 / 9) for share in shares)


def dots(made, height, width, y, x):
    """Where the light of a dot at (y, x) has its middle in each of COUNT images, from the image's
    middle, and how much light there is. The dot is wide and smooth, so that bilinear reading
    changes neither by more than a hundredth."""
    rows, columns = (torch.arange(size) - (size - 1) / 2 for size in (height, width))
    dot = torch.exp(-((rows[:, None] - y) ** 2 + (columns[None] - x) ** 2) / 8) * 255
    light = made.place(dot.expand(COUNT, 1, height, width).contiguous())[:, 0]
    total = light.sum((1, 2))
    return ((light * rows[:, None]).sum((1, 2)) / total, (light * columns).sum((1, 2)) / total,
            total / dot.sum())


def test_images_move_by_shares_of_their_sides():
    y, x, _ = dots(augment(translate=0.1), 41, 61, 0, 0)
    assert is_uniform(y, -4.1, 4.1) and is_uniform(x, -6.1, 6.1)


def test_images_turn_about_their_middle():
    y, x, _ = dots(augment(rotate=30), 41, 61, 0, 10)
    assert (torch.hypot(y, x) - 10).abs().max() < 0.05
    assert is_uniform(torch.rad2deg(torch.atan2(y, x)), -30, 30)


def test_images_are_enlarged_about_their_middle():
    y, x, light = dots(augment(scale=0.2), 41, 61, 6, 8)
    factor = torch.hypot(y, x) / 10
    assert (factor - light.sqrt()).abs().max() < 0.01
    assert (y / x - 0.75).abs().max() < 0.01
    assert is_uniform(factor, 0.8, 1.2)


def test_brightness_is_a_factor():
    pixels = augment(brightness=0.2).colour(torch.full((COUNT, 3, 2, 2), 100.0))
    assert is_uniform(pixels[:, 0, 0, 0], 80, 120)
    assert augment(brightness=1).colour(torch.full((COUNT, 1, 1, 1), 200.0)).max() == 255


def test_contrast_is_about_the_mean_grey():
    image = torch.tensor([[[[120.0, 130]], [[120, 110]], [[140, 120]]]])  # [1, 3, 1, 2]
    grey = 0.2989 * 125 + 0.587 * 115 + 0.114 * 130
    pixels = augment(contrast=0.5).colour(image.repeat(COUNT, 1, 1, 1))
    factor = (pixels - grey) / (image - grey)
    assert (factor - factor[:, :1, :, :1]).abs().max() < 1e-4
    assert is_uniform(factor[:, 0, 0, 0], 0.5, 1.5)


def test_rectangles_are_covered():
    covered = augment(erase=0.3).cover(torch.ones(COUNT, 2, 60, 80))[:, 0] == 0
    erased = covered.any(2).any(1)
    assert share_is(erased.float().mean().item(), 0.3)
    height, width = (covered[erased].any(axis).sum(1) for axis in (2, 1))
    area = covered[erased].sum((1, 2))
    assert torch.equal(area, height * width)
    shares, ratios = area / (60 * 80), height / width
    assert 0.018 < shares.min() < 0.03 and 0.3 < shares.max() < 0.34  # sides are rounded
    assert 0.28 < ratios.min() < 0.4 and 2.6 < ratios.max() < 3.6


def test_mixup_mixes_images_as_it_mixes_losses():
    x, labels = noise(COUNT, 1, 2, 2), torch.arange(COUNT)
    mixed, others, shares = augment(mixup=0.4).mix(x, labels)
    assert (others != labels).all() and torch.equal(others.sort().values, labels)
    expected = shares[:, None, None, None] * x + (1 - shares[:, None, None, None]) * x[others]
    assert torch.allclose(mixed, expected, atol=1e-3)
    deviation = math.sqrt(1 / (4 * (2 * 0.4 + 1)))  # of Beta(a, a)
    assert abs(shares.mean() - 0.5) <= 5 * deviation / math.sqrt(COUNT)
    assert abs(shares.std() - deviation) < 0.02


@pytest.mark.parametrize("init, deviation, largest", [
    ("he", math.sqrt(2 / 576), math.inf), ("lecun", math.sqrt(1 / 576), math.inf),
    ("uniform", math.sqrt(1 / 576 / 3), 1 / 24),
    ("xavier", math.sqrt(6 / (576 + 1152) / 3), math.sqrt(6 / (576 + 1152))), ("zero", 0, 0)])
def test_initial_weights(init, deviation, largest):
    text = f"[conv1]\ntype = conv\nfilters = 128\nkernel = 3\ninit = {init}\n"
    network = recipes.Network(text, (64, 3, 3), 2)
    torch.manual_seed(1)
    recipes.draw_weights(network, recipes.parse(text))
    weight = network.conv1.weight  # 73728 values: their deviation is known to 0.3 %
    assert weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert weight.abs().max() <= largest
    assert (network.conv1.bias == 0).all()


def test_dirac_passes_channels_on():
    text = ("[conv1]\ntype = conv\nfilters = 10\nkernel = 3\npadding = 1\ngroups = 2\n"
            "init = dirac\n")
    network = recipes.Network(text, (4, 6, 6), 2)
    recipes.draw_weights(network, recipes.parse(text))
    x = noise(2, 4, 6, 6)
    assert torch.equal(network.conv1(x)[:, [0, 1, 5, 6]], x)
    assert (network.conv1.weight[[2, 3, 4, 7, 8, 9]] != 0).all()


def test_views_of_test_time_augmentation():
    x = noise(2, 3, 4, 5)
    assert [weight for weight, _ in recipes.views(x, "none")] == [1]
    (_, same), (_, mirror) = recipes.views(x, "flip")
    assert torch.equal(same, x) and torch.equal(mirror, x.flip(3))
    (_, same), (_, down), (_, up) = recipes.views(x, "shift")
    assert torch.equal(same, x)
    assert torch.equal(down[:, :, 1:, 1:], x[:, :, :-1, :-1])
    assert torch.equal(up[:, :, :-1, :-1], x[:, :, 1:, 1:])
    assert (down[:, :, 0] == 0).all() and (up[:, :, :, -1] == 0).all()
    six = recipes.views(x, "flip_shift")
    assert [weight for weight, _ in six] == [0.25, 0.25, 0.125, 0.125, 0.125, 0.125]
    assert torch.equal(six[3][1], down.flip(3))


@pytest.mark.parametrize("config", sorted(ROOT.glob("configs/*/best.ini"))
                         + sorted(ROOT.glob("configs/*/small.ini")), ids=str)
def test_it_knows_every_key_of_the_recipes(config):
    recipes.refuse_unknown(recipes.parse(config.read_text()))


def write_folder(folder):
    """Ten images a class and split, of other sizes and modes; class a is darker on the left."""
    random = np.random.default_rng(1)
    for split in ("train", "test"):
        for label, name in enumerate(("b", "a")):
            (folder / split / name / "more").mkdir(parents=True)
            for index in range(10):
                pixels = random.integers(0, 128, (24, 20 + 4 * (index % 2), 3), dtype=np.uint8)
                pixels[:, slice(0, 10) if label else slice(10, None)] += 127
                image = Image.fromarray(pixels).convert(("RGB", "L", "P", "RGBA")[index % 4])
                image.save(folder / split / name / ("more" if index % 3 else ".") / f"{index}.png")
    (folder / "train" / "a" / ".hidden").write_text("no image")


def write_idx(folder):
    random = np.random.default_rng(1)
    patterns = random.integers(0, 200, (3, 9, 8))
    for split, count in (("train", 60), ("t10k", 30)):
        labels = np.arange(count, dtype=np.uint8) % 3
        images = (patterns[labels] + random.integers(0, 50, (count, 9, 8))).astype(np.uint8)
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = np.array([0x800 + values.ndim, *values.shape], dtype=">u4").tobytes()
            (folder / f"{split}-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))


@pytest.mark.parametrize("write, data", [
    (write_folder, "source = folder\nsize = 12x10"), (write_idx, "source = idx")])
def test_a_recipe_runs_and_learns(tmp_path, capsys, write, data):
    write(tmp_path)
    config, result = tmp_path / "recipe.ini", tmp_path / "result.json"
    augmentation = "".join(f"{key} = {value}\n" for key, value in ALL_KEYS.items() if key != "flip")
    config.write_text(
        f"[run]\nseed = 7\n[data]\npath = elsewhere\n{data}\n[augment]\n{augmentation}[train]\n"
        "epochs = 12\nbatch = 8\nlr = 0.05\nmomentum = 0.9\nnesterov = true\nschedule = cosine\n"
        f"warmup = 1\nlabel_smoothing = 0.1\nema = 0.5\nclip_norm = 5\n{NETWORK}")
    recipes.main([str(config), "--data-path", str(tmp_path), "--threads", "1", "--seed", "1", "2",
                  "--json", str(result)])
    out, err = capsys.readouterr()
    *seeds, summary = map(json.loads, out.splitlines())
    assert json.loads(result.read_text()) == summary
    a, b = (seed["test_accuracy"] for seed in seeds)
    assert [seed["seed"] for seed in seeds] == summary["seeds"] == [1, 2]
    assert summary["test_accuracies"] == [a, b]
    assert summary["test_accuracy"] == pytest.approx((a + b) / 2)
    assert summary["standard_error"] == pytest.approx(abs(a - b) / 2)
    assert min(a, b) > 0.8
    assert seeds[0]["test_loss"] != seeds[1]["test_loss"]
    assert err.count("epoch 12/12: loss") == 2


def test_an_epoch_can_be_all(tmp_path, capsys):
    write_idx(tmp_path)
    config = tmp_path / "recipe.ini"
    config.write_text(f"[run]\nseed = 7\n[data]\npath = {tmp_path}\nsource = idx\n[train]\n"
                      f"schedule = cosine\nwarmup = 2\n{NETWORK}")
    for _ in range(2):
        recipes.main([str(config), "--epochs", "1", "--threads", "1"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["seed"] == 7 and lines[1]["standard_error"] is None
    assert lines[0]["test_loss"] == lines[2]["test_loss"]  # a seed decides all


def test_what_is_not_known_is_refused(tmp_path):
    config = tmp_path / "recipe.ini"
    config.write_text("[data]\nsource = idx\n[train]\nearly_stop = 3\n" + NETWORK)
    with pytest.raises(SystemExit, match=r"\[train\] early_stop"):
        recipes.main([str(config)])
