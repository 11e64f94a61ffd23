"""Reads a file of librdkafka's settings: one `key=value` a line, `#` begins a comment line.

One file serves producers, consumers and admin clients; each takes what is its own and passes over the rest.

Invariant: what the carrier's guarantees rest on cannot be set here; an error names file and line, and never a value.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from wayside.eventing.errors import ConfigurationError

_ADDRESS = "give the servers in the address, kafka://host:9092/topic"
_COMMITS = "the carrier commits what the next stage has accepted"
_ACKS = "the carrier always waits for all in-sync replicas, without duplicates of its own"
_TIMEOUT = "the sink's own time-out decides (--send-timeout at the logger)"
_READING = "the carrier reads what is committed, from the earliest"
_CALLBACK = "callbacks are the carrier's own"
_OWNED = {
    **dict.fromkeys(("bootstrap.servers", "metadata.broker.list"), _ADDRESS),
    "group.id": "use --group",
    **dict.fromkeys(("enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms"), _COMMITS),
    **dict.fromkeys(("enable.auto.offset.store", "offset.store.method", "offset.store.path"), _COMMITS),
    **dict.fromkeys(("acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee"), _ACKS),
    **dict.fromkeys(("transactional.id", "max.in.flight", "max.in.flight.requests.per.connection"), _ACKS),
    **dict.fromkeys(("retries", "message.send.max.retries"), _ACKS),
    **dict.fromkeys(("message.timeout.ms", "delivery.timeout.ms", "request.timeout.ms"), _TIMEOUT),
    "topic.metadata.propagation.max.ms": _TIMEOUT,
    **dict.fromkeys(("auto.offset.reset", "isolation.level", "enable.partition.eof"), _READING),
    **dict.fromkeys(("partition.assignment.strategy", "group.protocol", "group.remote.assignor"), _READING),
    **dict.fromkeys(("logger", "on_commit", "on_delivery", "opaque", "interceptors"), _CALLBACK),
    "default.topic.config": "write each setting of topics on a line of its own",
    "plugin.library.paths": "foreign code is not loaded",
}
_KEY = re.compile(r"[a-z0-9._]+", re.ASCII)
_BY_KEY = ("consistent", "consistent_random", "murmur2", "murmur2_random", "fnv1a", "fnv1a_random")
_PARTITIONERS = ", ".join(_BY_KEY)


def load_config(path: Path | None) -> Mapping[str, str]:
    """The settings in a file; none where there is no file. Raises `ConfigurationError`."""
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path} is not UTF-8 text") from exc
    return parse_config(text, str(path))


def parse_config(text: str, name: str) -> Mapping[str, str]:
    """The settings in a file's text; `name` stands for the file in errors. Raises `ConfigurationError`."""
    settings: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            key, value = _setting(line, f"{name}, line {number}")
            if key in settings:
                raise ConfigurationError(f"{name}, line {number}: {key} is set twice")
            settings[key] = value
    return settings


def _setting(line: str, where: str) -> tuple[str, str]:
    key, equals, value = (part.strip() for part in line.partition("="))
    # what is no key may be part of a secret: `sasl.password: c2VjcmV0=`, or a line of a key that was broken in two
    if not equals or _KEY.fullmatch(key) is None:
        raise ConfigurationError(f"{where}: is not key=value, with a key such as compression.type")
    if key in _OWNED or key.endswith("_cb"):
        raise ConfigurationError(f"{where}: {key} cannot be set: {_OWNED.get(key, _CALLBACK)}")
    if not value:
        raise ConfigurationError(f"{where}: there is no value after '='")
    if key == "partitioner" and value not in _BY_KEY:
        raise ConfigurationError(
            f"{where}: partitioner must go by the key, which keeps a service's order: {_PARTITIONERS}"
        )
    return key, value
