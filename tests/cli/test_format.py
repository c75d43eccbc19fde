"""A run file of format version 1, kept here as a program of its time wrote it, is read by this one:

    colonnade train format-1.ini    # the config is in the file

Whoever raises the version keeps this file and adds another.
"""
import pathlib
import shutil

import pytest

h5py = pytest.importorskip("h5py")

KEPT = pathlib.Path(__file__).with_name("format-1.h5")


@pytest.fixture
def old(program):
    shutil.copy(KEPT, program.folder / "format-1.h5")
    with h5py.File(KEPT) as file:
        (program.folder / "format-1.ini").write_text(file.attrs["config"])
    return program


def test_it_is_scored_and_verified_as_it_was(old):
    assert "format-1.h5: ok" in old.run("verify", "format-1.h5").stdout
    [score] = old.json("eval", "format-1.h5")
    with h5py.File(KEPT) as file:
        kept = file["evaluation/test"].attrs
        assert score["count"] == kept["count"] == 20
        assert score["accuracy"] == kept["accuracy"]
        assert score["loss"] == pytest.approx(kept["loss"], rel=1e-5)  # another machine's rounding


def test_it_is_summed_up_reported_watched_and_exported(old):
    [summary] = old.json("summary", "format-1.h5")
    with h5py.File(KEPT) as file:
        weights = sum(data.size for name, data in file["state_dict"].items()
                      if "running" not in name)
    assert summary["parameters"] == weights
    old.run("report", "format-1.h5")
    assert "<h1" in (old.folder / "format-1.html").read_text()
    assert "complete, epoch 2" in old.run("watch", "format-1.h5").stdout
    old.run("export", "format-1.h5", "--format", "npz", "-o", "weights.npz")


def test_it_goes_on(old):
    old.run("train", "format-1.ini", "--resume", "--set", "train.epochs=3")
    with h5py.File(old.folder / "format-1.h5") as now, h5py.File(KEPT) as then:
        assert list(now["metrics/epoch/epoch"]) == [1, 2, 3]
        assert (now["metrics/step/loss"][:8] == then["metrics/step/loss"][()]).all()


def test_its_weights_begin_another_run(old):
    said = old.run("train", "format-1.ini", "--out", "next.h5", "--set",
                   "train.init_from=format-1.h5").stderr
    assert "9 arrays from format-1.h5" in said and "drawn anew" not in said


@pytest.mark.parametrize("version", [0, 2, 1000])
def test_a_version_that_is_not_known_is_refused_with_a_sentence(old, version):
    with h5py.File(old.folder / "format-1.h5", "r+") as file:
        file.attrs.modify("format_version", version)
    for verb in "summary", "eval", "verify", "watch":
        said = old.run(verb, "format-1.h5", status=1).stderr
        assert said == f"format-1.h5: format_version {version}; this program reads 1\n"
