"""The command line of Seldon's alibi-detect-server, understood: what it asks for, as settings of `wayside detect`.

Source: seldon-core, components/alibi-detect-server, `python -m adserver --help`.
Invariant: an argument is honoured or refused with what to do instead; none is ignored.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wayside.detectors import cli
from wayside.detectors.artifact import Artifact, load_artifact
from wayside.detectors.cli import DetectSettings
from wayside.eventing.command import Parser, parse_port, run_command
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.vocabulary import DRIFT, OUTLIER

_PROTOCOLS = ("tensorflow.http", "kfserving.http")  # V1 and V2, told apart by the payload itself
_UNDECODED = ("seldon.http", "seldonfeedback.http")
_COMMANDS = ("OutlierDetector", "AdversarialDetector", "DriftDetector", "MetricsServer")


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> DetectSettings:
    """Settings from either command line. Raises `ConfigurationError`."""
    if not is_adserver(argv):
        return cli.parse(argv, environ)
    return cli.parse(translate(argv), environ)


def is_adserver(argv: Sequence[str]) -> bool:
    """Whether these are adserver's arguments: it names a storage URI or one of its sub-commands."""
    return any(word in _COMMANDS or word.split("=")[0] == "--storage_uri" for word in argv)


def translate(argv: Sequence[str]) -> list[str]:
    """adserver's arguments as `wayside detect`'s. Raises `ConfigurationError` for what cannot be honoured."""
    arguments = _parser().parse_args(argv)
    if arguments.protocol in _UNDECODED:
        raise ConfigurationError(f"--protocol {arguments.protocol} is not decoded: send {' or '.join(_PROTOCOLS)}")
    folder = _local_folder(arguments.storage_uri)
    artifact = load_artifact(folder)
    _check_command(arguments, artifact)
    _check_event(arguments, artifact)
    translated = ["--artifact", str(folder), "--host", "0.0.0.0", "--port", str(arguments.http_port)]
    if arguments.model_name:
        translated += ["--name", arguments.model_name]
    if arguments.reply_url:
        translated += ["--sink-url", arguments.reply_url]
    return translated


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="wayside.detectors", allow_abbrev=False)
    parser.add_argument("--http_port", type=parse_port, default=8080)
    parser.add_argument("--protocol", choices=(*_PROTOCOLS, *_UNDECODED), default=_PROTOCOLS[0])
    parser.add_argument("--storage_uri", required=True)
    for name in ("reply_url", "event_source", "event_type", "model_name"):
        parser.add_argument(f"--{name}", default="")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    for name in _COMMANDS:
        command = commands.add_parser(name)
        if name == "DriftDetector":
            command.add_argument("--drift_batch_size", type=int)
    return parser


def _local_folder(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    if "://" in uri:
        raise ConfigurationError(f"--storage_uri {uri} is not on this machine: mount it and name the folder")
    return Path(uri)


def _check_command(arguments: argparse.Namespace, artifact: Artifact) -> None:
    command, where = arguments.command, f"the artifact in {arguments.storage_uri}"
    if command == "MetricsServer":
        raise ConfigurationError("MetricsServer is not served here: verdict metrics are 'wayside sink prometheus'")
    if command == "AdversarialDetector":
        raise ConfigurationError(f"{where} is {artifact.kind}, no adversarial detector: serve it as OutlierDetector")
    wanted = "DriftDetector" if artifact.is_window_detector else "OutlierDetector"
    if command != wanted:
        raise ConfigurationError(f"{where} is {artifact.kind}: serve it as {wanted}, not {command}")
    size = getattr(arguments, "drift_batch_size", None)
    if size is not None and size != artifact.window:
        raise ConfigurationError(
            f"{where} tests windows of {artifact.window} rows: say --drift_batch_size {artifact.window},"
            f" or fit it again with --window {size}"
        )


def _check_event(arguments: argparse.Namespace, artifact: Artifact) -> None:
    fixed = DRIFT if artifact.is_window_detector else OUTLIER
    source = artifact.identity(arguments.model_name or None).source
    for flag, given, written in (
        ("event_type", arguments.event_type, fixed),
        ("event_source", arguments.event_source, source),
    ):
        if given and given != written:
            raise ConfigurationError(f"--{flag} cannot be chosen, it is {written!r}: leave it out and filter on that")
    if arguments.reply_url and not artifact.is_window_detector:
        raise ConfigurationError("a row detector's verdict is the reply to its caller: leave --reply_url out")


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The image's entry point; returns the exit status."""
    return run_command("wayside.detectors", parse, cli.serve, argv, environ)
