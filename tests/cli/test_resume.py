"""Resuming: a run goes on with the training images that it was begun with, wherever they are."""
import os
import pathlib
import shutil
import zlib

import pytest

h5py = pytest.importorskip("h5py")
numpy = pytest.importorskip("numpy")

from conftest import CONFIG
from test_train import same_weights

COUNT = 200
MORE = ["--resume", "--quiet", "--set", "train.epochs=3"]


def pictures(count, seed=0):
    return numpy.random.default_rng(seed).integers(0, 256, (count, 12, 12), dtype=numpy.uint8)


@pytest.fixture
def data(program):
    """The program with a run of two epochs on data.h5, its third epoch in whole.h5."""
    images = pictures(COUNT)
    with h5py.File(program.folder / "data.h5", "w") as file:
        for part, count in ("train", COUNT), ("test", 20):
            file[f"{part}/images"] = images[:count]
            file[f"{part}/labels"] = numpy.arange(count, dtype=numpy.int32) % 4
    text = CONFIG.replace("source = synthetic\nshape = 1x12x12\nclasses = 4\ncount = 256",
                          "source = hdf5\npath = data.h5\nmean = 0.5\nstd = 0.25")
    program.run("train", program.config(text=text), "--quiet")
    return program


@pytest.mark.parametrize("key, message", [
    ("epochs=1", "epochs = 1: the run in small.h5 has come to epoch 2 already"),
    ("epochs=0", "epochs = 0: the run in small.h5 has come to epoch 2 already"),
    ("max_steps=11", "max_steps = 11: the run in small.h5 has done 12 steps already")])
def test_what_is_done_cannot_be_taken_back(trained, key, message):
    before = (trained.folder / "small.h5").read_bytes()
    said = trained.run("train", "small.ini", "--resume", "--set", f"train.{key}", status=2).stderr
    assert said.startswith(f"small.ini: --set train.{key}: {message}; it goes on to that ")
    assert (trained.folder / "small.h5").read_bytes() == before
    trained.run("train", "small.ini", "--resume", "--set", "train.max_steps=12")


def test_an_epoch_that_is_begun_cannot_be_taken_back(program):
    train = ["train", program.config(), "--quiet", "--set"]
    program.run(*train, "train.max_steps=8")  # of 6 an epoch
    said = program.run(*train, "train.epochs=1", "--resume", status=2).stderr
    assert "the run in small.h5 has come to epoch 2 already" in said
    program.run(*train, "train.epochs=2", "--resume")


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "linear", "onecycle"])
@pytest.mark.parametrize("epochs", [2, 3])
def test_it_is_said_where_another_number_of_epochs_moves_the_schedule(program, schedule, epochs):
    train = ["train", program.config(), "--set", f"train.schedule={schedule}"]
    program.run(*train)
    said = program.run(*train, "--resume", "--set", f"train.epochs={epochs}").stderr
    line = f"small.ini: schedule = {schedule} goes by epochs, from here on by {epochs} and not 2\n"
    moves = epochs != 2 and schedule in ("cosine", "linear", "onecycle")
    assert (line in said) == moves and ("goes by epochs" in said) == moves
    assert program.run(*train, "--resume", "--quiet", "--set",
                       f"train.epochs={epochs + 1}").stderr == ""


def test_the_file_says_what_the_images_are_known_by(data):
    """The formula of docs/run-file.md."""
    with h5py.File(data.folder / "small.h5") as run, h5py.File(data.folder / "data.h5") as file:
        sums = [zlib.crc32(image.tobytes()) for image in file["train/images"]]
        labels = file["train/labels"][()].astype("<i4")
        known = run["data"].attrs
        assert known["train_count"] == known["train_crc32_images"] == COUNT
        want = zlib.crc32(numpy.array(sums, "<u4").tobytes(), zlib.crc32(labels.tobytes()))
        assert known["train_crc32"] == want


