"""The verb export from outside: what it refuses, and in which words."""
import h5py
import pytest


def refused(exporter, *arguments, status=1):
    return exporter.colonnade("export", *arguments, status=status).stderr


def test_help_names_the_formats(exporter):
    text = exporter.colonnade("export", "--help").stdout
    for kind in ("keras", "onnx", "npz"):
        assert kind in text
    assert "export" in exporter.colonnade("--help").stdout


def test_the_written_files_are_named_on_standard_output(exporter):
    run = exporter.train("lenet")
    result = exporter.colonnade("export", run, "--format", "npz", "-o", "named.npz")
    assert result.stdout == "named.npz\n" and result.stderr == ""


@pytest.mark.parametrize("arguments, words", [
    (["--format", "npz"], "-o FILE is missing"),
    (["-o", "x.npz"], "--format FORMAT is missing"),
    (["-o", "x.npz", "--format", "nzp"], "did you mean 'npz'"),
])
def test_a_wrong_command_line_is_refused(exporter, arguments, words):
    assert words in refused(exporter, exporter.train("lenet"), *arguments, status=2)


@pytest.mark.parametrize("kind", ["npz", "onnx"])
def test_only_an_earlier_export_is_replaced(exporter, kind):
    run = exporter.train("lenet")
    file = exporter.folder / f"precious.{kind}"
    file.write_bytes(b"PK\3\4 precious")
    message = refused(exporter, run, "--format", kind, "-o", file)
    assert "was not exported by colonnade" in message
    assert file.read_bytes() == b"PK\3\4 precious"
    file.write_bytes(b"")
    exporter.colonnade("export", run, "--format", kind, "-o", file)
    first = file.read_bytes()
    exporter.colonnade("export", run, "--format", kind, "-o", file)
    assert file.read_bytes() == first
    before = run.read_bytes()
    refused(exporter, run, "--format", kind, "-o", run)
    assert run.read_bytes() == before


def test_a_run_without_samples_is_exported_and_says_so(exporter):
    run = exporter.train("lenet")
    bare = exporter.folder / "bare.h5"
    bare.write_bytes(run.read_bytes())
    with h5py.File(bare, "r+") as file:
        del file["golden"]
    result = exporter.colonnade("export", bare, "--format", "npz", "-o", "bare.npz")
    assert "no sample outputs" in result.stderr


def test_nothing_is_left_behind_where_the_file_cannot_be_written(exporter):
    run = exporter.train("lenet")
    message = refused(exporter, run, "--format", "npz", "-o", "lenet.ini/x.npz")
    assert "lenet.ini" in message
    assert not list(exporter.folder.glob("**/*.tmp-*"))
