from pathlib import Path

import pytest

from wayside.eventing.broker.delivery import BackoffPolicy, DeliverySpec
from wayside.eventing.broker.destinations import Resolver
from wayside.eventing.broker.manifests import Manifests, load_manifests
from wayside.eventing.broker.names import BrokerName, TriggerName
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.url import Url

BROKER = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default}
"""
TRIGGER = """
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: t}
spec:
  broker: default
  subscriber: {uri: "http://there:1/path?q=1"}
"""
URLS = {"svc": "http://svc:80/base/", "other/svc": "http://other:80/", "dead": "http://dead:80/"}


def load(folder: Path, *documents: str) -> Manifests:
    file = folder / "m.yaml"
    file.write_text("\n---\n".join(documents))
    return load_manifests([file], Resolver({name: Url.parse(url) for name, url in URLS.items()}))


def test_an_ordinary_file_as_kubectl_shows_it(tmp_path: Path) -> None:
    exported = """
apiVersion: v1
kind: List
items:
- apiVersion: eventing.knative.dev/v1
  kind: Broker
  metadata:
    name: main
    namespace: shop
    uid: 5f0
    annotations: {eventing.knative.dev/broker.class: MTChannelBasedBroker}
  spec:
    config: {apiVersion: v1, kind: ConfigMap, name: config-br-default-channel}
    delivery: {retry: 2, backoffPolicy: linear, backoffDelay: PT1S}
  status: {address: {url: http://broker-ingress/shop/main}}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: unrelated}
- apiVersion: eventing.knative.dev/v1
  kind: Trigger
  metadata: {name: one, namespace: shop, labels: {a: b}}
  spec:
    broker: main
    filter: {attributes: {type: order, tier: ""}}
    subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: svc}, uri: sub/path}
  status: {}
