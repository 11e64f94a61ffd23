from pathlib import Path

import pytest

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.url import Url
from wayside.eventing.triggers.delivery import BackoffPolicy, DeliverySpec
from wayside.eventing.triggers.destinations import RefHosts, Resolver
from wayside.eventing.triggers.manifests import Manifests, load_manifests
from wayside.eventing.triggers.names import BrokerName, TriggerName

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
    assert trigger.filter.passes(CloudEvent("1", "s", "order", extensions={"tier": "gold"}))
    assert not trigger.filter.passes(CloudEvent("1", "s", "order"))
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
    assert trigger.filter.passes(CloudEvent("1", "s", "anything"))
    assert trigger.subscriber.target == b"/path?q=1"
    assert trigger.delivery == DeliverySpec()


EXPORTED = """
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  annotations:
    eventing.knative.dev/creator: kubernetes-admin
    eventing.knative.dev/lastModifier: kubernetes-admin
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"eventing.knative.dev/v1","kind":"Trigger","spec":{"broker":"default"}}
  creationTimestamp: "2026-01-05T10:12:13Z"
  finalizers: [triggers.eventing.knative.dev]
  generation: 1
  labels: {eventing.knative.dev/broker: default}
  managedFields:
  - apiVersion: eventing.knative.dev/v1
    fieldsType: FieldsV1
    fieldsV1:
      f:metadata: {f:annotations: {.: {}, f:kubectl.kubernetes.io/last-applied-configuration: {}}}
      f:spec:
        .: {}
        f:filters: {}
    manager: kubectl-client-side-apply
    operation: Update
    time: "2026-01-05T10:12:13Z"
  name: exported
  namespace: default
  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: x, uid: "1", blockOwnerDeletion: true}]
  resourceVersion: "812345"
  uid: 6c4f5c1e-0000-4000-8000-000000000000
spec:
  broker: default
  filter: {}
  filters:
  - exact:
      type: order
  subscriber:
    uri: http://there:1/
status:
  conditions:
  - lastTransitionTime: 2026-01-05T10:12:13Z
    status: "True"
    type: Ready
  observedGeneration: 1
  subscriberUri: http://there:1/
"""


def test_what_kubectl_adds_changes_nothing(tmp_path: Path) -> None:
    (trigger,) = load(tmp_path, BROKER, EXPORTED).triggers
    assert trigger.name == TriggerName("default", "default", "exported")
    assert [trigger.filter.passes(CloudEvent("1", "s", kind)) for kind in ("order", "other")] == [True, False]


ANNOTATED = TRIGGER.replace("{name: t}", "{name: t, annotations: {NOTES}}")
ORDER, IN_FLIGHT = "kafka.eventing.knative.dev/delivery.order", "eventing.wayside.dev/in-flight"


@pytest.mark.parametrize(
    ("notes", "ordered", "in_flight"),
    [
        ("", False, None),
        (f"{ORDER}: ordered", True, None),
        (f"{ORDER}: Unordered, {IN_FLIGHT}: '8'", False, 8),
        (f"{ORDER}: null, {IN_FLIGHT}: '1024'", False, 1024),
        ("knative.dev/dependency: '{}', eventing.knative.dev/creator: me", False, None),
    ],
)
def test_annotations_ask_for_order_and_for_deliveries_at_once(
    tmp_path: Path, notes: str, ordered: bool, in_flight: int | None
) -> None:
    (trigger,) = load(tmp_path, BROKER, ANNOTATED.replace("NOTES", notes)).triggers
    assert (trigger.ordered, trigger.in_flight) == (ordered, in_flight)


