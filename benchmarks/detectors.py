"""Detector services beside Seldon's alibi-detect-server (ADSERVER names its checkout), in one run on two cores."""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np
from detectors_artifacts import fitted, forest_of_trees, save_calibrated, vae_of_weights, vae_untrained
from detectors_data import KDD_FEATURES, SHARED, Matrix, read_kdd
from detectors_document import Grid, write
from detectors_inprocess import BARE, DETECTOR, Call, Rates, bare, judge_of, rates
from detectors_inprocess import grid as inprocess_grid
from detectors_load import CONNECTIONS, write_bodies
from detectors_programs import ADSERVER_PYTHON
from detectors_scorers import row_kinds
from detectors_speed import FULL_EVENTS, QUOTED, Served, Speed, grid, rows_of
from logger_tables import Row, Target, summary
from rich.console import Console

from wayside.detectors.artifacts.folder import load_folder
from wayside.detectors.kinds.iforest import ForestOptions, IsolationForest
from wayside.detectors.kinds.protocol import Execution, FitContext, RowDetector
from wayside.detectors.kinds.vae import VaeDetector
from wayside.detectors.networks.detector import SCORE_FILE

KINDS = ("vae", "iforest")
_CORES = 2
_WIDTH = 120  # characters, where no terminal tells
_ROWS = 20_000
_FIT_SCRIPT = Path(__file__).with_name("detectors_adserver_fit.py")


def main() -> int:
    arguments = _parser().parse_args()
    if shutil.which("wrk") is None:
        print("no wrk: apt-get install wrk", file=sys.stderr)
        return 2
    rows = standardised(arguments.data)
    if rows is None:
        print(f"there is no KDDCup99 in {arguments.data}: nothing is measured (see --data)")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    with tempfile.TemporaryDirectory(prefix="wayside-bench-") as folder:
        Benchmark(arguments, rows, Path(folder)).run()
    return 0


