"""The run file as its readers see it: with h5py and PyTorch alone, every path, type and attribute
that the format promises."""
import pathlib
import re
import shutil
import subprocess
import zlib

import h5py
import numpy
import pytest
import torch

CONFIG = """\
[run]
seed = 18446744073709551615
output = run.h5

[data]
source = synthetic
shape = 2x8x7
classes = 6
count = 320
validation = 0.2

[train]
epochs = 3
batch = 48
optimizer = adam
lr = 0.01

[conv1]
type = conv
filters = 4
kernel = 3x2
padding = 1x0
activation = relu

[norm1]
type = batchnorm

[conv2]
type = conv
filters = 6
kernel = 3
groups = 2
bias = false

[pool2]
type = maxpool
kernel = 2

[fc1]
type = dense
units = 10
activation = tanh

[fc2]
type = dense
units = classes
"""

SHAPES = {
    "conv1.weight": (4, 2, 3, 2),
    "conv1.bias": (4,),
    "norm1.weight": (4,),
    "norm1.bias": (4,),
    "norm1.running_mean": (4,),
    "norm1.running_var": (4,),
    "conv2.weight": (6, 2, 3, 3),
    "fc1.weight": (10, 36),
    "fc1.bias": (10,),
    "fc2.weight": (6, 10),
    "fc2.bias": (6,),
}
TRAINABLE = {name: shape for name, shape in SHAPES.items() if "running" not in name}

EPOCH_COLUMNS = {
    "epoch": "epochs",
    "train_loss": "nats",
    "train_accuracy": "fraction",
    "val_loss": "nats",
    "val_accuracy": "fraction",
    "lr": "1",
    "images_per_second": "images/s",
    "seconds": "s",
}
STEP_COLUMNS = {"step": "steps", "loss": "nats", "lr": "1", "gradient_norm": "1"}


