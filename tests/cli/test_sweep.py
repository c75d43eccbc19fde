"""sweep: its rows, its file, what it refuses, and going on after whatever ended it."""
import json
import math
import os
import pty
import random
import re
import signal
import subprocess
import time

import pytest

h5py = pytest.importorskip("h5py")
numpy = pytest.importorskip("numpy")

from conftest import CONFIG

GRID = """
[sweep]
conv1.stride = 1, 2
conv1.padding = valid, "0, 1, 0, 1"  ; quotes keep an item together
seeds = 5, 6
"""
COLUMNS = ["seed", "status", "reason", "test_accuracy", "test_loss", "train_loss",
           "images_per_second", "step_ms", "parameters", "macs", "activation_bytes", "output_shape"]
TIMES = ["images_per_second", "step_ms", "seconds", "threads"]


@pytest.fixture
def grid(program):
    def write(sweep=GRID, base=CONFIG):
        return program.config("grid.ini", base + sweep, output="grid.h5")
    return write


def rows(path):
    """Column by column; texts as str."""
    with h5py.File(path) as file:
        assert file.attrs["format"] == "colonnade-sweep" and file.attrs["format_version"] == 1
        return {name: [value.decode() if isinstance(value, bytes) else value for value in data[()]]
                for name, data in file["combinations"].items()}


CURVES = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]


def curves(path):
    """By name: [rows, epochs]."""
    with h5py.File(path) as file:
        return {name: data[()] for name, data in file["curves"].items()}


def timeless(path):
    table = rows(path)
    for name in TIMES:
        del table[name]
    table.update((f"curves/{name}", curve.tolist()) for name, curve in curves(path).items())
    return {name: [repr(value) for value in column] for name, column in table.items()}


def test_events_and_file_have_what_the_contract_names(program, grid):
    events = program.json("sweep", grid(), "--out", "other.h5")
    assert [event["event"] for event in events] == ["combination"] * 4 + ["done"]
    assert events[-1]["sweep"] == "other.h5"
    assert events[1]["settings"] == {"conv1.stride": "1", "conv1.padding": "0, 1, 0, 1"}
    table = rows(program.folder / "other.h5")
    assert set(table) >= {"conv1.stride", "conv1.padding", *COLUMNS}
    assert {len(column) for column in table.values()} == {8}
    assert table["conv1.stride"] == ["1"] * 4 + ["2"] * 4
    assert table["conv1.padding"] == ["valid", "valid", "0, 1, 0, 1", "0, 1, 0, 1"] * 2
    assert table["seed"] == [5, 6] * 4
    assert table["status"] == ["complete"] * 8
    assert all(table["images_per_second"][i] > 0 and table["step_ms"][i] > 0 for i in range(8))
    with h5py.File(program.folder / "other.h5") as file:
        assert file.attrs["status"] == "complete" and file.attrs["jobs"] == 1
        assert "colonnade_version" in file.attrs and "[sweep]" in file.attrs["config"]
    for i, event in enumerate(events[:-1]):
        pair = numpy.array(table["test_accuracy"][2 * i:2 * i + 2])
        assert event["test_accuracy"] == pytest.approx(pair.mean())
        assert event["test_accuracy_sd"] == pytest.approx(pair.std(ddof=1))
        # Student's t of one degree of freedom, 97.5 %: 12.7062.
        assert event["test_accuracy_interval"] == \
            pytest.approx(12.7062047 * pair.std(ddof=1) / math.sqrt(2))
        assert event["images_per_second"] == pytest.approx(
            sum(table["images_per_second"][2 * i:2 * i + 2]) / 2)


def test_a_row_is_what_train_makes_of_its_settings(program, grid):
    name = grid()
    program.run("sweep", name, "--quiet")
    table = rows(program.folder / "grid.h5")
    for i in [0, 3, 5]:
        settings = ["--set", f"conv1.stride={table['conv1.stride'][i]}",
                    "--set", f"conv1.padding={table['conv1.padding'][i]}",
                    "--set", f"run.seed={table['seed'][i]}"]
        done = program.json("train", name, "--out", "one.h5", *settings)[-2:]
        assert done[1]["test_accuracy"] == table["test_accuracy"][i]
        assert done[1]["test_loss"] == table["test_loss"][i]
        assert done[0]["train_loss"] == table["train_loss"][i]
        with h5py.File(program.folder / "one.h5") as file:
            for column, curve in curves(program.folder / "grid.h5").items():
                assert numpy.array_equal(file[f"metrics/epoch/{column}"][()], curve[i])
        [summary] = program.json("summary", name, *settings)
        assert summary["parameters"] == table["parameters"][i]
        assert summary["macs"] == table["macs"][i]
        assert sum(node["bytes"] for node in summary["nodes"]) == table["activation_bytes"][i]
        pool = next(node for node in summary["nodes"] if node["name"] == "pool1")
        assert "x".join(map(str, pool["shape"])) == table["output_shape"][i]


