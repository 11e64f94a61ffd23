"""`wayside.yaml` beside the CA bundle: a namespace's settings, from the one ConfigMap that KServe mounts for a logger.

Source: kserve's agent_injector.go: every key of the ConfigMap that `caBundle` names is a file in /etc/tls/logger.
Invariant: read once, at start, within a bound; text becomes data and never objects.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wayside.eventing.errors import ConfigurationError, MissingExtra

SECTION = "logger"
_LIMIT_BYTES = 64 << 10
_LIMIT_DEPTH = 8  # the parser's time grows with its square
_SCALARS = (str, int, float, bool)


def read_settings(path: Path) -> Mapping[str, list[str]]:
    """The values by flag of the file's section `logger:`; one, or for a list all of its items.

    Nothing where there is no such file, or it has no such section. Raises `ConfigurationError` that names the file and
    the place for one that cannot be read.
    """
    text = _read(path)
    if text is None:
        return {}
    section = _section(path, _load(path, text))
    return {name: list(_values(path, name, value)) for name, value in section.items()}


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            text = file.read(_LIMIT_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigurationError(f"{path}: {exc.strerror}") from exc
    if len(text) > _LIMIT_BYTES:
        raise ConfigurationError(f"{path}: over {_LIMIT_BYTES} bytes")
    return text


def _load(path: Path, text: bytes) -> Any:
    try:
        import yaml
    except ImportError as exc:
        raise MissingExtra(f"{path}", "logger") from exc
    try:
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _LIMIT_DEPTH or isinstance(event, yaml.AliasEvent):
                raise ConfigurationError(f"{path}: aliases, and lists within lists, are not taken")
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as exc:
        raise ConfigurationError(f"{path}: not YAML: {' '.join(str(exc).split())[:200]}") from exc


def _section(path: Path, document: Any) -> Mapping[Any, Any]:
    if not isinstance(document, dict | None):
        raise ConfigurationError(f"{path}: must be a mapping with the section {SECTION}:")
    section = (document or {}).get(SECTION)
    if not isinstance(section, dict | None):
        raise ConfigurationError(f"{path}: {SECTION}: must be a mapping of settings")
    return section or {}


def _values(path: Path, name: Any, value: Any) -> Iterator[str]:
    if not isinstance(name, str):
        raise ConfigurationError(f"{path}: {SECTION}: {name!r} is no setting's name")
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, _SCALARS):
            raise ConfigurationError(f"{path}: {SECTION}: {name}: must be a text, a number, or a list of them")
        yield str(item).lower() if isinstance(item, bool) else str(item)
