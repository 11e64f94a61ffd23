"""The flags of a process that pulls its events from Kafka, and the filter that its Triggers make.

Invariant: whoever gives no --source needs neither Kafka's client nor YAML; a Trigger file filters here as it
does in the embedded broker.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import parse_address
from wayside.eventing.kafka.declarations import parse_declarations
from wayside.eventing.kafka.subscription import Subscription

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from wayside.eventing.kafka.source import KafkaSource
    from wayside.eventing.sink import Sink

_WAIT = re.compile(r"(\d+(?:\.\d+)?)([smh]?)", re.ASCII)
_WAIT_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Pull:
    """Where events are pulled from: what is subscribed to, the Triggers that filter it, the file of settings."""

    subscription: Subscription
    triggers: tuple[Path, ...] = ()
    config: Path | None = None


def add_source_arguments(parser: argparse.ArgumentParser, default_group: str | None, shown: str = "") -> None:
    """Add `--source`, `--group`, `--trigger`, `--plain`, `--kafka-config` and `--wait`.

    Where the group's default is known only later, `default_group` is None and `shown` says in the help what it will be.
    """
    add = parser.add_argument_group("events from Kafka, in the place of an event port").add_argument
    add("--source", metavar="URL", help="kafka://host:9092[,host2:9092]/topic[,topic]")
    add(
        "--group", default=default_group, metavar="NAME", help=f"the consumer group (default: {shown or default_group})"
    )
    add("--trigger", action="append", default=[], type=_paths, metavar="FILE[,FILE…]",
        help="Broker and Trigger YAML: only what its Triggers let pass is taken; may be repeated")  # fmt: skip
    add("--plain", action="append", default=[], metavar="[TOPIC=]WHAT[,…]",
        help="what records that are no CloudEvents are: KIND:PROTOCOL:NAMESPACE/SERVICE, such as"
        " rows=request:v2:default/digits, or knative; may be repeated (default: they are dead letters)")  # fmt: skip
    add("--kafka-config", type=Path, metavar="FILE", help="librdkafka's settings (SASL, TLS), as key=value lines")
    add("--wait", type=parse_wait_s, default="60s", help="how long the start waits for a service (default: 60s)")


def pull_of(arguments: argparse.Namespace) -> Pull | None:
    """All that the flags say; None without `--source`. Raises `ConfigurationError`."""
    if not arguments.source:
        return None
    plain = parse_declarations(arguments.plain)
    subscription = Subscription(parse_address(arguments.source), arguments.group or "", arguments.wait, plain)
    triggers = tuple(path for paths in arguments.trigger for path in paths)
    return Pull(subscription, triggers, arguments.kafka_config)


def open_source(pull: Pull, name: str, sink: "Sink", registry: "CollectorRegistry") -> "KafkaSource":
    """The source of the process called `name`, not started yet; `sink` stays the caller's to start and stop.

    Raises `ConfigurationError` for files that do not fit, `MissingExtra` without Kafka's client.
    """
    from wayside.eventing.kafka.config import load_config
    from wayside.eventing.kafka.holding import SourceLimits
    from wayside.eventing.kafka.source import KafkaSource  # needs the extra `kafka`

    selected, config = select(pull.triggers, name), load_config(pull.config)
    limits = SourceLimits() if selected.in_flight is None else SourceLimits(events=selected.in_flight)
    return KafkaSource(pull.subscription, sink, config, registry, selected.passes, limits, selected.ordered)


def parse_wait_s(text: str) -> float:
    """Seconds of '60s', '2m', '1h' or '60'."""
    match = _WAIT.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 60s or 2m")
    return float(match[1]) * _WAIT_UNITS_S[match[2]]


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(","))


@dataclass(frozen=True, slots=True)
class Selection:
    """What Triggers ask of a carrier: what passes, whether events of one key keep their order, how many at once."""

    passes: Callable[[CloudEvent], bool]
    ordered: bool = False
    in_flight: int | None = None


def select(files: Sequence[Path], name: str) -> Selection:
    """What the subscriber called `name` is given: what any Trigger whose ref names it lets pass; without files, all.

    Events come in order where one of these Triggers asks for it, and as few at once as any of them does. A Trigger's
    `delivery` is the broker's affair; this carrier tries again for ever. Raises `ConfigurationError` for files that the
    embedded broker would not take, and where no Trigger's ref names `name`.
    """
    if not files:
        return Selection(lambda event: True)
    from wayside.eventing.triggers.destinations import RefHosts, Resolver
    from wayside.eventing.triggers.manifests import load_manifests  # needs YAML

    triggers = load_manifests(files, Resolver(RefHosts())).triggers
    ours = [trigger for trigger in triggers if trigger.subscriber.origin.host == name + RefHosts.suffix]
    if not ours:
        raise ConfigurationError(
            f"no Trigger in {', '.join(map(str, files))} has a subscriber whose ref names {name!r}: nothing would pass"
        )
    filters = [trigger.filter for trigger in ours]
    return Selection(
        passes=lambda event: any(one.passes(event) for one in filters),
        ordered=any(trigger.ordered for trigger in ours),
        in_flight=min((trigger.in_flight for trigger in ours if trigger.in_flight), default=None),
    )
