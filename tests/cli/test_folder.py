"""source = folder: what is read, in which order, in memory and from files; and pack."""

import json
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="python3-pil is missing")

CONFIG = """\
[run]
seed = 3
output = {output}

[data]
source = folder
path = pictures
size = 12x16
validation = 0.2

[train]
epochs = 2
batch = 7
lr = 0.05
momentum = 0.9

[conv1]
type = conv
filters = 4
kernel = 3
activation = relu

[fc1]
type = dense
units = classes
"""
# `memory` is in megabytes: no image is as small as this.
PIXELS = (300, 400)


def picture(seed, shape=(20, 24, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def pictures(program):
    """Three classes of 9, 5 and 7 training images, and 2 each to test, of several formats."""
    root = program.folder / "pictures"
    for label, (name, count) in enumerate([("Zebra", 9), ("ant", 5), ("b c", 7)]):
        for split, images in [("train", count), ("test", 2)]:
            for i in range(images):
                suffix = ["png", "jpg", "bmp", "webp", "tiff"][i % 5]
                shape = (20, 24) if i % 3 == 0 else (20 + i, 24, 3)
                save(root / split / name / f"{i:02}.{suffix}",
                     picture(100 * label + i + 50 * (split == "test"), shape))
    program.config(text=CONFIG)
    return root


def packed(program, *arguments):
    program.run("pack", "small.ini", "-o", "packed.h5", *arguments)
    with h5py.File(program.folder / "packed.h5") as file:
        return {name: file[name][()] for name in
                ["train/images", "train/labels", "test/images", "test/labels", "classes"]}


def results(path):
    """Every number of a run that training made."""
    with h5py.File(path) as file:
        numbers = {}
        file.visititems(lambda name, item: numbers.update({name: item[()]})
                        if isinstance(item, h5py.Dataset) and "second" not in name
                        and not name.endswith("worst/file") else None)
        numbers["mean"] = file["data/classes"].attrs["mean"]
        return numbers


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert np.array_equal(a[name], b[name]), name


def error(program, *arguments, status=1):
    return program.run(*arguments, status=status).stderr.splitlines()[-1]


# --- what is read ---

def test_classes_stand_in_byte_order_and_samples_go_around_them(program, pictures):
    data = packed(program)
    assert [name.decode() for name in data["classes"]] == ["Zebra", "ant", "b c"]
    assert data["train/labels"].tolist() == 5 * [0, 1, 2] + 2 * [0, 2] + 2 * [0]
    assert data["test/labels"].tolist() == 2 * [0, 1, 2]
    assert data["train/images"].shape == (21, 12, 16, 3)
    limited = packed(program, "--set", "data.limit_train=4", "--set", "data.limit_test=2",
                     "--set", "data.validation=0")
    assert (limited["train/images"] == data["train/images"][:4]).all()
    assert limited["test/labels"].tolist() == [0, 1]


def test_files_stand_in_byte_order_with_those_of_folders_within(program, pictures):
    for path in [pictures / "train" / "ant" / "A.png", pictures / "train" / "ant" / "in" / "x.png"]:
        save(path, np.full((12, 16, 3), 77 if path.name == "A.png" else 99, np.uint8))
    data = packed(program)
    ants = data["train/images"][data["train/labels"] == 1]
    assert len(ants) == 7
    assert (ants == 77).all((1, 2, 3)).tolist() == [False] * 5 + [True, False]
    assert (ants[-1] == 99).all()


def test_hidden_files_are_passed_over(program, pictures):
    before = packed(program)
    (pictures / "train" / "ant" / ".DS_Store").write_bytes(b"no image")
    (pictures / "train" / ".cache").mkdir()
    assert_same(packed(program), before)


@pytest.mark.parametrize("channels,fit", [("1", "crop"), ("3", "pad"), ("1", "stretch")])
def test_size_channels_and_fit_are_taken(program, pictures, channels, fit):
    white = pictures / "train" / "Zebra" / "00.png"
    save(white, np.full((10, 40), 255, np.uint8))
    first = packed(program, "--set", f"data.channels={channels}", "--set",
                   f"data.fit={fit}")["train/images"][0]
    assert first.shape == (12, 16, int(channels))
    assert (first.min() == 0) == (fit == "pad") and first.max() == 255


def test_threads_change_nothing(program, pictures):
    runs = []
    for threads in ("1", "5"):
        environment = {**program.environment, "OMP_NUM_THREADS": threads}
        program.run("pack", "small.ini", "-o", f"{threads}.h5", env=environment)
        runs.append((program.folder / f"{threads}.h5").read_bytes())
    assert runs[0] == runs[1]


def test_summary_reads_no_image(program, pictures):
    for path in pictures.rglob("*.*"):
        path.write_bytes(b"no image")
    [summary] = program.json("summary", "small.ini")
    assert summary["nodes"][0]["shape"] == [4, 10, 14]
    assert summary["nodes"][-1]["shape"] == [3, 1, 1]


# --- errors ---

def test_errors_name_the_folder_or_the_file(program, pictures):
    cases = [
        (lambda: (pictures / "train" / "ant" / "notes.txt").write_text("no image"),
         "pictures/train/ant/notes.txt: is no image"),
        (lambda: (pictures / "train" / "ant" / "notes.txt").rename(pictures / "train" / "a.txt"),
         "pictures/train/a.txt: is in no class's folder"),
        (lambda: ((pictures / "train" / "a.txt").unlink(), (pictures / "train" / "none").mkdir()),
         "pictures/train/none: holds no images"),
        (lambda: (pictures / "train" / "none").rename(pictures / "test" / "none"),
         "pictures/test/none: there is no class 'none' in pictures/train"),
        (lambda: ((pictures / "test" / "none").rename(pictures / "test" / "ant" / "in"),
                  os.symlink("..", pictures / "test" / "ant" / "in" / "round")),
         "is more than 16 folders below its class"),
        (lambda: pictures.rename(program.folder / "moved"),
         "small.ini:7: [data] path = pictures: No such file or directory"),
        (lambda: ((pictures / "train").mkdir(parents=True), (pictures / "test").mkdir()),
         "pictures/train: holds no folders; each class has one"),
    ]
    for change, message in cases:
        change()
        assert message in error(program, "train", "small.ini", "--quiet")


def test_a_folder_of_another_layout_is_told_what_is_wanted_and_what_it_holds(program):
    layout = "small.ini:7: [data] path = flat: a folder source has train/CLASS/* and test/CLASS/*; "
    cases = [
        (["cats", "dogs"], "flat holds cats, dogs"),
        (["train/a", "train/b"], "flat holds train"),
        (["train/a", "train/b", "val/a"], "flat holds train, val; what to score by is named test, not val"),
        (["train/a", "train/b", "validation/a"], "; what to score by is named test, not validation"),
        (["test/a"], "flat holds test"),
        (["test/a", "val/a"], "flat holds test, val"),
        (list("abcdefgh"), "flat holds a, b, c, d, e, f, and 2 more"),
        ([], "flat holds nothing"),
    ]
    program.config(text=CONFIG.replace("pictures", "flat"))
    for folders, held in cases:
        root = program.folder / "flat"
        root.mkdir()
        for i, folder in enumerate(folders):
            save(root / folder / "0.png", picture(i))
        for verb in ("train", "check"):
            message = error(program, verb, "small.ini")
            assert message.startswith(layout) and message.endswith(held)
        shutil.rmtree(root)


def test_a_folder_with_one_class_is_told_where_the_classes_are(program):
    start = ("small.ini:7: [data] path = deep: a folder source has two classes or more, one a "
             "folder in deep/train; deep/train/photos is the only one")
    cases = [
        (["photos"], ""),
        (["photos/cat", "photos/dog"], ", and the folders in it (cat, dog) are not: each would be "
                                       "a class if it lay in deep/train itself"),
        (["photos/test/cat", "photos/train/cat"],
         "; give path = deep/train/photos, which holds a folder train of its own"),
    ]
    program.config(text=CONFIG.replace("pictures", "deep"))
    for folders, hint in cases:
        root = program.folder / "deep"
        for i, folder in enumerate(folders):
            save(root / "train" / folder / "0.png", picture(i))
            save(root / "test" / folder / "1.png", picture(i + 5))
        for verb in ("train", "check", "summary"):
            assert error(program, verb, "small.ini") == start + hint
        shutil.rmtree(root)


def test_mistakes_have_the_names_of_their_files(program, pictures):
    program.run("train", "small.ini", "--quiet", "--set", "train.lr=1e-9")
    program.run("train", "small.ini", "--resume", "--quiet", "--set", "train.lr=1e-9")
    files = sorted((file for name in ("Zebra", "ant", "b c")
                    for file in (pictures / "test" / name).iterdir()),
                   key=lambda file: (file.name, file.parent.name))
    with h5py.File(program.folder / "small.h5") as run:
        worst = run["evaluation/test/worst"]
        assert len(worst["file"]) == len(worst["sample"]) > 0
        for name, sample in zip(worst["file"].asstr(), worst["sample"]):
            assert program.folder / name == files[sample]
        first = worst["file"].asstr()[0]
    program.run("report", "small.h5", "-o", "small.html")
    assert f'title="{first}, test image ' in (program.folder / "small.html").read_text()


def test_eval_says_how_to_name_data_that_have_moved(program, pictures):
    program.run("train", "small.ini", "--quiet")
    pictures.rename(program.folder / "moved")
    assert error(program, "eval", "small.h5") == (
        "small.h5: the run's [data] path = pictures: No such file or directory; "
        "--set data.path=PATH names another")
    assert error(program, "eval", "small.h5", "--set", "data.path=there") == (
        "--set data.path=there: [data] path = there: No such file or directory")
    program.run("eval", "small.h5", "--set", "data.path=moved")


def test_the_first_bad_file_is_named_whichever_thread_meets_it(program, pictures):
    for name in ("Zebra/06.jpg", "ant/04.tiff", "b c/03.webp"):
        (pictures / "train" / name).write_bytes(b"")
    for _ in range(3):
        assert "pictures/train/b c/03.webp: is empty" in error(program, "train", "small.ini")


def test_keys_are_checked(program, pictures):
    assert "needs the key 'size'" in error(program, "train", program.config(
        "lacks.ini", CONFIG.replace("size = 12x16\n", "")), status=2)
    for key, value in [("channels", "2"), ("fit", "squeeze"), ("on_bad_image", "blank"),
                       ("size", "0x4"), ("size", "4x40000"), ("memory", "-1")]:
        assert key in error(program, "summary", "small.ini", "--set", f"data.{key}={value}",
                            status=2)
    program.config("hdf5.ini", CONFIG.replace("folder", "hdf5"))
    assert "data] size is only for source = folder" in error(program, "summary", "hdf5.ini", status=2)


@pytest.mark.parametrize("size", ["12x16", "300x400"])
def test_skipping_lists_what_it_skips(program, pictures, size):
    """In a megabyte there is room for all of the small images, and for two of the large ones."""
    sets = ["--set", f"data.size={size}", "--set", "data.memory=1"]
    before = packed(program, *sets)
    bad = pictures / "train" / "ant" / "02.bmp"
    bad.write_bytes(bad.read_bytes()[:100])
    (pictures / "test" / "Thumbs.db").write_bytes(b"thumbs")
    done = program.run("pack", "small.ini", "-o", "skipped.h5", "--set", "data.on_bad_image=skip",
                       *sets)
    first, second = done.stderr.splitlines()
    assert first.startswith("skipped: pictures/train/ant/02.bmp: is damaged, cut short or no BMP")
    assert second == "skipped: pictures/test/Thumbs.db: is in no class's folder"
    with h5py.File(program.folder / "skipped.h5") as file:
        kept = np.delete(np.arange(21), 3 * 2 + 1)
        assert (file["train/images"][()] == before["train/images"][kept]).all()
        assert (file["train/labels"][()] == before["train/labels"][kept]).all()


def test_a_class_without_a_readable_image_cannot_be_skipped(program, pictures):
    for path in (pictures / "train" / "ant").iterdir():
        path.write_bytes(b"")
    skip = ["--set", "data.on_bad_image=skip"]
    said = program.run("train", "small.ini", "--quiet", *skip, status=1).stderr.splitlines()
    assert said[:-1] == [f"skipped: pictures/train/ant/{name}: is empty" for name in
                         ["00.png", "01.jpg", "02.bmp", "03.webp", "04.tiff"]]
    assert said[-1].endswith("pictures/train/ant: none of its images can be read; the first: "
                             "pictures/train/ant/00.png: is empty")
    grid = program.config("grid.ini", CONFIG + "\n[sweep]\ntrain.lr = 0.01, 0.02\n")
    swept = program.run("sweep", grid, "--quiet", *skip, status=1).stderr.splitlines()
    assert swept[:5] == said[:5] and len(swept) == 6


def test_a_split_without_a_readable_image_cannot_be_skipped(program, pictures):
    for i, path in enumerate(sorted((pictures / "test").rglob("*.*"))):
        path.write_bytes(i * b"x")
    said = program.run("train", "small.ini", "--set", "data.on_bad_image=skip", status=1).stderr
    assert len([line for line in said.splitlines() if line.startswith("skipped: pictures/test")]) == 6
    assert ("pictures/test: none of its 6 images can be read; the first: "
            "pictures/test/Zebra/00.png: is empty") in said


def test_a_library_that_is_missing_is_no_bad_image(program, pictures):
    program.run("train", "small.ini", "--quiet")
    (program.folder / "lib").mkdir()
    (program.folder / "lib" / "libvips.so.42").write_text("no library")
    environment = {**program.environment, "LD_LIBRARY_PATH": str(program.folder / "lib")}
    for arguments in (["train", "small.ini", "--set", "data.on_bad_image=skip"],
                      ["predict", "small.h5", "pictures"]):
        said = program.run(*arguments, status=1, env=environment).stderr
        assert "skipped" not in said and "libvips, which reads images, does not load: " in said


# --- scoring ---

def test_a_run_scores_a_folder_by_the_names_of_its_own_classes(program, pictures):
    program.run("train", "small.ini", "--quiet", "--out", "run.h5")
    [before] = program.json("eval", "run.h5")
    shutil.rmtree(pictures / "train")
    assert program.json("eval", "run.h5") == [before]

    # Classes that have no images, or no folder, keep their places.
    (pictures / "test" / "Zebra").rename(program.folder / "away")
    for path in (pictures / "test" / "b c").iterdir():
        path.unlink()
    [after] = program.json("eval", "run.h5")
    assert [item["name"] for item in after["classes"]] == ["Zebra", "ant", "b c"]
    assert [item["count"] for item in after["classes"]] == [0, 2, 0]
    assert after["confusion"] == [[0, 0, 0], before["confusion"][1], [0, 0, 0]]

    (pictures / "test" / "ant").rename(pictures / "test" / "bee")
    assert "pictures/test/bee: the run has no class 'bee'" in error(program, "eval", "run.h5")
    (pictures / "test" / "bee").rename(program.folder / "bee")
    assert "pictures/test: holds no images" in error(program, "eval", "run.h5")


def test_a_run_of_another_source_scores_a_folder_by_its_names(program):
    """Numbers are names like others: in the order of bytes 10 comes before 2."""
    program.config(text=CONFIG.replace("folder\npath = pictures\nsize = 12x16",
                                       "synthetic\nshape = 3x12x16\nclasses = 11\ncount = 44"))
    packed(program)
    program.config("packed.ini", CONFIG.replace(
        "folder\npath = pictures\nsize = 12x16", "hdf5\npath = packed.h5"))
    program.run("train", "packed.ini", "--quiet", "--out", "run.h5")
    for label, count in ((2, 3), (10, 1)):
        for i in range(count):
            save(program.folder / "pictures" / "test" / str(label) / f"{i}.png", picture(i))
    [scores] = program.json("eval", "run.h5", "--set", "data.source=folder", "--set",
                            "data.path=pictures", "--set", "data.size=12x16")
    assert [item["count"] for item in scores["classes"]] == [0, 0, 3] + 7 * [0] + [1]


@pytest.mark.parametrize("channels,fit", [("1", "pad"), ("3", "stretch")])
def test_a_run_of_another_source_brings_a_folder_to_its_shape_as_before(program, pictures, channels,
                                                                        fit):
    packed(program, "--set", f"data.channels={channels}", "--set", f"data.fit={fit}")
    source = ["--set", "data.source=hdf5", "--set", "data.path=packed.h5"]
    program.run("train", "small.ini", "--quiet", *source)
    folder = ["--set", "data.source=folder", "--set", "data.path=pictures"]
    expected = program.json("eval", "small.h5")
    assert program.json("eval", "small.h5", *folder) == expected
    [other] = program.json("eval", "small.h5", *folder, "--set", "data.fit=crop")
    assert other["loss"] != expected[0]["loss"]
    assert "the run was trained on" in error(program, "eval", "small.h5", *folder, "--set",
                                             "data.size=8x8")


def test_a_resumed_run_wants_its_classes_as_they_were(program, pictures):
    program.run("train", "small.ini", "--quiet", "--out", "run.h5")
    for split in ("train", "test"):
        (pictures / split / "ant").rename(pictures / split / "bee")
    assert "class 1 of the data is 'b c': the run was trained with 'ant' there" in error(
        program, "train", "small.ini", "--out", "run.h5", "--resume", "--set", "train.epochs=3")


# --- threads ---

def most_threads(program, *arguments):
    """The most that the program has at a time, where twelve are the default."""
    program.environment["OMP_NUM_THREADS"] = "12"
    process, most = program.start(*arguments), 0
    while process.poll() is None:
        try:
            most = max(most, len(os.listdir(f"/proc/{process.pid}/task")))
        except FileNotFoundError:
            break
        time.sleep(1e-3)
    process.communicate(timeout=60)
    assert process.returncode == 0
    return most


@pytest.mark.parametrize("sets", [[], ["--set", "data.memory=1"]], ids=["kept", "read"])
def test_images_are_read_on_as_many_threads_as_are_asked_for(program, large, sets):
    """On one: the trainer; a reader each for training and validation, and what libvips has beside
    each of the three, in all seven."""
    train = ["train", "small.ini", "--quiet", "--out", "run.h5", *sets]
    assert most_threads(program, *train) >= 12
    assert most_threads(program, *train, "--threads", 1) < 12
    assert most_threads(program, "eval", "run.h5", *sets, "--threads", 1) < 12
    assert most_threads(program, "check", "small.ini", *sets, "--threads", 1) < 12
    assert most_threads(program, "pack", "small.ini", "-o", "packed.h5", *sets, "--set",
                        "run.threads=1") < 12
    assert most_threads(program, "predict", "run.h5", "pictures", "--threads", 1) < 12


# --- check ---

def test_check_finds_what_is_wrong_with_a_folder(program):
    root = program.folder / "pictures"
    for split, counts in (("train", (24, 24, 2)), ("test", (2, 2, 2))):
        for label, count in enumerate(counts):
            for i in range(count):
                save(root / split / "abc"[label] / f"{i:02}.png",
                     picture(1000 * label + i + 500 * (split == "test"), (12, 16, 3)))
    program.config(text=CONFIG)
    [clean] = program.json("check", "small.ini")
    assert [item["kind"] for item in clean["findings"]] == ["imbalance"]

    def spoil(name, content):
        (root / name).write_bytes(content)
    spoil("train/a/03.png", (root / "train/a/01.png").read_bytes())
    spoil("train/b/04.png", (root / "train/a/02.png").read_bytes())
    spoil("test/b/00.png", (root / "train/b/05.png").read_bytes())
    spoil("train/b/06.png", (root / "train/b/06.png").read_bytes()[:200])
    save(root / "train/b/07.png", np.full((12, 16, 3), 9, np.uint8))
    common = {"unreadable": ("error", 1), "same_in_train_and_test": ("error", 1),
              "blank": ("warning", 1), "imbalance": ("warning", 1)}
    for validation, copies in [
            ("0", {"same_with_two_labels": ("warning", 1), "same": ("warning", 1)}),
            ("0.2", {"same_with_two_labels": ("warning", 1),
                     "same_in_train_and_validation": ("warning", 1)})]:
        [found] = program.json("check", "small.ini", "--set", f"data.validation={validation}",
                               status=1)
        assert {item["kind"]: (item["severity"], item["count"])
                for item in found["findings"]} == common | copies
    text = program.run("check", "small.ini", status=1).stdout
    for name in ("train/a/03.png", "train/b/04.png", "test/b/00.png", "train/b/06.png",
                 "train/b/07.png"):
        assert f"pictures/{name}" in text


# --- from files ---

@pytest.fixture
def large(program):
    """48 images that take 17 MB at 300x400, of three colours that tell the class."""
    for i in range(54):
        shade = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]][i % 3])
        array = (shade + picture(i, (*PIXELS, 3)) / 5).astype(np.uint8)
        save(program.folder / "pictures" / ("test" if i >= 48 else "train") / f"class{i % 3}"
             / f"{i}.jpg", array)
    program.config(text=CONFIG.replace("12x16", "300x400").replace(
        "kernel = 3", "kernel = 8\nstride = 8"))


