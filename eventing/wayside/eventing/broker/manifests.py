"""Reads unedited Knative `Broker` and `Trigger` YAML into frozen values.

Source: Knative Eventing API, eventing.knative.dev/v1.
Invariant: what a manifest says is what is delivered. A field that would change delivery and is not supported is an
error, never ignored: a filter that is not understood would otherwise let everything pass.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wayside.eventing.broker.delivery import BackoffPolicy, DeliverySpec, parse_period
from wayside.eventing.broker.destinations import Resolver
from wayside.eventing.broker.fields import Fields
from wayside.eventing.broker.filters import is_attribute_name
from wayside.eventing.broker.names import BrokerName, TriggerName
from wayside.eventing.errors import ConfigurationError, MissingExtra
from wayside.eventing.http.url import Url

try:
    import yaml
except ImportError as exc:
    raise MissingExtra("Broker and Trigger YAML", "broker") from exc

log = logging.getLogger("wayside.broker")
GROUP = "eventing.knative.dev"
_TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec", "status")
_TRIGGER = ("broker", "filter", "filters", "subscriber", "delivery")
_DELIVERY = ("retry", "timeout", "backoffPolicy", "backoffDelay", "retryAfterMax", "deadLetterSink", "format")


@dataclass(frozen=True, slots=True)
class Trigger:
    """One Trigger: what it listens to, which events it wants, where they go, and how."""

    name: TriggerName
    attributes: Mapping[str, str]
    subscriber: Url
    delivery: DeliverySpec

    @property
    def broker(self) -> BrokerName:
        return BrokerName(self.name.namespace, self.name.broker)


@dataclass(frozen=True, slots=True)
class Manifests:
    """Every broker, and every Trigger in the order of the files."""

    brokers: frozenset[BrokerName]
    triggers: tuple[Trigger, ...]


def load_manifests(paths: Sequence[Path], resolver: Resolver) -> Manifests:
    """Read files, and the *.yaml and *.yml of folders. Raises `ConfigurationError` with file, document and field."""
    documents = [document for path in paths for file in _files(path) for document in _documents(file)]
    brokers: dict[BrokerName, DeliverySpec] = {}
    for document in documents:
        if document.values["kind"] == "Broker":
            name, delivery = _broker(document, resolver)
            if name in brokers:
                document.fail("metadata.name", f"the broker {name} is there twice")
            brokers[name] = delivery
    if not brokers:
        raise ConfigurationError(f"no Broker in {', '.join(map(str, paths))}: events would have nowhere to go")
    triggers: dict[tuple[str, str], Trigger] = {}
    for document in documents:
        if document.values["kind"] == "Trigger":
            trigger = _trigger(document, resolver, brokers)
            key = (trigger.name.namespace, trigger.name.name)
            if key in triggers:
                document.fail("metadata.name", f"the trigger {'/'.join(key)} is there twice")
            triggers[key] = trigger
    return Manifests(frozenset(brokers), tuple(triggers.values()))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
    if not found:
        raise ConfigurationError(f"{path}: no *.yaml in this folder")
    return found


def _documents(file: Path) -> Iterator[Fields]:
    try:
        contents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except OSError as exc:
        raise ConfigurationError(f"cannot read {file}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{file} is not YAML: {' '.join(str(exc).split())}") from exc
    for number, content in enumerate(contents, 1):
        for item in _items(content):
            where = f"{file}: document {number}"
            if not isinstance(item, dict):
                raise ConfigurationError(f"{where}: is not a mapping with apiVersion and kind")
            document = Fields(item, where)
            if _is_ours(document):
                yield document


def _items(content: Any) -> list[Any]:
    """A document's objects: itself, or those of the `List` that `kubectl get -o yaml` writes; none of an empty one."""
    if content is None:
        return []
    if isinstance(content, dict) and content.get("kind") == "List" and isinstance(content.get("items"), list):
        items: list[Any] = content["items"]
        return items
    return [content]


def _is_ours(document: Fields) -> bool:
    kind, version = document.text("kind"), document.text("apiVersion")
    group = version.partition("/")[0]
    if group != GROUP or kind not in ("Broker", "Trigger"):
        log.info("%s: %s %s is nothing to the embedded broker", document.where, version, kind)
        return False
    if version != f"{GROUP}/v1":
        document.fail("apiVersion", f"{version!r} is not supported: use {GROUP}/v1")
    document.allow(_TOP_LEVEL)
    return True


