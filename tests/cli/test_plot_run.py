"""docs/plot_run.py draws a run from its file alone."""
import pathlib
import subprocess
import sys

import pytest

image = pytest.importorskip("matplotlib.image")

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "plot_run.py"


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_curves_filters_and_confusion_are_drawn(program, channels):
    program.run("train", program.config(), "--quiet", "--set", f"data.shape={channels}x12x12")
    result = subprocess.run([sys.executable, SCRIPT, "small.h5"], cwd=program.folder,
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "small.h5: complete, 4 classes\n"
    for what in "curves", "filters", "confusion":
        pixels = image.imread(program.folder / f"small-{what}.png")
        assert pixels.std() > 0.05, what
