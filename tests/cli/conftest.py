"""What the tests of the command line share: the program, configs, and runs of it.

The program is named by the environment variable COLONNADE; without it every test is skipped.
"""
import json
import os
import pathlib
import subprocess

import pytest

CONFIG = """\
[run]
seed = 3
output = {output}

[data]
source = synthetic
shape = 1x12x12
classes = 4
count = 256
validation = 0.25

[train]
epochs = 2
batch = 32
lr = 0.05
momentum = 0.9

[conv1]
type = conv
filters = 8
kernel = 3
padding = same
activation = relu

[pool1]
type = maxpool
kernel = 2

[fc1]
type = dense
units = classes
"""


class Program:
    """The program in a folder of its own."""

    def __init__(self, path, folder):
        self.path = path
        self.folder = folder
        # Tests share their cores with others: threads that wait must not keep one busy.
        self.environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}

    def config(self, name="small.ini", text=CONFIG, output="small.h5"):
        path = self.folder / name
        path.write_text(text.format(output=output))
        return path.name

    def start(self, *arguments):
        return subprocess.Popen([self.path, *map(str, arguments)], cwd=self.folder, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment)

    def run(self, *arguments, status=0, env=None):
        result = subprocess.run([self.path, *map(str, arguments)], cwd=self.folder, text=True,
                                capture_output=True, timeout=120, env=env or self.environment)
        assert result.returncode == status, result.stdout + result.stderr
        return result

    def json(self, *arguments, status=0):
        """Standard output, every line of which must be a JSON object."""
        def no_constant(name):
            raise ValueError(f"{name} is no JSON")
        lines = self.run(*arguments, "--json", status=status).stdout.splitlines()
        objects = [json.loads(line, parse_constant=no_constant) for line in lines]
        assert all(isinstance(item, dict) for item in objects)
        return objects


@pytest.fixture
def program(tmp_path):
    path = os.environ.get("COLONNADE")
    if not path:
        pytest.skip("COLONNADE names no program to test")
    return Program(str(pathlib.Path(path).resolve()), tmp_path)


@pytest.fixture
def trained(program):
    """The program, with small.ini trained into small.h5."""
    program.run("train", program.config(), "--quiet")
    return program
