"""The flags of a process that pulls its events from Kafka, and the filter that its Triggers make.

Invariant: whoever gives no --source needs neither Kafka's client nor YAML; a Trigger file filters here as it
does in the embedded broker.
"""

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import parse_address
from wayside.eventing.kafka.subscription import Subscription

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from wayside.eventing.http.url import Url
    from wayside.eventing.kafka.source import KafkaSource
    from wayside.eventing.sink import Sink

_WAIT = re.compile(r"(\d+(?:\.\d+)?)([smh]?)", re.ASCII)
_WAIT_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600}
_REF_HOST = ".wayside.invalid"


@dataclass(frozen=True, slots=True)
class Pull:
    """Where events are pulled from: what is subscribed to, the Triggers that filter it, the file of settings."""

    subscription: Subscription
    triggers: tuple[Path, ...] = ()
    config: Path | None = None


def add_source_arguments(parser: argparse.ArgumentParser, default_group: str | None, shown: str = "") -> None:
    """Add `--source`, `--group`, `--trigger`, `--kafka-config` and `--wait`.

    Where the group's default is known only later, `default_group` is None and `shown` says in the help what it will be.
    """
    add = parser.add_argument_group("events from Kafka, in the place of an event port").add_argument
    add("--source", metavar="URL", help="kafka://host:9092[,host2:9092]/topic[,topic]")
    add(
        "--group", default=default_group, metavar="NAME", help=f"the consumer group (default: {shown or default_group})"
    )
    add("--trigger", action="append", default=[], type=_paths, metavar="FILE[,FILE…]",
        help="Broker and Trigger YAML: only what its Triggers let pass is taken; may be repeated")  # fmt: skip
    add("--kafka-config", type=Path, metavar="FILE", help="librdkafka's settings (SASL, TLS), as key=value lines")
    add("--wait", type=parse_wait_s, default="60s", help="how long the start waits for a service (default: 60s)")


def pull_of(arguments: argparse.Namespace) -> Pull | None:
    """All that the flags say; None without `--source`. Raises `ConfigurationError`."""
    if not arguments.source:
        return None
    subscription = Subscription(parse_address(arguments.source), arguments.group or "", arguments.wait)
    triggers = tuple(path for paths in arguments.trigger for path in paths)
    return Pull(subscription, triggers, arguments.kafka_config)


def open_source(pull: Pull, name: str, sink: "Sink", registry: "CollectorRegistry") -> "KafkaSource":
    """The source of the process called `name`, not started yet; `sink` stays the caller's to start and stop.

    Raises `ConfigurationError` for files that do not fit, `MissingExtra` without Kafka's client.
    """
    from wayside.eventing.kafka.config import load_config
    from wayside.eventing.kafka.source import KafkaSource  # needs the extra `kafka`

    passes = trigger_filter(pull.triggers, name)
    return KafkaSource(pull.subscription, sink, load_config(pull.config), registry, passes)


def parse_wait_s(text: str) -> float:
    """Seconds of '60s', '2m', '1h' or '60'."""
    match = _WAIT.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 60s or 2m")
    return float(match[1]) * _WAIT_UNITS_S[match[2]]


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(","))


def trigger_filter(files: Sequence[Path], name: str) -> Callable[[CloudEvent], bool]:
    """What passes to the subscriber called `name`: what any Trigger whose ref names it lets pass; without files, all.

    A Trigger's `delivery` is the broker's affair; this carrier tries again for ever. Raises `ConfigurationError` for
    files that the embedded broker would not take, and where no Trigger's ref names `name`.
    """
    if not files:
        return lambda event: True
    from wayside.eventing.broker.destinations import Resolver  # needs YAML
    from wayside.eventing.broker.filters import matches
    from wayside.eventing.broker.manifests import load_manifests

    triggers = load_manifests(files, Resolver(_Refs())).triggers
    filters = [trigger.attributes for trigger in triggers if trigger.subscriber.origin.host == name + _REF_HOST]
    if not filters:
        raise ConfigurationError(
            f"no Trigger in {', '.join(map(str, files))} has a subscriber whose ref names {name!r}: nothing would pass"
        )
    return lambda event: any(matches(attributes, event) for attributes in filters)


class _Refs(Mapping[str, "Url"]):
    """Says of every ref where it is: at a host that carries its name. Nothing is ever sent there."""

    def __getitem__(self, key: str) -> "Url":
        from wayside.eventing.http.url import Url

        return Url.parse(f"http://{key.rpartition('/')[2]}{_REF_HOST}/")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
