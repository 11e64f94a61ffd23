"""Makes what makes `manifests/monitoring` and the support of these tests importable."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
_TESTS = REPOSITORY / "tests"
sys.path[:0] = [str(REPOSITORY / "manifests" / "monitoring"), str(_TESTS / "monitoring"), str(_TESTS / "manifests")]

Promtool = Callable[..., str]


@pytest.fixture(scope="session")
def monitoring() -> Path:
    """The folder of what is tested here."""
    return REPOSITORY / "manifests" / "monitoring"
