"""The overlay's Broker and Triggers, loaded unedited by our own broker."""

from manifest_files import OVERLAYS, ROOT

from wayside.eventing.broker.destinations import Resolver
from wayside.eventing.broker.manifests import Manifests, load_manifests
from wayside.eventing.http.url import Url
from wayside.eventing.vocabulary import DRIFT, OUTLIER, REQUEST

FILES = [OVERLAYS / "knative" / name for name in ("broker.yaml", "triggers.yaml")]
SUBSCRIBERS = ["outlier", "drift", "elasticsearch-sink", "prometheus-sink"]


def loaded() -> Manifests:
    resolver = Resolver({name: Url.parse(f"http://{name}:80/") for name in SUBSCRIBERS})
    return load_manifests(FILES, resolver)


def test_our_broker_takes_them_as_they_are() -> None:
    manifests = loaded()
    assert [str(broker) for broker in manifests.brokers] == ["default/default"]
    assert {trigger.subscriber.text for trigger in manifests.triggers} == {f"http://{name}:80/" for name in SUBSCRIBERS}


def test_each_subscriber_gets_what_it_is_for() -> None:
    wanted = {trigger.name.name: trigger.attributes.get("type") for trigger in loaded().triggers}
    assert wanted == {
        "outlier": REQUEST,
        "drift": REQUEST,
        "elasticsearch-sink": None,
        "prometheus-sink-outlier": OUTLIER,
        "prometheus-sink-drift": DRIFT,
    }


def test_one_machine_and_a_cluster_filter_alike() -> None:
    folder = ROOT / "local" / "wayside" / "local" / "manifests"
    embedded = load_manifests([folder], Resolver({name: Url.parse(f"http://{name}/") for name in _EMBEDDED}))
    assert _filters(embedded) - {("records", None)} == _filters(loaded())


_EMBEDDED = ["outlier", "drift", "elasticsearch", "prometheus", "records"]


def _filters(manifests: Manifests) -> set[tuple[str, str | None]]:
    """What each subscriber gets, whatever its Triggers are called."""
    return {
        (trigger.subscriber.origin.host.removesuffix("-sink"), trigger.attributes.get("type"))
        for trigger in manifests.triggers
    }


def test_every_delivery_is_bounded_and_bridges_a_restart() -> None:
    for trigger in loaded().triggers:
        delivery = trigger.delivery
        bridged_s = sum(delivery.delay_s * 2**number for number in range(delivery.retry))
        assert bridged_s > 600, trigger.name
        assert delivery.timeout_s == 30
