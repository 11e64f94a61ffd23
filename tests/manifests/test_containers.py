"""Every container of the cluster's YAML: its command as our own command line takes it, ports, probes, confinement."""

from pathlib import Path
from typing import Any

import pytest
from cluster_stacks import Placed, claims, every_container
from container_commands import Listening
from image_files import image_of
from manifest_files import of_kind

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
SECRET_WORDS = ("password", "api-key", "api_key", "token", "sasl")


@pytest.mark.parametrize("placed", every_container())
def test_it_listens_on_the_ports_that_it_declares(placed: Placed, tmp_path: Path) -> None:
    listening = placed.container(tmp_path).listening()
    declared = set(placed.declared.values())
    if placed.is_behind_knative:
        assert declared == {listening.events}, "Knative takes the port of the traffic and no other"
    elif image_of(placed.spec["image"]).name == "wayside-model":
        assert not declared, "the model's port is for the logger beside it"
    else:
        assert declared == listening.ports
        assert placed.declared["admin"] == listening.admin


@pytest.mark.parametrize("placed", every_container())
def test_probes_ask_a_port_that_answers_them(placed: Placed, tmp_path: Path) -> None:
    listening = placed.container(tmp_path).listening()
    for kind in PROBES:
        if kind in placed.spec:
            check_probe(placed.spec[kind], kind, placed.declared, listening)


def check_probe(probe: dict[str, Any], kind: str, ports: dict[Any, int], listening: Listening) -> None:
    if "tcpSocket" in probe:
        assert probe["tcpSocket"]["port"] == listening.events
        return
    get = probe["httpGet"]
    if ports[get["port"]] == listening.admin:
        assert get["path"] == ("/readyz" if kind == "readinessProbe" else "/healthz")
    else:  # the logger's port: it answers for the model, where the header asks it to
        assert get["httpHeaders"] == [{"name": "K-Network-Probe", "value": "queue"}]


@pytest.mark.parametrize("placed", every_container())
def test_a_start_may_last_as_long_as_it_waits_for_its_service(placed: Placed, tmp_path: Path) -> None:
    probe = placed.spec.get("startupProbe")
    if probe is None:
        return
    waits_s = max([60.0, *_waits_s(placed.container(tmp_path).settings())])
    assert probe["periodSeconds"] * probe["failureThreshold"] > waits_s


def _waits_s(settings: Any) -> list[float]:
    """What a command line that was parsed says of `--wait`."""
    parts = [getattr(settings, name, None) for name in ("elasticsearch", "pull", "subscription")]
    return [part.wait_s for part in (settings, *parts) if hasattr(part, "wait_s")]


@pytest.mark.parametrize("placed", every_container())
def test_it_is_confined_and_bounded(placed: Placed) -> None:
    spec, pod = placed.spec, placed.pod
    context = {**pod.get("securityContext", {}), **spec["securityContext"]}
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == int(image_of(spec["image"]).last_stage("USER")[0].partition(":")[0]) > 0
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert set(spec["resources"]["limits"]) == set(spec["resources"]["requests"]) == {"cpu", "memory"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize("placed", every_container())
def test_it_mounts_volumes_of_its_pod(placed: Placed) -> None:
    volumes = {volume["name"] for volume in placed.pod.get("volumes", ())}
    assert {mount["name"] for mount in placed.spec.get("volumeMounts", ())} <= volumes
    assert claims(placed.pod) <= set(of_kind(placed.documents, "PersistentVolumeClaim"))


@pytest.mark.parametrize("placed", every_container())
def test_no_secret_is_an_argument_or_a_value(placed: Placed) -> None:
    assert not [argument for argument in placed.spec["args"] if any(word in argument.lower() for word in SECRET_WORDS)]
    for variable in placed.spec.get("env", ()):
        if any(word in variable["name"].lower() for word in SECRET_WORDS):
            assert set(variable["valueFrom"]) == {"secretKeyRef"}
