"""The stacks of objects that a cluster may be given, and the containers in them.

Invariant: a container's environment is made of what the same stack's ConfigMaps hold; a secret's value is a dummy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from container_commands import Container, dummy_files
from manifest_files import MANIFESTS, OVERLAYS, Document, load, of_kind, render

SIDECAR = MANIFESTS / "kserve" / "sidecar.yaml"
STACKS = ["knative", "kafka", "sidecar"]
KNATIVE, EVENTING, KSERVE = "serving.knative.dev", "eventing.knative.dev", "serving.kserve.io"


def stack(name: str) -> list[Document]:
    """The objects of a stack, rendered."""
    return load(SIDECAR) if name == "sidecar" else render(OVERLAYS / name)


@dataclass(frozen=True, slots=True)
class Placed:
    """A container's `spec` in its pod's, in the object that makes the pod, in its stack."""

    documents: list[Document]
    owner: Document
    pod: Document
    spec: Document

    @property
    def declared(self) -> dict[Any, int]:
        """Its ports by name, or by number where they have none."""
        ports = self.spec.get("ports", ())
        return {port.get("name", port["containerPort"]): port["containerPort"] for port in ports}

    @property
    def is_behind_knative(self) -> bool:
        return self.owner["kind"] == "InferenceService" or self.owner["apiVersion"].startswith(KNATIVE)

    def container(self, folder: Path) -> Container:
        """What runs; files that are mounted into it lie in `folder`."""
        return Container(self.spec["image"], self.spec["args"], dummy_files(folder, self._environment()))

    def _environment(self) -> dict[str, str]:
        return {variable["name"]: self._value(variable) for variable in self.spec.get("env", ())}

    def _value(self, variable: Document) -> str:
        source: dict[str, Any] = variable.get("valueFrom", {})
        if "configMapKeyRef" in source:
            reference = source["configMapKeyRef"]
            found: str = of_kind(self.documents, "ConfigMap")[reference["name"]]["data"][reference["key"]]
            return found
        return "dummy" if source else str(variable["value"])


def placed_in(name: str) -> list[Placed]:
    """Every container of a stack."""
    documents = stack(name)
    return [Placed(documents, owner, pod, spec) for owner, pod in _pods(documents) for spec in pod["containers"]]


def every_container() -> list[Any]:
    """Every container of every stack, as a test's parameters."""
    return [
        pytest.param(placed, id=f"{name}-{placed.owner['kind']}-{placed.spec['name']}")
        for name in STACKS
        for placed in placed_in(name)
    ]


def selects(selector: dict[str, str], deployment: Document) -> bool:
    """Whether a selector chooses a Deployment's pods."""
    return selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def claims(pod: Document) -> set[str]:
    """The PersistentVolumeClaims that a pod mounts."""
    sources = [volume.get("persistentVolumeClaim") for volume in pod.get("volumes", ())]
    return {source["claimName"] for source in sources if source}


def _pods(documents: list[Document]) -> Iterator[tuple[Document, Document]]:
    """Every object that makes pods, with the pod's spec."""
    for document in documents:
        if document["kind"] == "InferenceService":
            yield document, document["spec"]["predictor"]
        elif "template" in document.get("spec", {}):
            yield document, document["spec"]["template"]["spec"]
