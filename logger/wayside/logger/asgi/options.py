"""The logger's settings as keyword arguments: the flags of `wayside logger`, written as Python names.

Invariant: a setting means here what it means to the proxy, and is checked by the same code; one that only a proxy can
have is refused. `WAYSIDE_LOGGER_…` in the environment stands below what the app itself says.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.logger.config.configuration import configuration_of
from wayside.logger.settings import LoggerSettings

log = logging.getLogger("wayside.logger")
Value = str | int | float | bool | Path | Sequence[str]
_SHORT = {"source": "source_uri"}
_PROXYS = frozenset(
    (
        *("admin_host", "admin_port", "component_host", "component_port", "host", "port", "processes", "process"),
        *("enable_batcher", "enable_puller", "kserve_agent", "probe_period", "quiet_period"),
    )
)


def settings_of(keywords: Mapping[str, Value], environ: Mapping[str, str]) -> LoggerSettings:
    """`log_url="http://…", sample="10%", redact=["column:ssn=drop"]`.

    A list gives a flag several times. Raises `ConfigurationError` for a name or a value that the logger does not take.
    """
    configuration = configuration_of(list(_flags(keywords)), environ)
    for words in (*configuration.notes, *configuration.faults):
        log.warning("%s", words)
    return configuration.settings


def _flags(keywords: Mapping[str, Value]) -> Iterator[str]:
    for name, value in keywords.items():
        if name in _PROXYS:
            raise ConfigurationError(f"{name}: this is for the logger as a proxy; in an app it has no meaning")
        flag = _SHORT.get(name, name).replace("_", "-")
        for one in (value,) if isinstance(value, str | int | float | Path) else value:
            yield f"--{flag}={_text(one)}"


def _text(value: str | float | Path) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
