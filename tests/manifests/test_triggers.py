"""The overlay's Broker and Triggers, loaded unedited by our own broker."""

from manifest_files import OVERLAYS, ROOT

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.url import Url
from wayside.eventing.triggers.destinations import Resolver
from wayside.eventing.triggers.manifests import Manifests, Trigger, load_manifests
from wayside.eventing.vocabulary import ALERTS, DRIFT, OUTLIER, REQUEST

FILES = [OVERLAYS / "knative" / name for name in ("broker.yaml", "triggers.yaml")]
SUBSCRIBERS = ["outlier", "drift", "elasticsearch-sink", "prometheus-sink"]
_TYPES = frozenset((REQUEST, OUTLIER, DRIFT, *ALERTS, "other"))


def loaded() -> Manifests:
    resolver = Resolver({name: Url.parse(f"http://{name}:80/") for name in SUBSCRIBERS})
    return load_manifests(FILES, resolver)


def test_our_broker_takes_them_as_they_are() -> None:
    manifests = loaded()
    assert [str(broker) for broker in manifests.brokers] == ["default/default"]
    assert {trigger.subscriber.text for trigger in manifests.triggers} == {f"http://{name}:80/" for name in SUBSCRIBERS}


def test_each_subscriber_gets_what_it_is_for() -> None:
    wanted = {trigger.name.name: _types(trigger) for trigger in loaded().triggers}
    assert wanted == {
        "outlier": {REQUEST},
        "drift": {REQUEST},
        "elasticsearch-sink": _TYPES,
        "prometheus-sink-outlier": {OUTLIER},
        "prometheus-sink-drift": {DRIFT},
        "prometheus-sink-alert": ALERTS,
    }


def _types(trigger: Trigger) -> frozenset[str]:
    """Which of these types of event it lets pass."""
    return frozenset(kind for kind in _TYPES if trigger.filter.passes(CloudEvent("1", "s", kind)))


def test_one_machine_and_a_cluster_filter_alike() -> None:
    folder = ROOT / "local" / "wayside" / "local" / "manifests"
    embedded = load_manifests([folder], Resolver({name: Url.parse(f"http://{name}/") for name in _EMBEDDED}))
    assert _filters(embedded) - {("records", _TYPES)} == _filters(loaded())


_EMBEDDED = ["outlier", "drift", "elasticsearch", "prometheus", "records"]


def _filters(manifests: Manifests) -> set[tuple[str, frozenset[str]]]:
    """What each subscriber gets, whatever its Triggers are called."""
    return {(trigger.subscriber.origin.host.removesuffix("-sink"), _types(trigger)) for trigger in manifests.triggers}


def test_every_delivery_is_bounded_and_bridges_a_restart() -> None:
    for trigger in loaded().triggers:
        delivery = trigger.delivery
        bridged_s = sum(delivery.delay_s * 2**number for number in range(delivery.retry))
        assert bridged_s > 600, trigger.name
        assert delivery.timeout_s == 30
