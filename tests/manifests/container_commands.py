"""Containers of ours, parsed by the command lines that they run: what each listens on and where it sends.

Invariant: a container is parsed with its image's environment under its own, as a container engine has it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from image_files import image_of
from manifest_files import ROOT

from wayside.local.cli import COMMANDS

_VARIABLE = re.compile(r"\$\(([A-Z_]+)\)")
_MODEL = ROOT / "local" / "wayside" / "local" / "demo" / "model_server.py"
# the module that an image's ENTRYPOINT runs → the module that parses its command line
_PARSERS = {
    "wayside.logger": "wayside.logger.cli",
    "wayside.eventing.broker": "wayside.eventing.broker.cli",
    "wayside.detectors": "wayside.detectors.serving.adserver",
    "wayside.sinks": "wayside.sinks.cli",
}


@dataclass(frozen=True, slots=True)
class Listening:
    """The port of a container's traffic, None where it pulls or serves none, and the port of its probes and metrics."""

    events: int | None
    admin: int | None

    @property
    def ports(self) -> set[int]:
        return {port for port in (self.events, self.admin) if port is not None}


@dataclass(frozen=True, slots=True)
class Container:
    """One container: its image's reference, its arguments, and the environment beyond the image's."""

    image: str
    arguments: Sequence[str]
    environment: Mapping[str, str]

    def expanded(self) -> list[str]:
        """The arguments with `$(NAME)` replaced, as Kubernetes does."""
        return [_VARIABLE.sub(lambda match: self.environment[match[1]], argument) for argument in self.arguments]

    def settings(self) -> Any:
        """What our own command line makes of it. Raises `ConfigurationError`."""
        image = image_of(self.image)
        arguments = self.expanded()
        parse = _parser(image.last_stage("ENTRYPOINT")[0], arguments)
        if image.name == "wayside-local":
            arguments = arguments[1:]
        return parse(arguments, {**image.environment, **self.environment})

    def listening(self) -> Listening:
        """What it listens on, checked to be reachable from outside of the container."""
        if image_of(self.image).name == "wayside-model":
            return Listening(_model_port(self.expanded()), None)
        settings = self.settings()
        where = getattr(settings, "listen", settings)
        if not hasattr(where, "port"):
            return Listening(None, None)
        hosts = {where.host, getattr(where, "admin_host", where.host)}
        assert hosts == {"0.0.0.0"}, f"{self.image} listens on {hosts}: nobody outside of its container can reach it"
        return Listening(None if self.pulls else where.port, getattr(where, "admin_port", None))

    @property
    def pulls(self) -> bool:
        """Whether it gets its events from Kafka."""
        flags = {argument.split("=")[0] for argument in self.arguments}
        return "--source" in flags or any(name.endswith("_SOURCE") for name in self.environment)


def _parser(entrypoint: str, arguments: Sequence[str]) -> Callable[[Sequence[str], Mapping[str, str]], Any]:
    module = entrypoint.strip('[]"').split('"')[-1]
    name = COMMANDS[arguments[0]].module if module == "wayside.local" else _PARSERS[module]
    parse: Callable[[Sequence[str], Mapping[str, str]], Any] = import_module(name).parse
    return parse


def _model_port(arguments: Sequence[str]) -> int:
    """The model server lives in an environment of its own, so its flags are looked up in its source."""
    flags = arguments[::2]
    source = _MODEL.read_text(encoding="utf-8")
    assert all(f'add_argument("{flag}"' in source for flag in flags), flags
    return int(arguments[arguments.index("--http_port") + 1])


def dummy_files(folder: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with the path of a mounted file of Kafka's settings replaced by one that is there."""
    settings = folder / "client.properties"
    settings.write_text("security.protocol=sasl_ssl\nsasl.password=dummy\n", encoding="utf-8")
    return {name: str(settings) if name.endswith("_KAFKA_CONFIG") else value for name, value in environment.items()}
