"""How a training ends: the run file says what became of it, and holds all that can be kept."""
import resource
import signal
import subprocess
import time

import pytest

h5py = pytest.importorskip("h5py")

from test_train import same_weights, status_of

# From the second epoch on the learning rate is of no use.
BLOWN = ["--quiet", "--set", "train.schedule=step", "--set", "train.step_epochs=1",
         "--set", "train.gamma=1e30"]


def attributes(path):
    with h5py.File(path) as file:
        return dict(file.attrs)


def steps_of(path):
    with h5py.File(path) as file:
        return int(file["optimizer"].attrs["step"])


@pytest.mark.parametrize("split, keys", [("validation", []), ("test", ["data.validation=0"])])
def test_a_score_that_is_no_number_marks_the_run_failed(program, split, keys):
    sets = [word for key in ["train.batch=1000", *keys] for word in ("--set", key)]
    said = program.run("train", program.config(), *BLOWN, *sets, status=1).stderr
    ended = attributes(program.folder / "small.h5")
    assert ended["status"] == "failed"
    assert ended["reason"].startswith(f"the loss of the {split} split is ")
    assert ended["reason"] in said
    assert "small.h5 holds the run as it was after epoch " in said


def test_a_resumed_run_that_fails_at_once_is_not_complete(program):
    config = program.config()
    program.run("train", config, *BLOWN, "--set", "train.epochs=1")
    before = steps_of(program.folder / "small.h5")
    assert status_of(program.folder / "small.h5") == "complete"
    said = program.run("train", config, *BLOWN, "--resume", status=1).stderr
    ended = attributes(program.folder / "small.h5")
    assert ended["status"] == "failed" and ended["reason"].startswith("epoch 2, step ")
    assert f"small.h5 holds the run as it was after epoch 1, step {before}\n" in said
    assert steps_of(program.folder / "small.h5") == before


def test_a_resume_that_is_refused_leaves_the_file_as_it_is(trained):
    before = (trained.folder / "small.h5").read_bytes()
    trained.run("train", "small.ini", "--resume", "--set", "train.lr=0.1", status=2)
    assert (trained.folder / "small.h5").read_bytes() == before


