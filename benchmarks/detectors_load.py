"""The detectors' load: real rows as binary CloudEvents with V1 bodies, posted by wrk over connections that are kept.

Invariant: every server is sent the same bytes, and an event that is refused or gets no answer ends the benchmark.
"""

import json
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from detectors_data import Matrix
from logger_load import Load, parse_wrk

CONNECTIONS = 32
BODIES = {1: 2000, 256: 40}  # rows of an event, and how many different bodies of so many rows there are
_DIGITS = 6
_SCRIPT = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True, slots=True)
class Bodies:
    """A file of bodies, one a line, each with so many rows."""

    file: Path
    rows: int

    def first(self) -> bytes:
        with self.file.open("rb") as lines:
            return lines.readline().strip()


def write_bodies(rows: Matrix, folder: Path) -> list[Bodies]:
    """A file for each size of event, the rows taken in turn."""
    return [_write(rows, size, count, folder / f"bodies-{size}.jsonl") for size, count in BODIES.items()]


def _write(rows: Matrix, size: int, count: int, file: Path) -> Bodies:
    events = np.resize(rows, (count, size, rows.shape[1])).round(_DIGITS).tolist()
    file.write_text("".join(json.dumps({"instances": event}) + "\n" for event in events))
    return Bodies(file, size)


def post(port: int, bodies: Bodies, seconds: float) -> Load:
    """Post for so long, each connection as fast as it is answered."""
    wrk = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "60s", "--latency")
    where = ("-s", str(_SCRIPT), f"http://127.0.0.1:{port}", "--", str(bodies.file), uuid.uuid4().hex[:12])
    load = parse_wrk(subprocess.run((*wrk, *where), check=True, capture_output=True, text=True).stdout)
    if load.refused or load.broken:
        raise SystemExit(
            f"bench: {load.refused} events were refused and {load.broken} got no answer, of {load.requests}"
        )
    return load
