"""False alarms of drift tests against their budget, on real rows without drift, a reference redrawn for each stream."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np
from detectors_data import SHARED
from detectors_document import Grid, write
from drift_cases import PARTS, Run
from drift_data import POPULATIONS, Population, mnist_by_hour
from drift_hours import run_hours
from drift_null import Counts, run_stream, run_weeks
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from wayside.detectors.kinds.registry import WINDOW_KINDS

DOCUMENT = Path(__file__).parents[1] / "docs" / "drift.md"
_COLUMNS = ("test", "rows", "window", "reference", "streams by windows", "median", "95 %", "mean", "any feature", "")
_MEDIAN, _HIGH = (0.5, 1.2), 2.0
_AT_A_TIME = 2
_HOURS = "hours"  # a population by the hour, of which no other test is told
_QUICK = 10  # of so many streams, and windows, one


def main() -> None:
    arguments = _parser().parse_args()
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, 150)
    start_s = time.monotonic()
    for part in arguments.only or PARTS:
        runs = [_shortened(run) if arguments.quick else run for run in PARTS[part]]
        runs = [run for run in runs if _can_run(run, arguments.data, console)]
        grid = _grid(runs, measure(runs, arguments.data))
        console.print(grid.drawn(f"drift-{part}"))
        if arguments.write:
            write({f"drift-{part}": grid}, DOCUMENT)
    console.print(f"{time.monotonic() - start_s:,.0f} s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", choices=list(PARTS), help="parts to measure (default: all)")
    add("--quick", action="store_true", help="a tenth of the streams and of the windows")
    add("--write", action="store_true", help="put the tables into docs/drift.md")
    add("--data", type=Path, default=SHARED, metavar="DIR", help="the real rows (default: ../shared/data)")
    return parser


def _shortened(run: Run) -> Run:
    return Run(run.case, max(4, run.streams // _QUICK), max(100, run.windows // _QUICK), -(-run.weeks // _QUICK))


def _can_run(run: Run, data: Path, console: Console) -> bool:
    if run.case.kind not in WINDOW_KINDS:
        console.print(f"there is no kind {run.case.kind}: it is not measured")
        return False
    if (mnist_by_hour(data) if run.case.population == _HOURS else _population(run.case.population, data)) is None:
        console.print(f"the rows of {run.case.population} are not in {data}: {run.case.kind} is not measured on them")
        return False
    return True


@lru_cache(maxsize=2)
def _population(name: str, data: Path) -> Population | None:
    return POPULATIONS[name](data)


def measure(runs: Sequence[Run], data: Path) -> Mapping[int, list[Counts]]:
    """All streams of all runs, a process a core; a stream follows from its number."""
    found: dict[int, list[Counts]] = {at: [] for at in range(len(runs))}
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with ProcessPoolExecutor(_AT_A_TIME, get_context("spawn")) as pool, Progress(*columns) as progress:
        bar = progress.add_task("streams", total=sum(run.streams for run in runs))
        waiting = {}
        for at, run in enumerate(runs):
            for seeds in _shares(run.streams):
                waiting[pool.submit(_streams, run, data, seeds)] = at
        for done in as_completed(waiting):
            found[waiting[done]] += done.result()
            progress.advance(bar, len(done.result()))
    return found


def _shares(streams: int) -> Iterator[range]:
    for first in range(0, streams, 10):
        yield range(first, min(streams, first + 10))


def _streams(run: Run, data: Path, seeds: range) -> list[Counts]:
    if run.case.population == _HOURS:
        return [run_hours(run.case, data, seed, run.windows) for seed in seeds]
    population = _population(run.case.population, data)
    assert population is not None, "looked at before"
    if run.weeks:
        return [run_weeks(run.case, population, seed, run.weeks, run.windows) for seed in seeds]
    return [run_stream(run.case, population, seed, run.windows) for seed in seeds]


def _grid(runs: Sequence[Run], found: Mapping[int, list[Counts]]) -> Grid:
    note = (
        "False alarms for each that the budget allows: median, 95th percentile and mean over streams, each with its own"
        " reference. 'any feature': the share of the same windows in which some column has p ≤ 0.05."
    )
    return Grid(_COLUMNS, tuple(_line(run, found[at]) for at, run in enumerate(runs)), note)


def _line(run: Run, counts: Sequence[Counts]) -> tuple[str, ...]:
    ratios = np.array([each.ratio for each in counts])
    median, high = float(np.median(ratios)), float(np.percentile(ratios, 95))
    if len(ratios) * counts[0].expected < 100:  # too few in each stream for a median to say anything
        median = high = float(ratios.sum() / len(ratios))
    any_feature = sum(each.any_feature for each in counts) / sum(each.windows for each in counts)
    case = run.case
    rows = case.population if case.block == 1 else f"{case.population}, blocks of {case.block}"
    much = f"{run.streams} by {run.weeks} weeks" if run.weeks else f"{run.streams} by {run.windows}"
    kept = (
        "met"
        if _MEDIAN[0] <= median <= _MEDIAN[1] and high <= _HIGH
        else "fewer"
        if high <= _HIGH and median < 1
        else "SHORT"
    )
    figures = (f"{median:.2f}", f"{high:.2f}", f"{ratios.mean():.2f}", "-" if any_feature < 0 else f"{any_feature:.0%}")
    return (case.words, rows, str(case.window), f"{case.ratio} windows", much, *figures, kept)


if __name__ == "__main__":
    sys.exit(main())
