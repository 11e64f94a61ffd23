"""Makes the launcher importable to the tests of this folder, and lends them small real services to launch."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "services"))

from service_launcher.workspace import Workspace  # found by the line above


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "launch", tmp_path / "cache", limit_s=10.0)
