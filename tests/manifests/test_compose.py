"""The compose files: commands parsed by our own command lines, names, ports and addresses matched, and `config`."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from container_commands import Container, Listening
from image_files import image_of, images
from manifest_files import MANIFESTS, ROOT, Document, load

from wayside.eventing.triggers.destinations import Resolver
from wayside.eventing.triggers.manifests import load_manifests

BASE, KAFKA = ROOT / "docker-compose.yml", ROOT / "docker-compose.kafka.yml"
STACKS = {"broker": [BASE], "kafka": [BASE, KAFKA]}
MODEL_PORT = 8080
_ADDRESS = re.compile(r"(?:https?|kafka|PLAINTEXT)://([a-z0-9.-]+):(\d+)")
# third-party services that publish nothing: the port that their settings below give them
_UNPUBLISHED = {"kafka": 9092}


def merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> Document:
    """As compose merges two files, for what these two hold: mappings are joined, anything else is replaced."""
    result = dict(base)
    for key, value in override.items():
        joins = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if joins else value
    return result


def running(name: str) -> dict[str, Document]:
    """The services that `up` starts, by name."""
    whole: Document = {}
    for path in STACKS[name]:
        whole = merged(whole, load(path)[0])
    return {key: value for key, value in whole["services"].items() if "profiles" not in value}


def is_ours(service: Document) -> bool:
    return service["image"].partition(":")[0] in images()


def container(service: Document) -> Container:
    return Container(service["image"], service["command"], service.get("environment", {}))


def listening(services: Mapping[str, Document], name: str) -> set[int]:
    """The ports on which a service can be reached by its name."""
    service = services[name]
    if not is_ours(service):
        published = {int(port.rpartition(":")[2]) for port in service.get("ports", ())}
        return published or {_UNPUBLISHED[name]}
    if service["image"].startswith("wayside-model"):
        return set()  # its loopback is the logger's
    return container(service).listening().ports


def words(value: Any) -> Iterator[str]:
    """Every string within a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from words(item)
    elif isinstance(value, list):
        for item in value:
            yield from words(item)


def every_service(only_ours: bool = False) -> list[Any]:
    return [
        pytest.param(stack, name, id=f"{stack}-{name}")
        for stack in STACKS
        for name, service in running(stack).items()
        if is_ours(service) or not only_ours
    ]


@pytest.mark.parametrize(("stack", "name"), every_service(only_ours=True))
def test_our_own_command_line_takes_the_command(stack: str, name: str) -> None:
    service = running(stack)[name]
    made = container(service).listening()
    if name == "model":
        assert made == Listening(MODEL_PORT, None)
    elif service["image"].startswith("wayside-local"):
        assert (made.events is not None) == (name == "page")
    else:
        assert made.admin is not None


@pytest.mark.parametrize(("stack", "name"), every_service())
def test_an_address_is_a_service_on_a_port_that_it_listens_on(stack: str, name: str) -> None:
    services = running(stack)
    service = services[name]
    told = [service.get("command", []), service.get("environment", {})]
    for host, port in _ADDRESS.findall(" ".join(words(told))):
        assert int(port) in listening(services, host), f"{name} is told of {host}:{port}"


@pytest.mark.parametrize(("stack", "name"), every_service())
def test_a_health_check_asks_the_service_itself(stack: str, name: str) -> None:
    service = running(stack)[name]
    if "healthcheck" not in service:
        assert name in ("prepare", "traffic"), "what serves nothing has nothing to ask"
        return
    ((host, port),) = set(re.findall(r"([a-z0-9.]+):(\d+)", " ".join(service["healthcheck"]["test"])))
    assert host == ("kafka" if name == "kafka" else "127.0.0.1")
    if not is_ours(service):
        assert int(port) in listening(running(stack), name)
    elif name != "model":
        made = container(service).listening()
        assert int(port) == (made.admin or made.events)


@pytest.mark.parametrize(("stack", "name"), every_service())
def test_a_dependency_is_there_and_can_become_what_is_waited_for(stack: str, name: str) -> None:
    services = running(stack)
    awaited = services[name].get("depends_on", {})
    for other in awaited:
        condition = awaited[other]["condition"] if isinstance(awaited, dict) else "service_started"
        assert condition != "service_healthy" or "healthcheck" in services[other]
        assert (condition == "service_completed_successfully") == (services[other].get("restart") == "no")


@pytest.mark.parametrize(("stack", "name"), every_service())
def test_a_service_is_bounded_pinned_and_published_on_loopback_alone(stack: str, name: str) -> None:
    service = running(stack)[name]
    assert "mem_limit" in service
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), "a tag that says which release"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert "privileged" not in service
    if is_ours(service):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize(("stack", "name"), every_service())