@pytest.mark.parametrize("part", ["images", "labels"])
@pytest.mark.parametrize("index", [0, 101, COUNT - 1])
def test_other_data_of_the_same_shape_are_refused(data, part, index):
    before = (data.folder / "small.h5").read_bytes()
    with h5py.File(data.folder / "data.h5", "r+") as file:
        value = file[f"train/{part}"][index]
        file[f"train/{part}"][index] = value ^ 1
    said = data.run("train", "small.ini", *MORE, status=1).stderr
    assert "the data are not those that the run in small.h5 was begun with" in said
    assert (data.folder / "small.h5").read_bytes() == before
    data.run("train", "small.ini", "--quiet")  # anew
    data.run("train", "small.ini", *MORE)


def test_more_or_fewer_images_are_told_by_their_number(data):
    with h5py.File(data.folder / "data.h5", "r+") as file:
        for name in "images", "labels":
            values = file[f"train/{name}"][:-8]
            del file[f"train/{name}"]
            file[f"train/{name}"] = values
    said = data.run("train", "small.ini", *MORE, status=1).stderr
    assert f"the data have {COUNT - 8} training images: the run in small.h5 was begun with " \
           f"{COUNT}" in said


def test_a_run_goes_on_with_the_same_data_elsewhere(data):
    data.run("train", "small.ini", "--out", "whole.h5", "--quiet", "--set", "train.epochs=3")
    os.rename(data.folder / "data.h5", data.folder / "moved.h5")
    data.run("train", "small.ini", *MORE, "--set", "data.path=moved.h5")
    assert same_weights(data.folder / "whole.h5", data.folder / "small.h5")
    with h5py.File(data.folder / "small.h5") as file:
        assert "path = moved.h5" in file.attrs["config"]


def forget(path):
    """As an older program would have written it."""
    with h5py.File(path, "r+") as file:
        for name in "train_count", "train_crc32", "train_crc32_images":
            del file["data"].attrs[name]


def test_a_file_of_an_older_program_goes_on_and_knows_its_data_from_then_on(data):
    path = data.folder / "small.h5"
    with h5py.File(path) as file:
        known = dict(file["data"].attrs)
    forget(path)
    shutil.copy(data.folder / "data.h5", data.folder / "elsewhere.h5")
    said = data.run("train", "small.ini", *MORE, "--set", "data.path=elsewhere.h5", status=2).stderr
    assert "data.path was data.h5, is elsewhere.h5 (what may differ: run.output, " in said
    data.run("train", "small.ini", *MORE)
    with h5py.File(path) as file:
        assert dict(file["data"].attrs) == known


@pytest.fixture
def folder(program):
    """90 images of 17 KB each: with data.memory = 1 they are read while they are used."""
    image = pytest.importorskip("PIL.Image", reason="python3-pil is missing")
    for i in range(90):
        path = program.folder / "pictures" / ("test" if i < 6 else "train") / f"class{i % 2}"
        path.mkdir(parents=True, exist_ok=True)
        image.fromarray(numpy.kron(pictures(1, i)[0], numpy.ones((11, 11), numpy.uint8))).save(
            path / f"{i:03}.png")
    text = CONFIG.replace("source = synthetic\nshape = 1x12x12\nclasses = 4\ncount = 256",
                          "source = folder\npath = pictures\nsize = 132x132\nchannels = 1")
    program.config(text=text)
    return program


@pytest.mark.parametrize("first, then", [("1", "0"), ("0", "1")])
def test_images_that_are_read_from_files_are_known_too(folder, first, then):
    folder.run("train", "small.ini", "--quiet", "--set", f"data.memory={first}")
    with h5py.File(folder.folder / "small.h5") as file:
        assert file["data"].attrs["train_crc32_images"] == (64 if first == "1" else 84)
    folder.run("train", "small.ini", *MORE, "--set", f"data.memory={then}")
    changed = sorted(pathlib.Path(folder.folder, "pictures", "train").glob("*/*.png"))[0]
    changed.write_bytes((folder.folder / "pictures" / "test" / "class1" / "001.png").read_bytes())
    said = folder.run("train", "small.ini", *MORE, "--set", f"data.memory={then}", status=1).stderr
    assert "the data are not those" in said
