"""What KServe and a sidecar make of the logger's image: the patch of its ConfigMap, the injector's flags, the stop."""

import json
import re
from pathlib import Path

import pytest
from cluster_stacks import KSERVE, placed_in, stack
from image_files import image_of
from manifest_files import MANIFESTS, Document, load, of_kind

from wayside.logger import cli
from wayside.logger.config.configuration import configuration_of
from wayside.logger.config.options import KSERVE_AGENT, SETTINGS_FILE
from wayside.logger.redaction.memory import bounds_within

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


def test_the_limit_that_redaction_is_said_to_need_holds_all_that_it_and_the_logger_may(tmp_path: Path) -> None:
    (said,) = re.findall(r"set memoryLimit to (\d+)Mi", AGENT.read_text())
    limit_bytes = int(said) << 20
    (tmp_path / "memory.max").write_text(str(limit_bytes))
    settings = cli.parse([], {})
    held = settings.delivery.queue_bytes + settings.capture.total_bytes + settings.side_work.in_hand_bytes
    assert held + (60 << 20) + bounds_within([tmp_path / "memory.max"]).process_bytes < limit_bytes


def joined_annotations(service: Document) -> str:
    """`--metadata-annotations` as the injector writes it: the pod has the InferenceService's annotations."""
    annotations = service["metadata"]["annotations"]
    return ",".join(
        f"{name}={annotations[name]}" for name in service["spec"]["predictor"]["logger"]["metadataAnnotations"]
    )


def test_the_annotations_of_the_sample_are_settings() -> None:
    (service,) = load(MANIFESTS / "kserve" / "inference-service.yaml")
    listed = service["spec"]["predictor"]["logger"]["metadataAnnotations"]
    assert set(listed) == set(service["metadata"]["annotations"])
    argv = [*injected("http://b/"), "--metadata-annotations", joined_annotations(service)]
    found = configuration_of(argv, {})
    assert found.faults == ()
    assert found.settings.identity.annotations == {"team": "vision"}
    assert [rule.share for rule in found.settings.capture.sampling.by_status] == [1.0, 0.1]
    assert found.settings.capture.body_bytes == 1 << 20
    assert len(found.settings.side_work.rules) == 2


def test_the_file_of_the_sample_is_settings(tmp_path: Path) -> None:
    (config_map,) = load(MANIFESTS / "kserve" / "namespace-settings.yaml")
    for name, text in config_map["data"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = configuration_of([*injected("http://b/"), "--settings-file", str(tmp_path / SETTINGS_FILE)], {})
    assert found.faults == ()
    assert found.settings.capture.sampling.share == 0.2
    assert found.settings.delivery.queue_bytes == 32 << 20
    assert found.settings.grace_s == 20
    assert len(found.settings.side_work.rules) == 2


def test_the_image_carries_kserves_agent_of_a_version_where_it_is_looked_for() -> None:
    (copy,) = [text for text in image_of("wayside-logger:0.1.0").last_stage("COPY") if "kserve" in text]
    assert re.fullmatch(rf"--from=kserve/agent:v\d+\.\d+\.\d+ /ko-app/agent {KSERVE_AGENT}", copy)


def test_a_sidecar_ends_before_kubernetes_ends_it(tmp_path: Path) -> None:
    model, logger = placed_in("sidecar")
    settings = logger.container(tmp_path).settings()
    model_waits_s = float(model.spec["lifecycle"]["preStop"]["exec"]["command"][1])
    assert settings.quiet_s < model_waits_s
    assert settings.grace_s < logger.pod["terminationGracePeriodSeconds"]
