"""export --format npz, as NumPy reads it."""
import zipfile

import pytest

h5py = pytest.importorskip("h5py")
numpy = pytest.importorskip("numpy")


def test_weights_are_those_of_the_state_dict(exporter, network):
    run, file = exporter.export(network, "npz")
    arrays = numpy.load(file)
    with h5py.File(run) as stored:
        weights = {name: array[()] for name, array in stored["state_dict"].items()}
    assert {name for name in arrays.files if "/" not in name} == set(weights)
    for name, values in weights.items():
        assert (arrays[name].dtype, arrays[name].shape) == (numpy.float32, values.shape)
        numpy.testing.assert_array_equal(arrays[name], values, err_msg=name)


def test_averaged_weights_are_exported_where_they_are_what_is_scored(exporter):
    run = exporter.folder / "average.h5"
    exporter.train("lenet")
    exporter.colonnade("train", "lenet.ini", "--set", "train.ema=0.5", "--out", run, "-q")
    exporter.colonnade("export", run, "--format", "npz", "-o", "average.npz")
    values = numpy.load(exporter.folder / "average.npz")["conv1.weight"]
    with h5py.File(run) as stored:
        assert (values == stored["state_dict/conv1.weight"][()]).all()
        assert (values != stored["optimizer/parameters/conv1.weight"][()]).any()


def test_what_is_needed_to_use_the_weights_is_there(exporter):
    run, file = exporter.export("windows", "npz")
    arrays = numpy.load(file)
    with h5py.File(run) as stored:
        classes = stored["data/classes"]
        assert list(arrays["data/classes"]) == list(classes.asstr())
        numpy.testing.assert_array_equal(arrays["data/mean"], classes.attrs["mean"])
        numpy.testing.assert_array_equal(arrays["data/std"], classes.attrs["std"])
        for name in ("golden/input", "golden/logits"):
            numpy.testing.assert_array_equal(arrays[name], stored[name][()])


def test_the_archive_is_sound_and_the_same_each_time(exporter):
    run, file = exporter.export("norms", "npz")
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
    again = file.with_name("again.npz")
    exporter.colonnade("export", run, "--format", "npz", "-o", again)
    assert again.read_bytes() == file.read_bytes()