class Net(torch.nn.Module):
    """The config's graph, written by hand."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(2, 4, (3, 2), padding=(1, 0))
        self.norm1 = torch.nn.BatchNorm2d(4)
        self.conv2 = torch.nn.Conv2d(4, 6, 3, groups=2, bias=False)
        self.fc1 = torch.nn.Linear(36, 10)
        self.fc2 = torch.nn.Linear(10, 6)

    def forward(self, x):
        x = self.norm1(torch.relu(self.conv1(x)))
        x = torch.nn.functional.max_pool2d(self.conv2(x), 2)
        return self.fc2(torch.tanh(self.fc1(x.flatten(1))))


@pytest.fixture(scope="module")
def run_path(colonnade, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run-file")
    (folder / "small.ini").write_text(CONFIG)
    subprocess.run([colonnade, "train", "small.ini", "--quiet"], cwd=folder, check=True, timeout=120)
    return folder / "run.h5"


@pytest.fixture
def run(run_path):
    with h5py.File(run_path) as file:
        yield file


def test_root_says_what_the_file_is(run):
    attributes = run.attrs
    assert attributes["format"] == "colonnade-run"
    assert attributes["format_version"] == 1
    assert re.fullmatch(r"\d+\.\d+\.\d+", attributes["colonnade_version"])
    assert attributes["seed"] == 2**64 - 1 and attributes["seed"].dtype == numpy.uint64
    assert attributes["status"] == "complete"
    for name in ("format", "colonnade_version", "config", "status", "machine", "blas", "blas_kernel"):
        assert type(attributes[name]) is str and attributes[name], name


def test_the_config_in_the_file_is_the_one_that_was_run(colonnade, run_path, run, tmp_path):
    assert "kernel = 3x2" in run.attrs["config"]
    (tmp_path / "again.ini").write_text(run.attrs["config"])
    command = [colonnade, "summary", "--json"]
    again = subprocess.run([*command, "again.ini"], cwd=tmp_path, check=True, capture_output=True)
    stored = subprocess.run([*command, str(run_path)], check=True, capture_output=True)
    assert again.stdout == stored.stdout != b""


def test_state_dict_holds_pytorchs_names_shapes_and_type(run):
    assert {name: array.shape for name, array in run["state_dict"].items()} == SHAPES
    assert all(array.dtype == numpy.dtype("<f4") for array in run["state_dict"].values())
    assert [d.label for d in run["state_dict/conv2.weight"].dims] == ["filters", "channels", "kh", "kw"]
    assert [d.label for d in run["state_dict/fc1.weight"].dims] == ["out", "in"]


def test_checksums_are_those_of_the_values_in_the_order_of_names(run):
    for group in (run["state_dict"], run["optimizer/exp_avg"], run["optimizer/exp_avg_sq"]):
        checksum = 0
        for name in sorted(group):
            checksum = zlib.crc32(group[name][()].tobytes(), checksum)
        assert group.attrs["crc32"] == checksum


def test_pytorch_loads_the_weights_and_computes_the_golden_logits(run):
    # A copy of the README's line.
    model = Net()
    model.load_state_dict({k: torch.from_numpy(v[()]) for k, v in run["state_dict"].items()})
    golden_input, golden_logits = run["golden/input"], run["golden/logits"]
    assert golden_input.shape[1:] == (2, 8, 7) and golden_input.dtype == numpy.dtype("<f4")
    assert golden_logits.shape == (len(golden_input), 6) and golden_logits.dtype == numpy.dtype("<f4")
    assert len(golden_input) >= 1
    assert [d.label for d in golden_input.dims] == ["n", "c", "h", "w"]
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(golden_input[()])).numpy()
    # Five layers that sum at most 36 products: a few tens of roundings of 6e-8, each of values that
    # may exceed the logits somewhat before they cancel.
    numpy.testing.assert_allclose(golden_logits[()], logits, rtol=1e-5, atol=1e-5)


def test_batch_norm_has_moved_its_running_statistics(run):
    assert numpy.all(run["state_dict/norm1.running_mean"][()] != 0)
    assert numpy.all(run["state_dict/norm1.running_var"][()] != 1)


def test_optimizer_has_its_position_and_state(run):
    optimizer = run["optimizer"]
    attributes = optimizer.attrs
    assert attributes["name"] == "adam"
    assert attributes["step"] == 3 * 6 and attributes["step"].dtype == numpy.int64
    assert attributes["epoch"] == 3
    assert attributes["batch"] == 0
    for name in ("loss_sum", "seconds", "total_seconds"):
        assert attributes[name].dtype == numpy.float64
    assert attributes["total_seconds"] > 0
    assert attributes["correct"] == attributes["samples"] == 0
    assert "counter-based" in attributes["random"]
    for state in ("exp_avg", "exp_avg_sq"):
        assert {name: array.shape for name, array in optimizer[state].items()} == TRAINABLE
        assert all(array.dtype == numpy.dtype("<f4") for array in optimizer[state].values())
        assert all(numpy.any(array[()] != 0) for array in optimizer[state].values())


@pytest.mark.parametrize("table, columns, rows", [("epoch", EPOCH_COLUMNS, 3), ("step", STEP_COLUMNS, 18)])
def test_metrics_are_extendible_columns(run, table, columns, rows):
    group = run["metrics"][table]
    assert set(group) == set(columns)
    for name, units in columns.items():
        column = group[name]
        assert column.shape == (rows,) and column.maxshape == (None,) and column.chunks, name
        assert column.attrs["units"] == units
        assert column.dtype == (numpy.dtype("<i4") if name == "epoch" else
                                numpy.dtype("<i8") if name == "step" else numpy.dtype("<f8"))
        assert numpy.all(numpy.isfinite(column[()])), name
    assert list(group[table]) == list(range(1, rows + 1))


def test_a_column_can_be_plotted_as_it_is(run):
    accuracy = numpy.asarray(run["metrics/epoch/val_accuracy"])
    assert accuracy.shape == (3,) and numpy.all((accuracy >= 0) & (accuracy <= 1))


def test_evaluation_agrees_with_itself(run):
    test = run["evaluation/test"]
    confusion = test["confusion"][()]
    assert confusion.shape == (6, 6) and confusion.dtype == numpy.int64
    count = confusion.sum()
    assert test.attrs["count"] == count > 0
    assert test.attrs["accuracy"] == pytest.approx(numpy.trace(confusion) / count, abs=1e-12)
    assert test.attrs["loss"].dtype == numpy.float64 and test.attrs["loss"] > 0
    assert test.attrs["accuracy"] <= test.attrs["top5"] <= 1
    right = numpy.diag(confusion)
    with numpy.errstate(invalid="ignore"):
        recall = numpy.nan_to_num(right / confusion.sum(axis=1))
        precision = numpy.nan_to_num(right / confusion.sum(axis=0))
        f1 = numpy.nan_to_num(2 * precision * recall / (precision + recall))
    for name, want in (("recall", recall), ("precision", precision), ("f1", f1)):
        assert test[name].shape == (6,) and test[name].dtype == numpy.float64
        numpy.testing.assert_allclose(test[name][()], want, rtol=1e-12, err_msg=name)


def test_data_says_what_was_trained_on(run):
    classes = run["data/classes"]
    names = list(classes.asstr())
    assert len(names) == len(set(names)) == 6
    assert classes.attrs["source"] == "synthetic"
    assert list(classes.attrs["shape"]) == [2, 8, 7]
    for name in ("mean", "std"):
        assert classes.attrs[name].shape == (2,) and classes.attrs[name].dtype == numpy.float32
    assert numpy.all(classes.attrs["std"] > 0)


def test_the_last_bytes_seal_the_file(run_path):
    content = pathlib.Path(run_path).read_bytes()
    assert content[-16:] == b"\nCRC-32 %08x" % zlib.crc32(content[:-16])


def test_a_file_changed_through_h5py_is_still_read(colonnade, run_path, tmp_path):
    changed = tmp_path / "changed.h5"
    shutil.copy(run_path, changed)
    with h5py.File(changed, "r+") as file:
        file.attrs["note"] = "mine"
        weights = file["state_dict/fc2.bias"]
        weights[...] = weights[()] + 1
    refused = subprocess.run([colonnade, "summary", changed], capture_output=True, text=True)
    assert refused.returncode == 1 and "crc32" in refused.stderr
    with h5py.File(changed, "r+") as file:
        del file["state_dict"].attrs["crc32"]
    subprocess.run([colonnade, "summary", changed], check=True, capture_output=True)
