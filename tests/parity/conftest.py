"""Where the program is: the environment variable COLONNADE names it. Without it, or without
PyTorch, the tests of parity are skipped."""
import os
import pathlib

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def colonnade():
    path = os.environ.get("COLONNADE")
    if not path:
        pytest.skip("COLONNADE names no program to test")
    return str(pathlib.Path(path).resolve())
