"""JSON Schemas (draft 2020-12) of what Wayside tells: the data of its verdicts, and of its alerts.

Invariant: what `verdict`, `window_verdict` and `alert` make is valid by them; members may be added, so others are
allowed.
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

NAMES = ("outlier", "adversarial", "drift", "alert")


def schema(name: str) -> Mapping[str, Any]:
    """The schema of one of `NAMES`, read from the package. Raises `ValueError` for any other name."""
    if name not in NAMES:
        raise ValueError(f"there is no schema {name!r}: choose one of {', '.join(NAMES)}")
    loaded: Mapping[str, Any] = json.loads(files(__name__).joinpath(f"{name}.json").read_text("utf-8"))
    return loaded
