"""`wayside fit`: fit and calibrate a detector on rows of files or of logged events, and say what it can promise.

Invariant: exit status 0 means that the artifact is written whole, with its report, and pushed where that was asked for;
1 that it is written and one of these failed; 2 that nothing was written; 130 that it was interrupted. One line says
why.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wayside.detectors.artifacts.folder import check_target, save
from wayside.detectors.data.console import EXIT_INTERRUPTED, OutputFailed, say
from wayside.detectors.data.flags import Data, add_data_flags, data_of, read_data
from wayside.detectors.fitting.fit import FitReport, FitSettings, fit_artifact
from wayside.detectors.fitting.kind_options import describe_kinds, options_of
from wayside.detectors.fitting.progress import shown_progress
from wayside.detectors.fitting.provenance import with_provenance
from wayside.detectors.fitting.push import Fitted, PushFailed, check_push_url, push
from wayside.detectors.fitting.report.document import repeats_of
from wayside.detectors.fitting.report.files import PAGE_FILE, write_report
from wayside.detectors.fitting.window_flags import add_window_flags, check_no_row_flags, check_no_window_flags, plan_of
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.fitting.window_promise import window_promise
from wayside.detectors.kinds.protocol import Device, Execution
from wayside.detectors.kinds.registry import CODE_KINDS, KINDS, WINDOW_KINDS
from wayside.detectors.tabular.preprocessing import Scaling
from wayside.detectors.tabular.table import Table
from wayside.eventing.clock import Clock, SystemClock
from wayside.eventing.command import EXIT_CONFIGURATION, EXIT_FAILED, Parser, parse_arguments
from wayside.eventing.errors import ConfigurationError, MissingExtra, WaysideError

ENVIRONMENT = "WAYSIDE_FIT"
_NO_REPORT = "none"
_OF_WINDOWS = ("keep", "drop")  # of the policies for what is missing
DEFAULT_ALPHA, DEFAULT_HOLDOUT, DEFAULT_TEST_SHARE = 0.01, 0.5, 0.2  # of rows
_MODULES_OF_EXTRAS = {
    "sklearn": "fit",
    "scipy": "detectors",
    "onnx": "fit",
    "keras": "tensorflow",
    "tensorflow": "tensorflow",
}


@dataclass(frozen=True, slots=True)
class FitCommand:
    """What to fit, on which data, where to write it and its report (None for no report), and the Pushgateway to tell of
    it (None for nobody)."""

    kind: str
    data: Data
    out: Path
    settings: FitSettings
    report: Path | None
    push_url: str | None


def parse(argv: Sequence[str], environ: Mapping[str, str], clock: Clock | None = None) -> FitCommand:
    """Raises `ConfigurationError`. Ages such as `7d` are by the clock, the system's if not told otherwise."""
    is_help = any(word in ("-h", "--help") for word in argv)
    arguments = parse_arguments(_parser(is_help), argv, environ, ENVIRONMENT)
    settings = _settings(arguments)
    options_of(arguments.kind, settings.options)
    if (arguments.saved is not None) != (arguments.kind in CODE_KINDS):
        raise ConfigurationError(
            f"--saved DIR names what kind {' or '.join(sorted(CODE_KINDS))} wraps: give both or neither"
        )
    if arguments.missing in _OF_WINDOWS and arguments.kind not in WINDOW_KINDS:
        raise ConfigurationError(f"--missing {arguments.missing} is for kinds that judge windows: impute, or refuse")
    report = None if arguments.report == _NO_REPORT else Path(arguments.report or arguments.out)
    push_url = check_push_url(arguments.push_url) if arguments.push_url else None
    data = data_of(arguments, clock or SystemClock(), allow_missing=arguments.missing != "refuse")
    return FitCommand(arguments.kind, data, arguments.out, settings, report, push_url)


def _settings(arguments: argparse.Namespace) -> FitSettings:
    is_windowed = arguments.kind in WINDOW_KINDS
    (check_no_row_flags if is_windowed else check_no_window_flags)(arguments)
    return FitSettings(
        name=arguments.name or ("drift" if is_windowed else "outlier"),
        alpha=DEFAULT_ALPHA if arguments.alpha is None else arguments.alpha,
        holdout=DEFAULT_HOLDOUT if arguments.holdout is None else arguments.holdout,
        seed=arguments.seed,
        windows=plan_of(arguments) if is_windowed else WindowPlan(),
        scaling=None if arguments.scaling is None else Scaling(arguments.scaling),
        options=dict(_option(text) for text in arguments.set),
        test_share=DEFAULT_TEST_SHARE if arguments.test_share is None else arguments.test_share,
        saved=arguments.saved,
        execution=Execution(
            Device(arguments.device), trust_pickle=arguments.trust_pickle, alibi_python=arguments.alibi_python
        ),
    )


def _parser(with_kinds: bool) -> argparse.ArgumentParser:
    parser = Parser(
        prog="wayside fit",
        description="Fit and calibrate a detector on rows of files, or of logged events.",
        epilog="\n".join(describe_kinds()) if with_kinds else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "kind", choices=KINDS, metavar="KIND", help="what to fit: the kinds are listed below, with their options"
    )
    add_data_flags(parser)
    _add_fit_flags(parser)
    add_window_flags(parser)
    _add_wrap_flags(parser)
    return parser


