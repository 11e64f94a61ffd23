"""The whole configuration: flags and environment first, then what a namespace and a service say of their own.

Nearer wins: the environment is the image's, flags are the injector's, alike for a whole cluster; the file is a
namespace's, annotations are one service's. Redaction rules of all of them add up, so that nobody takes another's away.
Invariant: a wrong flag is an error at start. A wrong file or annotation never stops serving, and never lets out what it
may have been meant to keep in: the logger then passes everything on and captures nothing, and says why. So it does for
a log url, and what belongs to it, that KServe's injector wrote: that is one InferenceService's too.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wayside.eventing.command import parse_arguments
from wayside.eventing.errors import ConfigurationError
from wayside.logger.config.build import ANNOTATION_PREFIX, settings_of
from wayside.logger.config.injected import injected_settings, split_values
from wayside.logger.config.memory import BOUNDS, MEMORY_LIMIT, memory_fault
from wayside.logger.config.mounted import read_settings
from wayside.logger.config.options import (
    CA_FOLDER,
    LISTS,
    NAMESPACE_SETTINGS,
    SERVICE_SETTINGS,
    SETTINGS_FILE,
    parser,
)
from wayside.logger.config.tokens import joined, read_tokens
from wayside.logger.settings import LoggerSettings, StoreFormat

ENVIRONMENT = "WAYSIDE_LOGGER"
NOT_FROM_ENVIRONMENT = frozenset({"process", "enable_puller", "enable_batcher"})
_WITHOUT_LOG = ("--log-url=", "--log-marshaller-url=", "--spool=")
CAPTURE_OFF = "requests are served, and none is captured until this is mended"


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings; `notes` are what was passed over in them; `faults` are why capture is off, none where it is not.

    `flags` are the command line's, each in one token with its value. `is_layered` says whether a file, annotations or
    KServe's injector had a part. `place` is this process's among those that share the port (0, …), None where it is
    alone or starts them.
    """

    settings: LoggerSettings
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    is_layered: bool = False
    place: int | None = None


@dataclass(frozen=True, slots=True)
class _Layer:
    """Settings of one origin, and those that it may make."""

    origin: str
    allowed: frozenset[str]
    values: Mapping[str, list[str]] = field(default_factory=dict)

    def tokens(self) -> list[str]:
        return [f"--{name}={value}" for name, values in self.values.items() for value in values]

    def faults(self) -> list[str]:
        known = [(name, f"--{name}" in parser()._option_string_actions) for name in self.values]
        reasons = {True: "is not set here", False: "is no setting"}
        return [f"{self.origin}: {name!r} {reasons[is_known]}" for name, is_known in known if name not in self.allowed]


def configuration_of(
    argv: Sequence[str], environ: Mapping[str, str], memory_limit: Path = MEMORY_LIMIT
) -> Configuration:
    """Raises `ConfigurationError` for what the command line or the environment says; see `Configuration.faults`."""
    flags, ignored = _flags(argv)
    base = _parsed(flags, environ)
    settings, faults = _base_settings(base, flags, environ)
    layers, layer_faults = _layers(base)
    faults += layer_faults
    is_layered = any(layer.values for layer in layers)
    if is_layered and not faults:
        try:
            settings = settings_of(_parsed([*flags, *_over(layers)], environ), environ)
            faults = _memory_faults(layers, settings, memory_limit)
        except ConfigurationError as exc:
            faults = [f"{_origins(layers)}: {exc}"]
    if faults:
        settings = without_capture(settings)
    place, processes = base.process or (None, settings.processes)
    settings = replace(settings, processes=processes)
    notes = (*ignored, *_notes(base, settings))
    return Configuration(settings, tuple(flags), notes, tuple(faults), is_layered or _is_injected(base), place)


def without_capture(settings: LoggerSettings) -> LoggerSettings:
    """A proxy that captures nothing."""
    return replace(settings, delivery=replace(settings.delivery, url="", spool=None, store=None))