def test_shapes_that_cannot_be_are_rows_with_a_reason(program, grid):
    name = grid("[sweep]\nconv1.kernel = 3, 13\nconv1.padding = valid\n")
    events = program.json("sweep", name)
    assert [event["status"] for event in events[:-1]] == ["invalid", "complete"]
    assert events[0]["test_accuracy"] is None and "13x13" in events[0]["reason"]
    table = rows(program.folder / "grid.h5")
    assert table["status"] == ["complete", "invalid"] and "13x13" in table["reason"][1]
    assert math.isnan(table["test_accuracy"][1]) and table["output_shape"][1] == ""
    os.remove(program.folder / "grid.h5")
    result = program.run("sweep", name, "--set", "sweep.skip_invalid=false", status=2)
    assert "13x13" in result.stderr and not (program.folder / "grid.h5").exists()


def test_what_a_combination_does_not_read_is_not_trained_twice(program, grid):
    base = CONFIG.replace("momentum = 0.9", "step_epochs = 1")
    name = grid("[sweep]\ntrain.optimizer = sgd, adam\ntrain.momentum = 0, 0.9\n"
                "train.schedule = constant, step\ntrain.gamma = 0.5, 0.1\nseeds = 1, 2\n", base)
    events = program.json("sweep", name)
    line = (program.folder / name).read_text().splitlines().index("train.momentum = 0, 0.9") + 1
    found = {tuple(event["settings"].values()): event for event in events[:-1]}
    assert len(found) == 16
    for (optimizer, momentum, schedule, gamma), event in found.items():
        unread = [f"train.{key} = {first}" for key, first, repeats in [
            ("momentum", "0", (optimizer, momentum) == ("adam", "0.9")),
            ("gamma", "0.5", (schedule, gamma) == ("constant", "0.1"))] if repeats]
        assert event["status"] == ("invalid" if unread else "complete")
        if unread:
            at = line if "momentum" in unread[0] else line + 2
            assert event["reason"] == (
                f"{name}:{at}: the same training as with {', '.join(unread)}, "
                "which this combination does not read")
            assert event["test_accuracy"] is None
    assert (events[-1]["complete"], events[-1]["invalid"]) == (18, 14)
    complete = [event for event in found.values() if event["status"] == "complete"]
    assert len({event["train_loss"] for event in complete}) == len(complete)
    table = rows(program.folder / "grid.h5")
    assert table["status"].count("invalid") == 14
    program.run("report", "grid.h5", "-o", "grid.html")
    assert "the same training as with train.gamma = 0.5" in (
        program.folder / "grid.html").read_text()
    program.run("train", name, "--out", "one.h5", "--quiet", "--set", "train.optimizer=adam",
                "--set", "run.seed=1")
    with h5py.File(program.folder / "one.h5") as file:
        assert file["metrics/epoch/train_loss"][-1] == table["train_loss"][16]
    result = program.run("sweep", name, "--set", "sweep.skip_invalid=false", "--out", "no.h5",
                         status=2)
    assert f"{name}:{line + 2}: the same training as with train.gamma = 0.5" in result.stderr
    assert not (program.folder / "no.h5").exists()


def test_keys_of_a_node_that_is_left_out_are_not_trained_twice(program):
    base = CONFIG[:CONFIG.index("[pool1]")]
    name = program.config("grid.ini", base + BRANCHES + "max.kernel = 2, 3\n", output="grid.h5")
    events = program.json("sweep", name)
    assert {tuple(event["settings"].values()): event["status"] for event in events[:-1]} == {
        ("max", "2"): "complete", ("max", "3"): "complete", ("average", "2"): "complete",
        ("average", "3"): "invalid", ("conv1", "2"): "complete", ("conv1", "3"): "invalid"}


