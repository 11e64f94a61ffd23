"""`wayside cesql`: what an expression evaluates to, for one event or for many lines, as JSON lines.

Invariant: a line of output for each line of input, in order, whatever stands in it; exit 0 where everything was
evaluated, error values and parse errors included, because they are answers; 2 where an input could not be read.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from wayside.eventing.cesql.batch import LINE_LIMIT_BYTES, Attributes, UnreadableLine, evaluate, evaluate_lines
from wayside.eventing.cesql.expression import Error, Result
from wayside.eventing.cesql.typed_event import typed_attributes
from wayside.eventing.command import EXIT_CONFIGURATION, EXIT_FAILED, Parser, parse_arguments
from wayside.eventing.errors import ConfigurationError, MalformedEvent
from wayside.eventing.stdout_lines import print_lines

ENVIRONMENT = "WAYSIDE_CESQL"
STDIN = "-"
_FLAGS_WITH_VALUE = ("-e", "--event", "--batch")
_FLAGS = ("-h", "--help")
_DESCRIPTION = """\
Evaluate an expression of CESQL 1.0, the CloudEvents expression language of Knative's Triggers.

Prints {"value": ..., "error": ...}; the error is null or one of parse, cast, math, missingAttribute, missingFunction,
functionEvaluation, generic, and its reason stands on stderr. A Trigger passes an event where the value is true and the
error null. With --batch, each line {"expression": "...", "event": {...}} of FILE gets a line of output in its place: an
empty line an empty one, and a line that cannot be read {"value": null, "error": "generic"}."""
_EPILOG = """\
exit status: 0 where everything was evaluated, whatever the values and errors; 2 where the event, the file, or a line of
it could not be read (the other lines are evaluated all the same)."""


@dataclass(frozen=True, slots=True)
class CesqlSettings:
    """One expression, or else the file of a batch; and the file of the event. "-" is stdin."""

    expression: str | None
    batch: str | None
    event: str | None


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> CesqlSettings:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), _expression_last(argv), environ, ENVIRONMENT)
    if (arguments.expression is None) == (arguments.batch is None):
        raise ConfigurationError("give an EXPRESSION, or --batch FILE (see 'wayside cesql --help')")
    if arguments.batch == arguments.event == STDIN:
        raise ConfigurationError("the batch and the event cannot both be read from stdin")
    return CesqlSettings(arguments.expression, arguments.batch, arguments.event)


def _expression_last(argv: Sequence[str]) -> list[str]:
    """The same words with the expression behind `--`: it may begin with a minus and is then no flag.

    `-eFILE` is the flag -e where another word is the expression, or there is none to be.
    """
    words = _indexes_of_words(argv)
    plain = [index for index in words if not argv[index].startswith("-e")]
    has_expression = "--" in argv or any(word.startswith("--batch") for word in argv)
    found = plain if has_expression else plain or words[-1:]
    if not found:
        return list(argv)
    return [*argv[: found[0]], *argv[found[0] + 1 :], "--", argv[found[0]]]


def _indexes_of_words(argv: Sequence[str]) -> list[int]:
    """Where before a `--` stands what is no flag, nor a flag's value."""
    indexes, is_value = [], False
    for index, word in enumerate(argv):
        if word == "--" and not is_value:
            break
        if not (is_value or word in (*_FLAGS, *_FLAGS_WITH_VALUE) or word.startswith(("--event=", "--batch="))):
            indexes.append(index)
        is_value = not is_value and word in _FLAGS_WITH_VALUE
    return indexes


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="wayside cesql",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("expression", nargs="?", metavar="EXPRESSION", help="such as \"type LIKE '%%.request' AND EXISTS subject\"")
    add("-e", "--event", metavar="EVENT.json",
        help="the event, in CloudEvents JSON (- is stdin); without one, every attribute is missing")  # fmt: skip
    add("--batch", metavar="FILE.jsonl", help="evaluate each line (- is stdin); one without an event has that of -e")
    return parser


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print a line for each expression; returns the exit status."""
    try:
        settings = parse(argv, environ)
        attributes = _read_event(settings.event)
        if settings.expression is not None:
            _show(evaluate(settings.expression, attributes), "")
            return 0
        with _opened(settings.batch or STDIN) as stream:
            return _show_lines(settings.batch or STDIN, stream, attributes)
    except ConfigurationError as exc:
        _complain(str(exc))
        return EXIT_CONFIGURATION
    except BrokenPipeError:  # whoever read the lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor does the interpreter's last flush fail
        return EXIT_FAILED
    except OSError as exc:
        _complain(f"cannot read {exc.filename or 'the input'}: {exc.strerror or exc}")
        return EXIT_CONFIGURATION


def _read_event(name: str | None) -> Attributes:
    """Raises `ConfigurationError`."""
    if name is None:
        return {}
    with _opened(name) as stream:
        body = stream.read(LINE_LIMIT_BYTES + 1)
    if len(body) > LINE_LIMIT_BYTES:
        raise ConfigurationError(f"the event in {_shown(name)} is longer than {LINE_LIMIT_BYTES} bytes")
    try:
        return typed_attributes(body)
    except MalformedEvent as exc:
        raise ConfigurationError(f"no event in {_shown(name)}: {exc}") from exc


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if name == STDIN else Path(name).open("rb")


def _shown(name: str) -> str:
    return "stdin" if name == STDIN else name


def _show_lines(name: str, stream: BinaryIO, attributes: Attributes) -> int:
    status = 0
    for number, found in enumerate(evaluate_lines(stream, attributes), 1):
        if isinstance(found, UnreadableLine):
            status = EXIT_CONFIGURATION
            _complain(f"{_shown(name)} line {number}: {found}")
            _print(None, Error.GENERIC)
        elif found is None:
            print_lines([""])
        else:
            _show(found, f"{_shown(name)} line {number}: ")
    return status


def _show(result: Result, place: str) -> None:
    if result.error is not None:
        _complain(f"{place}{result.error}: {result.reason}")
    _print(result.value, result.error)


def _print(value: str | int | None, error: Error | None) -> None:
    print_lines([json.dumps({"value": value, "error": error}, ensure_ascii=False)])


def _complain(reason: str) -> None:
    print(f"wayside cesql: {reason}", file=sys.stderr)
