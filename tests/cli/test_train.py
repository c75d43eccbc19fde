"""train: its events, its run files, what ends it, and going on."""
import fcntl
import html
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time

import pytest

h5py = pytest.importorskip("h5py")
numpy = pytest.importorskip("numpy")

from conftest import CONFIG


def weights(path):
    with h5py.File(path) as file:
        return {name: data[()] for name, data in file["state_dict"].items()}


def status_of(path):
    with h5py.File(path) as file:
        status = file.attrs["status"]
    return status.decode() if isinstance(status, bytes) else status


def same_weights(a, b):
    a, b = weights(a), weights(b)
    return a.keys() == b.keys() and all(numpy.array_equal(a[name], b[name]) for name in a)


def test_events_have_the_keys_of_the_contract(program):
    events = program.json("train", program.config())
    assert [event["event"] for event in events] == ["epoch", "epoch", "done"]
    for number, event in enumerate(events[:-1], 1):
        assert event["epoch"] == number
        for key in ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr",
                    "images_per_second"]:
            assert isinstance(event[key], (int, float)), key
    done = events[-1]
    assert done["run"] == "small.h5"
    assert done["epochs"] == 2
    assert done["steps"] == 2 * 192 // 32
    for key in ["test_loss", "test_accuracy", "seconds"]:
        assert isinstance(done[key], (int, float)), key
    assert status_of(program.folder / "small.h5") == "complete"


def test_values_that_are_not_there_are_null(program):
    events = program.json("train", program.config(), "--set", "data.validation=0")
    assert events[0]["val_loss"] is None and events[0]["val_accuracy"] is None


def test_results_and_progress_are_apart(program):
    result = program.run("train", program.config())
    assert result.stdout.startswith("small.h5: test accuracy ")
    assert len(result.stdout.splitlines()) == 1
    lines = result.stderr.splitlines()
    assert sum(line.startswith("epoch ") for line in lines) == 2
    assert "\r" not in result.stderr and "\033" not in result.stderr


def test_quiet_shows_no_progress(program):
    assert program.run("train", program.config(), "--quiet").stderr == ""