@pytest.mark.parametrize("every", ["1", "1000000"])
def test_a_closed_pipe_costs_no_step(program, every):
    process = program.start("train", program.config(), "--json", "--set", "train.epochs=100000",
                            "--set", f"train.checkpoint_every={every}")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    process.stderr.close()
    path = program.folder / "small.h5"
    ended = attributes(path)
    assert ended["status"] == "failed"
    assert ended["reason"] == "standard output cannot be written: Broken pipe"
    with h5py.File(path) as file:
        epochs = len(file["metrics/epoch/epoch"])
        assert epochs >= 2 and file["optimizer"].attrs["epoch"] == epochs
    more = ["--quiet", "--set", f"train.epochs={epochs + 1}"]
    program.run("train", "small.ini", "--resume", *more)
    ended = attributes(path)
    assert ended["status"] == "complete" and "reason" not in ended
    program.run("train", "small.ini", "--out", "whole.h5", *more)
    assert same_weights(program.folder / "whole.h5", path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_cannot_be_kept_is_a_failure(program, number):
    process = subprocess.Popen(
        [program.path, "train", program.config(), "--set", "train.epochs=1000000",
         "--set", "train.checkpoint_every=1000 minutes"], cwd=program.folder,
        env=program.environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
    process.stderr.readline()  # an epoch is done
    time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "small.h5: cannot write " in said and "File too large" in said
    assert "up to date" not in said
    assert not (program.folder / "small.h5").exists()


# --- links ---

@pytest.mark.parametrize("links", [{"small.h5": "real.h5"}, {"small.h5": "deep/er/real.h5"},
                                   {"small.h5": "to/b.h5", "to/b.h5": "../real.h5"}])
def test_a_link_to_a_file_that_is_not_there_yet_is_followed(program, links):
    for name, target in links.items():
        (program.folder / name).parent.mkdir(exist_ok=True)
        (program.folder / name).symlink_to(target)
    config = program.config()
    for _ in range(2):
        program.run("train", config, "--quiet")
        assert all((program.folder / name).is_symlink() for name in links)
        assert status_of((program.folder / "small.h5").resolve()) == "complete"
    found = {path.name for path in program.folder.rglob("*") if not path.is_dir()}
    assert found == {"small.ini", "real.h5", *(name.split("/")[-1] for name in links)}


def test_a_link_that_leads_nowhere_is_told_before_training(program):
    train = ["train", program.config(), "--out"]
    (program.folder / "loop.h5").symlink_to("loop.h5")
    (program.folder / "far.h5").symlink_to("/proc/none/run.h5")
    assert "loop.h5: cannot resolve: " in program.run(*train, "loop.h5", status=1).stderr
    assert "far.h5 cannot be written: /proc: " in program.run(*train, "far.h5", status=1).stderr
    (program.folder / "a.h5").symlink_to("small.h5")
    (program.folder / "b.ini").write_text((program.folder / "small.ini").read_text().replace(
        "output = small.h5", "output = a.h5"))
    assert "the same run file" in program.run("train", "small.ini", "b.ini", status=2).stderr


# --- two at once ---

LONG = ["--quiet", "--set", "train.epochs=1000000", "--set", "train.checkpoint_every=1000000"]


def wait_until(holds, process):
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    assert holds()


def end(process):
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.parametrize("name", ["small.h5", "link.h5", "folder/small.h5"])
@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_second_training_into_a_run_file_is_refused(trained, name, resume):
    """By whatever name, and from before there is anything in the file."""
    (trained.folder / "link.h5").symlink_to("small.h5")
    (trained.folder / "folder").symlink_to(".")
    process = trained.start("train", "small.ini", *LONG)
    wait_until((trained.folder / ".small.h5.lock").exists, process)
    said = trained.run("train", "small.ini", "--out", name, "--quiet", *resume, status=1).stderr
    assert said == f"small.ini: {name} is being trained by another process\n"
    wait_until((trained.folder / "small.h5.live").exists, process)
    trained.run("train", "small.ini", "--out", name, "--quiet", *resume, status=1)
    trained.run("train", "small.ini", "--out", "other.h5", "--quiet")
    assert (trained.folder / "small.h5.live").exists()
    assert end(process) == 130
    assert status_of(trained.folder / "small.h5") == "interrupted"
    epochs = epochs_of(trained.folder / "small.h5") + 1 if resume else 1
    trained.run("train", "small.ini", "--out", name, "--quiet", *resume, "--set",
                f"train.epochs={epochs}")
    assert sorted(path.name for path in trained.folder.iterdir()) == [
        "folder", "link.h5", "other.h5", "small.h5", "small.ini"]


def epochs_of(path):
    with h5py.File(path) as file:
        return int(file["optimizer"].attrs["epoch"])


def test_of_many_trainings_that_begin_at_once_one_goes_on(program):
    config = program.config(output="new/small.h5")
    processes = [program.start("train", config, *LONG) for _ in range(6)]
    deadline = time.monotonic() + 60
    while sum(process.poll() is None for process in processes) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    [winner] = [process for process in processes if process.poll() is None]
    wait_until((program.folder / "new" / "small.h5.live").exists, winner)
    assert end(winner) == 130
    for process in processes:
        if process is not winner:
            assert process.returncode == 1
            assert "is being trained by another process" in process.communicate()[1]
    assert [path.name for path in (program.folder / "new").iterdir()] == ["small.h5"]


def test_a_killed_training_locks_nobody_out(program):
    process = program.start("train", program.config(), *LONG)
    wait_until((program.folder / "small.h5.live").exists, process)
    process.kill()
    process.communicate()
    program.run("train", "small.ini", "--quiet")
    assert sorted(path.name for path in program.folder.iterdir()) == ["small.h5", "small.ini"]


def test_an_interrupt_before_training_leaves_nothing(program):
    process = program.start("train", program.config(), "--set", "data.count=2000000", *LONG)
    wait_until((program.folder / ".small.h5.lock").exists, process)
    assert end(process) == 130
    assert [path.name for path in program.folder.iterdir()] == ["small.ini"]


# --- the run that was there ---

def test_it_is_said_which_run_is_replaced(program):
    train = ["train", program.config()]
    line = "small.h5: replaces {} run of {}\n"
    assert "replaces" not in program.run(*train, "--set", "train.epochs=0").stderr
    assert "replaces" not in program.run(*train).stderr  # nothing was trained
    assert line.format("a complete", "2 epochs") in program.run(
        *train, "--set", "train.epochs=1").stderr
    assert "replaces" not in program.run(*train, "--resume").stderr
    assert program.run(*train, "--quiet", "--set", "train.epochs=1").stderr == ""
    said = program.run(*train, *BLOWN[1:], status=1).stderr
    assert line.format("a complete", "1 epoch") in said
    assert line.format("a failed", "1 epoch") in program.run(*train).stderr


def interrupted(program, *arguments):
    """What a training said that was interrupted after few, large steps."""
    process = program.start("train", "small.ini", "--set", "data.count=100000", *LONG[1:],
                            "--set", "train.batch=4096", *arguments)
    wait_until((program.folder / "small.h5.live").exists, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    return said


def test_an_interrupt_before_the_first_checkpoint_costs_no_run(program):
    train = ["train", program.config(), "--quiet", "--set", "train.batch=1",
             "--set", "train.epochs=10"]
    path, first = program.folder / "small.h5", program.folder / "small.h5.replaced"
    program.run(*train)
    before, steps = path.read_bytes(), steps_of(path)
    said = interrupted(program)
    assert f"small.h5: the run of 10 epochs that was there is now {first}\n" in said
    assert 0 < steps_of(path) < steps and status_of(path) == "interrupted"
    assert first.read_bytes() == before
    # What is not further goes; a file of that name does not.
    program.run(*train, "--set", "train.max_steps=1")
    assert "is now" not in interrupted(program, "--quiet")
    program.run(*train)
    interrupted(program)
    assert first.read_bytes() == before
    assert steps_of(program.folder / "small.h5.replaced-2") == steps


def test_a_save_that_fails_gives_the_run_that_is_there_no_second_name(program):
    program.run("train", program.config(), "--quiet", "--set", "train.batch=1")
    before = (program.folder / "small.h5").read_bytes()
    process = subprocess.Popen(
        [program.path, "train", "small.ini", "--set", "data.count=100000", *LONG[1:],
         "--set", "train.batch=4096"], cwd=program.folder, env=program.environment,
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
    assert process.stderr.readline() == "small.h5: replaces a complete run of 2 epochs\n"
    process.stderr.readline()  # 19 steps, of the 384 of the other
    assert end(process) == 1
    assert (program.folder / "small.h5").read_bytes() == before
    assert sorted(path.name for path in program.folder.iterdir()) == ["small.h5", "small.ini"]


def test_an_interrupt_after_the_first_checkpoint_keeps_one_run(trained):
    process = trained.start("train", "small.ini", "--set", "data.count=400000",
                            "--set", "train.checkpoint_every=1 step", "--set", "train.batch=4096")
    wait_until(lambda: status_of(trained.folder / "small.h5") == "training", process)
    assert end(process) == 130
    assert sorted(path.name for path in trained.folder.iterdir()) == ["small.h5", "small.ini"]
