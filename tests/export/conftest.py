"""What the tests of exports share: trained runs of every network, once, and their exports.

The program is named by the environment variable COLONNADE; without it every test is skipped.
"""
import functools
import os
import pathlib
import random
import subprocess
import sys

import numpy
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "parity"))

from graphs import Graph
from networks import CONFIGS, NETWORKS, ROOT

SEEDS = range(12)  # of random graphs

DATA = """\
[data]
source = synthetic
shape = {0}x{1}x{2}
classes = {classes}
count = 62
"""
TRAIN = """\
[train]
epochs = 1
batch = 16
max_steps = 3
lr = 0.01
optimizer = sgd
momentum = 0.9
"""


class Exporter:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def colonnade(self, *arguments, status=0):
        result = subprocess.run([self.program, *map(str, arguments)], cwd=self.folder, text=True,
                                capture_output=True, timeout=300)
        assert status is None or result.returncode == status, result.stdout + result.stderr
        return result

    def train(self, name):
        """The run file of a network by its name: trained for some steps, so that no weight and no
        statistic is what it was at first."""
        run = self.folder / f"{name}.h5"
        if run.exists():
            return run
        if name in CONFIGS:
            few = ["--set", "data.count=48", "--set", "train.batch=8", "--set", "train.max_steps=2",
                   "--set", "train.epochs=1"]
            self.colonnade("train", ROOT / "configs" / CONFIGS[name], *few, "--out", run, "-q")
            return run
        if name in NETWORKS:
            shape, classes, nodes = NETWORKS[name]
            text = TRAIN + nodes
        else:
            seed = int(name.removeprefix("random"))
            case = Graph(random.Random(seed)).case(seed)
            shape, classes, text = case.shape, case.classes, case.text()
        config = self.folder / f"{name}.ini"
        config.write_text(DATA.format(*shape, classes=classes) + text)
        self.colonnade("train", config, "--out", run, "-q")
        return run

    def export(self, name, kind, suffix=None):
        """A network's run file and its export."""
        run, file = self.train(name), self.folder / kind / f"{name}.{suffix or kind}"
        if not file.exists():
            self.colonnade("export", run, "--format", kind, "-o", file)
        return run, file


@pytest.fixture(scope="session")
def exporter(tmp_path_factory):
    path = os.environ.get("COLONNADE")
    if not path:
        pytest.skip("COLONNADE names no program to test")
    return Exporter(str(pathlib.Path(path).resolve()), tmp_path_factory.mktemp("export"))


class OtherPython:
    """An interpreter that may have what Debian's has not: COLONNADE_PYTHON_EXPORT, or this one."""

    def __init__(self, folder):
        self.path = os.environ.get("COLONNADE_PYTHON_EXPORT") or sys.executable
        self.folder = folder

    @functools.cache
    def has(self, module):
        return subprocess.run([self.path, "-c", f"import {module}"], capture_output=True,
                              cwd=self.folder, timeout=120).returncode == 0

    def need(self, module):
        if not self.has(module):
            pytest.skip(f"{self.path} has no {module} (COLONNADE_PYTHON_EXPORT names another)")

    def __call__(self, module, program, file, pixels):
        """What the program, given the paths of file, inputs and outputs, saves as outputs."""
        self.need(module)
        inputs, outputs = self.folder / "inputs.npy", self.folder / "outputs.npy"
        numpy.save(inputs, pixels)
        outputs.unlink(missing_ok=True)
        result = subprocess.run([self.path, "-c", program, file, inputs, outputs], text=True,
                                capture_output=True, timeout=300)
        assert result.returncode == 0, result.stdout + result.stderr
        return numpy.load(outputs)


@pytest.fixture(scope="session")
def other_python(tmp_path_factory):
    return OtherPython(tmp_path_factory.mktemp("python"))


def pytest_generate_tests(metafunc):
    if "network" in metafunc.fixturenames:
        names = [*NETWORKS, *(f"random{seed}" for seed in SEEDS)]
        metafunc.parametrize("network", names)
    if "standard" in metafunc.fixturenames:
        metafunc.parametrize("standard", CONFIGS)
