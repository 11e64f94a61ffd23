"""The kernel tests' arithmetic by Keras, as it runs on a GPU; here on its processor."""

import json
from pathlib import Path

import pytest

from .keras_processes import run_python

HERE = Path(__file__).parent


@pytest.mark.keras
def test_keras_gives_numpys_statistics() -> None:
    told = run_python("keras", HERE / "keras_kernels.py", HERE / "oracles" / "kernels.npz")
    apart: dict[str, float] = json.loads(told.splitlines()[-1])
    assert len(apart) == 7
    assert max(apart.values()) < 2e-3  # of the classifier, where rows of near scores may change places
    assert max(apart[name] for name in apart if not name.startswith("classifier")) < 1e-5
