"""Makes what makes `manifests/monitoring` and the support of these tests importable, and lends promtool."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
sys.path[:0] = [str(REPOSITORY / "manifests" / "monitoring"), str(Path(__file__).parent)]

Promtool = Callable[..., str]


@pytest.fixture(scope="session")
def monitoring() -> Path:
    """The folder of what is tested here."""
    return REPOSITORY / "manifests" / "monitoring"


@pytest.fixture(scope="session")
def promtool() -> Promtool:
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