def test_what_rows_begin_with_is_said_once(program, grid):
    program.run("train", program.config(), "--quiet")

    def said(lines, *more):
        name = grid(f"[sweep]\n{lines}seeds = 1, 2\n",
                    CONFIG.replace("momentum = 0.9", "momentum = 0.9\ninit_from = small.h5"))
        stderr = program.run("sweep", name, *more).stderr
        return [line for line in stderr.splitlines()
                if "array" in line or "drawn anew" in line or "not in the graph" in line]
    arrays = "4 arrays from small.h5: conv1.bias, conv1.weight, fc1.bias, fc1.weight"
    assert said("train.lr = 0.05, 0.1\n") == [f"grid.ini: {arrays}"]
    assert said("train.lr = 0.05, 0.1\n", "--resume") == []  # nothing is left to begin
    assert said("train.lr = 0.05, 0.1\n", "--quiet") == []
    assert said("conv1.activation = relu, prelu\nconv1.filters = 8, 9\ntrain.lr = 1, 2\n") == [
        f"grid.ini: 2 of 8 combinations: {arrays}", f"grid.ini: 2 of 8 combinations: {arrays}",
        "grid.ini: 2 of 8 combinations: not in that file, so drawn anew: conv1_prelu.weight"]
    [taken, left] = said("conv1.bias = false\n")
    assert taken == "grid.ini: 3 arrays from small.h5: conv1.weight, fc1.bias, fc1.weight"
    assert left == "grid.ini: in that file, but not in the graph: conv1.bias"


def test_a_sweep_of_which_nothing_can_be_trained_is_a_failure(program, grid):
    name = grid("[sweep]\nconv1.kernel = 13\nconv1.padding = valid\n")
    assert "no combination could be trained" in program.run("sweep", name, status=1).stderr


def test_a_training_that_fails_is_a_row_with_a_reason(program, grid):
    events = program.json("sweep", grid("[sweep]\ntrain.lr = 1e30, 0.05\n"))
    assert [event["status"] for event in events[:-1]] == ["failed", "complete"]
    assert "no finite number" in events[0]["reason"]
    assert events[-1]["failed"] == 1 and events[-1]["complete"] == 1
    assert rows(program.folder / "grid.h5")["status"] == ["failed", "complete"]


def test_curves_are_as_long_as_their_rows_were_trained(program, grid):
    base = CONFIG.replace("validation = 0.25\n", "")
    program.run("sweep", grid("[sweep]\ntrain.epochs = 3, 1, 2\ndata.validation = 0.25, 0\n"
                              "conv1.kernel = 3, 30\nconv1.padding = valid\n", base), "--quiet")
    table, found = rows(program.folder / "grid.h5"), curves(program.folder / "grid.h5")
    assert sorted(found) == sorted(CURVES)
    for i, epochs in enumerate(table["train.epochs"]):
        trained = int(epochs) if table["status"][i] == "complete" else 0
        for name, curve in found.items():
            known = 0 if name.startswith("val") and table["data.validation"][i] == "0" else trained
            assert curve.shape == (12, 3)
            assert numpy.isnan(curve[i]).tolist() == [False] * known + [True] * (3 - known)
    with h5py.File(program.folder / "grid.h5") as file:
        assert file["curves/val_loss"].attrs["units"] == "nats"
        assert [axis.label for axis in file["curves/val_loss"].dims] == ["row", "epoch"]


# Decay of more than a whole weight doubles it and more at each step: beyond all numbers in epoch 2.
EXPLOSION = "train.lr = 0.05, 10\ntrain.weight_decay = 0, 1\n"


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one core alone"))])
def test_a_row_that_fails_keeps_the_epochs_before(program, grid, jobs):
    name = grid(f"[sweep]\n{EXPLOSION}")
    program.run("sweep", name, "--quiet", "--jobs", jobs)
    table, found = rows(program.folder / "grid.h5"), curves(program.folder / "grid.h5")
    assert table["status"] == ["complete"] * 3 + ["failed"]
    assert "epoch 2" in table["reason"][3]
    program.run("train", name, "--out", "one.h5", "--quiet", "--set", "train.epochs=1",
                "--set", "train.lr=10", "--set", "train.weight_decay=1")
    with h5py.File(program.folder / "one.h5") as file:
        for column, curve in found.items():
            assert curve[3][0] == file[f"metrics/epoch/{column}"][0] and numpy.isnan(curve[3][1])


def test_a_limit_of_steps_ends_rows_of_any_number_of_epochs(program, grid):
    """A billion epochs are more than fit into memory before the first."""
    name = grid("[sweep]\nconv1.stride = 1, 2\n")
    limit = ["--set", "train.epochs=1000000000", "--set", "train.max_steps=8"]
    program.run("sweep", name, "--quiet", *limit)
    table, found = rows(program.folder / "grid.h5"), curves(program.folder / "grid.h5")
    assert table["status"] == ["complete"] * 2 and all(step > 0 for step in table["step_ms"])
    program.run("train", name, "--out", "one.h5", "--quiet", *limit)
    with h5py.File(program.folder / "one.h5") as file:
        for column, curve in found.items():
            assert curve.shape == (2, 2)  # six steps an epoch
            assert numpy.array_equal(curve[0], file[f"metrics/epoch/{column}"])


