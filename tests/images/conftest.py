"""Images made with Pillow, and image_read() on them."""

import os
import resource
import subprocess

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="python3-pil is missing")

READ_IMAGE = os.environ["READ_IMAGE"]
ADDRESS_SPACE = 3 << 30  # of a reading process: less than three times the largest image, decoded


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))


def options():
    """The shadow of a sanitizer takes more address space than any limit."""
    with open(READ_IMAGE, "rb") as file:
        return {} if b"__asan_init" in file.read() else {"preexec_fn": limit_memory}


class Reader:
    """image_read() of files that stand in one folder, in a process that goes on."""

    def __init__(self, folder, log):
        self.folder = os.fsencode(folder)
        self.log = log
        self.process = subprocess.Popen([READ_IMAGE], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=open(log, "wb"),
                                        **options())

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        assert open(self.log, "rb").read() == b""  # it is for nobody to print

    def path(self, name):
        return os.path.join(self.folder, os.fsencode(name))

    def read(self, name, c, h, w, fit):
        """(pixels, facts), or (None, message)."""
        request = b"%d %d %d %s " % (c, h, w, fit.encode()) + self.path(name) + b"\n"
        self.process.stdin.write(request)
        self.process.stdin.flush()
        line = os.fsdecode(self.process.stdout.readline()).rstrip("\n")
        assert line, "the process has ended"
        if line.startswith("error: "):
            return None, line[len("error: "):]
        pixels = np.frombuffer(self.process.stdout.read(c * h * w), np.uint8).reshape(h, w, c)
        return pixels.astype(int), tuple(map(int, line.split()))

    def pixels(self, name, c, h, w, fit="crop"):
        pixels, facts = self.read(name, c, h, w, fit)
        assert pixels is not None, facts
        return pixels

    def facts(self, name):
        return self.read(name, 1, 1, 1, "crop")[1]

    def error(self, name):
        pixels, message = self.read(name, 3, 32, 32, "crop")
        assert pixels is None
        path = os.fsdecode(self.path(name))
        assert message.startswith(path + ": "), message
        return message[len(path) + 2:]

    def save(self, name, array, **options):
        """An array by Pillow, in the format that the name says."""
        Image.fromarray(np.ascontiguousarray(array)).save(self.path(name).decode(), **options)

    def write(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    reader = Reader(tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("log") / "log")
    yield reader
    reader.close()


@pytest.fixture
def reader(running, tmp_path):
    running.folder = os.fsencode(tmp_path)
    return running
