"""What drift tests see of real drift beside alibi-detect's, at one true level: power, and delay in rows."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np
from detectors_data import SHARED
from detectors_document import Grid, write
from drift_budget import DOCUMENT
from drift_data import Drifted, drifted_streams
from drift_power import (
    ALIBI_REFERENCE_ROWS,
    LEVEL,
    PEERS,
    REFERENCE_ROWS,
    WINDOW,
    Depth,
    Found,
    ours,
    summarise,
    theirs,
    trials,
)
from rich.console import Console

from wayside.detectors.kinds.registry import WINDOW_KINDS

KINDS = ("ks", "cvm", "mmd", "lsdd", "classifier", "cusum", "cvm-online", "mmd-online")
_DEAR = ("MMDDrift", "ClassifierDrift")  # a second a window
_COLUMNS = ("stream, test", "reference", "power", "delay, rows", "windows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/drift.md")
    parser.add_argument("--quick", action="store_true", help="few draws and windows")
    parser.add_argument("--data", type=Path, default=SHARED, metavar="DIR", help="(default: ../shared/data)")
    arguments = parser.parse_args()
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, 120)
    start_s = time.monotonic()
    streams = drifted_streams(arguments.data)
    if not streams:
        console.print(f"there are no rows of streams that drift in {arguments.data}: nothing is measured")
        return
    depth = Depth(3, 40, 20) if arguments.quick else Depth()
    lines = [line for stream in streams for line in _lines(stream, depth)]
    note = (
        f"Power at a true level of {LEVEL:g} a window of {WINDOW} rows, and rows from the change to the first alarm"
        " (median)."
        f" alibi-detect's tests hold {ALIBI_REFERENCE_ROWS} reference rows, and ours beside them too; ours alone"
        f" {REFERENCE_ROWS}."
    )
    grid = Grid(_COLUMNS, tuple(lines), note)
    console.print(grid.drawn("drift-power"))
    if arguments.write:
        write({"drift-power": grid}, DOCUMENT)
    console.print(f"{time.monotonic() - start_s:,.0f} s")


def _lines(stream: Drifted, depth: Depth) -> Iterator[tuple[str, ...]]:
    for kind in KINDS:
        if kind not in WINDOW_KINDS:
            continue
        peer = PEERS.get(kind)
        small = Depth(min(depth.draws, 4), min(depth.calm, 60), min(depth.drifted, 25)) if peer in _DEAR else depth
        for size in (ALIBI_REFERENCE_ROWS, REFERENCE_ROWS):
            used = small if size == ALIBI_REFERENCE_ROWS else depth
            found = list(trials(stream, used, size))
            try:
                said = [ours(kind, trial) for trial in found]
            except Exception as exc:  # a reference that this kind refuses: told in the table
                yield (f"{stream.name}, {kind}", str(size), f"refused: {exc}"[:60], "-", "-")
            else:
                yield _line(f"{stream.name}, {kind}", size, summarise(said, used.calm))
        if peer is not None:
            yield from _peer_line(stream, peer, small)


def _peer_line(stream: Drifted, peer: str, depth: Depth) -> Iterator[tuple[str, ...]]:
    with tempfile.TemporaryDirectory(prefix="wayside-bench-") as folder:
        said = theirs(peer, list(trials(stream, depth, ALIBI_REFERENCE_ROWS)), Path(folder) / "trials")
    if said is not None:
        yield _line(f"{stream.name}, alibi-detect {peer}", ALIBI_REFERENCE_ROWS, summarise(said, depth.calm))


def _line(name: str, size: int, found: Found) -> tuple[str, ...]:
    return (name, f"{size:,}", f"{found.power:.2f}", f"{found.delay_rows:,.0f}", f"{found.windows:,}")


if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main())
