"""Makes `page_seed.py` importable to the tests of this folder, and gives them a page that runs."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from page_seed import Loop, open_loop


@pytest.fixture
async def loop(tmp_path: Path) -> AsyncIterator[Loop]:
    """Records, ledger, admin ports and the page itself, all real and all empty."""
    async with open_loop(tmp_path) as opened:
        yield opened