def test_a_file_without_curves_goes_on_and_has_those_of_new_rows(program, grid):
    program.run("sweep", grid(), "--quiet")
    whole = curves(program.folder / "grid.h5")
    with h5py.File(program.folder / "grid.h5", "r+") as file:
        del file["curves"]
        status = file["combinations/status"][()]
        status[2] = "waiting"
        file["combinations/status"][...] = status
    program.run("report", "grid.h5", "-o", "grid.html")
    assert "holds no curves" in (program.folder / "grid.html").read_text()
    program.run("sweep", "grid.ini", "--resume", "--quiet")
    for name, curve in curves(program.folder / "grid.h5").items():
        assert numpy.array_equal(curve[2], whole[name][2])
        assert numpy.isnan(numpy.delete(curve, 2, axis=0)).all()


@pytest.mark.parametrize("line, complaint", [
    ("conv2.stride = 1, 2", "there is no node [conv2]; did you mean 'conv1'?"),
    ("conv1.strid = 1, 2", "unknown key 'strid'; did you mean 'stride'?"),
    ("conv1.stride = 1, two", "must be N or HxW"),
    ("conv1.stride = 1, 0", "must be at least 1"),
    ("conv1.stride = 2, 2", "'2' is given twice"),
    ("conv1.stride = 2,, 3", "an item of the list is empty"),
    ("conv1.padding = same, \"1", "the closing '\"' is missing"),
    ("train.momentum = 0, 2", "must be at most 1"),
    ("run.threads = 1, 2", "`seeds` takes seeds"),
    ("seeds = 1, x", "must be a whole number"),
    ("seeds = 1, 01", "1 is given twice"),
    ("skip_invalid = maybe", "must be true or false"),
    ("sedes = 1", "did you mean 'seeds'?"),
])
@pytest.mark.parametrize("verb", ["sweep", "train"])
def test_mistakes_are_told_with_their_line_before_anything_runs(program, grid, verb, line,
                                                                complaint):
    name = grid(f"\n[sweep]\n{line}\n")
    number = (program.folder / name).read_text().splitlines().index(line) + 1
    result = program.run(verb, name, status=2)
    assert f"{name}:{number}: " in result.stderr and complaint in result.stderr
    assert not (program.folder / "grid.h5").exists()


def test_a_config_without_a_grid_is_refused(program):
    assert "[sweep]" in program.run("sweep", program.config(), status=2).stderr


def test_other_verbs_take_the_config_without_its_sweep(program, grid):
    program.run("train", grid(), "--quiet")
    with h5py.File(program.folder / "grid.h5") as file:
        assert "[sweep]" not in file.attrs["config"]
        bare = file["state_dict/fc1.weight"][()]
    program.run("train", program.config(), "--quiet")
    with h5py.File(program.folder / "small.h5") as file:
        assert numpy.array_equal(bare, file["state_dict/fc1.weight"][()])
    assert program.json("summary", "grid.ini") == program.json("summary", "small.ini")


BRANCHES = """
[max]
type = maxpool
kernel = 2
inputs = conv1

[average]
type = avgpool
kernel = 2
inputs = conv1

[fc2]
type = dense
units = classes
inputs = max

[sweep]
fc2.inputs = max, average, conv1
"""


def test_a_swept_input_chooses_among_branches(program):
    base = CONFIG[:CONFIG.index("[pool1]")]
    name = program.config("grid.ini", base + BRANCHES, output="grid.h5")
    program.run("sweep", name, "--quiet")
    table = rows(program.folder / "grid.h5")
    assert table["fc2.inputs"] == ["max", "average", "conv1"]
    assert table["output_shape"] == ["8x6x6", "8x6x6", "8x12x12"]
    assert len(set(table["test_loss"])) == 3
    [summary] = program.json("summary", name)  # the base: unused branches are no mistake
    assert [node["name"] for node in summary["nodes"]] == ["conv1", "max", "fc2"]


OPTIMIZERS = "\n[sweep]\ntrain.optimizer = sgd, adam\ntrain.schedule = constant, step\n"


