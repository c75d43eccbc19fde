"""Saving: the run file survives a kill at any moment, and every way in which a save can fail.

The environment variable COLONNADE_FAULTS names the test double of faults.c.
"""
import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest

h5py = pytest.importorskip("h5py")

from conftest import CONFIG
from test_train import same_weights, status_of, weights

# A new file that replaces an old one: what a save calls, in this order.
SAVE = ["open", "fchmod", "write", "fsync", "rename", "close", "open", "fsync", "close"]


@pytest.fixture
def faults(program):
    path = os.environ.get("COLONNADE_FAULTS")
    if not path:
        pytest.skip("COLONNADE_FAULTS names no test double")

    def environment(fault=None, log=None):
        more = {"LD_PRELOAD": path, "FAULT": fault, "FAULT_LOG": log}
        return {**program.environment, **{k: str(v) for k, v in more.items() if v is not None}}
    return environment


@pytest.fixture
def train(program):
    """Trains small.ini with mid-epoch checkpoints into a file; returns the finished process."""
    config = program.config()

    def run(output, *arguments, env=None):
        return subprocess.run(
            [program.path, "train", config, "--out", output, "--quiet", "--threads", "1",
             "--set", "train.checkpoint_every=4 steps", *arguments],
            cwd=program.folder, env=env or program.environment, capture_output=True, text=True,
            timeout=120)
    assert run("whole.h5").returncode == 0
    return run


def test_a_save_is_these_calls(program, train, faults):
    """On which the tests below stand: 12 steps, a checkpoint every 4, and the end."""
    log = program.folder / "calls"
    train("a.h5", env=faults(log=log))
    first = [call for call in SAVE if call != "fchmod"]
    assert log.read_text().split() == first + 3 * SAVE


def check_and_resume(program, train):
    """What a kill left opens; the run goes on to the bits of the undisturbed one."""
    path = program.folder / "a.h5"
    if path.exists():
        program.run("summary", "a.h5")
        assert status_of(path) in ("training", "complete", "failed")
    result = train("a.h5", "--resume")
    assert result.returncode == 0, result.stderr
    assert same_weights(program.folder / "whole.h5", path)
    assert [path.name for path in program.folder.glob(".a.h5*")] == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_call_of_a_save_the_run_goes_on_to_the_same_bits(program, train, faults,
                                                                          moment):
    for call in range(1, 4 * len(SAVE)):
        (program.folder / "a.h5").unlink(missing_ok=True)
        result = train("a.h5", env=faults(f"{call}:{moment}"))
        assert result.returncode == -signal.SIGKILL, call
        check_and_resume(program, train)


def test_killed_at_random_moments_the_run_goes_on_to_the_same_bits(program, train):
    draw = random.Random(1)
    start = time.monotonic()
    train("a.h5")
    whole = time.monotonic() - start
    killed = 0
    for _ in range(30):
        (program.folder / "a.h5").unlink(missing_ok=True)
        process = program.start("train", "small.ini", "--out", "a.h5", "--quiet", "--threads", "1",
                                "--set", "train.checkpoint_every=1 step")
        time.sleep(draw.uniform(0.1, 0.9) * whole)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        process.communicate()
        check_and_resume(program, train)
    assert killed >= 10


@pytest.mark.parametrize("call", range(9, 17))
@pytest.mark.parametrize("reason", [errno.EIO, errno.ENOSPC])
def test_where_a_save_fails_training_goes_on_and_says_so(program, train, faults, call, reason):
    """The second save of four."""
    result = train("a.h5", env=faults(f"{call}:{reason}"))
    assert result.returncode == 0
    [line] = [line for line in result.stderr.splitlines() if "training goes on" in line]
    assert line.startswith("a.h5: ") and os.strerror(reason) in line
    assert status_of(program.folder / "a.h5") == "complete"
    assert same_weights(program.folder / "whole.h5", program.folder / "a.h5")
    assert [path.name for path in program.folder.glob(".a.h5*")] == []


@pytest.mark.parametrize("call", range(27, 32))
def test_where_the_last_save_fails_the_run_is_kept_as_failed(program, train, faults, call):
    result = train("a.h5", env=faults(f"{call}:{errno.ENOSPC}"))
    assert result.returncode == 1
    assert "a.h5: " in result.stderr and os.strerror(errno.ENOSPC) in result.stderr
    assert status_of(program.folder / "a.h5") == "failed"
    with h5py.File(program.folder / "a.h5") as file:
        assert file.attrs["reason"] in result.stderr
        assert file["optimizer"].attrs["step"] == 12
    check_and_resume(program, train)


@pytest.fixture
def sweep(program):
    """Trains three rows into sweep.h5, saved after each and at the end."""
    config = program.config("grid.ini", CONFIG + "\n[sweep]\nconv1.filters = 4, 6, 8\n",
                            output="sweep.h5")

    def run(*arguments, **options):
        return subprocess.run([program.path, "sweep", config, "--set", "run.threads=1", *arguments],
                              cwd=program.folder, capture_output=True, text=True, timeout=120,
                              **{"env": program.environment, **options})
    return run


