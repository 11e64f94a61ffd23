"""`wayside fit`: fit and calibrate a detector on rows from a file, and say what it can promise.

Invariant: exit status 0 means that the artifact is written whole, and pushed where that was asked for; 1 that it is
written and the push failed; 2 that nothing was written. One line says why.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wayside.detectors.fit import FitReport, FitSettings, Progress, fit_artifact
from wayside.detectors.fit_push import Fitted, PushFailed, check_push_url, push
from wayside.detectors.rows_file import read_rows
from wayside.detectors.runtimes.registry import KINDS, WINDOW_DETECTORS
from wayside.eventing.clock import Clock, SystemClock
from wayside.eventing.command import EXIT_CONFIGURATION, Parser, parse_arguments
from wayside.eventing.errors import ConfigurationError

EXIT_NOT_PUSHED = 1
_PROGRESS_EVERY_S = 2.0
_GOOD_REFERENCE_WINDOWS = 10


@dataclass(frozen=True, slots=True)
class FitCommand:
    """What to fit, on which data, where to write it, and the Pushgateway to tell of it (None for nobody)."""

    kind: str
    data: str
    out: Path
    settings: FitSettings
    push_url: str | None


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> FitCommand:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), argv, environ, "WAYSIDE_FIT")
    default_name = "drift" if arguments.kind in WINDOW_DETECTORS else "outlier"
    settings = FitSettings(
        name=arguments.name or default_name,
        alpha=arguments.alpha,
        holdout=arguments.holdout,
        seed=arguments.seed,
        window=arguments.window,
        k=arguments.k,
    )
    push_url = check_push_url(arguments.push_url) if arguments.push_url else None
    return FitCommand(arguments.kind, arguments.data, arguments.out, settings, push_url)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="wayside fit", description="Fit and calibrate a detector on rows from a file.")
    parser.add_argument("kind", choices=KINDS, help="knn and mahalanobis judge rows, ks judges windows of rows")
    parser.add_argument("--data", required=True, metavar="FILE", help=".npy, .npz[:array] or .csv, one row an instance")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the artifact's folder")
    parser.add_argument("--alpha", type=float, default=0.01, help="false alarms a row, or a window (default: 0.01)")
    parser.add_argument("--holdout", type=float, default=0.5, help="share of rows that calibrate (default: 0.5)")
    parser.add_argument("--seed", type=int, default=0, help="of the random split (default: 0)")
    parser.add_argument("--name", help="the detector's name (default: outlier; drift for ks)")
    parser.add_argument("--window", type=int, default=200, help="rows a window, for ks (default: 200)")
    parser.add_argument("--k", type=int, default=10, help="which neighbour, for knn (default: 10)")
    parser.add_argument("--push-url", metavar="URL", help="a Prometheus Pushgateway that is told what the fit came to")
    return parser


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Fit, write, report, push; returns the exit status."""
    try:
        command = parse(argv, environ)
        fitted = _fit(command, SystemClock())
        fitted.report.artifact.save(command.out)
    except ConfigurationError as exc:
        print(f"wayside fit: {exc}", file=sys.stderr)
        return EXIT_CONFIGURATION
    print("\n".join(describe(fitted.report, command.out)))
    return _push(fitted, command.push_url) if command.push_url else 0


def _fit(command: FitCommand, clock: Clock) -> Fitted:
    rows = read_rows(command.data)
    started_s = clock.monotonic_s()
    report = fit_artifact(command.kind, rows, command.settings, _progress(clock))
    return Fitted(report, clock.monotonic_s() - started_s, clock.time_ns())


def _push(fitted: Fitted, url: str) -> int:
    try:
        push(fitted, url)
    except PushFailed as exc:
        print(f"wayside fit: the artifact is written, but nobody was told of it: {exc}", file=sys.stderr)
        return EXIT_NOT_PUSHED
    print(f"pushed to {url}")
    return 0


def _progress(clock: Clock) -> Progress:
    """A line on stderr every two seconds; none for a fit that is done before."""
    last_s = clock.monotonic_s()

    def show(done: int, total: int) -> None:
        nonlocal last_s
        if clock.monotonic_s() - last_s >= _PROGRESS_EVERY_S:
            last_s = clock.monotonic_s()
            print(f"wayside fit: {done} of {total} calibration rows scored", file=sys.stderr, flush=True)

    return show


def describe(report: FitReport, out: Path) -> list[str]:
    """What was made and what it promises, in lines for people."""
    artifact = report.artifact
    head = (
        f"wrote {out}: {artifact.kind} '{artifact.name}', {artifact.features} features, digest {artifact.digest[:12]}"
    )
    return [head, *(_window_promise(report) if report.interval is None else _row_promise(report))]


def _row_promise(report: FitReport) -> list[str]:
    assert report.interval is not None
    low, high = report.interval.low, report.interval.high
    return [
        f"fitted on {report.fitted_rows} rows, calibrated on {report.calibration_rows} rows held out",
        f"false alarms asked for: {report.artifact.alpha:.3%} of rows; these calibration rows promise"
        f" {low:.3%} to {high:.3%} (90 % interval)",
        f"a row is flagged where its score is above {report.threshold:.6g}",
    ]


def _window_promise(report: FitReport) -> list[str]:
    artifact, windows = report.artifact, report.fitted_rows / (report.artifact.window or 1)
    lines = [
        f"reference of {report.fitted_rows} rows, which is {windows:.1f} windows of {artifact.window} rows",
        f"false alarms asked for: {artifact.alpha:.3%} of windows; the test promises at most that, on average over"
        " references of this size",
    ]
    if windows < _GOOD_REFERENCE_WINDOWS:
        lines.append(
            f"for this one reference the rate may be higher: give {_GOOD_REFERENCE_WINDOWS} windows of rows or more"
        )
    return lines