def standardised(data: Path) -> Matrix | None:
    """Ordinary connections, scaled, as the notebooks have them; None where there is no data."""
    kdd = read_kdd(data)
    if kdd is None:
        return None
    chosen = kdd.ordinary[np.random.default_rng(0).permutation(len(kdd.ordinary))[:_ROWS]]
    deviation = chosen.std(axis=0)
    scaled: Matrix = (chosen - chosen.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return scaled


class Benchmark:
    """One run. `checkout` is adserver's, None where it is not measured."""

    def __init__(self, arguments: argparse.Namespace, rows: Matrix, folder: Path) -> None:
        self._arguments = arguments
        self._rows = rows
        self._folder = folder
        self._console = Console(markup=False, highlight=False)
        self._console.width = max(self._console.width, _WIDTH)
        self._checkout = _checkout(os.environ.get("ADSERVER", ""))

    def run(self) -> None:
        start_s = time.monotonic()
        artifacts = self._artifacts()
        speed = self._speed()
        ours = {kind: speed.wayside(artifacts[kind]) for kind in KINDS}
        theirs: dict[str, Served] = dict(QUOTED)
        if self._checkout is not None:
            theirs = {kind: speed.adserver(self._checkout, self._folder / kind) for kind in KINDS}
        side_by_side = [row for kind in KINDS for row in rows_of(kind, ours[kind], theirs[kind])]
        self._tell(f"timing every kind in process, of {KDD_FEATURES} features")
        found = rates(self._calls(artifacts), self._rows)
        side_by_side += costs(found)
        self._show(side_by_side, inprocess_grid(found), time.monotonic() - start_s)

    def _artifacts(self) -> dict[str, Path]:
        """Of adserver's weights and trees where it is measured, else of our own."""
        made = self._folder / "artifacts"
        if self._checkout is None:
            forest = IsolationForest.fit(self._rows, ForestOptions(), FitContext())
            detectors: dict[str, RowDetector] = {"vae": vae_untrained(self._rows), "iforest": forest}
        else:
            self._fit_theirs()
            arrays = {kind: dict(np.load(self._folder / f"{kind}.npz")) for kind in KINDS}
            forest = forest_of_trees(arrays["iforest"], self._rows.shape[1])
            self._check(forest, float(arrays["iforest"]["offset"]))
            detectors = {"vae": vae_of_weights(arrays["vae"], self._rows), "iforest": forest}
        return {kind: save_calibrated(kind, detector, self._rows, made) for kind, detector in detectors.items()}

    def _fit_theirs(self) -> None:
        self._tell("fitting alibi-detect's OutlierVAE and IForest")
        file = self._folder / "rows.npy"
        np.save(file, self._rows)
        command = (str(ADSERVER_PYTHON), str(_FIT_SCRIPT), str(file), str(self._folder))
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"bench: alibi-detect could not be fitted: {done.stderr[-2000:]}")

    def _check(self, forest: IsolationForest, offset: float) -> None:
        """Both forests are the same one: alibi-detect's score is ours plus scikit-learn's offset."""
        wanted = np.load(self._folder / "expected.npz")["iforest"]
        gap = float(np.abs(forest.score(self._rows[: len(wanted)]) + offset - wanted).max())
        if gap > 1e-4:
            raise SystemExit(f"bench: the forests differ by {gap:g}: they are not the same")

    def _speed(self) -> Speed:
        events = FULL_EVENTS if self._arguments.full else 0
        ports = _free_ports()
        bodies = write_bodies(self._rows, self._folder)
        return Speed(bodies, ports, self._folder, self._arguments.seconds, events, self._tell)

    def _calls(self, artifacts: dict[str, Path]) -> dict[str, Call]:
        loaded = {kind: load_folder(path) for kind, path in artifacts.items()}
        others = [kind for kind in row_kinds(neural=False) if kind not in loaded]
        calls = {kind: judge_of(artifact) for kind, artifact in loaded.items()}
        calls |= {kind: judge_of(fitted(kind, self._rows)) for kind in others}
        vae = loaded["vae"].state
        alone = {BARE: bare(vae.files[SCORE_FILE]), DETECTOR: VaeDetector.restore(vae, Execution()).score}
        return alone | calls

    def _tell(self, line: str) -> None:
        self._console.print(line)

    def _show(self, side_by_side: list[Row], in_process: Grid, took_s: float) -> None:
        beside = grid(side_by_side, measured=self._checkout is not None)
        self._console.print(beside.drawn(f"{_CORES} cores for all, {CONNECTIONS} connections, KDDCup99"))
        self._console.print(in_process.drawn("one thread"))
        self._tell(f"{summary(side_by_side)}\n{took_s:,.0f} s")
        if self._arguments.write:
            write({"speed": beside, "in-process": in_process})


def costs(found: Rates) -> list[Row]:
    """What our code adds to a call of one row: around the graph, and in all that the service does to it."""
    bound = Target(2, of_ours=True)
    names = {"a score / its graph in onnxruntime": DETECTOR, "a judged row / the same": "vae"}
    each = {figure: found[BARE][1] / found[name][1] for figure, name in names.items()}
    return [Row("vae in process, a row a call", figure, ratio, None, 2, bound) for figure, ratio in each.items()]


def _checkout(named: str) -> Path | None:
    """The checkout that ADSERVER names, None where it names none. Raises `SystemExit` where it cannot be run."""
    if not named:
        return None
    if not (Path(named) / "adserver" / "__main__.py").exists():
        raise SystemExit(f"ADSERVER={named}: name the folder components/alibi-detect-server of a seldon-core checkout")
    if not ADSERVER_PYTHON.exists():
        raise SystemExit("bench: adserver needs an environment: scripts/setup --with-adserver")
    return Path(named).resolve()


def _free_ports() -> tuple[int, int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports[0], ports[1]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=SHARED, metavar="DIR", help="where the data is (default: ../shared/data)")
    add("--seconds", type=float, default=8.0, help="of each load (default: 8)")
    add("--full", action="store_true", help=f"watch the memory over {FULL_EVENTS:,} events")
    add("--write", action="store_true", help="put the tables into docs/detectors.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