def test_the_config_of_a_run_of_the_base_is_the_same_experiment(program, grid):
    """Without the keys of the file that other rows alone read."""
    base = CONFIG.replace("momentum = 0.9", "momentum = 0.9\nbeta1 = 0.5\ngamma = 0.5")
    name = grid(OPTIMIZERS, base)
    program.run("train", name, "--out", "base.h5", "--quiet")
    with h5py.File(program.folder / "base.h5") as file:
        text = file.attrs["config"]
        weights = file["state_dict/fc1.weight"][()]
    assert "momentum" in text and "beta1" not in text and "gamma" not in text
    (program.folder / "base.ini").write_text(text)
    program.run("train", "base.ini", "--out", "same.h5", "--quiet")
    with h5py.File(program.folder / "same.h5") as file:
        assert file.attrs["config"] == text.replace("base.h5", "same.h5")
        assert numpy.array_equal(file["state_dict/fc1.weight"][()], weights)
    for config in [name, "base.ini"]:
        program.run("train", config, "--out", "base.h5", "--resume", "--quiet")


def test_a_setting_that_the_base_does_not_read_is_refused(program, grid):
    name = grid(OPTIMIZERS)
    for setting in ["train.beta1=0.5", "train.gamma=0.5"]:
        for verb in ["train", "summary"]:
            message = program.run(verb, name, "--set", setting, status=2).stderr
            assert f"--set {setting}: nothing reads it but other combinations" in message
    program.run("summary", name, "--set", "train.beta1=0.5", "--set", "train.optimizer=adam")
    events = program.json("sweep", name, "--set", "train.beta1=0.5", "--set", "train.gamma=0.5")
    assert [event["status"] for event in events[:-1]] == ["complete"] * 4
    branches = program.config("branches.ini", CONFIG[:CONFIG.index("[pool1]")] + BRANCHES)
    message = program.run("train", branches, "--set", "average.stride=1", status=2).stderr
    assert "--set average.stride=1: nothing reads it but other combinations" in message


def test_swept_data_are_read_anew_and_seeds_choose_their_validation_part(program, grid):
    name = grid("[sweep]\ndata.count = 64, 128\nseeds = 1, 2\n")
    program.run("sweep", name, "--quiet")
    table = rows(program.folder / "grid.h5")
    for i, (count, seed) in enumerate([(64, 1), (64, 2), (128, 1), (128, 2)]):
        done = program.json("train", name, "--out", "one.h5", "--set", f"data.count={count}",
                            "--set", f"run.seed={seed}")[-1]
        assert done["test_loss"] == table["test_loss"][i]


def test_files_are_split_again_for_each_seed_without_being_read_again(program, grid):
    images = numpy.random.default_rng(1).integers(0, 256, (96, 12, 12), dtype=numpy.uint8)
    with h5py.File(program.folder / "data.h5", "w") as file:
        for part in "train", "test":
            file[f"{part}/images"], file[f"{part}/labels"] = images, numpy.arange(96) % 4
    base = CONFIG.replace("source = synthetic\nshape = 1x12x12\nclasses = 4\ncount = 256",
                          "source = hdf5\npath = data.h5")
    name = grid("\n[sweep]\nseeds = 1, 2, 1000\n", base)
    program.run("sweep", name, "--quiet")
    table = rows(program.folder / "grid.h5")
    for i, seed in enumerate([1, 2, 1000]):
        done = program.json("train", name, "--out", "one.h5", "--set", f"run.seed={seed}")[-1]
        assert done["test_loss"] == table["test_loss"][i]


def test_data_that_cannot_be_read_are_told_before_anything_runs(program, grid):
    base = CONFIG.replace("source = synthetic\nshape = 1x12x12\nclasses = 4\ncount = 256",
                          "source = hdf5\npath = data.h5")
    result = program.run("sweep", grid("[sweep]\ndata.path = missing.h5, also.h5\n", base),
                         status=1)
    assert "missing.h5" in result.stderr


needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core alone")


@needs_two_cores
def test_jobs_change_no_result(program, grid):
    name = grid(GRID + "train.lr = 0.05, 1e30\n")
    program.run("sweep", name, "--quiet", "--out", "1.h5")
    events = program.json("sweep", name, "--out", "2.h5", "--jobs", 2)
    assert len(events) == 9
    assert timeless(program.folder / "1.h5") == timeless(program.folder / "2.h5")
    with h5py.File(program.folder / "2.h5") as file:
        assert file.attrs["jobs"] == 2 and file.attrs["threads"] >= 1


