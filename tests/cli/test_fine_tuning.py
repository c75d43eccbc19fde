"""train: beginning with another file's weights, and weights that stay as they are."""
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
    for name, message in [("absent.h5", "absent.h5: cannot open: No such file"),
                          ("text.h5", "text.h5: not an HDF5 file"),
                          ("empty.h5", "empty.h5: has no group /state_dict")]:
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
