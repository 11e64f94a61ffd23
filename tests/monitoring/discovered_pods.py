"""Pods as Prometheus discovers them, and what the operator makes of a PodMonitor.

Source: Prometheus' kubernetes_sd_config, role pod: a target for each port that a container declares, or one without a
port; the containers that Knative Serving and KServe's injector put beside ours.

Invariant: what is discovered is what the rendered manifests declare and no more.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster_stacks import KNATIVE, Placed

Target = dict[str, str]
QUEUE_PROXY = {"queue-proxy": [("queue-port", 8012), ("http-autometric", 9090), ("http-usermetric", 9091)]}
AGENT = {"agent": [("agent-port", 9081)]}
MESH = {"istio-proxy": [("http-envoy-prom", 15090)]}
_META = "__meta_kubernetes_pod"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that runs: its labels, and the ports of its containers, each by its name."""

    labels: Mapping[str, str]
    containers: Mapping[str, Sequence[tuple[str, int]]]
    address: str

    def targets(self) -> Iterator[Target]:
        """What Prometheus discovers of it, before any relabeling."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        labels = {f"{_META}_label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": text for name, text in self.labels.items()}
        own = {f"{_META}_ip": self.address, f"{_META}_name": "pod", "__meta_kubernetes_namespace": "wayside", **labels}
        for container, ports in self.containers.items():
            named = {**own, f"{_META}_container_name": container}
            if not ports:
                yield {**named, "__address__": self.address}
            for name, number in ports:
                yield {**named, f"{_META}_container_port_name": name, "__address__": f"{host}:{number}"}


def pod_of(placed: Placed, address: str) -> Pod:
    """The pod that a container of the manifests runs in."""
    owner, name = placed.owner, placed.owner["metadata"]["name"]
    if owner["kind"] == "InferenceService":  # KServe hands the labels of the object down
        labels = {"serving.kserve.io/inferenceservice": name, f"{KNATIVE}/service": f"{name}-predictor"}
        return Pod(owner["metadata"]["labels"] | labels, _behind_knative(placed) | AGENT, address)
    labels = owner["spec"]["template"]["metadata"]["labels"]
    if placed.is_behind_knative:
        return Pod({**labels, f"{KNATIVE}/service": name}, _behind_knative(placed), address)
    containers = {
        spec["name"]: [(port["name"], port["containerPort"]) for port in spec.get("ports", ())]
        for spec in placed.pod["containers"]
    }
    return Pod(labels, containers, address)


def _behind_knative(placed: Placed) -> dict[str, Sequence[tuple[str, int]]]:
    """Knative declares the one port itself, under a name of its own, and adds its proxy; a mesh adds another."""
    ports = [("user-port", port["containerPort"]) for port in placed.spec["ports"]]
    return {"user-container": ports, **QUEUE_PROXY, **MESH}


def is_selected(pod: Pod, selector: Mapping[str, Any]) -> bool:
    """Whether a PodMonitor's selector chooses a pod. Knows no operator but `Exists`."""
    asked = selector.get("matchExpressions", ())
    assert {one["operator"] for one in asked} <= {"Exists"}
    wanted = selector.get("matchLabels", {})
    return wanted.items() <= pod.labels.items() and all(one["key"] in pod.labels for one in asked)


def scrape_job(monitor: Mapping[str, Any], pods: Sequence[Pod]) -> dict[str, Any]:
    """The scrape configuration that the operator makes of a PodMonitor, over what is discovered of these pods."""
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    found = [target for pod in pods if is_selected(pod, monitor["spec"]["selector"]) for target in pod.targets()]
    groups = [
        {"targets": [target["__address__"]], "labels": {k: v for k, v in target.items() if k != "__address__"}}
        for target in found
    ]
    relabelings = [*_of_the_operator(endpoint), *endpoint["relabelings"]]
    configs = [{_snake(name): value for name, value in rule.items()} for rule in relabelings]
    name = f"monitoring/{monitor['metadata']['name']}"
    return {"job_name": name, "static_configs": groups, "relabel_configs": configs}


def _of_the_operator(endpoint: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What it writes before a PodMonitor's own relabelings."""
    if port := endpoint.get("port"):
        yield {"sourceLabels": [f"{_META}_container_port_name"], "regex": port, "action": "keep"}
    yield {"sourceLabels": ["__meta_kubernetes_namespace"], "targetLabel": "namespace"}
    yield {"sourceLabels": [f"{_META}_container_name"], "targetLabel": "container"}
    yield {"sourceLabels": [f"{_META}_name"], "targetLabel": "pod"}
    if port:
        yield {"targetLabel": "endpoint", "replacement": port}


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)
