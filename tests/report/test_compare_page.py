"""The page that compares runs, and opening pages. The runs are trained by the program that COLONNADE
names, on data of a few kilobytes."""
import json
import os
import subprocess

import pytest

import browser as chromium
from parsing import Parsed, close
from test_report import INK

h5py = pytest.importorskip("h5py")

CONFIG = """[data]
source = synthetic
shape = 1x8x8
classes = 4
count = 64
validation = 0.25
[train]
epochs = 6
batch = 8
lr = 0.01
[conv]
type = conv
filters = 4
kernel = 3
activation = relu
[fc]
type = dense
units = classes
"""
HOSTILE = "<img src=x onerror=alert(1)>"
RUNS = {"first": [], HOSTILE: ["--set", "train.lr=0.002", "--set", "conv.activation=tanh"],
        "longer": ["--set", "train.epochs=9", "--set", "train.momentum=0.9"]}


@pytest.fixture(scope="session")
def compared(tmp_path_factory):
    program = os.environ.get("COLONNADE", "")
    if not os.path.exists(program):
        pytest.skip("COLONNADE names no program")
    folder = tmp_path_factory.mktemp("compared")
    (folder / "small.ini").write_text(CONFIG)
    for name, changes in RUNS.items():
        subprocess.run([program, "train", "small.ini", "--out", f"{name}.h5", "--quiet", *changes],
                       check=True, cwd=folder)
    done = subprocess.run([program, "report", *(f"{name}.h5" for name in RUNS)], check=True,
                          cwd=folder, capture_output=True, text=True)
    assert done.stdout == "compared.html\n"
    return folder


@pytest.fixture(scope="session")
def page(compared):
    return Parsed((compared / "compared.html").read_text(encoding="utf-8"))


def test_figures_are_the_files(compared, page):
    rows = page.tables["Figures"]
    assert [row[0][0] for row in rows[1:]] == list(RUNS)
    at = {heading: i for i, (heading, _) in enumerate(rows[0])}
    accuracies = []
    for name, row in zip(RUNS, rows[1:]):
        with h5py.File(compared / f"{name}.h5") as file:
            test, epochs = file["evaluation/test"].attrs, file["metrics/epoch"]
            for heading, expected in [
                    ("test accuracy", test["accuracy"]), ("test loss", test["loss"]),
                    ("best val. accuracy", max(epochs["val_accuracy"])),
                    ("train loss", epochs["train_loss"][-1]), ("epochs", len(epochs["epoch"])),
                    ("parameters", sum(value.size for value in file["state_dict"].values()))]:
                assert close(float(row[at[heading]][1]), expected), heading
            accuracies.append(test["accuracy"])
    assert close(float(page.headline["Best test accuracy"][1]), max(accuracies))


def test_curves_hold_every_epoch(compared, page):

    data = json.loads(next(script for script in page.scripts if script.startswith("\n[")))
    for name, run in zip(RUNS, data):
        with h5py.File(compared / f"{name}.h5") as file:
            for column in "train_loss", "val_loss", "train_accuracy", "val_accuracy":
                assert len(run[column]) == len(file["metrics/epoch/epoch"])
                for shown, value in zip(run[column], file["metrics/epoch"][column]):
                    assert abs(shown - value) <= 1e-6 * abs(value)  # seven digits


def test_keys_that_differ_are_listed_and_no_others(page):
    heading, *body = page.tables["Differences"]
    assert [cell[0] for cell in heading[1:]] == list(RUNS)
    shown = {row[0][0]: [cell[0] for cell in row[1:]] for row in body}
    assert shown == {"train.lr": ["0.01", "0.002", "0.01"],
                     "train.epochs": ["6", "6", "9"],
                     "train.momentum": ["–", "–", "0.9"],
                     "conv.activation": ["relu", "tanh", "relu"]}


@pytest.mark.parametrize("width, dark", [(360, True), (1280, False)])
def test_it_opens_without_a_word_and_every_chart_has_its_curves(compared, browser, width, dark):
    tab = chromium.Page(browser, compared / "compared.html", width=width, dark=dark)
    assert tab.problems == []
    assert [url for url in tab.requests if not url.startswith(("data:", "file:"))] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    ink = tab.evaluate(INK)
    assert len(ink) == 4 and min(ink) > 150  # the first of three curves, of some 300 pixels' width
    names = tab.evaluate("Chart.getChart(document.querySelector('canvas')).data.datasets"
                         ".map((one) => one.label)")
    assert names == list(RUNS)
    tab.close()


def test_a_curve_alone_is_named(compared, browser):
    program = os.environ["COLONNADE"]
    subprocess.run([program, "train", "small.ini", "--out", "without.h5", "--quiet",
                    "--set", "data.validation=0"], check=True, cwd=compared)
    report(compared, "without.h5", "first.h5", "-o", "one.html")
    tab = chromium.Page(browser, compared / "one.html")
    shown = tab.evaluate("Array.from(document.querySelectorAll('canvas'), (canvas) => "
                         "Chart.getChart(canvas).legend).map((legend) => "
                         "legend.options.display ? legend.legendItems.map((item) => item.text)"
                         " : [])")
    assert {tuple(names) for names in shown} == {("without", "first"), ("first",)}
    tab.close()


def test_without_scripts_the_numbers_stand(compared, browser):
    tab = chromium.Page(browser, compared / "compared.html", script=False)
    tab.call("Emulation.setScriptExecutionDisabled", value=False)  # for the questions alone
    assert "charts need JavaScript" in tab.evaluate("document.body.innerText")
    assert tab.evaluate("document.querySelectorAll('.figures tbody tr').length") == 3
    tab.close()


def report(folder, *arguments, **options):
    return subprocess.run([os.environ["COLONNADE"], "report", *arguments], cwd=folder, text=True,
                          capture_output=True, **options)


def test_open_hands_the_page_to_xdg_open(compared):
    tools = compared / "tools"
    tools.mkdir()
    opener = tools / "xdg-open"
    opener.write_text("#!/bin/sh\necho \"opened $1\"\n")
    opener.chmod(0o755)
    done = report(compared, "first.h5", "--open", env={**os.environ, "PATH": f"{tools}:/bin"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "first.html\n", "opened first.html\n")
    opener.write_text("#!/bin/sh\nexit 3\n")
    done = report(compared, "first.h5", "--open", env={**os.environ, "PATH": f"{tools}:/bin"})
    assert done.returncode == 1 and "open it in a browser" in done.stderr


def test_without_xdg_open_the_page_is_there_and_a_sentence_says_so(compared):
    done = report(compared, "first.h5", "-o", "alone.html", "--open",
                  env={**os.environ, "PATH": "/nonexistent"})
    assert done.returncode == 1 and done.stdout == "alone.html\n"
    assert "there is no xdg-open" in done.stderr and "alone.html" in done.stderr
    assert (compared / "alone.html").stat().st_size > 0


def test_a_sweep_is_not_compared(compared):
    (compared / "sweep.ini").write_text(CONFIG + "[sweep]\nseeds = 1\n")
    subprocess.run([os.environ["COLONNADE"], "sweep", "sweep.ini", "--out", "sweep.h5", "--quiet"],
                   check=True, cwd=compared)
    done = report(compared, "first.h5", "sweep.h5", "-o", "none.html")
    assert done.returncode == 2 and "sweep.h5 is a sweep" in done.stderr
    assert not (compared / "none.html").exists()
