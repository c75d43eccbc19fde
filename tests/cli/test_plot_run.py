"""docs/plot_run.py draws a run from its file alone."""
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from conftest import CONFIG

image = pytest.importorskip("matplotlib.image")

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "plot_run.py"


def plot(program):
    """What the script says, and what it has drawn."""
    result = subprocess.run([sys.executable, SCRIPT, "small.h5"], cwd=program.folder,
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    drawn = {path.stem.removeprefix("small-"): path for path in program.folder.glob("*.png")}
    for what, path in drawn.items():
        assert image.imread(path).std() > 0.05, what
    return result.stdout, set(drawn)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_curves_filters_and_confusion_are_drawn(program, channels):
    program.run("train", program.config(), "--quiet", "--set", f"data.shape={channels}x12x12")
    assert plot(program) == ("small.h5: complete, 4 classes\n", {"curves", "filters", "confusion"})


def test_a_run_that_has_not_ended_has_no_confusion(program):
    process = program.start("train", program.config(), "--quiet", "--set", "train.epochs=100000")
    while not (program.folder / "small.h5").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    said, drawn = plot(program)
    assert said.startswith("small.h5: interrupted, 4 classes\nno confusion matrix: ")
    assert drawn == {"curves", "filters"}


def test_no_epoch_has_no_curves_and_a_dense_network_no_filters(program):
    dense = CONFIG[:CONFIG.index("[conv1]")] + CONFIG[CONFIG.index("[fc1]"):]
    program.run("train", program.config(text=dense), "--quiet", "--set", "train.epochs=0")
    said, drawn = plot(program)
    assert [line.split(":")[0] for line in said.splitlines()] == ["small.h5", "no curves",
                                                                  "no filters"]
    assert drawn == {"confusion"}
