"""The command line and the environment of Seldon's alibi-detect-server, as settings of `wayside detect`.

Source: seldon-core, components/alibi-detect-server: `python -m adserver --help`, `adserver/constants.py`.
Invariant: an argument is honoured or refused with what to do instead; none is ignored. As adserver asks no event for
its type, any is judged but an answer's; verdicts are none, so that no reply is ever judged.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.settings import CountCut
from wayside.detectors.serving import cli
from wayside.detectors.serving.answering import Wanted
from wayside.detectors.serving.reply_terms import ReplyTerms
from wayside.detectors.serving.settings import DetectSettings, Terms
from wayside.detectors.tabular.event_rows import InputTypes, Side
from wayside.eventing.command import Parser, parse_port, run_command
from wayside.eventing.errors import ConfigurationError

PROTOCOLS = ("tensorflow.http", "kfserving.http", "seldon.http", "seldonfeedback.http")
_COMMANDS = ("OutlierDetector", "AdversarialDetector", "DriftDetector", "MetricsServer")
_OUTLIER, _ADVERSARIAL, _DRIFT, _METRICS = _COMMANDS
_FEATURE_SCORES, _LOG_LEVEL = "ALIBI_DETECT_RETURN_FEATURE_SCORE", "CESERVER_LOGLEVEL"
_OUR_LOG_LEVEL = "WAYSIDE_LOG_LEVEL"
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+", re.ASCII)


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> DetectSettings:
    """Settings from either command line. Raises `ConfigurationError`."""
    if not is_adserver(argv):
        return cli.parse(argv, environ)
    arguments = _parser().parse_args(argv)
    settings = cli.parse(translate(arguments), environ)
    return replace(settings, terms=terms_of(arguments, environ))


def is_adserver(argv: Sequence[str]) -> bool:
    """Whether these are adserver's arguments: it names a storage URI or one of its sub-commands."""
    return any(word in _COMMANDS or word.split("=")[0] == "--storage_uri" for word in argv)


def translate(arguments: argparse.Namespace) -> list[str]:
    """adserver's arguments as `wayside detect`'s. Raises `ConfigurationError` for what cannot be honoured."""
    if arguments.command == _METRICS:
        raise ConfigurationError("MetricsServer is not served here: verdict metrics are 'wayside sink prometheus'")
    if arguments.elasticsearch_uri:
        raise ConfigurationError("--elasticsearch_uri is MetricsServer's: records are kept by 'wayside sink records'")
    translated = ["--artifact", arguments.storage_uri, "--host", "0.0.0.0", "--port", str(arguments.http_port)]
    if arguments.model_name:
        translated += ["--name", arguments.model_name]
    if arguments.reply_url:
        translated += ["--sink-url", arguments.reply_url]
    return translated


def terms_of(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Terms:
    """What no flag of `wayside detect` says. Raises `ConfigurationError` for an event type that would be judged again.

    Scores of rows are in every verdict of ours, whatever ALIBI_DETECT_RETURN_INSTANCE_SCORE says.
    """
    if arguments.event_type in Side.PAIR.types:
        raise ConfigurationError(
            f"--event_type {arguments.event_type} is what a detector is sent: it would judge itself"
        )
    _check_reply(arguments)
    return Terms(
        reply=ReplyTerms(arguments.event_type or None, arguments.event_source or None),
        posts_replies=bool(arguments.reply_url),
        wanted=Wanted(feature_scores=environ.get(_FEATURE_SCORES, "").upper() == "TRUE"),
        request_types=InputTypes(arguments.event_type or None),
        protocol=arguments.protocol,
        check=lambda artifact: check_artifact(arguments, artifact),
    )


def _check_reply(arguments: argparse.Namespace) -> None:
    """A reply is a CloudEvent: its source is a URI reference, its type a word."""
    source, event_type = arguments.event_source, arguments.event_type
    if source and _URI_REFERENCE.fullmatch(source) is None:
        raise ConfigurationError(f"--event_source {source[:64]!r} is no URI reference, which a CloudEvent's source is")
    if not event_type.isprintable() or " " in event_type:
        raise ConfigurationError(f"--event_type {event_type[:64]!r} is no single printable word")


def check_artifact(arguments: argparse.Namespace, artifact: Artifact) -> None:
    """Raises `ConfigurationError` where the sub-command is not the one that this artifact is served by."""
    command, where = arguments.command, f"the artifact in {arguments.storage_uri}"
    if command == _ADVERSARIAL:
        raise ConfigurationError(f"{where} is {artifact.kind}, no adversarial detector: serve it as {_OUTLIER}")
    wanted = _DRIFT if artifact.is_window_detector else _OUTLIER
    if command != wanted:
        raise ConfigurationError(f"{where} is {artifact.kind}: serve it as {wanted}, not {command}")
    if artifact.is_window_detector:
        _check_windows(arguments, artifact, where)


def _check_windows(arguments: argparse.Namespace, artifact: Artifact, where: str) -> None:
    size = getattr(arguments, "drift_batch_size", None)
    cut = None if artifact.windows is None else artifact.windows.cut
    if size is not None and cut != CountCut(size, size):
        raise ConfigurationError(
            f"{where} tests windows of {cut}: leave --drift_batch_size out, or fit it again with --window {size}"
        )
    for flag, given in (("event_type", arguments.event_type), ("event_source", arguments.event_source)):
        if given:
            raise ConfigurationError(
                f"--{flag} cannot be chosen for drift, whose verdicts lie on disk as they are posted: leave it out"
            )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="wayside.detectors", allow_abbrev=False)
    parser.add_argument("--http_port", type=parse_port, default=8080)
    parser.add_argument("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0])
    parser.add_argument("--storage_uri", required=True)
    for name in ("reply_url", "event_source", "event_type", "model_name", "elasticsearch_uri"):
        parser.add_argument(f"--{name}", default="")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    for name in _COMMANDS:
        command = commands.add_parser(name)
        if name == _DRIFT:
            command.add_argument("--drift_batch_size", type=int)
    return parser


def with_log_level(argv: Sequence[str], environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment, in which adserver's name for the level of the log stands for ours where that is not set."""
    level = environ.get(_LOG_LEVEL)
    if level is None or _OUR_LOG_LEVEL in environ or not is_adserver(argv):
        return environ
    return {**environ, _OUR_LOG_LEVEL: level}


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The image's entry point; returns the exit status."""
    return run_command("wayside.detectors", parse, cli.serve, argv, with_log_level(argv, environ))
