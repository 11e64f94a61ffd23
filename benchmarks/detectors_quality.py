"""Detection quality: KDDCup99 as alibi-detect's notebooks, ADBench beside PyOD, false alarms asked for and measured."""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import detectors_adbench
import detectors_alarms
import detectors_kdd
from detectors_data import SHARED, Labelled, absent, adbench_files, read_kdd
from detectors_document import Grid, write
from detectors_pyod import MODELS
from detectors_scorers import beside_pyod, row_kinds, run_scorers
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PARTS = ("kdd", "adbench", "alarms")
_WIDTH = 150  # characters, where no terminal tells


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is measured: fits of KDDCup99, splits of each of ADBench's tables, splits for false alarms."""

    kdd_seeds: int = 3
    adbench_seeds: int = 2
    alarm_splits: int = detectors_alarms.SPLITS


QUICK = Depth(1, 1, 20)


def main() -> None:
    arguments = _parser().parse_args()
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, _WIDTH)
    for line in absent(arguments.data):
        console.print(line)
    kinds = arguments.kinds or row_kinds(arguments.neural)
    quality = Quality(arguments.data, kinds, QUICK if arguments.quick else Depth(), console)
    parts: Mapping[str, Callable[[], Mapping[str, Grid]]] = {
        "kdd": quality.kdd,
        "adbench": quality.adbench,
        "alarms": quality.alarms,
    }
    start_s = time.monotonic()
    for name in arguments.only or PARTS:
        grids = parts[name]()
        for title, grid in grids.items():
            console.print(grid.drawn(title))
        if arguments.write and grids:
            write(grids)
    console.print(f"{time.monotonic() - start_s:,.0f} s")


class Quality:
    """The three measurements. Each gives grids by the names that they have in docs/detectors.md."""

    def __init__(self, data: Path, kinds: Sequence[str], depth: Depth, console: Console) -> None:
        self._data = data
        self._kinds = kinds
        self._depth = depth
        self._console = console

    def kdd(self) -> Mapping[str, Grid]:
        kdd = read_kdd(self._data)
        if kdd is None:
            return {}
        with self._stage() as (folder, progress):
            splits, out = folder / "splits", folder / "scores"
            detectors_kdd.write_splits(kdd, self._depth.kdd_seeds, splits)
            scores = {
                path.name: run_scorers(detectors_kdd.scorers(self._kinds, path.name), path, out, progress)
                for path in sorted(splits.iterdir())
            }
            self._tell([line for found in scores.values() for line in found.failures])
            return {"kdd": detectors_kdd.grid(self._kinds, splits, scores)}

    def adbench(self) -> Mapping[str, Grid]:
        tables = self._tables()
        if not tables:
            return {}
        with self._stage() as (folder, progress):
            splits, out = folder / "splits", folder / "scores"
            splits.mkdir()
            detectors_adbench.write_splits(tables, self._depth.adbench_seeds, splits)
            kinds = [kind for kind in self._kinds if kind in MODELS]
            scores = run_scorers(beside_pyod(kinds), splits, out, progress)
            self._tell(scores.failures)
            compared = detectors_adbench.Comparison(splits, kinds, scores)
            return {"adbench": compared.means(), "adbench-tables": compared.by_table()}

    def alarms(self) -> Mapping[str, Grid]:
        kdd = read_kdd(self._data)
        tables = [*self._tables(), *([] if kdd is None else [kdd])]
        kinds = [kind for kind in detectors_alarms.KINDS if kind in self._kinds]
        with self._stage() as (_, progress):
            found = list(detectors_alarms.measure(tables, kinds, self._depth.alarm_splits, progress))
        return {"alarms": detectors_alarms.grid(found)} if found else {}

    def _tables(self) -> list[Labelled]:
        return [Labelled.read(path) for path in adbench_files(self._data)]

    def _tell(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._console.print(line)

    @contextmanager
    def _stage(self) -> Iterator[tuple[Path, Progress]]:
        """A folder for as long as it takes, and bars that say how far it is."""
        columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
        with (
            tempfile.TemporaryDirectory(prefix="wayside-bench-") as folder,
            Progress(*columns, console=self._console, transient=True) as progress,
        ):
            yield Path(folder), progress


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=SHARED, metavar="DIR", help="where the data is (default: ../shared/data)")
    add("--only", nargs="+", choices=PARTS, help="these parts (default: all)")
    add("--kinds", nargs="+", metavar="KIND", help="these kinds (default: all that fit on rows)")
    add("--neural", action=argparse.BooleanOptionalAction, default=True, help="autoencoder and vae too (default: yes)")
    add("--quick", action="store_true", help="few seeds and splits: to see that it runs")
    add("--write", action="store_true", help="put the tables into docs/detectors.md")
    return parser


if __name__ == "__main__":
    main()