def test_images_from_files_train_to_the_same_bits(program, large):
    program.run("train", "small.ini", "--quiet", "--out", "kept.h5")
    [*_, done] = program.json("train", "small.ini", "--quiet", "--out", "read.h5", "--set",
                              "data.memory=1")
    assert done["data_wait_seconds"] > 0
    for path in ("kept.h5", "read.h5"):
        with h5py.File(program.folder / path) as file:
            assert file.attrs["status"] == "complete"
    assert_same(results(program.folder / "kept.h5"), results(program.folder / "read.h5"))
    assert program.run("eval", "read.h5").stdout == program.run("eval", "kept.h5").stdout


def test_a_resumed_run_from_files_goes_on_to_the_same_bits(program, large):
    read = ["--quiet", "--set", "data.memory=1"]
    program.run("train", "small.ini", "--out", "whole.h5", *read)
    program.run("train", "small.ini", "--out", "parts.h5", "--set", "train.max_steps=8", *read)
    program.run("train", "small.ini", "--out", "parts.h5", "--resume", "--quiet")
    assert_same(results(program.folder / "whole.h5"), results(program.folder / "parts.h5"))


def resident(process):
    """Bytes, of a process that goes on."""
    with open(f"/proc/{process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_images_from_files_take_no_more_memory_than_their_batches(program, large):
    """In training and in evaluation three mini-batches of 4 images have 4.3 MB; all 198 have 71 MB,
    and none of them may be kept, in however many epochs."""
    for i in range(150):
        os.symlink(f"{3 * (i % 16)}.jpg",
                   program.folder / "pictures" / "train" / "class0" / f"again{i}.jpg")
    arguments = ["train", "small.ini", "--quiet", "--set", "train.batch=4", "--set",
                 "run.threads=1"]
    kept = program.json(*arguments, "--set", "train.epochs=1")
    process = program.start(*arguments, "--json", "--set", "data.memory=1", "--set",
                            "train.epochs=4")
    after = []
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "epoch":
            after.append(resident(process))
    assert process.wait(60) == 0 and len(after) == 4
    # What libvips holds of the images it is at is about the same in both.
    assert kept[-1]["peak_rss_bytes"] - event["peak_rss_bytes"] > 71e6 - 2 * 4.3e6 - 10e6
    # Two rings; one in 25 of the images of three epochs that were not given back would be as much.
    assert after[-1] - after[0] < 2 * 4.3e6, after


def test_a_file_that_turns_bad_ends_the_run_with_its_name(program, large):
    process = program.start("train", "small.ini", "--set", "data.memory=1", "--set",
                            "train.epochs=100000", "--json", "--out", "bad.h5")
    process.stdout.readline()  # an epoch is done, and its checkpoint made before the next
    path = program.folder / "pictures" / "train" / "class1" / "7.jpg"
    path.write_bytes(path.read_bytes()[:1000])
    _, message = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "pictures/train/class1/7.jpg: is damaged, cut short or no JPEG" in message
    assert "bad.h5 holds the run as it was after epoch" in message
    with h5py.File(program.folder / "bad.h5") as file:
        assert file.attrs["status"] == "failed"


def test_a_test_image_that_turns_bad_costs_no_step(program, large):
    train = ["train", "small.ini", "--quiet", "--set", "data.memory=1", "--out", "bad.h5",
             "--set", "train.checkpoint_every=100"]
    program.run(*train, "--set", "train.epochs=1")
    path = program.folder / "pictures" / "test" / "class1" / "49.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    program.run(*train, "--resume", "--set", "train.epochs=2", status=1)
    with h5py.File(program.folder / "bad.h5") as file:
        assert file.attrs["status"] == "failed"
        assert file.attrs["reason"].startswith("pictures/test/class1/49.jpg: is damaged")
        assert file["optimizer"].attrs["epoch"] == 2
    path.write_bytes(whole)
    program.run(*train, "--resume", "--set", "train.epochs=2")
    with h5py.File(program.folder / "bad.h5") as file:
        assert file.attrs["status"] == "complete"


def test_a_run_from_files_can_be_interrupted(program, large):
    process = program.start("train", "small.ini", "--set", "data.memory=1", "--set",
                            "train.epochs=100000", "--json", "--out", "stopped.h5")
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    with h5py.File(program.folder / "stopped.h5") as file:
        assert file.attrs["status"] == "interrupted"


def test_a_run_in_memory_does_not_wait_for_data(program, pictures):
    done = program.run("train", "small.ini", "--quiet").stdout
    assert ", data wait 0.0 s" in done


# --- pack ---

def test_packed_data_train_to_the_same_bits(program, pictures):
    program.run("train", "small.ini", "--quiet", "--out", "folder.h5")
    program.run("pack", "small.ini", "-o", "data/packed.h5")
    program.config("packed.ini", CONFIG.replace("folder", "hdf5").replace(
        "path = pictures\nsize = 12x16", "path = data/packed.h5"))
    program.run("train", "packed.ini", "--quiet", "--out", "hdf5.h5")
    assert_same(results(program.folder / "folder.h5"), results(program.folder / "hdf5.h5"))


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_run_of_packed_data_fits_files_as_one_of_the_folder_does(program, pictures, fit):
    """Of files that are three times as high as wide."""
    for i in range(4):
        save(program.folder / "wide" / f"{i}.png", picture(i, (72, 24, 3)))

    def predicted(run):
        return program.json("predict", run, "wide")
    program.run("train", "small.ini", "--quiet", "--out", "folder.h5", "--set", f"data.fit={fit}")
    program.run("pack", "small.ini", "-o", "packed.h5", "--set", f"data.fit={fit}")
    packed = ["--set", "data.source=hdf5", "--set", "data.path=packed.h5"]
    program.run("pack", "small.ini", "-o", "again.h5", *packed)
    program.run("train", "small.ini", "--quiet", "--out", "hdf5.h5", "--set", "data.source=hdf5",
                "--set", "data.path=again.h5")
    expected = predicted("folder.h5")
    assert predicted("hdf5.h5") == expected

    # Those of older programs, which kept it in the folder's config alone.
    for run in ("folder.h5", "hdf5.h5"):
        with h5py.File(program.folder / run, "r+") as file:
            assert file["data/classes"].attrs["fit"] == fit
            del file["data/classes"].attrs["fit"]
    assert predicted("folder.h5") == expected
    assert (predicted("hdf5.h5") == expected) == (fit == "crop")


def test_a_fit_that_is_none_is_refused(program, pictures):
    program.run("train", "small.ini", "--quiet")
    packed(program)
    source = ["--set", "data.source=hdf5", "--set", "data.path=packed.h5"]
    with h5py.File(program.folder / "packed.h5", "r+") as file:
        file.attrs["fit"] = "squeeze"
    with h5py.File(program.folder / "small.h5", "r+") as file:
        file["data/classes"].attrs["fit"] = "squeeze"
    assert error(program, "train", "small.ini", *source) == (
        "small.ini: packed.h5: attribute fit = squeeze; it is crop, pad or stretch")
    assert error(program, "predict", "small.h5", "pictures") == (
        "small.h5: /data/classes/fit: 'squeeze'; it is crop, pad or stretch")
    for of_somebody_else in (1, ["crop"] * 1000):
        with h5py.File(program.folder / "packed.h5", "r+") as file:
            file.attrs["fit"] = of_somebody_else
        program.run("train", "small.ini", *source, "--quiet", "--out", "packed-run.h5")


def test_a_source_that_is_set_takes_the_keys_of_the_files_away(program, pictures):
    program.run("train", "small.ini", "--quiet", "--out", "folder.h5")
    program.run("pack", "small.ini", "-o", "packed.h5")
    packed = ["--set", "data.source=hdf5", "--set", "data.path=packed.h5"]
    assert program.json("eval", "folder.h5", *packed) == program.json("eval", "folder.h5")
    program.run("train", "small.ini", "--quiet", "--out", "hdf5.h5", *packed)
    assert_same(results(program.folder / "folder.h5"), results(program.folder / "hdf5.h5"))
    assert "size" not in program.run("summary", "hdf5.h5").stderr
    grid = program.config("grid.ini", CONFIG + "\n[sweep]\ntrain.lr = 0.01, 0.02\n")
    program.run("sweep", grid, "--quiet", "--out", "sweep.h5", *packed)
    program.run("report", "sweep.h5", "-o", "sweep.html")
    program.run("sweep", grid, "--quiet", "--out", "sweep.h5", "--resume", *packed)
    program.run("train", "small.ini", "--quiet", "--set", "data.source=synthetic", "--set",
                "data.shape=3x12x16", "--set", "data.count=40", "--out", "synthetic.h5")
    message = program.run("eval", "hdf5.h5", *packed, "--set", "data.size=8x8", status=2).stderr
    assert "--set data.size=8x8: [data] size is only for source = folder" in message


def test_packing_from_files_gives_the_same_file(program, large):
    program.run("pack", "small.ini", "-o", "kept.h5")
    program.run("pack", "small.ini", "-o", "read.h5", "--set", "data.memory=1")
    assert (program.folder / "kept.h5").read_bytes() == (program.folder / "read.h5").read_bytes()


def test_pack_writes_any_source(program):
    program.config(text=CONFIG.replace("folder\npath = pictures\nsize = 12x16",
                                       "synthetic\nshape = 2x3x5\nclasses = 3\ncount = 20"))
    [line] = program.json("pack", "small.ini", "-o", "packed.h5")
    assert (line["train"], line["test"], line["classes"]) == (20, 5, 3)
    with h5py.File(program.folder / "packed.h5") as file:
        assert file["train/images"].shape == (20, 3, 5, 2)
        assert file["train/images"].dtype == np.uint8
        assert file["train/labels"][()].tolist() == [i % 3 for i in range(20)]


def test_pack_replaces_packed_data_alone_and_leaves_nothing_behind(program, pictures):
    assert "-o FILE is missing" in error(program, "pack", "small.ini", status=2)
    notes = program.folder / "notes.txt"
    notes.write_text("mine")
    assert "notes.txt is there and holds no /train/images" in error(
        program, "pack", "small.ini", "-o", "notes.txt")
    assert notes.read_text() == "mine"
    packed(program)
    before = (program.folder / "packed.h5").read_bytes()
    packed(program)
    assert (program.folder / "packed.h5").read_bytes() == before
    (pictures / "train" / "ant" / "02.bmp").write_bytes(b"")
    assert "02.bmp: is empty" in error(program, "pack", "small.ini", "-o", "packed.h5")
    assert "02.bmp: is empty" in error(program, "pack", "small.ini", "-o", "new/packed.h5")
    assert (program.folder / "packed.h5").read_bytes() == before
    assert sorted(path.name for path in program.folder.iterdir()) == [
        "notes.txt", "packed.h5", "pictures", "small.ini"]


# --- real pictures ---

SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.mark.skipif(not (SHARED / "braintumor").is_dir(), reason="../shared/data is absent")
def test_the_number_of_components_is_gone_from_mixed_jpegs(program):
    """Those of one class are stored in grey, the others in colour: all have to come out grey."""
    program.config(text=CONFIG.replace("pictures", str(SHARED / "braintumor")))
    data = packed(program, "--set", "data.limit_train=200", "--set", "data.limit_test=40",
                  "--set", "data.size=64x64")
    images = data["train/images"].astype(int)
    assert len(set(data["train/labels"].tolist())) == 4
    assert (images.max(-1) == images.min(-1)).all()


# --- how far the reading is ---

def said_on_a_terminal(program, *arguments):
    ours, theirs = os.openpty()
    process = subprocess.Popen([program.path, *arguments], cwd=program.folder, stderr=theirs,
                               stdout=subprocess.DEVNULL,
                               env={**program.environment, "TERM": "xterm"})
    said = b""
    while process.poll() is None or select.select([ours], [], [], 0)[0]:
        if select.select([ours], [], [], 0.05)[0]:
            said += os.read(ours, 1 << 16)
    os.close(ours)
    os.close(theirs)
    return said.decode()


@pytest.mark.parametrize("verb, options, folder", [
    ("train", [], "pictures/train"), ("train", ["--quiet"], None), ("check", [], "train and test")])
def test_a_terminal_shows_how_many_images_are_read(program, pictures, verb, options, folder):
    large = picture(1, (900, 900, 3))
    for i in range(20):
        save(pictures / "train" / "ant" / f"large{i:02}.png", large)
    said = said_on_a_terminal(program, verb, "small.ini", "--threads", "1", *options)
    shown = re.findall(r"([a-z/ ]+): \d+ of \d+ images read", said)
    assert set(shown) == ({folder} if folder else set())
    assert said.count("images read\r\033[K") == len(shown)  # each is drawn over


def test_a_file_is_not_told_of_what_is_soon_read(program, pictures):
    assert "images read" not in program.run("train", "small.ini").stderr
