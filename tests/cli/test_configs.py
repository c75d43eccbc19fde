"""Every config trains as it is: an epoch of small mini-batches on a slice of its data.

Synthetic data are cut short. Data in files are not here: small files of the same kind, shape and
number of classes stand in for them, made by the test. The learning rate rises over the epoch, since
a full one is for larger mini-batches than these.
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


def source_of(config):
    return re.search(r"^source = (\w+)", config.read_text(), re.MULTILINE)[1]


def write_idx(folder, count=160):
    """The four files of ten classes of 28x28 images: noise under a pattern that tells the class."""
    random = numpy.random.default_rng(1)
    patterns = random.integers(0, 128, (10, 7, 7)).repeat(4, 1).repeat(4, 2)
    for split in ("train", "t10k"):
        labels = numpy.arange(count, dtype=numpy.uint8) % 10
        images = (patterns[labels] + random.integers(0, 128, (count, 28, 28))).astype(numpy.uint8)
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = numpy.array([0x800 + values.ndim, *values.shape], dtype=">u4").tobytes()
            (folder / f"{split}-{name}-ubyte").write_bytes(head + values.tobytes())


def slice_settings(config, folder):
    """The words that make a run of the config short."""
    batch, count, epochs = (4, 4, 4) if config.stem in LARGE else (16, 160, 1)
    settings = [f"train.batch={batch}", f"train.epochs={epochs}", "train.warmup=1"]
    source = source_of(config)
    if source == "idx":
        write_idx(folder, count)
        settings.append(f"data.path={folder}")
    elif source == "synthetic":
        settings.append(f"data.count={count}")
    else:
        pytest.skip(f"no small data of source {source} are made here")
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
