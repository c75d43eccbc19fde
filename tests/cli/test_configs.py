"""Every config trains as it is: an epoch of small mini-batches on a slice of its data.

Synthetic data are cut short. Data in files are not here: small files of the same kind stand in for
them, made by the test, and images from folders are at most 32 pixels a side. The learning rate rises
over the epoch, to HIGHEST_RATE at most, since a full one is for larger mini-batches than these.
"""
import math
import pathlib
import re

import pytest

h5py = pytest.importorskip("h5py")
numpy = pytest.importorskip("numpy")

FOLDER = pathlib.Path(__file__).parents[2] / "configs"
CONFIGS = sorted(FOLDER.rglob("*.ini"))
LARGE = {"resnet18"}  # images of 224x224, a thousand classes: the same mini-batch, again and again
HIGHEST_RATE, LARGEST_SIDE = 0.02, 32


def value_of(config, key):
    """The first `key = value` of a config, or None: those of [data] come before the nodes'."""
    found = re.search(rf"^{key} = (\S+)", config.read_text(), re.MULTILINE)
    return found and found[1]


def made_images(classes, count, cells, cell, channels, seed):
    """Labels and images [count, height, width, channels]: noise under a pattern of `cells` by
    `cells` squares that tells the class."""
    patterns = numpy.random.default_rng(1).integers(0, 192, (classes, cells, cells, channels))
    labels = numpy.arange(count, dtype=numpy.uint8) % classes
    images = patterns[labels].repeat(cell, 1).repeat(cell, 2)
    noise = numpy.random.default_rng(seed).integers(0, 64, images.shape)
    return labels, (images + noise).astype(numpy.uint8)


def write_idx(folder, count):
    for seed, split in enumerate(("train", "t10k")):
        labels, images = made_images(10, count, 4, 7, 1, seed)
        for name, values in (("images-idx3", images[..., 0]), ("labels-idx1", labels)):
            head = numpy.array([0x800 + values.ndim, *values.shape], dtype=">u4").tobytes()
            (folder / f"{split}-{name}-ubyte").write_bytes(head + values.tobytes())


def write_cifar10(folder, count):
    names = [f"data_batch_{number}.bin" for number in range(1, 6)]
    for seed, files in enumerate((names, ["test_batch.bin"])):
        labels, images = made_images(10, count, 4, 8, 3, seed)
        records = numpy.hstack([labels[:, None], images.transpose(0, 3, 1, 2).reshape(count, -1)])
        for name, part in zip(files, numpy.split(records, len(files))):
            (folder / name).write_bytes(part.tobytes())


def write_folder(folder, count, classes=4):
    for seed, split in enumerate(("train", "test")):
        labels, images = made_images(classes, count, 4, 20, 3, seed)
        for index, (label, image) in enumerate(zip(labels, images)):
            path = folder / split / f"class-{label}" / f"{index}.ppm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"P6 %d %d 255\n" % image.shape[1::-1] + image.tobytes())


WRITERS = {"idx": write_idx, "cifar10": write_cifar10, "folder": write_folder}


def slice_settings(config, folder):
    """The words that make a run of the config short."""
    batch, count, epochs = (4, 4, 4) if config.stem in LARGE else (16, 160, 1)
    settings = [f"train.batch={batch}", f"train.epochs={epochs}", "train.warmup=1"]
    if float(value_of(config, "lr") or 0) > HIGHEST_RATE:
        settings.append(f"train.lr={HIGHEST_RATE}")
    source = value_of(config, "source")
    if source == "synthetic":
        settings.append(f"data.count={count}")
    elif source in WRITERS:
        WRITERS[source](folder, count)
        settings.append(f"data.path={folder}")
    else:
        pytest.skip(f"no small data of source {source} are made here")
    if source == "folder":
        sides = [min(int(side), LARGEST_SIDE) for side in value_of(config, "size").split("x")]
        settings.append(f"data.size={sides[0]}x{sides[-1]}")
    return [word for setting in settings for word in ("--set", setting)]


def test_every_config_says_where_it_comes_from():
    assert CONFIGS
    for config in CONFIGS:
        assert re.match(r"[;#] \w.{20}", config.read_text()), config


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_config_learns(program, config):
    program.run("train", config, "--out", "run.h5", "--quiet",
                *slice_settings(config, program.folder))
    with h5py.File(program.folder / "run.h5") as run:
        losses = run["metrics/step/loss"][()]
        assert run.attrs["status"] in ("complete", b"complete")
    assert all(map(math.isfinite, losses))
    last = losses[-max(1, len(losses) // 3):].mean()
    assert last < 0.97 * losses[0], losses.round(3)