@needs_two_cores
def test_a_jobs_curve_may_be_longer_than_a_pipe(program, grid):
    """64 KiB are 2,048 epochs."""
    name = grid("[sweep]\nseeds = 1, 2\n")
    small = ["--set", "data.count=16", "--set", "conv1.filters=1", "--set", "train.epochs=2500"]
    program.run("sweep", name, "--quiet", "--out", "1.h5", *small)
    program.run("sweep", name, "--quiet", "--out", "2.h5", "--jobs", 2, *small)
    assert curves(program.folder / "1.h5")["val_loss"].shape == (2, 2500)
    assert timeless(program.folder / "1.h5") == timeless(program.folder / "2.h5")


@needs_two_cores
def test_jobs_take_a_folder_in_memory_and_from_its_files(program, grid):
    """Of a megabyte two of these images can be kept."""
    draws = numpy.random.default_rng(1)
    for split, count in (("train", 6), ("test", 2)):
        for i in range(count):
            path = program.folder / "pictures" / split / f"class{i % 2}" / f"{i}.ppm"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = draws.integers(0, 256, (300, 400, 3), dtype=numpy.uint8)
            path.write_bytes(b"P6 400 300 255\n" + pixels.tobytes())
    base = CONFIG.replace("epochs = 2", "epochs = 1").replace(
        "source = synthetic\nshape = 1x12x12\nclasses = 4\ncount = 256\nvalidation = 0.25\n",
        "source = folder\npath = pictures\nsize = 300x400\n").replace(
            "kernel = 3\npadding = same\n", "kernel = 8\nstride = 8\n")
    name = grid("[sweep]\nseeds = 1, 2\n", base)
    program.run("sweep", name, "--quiet", "--out", "1.h5")
    program.run("sweep", name, "--quiet", "--out", "2.h5", "--jobs", 2)
    assert timeless(program.folder / "1.h5") == timeless(program.folder / "2.h5")
    from_files = ["--set", "data.memory=1", "--jobs", 2]
    program.run("sweep", name, "--quiet", "--out", "3.h5", *from_files)
    assert timeless(program.folder / "1.h5") == timeless(program.folder / "3.h5")

    # Threads of the library that decoded the first row's images are missing in the second's process.
    mixed = grid("[sweep]\ndata.memory = 100, 1\n", base)
    message = program.run("sweep", mixed, "--out", "4.h5", "--jobs", 2, status=2).stderr
    assert "have room in [data] memory, and those of others have none" in message

    bad = program.folder / "pictures" / "train" / "class1" / "1.ppm"
    bad.write_bytes(bad.read_bytes()[:100])
    name = grid("[sweep]\nseeds = 1, 2\n", base)
    message = program.run("sweep", name, "--out", "5.h5", *from_files, status=1).stderr
    assert "class1/1.ppm: is cut short" in message


@needs_two_cores
def test_a_process_that_is_killed_is_a_row_with_a_reason(program, grid):
    name = grid("[sweep]\nconv1.filters = 8, 64\n")
    process = program.start("sweep", name, "--jobs", 2, "--json", "--set", "train.epochs=40",
                            "--set", "data.count=8192")
    children = []
    while len(children) < 2:
        path = f"/proc/{process.pid}/task/{process.pid}/children"
        with open(path, encoding="ascii") as file:
            children = file.read().split()
    os.kill(int(children[1]), signal.SIGKILL)
    process.communicate(timeout=100)
    assert process.returncode == 0
    table = rows(program.folder / "grid.h5")
    assert table["status"] == ["complete", "failed"] and "signal 9" in table["reason"][1]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=needs_two_cores)])
@pytest.mark.parametrize("memory", [0, 1], ids=["in memory", "from files"])
def test_what_the_data_skip_is_listed_once(program, grid, jobs, memory):
    """Once for each size that is swept, whatever else is; a megabyte has no room for the images of a split."""
    for i in range(6):
        for split in ("train", "test"):
            path = program.folder / "pictures" / split / "ab"[i % 2] / f"{i}.pgm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"P5 1 1 255\n" + bytes([40 * i]))
    (program.folder / "pictures/train/a/2.pgm").write_bytes(b"P5 1 1 255\n")
    base = CONFIG[:CONFIG.index("[data]")] + """
[data]
source = folder
path = pictures
size = 300
on_bad_image = skip
""" + CONFIG[CONFIG.index("[train]"):]
    name = grid("""
[sweep]
data.size = 300, 301
train.lr = 0.01, 0.02
""", base)
    done = program.run("sweep", name, "--jobs", jobs, "--set", f"data.memory={memory}",
                       "--set", "conv1.stride=20", "--set", "train.epochs=1")
    skipped = [line for line in done.stderr.splitlines() if line.startswith("skipped: ")]
    assert skipped == ["skipped: pictures/train/a/2.pgm: is damaged or cut short: it has 0 of 1 "
                       "samples"] * 2


