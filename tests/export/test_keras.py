"""export --format keras: the weights lie as Keras's legacy format has them, and the script beside
them builds a model that gives the run's logits: in Keras where the interpreter that
COLONNADE_PYTHON_EXPORT names (or this one) has it, and over PyTorch, layer for layer, everywhere."""
import importlib.util
import subprocess
import sys

import pytest

h5py = pytest.importorskip("h5py")
numpy = pytest.importorskip("numpy")
pytest.importorskip("torch")

import keras_in_torch
from golden import check, golden

# The script's own check is what a user has; it is told apart from a script that checks nothing by
# computing once more here.
PREDICT = """\
import importlib.util, sys, numpy
spec = importlib.util.spec_from_file_location("exported", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
numpy.save(sys.argv[3], module.load().predict(numpy.load(sys.argv[2]), verbose=0))
"""


def exported(exporter, name):
    """A network's run file, weights and script."""
    run, file = exporter.export(name, "keras", "h5")
    return run, file, file.with_suffix(".py")


def channels_last(pixels):
    return numpy.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


@pytest.fixture
def load(monkeypatch):
    """A script as a module that takes keras_in_torch for Keras."""
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    keras_in_torch.install()

    def load(path):
        spec = importlib.util.spec_from_file_location("exported", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    return load


def test_layers_give_the_golden_logits(exporter, load, network):
    run, file, script = exported(exporter, network)
    model = load(script).load()
    check(model.predict(channels_last(golden(run)[0]), verbose=0), run)


def test_keras_gives_the_golden_logits(exporter, other_python, network):
    run, file, script = exported(exporter, network)
    check(other_python("keras", PREDICT, script, channels_last(golden(run)[0])), run)


def test_keras_gives_the_golden_logits_of(exporter, other_python, standard):
    other_python.need("keras")
    run, file, script = exported(exporter, standard)
    check(other_python("keras", PREDICT, script, channels_last(golden(run)[0])), run)


def ascii_of_fixed_length(attributes, name):
    kind = attributes.get_id(name).get_type()
    return (not kind.is_variable_str()) and kind.get_cset() == h5py.h5t.CSET_ASCII


def test_the_file_is_of_the_legacy_layout(exporter, network):
    file = exported(exporter, network)[1]
    with h5py.File(file) as weights:
        for name in ("backend", "keras_version"):
            assert weights.attrs[name].shape == () and ascii_of_fixed_length(weights.attrs, name)
        assert weights.attrs["keras_version"] not in (b"1", b"")
        names = keras_in_torch.names_of(weights, "layer_names")
        assert ascii_of_fixed_length(weights.attrs, "layer_names")
        assert {*names, "colonnade-golden"} == set(weights)
        for name in names:
            assert ascii_of_fixed_length(weights[name].attrs, "weight_names")
            for path in keras_in_torch.names_of(weights[name], "weight_names"):
                assert weights[name][path].dtype == numpy.dtype("<f4")


def test_weights_are_put_into_kerass_order(exporter):
    run, file, _ = exported(exporter, "windows")
    with h5py.File(run) as stored, h5py.File(file) as weights:
        def equal(name, key, axes, shape=None):
            want = stored[f"state_dict/{name}.weight"][()]
            want = want.reshape(shape or want.shape).transpose(axes)
            got = weights[f"{name}/{name}/{key}:0"][()]
            assert got.shape == want.shape and (got == want).all(), name
        equal("asymmetric", "kernel", (2, 3, 1, 0))
        equal("grouped", "kernel", (2, 3, 1, 0))
        equal("multiplied", "depthwise_kernel", (2, 3, 0, 1), (3, 3, 3, 3))
        equal("depthwise", "depthwise_kernel", (2, 3, 0, 1))
        rows = stored["state_dict/out1.weight"][()].reshape(5, 6, 4, 4)  # out, c, h, w
        assert (weights["out1/out1/kernel:0"][()] == rows.transpose(2, 3, 1, 0).reshape(-1, 5)).all()


def test_a_wrong_weight_is_found_by_the_script(exporter, load):
    run, file, script = exported(exporter, "lenet")
    changed, copy = file.with_name("changed.h5"), script.with_name("changed.py")
    changed.write_bytes(file.read_bytes())
    copy.write_text(script.read_text().replace("lenet.h5", "changed.h5"))
    assert load(copy).check(load(copy).load()) == len(golden(run)[1])
    with h5py.File(changed, "r+") as weights:
        weights["fc2/fc2/kernel:0"][...] *= 1.001
    with pytest.raises(AssertionError, match="golden logits"):
        load(copy).load()


def test_the_script_run_as_a_program_says_what_it_checked(exporter, other_python):
    other_python.need("keras")
    run, file, script = exported(exporter, "lenet")
    result = subprocess.run([other_python.path, script], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert f"ok: {len(golden(run)[1])} samples" in result.stdout


def test_a_run_without_samples_makes_a_script_that_loads(exporter, load):
    run = exported(exporter, "lenet")[0]
    bare = exporter.folder / "bare-keras.h5"
    bare.write_bytes(run.read_bytes())
    with h5py.File(bare, "r+") as file:
        del file["golden"]
    result = exporter.colonnade("export", bare, "--format", "keras", "-o", "bare-weights.h5")
    assert "no sample outputs" in result.stderr
    module = load(exporter.folder / "bare-weights.py")
    assert module.check(module.load()) == 0


def test_more_names_than_an_attribute_holds_are_split(exporter):
    length, count = 48, 1350  # 64,800 bytes; an attribute has 64,512 at the most
    nodes = "".join(f"[{f'p{i}_'.ljust(length, 'x')}]\ntype = prelu\n" for i in range(count))
    config = exporter.folder / "many.ini"
    config.write_text("[data]\nsource = synthetic\nshape = 1x4x4\nclasses = 2\ncount = 8\n"
                      "[train]\nepochs = 1\nbatch = 8\n[fc]\ntype = dense\nunits = classes\n" + nodes)
    exporter.colonnade("train", config, "--out", "many.h5", "-q")
    exporter.colonnade("export", "many.h5", "--format", "keras", "-o", "many-weights.h5")
    with h5py.File(exporter.folder / "many-weights.h5") as weights:
        assert "layer_names" not in weights.attrs
        assert {"layer_names0", "layer_names1"} <= set(weights.attrs)
        for name in ("layer_names0", "layer_names1"):
            attribute = weights.attrs[name]
            assert attribute.dtype.itemsize * len(attribute) <= 64512
        names = keras_in_torch.names_of(weights, "layer_names")
        assert names[0] == "fc" and len(names) == count + 1 and all(name in weights for name in names)


@pytest.mark.parametrize("name, words", [
    ("x.weights.h5", "by class"),
    ("x.npz", "has to end with .h5"),
])
def test_names_that_keras_would_misread_are_refused(exporter, name, words):
    run = exporter.train("lenet")
    message = exporter.colonnade("export", run, "--format", "keras", "-o", name, status=2).stderr
    assert words in message and not (exporter.folder / name).exists()


def test_neither_a_run_file_nor_a_script_of_others_is_replaced(exporter):
    run = exporter.train("lenet")
    before = run.read_bytes()
    exporter.colonnade("export", run, "--format", "keras", "-o", run, status=1)
    assert run.read_bytes() == before
    script = exporter.folder / "mine.py"
    script.write_text("print('mine')\n")
    exporter.colonnade("export", run, "--format", "keras", "-o", "mine.h5", status=1)
    assert script.read_text() == "print('mine')\n" and not (exporter.folder / "mine.h5").exists()
    script.unlink()
    for _ in range(2):
        exporter.colonnade("export", run, "--format", "keras", "-o", "mine.h5")


def test_a_name_that_keras_keeps_for_itself_is_refused(exporter):
    config = exporter.folder / "taken.ini"
    config.write_text("[data]\nsource = synthetic\nshape = 1x4x4\nclasses = 2\ncount = 8\n[train]\n"
                      "epochs = 1\n[top_level_model_weights]\ntype = dense\nunits = classes\n")
    exporter.colonnade("train", config, "--out", "taken.h5", "-q")
    message = exporter.colonnade("export", "taken.h5", "--format", "keras", "-o", "taken-weights.h5",
                                 status=1).stderr
    assert "node top_level_model_weights of type dense cannot be exported to keras" in message


def test_class_names_are_python(exporter, load):
    """Quotes, lines, other alphabets, and bytes that are no UTF-8."""
    names = [b'"quoted"', b"a\\b\nc", "ünï漢字🐈".encode(), b"broken \xff\xc3("]
    data = exporter.folder / "classes.h5"
    with h5py.File(data, "w") as file:
        for part in ("train", "test"):
            images = numpy.arange(8 * 16, dtype=numpy.uint8).reshape(8, 4, 4)
            file[f"{part}/images"], file[f"{part}/labels"] = images, numpy.arange(8) % 4
        file["classes"] = numpy.array(names, dtype=h5py.string_dtype())
    config = exporter.folder / "classes.ini"
    config.write_text("[data]\nsource = hdf5\npath = classes.h5\n[train]\nepochs = 1\n"
                      "[fc]\ntype = dense\nunits = classes\n")
    exporter.colonnade("train", config, "--out", "named-classes.h5", "-q")
    want = [name.decode(errors="replace") for name in names]
    exporter.colonnade("export", "named-classes.h5", "--format", "keras", "-o", "named.h5")
    assert load(exporter.folder / "named.py").CLASSES == want
    exporter.colonnade("export", "named-classes.h5", "--format", "npz", "-o", "named.npz")
    assert list(numpy.load(exporter.folder / "named.npz")["data/classes"]) == want
