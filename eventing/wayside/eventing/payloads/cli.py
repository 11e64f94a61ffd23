"""`wayside decode`: what Wayside sees in bodies and in logged events, as JSON lines.

Invariant: one line a body or event on stdout, whatever was in it; exit 1 where any was refused, 2 for a wrong setting.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wayside.eventing.command import EXIT_CONFIGURATION, EXIT_FAILED, Parser, parse_arguments
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.payloads.inspection import Reading, inspect
from wayside.eventing.payloads.payload import Kind, Limits, Protocol

ENVIRONMENT = "WAYSIDE_DECODE"
STDIN = "-"
_LINE_SUFFIXES = (".jsonl", ".ndjson")
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """Which files ("-" is stdin), and how to read them."""

    files: tuple[str, ...]
    reading: Reading


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> DecodeSettings:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), argv, environ, ENVIRONMENT)
    headers = dict(arguments.header)
    if arguments.content_type:
        headers["content-type"] = arguments.content_type
    limits = Limits(inflated_bytes=arguments.inflated_limit_mib << 20)
    reading = Reading(headers, arguments.protocol, arguments.kind, arguments.lines, limits)
    return DecodeSettings(tuple(arguments.files), reading)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="wayside decode", description="Show what Wayside sees in payloads or in logged events.")
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE",
        help="a body, or logged events (CloudEvents as JSON, a line each or a batch); - is stdin")  # fmt: skip
    add("--content-type", metavar="TYPE", help="the bodies' content type")
    add("--header", action="append", default=[], type=_header, metavar="'NAME: VALUE'",
        help="a header that came with the bodies, ce-… included; may be repeated")  # fmt: skip
    add("--protocol", type=_parse_protocol, metavar="NAME", help=f"declare the protocol: {', '.join(Protocol)}")
    add("--kind", type=_parse_kind, metavar="NAME", help=f"declare what the bodies are: {', '.join(Kind)}")
    add("--lines", action="store_true", help="each line is a body, as in a dump of a topic (so read: .jsonl, .ndjson)")
    add("--inflated-limit-mib", type=_mebibytes, default=64, metavar="N",
        help="how large a compressed body may become (default: 64)")  # fmt: skip
    return parser


def _header(text: str) -> tuple[str, str]:
    match = _HEADER.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no header such as 'Content-Encoding: gzip'")
    return match[1].lower(), match[2].strip()


def _parse_protocol(text: str) -> Protocol:
    return Protocol(_choice(text, [protocol.value for protocol in Protocol]))


def _parse_kind(text: str) -> Kind:
    return Kind(_choice(text, [kind.value for kind in Kind]))


def _choice(text: str, words: Sequence[str]) -> str:
    if text not in words:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(words)}")
    return text


def _mebibytes(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 1 << 14:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of MiB (1-16384)")
    return int(text)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print a line for each body or event; returns the exit status. A file that cannot be read stops no other."""
    try:
        settings = parse(argv, environ)
    except ConfigurationError as exc:
        return _complain(str(exc))
    try:
        return max(_show(name, settings.reading) for name in settings.files)
    except BrokenPipeError:  # whoever read the lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor does the interpreter's last flush fail
        return EXIT_FAILED


def _show(name: str, reading: Reading) -> int:
    try:
        text = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    except OSError as exc:
        return _complain(f"cannot read {name}: {exc.strerror or exc}")
    status = 0
    for report in inspect(name, text, replace(reading, lines=reading.lines or Path(name).suffix in _LINE_SUFFIXES)):
        print(json.dumps(report, ensure_ascii=False), flush=True)
        status = EXIT_FAILED if "refused" in report else status
    return status


def _complain(reason: str) -> int:
    print(f"wayside decode: {reason}", file=sys.stderr)
    return EXIT_CONFIGURATION
