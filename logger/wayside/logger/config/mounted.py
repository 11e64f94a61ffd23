"""`wayside.yaml` beside the CA bundle: a namespace's settings, from the one ConfigMap that KServe mounts for a logger.

Source: kserve's agent_injector.go: every key of the ConfigMap that `caBundle` names is a file in /etc/tls/logger.
Invariant: read once, at start, within a bound; text becomes data and never objects; nothing in it is passed over, since
it may have been meant to keep something in.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wayside.eventing.errors import ConfigurationError, MissingExtra
from wayside.logger.config.injected import split_values

if TYPE_CHECKING:
    import yaml

SECTION = "logger"
_LIMIT_BYTES = 64 << 10
_LIMIT_DEPTH = 8  # the parser's time grows with its square
_SCALARS = (str, int, float, bool)


def read_settings(path: Path) -> Mapping[str, list[str]]:
    """The values by flag of the file's section `logger:`; one, or for a list all of its items.

    Nothing where there is no such file, or it is empty. Raises `ConfigurationError` that names the file and
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
            if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
                raise ConfigurationError(f"{path}: tags are not taken: write the value without {event.tag}")
        _check_keys(path, yaml.compose(text, yaml.SafeLoader))
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as exc:
        raise ConfigurationError(f"{path}: not YAML: {' '.join(str(exc).split())[:200]}") from exc


def _check_keys(path: Path, node: "yaml.Node | None") -> None:
    """Of a key that is given twice the parser keeps the last, which may take a rule away."""
    import yaml

    found: set[str] = set()
    for item in node.value if isinstance(node, yaml.MappingNode) else ():
        name = str(item[0].value)
        if name in found or name == "<<":
            raise ConfigurationError(f"{path}: {name[:100]!r} is given twice, or merged: write each key once")
        found.add(name)
        _check_keys(path, item[1])


def _section(path: Path, document: Any) -> Mapping[Any, Any]:
    if not isinstance(document, dict | None):
        raise ConfigurationError(f"{path}: must be a mapping with the section {SECTION}:")
    others = [str(name)[:100] for name in document or {} if name != SECTION]
    if others:
        raise ConfigurationError(f"{path}: {', '.join(others)}: settings stand below {SECTION}: and nothing beside it")
    section = (document or {}).get(SECTION)
    if not isinstance(section, dict | None):
        raise ConfigurationError(f"{path}: {SECTION}: must be a mapping of settings")
    return section or {}


def _values(path: Path, name: Any, value: Any) -> Iterator[str]:
    if not isinstance(name, str):
        raise ConfigurationError(f"{path}: {SECTION}: {name!r} is no setting's name")
    written = split_values(name, value) if isinstance(value, str) else value
    for item in written if isinstance(written, list) else [written]:
        if not isinstance(item, _SCALARS):
            raise ConfigurationError(f"{path}: {SECTION}: {name}: must be a text, a number, or a list of them")
        yield str(item).lower() if isinstance(item, bool) else str(item)