def test_volumes_are_declared_and_mounted_files_are_there(stack: str, name: str) -> None:
    declared = {volume for path in STACKS[stack] for volume in load(path)[0].get("volumes", {})}
    for mount in running(stack)[name].get("volumes", ()):
        source = mount.split(":")[0]
        assert (ROOT / source).exists() if source.startswith("./") else source in declared
        assert not source.startswith("./") or mount.endswith(":ro")


def test_an_image_is_built_by_its_own_dockerfile_and_once() -> None:
    services = load(BASE)[0]["services"].values()
    built = {service["image"]: service["build"] for service in services if "build" in service}
    assert len(built) == len([service for service in services if "build" in service])
    assert set(built) == {service["image"] for service in services if is_ours(service)}
    for reference, build in built.items():
        assert build["context"] == "."
        assert ROOT / build["dockerfile"] == image_of(reference).path


def test_the_model_is_reached_through_the_logger_alone() -> None:
    services = running("broker")
    assert services["model"]["network_mode"] == "service:logger"
    assert container(services["logger"]).settings().upstream.port == MODEL_PORT
    assert services["traffic"]["command"][-1] == "http://logger:9081"


def test_the_broker_loads_its_triggers_and_knows_every_subscriber() -> None:
    services = running("broker")
    mounts = dict(mount.split(":")[1::-1] for mount in services["broker"]["volumes"])
    settings = container(services["broker"]).settings()
    files = [ROOT / mounts[str(path)] for path in settings.manifests]
    manifests = load_manifests(files, Resolver(settings.resolve))
    reached = {trigger.subscriber.origin.host for trigger in manifests.triggers}
    assert reached == {"outlier", "drift", "records", "prometheus-sink", "elasticsearch-sink"}


def test_the_logger_writes_where_the_broker_takes_events() -> None:
    services = running("broker")
    settings = container(services["logger"]).settings()
    assert settings.delivery.url == "http://broker:8610/default/default"
    assert container(services["drift"]).settings().sink_url == settings.delivery.url


def test_with_kafka_the_broker_is_away_and_everything_pulls_what_it_delivered() -> None:
    services = running("kafka")
    assert "broker" not in services
    pulling = {name for name, service in services.items() if is_ours(service) and container(service).pulls}
    assert pulling == {"outlier", "drift", "records", "prometheus-sink", "elasticsearch-sink"}
    groups = [word.split("=")[1] for word in services["page"]["command"] if word.startswith("--subscription=")]
    assert {group.removeprefix("wayside-") for group in groups} == {name.removesuffix("-sink") for name in pulling}


def test_prometheus_scrapes_every_admin_port_and_nothing_that_is_not_there() -> None:
    services = running("broker")
    scraped = {target for target in _targets("scrape_configs")}
    ours = {name: container(service).listening() for name, service in services.items() if is_ours(service)}
    admin = {f"{name}:{made.admin}" for name, made in ours.items() if made.admin is not None}
    others = {f"{name}:{port}" for name in ("pushgateway",) for port in listening(services, name)}
    assert scraped == admin | others
    assert set(_targets("alerting")) == {f"alertmanager:{port}" for port in listening(services, "alertmanager")}


def _targets(section: str) -> Iterator[str]:
    configuration = load(MANIFESTS / "monitoring" / "prometheus" / "prometheus.yaml")[0][section]
    jobs = configuration["alertmanagers"] if section == "alerting" else configuration
    for job in jobs:
        for group in job["static_configs"]:
            yield from group["targets"]


def test_grafana_finds_its_data_source_and_its_dashboards() -> None:
    services = running("broker")
    folder = MANIFESTS / "monitoring" / "grafana" / "provisioning"
    (source,) = load(folder / "datasources" / "prometheus.yaml")[0]["datasources"]
    ((host, port),) = _ADDRESS.findall(source["url"])
    assert int(port) in listening(services, host)
    (provider,) = load(folder / "dashboards" / "wayside.yaml")[0]["providers"]
    mounted = [Path(mount.split(":")[1]) for mount in services["grafana"]["volumes"]]
    assert Path(provider["options"]["path"]) in [path.parent for path in mounted]


@pytest.mark.parametrize("stack", STACKS)
def test_compose_itself_takes_the_files(stack: str) -> None:
    program = shutil.which("docker-compose")
    if program is None and os.environ.get("WAYSIDE_TEST_REQUIRE_COMPOSE") == "1":
        pytest.fail("docker-compose is not installed: apt-get install docker-compose")
    if program is None:
        pytest.skip("no docker-compose: apt-get install docker-compose")
    files = [flag for path in STACKS[stack] for flag in ("-f", str(path))]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        [program, *files, "config", "--services"], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert set(running(stack)) <= set(done.stdout.split())