def test_more_jobs_than_cores_are_refused(program, grid):
    assert "--jobs 1000" in program.run("sweep", grid(), "--jobs", 1000, status=2).stderr


# Long enough to be killed in the middle: some 30 ms a row.
LONG = ["--set", "data.count=2048", "--set", "train.epochs=3"]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=needs_two_cores)])
def test_a_sweep_killed_at_random_moments_goes_on_to_the_same_rows(program, grid, jobs):
    name = grid()
    options = [*LONG, "--jobs", jobs]
    start = time.monotonic()
    program.run("sweep", name, *options, "--out", "whole.h5", "--quiet")
    took = time.monotonic() - start
    draw = random.Random(7)
    for _ in range(6):
        process = program.start("sweep", name, *options, "--resume", "--quiet")
        time.sleep(draw.uniform(0, took))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    program.run("sweep", name, *options, "--resume", "--quiet")
    assert timeless(program.folder / "grid.h5") == timeless(program.folder / "whole.h5")


def test_rows_that_are_there_are_kept(program, grid):
    name = grid()
    program.run("sweep", name, "--quiet")
    before = rows(program.folder / "grid.h5")
    events = program.json("sweep", name, "--resume")
    assert len(events) == 5
    after = rows(program.folder / "grid.h5")
    assert before["step_ms"] == after["step_ms"]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=needs_two_cores)])
@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_goes_on_to_the_same_rows(program, grid, jobs, number, status):
    name = grid()
    options = ["--set", "data.count=4096", "--set", "train.epochs=4", "--jobs", jobs]
    program.run("sweep", name, *options, "--out", "whole.h5", "--quiet")
    process = program.start("sweep", name, *options, "--json")
    assert json.loads(process.stdout.readline())["event"] == "combination"
    second = program.run("sweep", name, *options, "--resume", status=1)
    assert second.stderr == "grid.h5 is being trained by another process\n"
    process.send_signal(number)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert "--resume" in errors and '"done"' not in rest
    table = rows(program.folder / "grid.h5")
    assert set(table["status"]) == {"complete", "waiting"}
    with h5py.File(program.folder / "grid.h5") as file:
        assert file.attrs["status"] == "interrupted"
    program.run("sweep", name, *options, "--resume", "--quiet")
    assert timeless(program.folder / "grid.h5") == timeless(program.folder / "whole.h5")
    assert not list(program.folder.glob(".*"))


def test_resume_under_another_config_names_the_keys(program, grid):
    name = grid()
    program.run("sweep", name, "--quiet")
    result = program.run("sweep", name, "--resume", "--set", "train.lr=0.1", "--set",
                         "sweep.seeds=5, 7", status=2)
    assert "train.lr was 0.05, is 0.1" in result.stderr
    assert "sweep.seeds was 5, 6, is 5, 7" in result.stderr
    other = grid("[sweep]\nconv1.padding = valid, \"0, 1, 0, 1\"\nconv1.stride = 1, 2\n"
                 "seeds = 5, 6\n")
    assert "another order" in program.run("sweep", other, "--resume", status=2).stderr


@needs_two_cores
def test_resume_does_not_mix_times(program, grid):
    name = grid()
    program.run("sweep", name, "--quiet")
    assert "--jobs was 1, is 2" in program.run("sweep", name, "--resume", "--jobs", 2,
                                               status=2).stderr


def threads_of(path):
    with h5py.File(path) as file:
        return file.attrs["threads"], file["combinations/threads"][()].tolist()


def test_resume_says_so_where_rows_get_another_number_of_threads(program, grid):
    """As where the program may use other cores than before."""
    name = grid("[sweep]\nconv1.stride = 1, 2\nconv1.kernel = 3, 30\nconv1.padding = valid\n")
    path = program.folder / "grid.h5"

    def sweep(threads, *more):
        return program.run("sweep", name, "--quiet", *more, env={
            **program.environment, "OMP_NUM_THREADS": str(threads)}).stderr

    def forget(row, older=False):
        with h5py.File(path, "r+") as file:
            status = file["combinations/status"][()]
            status[row] = "waiting"
            file["combinations/status"][...] = status
            if older:
                del file["combinations/threads"]
    for older in [False, True]:
        assert sweep(2) == ""
        assert threads_of(path) == (2, [2, 0, 2, 0])
        assert sweep(1, "--resume") == ""  # there is nothing to train
        assert threads_of(path) == (2, [2, 0, 2, 0])
        forget(2, older)
        assert sweep(1, "--resume") == (
            "grid.h5: the rows trained before took 2 threads, those to come take 1: their times "
            "are not comparable\n")
        assert threads_of(path) == (0, [2, 0, 1, 0])
        program.run("report", "grid.h5", "-o", "grid.html")
        assert "trained on 1 to 2 threads" in (program.folder / "grid.html").read_text()
    forget(2)
    assert sweep(2, "--resume") == ""
    assert threads_of(path) == (2, [2, 0, 2, 0])


