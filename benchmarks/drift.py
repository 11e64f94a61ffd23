"""Drift detectors in process and served, beside alibi-detect and adserver (ADSERVER names its checkout), in one run."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np
from detectors import _checkout, _free_ports
from detectors_data import SHARED, Matrix, read_kdd
from detectors_document import Grid, write
from detectors_load import Bodies, write_bodies
from detectors_programs import ADSERVER_PYTHON, Server, serving
from drift_budget import DOCUMENT
from drift_inprocess import detector_of, held_share, test_ms, windowed_rate
from drift_served import counting, ours, post_in_time, theirs, windows_of
from logger_load import Load
from logger_tables import Row, Target, named_once, summary
from rich.console import Console

_FIT_SCRIPT = Path(__file__).with_name("drift_adserver_fit.py")
_ROWS, _REFERENCE = 60_000, 20_000
_WINDOW = "1000"
_KEYS = 4
_IN_PROCESS = ("ks", "cvm", "tabular")
_ALIBI_MMD_S = 3.746  # where it is not measured: from ../shared/contracts
_ADSERVER_KS = Load(1140 * 100, 100.0, 24, 58), Load(95 * 100, 100.0, 302, 533)  # the same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, default=SHARED, metavar="DIR", help="where the data is (default: ../shared/data)")
    add("--seconds", type=float, default=8.0, help="of each load (default: 8)")
    add("--write", action="store_true", help="put the table into docs/drift.md")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        print("no wrk: apt-get install wrk", file=sys.stderr)
        return 2
    kdd = read_kdd(arguments.data)
    if kdd is None:
        print(f"there is no KDDCup99 in {arguments.data}: nothing is measured (see --data)")
        return 0
    rows = kdd.ordinary[np.random.default_rng(0).permutation(len(kdd.ordinary))[:_ROWS]]
    with tempfile.TemporaryDirectory(prefix="wayside-bench-") as folder:
        Benchmark(rows, Path(folder), arguments.seconds).run(arguments.write)
    return 0


class Benchmark:
    """One run, on KDDCup99's ordinary connections."""

    def __init__(self, rows: Matrix, folder: Path, seconds: float) -> None:
        self._rows, self._folder, self._seconds = rows, folder, seconds
        self._console = Console(markup=False, highlight=False)
        self._console.width = max(self._console.width, 120)
        self._checkout = _checkout(os.environ.get("ADSERVER", ""))

    def run(self, writes: bool) -> None:
        started_s = time.monotonic()
        self._fit_theirs()
        rows = [*self._in_process(), *self._mmd(), *self._served()]
        note = (
            ""
            if self._checkout
            else "adserver's figures are quoted from another run: set ADSERVER to measure them here."
        )
        columns = ("case", "figure", "Wayside", "alibi-detect, adserver", "ratio", "target", "")
        grid = Grid(columns, tuple(named_once(rows)), note)
        self._console.print(grid.drawn("KDDCup99, 18 features, windows of 1 000 rows, reference of 20 000"))
        self._console.print(f"{summary(rows)}\n{time.monotonic() - started_s:,.0f} s")
        if writes:
            write({"drift-speed": grid}, DOCUMENT)

    def _in_process(self) -> list[Row]:
        found = []
        for kind in _IN_PROCESS:
            detector = detector_of(kind, self._rows[:_REFERENCE])
            rate = windowed_rate(detector, self._rows[_REFERENCE:], self._seconds / 2)
            target = Target(500_000, at_least=True, of_ours=True)
            found.append(Row("in process, one thread", f"windows and {kind}, rows/s", rate, None, 0, target))
        held = held_share(self._rows)
        found.append(
            Row("in process, one thread", "bytes held for each of open rows", held, None, 2, Target(2, of_ours=True))
        )
        return found

    def _mmd(self) -> list[Row]:
        reference, window = self._scaled()
        kept = detector_of("mmd", reference)
        permuting = detector_of("mmd", reference[:1000], null="permutation", permutations="100")
        peer_s = self._peer_mmd_s()
        rows = []
        for words, detector, target in (
            ("100 permutations, ms a test", permuting, Target(1 / 30)),
            ("calibrated null, ms a test", kept, Target(1 / 30)),
        ):
            taken_ms = test_ms(detector, window, self._seconds / 4)
            rows.append(Row("MMD, 1 000 rows against 1 000", words, taken_ms, peer_s * 1e3, 1, target))
        return rows

    def _scaled(self) -> tuple[Matrix, Matrix]:
        reference, window = self._rows[:_REFERENCE], self._rows[_REFERENCE : _REFERENCE + 1000]
        deviation = reference.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1.0)
        return (reference - reference.mean(axis=0)) / scale, (window - reference.mean(axis=0)) / scale

    def _served(self) -> list[Row]:
        files = {each.rows: each for each in write_bodies(self._rows[_REFERENCE:], self._folder)}
        mine = self._ours(files)
        other = self._theirs(files)
        rows = []
        for size in sorted(files):
            case = f"ks served, {size} row{'s' if size > 1 else ''} an event"
            bound = Target(100_000, at_least=True, of_ours=True) if size > 1 else None
            rows.append(Row(case, "rows/s", mine[size].rate * size, other[size].rate * size, 0, bound))
            rows.append(Row(case, "events/s", mine[size].rate, other[size].rate))
            rows.append(Row(case, "p50, ms", mine[size].p50_ms, other[size].p50_ms, 1))
            rows.append(Row(case, "p99, ms", mine[size].p99_ms, other[size].p99_ms, 1))
        return rows

    def _ours(self, files: dict[int, Bodies]) -> dict[int, Load]:
        data, artifact = self._folder / "reference.npy", self._folder / "ks-ours"
        np.save(data, self._rows[:_REFERENCE])
        fit = (sys.executable, "-m", "wayside.detectors", "fit", "ks", "--data", str(data), "--window", _WINDOW)
        budget = (
            "--false-alarms",
            "0.01 per window",
            "--lateness",
            "1s",
            "--out",
            str(artifact),
            "--report",
            "none",
        )
        subprocess.run(
            (sys.executable, "-m", "wayside.local", *fit[3:], *budget), check=True, stdout=subprocess.DEVNULL
        )
        loads = {}
        with counting() as verdicts:
            ports = _free_ports()
            server = ours(artifact, self._folder / "state", ports, verdicts.port)
            loads = self._loads(server, files)
            self._console.print(f"{verdicts.count} verdicts were posted")
        return loads

    def _loads(self, server: Server, files: dict[int, Bodies]) -> dict[int, Load]:
        loads: dict[int, Load] = {}
        with serving(server, files[1].first()) as process:
            for run, (size, bodies) in enumerate(sorted(files.items())):
                post_in_time(process.port, bodies, 2, 2 * run + 1, _KEYS)
                loads[size] = post_in_time(process.port, bodies, self._seconds, 2 * run + 2, _KEYS)
            if server.ready_path:
                keys = windows_of(server.ready_port)["keys"]
                self._console.print(
                    "; ".join(f"{key['in_windows']:,} of {key['rows']:,} rows in windows" for key in keys)
                )
        return loads

    def _theirs(self, files: dict[int, Bodies]) -> dict[int, Load]:
        if self._checkout is None:
            return {1: _ADSERVER_KS[0], 256: _ADSERVER_KS[1]}
        return self._loads(theirs(self._checkout, self._folder / "ks", self._folder, _free_ports()[0]), files)

    def _fit_theirs(self) -> None:
        if self._checkout is None:
            return
        self._console.print("fitting alibi-detect's KSDrift and MMDDrift")
        file = self._folder / "rows.npy"
        np.save(file, np.concatenate(self._scaled()))
        done = subprocess.run([ADSERVER_PYTHON, _FIT_SCRIPT, file, self._folder], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"bench: alibi-detect could not be fitted: {done.stderr[-2000:]}")

    def _peer_mmd_s(self) -> float:
        file = self._folder / "mmd.seconds"
        return float(file.read_text()) if file.exists() else _ALIBI_MMD_S


if __name__ == "__main__":
    sys.exit(main())
