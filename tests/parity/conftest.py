"""Where the program is: the environment variable COLONNADE names it. Without it these tests are
skipped."""
import os
import pathlib

import pytest


@pytest.fixture(scope="session")
def colonnade():
    path = os.environ.get("COLONNADE")
    if not path:
        pytest.skip("COLONNADE names no program to test")
    return str(pathlib.Path(path).resolve())