@pytest.mark.parametrize(
    ("notes", "says"),
    [
        (f"{ORDER}: random", r"order: must be 'ordered' or 'unordered', not 'random'"),
        (f"{ORDER}: true", r"order: must be text, not a boolean \(true\): put it in quotes"),
        (f"{IN_FLIGHT}: 8", r"in-flight: must be text, not a number \(8\): put it in quotes"),
        (f"{IN_FLIGHT}: '0'", r"in-flight: must be a number from 1 to 1024 in quotes, not '0'"),
        (f"{IN_FLIGHT}: '1025'", r"in-flight: must be a number from 1 to 1024"),
        (f"{IN_FLIGHT}: '²'", r"in-flight: must be a number from 1 to 1024"),
        (f"{IN_FLIGHT}: '-1'", r"in-flight: must be a number from 1 to 1024"),
        ("eventing.wayside.dev/inflight: '8'", r"wayside\.dev/inflight: is not known here; "
         "known are eventing.wayside.dev/in-flight"),
    ],
)  # fmt: skip
def test_an_annotation_that_is_not_understood_is_refused(tmp_path: Path, notes: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"m\.yaml:\d+:\d+: document 2: metadata\.annotations.*{says}"):
        load(tmp_path, BROKER, ANNOTATED.replace("NOTES", notes))


def test_a_brokers_annotations_are_its_own(tmp_path: Path) -> None:
    load(tmp_path, BROKER.replace("{name: default}", f"{{name: default, annotations: {{{ORDER}: any, a: 5}}}}"))
    with pytest.raises(ConfigurationError, match="in-flight: is not known here; known are none"):
        load(tmp_path, BROKER.replace("{name: default}", f"{{name: default, annotations: {{{IN_FLIGHT}: '8'}}}}"))


def test_filters_of_every_dialect_are_loaded_and_refused_with_their_place(tmp_path: Path) -> None:
    filters = """  filter: {attributes: {type: never}}
  filters:
  - all: [{exact: {type: a.b}}, {prefix: {type: a}}, {suffix: {type: b}}]
  - any: [{not: {exact: {id: "1"}}}]
  - cesql: type LIKE 'a%'
"""
    (trigger,) = load(tmp_path, BROKER, TRIGGER + filters).triggers
    assert trigger.filter.passes(CloudEvent("2", "s", "a.b"))
    assert not trigger.filter.passes(CloudEvent("1", "s", "a.b"))
    with pytest.raises(
        ConfigurationError, match=r"m\.yaml:17:26: document 2: spec\.filters\[1\]\.any\[0\]\.not\.exact\.Id: "
    ):
        load(tmp_path, BROKER, TRIGGER + filters.replace("{id:", "{Id:"))


def test_documents_may_share_parts_by_anchors(tmp_path: Path) -> None:
    shared = """
apiVersion: v1
kind: TriggerList
items:
- &one
  apiVersion: eventing.knative.dev/v1
  kind: Trigger
  metadata: {name: one}
  spec: &spec {broker: default, subscriber: {uri: "http://there:1/"}, filters: [{exact: {type: a}}]}
- <<: *one
  metadata: {name: two}
  spec: {<<: *spec, filters: [{exact: {type: b}}]}
"""
    one, two = load(tmp_path, BROKER, shared).triggers
    assert [trigger.filter.passes(CloudEvent("1", "s", "b")) for trigger in (one, two)] == [False, True]
    assert one.subscriber == two.subscriber


