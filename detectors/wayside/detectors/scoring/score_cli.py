"""`wayside score`: what a detector says of the rows of a file, or of the windows they make, and how good that is where
they are labelled.

Invariant: exit status 0 means that every row, or window, has its line; 1 that writing ended early, 2 that nothing was
scored, 130 that it was interrupted, and one line says why. Lines go to stdout or a file, all else to stderr.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.locations import open_artifact
from wayside.detectors.data.console import EXIT_INTERRUPTED, OutputFailed, leave_stdout
from wayside.detectors.data.flags import Data, add_data_flags, data_of, parse_rate, read_rows
from wayside.detectors.data.tables.files import path_of
from wayside.detectors.data.tables.reading import Expected
from wayside.detectors.data.tables.time_like import time_like
from wayside.detectors.drift.judging.judge import WindowJudge
from wayside.detectors.drift.settings import Compared
from wayside.detectors.kinds.protocol import Device, Execution
from wayside.detectors.scoring.arrivals import DEFAULT_SPACING_S
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.scoring.quality import Quality, check_metrics
from wayside.detectors.scoring.score import Scored, code_rows, score_table
from wayside.detectors.scoring.score_lines import STDOUT, check_target, open_lines
from wayside.detectors.scoring.score_windows import score_windows
from wayside.detectors.scoring.window_lines import ScoredWindow
from wayside.detectors.tabular.schema import Schema
from wayside.detectors.tabular.table import Table
from wayside.eventing.clock import SystemClock
from wayside.eventing.command import EXIT_CONFIGURATION, EXIT_FAILED, Parser, parse_arguments
from wayside.eventing.errors import ConfigurationError, WaysideError

ENVIRONMENT = "WAYSIDE_SCORE"


@dataclass(frozen=True, slots=True)
class ScoreCommand:
    """Which artifact judges which data, and where the lines go."""

    artifact: str
    data: Data
    out: str
    skip_bad: bool
    execution: Execution
    rows_per_s: float | None = None


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> ScoreCommand:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), argv, environ, ENVIRONMENT)
    execution = Execution(
        Device(arguments.device), trust_pickle=arguments.trust_pickle, alibi_python=arguments.alibi_python
    )
    data = data_of(arguments, SystemClock())
    out = check_target(arguments.out, data.sources)
    rate = None if arguments.expect_rows is None else parse_rate(arguments.expect_rows)
    return ScoreCommand(arguments.artifact, data, out, arguments.skip_bad, execution, rate)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="wayside score", description="Score rows of files, or of logged events, as a service would.")
    add = parser.add_argument
    add("artifact", metavar="ARTIFACT", help="a folder, or a URI as 'wayside detect --artifact' takes")
    add_data_flags(parser)
    add(
        "--out", default=STDOUT, metavar="FILE.jsonl|FILE.csv|-", help="where the lines go (default: -, JSON on stdout)"
    )
    add("--skip-bad", action="store_true",
        help="go on past rows that a service would refuse (default: name the first and end)")  # fmt: skip
    add("--expect-rows", metavar="RATE",
        help="of windows of rows without times: '10000 per hour' (default: 1 per second)")  # fmt: skip
    add("--device", choices=[each.value for each in Device], default=Device.CPU.value,
        help="what scores graphs (default: cpu)")  # fmt: skip
    add("--trust-pickle", action="store_true", help="for kind alibi: allow loading files that can run code")
    add("--alibi-python", metavar="PATH", help="for kind alibi: the interpreter that has alibi-detect")
    return parser


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Score, write, and say how good it was; returns the exit status."""
    command = None
    try:
        command = parse(argv, environ)
        _score(command)
    except BrokenPipeError:  # whoever read the lines has seen enough
        leave_stdout()
        return EXIT_FAILED
    except OutputFailed as exc:
        if command is not None and command.out == STDOUT:
            leave_stdout()
        return _complain(str(exc), EXIT_FAILED)
    except WaysideError as exc:
        return _complain(str(exc), EXIT_CONFIGURATION)
    except KeyboardInterrupt:
        return _complain("interrupted", EXIT_INTERRUPTED)
    return 0


def _score(command: ScoreCommand) -> None:
    artifact = open_artifact(command.artifact)
    score = _score_windows if artifact.is_window_detector else _score_rows
    print("\n".join(score(artifact, command)), file=sys.stderr)


