"""The embedded broker: durable events/s in, deliveries/s out, memory, backlogs; figures beside their targets."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from broker_cases import FULL, Cases, Sizes
from broker_load import CONNECTIONS, DATA_BYTES, sender
from broker_programs import Ports
from broker_table import Row, table
from rich.console import Console

_CORES = 2
_WIDTH = 110  # characters, where no terminal tells


def main() -> None:
    arguments = _parser().parse_args()
    cores = _take_cores()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="bench-broker-") as folder:
        cases = Cases(Path(folder), Ports(arguments.ports), FULL if arguments.full else Sizes())
        rows = _measure(cases, arguments.only)
    title = f"{cores} cores for all, {CONNECTIONS} connections, {DATA_BYTES} B of data; load by {sender()}"
    console = Console()
    console.width = max(console.width, _WIDTH)
    console.print(table(title, rows))


def _take_cores() -> int:
    """Two cores for this process and whatever it starts."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _measure(cases: Cases, only: list[str] | None) -> list[Row]:
    rows: list[Row] = []
    named = {case.__name__: case for case in cases.all()}
    if unknown := set(only or ()) - set(named):
        raise SystemExit(f"bench: no case {', '.join(sorted(unknown))}; there are {', '.join(named)}")
    for case in (named[name] for name in only or named):
        began_s = time.monotonic()
        rows += case()
        print(f"[{time.monotonic() - began_s:5.0f} s] {case.__doc__}", file=sys.stderr, flush=True)
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--full", action="store_true", help="500 000 events through, a backlog of 1 000 000: about ten minutes")
    add("--only", action="append", metavar="CASE", help="such as door_alone or memory; may be repeated")
    add("--folder", type=Path, default=Path(".state"), help="stores are made in here (default: .state)")
    add("--ports", type=int, default=18610, help="the first of four that are free (default: 18610)")
    return parser


if __name__ == "__main__":
    main()
