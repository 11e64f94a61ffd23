"""Which column of a file looks like the times of its rows, where nobody named one.

Invariant: it reads one row, of a file that was read before, and only to advise: no value comes from here.
"""

import csv
from collections.abc import Container, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from wayside.detectors.data.tables.builder import is_time
from wayside.detectors.data.tables.json_lines import first_object

_NAMES = ("time", "timestamp")  # of columns that hold seconds since the epoch


def time_like(path: Path, features: Container[str]) -> str | None:
    """The first column that is none of the features and whose first cell is a time, or that is called so; None where
    there is none."""
    cells = _first_row(path)
    return next((name for name, cell in cells.items() if name not in features and _is_like(name, cell)), None)


def _is_like(name: str, cell: Any) -> bool:
    return isinstance(cell, datetime) or name.lower() in _NAMES or (isinstance(cell, str) and is_time(cell.strip()))


def _first_row(path: Path) -> Mapping[str, Any]:
    """The cells of the first row by their columns; empty where columns have no names."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = (line for line in csv.reader(file) if line)
            return dict(zip((name.strip() for name in next(lines, ())), next(lines, ()), strict=False))
    if path.suffix in (".jsonl", ".ndjson"):
        return first_object(path)
    if path.suffix == ".parquet":
        from wayside.detectors.data.tables.parquet_file import first_row  # needs the extra `parquet`

        return first_row(path)
    return {}
