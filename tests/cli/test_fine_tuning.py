"""train: beginning with another file's weights, and weights that stay as they are."""
import re

import pytest

h5py = pytest.importorskip("h5py")
numpy = pytest.importorskip("numpy")

from test_train import same_weights, weights


def write_weights(path, arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file["state_dict/" + name] = values


def drawn(program):
    """The weights that a run begins with."""
    program.run("train", program.config(), "--quiet", "--set", "train.epochs=0")
    return weights(program.folder / "small.h5")


def test_no_epoch_leaves_the_weights_that_were_taken(trained):
    trained.run("train", trained.config("next.ini", output="next.h5"), "--set", "train.epochs=0",
                "--set", "train.init_from=small.h5", "--set", "run.seed=9")
    assert same_weights(trained.folder / "small.h5", trained.folder / "next.h5")


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<f2"])
def test_floats_of_any_kind_are_taken(program, kind):
    arrays = drawn(program)
    given = {name: numpy.round(values, 2).astype(kind) for name, values in arrays.items()}
    write_weights(program.folder / "given.h5", given)
    program.run("train", program.config(), "--set", "train.epochs=0",
                "--set", "train.init_from=given.h5")
    for name, values in weights(program.folder / "small.h5").items():
        assert numpy.array_equal(values, given[name].astype("f4")), name


def test_what_is_taken_and_what_is_left_is_said(program):
    arrays = drawn(program)
    write_weights(program.folder / "given.h5", {
        "conv1.weight": arrays["conv1.weight"] + 1, "conv1.bias": arrays["conv1.bias"],
        "head.weight": numpy.zeros((7, 3)), "norm.num_batches_tracked": numpy.int64(5)})
    said = program.run("train", program.config(), "--set", "train.epochs=0",
                       "--set", "train.init_from=given.h5").stderr
    assert "2 arrays from given.h5: conv1.bias, conv1.weight\n" in said
    assert "drawn anew: fc1.bias, fc1.weight\n" in said
    assert "not in the graph: head.weight, norm.num_batches_tracked\n" in said
    now = weights(program.folder / "small.h5")
    assert numpy.array_equal(now["conv1.weight"], arrays["conv1.weight"] + 1)
    assert numpy.array_equal(now["fc1.weight"], arrays["fc1.weight"])


@pytest.mark.parametrize("arrays, status, message", [
    ({"conv1.weight": numpy.zeros((8, 1, 5, 5))}, 2,
     "small.ini:17: init_from = given.h5: conv1.weight is [8, 1, 5, 5] there; [conv1] of line 19 "
     "needs [8, 1, 3, 3]"),
    ({"fc1.bias": numpy.zeros(())}, 2, "fc1.bias is [] there; [fc1] of line 30 needs [4]"),
    ({"a.weight": numpy.zeros(3)}, 2, "no name in common: there a.weight; here conv1.bias, conv1."),
    ({"fc1.bias": numpy.zeros(4, "i4")}, 1, "given.h5: /state_dict/fc1.bias: is not of floating"),
    ({"fc1.bias": numpy.array([0, 1, numpy.nan, 2])}, 1, "fc1.bias: holds nan at index 2"),
])
def test_weights_that_do_not_fit_are_refused(program, arrays, status, message):
    config = program.config()
    path = program.folder / config
    path.write_text(path.read_text().replace("momentum = 0.9\n",
                                             "momentum = 0.9\ninit_from = given.h5\n"))
    write_weights(program.folder / "given.h5", arrays)
    assert message in program.run("train", config, status=status).stderr
    assert not (program.folder / "small.h5").exists()


def test_files_without_weights_are_refused(program):
    (program.folder / "text.h5").write_text("no HDF5")
    h5py.File(program.folder / "empty.h5", "w").close()
    for name, message in [("absent.h5", "init_from=absent.h5: init_from = absent.h5: cannot open: No such file"),
                          ("text.h5", "text.h5: not an HDF5 file"),
                          ("empty.h5", "empty.h5: has neither a group /state_dict")]:
        result = program.run("train", program.config(), "--set", f"train.init_from={name}",
                             status=1)
        assert message in result.stderr


def test_a_resumed_run_needs_the_first_weights_no_more(trained):
    config = trained.config("next.ini", output="next.h5")
    arguments = ["train", config, "--quiet", "--set", "train.init_from=small.h5", "--resume"]
    trained.run(*arguments, "--set", "train.epochs=1")
    (trained.folder / "small.h5").unlink()
    trained.run(*arguments)
    with h5py.File(trained.folder / "next.h5") as file:
        assert len(file["metrics/epoch/epoch"]) == 2


# Keras's files.

MANY = """\
[run]
output = {output}

[data]
source = synthetic
shape = 3x9x8
classes = 4
count = 96

[train]
epochs = 1
batch = 32

[conv1]
type = conv
filters = 6
kernel = 3x2

[norm1]
type = batchnorm

[slope1]
type = prelu
shared = false

[depth]
type = conv
filters = 12
kernel = 3
groups = 6
padding = same

[group1]
type = conv
filters = 8
kernel = 1
groups = 2
activation = relu

[norm2]
type = groupnorm
groups = 4

[flat]
type = flatten

[drop]
type = dropout

[fc1]
type = dense
units = 7
activation = tanh

[fc2]
type = dense
units = classes
"""


def test_of_many_names_the_first_and_the_number_are_said(program):
    program.run("train", program.config(text=MANY), "--quiet", "--set", "train.epochs=0")
    write_weights(program.folder / "given.h5", {
        **{f"{i:02}": [0.5] for i in range(31)}, **weights(program.folder / "small.h5")})
    sets = ["--set", "train.init_from=given.h5", "--set", "train.epochs=0"]
    said = program.run("train", "small.ini", *sets).stderr
    assert re.search(r"17 arrays from given\.h5: (\S+, ){8}and 9 more\n", said)
    assert "not in the graph: 00, 01, 02, 03, 04, 05, 06, 07, and 23 more\n" in said
    write_weights(program.folder / "given.h5", {f"{i:02}": [0.5] for i in range(31)})
    said = program.run("train", "small.ini", *sets, status=2).stderr
    assert re.search(r"no name in common: there (\d\d, ){8}and 23 more; here (\S+, ){8}and 9 more\n",
                     said)


def test_an_export_to_keras_comes_back_the_same(program):
    program.run("train", program.config(text=MANY), "--quiet")
    program.run("export", "small.h5", "--format", "keras", "-o", "keras.h5")
    said = program.run("train", "small.ini", "--set", "train.init_from=keras.h5", "--set",
                       "train.epochs=0", "--set", "run.seed=7", "--out", "next.h5").stderr
    assert "17 arrays from keras.h5: " in said and "drawn anew" not in said
    assert same_weights(program.folder / "small.h5", program.folder / "next.h5")


def test_a_file_in_keras_layout_is_taken_in_keras_order(program):
    """Written by hand, by the layouts of Keras's documentation."""
    program.run("train", program.config(text=MANY), "--quiet")
    ours = weights(program.folder / "small.h5")
    layers = {
        "conv1": {"kernel": ours["conv1.weight"].transpose(2, 3, 1, 0), "bias": ours["conv1.bias"]},
        "depth": {"depthwise_kernel": ours["depth.weight"].reshape(6, 2, 3, 3).transpose(2, 3, 0, 1),
                  "bias": ours["depth.bias"]},
        "norm1": {"gamma": ours["norm1.weight"], "beta": ours["norm1.bias"],
                  "moving_mean": ours["norm1.running_mean"],
                  "moving_variance": ours["norm1.running_var"]},
        "slope1": {"alpha": ours["slope1.weight"].reshape(1, 1, 6)},
        "fc1": {"kernel": ours["fc1.weight"].reshape(7, 8, 7, 7).transpose(2, 3, 1, 0).reshape(
            -1, 7), "bias": ours["fc1.bias"]},
        "head": {"kernel": ours["fc2.weight"].T},
    }
    with h5py.File(program.folder / "keras.h5", "w") as file:
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, arrays in layers.items():
            for name, values in arrays.items():
                root[f"{layer}/sequential/{layer}/{name}:0"] = values
    said = program.run("train", "small.ini", "--set", "train.init_from=keras.h5", "--set",
                       "train.epochs=0", "--set", "run.seed=7", "--out", "next.h5").stderr
    assert "not in the graph: head\n" in said
    theirs = weights(program.folder / "next.h5")
    taken = {name for name in ours if name.split(".")[0] in layers}
    assert len(taken) == 11
    for name in ours:
        assert numpy.array_equal(ours[name], theirs[name]) == (name in taken), name


def test_a_keras_kernel_that_does_not_fit_is_refused(program):
    program.config(text=MANY)
    with h5py.File(program.folder / "keras.h5", "w") as file:
        file.attrs["layer_names"] = [b"conv1"]
        file["conv1/conv1/kernel:0"] = numpy.zeros((2, 3, 3, 6))
    said = program.run("train", "small.ini", "--set", "train.init_from=keras.h5", status=2).stderr
    assert ("conv1/conv1/kernel:0 is [2, 3, 3, 6] there; [conv1] of line 14 needs [3, 2, 3, 6]"
            in said)


# Frozen nodes.

NORMED = """\
[run]
output = {output}

[data]
source = synthetic
shape = 2x8x8
classes = 4
count = 192

[train]
epochs = 2
batch = 32
lr = 0.05
momentum = 0.9
weight_decay = 0.01

[conv1]
type = conv
filters = 8
kernel = 3
padding = same

[norm1]
type = batchnorm

[relu1]
type = relu

[conv2]
type = conv
filters = 8
kernel = 3
padding = same
activation = relu

[fc1]
type = dense
units = classes
"""


@pytest.mark.parametrize("frozen", ["conv1", "norm1", "conv1, norm1", "conv2", "norm1, conv2",
                                    "conv1, norm1, conv2", "fc1"])
def test_frozen_nodes_stay_as_they_are_and_the_others_do_not(program, frozen):
    config = program.config(text=NORMED)
    program.run("train", config, "--quiet", "--set", "train.epochs=1")
    first = weights(program.folder / "small.h5")
    program.run("train", config, "--quiet", "--out", "next.h5", "--set", f"train.freeze={frozen}",
                "--set", "train.init_from=small.h5", "--threads", "3")
    for name, values in weights(program.folder / "next.h5").items():
        stays = name.split(".")[0] in frozen
        assert numpy.array_equal(values, first[name]) == stays, name


def test_a_frozen_run_goes_on_to_the_same_bits(program):
    config = program.config(text=NORMED)
    frozen = ["--quiet", "--set", "train.freeze=conv1, norm1", "--set", "train.optimizer=adam"]
    program.run("train", config, *frozen)
    program.run("train", config, *frozen, "--out", "next.h5", "--set", "train.max_steps=7")
    program.run("train", config, *frozen, "--out", "next.h5", "--resume")
    assert same_weights(program.folder / "small.h5", program.folder / "next.h5")


@pytest.mark.parametrize("frozen, message", [
    ("conv3", "freeze: there is no node 'conv3'; did you mean 'conv"),
    ("relu1", "freeze: [relu1] is of type relu, which has no weights"),
    ("conv1, norm1, conv2, fc1", "nothing is left to train"),
    ("input", "freeze: there is no node 'input'"),
])
def test_freezing_what_cannot_be_frozen_is_an_error(program, frozen, message):
    result = program.run("train", program.config(text=NORMED), "--set", f"train.freeze={frozen}",
                         status=2)
    assert message in result.stderr
    assert message in program.run("summary", "small.ini", "--set", f"train.freeze={frozen}",
                                  status=2).stderr


# The average, and the best epoch.

def test_the_average_is_what_its_formula_says_and_changes_no_training(program):
    config, decay, average = program.config(text=NORMED), 0.7, {}
    for step in range(1, 13):
        program.run("train", config, "--quiet", "--out", "plain.h5",
                    "--set", f"train.max_steps={step}")
        for name, values in weights(program.folder / "plain.h5").items():
            values = values.astype("f8")
            before = average.get(name, values)
            average[name] = decay * before + (1 - decay) * values
    program.run("train", config, "--quiet", "--set", f"train.ema={decay}")
    kept = weights(program.folder / "small.h5")
    for name, values in average.items():  # 12 steps of two roundings each
        numpy.testing.assert_allclose(kept[name], values, atol=24 * 2 ** -24 * abs(values).max())
    with h5py.File(program.folder / "small.h5") as file:
        raw = {name: values[()] for name, values in file["optimizer/parameters"].items()}
    plain = weights(program.folder / "plain.h5")
    assert all(numpy.array_equal(raw[name], plain[name]) for name in plain)
    assert not numpy.array_equal(raw["fc1.weight"], kept["fc1.weight"])


def best_epoch(path):
    with h5py.File(path) as file:
        accuracy = file["metrics/epoch/val_accuracy"][()]
        loss = file["metrics/epoch/val_loss"][()]
    return 1 + min(range(len(loss)), key=lambda i: (-accuracy[i], loss[i])), len(loss)


EARLY = ["--quiet", "--set", "data.validation=0.3", "--set", "train.epochs=40",
         "--set", "train.lr=0.03"]


@pytest.mark.parametrize("ema", [0, 0.5])
def test_early_stop_keeps_the_best_epoch(program, ema):
    config = program.config(text=NORMED)
    arguments = [*EARLY, "--set", f"train.ema={ema}"]
    done = program.json("train", config, *arguments, "--set", "train.early_stop=3")[-1]
    best, epochs = best_epoch(program.folder / "small.h5")
    assert best == epochs - 3 == done["best_epoch"] and epochs == done["epochs"] < 40
    plain = program.json("train", config, *arguments, "--set", f"train.max_steps={best * 5}",
                         "--out", "plain.h5")[-1]
    assert same_weights(program.folder / "small.h5", program.folder / "plain.h5")
    assert done["test_accuracy"] == plain["test_accuracy"]
    score = program.json("eval", "small.h5")[0]
    assert score["accuracy"] == done["test_accuracy"] and score["loss"] == done["test_loss"]
    program.run("verify", "small.h5")


def test_an_early_stop_is_told(program):
    config = program.config(text=NORMED)
    text = program.run("train", config, *EARLY, "--set", "train.early_stop=3").stdout
    best, _ = best_epoch(program.folder / "small.h5")
    assert text.endswith(f", weights of epoch {best}, stopped early: no better validation score "
                         "for 3 epochs\n")
    text = program.run("train", config, *EARLY, "--set", "train.early_stop=3",
                       "--set", "train.epochs=3").stdout
    assert "stopped early" not in text


@pytest.mark.parametrize("stop", [3, 5, 12, 18])
def test_an_average_and_a_best_epoch_go_on_to_the_same_bits(program, stop):
    config = program.config(text=NORMED)
    arguments = [*EARLY, "--set", "train.ema=0.5", "--set", "train.early_stop=3"]
    program.run("train", config, *arguments)
    program.run("train", config, *arguments, "--out", "next.h5", "--set", f"train.max_steps={stop}")
    program.run("train", config, *arguments, "--out", "next.h5", "--resume")
    assert same_weights(program.folder / "small.h5", program.folder / "next.h5")
    with h5py.File(program.folder / "small.h5") as a, h5py.File(program.folder / "next.h5") as b:
        for group in ["optimizer/parameters", "optimizer/average"]:
            assert a[group].keys() == b[group].keys()
            assert all(numpy.array_equal(a[group][name], b[group][name]) for name in a[group])
    assert best_epoch(program.folder / "small.h5") == best_epoch(program.folder / "next.h5")


@pytest.mark.parametrize("setting, message", [
    ("train.early_stop=3", "early_stop = 3 goes by the validation part, and there is none"),
    ("train.ema=1", "ema is 1; it must be below 1"),
    ("train.ema=-0.1", "ema"),
])
def test_settings_that_cannot_work_are_errors(program, setting, message):
    result = program.run("train", program.config(text=NORMED), "--set", setting, status=2)
    assert message in result.stderr