def test_a_name_resolves_with_its_namespace_first(tmp_path: Path) -> None:
    ref = TRIGGER.replace('{uri: "http://there:1/path?q=1"}', "{ref: {kind: Service, name: svc, namespace: other}}")
    assert load(tmp_path, BROKER, ref).triggers[0].subscriber.text == "http://other:80/"


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(TRIGGER)
    (tmp_path / "a.yaml").write_text(BROKER)
    (tmp_path / "notes.txt").write_text("{")
    (tmp_path / ".#a.yaml").symlink_to("an-editors-lock")
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
        ("name: t", 'name: "a\\nb"', r"metadata\.name: must not hold '/', or what cannot be printed"),
        ("broker: default", 'broker: "a\\nb"', r"spec\.broker: must not hold"),
        ('"http://there:1/path?q=1"', f"'http://a/{'b' * 9000}'", r"spec\.subscriber\.uri: is longer than 8192"),
        ('"http://there:1/path?q=1"', f"'ftp://a/{'b' * 900}'", r"spec\.subscriber\.uri: 'ftp://a/b+…$"),
        (
            '{uri: "http://there:1/path?q=1"}',
            f"{{ref: {{kind: Service, name: {'x' * 600}}}}}",
            r"ref\.name: is longer than 512 characters",
        ),
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
        ("filters: [{prefix: {type: a}, exact: {type: a}}]", r"spec\.filters\[0\]: names exact and prefix"),
        ("filters: {prefix: {type: a}}", r"spec\.filters: must be a list, not a mapping"),
        ("filter: {attributes: {Type: a}}", r"spec\.filter\.attributes\.Type: is no attribute's name"),
        ("filter: {attributes: {type: true}}", r"spec\.filter\.attributes\.type: must be text, not a boolean \(true\)"),
        ("filter: {attributes: [a]}", r"spec\.filter\.attributes: must be a mapping, not a list"),
        ("filter: {exact: {type: a}}", r"spec\.filter\.exact: is not supported here"),
        ("filter: yes", r"spec\.filter: must be a mapping, not a boolean"),
        ("delivery: {retry: -1}", r"spec\.delivery\.retry: must be an integer from 0, not -1"),
        ("delivery: {retry: true}", r"spec\.delivery\.retry: must be an integer from 0, not true"),
        ("delivery: {retry: '3'}", r"spec\.delivery\.retry: must be an integer from 0, not '3'"),
        ("delivery: {timeout: PT0S}", r"spec\.delivery\.timeout: must be over 0"),
        ("delivery: {timeout: P53W}", r"spec\.delivery\.timeout: is more than a year"),
        ("delivery: {retry: 1.5}", r"spec\.delivery\.retry: must be an integer from 0, not 1.5"),
        ("delivery: {retry: [1]}", r"spec\.delivery\.retry: must be an integer from 0, not a list"),
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
        (["{"], r"m\.yaml:2:1: is not YAML"),
        ([BROKER + "kind: Broker"], r"m\.yaml:5:1: the key 'kind' is there twice"),
        ([BROKER, "a: &a [*a]"], r"m\.yaml:7:8: the alias"),
        ([BROKER.replace("name: default", f"name: {'x' * 300}")], r"metadata\.name: is longer than 253 characters"),
    ],
)
def test_a_wrong_file(tmp_path: Path, documents: list[str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load(tmp_path, *documents)


def test_files_that_are_no_text_or_too_large(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_bytes(b"a: b\nc: \xff")
    with pytest.raises(ConfigurationError, match=r"m\.yaml:2: is not YAML in UTF-8"):
        load_manifests([file], Resolver({}))
    file.write_bytes(b"#" * (2 << 20) + b"\n")
    with pytest.raises(ConfigurationError, match=r"m\.yaml: is over 2 MiB: split it"):
        load_manifests([file], Resolver({}))


def test_a_folder_of_too_many_files(tmp_path: Path) -> None:
    for number in range(1001):
        (tmp_path / f"{number}.yaml").touch()
    with pytest.raises(ConfigurationError, match="1001 files are more than 1000: is this the right folder"):
        load_manifests([tmp_path], Resolver({}))


def test_every_ref_has_a_host_of_its_own_where_nothing_is_sent() -> None:
    hosts = RefHosts()
    assert hosts["shop/outlier"].origin.host == "outlier" + RefHosts.suffix
    assert hosts.get("shop/a b") is None
    assert (len(hosts), list(hosts)) == (0, [])


def test_a_file_that_is_not_there_and_a_folder_without_yaml(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*gone\.yaml"):
        load_manifests([tmp_path / "gone.yaml"], Resolver({}))
    with pytest.raises(ConfigurationError, match=r"no \*\.yaml"):
        load_manifests([tmp_path], Resolver({}))
