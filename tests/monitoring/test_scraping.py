"""What Prometheus scrapes in a cluster: the PodMonitors' relabelings, done by Prometheus' own promtool."""

import json
from pathlib import Path

import pytest
import yaml
from cluster_stacks import KNATIVE, STACKS, Placed, placed_in, stack
from discovered_pods import Pod, pod_of, scrape_job
from image_files import image_of
from manifest_files import load, of_kind

from .conftest import Promtool

MONITORS = ["wayside", "wayside-knative", "wayside-logger"]
AGENT_PORT = 9082
ADDRESSES = ["10.0.0.{}", "fd00::{}"]


def scraped(monitoring: Path, promtool: Promtool, folder: Path, pods: list[Pod]) -> list[dict[str, str]]:
    """The labels of every target that remains, each once, as Prometheus keeps them."""
    monitors = load(monitoring / "kubernetes" / "podmonitors.yaml")
    assert [monitor["metadata"]["name"] for monitor in monitors] == MONITORS
    jobs = [scrape_job(monitor, pods) for monitor in monitors]
    config = folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"scrape_configs": jobs}), encoding="utf-8")
    kept: dict[str, dict[str, str]] = {}
    for job in jobs:
        told = promtool("check", "service-discovery", "--timeout", "300ms", config, job["job_name"])
        for target in json.loads(told) or ():
            labels = {name: text for name, text in target["labels"].items() if not name.startswith("__")}
            if labels:
                kept[json.dumps([job["job_name"], labels], sort_keys=True)] = labels
    return list(kept.values())


def expected(placed: Placed, address: str, folder: Path) -> tuple[str, str, str | None] | None:
    """The target of a container: its address, job and service; None for one that serves no metrics."""
    host = f"[{address}]" if ":" in address else address
    name: str = placed.owner["metadata"]["name"]
    if placed.owner["kind"] == "InferenceService":
        return f"{host}:{AGENT_PORT}", "logger", name  # the model serves none, and the agent beside it does
    admin = (
        None if image_of(placed.spec["image"]).name == "wayside-model" else placed.container(folder).listening().admin
    )
    if admin is None:
        return None
    is_logger = placed.spec["name"] == "logger"
    return f"{host}:{admin}", "logger" if is_logger else name, name if is_logger else None


@pytest.mark.parametrize("form", ADDRESSES)
@pytest.mark.parametrize("name", STACKS)
def test_each_admin_port_is_one_target_that_says_which_process_it_is(
    name: str, form: str, monitoring: Path, promtool: Promtool, tmp_path: Path
) -> None:
    containers = placed_in(name)
    owners = list({placed.owner["metadata"]["name"]: placed for placed in containers}.values())
    addresses = {placed.owner["metadata"]["name"]: form.format(place) for place, placed in enumerate(owners, 1)}
    pods = [pod_of(placed, addresses[placed.owner["metadata"]["name"]]) for placed in owners]
    wanted = [expected(placed, addresses[placed.owner["metadata"]["name"]], tmp_path) for placed in containers]
    found = scraped(monitoring, promtool, tmp_path, pods)
    made = [(target["instance"], target["job"], target.get("service")) for target in found]
    assert sorted(made, key=str) == sorted(filter(None, wanted), key=str)


def test_two_replicas_are_two_targets_of_one_job(monitoring: Path, promtool: Promtool, tmp_path: Path) -> None:
    (outlier,) = [placed for placed in placed_in("knative") if placed.owner["apiVersion"].startswith(KNATIVE)]
    found = scraped(monitoring, promtool, tmp_path, [pod_of(outlier, "10.0.0.1"), pod_of(outlier, "10.0.0.2")])
    assert {target["instance"] for target in found} == {"10.0.0.1:8621", "10.0.0.2:8621"}
    assert {target["job"] for target in found} == {"outlier"}


def test_every_service_of_knatives_is_a_detector_that_is_selected() -> None:
    for service in of_kind(stack("knative"), "Service", KNATIVE).values():
        labels = service["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/component"] == "detector"