def on_a_terminal(program, columns):
    """What a training draws on a terminal as wide, and its standard output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([program.path, "train", program.config(), "--set",
                                "train.epochs=40"], cwd=program.folder, stderr=theirs,
                               stdout=subprocess.PIPE, env={**program.environment, "TERM": "xterm"})
    os.close(theirs)
    seen = b""
    while True:
        try:
            some = os.read(ours, 4096)
        except OSError:
            break
        if not some:
            break
        seen += some
    os.close(ours)
    assert process.wait() == 0
    return seen.decode(), process.stdout.read()


def test_a_terminal_gets_a_bar(program):
    seen, result = on_a_terminal(program, 80)
    assert "\r" in seen and "[" in seen and "\033[K" in seen
    assert result.startswith(b"small.h5: ")


@pytest.mark.parametrize("columns", [200, 80, 60, 40, 20, 5])
def test_the_bar_fits_the_terminal_and_ends_with_the_time_that_is_left(program, columns):
    seen, _ = on_a_terminal(program, columns)
    drawn = re.findall(r"\r([^\r\n\033]+)\033\[K", seen)
    assert drawn
    for line in drawn:
        assert len(line) < columns
        assert columns < 20 or re.search(r"\d:\d\d left$", line)
        assert columns < 80 or re.search(r"^epoch \d+/40 \[[ =]+\] \d/6  loss \d", line)


def test_out_and_set_decide_the_run_file(program):
    name = program.config()
    program.run("train", name, "--out", "deep/er/a.h5", "--quiet")
    program.run("train", name, "--set", "run.output=b.h5", "--quiet")
    assert same_weights(program.folder / "deep/er/a.h5", program.folder / "b.h5")
    assert not (program.folder / "small.h5").exists()


def test_the_number_of_threads_changes_no_weight(program):
    name = program.config()
    for threads in [1, 3]:
        program.run("train", name, "--threads", threads, "--out", f"{threads}.h5", "--quiet")
    assert same_weights(program.folder / "1.h5", program.folder / "3.h5")


def test_a_failed_config_does_not_stop_the_rest(program):
    good = program.config("good.ini", output="good.h5")
    bad = program.config("bad.ini", output="bad.h5")
    (program.folder / bad).write_text((program.folder / bad).read_text() + "\n[x]\ntype = nonsense\n")
    also = program.config("also.ini", output="also.h5")
    result = program.run("train", good, bad, "missing.ini", also, "--json", status=2)
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["run"] for event in events if event["event"] == "done"] == ["good.h5", "also.h5"]
    assert "bad.ini:" in result.stderr and "missing.ini" in result.stderr
    assert not (program.folder / "bad.h5").exists()


def test_a_mistake_in_a_later_config_is_told_before_the_first_is_trained(program):
    first = program.config("first.ini", output="first.h5")
    wrong = program.config("wrong.ini", CONFIG.replace("filters = 8", "filters = 8\nkernal = 3"))
    said = program.run("train", first, wrong, status=2).stderr
    assert said.startswith("wrong.ini:") and "unknown key 'kernal'" in said.splitlines()[0]
    assert (program.folder / "first.h5").exists()


def test_two_configs_for_one_run_file_are_refused_before_anything_runs(program):
    a = program.config("a.ini", output="same.h5")
    b = program.config("b.ini", output="./same.h5")
    os.symlink(program.folder, program.folder / "link")
    c = program.config("c.ini", output="link/same.h5")
    for other in [b, c]:
        result = program.run("train", a, other, status=2)
        assert "same run file" in result.stderr
        assert not (program.folder / "same.h5").exists()


def test_a_place_that_cannot_be_written_fails_before_training(program):
    (program.folder / "file").write_text("")
    for place in ["file/run.h5", "/proc/run.h5", ".", "new/"]:
        result = program.run("train", program.config(), "--out", place, status=1)
        assert "cannot be written" in result.stderr
        assert "epoch" not in result.stderr


def test_a_file_that_is_no_run_file_is_not_replaced(program):
    name = program.config()
    text = (program.folder / name).read_text()
    result = program.run("train", name, "--out", name, status=1)
    assert "no run file" in result.stderr
    assert (program.folder / name).read_text() == text


def test_an_older_run_file_is_replaced(trained):
    before = weights(trained.folder / "small.h5")
    trained.run("train", "small.ini", "--set", "run.seed=4", "--quiet")
    after = weights(trained.folder / "small.h5")
    assert any(not numpy.array_equal(before[name], after[name]) for name in before)


def test_resume_without_a_run_file_starts(program):
    program.run("train", program.config(), "--resume", "--quiet")
    assert status_of(program.folder / "small.h5") == "complete"


def test_resume_with_more_epochs_equals_one_run(program):
    name = program.config()
    program.run("train", name, "--set", "train.epochs=5", "--out", "whole.h5", "--quiet")
    program.run("train", name, "--out", "parts.h5", "--quiet")
    program.run("train", name, "--set", "train.epochs=5", "--out", "parts.h5", "--resume",
                "--quiet")
    assert same_weights(program.folder / "whole.h5", program.folder / "parts.h5")
    with h5py.File(program.folder / "parts.h5") as file:
        assert list(file["metrics/epoch/epoch"]) == [1, 2, 3, 4, 5]


def test_resume_under_another_config_names_the_keys(trained):
    result = trained.run("train", "small.ini", "--resume", "--set", "train.lr=0.1", "--set",
                         "conv1.stride=2", "--set", "train.epochs=3", status=2)
    assert "train.lr was 0.05, is 0.1" in result.stderr
    assert "conv1.stride was not given, is 2" in result.stderr
    assert "(what may differ: data.path, run.output, run.threads, " in result.stderr
    assert "train.epochs was" not in result.stderr


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_goes_on_to_the_same_weights(program, number, status):
    name = program.config()
    settings = ["--set", "data.count=4096", "--set", "train.epochs=8"]
    program.run("train", name, *settings, "--out", "whole.h5", "--quiet")
    process = program.start("train", name, *settings, "--json")
    first = process.stdout.readline()
    assert json.loads(first)["event"] == "epoch"
    time.sleep(0.05)  # into the middle of an epoch
    process.send_signal(number)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert all(json.loads(line)["event"] == "epoch" for line in rest.splitlines())
    assert status_of(program.folder / "small.h5") == "interrupted"
    assert "--resume" in errors
    program.run("train", name, *settings, "--resume", "--quiet")
    assert status_of(program.folder / "small.h5") == "complete"
    assert same_weights(program.folder / "whole.h5", program.folder / "small.h5")


def test_an_interrupt_ends_all_configs(program):
    settings = ["--set", "data.count=8192", "--set", "train.epochs=500"]
    a, b = program.config("a.ini", output="a.h5"), program.config("b.ini", output="b.h5")
    process = program.start("train", a, b, *settings, "--json")
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not (program.folder / "b.h5").exists()


def test_a_closed_pipe_ends_training(program):
    process = program.start("train", program.config(), "--set", "train.epochs=10000", "--json")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert "standard output" in process.stderr.read()
    process.stderr.close()


def test_a_loss_gone_non_finite_is_a_failure(program):
    result = program.run("train", program.config(), "--set", "train.lr=1e30", status=1)
    assert "epoch" in result.stderr


def test_a_run_that_failed_says_so_and_keeps_its_last_good_state(program):
    h5py = pytest.importorskip("h5py")
    config = program.config()
    train = ["train", config, "--quiet", "--set", "train.schedule=step",
             "--set", "train.step_epochs=1", "--set", "train.gamma=1e18"]
    result = program.run(*train, "--set", "train.epochs=3", status=1)
    assert "no finite number" in result.stderr
    with h5py.File(program.folder / "small.h5") as run:
        assert run.attrs["status"] == "failed"
        assert run.attrs["reason"] in result.stderr
        assert run.attrs["reason"].startswith("epoch 2, step ")
        assert len(run["metrics/epoch/epoch"]) == 1
        reason = run.attrs["reason"]
    assert "its status is failed" in program.run("verify", "small.h5").stdout
    program.run("report", "small.h5", "-o", "page.html")
    assert f"It failed: {reason}." in html.unescape((program.folder / "page.html").read_text())
    program.run(*train[:-1], "train.gamma=1e18", "--set", "train.epochs=3", "--resume", status=1)
    with h5py.File(program.folder / "small.h5") as run:
        assert run.attrs["reason"] == reason
    program.run(*train, "--set", "train.epochs=1", "--resume")
    with h5py.File(program.folder / "small.h5") as run:
        assert run.attrs["status"] == "complete" and "reason" not in run.attrs


def test_a_report_replaces_no_file_but_a_report(trained):
    before = (trained.folder / "small.h5").read_bytes()
    (trained.folder / "link.html").symlink_to("small.h5")
    for page in ["small.h5", "link.html", "small.ini"]:
        result = trained.run("report", "small.h5", "-o", page, status=1)
        assert "is not a report" in result.stderr
    assert (trained.folder / "small.h5").read_bytes() == before
    trained.run("report", "small.h5", "-o", "page.html")
    trained.run("report", "small.h5", "-o", "page.html")


def test_statistics_of_one_value_are_refused(program):
    text = "\n".join(["[run]", "output = {output}", "[data]", "source = synthetic",
                      "shape = 3x6x6", "count = 33", "classes = 2", "[train]", "epochs = 1",
                      "batch = 8", "[pool]", "type = globalavgpool", "[norm]", "type = batchnorm",
                      "[fc]", "type = dense", "units = classes", ""])
    config = program.config(text=text)
    said = program.run("train", config, status=2).stderr
    assert "small.ini:14: [norm] batchnorm takes the variance of one value a channel" in said
    program.run("train", config, "--set", "train.batch=10")
    program.run("train", config, "--set", "train.freeze=norm", "--out", "frozen.h5")


def test_augmentation_alters_the_training_split_alone(program):
    """At a learning rate of 0 scores tell nothing but what the network saw."""
    keys = {"flip": "horizontal", "crop": 3, "rotate": 40, "scale": 0.4, "translate": 0.3,
            "brightness": 0.5, "contrast": 0.5, "erase": 1, "mixup": 1}
    still = ["train", program.config(), "--set", "train.lr=0"]
    plain = program.json(*still, "--out", "plain.h5")
    for key, value in keys.items():
        altered = program.json(*still, "--out", "altered.h5", "--set", f"augment.{key}={value}")
        for before, after in zip(plain[:-1], altered[:-1]):
            assert after["train_loss"] != before["train_loss"], key
            assert after["val_loss"] == before["val_loss"], key
        assert altered[0]["train_loss"] != altered[1]["train_loss"], key  # anew in every epoch
        assert altered[-1]["test_loss"] == plain[-1]["test_loss"], key
        with h5py.File(program.folder / "plain.h5") as a, h5py.File(
                program.folder / "altered.h5") as b:
            assert (a["golden/input"][()] == b["golden/input"][()]).all(), key
            for name in ("mean", "std"):
                assert (a["data/classes"].attrs[name] == b["data/classes"].attrs[name]).all(), key
    assert program.json("eval", "altered.h5") == program.json("eval", "plain.h5")


def test_a_key_that_the_optimizer_does_not_read_is_an_error(program):
    def refused(*arguments, text=CONFIG):
        return program.run("train", program.config(text=text), *arguments, status=2).stderr
    line = CONFIG.splitlines().index("momentum = 0.9") + 1
    rule = "[train] {} is only for optimizer = {}; it means nothing to {}\n"
    assert refused(text=CONFIG.replace("momentum =", "optimizer = adam\nmomentum =")) == (
        f"small.ini:{line + 1}: " + rule.format("momentum", "sgd, rmsprop", "adam"))
    for key, readers in [("beta1", "adam, adamw"), ("beta2", "adam, adamw, rmsprop"),
                         ("eps", "adam, adamw, rmsprop")]:
        assert refused("--set", f"train.{key}=0.5") == (
            f"small.ini: --set train.{key}=0.5: " + rule.format(key, readers, "sgd"))
    assert refused("--set", "train.optimizer=adam", "--set", "train.momentum=0.5").endswith(
        rule.format("momentum", "sgd, rmsprop", "adam"))
    swept = CONFIG + "\n[sweep]\ntrain.beta1 = 0.5, 0.9\n"
    assert refused(text=swept) == (
        f"small.ini:{len(swept.splitlines())}: " + rule.format("beta1", "adam, adamw", "sgd"))


def test_a_key_that_the_schedule_does_not_read_is_an_error(program):
    def refused(*arguments, text=CONFIG):
        return program.run("train", program.config(text=text), *arguments, status=2).stderr
    line = CONFIG.splitlines().index("momentum = 0.9") + 1
    rule = "[train] {} is only for schedule = step; it means nothing to {}\n"
    cosine = CONFIG.replace("momentum =", "schedule = cosine\ngamma = 0.5\nmomentum =")
    assert refused(text=cosine) == (
        f"small.ini:{line + 1}: " + rule.format("gamma", "cosine"))
    assert refused("--set", "train.step_epochs=2").endswith(rule.format("step_epochs", "constant"))
    swept = CONFIG + "\n[sweep]\ntrain.gamma = 0.5, 0.9\n"
    assert refused(text=swept).endswith(rule.format("gamma", "constant"))
    both = cosine.replace("cosine", "step") + "\n[sweep]\ntrain.gamma = 0.5, 0.9\n"
    assert refused("--set", "train.schedule=cosine", text=both) == (
        f"small.ini:{len(both.splitlines())}: " + rule.format("gamma", "cosine"))
    others = cosine + "\n[sweep]\ntrain.schedule = linear, cosine\n"
    assert refused(text=others).endswith(rule.format("gamma", "linear, cosine"))
    step = CONFIG.replace("momentum =", "schedule = step\ngamma = 0.5\nmomentum =")
    program.run("train", program.config(text=step), "--set", "train.schedule=linear")
    step += "\n[sweep]\ntrain.schedule = step, cosine\n"
    events = program.json("sweep", program.config(text=step, output="sweep.h5"))
    assert [event["status"] for event in events[:-1]] == ["complete", "complete"]


def test_another_optimizer_by_set_leaves_the_files_keys_for_its_own(program):
    config = program.config()
    another = ["train", config, "--set", "train.optimizer=adam", "--set", "train.lr=0.01"]
    program.run(*another, "--set", "train.max_steps=3")
    with h5py.File(program.folder / "small.h5") as file:
        assert "momentum" not in file.attrs["config"]
    program.run(*another, "--resume")
    program.run("summary", "small.h5")


@pytest.mark.parametrize("keys, another", [
    ("momentum = 0.9\nnesterov = true\noptimizer = sgd\nlr = 0.01", "train.optimizer=adam"),
    ("gamma = 0.5\nstep_epochs = 1\nschedule = step\nlr = 0.05", "train.schedule=cosine")])
def test_another_choice_by_set_takes_all_keys_of_the_files(program, keys, another):
    text = CONFIG.replace("lr = 0.05\nmomentum = 0.9", keys)
    assert keys in text
    train = ["train", program.config(text=text), "--set", another]
    program.run(*train, "--set", "train.max_steps=3")
    with h5py.File(program.folder / "small.h5") as file:
        for line in keys.splitlines()[:2]:
            assert line.split()[0] not in file.attrs["config"]
    program.run(*train, "--resume")


def test_a_sweep_of_optimizers_keeps_the_keys_of_each(program):
    text = CONFIG.replace("momentum", "beta1 = 0.8\nmomentum")
    text += "\n[sweep]\ntrain.optimizer = sgd, adam\n"
    events = program.json("sweep", program.config(text=text))
    assert [event["status"] for event in events[:-1]] == ["complete", "complete"]