"""
    manifests = load(tmp_path, exported, "", BROKER)
    assert manifests.brokers == {BrokerName("shop", "main"), BrokerName("default", "default")}
    (trigger,) = manifests.triggers
    assert trigger.name == TriggerName("shop", "main", "one")
    assert trigger.attributes == {"type": "order", "tier": ""}
    assert trigger.subscriber.text == "http://svc:80/base/sub/path"
    assert trigger.delivery == DeliverySpec(retry=2, policy=BackoffPolicy.LINEAR, delay_s=1)


def test_a_triggers_delivery_replaces_the_brokers_as_a_whole(tmp_path: Path) -> None:
    broker = BROKER + "spec: {delivery: {retry: 2, timeout: PT3S, deadLetterSink: {uri: 'http://dead/'}}}"
    own = TRIGGER.replace("name: t", "name: own") + (
        "  delivery: {backoffDelay: PT0.5S, retryAfterMax: PT9S, format: json, deadLetterSink: "
        "{ref: {kind: Service, name: dead}}}"
    )
    without, replaced = load(tmp_path, broker, TRIGGER, own).triggers
    assert (without.delivery.retry, without.delivery.timeout_s) == (2, 3)
    assert without.delivery.dead_letter_sink == Url.parse("http://dead/")
    assert (replaced.delivery.retry, replaced.delivery.timeout_s, replaced.delivery.delay_s) == (10, 30, 0.5)
    assert replaced.delivery.retry_after_max_s == 9
    assert replaced.delivery.structured
    assert replaced.delivery.dead_letter_sink == Url.parse("http://dead:80/")


def test_a_trigger_without_a_filter_wants_everything_and_its_url_is_kept_exactly(tmp_path: Path) -> None:
    (trigger,) = load(tmp_path, BROKER, TRIGGER + "  filters: []").triggers
    assert trigger.attributes == {}
    assert trigger.subscriber.target == b"/path?q=1"
    assert trigger.delivery == DeliverySpec()


def test_a_name_resolves_with_its_namespace_first(tmp_path: Path) -> None:
    ref = TRIGGER.replace('{uri: "http://there:1/path?q=1"}', "{ref: {kind: Service, name: svc, namespace: other}}")
    assert load(tmp_path, BROKER, ref).triggers[0].subscriber.text == "http://other:80/"


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(TRIGGER)
    (tmp_path / "a.yaml").write_text(BROKER)
    (tmp_path / "notes.txt").write_text("{")
    assert len(load_manifests([tmp_path], Resolver({})).triggers) == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("broker: default", "broker: other", r"document 2: spec\.broker: there is no Broker default/other"),
        ("broker: default", "brokerRef: {name: default}", r"spec\.brokerRef: is not supported here"),
        ("broker: default", "broker: ''", r"spec\.broker: is empty"),
        ("  subscriber:", "  subscribers:", r"spec\.subscribers: is not supported here; known are"),
        ("name: t", "labels: {}", r"metadata\.name: is missing"),
        ("name: t", "name: a/b", r"metadata\.name: must not hold"),
        ("kind: Trigger", "kind: Trigger\nextra: 1", "extra: is not supported here"),
        ("knative.dev/v1", "knative.dev/v1beta1", "apiVersion: .* is not supported: use eventing.knative.dev/v1"),
        ('{uri: "http://there:1/path?q=1"}', "{uri: there}", r"spec\.subscriber\.uri: 'there' is not an absolute"),
        ('{uri: "http://there:1/path?q=1"}', "{}", r"spec\.subscriber\.uri: is missing"),
        ('"http://there:1/path?q=1"}', '"http://a/", CACerts: x}', r"spec\.subscriber\.CACerts: is not supported"),
        (
            '{uri: "http://there:1/path?q=1"}',
            "{ref: {kind: Service, name: gone}}",
            r"spec\.subscriber\.ref\.name: nothing says where default/gone is: add --resolve gone=http://HOST:PORT/",
        ),
        (
            '{uri: "http://there:1/path?q=1"}',
            "{ref: {kind: Service, name: svc}, uri: 'http://x/'}",
            r"subscriber\.uri: must be relative",
        ),
    ],
)
def test_a_wrong_trigger_is_told_where(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as raised:
        load(tmp_path, BROKER, TRIGGER.replace(old, new))
    assert str(tmp_path / "m.yaml") in str(raised.value)


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("filters: [{prefix: {type: a}}]", r"spec\.filters: .*not support these dialects yet"),
        ("filter: {attributes: {Type: a}}", r"spec\.filter\.attributes\.Type: is no attribute's name"),
        ("filter: {attributes: {type: true}}", r"spec\.filter\.attributes\.type: must be text, not True"),
        ("filter: {attributes: [a]}", r"spec\.filter\.attributes: must be a mapping, not a list"),
        ("filter: {exact: {type: a}}", r"spec\.filter\.exact: is not supported here"),
        ("filter: yes", r"spec\.filter: must be a mapping, not a boolean"),
        ("delivery: {retry: -1}", r"spec\.delivery\.retry: must be an integer from 0, not -1"),
        ("delivery: {retry: true}", r"spec\.delivery\.retry: must be an integer from 0, not True"),
        ("delivery: {retry: '3'}", r"spec\.delivery\.retry: must be an integer from 0, not '3'"),
        ("delivery: {timeout: PT0S}", r"spec\.delivery\.timeout: must be over 0"),
        ("delivery: {timeout: 5}", r"spec\.delivery\.timeout: must be text, not a number"),
        ("delivery: {backoffDelay: 5s}", r"spec\.delivery\.backoffDelay: '5s' is not an ISO 8601 duration"),
        ("delivery: {backoffPolicy: quick}", r"spec\.delivery\.backoffPolicy: must be 'linear' or 'exponential'"),
        ("delivery: {format: xml}", r"spec\.delivery\.format: must be 'binary' or 'json'"),
        ("delivery: {retries: 3}", r"spec\.delivery\.retries: is not supported here"),
        ("delivery: {deadLetterSink: {ref: {kind: Service, name: gone}}}", r"deadLetterSink\.ref\.name: nothing says"),
    ],
)
def test_what_would_change_delivery_is_never_passed_over(tmp_path: Path, field: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load(tmp_path, BROKER, f"{TRIGGER}  {field}")


@pytest.mark.parametrize(
    ("documents", "says"),
    [
        ([BROKER, BROKER], "document 2: metadata.name: the broker default/default is there twice"),
        ([BROKER, TRIGGER, TRIGGER], "document 3: metadata.name: the trigger default/t is there twice"),
        ([TRIGGER.replace("Trigger", "Subscription")], "no Broker in"),
        ([BROKER, "- a"], "document 2: is not a mapping"),
        ([BROKER, "a: b"], "document 2: kind: is missing"),
        ([BROKER + "spec: {retry: 1}"], r"document 1: spec\.retry: is not supported here"),
        (["{"], "is not YAML"),
    ],
)
def test_a_wrong_file(tmp_path: Path, documents: list[str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load(tmp_path, *documents)


def test_a_file_that_is_not_there_and_a_folder_without_yaml(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*gone\.yaml"):
        load_manifests([tmp_path / "gone.yaml"], Resolver({}))
    with pytest.raises(ConfigurationError, match=r"no \*\.yaml"):
        load_manifests([tmp_path], Resolver({}))
