"""What all tests share: the addresses of real services, which `scripts/test --services` gives, and promtool.

Invariant: a test that needs a service is marked `services`, and where CI insists on services it never skips.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HOW = "run scripts/test --services, which starts it"


@pytest.fixture(scope="session")
def service() -> Callable[[str], str]:
    """The address of a service by the name after WAYSIDE_TEST_: `service("KAFKA")`, `service("PROMETHEUS_DIR")`.

    Skips the test where the environment gives none, and fails it where WAYSIDE_TEST_REQUIRE_SERVICES=1.
    """

    def address_of(name: str) -> str:
        address = os.environ.get(f"WAYSIDE_TEST_{name}", "")
        if not address and os.environ.get("WAYSIDE_TEST_REQUIRE_SERVICES") == "1":
            pytest.fail(f"WAYSIDE_TEST_{name} is not set: {HOW}")
        if not address:
            pytest.skip(f"no WAYSIDE_TEST_{name}: {HOW}")
        return address

    return address_of


@pytest.fixture(scope="session")
def promtool() -> Callable[..., str]:
    """`promtool(*arguments, text="")` returns what it printed; the test fails where promtool finds fault.

    Skips where it is not installed, and fails there with WAYSIDE_TEST_REQUIRE_SERVICES=1.
    """
    program = shutil.which("promtool")
    if program is None:
        missing = pytest.fail if os.environ.get("WAYSIDE_TEST_REQUIRE_SERVICES") == "1" else pytest.skip
        missing("no promtool: install Debian's package prometheus")

    def run(*arguments: str | Path, text: str = "") -> str:
        done = subprocess.run([program, *arguments], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.hookimpl(tryfirst=True)  # before `-m` selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for a service, so that `-m services` and `-m "not services"` miss none."""
    for item in items:
        if "service" in getattr(item, "fixturenames", ()):
            item.add_marker("services")
