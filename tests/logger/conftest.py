"""Makes `logger_stage.py` importable to the tests of this folder, and sets its stage."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from logger_stage import Stage, staged  # found by the line above


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as made:
        yield made