def _flags(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags in one token each, and a word for each argument that is none."""
    given = read_tokens(parser(), argv)
    ignored = [f"{one.value!r} is no flag, and is passed over" for one in given if one.flag is None]
    return [joined(one) for one in given if one.flag is not None], ignored


def _parsed(tokens: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """A list in the environment is written with semicolons, as in an annotation."""
    lists = {name: f"{ENVIRONMENT}_{name.replace('-', '_').upper()}" for name in sorted(LISTS)}
    hidden = {*lists.values(), *(f"{ENVIRONMENT}_{name.upper()}" for name in NOT_FROM_ENVIRONMENT)}
    given = [
        f"--{name}={value}"
        for name, variable in lists.items()
        for value in split_values(name, environ.get(variable, ""))
    ]
    visible = {name: value for name, value in environ.items() if name not in hidden}
    return parse_arguments(parser(), [*given, *tokens], visible, ENVIRONMENT)


def _is_injected(base: argparse.Namespace) -> bool:
    """Whether KServe's injector wrote the command line: nobody sees an exit status there, and the pod has to serve."""
    return bool(base.inference_service)


def _base_settings(
    base: argparse.Namespace, flags: Sequence[str], environ: Mapping[str, str]
) -> tuple[LoggerSettings, list[str]]:
    """Without a log url where that, or what belongs to it, is one service's mistake; and what is wrong then."""
    try:
        return settings_of(base, environ), []
    except ConfigurationError as exc:
        if not _is_injected(base):
            raise
        fault = str(exc)
    return settings_of(_parsed([*flags, *_WITHOUT_LOG], environ), environ), [fault]


def _memory_faults(layers: Sequence[_Layer], settings: LoggerSettings, limit: Path) -> list[str]:
    """What a layer asks for beyond the container's memory; the image's and the injector's own bounds are theirs."""
    asked = any(BOUNDS & layer.values.keys() for layer in layers)
    fault = memory_fault(settings, limit) if asked else ""
    return [f"{_origins(layers)}: {fault}"] if fault else []


def _layers(base: argparse.Namespace) -> tuple[list[_Layer], list[str]]:
    """What a namespace and a service say, and what is wrong with it."""
    faults: list[str] = []
    path = _settings_file(base.settings_file)
    mounted: Mapping[str, list[str]] = {}
    try:
        mounted = read_settings(path)
    except ConfigurationError as exc:
        faults.append(str(exc))
    layers = [
        _Layer(str(path), frozenset(NAMESPACE_SETTINGS), mounted),
        _Layer(f"annotations {ANNOTATION_PREFIX}…", SERVICE_SETTINGS, injected_settings(base.metadata_annotations)),
    ]
    return layers, [*faults, *(fault for layer in layers for fault in layer.faults())]


def _over(layers: Sequence[_Layer]) -> list[str]:
    return [token for layer in layers for token in layer.tokens()]


def _origins(layers: Sequence[_Layer]) -> str:
    return " or ".join(layer.origin for layer in layers if layer.values)


def _notes(base: argparse.Namespace, settings: LoggerSettings) -> list[str]:
    notes = []
    if settings.delivery.store is not None and base.log_store_format not in tuple(StoreFormat):
        notes.append(f"--log-store-format {base.log_store_format!r} is no format: files are JSON, as of KServe's agent")
    queue_bytes = settings.delivery.queue_bytes // settings.processes
    if settings.delivery.url and queue_bytes < settings.capture.body_bytes:
        notes.append(f"bodies over {queue_bytes} bytes find no room in the queue: raise --queue-bytes")
    return notes


def _settings_file(named: Path | None) -> Path:
    """The mounted one may be missing. Raises `ConfigurationError` where one that a flag names is."""
    try:
        missing = named is not None and not named.is_file()
    except OSError as exc:
        raise ConfigurationError(f"--settings-file {named}: {exc.strerror}") from exc
    if missing:
        raise ConfigurationError(f"--settings-file {named}: no such file")
    return named or CA_FOLDER / SETTINGS_FILE


def asks_for_redaction(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether any origin has a redaction rule; yes also where that cannot be told."""
    try:
        configuration = configuration_of(argv, environ)
    except ConfigurationError:
        return True
    return bool(configuration.faults or configuration.settings.side_work.rules)
