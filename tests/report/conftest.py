"""The browser, if there is one, for all tests of pages."""
import pytest

import browser as chromium


@pytest.fixture(scope="session")
def browser():
    program = chromium.find()
    if not program:
        pytest.skip("chromium is not installed")
    running = chromium.Browser(program)
    yield running
    running.close()
