"""What `summary` says training will take is what it takes."""
import os
import pathlib
import subprocess

import pytest

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "configs" / "bench"


def peak_bytes(program, arguments):
    """The peak resident memory of one process."""
    process = subprocess.Popen([program.path, *arguments], cwd=program.folder,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=program.environment)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_maxrss * 1024


@pytest.mark.parametrize("name, batch", [("vgg-cifar", 48), ("resnet18-cifar", 32)])
def test_training_takes_what_summary_says_within_a_tenth(program, name, batch):
    config = str(CONFIGS / f"{name}.ini")
    sets = ["--set", f"train.batch={batch}", "--set", f"data.count={batch}",
            "--set", "data.limit_test=8", "--set", "run.threads=2", "--set", "train.epochs=1"]
    [summary] = program.json("summary", config, *sets)
    took = peak_bytes(program, ["train", config, *sets, "--quiet", "--out", "run.h5"])
    said = summary["train_bytes"]
    assert abs(took - said) <= 0.1 * took, f"summary says {said}, training took {took} bytes"