def _add_fit_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", required=True, type=Path, metavar="DIR", help="the artifact's folder")
    add("--false-alarm-rate", "--alpha", dest="alpha", type=float, metavar="RATE",
        help="false alarms a row (default: 0.01), or a window")  # fmt: skip
    add("--holdout", type=float, metavar="SHARE", help=f"of the rows, calibrates (default: {DEFAULT_HOLDOUT})")
    add("--test-share", type=float, metavar="SHARE", help="of labelled ordinary rows, tests the outcome together with"
        f" the outliers (default: {DEFAULT_TEST_SHARE})")  # fmt: skip
    add("--missing", choices=["impute", "keep", "drop", "refuse"],
        help="of rows: fill in what is missing, now and when scoring (default), or refuse such data; of windows: keep"
        " where the kind takes it (default), drop such rows, or refuse")  # fmt: skip
    add("--scaling", choices=[each.value for each in Scaling], help="of columns (default: the kind's own)")
    add("--seed", type=int, default=0, metavar="N", help="of the random split, and of the fit (default: 0)")
    add("--name", help="the detector's name (default: outlier, or drift)")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="an option of the kind: k=10; may be repeated")
    add("--report", metavar="DIR|none", help="where report.html and report.json go (default: into --out)")
    add("--push-url", metavar="URL", help="a Prometheus Pushgateway that is told what the fit came to")


def _add_wrap_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--saved", type=Path, metavar="DIR", help="for kinds alibi and alibi-drift: what alibi-detect saved")
    add("--trust-pickle", action="store_true", help="for these kinds: allow loading files that can run code")
    add("--alibi-python", metavar="PATH", help="for these kinds: the interpreter that has alibi-detect")
    add("--device", choices=[each.value for each in Device], default=Device.CPU.value,
        help="for these kinds: where they score (default: cpu)")  # fmt: skip


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError(f"--set {text!r} is not NAME=VALUE")
    return name, value


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Fit, write, report, push; returns the exit status."""
    try:
        return _run(argv, environ, SystemClock())
    except KeyboardInterrupt:
        return _complain("interrupted", EXIT_INTERRUPTED)


def _run(argv: Sequence[str], environ: Mapping[str, str], clock: Clock) -> int:
    try:
        command = parse(argv, environ, clock)
        check_target(command.out)  # before the time that a fit takes, and again when it is written
        fitted, table = _fit(command, clock)
        save(fitted.report.artifact, command.out)
    except WaysideError as exc:
        return _complain(str(exc), EXIT_CONFIGURATION)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name not in _MODULES_OF_EXTRAS:
            raise
        return _complain(
            str(MissingExtra(f"the module {exc.name!r}", _MODULES_OF_EXTRAS[exc.name])), EXIT_CONFIGURATION
        )
    told = _tell(describe(fitted.report, command.out))
    return max(told, _report(command, fitted.report, table), _push(fitted, command.push_url))


def _fit(command: FitCommand, clock: Clock) -> tuple[Fitted, Table]:
    started_s = clock.monotonic_s()
    rows, told = read_data(command.data)
    for line in told:
        print(f"wayside fit: {line}", file=sys.stderr)
    with shown_progress(clock) as progress:
        report = fit_artifact(command.kind, rows.table, command.settings, progress)
    report = with_provenance(report, command.settings, rows, clock.time_ns())
    return Fitted(report, clock.monotonic_s() - started_s, clock.time_ns()), rows.table


def _tell(lines: Sequence[str]) -> int:
    try:
        say(lines)
    except OutputFailed as exc:
        return _complain(f"the artifact is written, but nobody can be told of it: {exc}", EXIT_FAILED)
    return 0


def _complain(reason: str, status: int) -> int:
    print(f"wayside fit: {reason}", file=sys.stderr)
    return status


def _report(command: FitCommand, report: FitReport, table: Table) -> int:
    if command.report is None:
        return 0
    try:
        write_report(report, table, command.report)
    except ConfigurationError as exc:
        return _complain(f"the artifact is written, but not its report: {exc}", EXIT_FAILED)
    return _tell([f"report: {command.report / PAGE_FILE}"])


def _push(fitted: Fitted, url: str | None) -> int:
    if url is None:
        return 0
    try:
        push(fitted, url)
    except PushFailed as exc:
        return _complain(f"the artifact is written, but nobody was told of it: {exc}", EXIT_FAILED)
    return _tell([f"pushed to {url}"])


def describe(report: FitReport, out: Path) -> list[str]:
    """What was made and what it promises, in lines for people."""
    artifact = report.artifact
    head = f"wrote {out}: {artifact.kind} '{artifact.name}', {artifact.features} columns, digest {artifact.digest[:12]}"
    if artifact.windowed is not None and report.windows is not None:
        return [head, *window_promise(artifact.windowed, report.windows)]
    return [head, *_row_promise(report)]


def _row_promise(report: FitReport) -> list[str]:
    assert report.interval is not None
    low, high = report.interval.low, report.interval.high
    fitted = f"fitted on {report.fitted_rows} rows, " if report.fitted_rows else ""
    repeats = repeats_of(report)
    return [
        f"{fitted}calibrated on {report.calibration_rows} rows held out",
        f"false alarms asked for: {report.artifact.alpha:.3%} of rows; these calibration rows promise"
        f" {low:.3%} to {high:.3%} (90 % interval)",
        *([] if repeats is None else [repeats]),
        f"a row is flagged where its score is above {report.threshold:.6g}",
        *([] if report.tested is None else report.tested.quality.lines()),
    ]
