"""What `summary` says training will take is what it takes."""
import pathlib
import re
import resource
import subprocess

import pytest

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "configs" / "bench"


@pytest.mark.parametrize("name, batch, more", [
    ("lenet5", 64, []), ("typical", 128, []), ("vgg-cifar", 48, []), ("resnet18-cifar", 32, []),
    ("resnet18-cifar", 16, ["train.ema=0.9", "data.validation=0.1", "train.early_stop=2"])])
def test_training_takes_what_summary_says_within_a_tenth(program, name, batch, more):
    config = str(CONFIGS / f"{name}.ini")
    sets = ["--set", f"train.batch={batch}", "--set", f"data.count={2 * batch}",
            "--set", "data.limit_test=8", "--set", "run.threads=2", "--set", "train.epochs=1"]
    for setting in more:
        sets += ["--set", setting]
    [summary] = program.json("summary", config, *sets)
    said = summary["train_bytes"]
    # The least of three: now and then the system gives OpenBLAS's buffers as large pages.
    took = min(program.json("train", config, *sets, "--quiet", "--out", "run.h5")
               [-1]["peak_rss_bytes"] for _ in range(3))
    assert abs(took - said) <= 0.1 * took, f"summary says {said}, training took {took} bytes"


def test_train_says_first_what_summary_says(program):
    name = program.config()
    says = program.run("summary", name).stdout.splitlines()[-1]
    first = program.run("train", name).stderr.splitlines()[0]
    memory = re.search(r" takes (.*) beside the data", says)[1]
    assert f", {memory} beside the data -> small.h5" in first


def test_want_of_memory_names_the_batch_and_what_it_takes(program):
    program.config()
    result = subprocess.run(
        [program.path, "train", "small.ini", "--set", "train.batch=1000000", "--quiet"],
        cwd=program.folder, text=True, capture_output=True, env=program.environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)))
    assert result.returncode == 1
    assert re.match(r"small.ini: no memory for the activations of a mini-batch of 1000000 "
                    r"\(a smaller batch takes less\): \d+\.\d GB were asked for\n", result.stderr)
