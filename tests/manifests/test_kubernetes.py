"""The objects of the cluster's YAML, rendered: what names another names one that is there."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cluster_stacks import EVENTING, KNATIVE, KSERVE, STACKS, claims, placed_in, selects, stack
from manifest_files import MANIFESTS, Document, identity, kustomizations, listed, load, of_kind


def subscribers(documents: list[Document]) -> set[tuple[str, str]]:
    """What a Trigger may name, by (apiVersion's group, name)."""
    return {(group, name) for group in ("", KNATIVE) for name in of_kind(documents, "Service", group)}


@pytest.mark.parametrize("folder", kustomizations(), ids=lambda folder: str(folder.relative_to(MANIFESTS)))
def test_what_a_kustomization_names_is_there_and_nothing_lies_beside_it_unnamed(folder: Path) -> None:
    named = set(listed(folder))
    assert all(path.exists() for path in named)
    beside = {path for path in folder.glob("*.yaml") if path.name != "kustomization.yaml"}
    assert beside <= named


@pytest.mark.parametrize("name", STACKS)
def test_no_object_is_there_twice(name: str) -> None:
    identities = [identity(document) for document in stack(name)]
    assert len(identities) == len(set(identities))


@pytest.mark.parametrize("name", STACKS)
def test_a_service_leads_to_pods_that_listen(name: str) -> None:
    documents = stack(name)
    deployments = of_kind(documents, "Deployment", "apps").values()
    for service in of_kind(documents, "Service").values():
        (chosen,) = [found for found in deployments if selects(service["spec"]["selector"], found)]
        containers = chosen["spec"]["template"]["spec"]["containers"]
        ports = {port["name"] for spec in containers for port in spec.get("ports", ())}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize("name", STACKS)
def test_selectors_choose_the_pods_that_they_belong_to(name: str) -> None:
    documents = stack(name)
    deployments = of_kind(documents, "Deployment", "apps").values()
    assert all(selects(found["spec"]["selector"]["matchLabels"], found) for found in deployments)
    for budget in of_kind(documents, "PodDisruptionBudget", "policy").values():
        chosen = [found for found in deployments if selects(budget["spec"]["selector"]["matchLabels"], found)]
        assert [found["spec"]["replicas"] > 1 for found in chosen] == [True], "a budget of one replica blocks drains"


@pytest.mark.parametrize("name", STACKS)
def test_what_has_state_is_one_replica_and_never_two(name: str) -> None:
    for deployment in of_kind(stack(name), "Deployment", "apps").values():
        if claims(deployment["spec"]["template"]["spec"]):
            assert deployment["spec"]["replicas"] == 1
            assert deployment["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("name", STACKS)
def test_prometheus_operator_finds_the_admin_ports(name: str) -> None:
    monitors = load(MANIFESTS / "monitoring" / "kubernetes" / "podmonitors.yaml")
    ours = of_kind(monitors, "PodMonitor", "monitoring.coreos.com")["wayside"]["spec"]
    ports = {endpoint["port"] for endpoint in ours["podMetricsEndpoints"]}
    for deployment in of_kind(stack(name), "Deployment", "apps").values():
        assert selects(ours["selector"]["matchLabels"], deployment)
        containers = deployment["spec"]["template"]["spec"]["containers"]
        assert ports <= {port["name"] for spec in containers for port in spec.get("ports", ())}


def test_triggers_lead_to_services_that_are_there() -> None:
    documents = stack("knative")
    there, brokers = subscribers(documents), of_kind(documents, "Broker", EVENTING)
    triggers = of_kind(documents, "Trigger", EVENTING).values()
    references = [trigger["spec"]["subscriber"]["ref"] for trigger in triggers]
    assert {(found["apiVersion"].rpartition("/")[0], found["name"]) for found in references} == there
    assert {trigger["spec"]["broker"] for trigger in triggers} == set(brokers)


def test_what_is_captured_goes_to_the_broker_that_is_there() -> None:
    documents = stack("knative")
    broker = of_kind(documents, "Broker", EVENTING)["default"]["metadata"]
    service = of_kind(documents, "InferenceService", KSERVE)["digits"]
    url = service["spec"]["predictor"]["logger"]["url"]
    assert url == of_kind(documents, "ConfigMap")["wayside"]["data"]["verdicts-url"]
    assert urlsplit(url).hostname == "broker-ingress.knative-eventing.svc.cluster.local"
    assert urlsplit(url).path == f"/{broker['namespace']}/{broker['name']}"


def test_with_kafka_nothing_is_delivered_to_and_everything_pulls_what_the_logger_writes(tmp_path: Path) -> None:
    documents = stack("kafka")
    assert not subscribers(documents)
    assert not of_kind(documents, "Broker", EVENTING)
    assert not of_kind(documents, "Trigger", EVENTING)
    topics = of_kind(documents, "ConfigMap")["wayside"]["data"]
    service = of_kind(documents, "InferenceService", KSERVE)["digits"]
    assert service["spec"]["predictor"]["logger"]["url"] == topics["events-source"]
    assert topics["records-source"] == f"{topics['events-source']},{topics['verdicts-url'].rpartition('/')[2]}"
    pulling = {placed.spec["name"] for placed in placed_in("kafka") if placed.container(tmp_path).pulls}
    assert pulling == {"outlier", "drift", "elasticsearch-sink", "prometheus-sink"}


@pytest.mark.parametrize("name", ["knative", "kafka"])
def test_every_object_has_the_namespace_of_the_overlay(name: str) -> None:
    documents = stack(name)
    (namespace,) = of_kind(documents, "Namespace")
    others = [document for document in documents if document["kind"] != "Namespace"]
    assert {document["metadata"]["namespace"] for document in others} == {namespace}