def _score_rows(artifact: Artifact, command: ScoreCommand) -> list[str]:
    judge = RowJudge.of(artifact, command.execution)
    with _closing(judge.detector):
        table = _read(command.data, judge.schema)
        if table.labels is not None:
            check_metrics(table.labels)
        coded, fits = code_rows(judge.schema, table, command.skip_bad)
        with open_lines(command.out) as write:
            scored = score_table(judge, coded, fits, write)
    return summary(scored, table, artifact)


def _score_windows(artifact: Artifact, command: ScoreCommand) -> list[str]:
    _check_compared(artifact)
    judge = WindowJudge.of(artifact, artifact.identity(), command.execution)
    with _closing(judge.detector):
        table = _read(command.data, judge.schema)
        _advise_times(artifact, command.data, table)
        coded, fits = code_rows(judge.schema, table, command.skip_bad)
        taken = table.rows(fits)
        with open_lines(command.out, ScoredWindow._fields) as write:
            scored = score_windows(judge, coded[fits], taken.time_s, write, _spacing_s(command, table))
    skipped = len(table) - len(taken)
    return [
        *scored.lines(),
        *([f"{skipped} rows were skipped: a service would refuse them"] if skipped else []),
        *([] if taken.labels is None else scored.detection(taken.labels).lines()),
    ]


def _check_compared(artifact: Artifact) -> None:
    """Raises `ConfigurationError` where rows would have to say of which revision, or endpoint, they are."""
    compared = Compared.NOTHING if artifact.windows is None else artifact.windows.compared
    if compared is not Compared.NOTHING:
        raise ConfigurationError(
            f"{artifact.name!r} compares the {compared.value} of a service, and rows of a table have none: judge logged"
            " events by 'wayside replay', or score by a detector that was fitted without --compare"
        )


def _advise_times(artifact: Artifact, data: Data, table: Table) -> None:
    """Say that times seem to be there, where the detector was fitted on rows with times and these are read without."""
    if table.time_s is not None or not data.files or artifact.windowed is None:
        return
    if artifact.windowed.reference.from_time is None:
        return
    column = time_like(path_of(data.files[0]), artifact.schema.names or ())
    if column is not None:
        print(
            f"wayside score: column {column[:64]!r} looks like the times of rows, and the detector was fitted on rows"
            f" with times: it is not read as such without --time-column {column[:64]}",
            file=sys.stderr,
        )


def _spacing_s(command: ScoreCommand, table: Table) -> float:
    """How far apart rows without times are taken to be."""
    if table.time_s is not None:
        return DEFAULT_SPACING_S
    spacing_s = DEFAULT_SPACING_S if command.rows_per_s is None else 1.0 / command.rows_per_s
    print(f"wayside score: the rows have no times: row n stands at n times {spacing_s:.3g} s", file=sys.stderr)
    return spacing_s


def _complain(reason: str, status: int) -> int:
    print(f"wayside score: {reason}", file=sys.stderr)
    return status


@contextmanager
def _closing(detector: object) -> Iterator[None]:
    """What runs in a process of its own is ended afterwards."""
    try:
        yield
    finally:
        close = getattr(detector, "close", None)
        if close is not None:
            close()


def _read(data: Data, schema: Schema) -> Table:
    categories = frozenset(schema.names[at] for at in schema.categorical) if schema.names else frozenset[str]()
    expected = Expected(frozenset(schema.names or ()), categories)
    rows, told = read_rows(replace(data, reading=replace(data.reading, expected=expected)))
    for line in told:
        print(f"wayside score: {line}", file=sys.stderr)
    return rows.table


def summary(scored: Scored, table: Table, artifact: Artifact) -> list[str]:
    """What came of all rows, in lines for people."""
    judged, flagged = len(scored.places), int(scored.decisions.sum())
    share = f", {flagged / judged:.3%}; asked for {artifact.alpha:.3%} of ordinary rows" if judged else ""
    lines = [f"{scored.rows} rows, {flagged} flagged{share}"]
    if scored.failed:
        lines.append(f"{scored.failed} rows have no finite score, and are flagged")
    if scored.skipped:
        lines.append(f"{scored.skipped} rows were skipped: a service would refuse them")
    if table.labels is not None and judged:
        assert artifact.calibration is not None, "it has judged rows"
        labels, calibrating = table.labels[scored.places], len(artifact.calibration.scores)
        lines += Quality.of(scored.scores, scored.decisions, labels, calibrating, artifact.alpha).lines()
    return lines