def test_a_file_of_another_kind_is_not_replaced(program, grid):
    program.run("train", program.config(), "--quiet")
    before = (program.folder / "small.h5").read_bytes()
    for place in ["small.h5", "small.ini"]:
        result = program.run("sweep", grid(), "--out", place, status=1)
        assert "no sweep file" in result.stderr
    assert (program.folder / "small.h5").read_bytes() == before
    program.run("sweep", "grid.ini", "--quiet")
    assert "no run file" in program.run("train", "grid.ini", status=1).stderr


def test_a_damaged_sweep_file_is_refused(program, grid):
    program.run("sweep", grid(), "--quiet")
    with h5py.File(program.folder / "grid.h5", "r+") as file:
        del file["combinations/macs"]
    assert "macs" in program.run("sweep", "grid.ini", "--resume", status=1).stderr
    os.remove(program.folder / "grid.h5")
    program.run("sweep", "grid.ini", "--quiet")
    with h5py.File(program.folder / "grid.h5", "r+") as file:
        del file["curves/val_loss"]
        file["curves/val_loss"] = numpy.zeros((8, 3))
    assert "curves/val_loss" in program.run("sweep", "grid.ini", "--resume", status=1).stderr
    (program.folder / "grid.h5").write_bytes(b"nothing")
    assert "grid.h5" in program.run("sweep", "grid.ini", "--resume", status=1).stderr


def test_results_and_progress_are_apart(program, grid):
    result = program.run("sweep", grid())
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["conv1.stride", "conv1.padding"] and len(lines) == 7
    assert lines[-1] == "grid.h5: 8 rows complete, 0 failed, 0 invalid"
    assert len(result.stderr.splitlines()) == 10
    assert "\r" not in result.stderr and "\033" not in result.stderr
    assert program.run("sweep", "grid.ini", "--quiet").stderr == ""


def live_lines(program, *arguments):
    """What a sweep draws on a terminal, one text a drawing: "1/8  epoch 1/3, ...  0:07 left"."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([program.path, "sweep", *map(str, arguments)], cwd=program.folder,
                               stderr=theirs, stdout=subprocess.PIPE,
                               env={**program.environment, "TERM": "xterm"})
    os.close(theirs)
    seen = b""
    while True:
        try:
            some = os.read(ours, 4096)
        except OSError:
            break
        if not some:
            break
        seen += some
    os.close(ours)
    process.communicate(timeout=60)
    assert process.returncode == 0
    return [part.removesuffix("\033[K") for part in seen.decode().split("\r") if " left" in part]


def test_a_terminal_gets_a_live_line_with_the_time_left_from_the_first_row_on(program, grid):
    lines = [line for line in live_lines(program, grid(), *LONG, "--set", "train.epochs=40")
             if "epoch " in line]
    first = [line for line in lines if line.startswith("0/8  epoch ")]
    assert re.search(r", loss \d+\.\d+  \d+:\d\d left$", first[-1]), lines


def test_the_time_left_knows_of_a_limit_of_steps(program, grid):
    """Not of the billion epochs that would go on for years."""
    lines = live_lines(program, grid("[sweep]\nseeds = 1, 2\n"), *LONG,
                       "--set", "train.epochs=1000000000", "--set", "train.max_steps=4000")
    first = [line for line in lines if line.startswith("0/2  epoch ")]
    assert re.search(r"  \d?\d:\d\d left$", first[-1]), lines


@needs_two_cores
def test_the_time_left_of_rows_side_by_side_counts_down(program, grid):
    lines = live_lines(program, grid(), *LONG, "--set", "train.epochs=240", "--jobs", 2)
    left = {}
    for line in lines:
        found = re.match(r"([1-7])/8  \d under way  (\d+):(\d\d) left$", line)
        if found:
            left.setdefault(found[1], []).append(60 * int(found[2]) + int(found[3]))
    assert any(len(times) > 2 for times in left.values()), lines  # else there is nothing to see
    assert all(times == sorted(times, reverse=True) for times in left.values()), left