def _identity(document: Fields) -> tuple[str, str]:
    metadata = document.child("metadata") or document.fail("metadata", "is missing")
    name, namespace = metadata.text("name"), metadata.text("namespace", "default")
    for field, value in (("name", name), ("namespace", namespace)):
        if "/" in value:
            metadata.fail(field, "must not hold '/'")
    return namespace, name


def _broker(document: Fields, resolver: Resolver) -> tuple[BrokerName, DeliverySpec]:
    namespace, name = _identity(document)
    spec = document.child("spec")
    if spec is None:
        return BrokerName(namespace, name), DeliverySpec()
    spec.allow(("config", "delivery"))
    if "config" in spec.values:
        log.info("%s: spec.config says how Knative stores events; the embedded broker has its own store", spec.where)
    return BrokerName(namespace, name), _delivery(spec, namespace, resolver) or DeliverySpec()


def _trigger(document: Fields, resolver: Resolver, brokers: Mapping[BrokerName, DeliverySpec]) -> Trigger:
    namespace, name = _identity(document)
    spec = document.child("spec") or document.fail("spec", "is missing")
    spec.allow(_TRIGGER)
    broker = BrokerName(namespace, spec.text("broker"))
    if broker not in brokers:
        spec.fail("broker", f"there is no Broker {broker} in these manifests: add its YAML")
    subscriber = spec.child("subscriber") or spec.fail("subscriber", "is missing")
    return Trigger(
        name=TriggerName(namespace, broker.name, name),
        attributes=_attributes(spec),
        subscriber=resolver.resolve(subscriber, namespace),
        delivery=_delivery(spec, namespace, resolver) or brokers[broker],
    )


def _attributes(spec: Fields) -> dict[str, str]:
    if spec.values.get("filters"):
        spec.fail("filters", "the embedded broker does not support these dialects yet: use filter.attributes")
    trigger_filter = spec.child("filter")
    if trigger_filter is None:
        return {}
    trigger_filter.allow(("attributes",))
    attributes = trigger_filter.child("attributes")
    if attributes is None:
        return {}
    for name, value in attributes.values.items():
        if not isinstance(name, str) or not is_attribute_name(name):
            attributes.fail(
                str(name), "is no attribute's name: a lower-case letter, then lower-case letters and digits"
            )
        if not isinstance(value, str):
            attributes.fail(name, f"must be text, not {value!r}; put it in quotes")
    return dict(attributes.values)


def _delivery(spec: Fields, namespace: str, resolver: Resolver) -> DeliverySpec | None:
    """The `delivery` of a Broker or Trigger as a whole; what it leaves out has the default, not the Broker's value."""
    delivery = spec.child("delivery")
    if delivery is None:
        return None
    delivery.allow(_DELIVERY)
    default = DeliverySpec()
    sink = delivery.child("deadLetterSink")
    retry_after_max = _period_s(delivery, "retryAfterMax", -1.0)
    return DeliverySpec(
        retry=delivery.count("retry", default.retry),
        policy=_policy(delivery),
        delay_s=_period_s(delivery, "backoffDelay", default.delay_s),
        timeout_s=_period_s(delivery, "timeout", default.timeout_s) or delivery.fail("timeout", "must be over 0"),
        retry_after_max_s=None if retry_after_max < 0 else retry_after_max,
        dead_letter_sink=resolver.resolve(sink, namespace) if sink else None,
        structured=_structured(delivery),
    )


def _period_s(delivery: Fields, name: str, default: float) -> float:
    if delivery.values.get(name) is None:
        return default
    try:
        return parse_period(delivery.text(name))
    except ValueError as exc:
        delivery.fail(name, str(exc))


def _policy(delivery: Fields) -> BackoffPolicy:
    text = delivery.text("backoffPolicy", BackoffPolicy.EXPONENTIAL.value)
    try:
        return BackoffPolicy(text)
    except ValueError:
        delivery.fail("backoffPolicy", f"must be 'linear' or 'exponential', not {text!r}")


def _structured(delivery: Fields) -> bool:
    text = delivery.text("format", "binary")
    if text not in ("binary", "json"):
        delivery.fail("format", f"must be 'binary' or 'json', not {text!r}")
    return text == "json"
