"""What KServe and a sidecar make of the logger's image: the patch of its ConfigMap, the injector's flags, the stop."""

import json
from pathlib import Path

import pytest
from cluster_stacks import KSERVE, placed_in, stack
from image_files import image_of
from manifest_files import MANIFESTS, load, of_kind

from wayside.logger import cli

AGENT = MANIFESTS / "kserve" / "agent-image.yaml"


def injected(url: str) -> list[str]:
    """What KServe's injector passes, at kserve/kserve aaac4e294."""
    named = {"source-uri": "digits-0", "log-mode": "all", "inference-service": "digits", "namespace": "wayside"}
    named |= {"endpoint": "", "component": "predictor", "logger-tls-skip-verify": "false", "component-port": "8080"}
    return ["--log-url", url, *(token for name, value in named.items() for token in (f"--{name}", value))]


@pytest.mark.parametrize("name", ["knative", "kafka"])
def test_the_agent_that_is_injected_takes_the_logger_url(name: str) -> None:
    service = of_kind(stack(name), "InferenceService", KSERVE)["digits"]
    agent = json.loads(load(AGENT)[0]["data"]["agent"])
    url = service["spec"]["predictor"]["logger"]["url"]
    settings = cli.parse(injected(url), image_of(agent["image"]).environment)
    assert settings.delivery.url == url
    assert (settings.listen.port, settings.listen.admin_host) == (9081, "0.0.0.0")


def test_the_patch_has_the_keys_that_kserve_reads_and_room_for_what_the_logger_holds() -> None:
    (patch,) = load(AGENT)
    agent = json.loads(patch["data"]["agent"])
    assert set(patch) == {"data"}
    assert set(agent) == {"image", "cpuRequest", "cpuLimit", "memoryRequest", "memoryLimit"}
    settings = cli.parse([], {})
    held = settings.delivery.queue_bytes + settings.capture.total_bytes
    assert held * 2 < int(agent["memoryLimit"].removesuffix("Mi")) << 20


def test_a_sidecar_ends_before_kubernetes_ends_it(tmp_path: Path) -> None:
    model, logger = placed_in("sidecar")
    settings = logger.container(tmp_path).settings()
    model_waits_s = float(model.spec["lifecycle"]["preStop"]["exec"]["command"][1])
    assert settings.quiet_s < model_waits_s
    assert settings.grace_s < logger.pod["terminationGracePeriodSeconds"]
