"""Watching a run: the file of its metrics while it goes on, and the curves in the terminal."""
import os
import pty
import signal
import time

import pytest

h5py = pytest.importorskip("h5py")


def start(program):
    """A run that would go on for long."""
    return program.start("train", program.config(), "--quiet", "--set", "train.epochs=100000",
                         "--set", "train.checkpoint_every=100000")


def wait_for(path, process):
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    assert path.exists()


def test_the_metrics_of_a_run_under_way_can_be_read_at_any_moment(program):
    process, path = start(program), program.folder / "small.h5.live"
    wait_for(path, process)
    steps, changes, readings = 0, 0, 0
    deadline = time.monotonic() + 60
    while (readings < 80 or changes < 2) and time.monotonic() < deadline:
        readings += 1
        with h5py.File(path) as file:
            now = len(file["metrics/step/loss"])
            assert len(file["metrics/step/lr"]) == now
            assert file.attrs["format"] == "colonnade-metrics"
            assert file.attrs["status"] == "training"
        assert now >= steps
        changes += now > steps
        steps = now
        time.sleep(0.05)
    assert changes >= 2
    assert "small.h5: training, epoch " in program.run("watch", "small.h5").stdout
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert not path.exists()
    with h5py.File(program.folder / "small.h5") as file:
        assert len(file["metrics/step/loss"]) >= steps


def test_what_a_killed_run_left_goes_with_the_next(program):
    process, path = start(program), program.folder / "small.h5.live"
    wait_for(path, process)
    process.kill()
    process.communicate()
    assert path.exists()
    said = program.run("watch", "small.h5").stdout
    assert said.startswith("small.h5: not being trained, it ended without a word, ")
    program.run("train", "small.ini", "--quiet", "--resume")
    assert not path.exists()
    assert program.run("watch", "small.h5").stdout.startswith("small.h5: complete, epoch 2, ")


def curves(text):
    """[(title, names, rows)] of charts in ASCII."""
    charts = []
    for line in text.splitlines()[1:]:
        if "|" in line:
            charts[-1][2].append(line.split("|")[1])
        else:
            title, *names = line.split()
            charts.append((title, names, []))
    return charts


def test_curves_are_drawn_between_their_highest_and_lowest_values(trained):
    text = trained.run("watch", "small.h5", env={**trained.environment, "LC_ALL": "C"}).stdout
    with h5py.File(trained.folder / "small.h5") as file:
        accuracy = [file[f"metrics/epoch/{part}_accuracy"][()] for part in ("train", "val")]
    loss, chart = curves(text)
    assert loss[:2] == ("loss", ["*", "steps", "o", "validation", "+", "training"])
    assert chart[:2] == ("accuracy", ["*", "training", "o", "validation"])
    lines = [line for line in text.splitlines() if "|" in line]
    rows = lines[len(loss[2]):]
    assert rows[0].split("|")[0].strip() == f"{max(map(max, accuracy)):.4g}"
    assert rows[-1].split("|")[0].strip() == f"{min(map(min, accuracy)):.4g}"
    columns = ["".join(column) for column in zip(*chart[2])]
    for edge in [chart[2][0], chart[2][-1], columns[0], columns[-1]]:
        assert edge.strip(), text


def test_dots_are_braille_where_the_terminal_takes_them(trained):
    text = trained.run("watch", "small.h5", env={**trained.environment, "LC_ALL": "C.UTF-8"}).stdout
    assert any("\u2800" < character <= "\u28ff" for character in text)


def watch_on_a_terminal(program):
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(program.folder)
        os.execve(program.path, [program.path, "watch", "small.h5"], program.environment)
    return child, terminal


def watched_training(program, drawings):
    """Under way, and on a terminal that was drawn so often."""
    process = start(program)
    wait_for(program.folder / "small.h5.live", process)
    child, terminal = watch_on_a_terminal(program)
    text = b""
    while text.count(b"\033[2J") < drawings:
        text += os.read(terminal, 65536)
    return process, child, terminal


def rest_of(terminal):
    text = b""
    try:
        while chunk := os.read(terminal, 65536):
            text += chunk
    except OSError:  # the terminal is gone with its program
        pass
    return text


def test_a_terminal_is_drawn_anew_until_the_run_ends(program):
    process, child, terminal = watched_training(program, drawings=2)
    process.send_signal(signal.SIGINT)
    process.communicate()
    text = rest_of(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b"small.h5: interrupted" in text


def test_a_terminal_is_not_watched_for_ever_where_the_run_was_killed(program):
    process, child, terminal = watched_training(program, drawings=1)
    process.kill()
    process.communicate()
    text = rest_of(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b"small.h5: not being trained, it ended without a word" in text


def test_what_is_no_run_is_refused(program):
    (program.folder / "text").write_text("no HDF5")
    assert "absent.h5: cannot open" in program.run("watch", "absent.h5", status=1).stderr
    assert "text: not an HDF5 file" in program.run("watch", "text", status=1).stderr
