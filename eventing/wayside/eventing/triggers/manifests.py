"""Reads unedited Knative `Broker` and `Trigger` YAML into frozen values.

Source: Knative Eventing API, eventing.knative.dev/v1.
Invariant: what a manifest says is what is delivered. A field that would change delivery and is not supported is an
error, never ignored: a filter that is not understood would otherwise let everything pass.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.filters.filter import Filter
from wayside.eventing.http.url import Url
from wayside.eventing.triggers.annotations import IN_FLIGHT, check_annotations, read_in_flight, read_ordered
from wayside.eventing.triggers.delivery import DeliverySpec
from wayside.eventing.triggers.delivery_fields import read_delivery
from wayside.eventing.triggers.destinations import Resolver
from wayside.eventing.triggers.documents import read_documents
from wayside.eventing.triggers.fields import Fields
from wayside.eventing.triggers.filter_fields import read_filter
from wayside.eventing.triggers.names import BrokerName, TriggerName

log = logging.getLogger("wayside.broker")
_TRIGGER = ("broker", "filter", "filters", "subscriber", "delivery")
_LONGEST_NAME = 253  # of a Kubernetes object


@dataclass(frozen=True, slots=True)
class Trigger:
    """One Trigger: what it listens to, which events it wants, where they go, and how.

    `ordered` asks for events of one key in their order; `in_flight` for so many deliveries at once, None for the
    carrier's own number.
    """

    name: TriggerName
    filter: Filter
    subscriber: Url
    delivery: DeliverySpec
    ordered: bool = False
    in_flight: int | None = None

    @property
    def broker(self) -> BrokerName:
        return BrokerName(self.name.namespace, self.name.broker)


@dataclass(frozen=True, slots=True)
class Manifests:
    """Every broker, and every Trigger in the order of the files."""

    brokers: frozenset[BrokerName]
    triggers: tuple[Trigger, ...]


def load_manifests(paths: Sequence[Path], resolver: Resolver) -> Manifests:
    """Read files, and the *.yaml and *.yml of folders.

    Raises `ConfigurationError` with file, line, column, document and field; also where there is no Broker, or a Trigger
    names one that is not there.
    """
    documents = list(read_documents(paths))
    if not _of_kind(documents, "Broker"):
        raise ConfigurationError(f"no Broker in {', '.join(map(str, paths))}: events would have nowhere to go")
    return manifests_of(documents, resolver)


def manifests_of(documents: Sequence[Fields], resolver: Resolver, orphans: bool = False) -> Manifests:
    """The manifests in documents that were read; `orphans` allows Triggers whose Broker is not among them.

    Raises `ConfigurationError`.
    """
    brokers = _brokers(_of_kind(documents, "Broker"), resolver)
    triggers: dict[tuple[str, str], Trigger] = {}
    for document in _of_kind(documents, "Trigger"):
        trigger = _trigger(document, resolver, brokers)
        if trigger.broker not in brokers and not orphans:
            problem = f"there is no Broker {trigger.broker} in these manifests: add its YAML"
            (document.child("spec") or document).fail("broker", problem)
        key = (trigger.name.namespace, trigger.name.name)
        if key in triggers:
            _metadata(document).fail("name", f"the trigger {'/'.join(key)} is there twice")
        triggers[key] = trigger
    return Manifests(frozenset(brokers), tuple(triggers.values()))


def _of_kind(documents: Sequence[Fields], kind: str) -> list[Fields]:
    return [document for document in documents if document.text("kind") == kind]


def _brokers(documents: Sequence[Fields], resolver: Resolver) -> dict[BrokerName, DeliverySpec]:
    brokers: dict[BrokerName, DeliverySpec] = {}
    for document in documents:
        name, delivery = _broker(document, resolver)
        if name in brokers:
            _metadata(document).fail("name", f"the broker {name} is there twice")
        brokers[name] = delivery
    return brokers


def _metadata(document: Fields) -> Fields:
    return document.child("metadata") or document.fail("metadata", "is missing")


def _identity(metadata: Fields) -> tuple[str, str]:
    """Namespace and name."""
    return _name(metadata, "namespace", "default"), _name(metadata, "name")


def _name(fields: Fields, field: str, default: str | None = None) -> str:
    """The name of an object: what can stand in an address, and on one line."""
    name = fields.text(field, default)
    if "/" in name or not name.isprintable():
        fields.fail(field, "must not hold '/', or what cannot be printed")
    if len(name) > _LONGEST_NAME:
        fields.fail(field, f"is longer than {_LONGEST_NAME} characters")
    return name


def _broker(document: Fields, resolver: Resolver) -> tuple[BrokerName, DeliverySpec]:
    metadata = _metadata(document)
    namespace, name = _identity(metadata)
    check_annotations(metadata)
    spec = document.child("spec")
    if spec is None:
        return BrokerName(namespace, name), DeliverySpec()
    spec.allow(("config", "delivery"))
    if spec.has("config"):
        log.info("%s: spec.config says how Knative stores events; the embedded broker has its own store", spec.where)
    return BrokerName(namespace, name), read_delivery(spec, namespace, resolver) or DeliverySpec()


def _trigger(document: Fields, resolver: Resolver, brokers: Mapping[BrokerName, DeliverySpec]) -> Trigger:
    """`brokers` gives the delivery of those that are known."""
    metadata = _metadata(document)
    namespace, name = _identity(metadata)
    check_annotations(metadata, (IN_FLIGHT,))
    spec = document.child("spec") or document.fail("spec", "is missing")
    spec.allow(_TRIGGER)
    broker = BrokerName(namespace, _name(spec, "broker"))
    subscriber = spec.child("subscriber") or spec.fail("subscriber", "is missing")
    return Trigger(
        name=TriggerName(namespace, broker.name, name),
        filter=read_filter(spec),
        subscriber=resolver.resolve(subscriber, namespace),
        delivery=read_delivery(spec, namespace, resolver) or brokers.get(broker, DeliverySpec()),
        ordered=read_ordered(metadata),
        in_flight=read_in_flight(metadata),
    )