def rows_of(path):
    with h5py.File(path) as file:
        return (file.attrs["status"], file["combinations/status"].asstr()[()].tolist(),
                file["combinations/test_loss"][()].tolist())


@pytest.mark.parametrize("call", range(9, 17))
def test_where_a_save_fails_a_sweep_goes_on_and_says_so(program, sweep, faults, call):
    """The second save of four."""
    assert sweep("--out", "whole.h5").returncode == 0
    result = sweep("--quiet", env=faults(f"{call}:{errno.ENOSPC}"))
    assert result.returncode == 0
    [line] = result.stderr.splitlines()
    assert line.startswith("sweep.h5: ") and os.strerror(errno.ENOSPC) in line
    assert "the sweep goes on" in line
    assert rows_of(program.folder / "sweep.h5") == rows_of(program.folder / "whole.h5")
    assert [path.name for path in program.folder.glob(".sweep.h5*")] == []


def test_where_the_last_save_of_a_sweep_fails_its_rows_are_there(program, sweep, faults):
    result = sweep("--quiet", env=faults(f"28:{errno.ENOSPC}"))
    assert result.returncode == 1 and os.strerror(errno.ENOSPC) in result.stderr
    assert len(result.stdout.splitlines()) == 4
    status, rows, losses = rows_of(program.folder / "sweep.h5")
    assert (status, rows) == ("training", ["complete"] * 3)
    assert sweep("--resume").returncode == 0
    assert rows_of(program.folder / "sweep.h5") == ("complete", rows, losses)


@pytest.mark.parametrize("form, lines", [([], 4), (["--json"], 3)])
def test_a_sweep_that_cannot_be_saved_at_all_is_printed_and_a_failure(program, sweep, form, lines):
    result = sweep("--quiet", *form, preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_FSIZE, (4096, 4096)))
    assert result.returncode == 1
    assert result.stderr.count(os.strerror(errno.EFBIG)) == 4
    assert len(result.stdout.splitlines()) == lines and "done" not in result.stdout
    assert not (program.folder / "sweep.h5").exists()


def test_a_limit_on_file_sizes_is_an_error_and_no_death(program, train):
    size = (program.folder / "whole.h5").stat().st_size
    shutil.copy(program.folder / "whole.h5", program.folder / "a.h5")
    result = subprocess.run([program.path, "train", "small.ini", "--out", "a.h5", "--quiet"],
                            cwd=program.folder, env=program.environment, capture_output=True,
                            text=True, preexec_fn=lambda: resource.setrlimit(
                                resource.RLIMIT_FSIZE, (size // 2, size // 2)))
    assert result.returncode == 1
    assert os.strerror(errno.EFBIG) in result.stderr
    assert same_weights(program.folder / "whole.h5", program.folder / "a.h5")


@pytest.fixture
def disk(program):
    """mount(options): a file system in memory at the folder disk."""
    folder = program.folder / "disk"
    folder.mkdir()

    def mount(options):
        result = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
                                capture_output=True, text=True)
        if result.returncode:
            pytest.skip(f"no file system can be mounted here: {result.stderr.strip()}")
        return folder
    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True)


def test_a_full_disk_is_an_error_and_the_last_good_file_stays(program, train, disk):
    size = (program.folder / "whole.h5").stat().st_size
    folder = disk(f"size={size + size // 2}")
    assert train("disk/a.h5", "--set", "train.max_steps=4").returncode == 1  # the second save
    good = weights(folder / "a.h5")
    result = train("disk/a.h5", "--resume")
    assert result.returncode == 1
    assert "disk/a.h5: cannot write" in result.stderr
    assert os.strerror(errno.ENOSPC) in result.stderr
    assert weights(folder / "a.h5").keys() == good.keys()
    assert [path.name for path in folder.iterdir()] == ["a.h5"]


def test_a_read_only_disk_is_told_before_training(program, train, disk):
    folder = disk("size=10m")
    shutil.copy(program.folder / "whole.h5", folder / "a.h5")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    result = train("disk/a.h5")
    assert result.returncode == 1
    assert "disk" in result.stderr and os.strerror(errno.EROFS) in result.stderr
    assert same_weights(program.folder / "whole.h5", folder / "a.h5")


def test_a_folder_that_vanishes_is_made_again(program):
    config = program.config(output="runs/a.h5")
    process = program.start("train", config, "--set", "train.epochs=400",
                            "--set", "train.checkpoint_every=1 step")
    path = program.folder / "runs" / "a.h5"
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    shutil.rmtree(program.folder / "runs", ignore_errors=True)
    while not path.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert status_of(path) == "interrupted"


def test_a_reader_holds_up_no_save_and_keeps_what_it_has_opened(program, train):
    shutil.copy(program.folder / "whole.h5", program.folder / "a.h5")
    with h5py.File(program.folder / "a.h5") as file:
        before = file["state_dict/fc1.bias"][()]
        assert train("a.h5", "--set", "run.seed=5").returncode == 0
        assert (file["state_dict/fc1.bias"][()] == before).all()
    assert (weights(program.folder / "a.h5")["fc1.bias"] != before).any()
