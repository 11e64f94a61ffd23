"""Runs the environments that hold Keras and alibi-detect; Wayside's own tests need neither.

Invariant: what a test needs and does not find is told in one line; where CI insists on it the test fails.
"""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python_of(name: str) -> Path:
    """The python of `.venvs/NAME`; skips without it, and fails with WAYSIDE_TEST_REQUIRE_NAME=1."""
    python = ROOT / ".venvs" / name / "bin" / "python"
    if not python.exists():
        missing = pytest.fail if os.environ.get(f"WAYSIDE_TEST_REQUIRE_{name.upper()}") == "1" else pytest.skip
        missing(f"no .venvs/{name}: run scripts/setup --with-{name}")
    return python


def run_python(name: str, script: Path, *arguments: object, **environment: str) -> str:
    """What a script prints there; fails the test with what it said where it fails. At most two minutes."""
    command = [str(python_of(name)), str(script), *map(str, arguments)]
    variables = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=variables)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
