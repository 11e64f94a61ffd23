"""The Dockerfiles: what they copy is there, what they run exists, who they run as, and what each may not carry."""

import argparse
import importlib.util
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires

import pytest
from image_files import Image, images
from manifest_files import ROOT
from packaging.requirements import Requirement

from wayside.detectors.serving import cli as detectors_cli
from wayside.eventing.broker import cli as broker_cli
from wayside.local.page import cli as page_cli
from wayside.logger import cli as logger_cli
from wayside.logger.config.options import KSERVE_AGENT
from wayside.sinks import cli as sinks_cli

NAMES = sorted(images())
SERVICES = [name for name in NAMES if images()[name].last_stage("ENTRYPOINT")]
ADDED = sorted(set(NAMES) - set(SERVICES))  # another image and files of the user's
PYTHON = "python:3.13-slim"
_EXTRAS = re.compile(r'"wayside\[([a-z,]+|\$EXTRAS)\] @ file://')
_PARSERS = {
    "wayside-logger": [logger_cli._parser()],
    "wayside-broker": [broker_cli._parser()],
    "wayside-detectors": [detectors_cli._parser()],
    "wayside-sinks": [sinks_cli._parser(kind) for kind in ("records", "prometheus", "elasticsearch")],
    "wayside-local": [page_cli._parser()],
}


def text_of(image: Image) -> str:
    return " ".join(instruction.text for instruction in image.instructions)


def extras_of(image: Image) -> set[str]:
    found = _EXTRAS.search(text_of(image))
    if found is None:
        return set()
    (told,) = [text.removeprefix("EXTRAS=") for text in _texts(image, "ARG")] if found[1] == "$EXTRAS" else [found[1]]
    return set(told.split(","))


def _texts(image: Image, kind: str) -> list[str]:
    return [instruction.text for instruction in image.all(kind)]


def default_ports(parsers: list[argparse.ArgumentParser]) -> set[int]:
    return {action.default for parser in parsers for action in parser._actions if action.dest in ("port", "admin_port")}


def closure(extras: set[str]) -> set[str]:
    """Every distribution that `wayside[extras]` brings, by what is installed here. Fails where one of them is not."""
    optional = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    found: set[str] = set()
    waiting = [Requirement(f"wayside[{','.join(extras)}]")]
    while waiting:
        requirement = waiting.pop()
        if requirement.name == "wayside":
            waiting += [Requirement(text) for extra in requirement.extras for text in optional[extra]]
        elif requirement.name.lower() not in found:
            found.add(requirement.name.lower())
            waiting += _required(requirement)
    return found


def _required(requirement: Requirement) -> Iterator[Requirement]:
    try:
        texts = requires(requirement.name) or []
    except PackageNotFoundError:
        pytest.fail(f"{requirement} is not installed: scripts/setup")
    for text in texts:
        found = Requirement(text)
        extras = requirement.extras or {""}
        if found.marker is None or any(found.marker.evaluate({"extra": extra}) for extra in extras):
            yield found


def test_every_service_has_an_image() -> None:
    assert [
        *("wayside-broker", "wayside-detectors", "wayside-local"),
        *("wayside-logger", "wayside-model", "wayside-sinks"),
    ] == SERVICES
    assert ADDED == ["wayside-digits", "wayside-fitted"]


@pytest.mark.parametrize("name", SERVICES)
def test_it_runs_as_nobody_in_particular(name: str) -> None:
    user, group = images()[name].last_stage("USER")[0].split(":")
    assert min(int(user), int(group)) > 0  # numbers, since runAsNonRoot cannot look up a name


@pytest.mark.parametrize("name", SERVICES)
def test_what_builds_it_stays_behind(name: str) -> None:
    image = images()[name]
    stages = image.all("FROM")
    assert [stage.text.split()[0] for stage in stages] == [PYTHON, PYTHON]
    assert not any("pip" in text for text in image.last_stage("RUN"))


@pytest.mark.parametrize("name", SERVICES)
def test_what_it_copies_is_there_and_sent_to_the_builder(name: str) -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for copy in images()[name].all("COPY"):
        if not copy.text.startswith("--from="):
            for source in copy.text.split()[:-1]:
                assert (ROOT / source).exists()
                assert any((ROOT / source).is_relative_to(path) for pattern in sent for path in ROOT.glob(pattern))


@pytest.mark.parametrize("name", SERVICES)
def test_no_download_address_is_in_it(name: str) -> None:
    text = text_of(images()[name])
    assert not re.search(r"https?://|--index-url|--extra-index-url|--find-links|\bcurl\b|\bwget\b|\bADD\b", text)
    assert "PIP_REQUIRE_HASHES=1" in text


@pytest.mark.parametrize("name", SERVICES)
def test_what_it_runs_exists_and_is_copied(name: str) -> None:
    image = images()[name]
    words = re.findall(r'"([^"]+)"', image.last_stage("ENTRYPOINT")[0])
    if name == "wayside-model":
        assert words[1] in [copy.split()[-1] for copy in image.last_stage("COPY")]
        return
    assert words[1] == "-m"
    module = importlib.util.find_spec(f"{words[2]}.__main__")
    assert module is not None
    assert module.origin is not None
    copied = [copy.text.split()[0] for copy in image.all("COPY")]
    assert any(module.origin.startswith(str(ROOT / source) + "/") for source in copied)


@pytest.mark.parametrize("name", SERVICES)
def test_it_exposes_the_default_ports(name: str) -> None:
    expected = default_ports(_PARSERS[name]) if name in _PARSERS else {8080}
    assert images()[name].ports == expected


@pytest.mark.parametrize("name", sorted(_PARSERS))
def test_it_installs_the_extras_that_its_folders_need(name: str) -> None:
    image = images()[name]
    copied = [copy.text for copy in image.all("COPY") if not copy.text.startswith("--from=")]
    folders = {text.split("/")[0] for text in copied if text.endswith("/wayside")}
    own = {"wayside-broker": "eventing"}.get(name, name.removeprefix("wayside-"))
    assert own in folders
    assert "eventing" in folders
    if name == "wayside-local":
        assert folders == {"eventing", "logger", "detectors", "sinks", "local"}
    assert extras_of(image) >= {"broker" if own == "eventing" else own}


@pytest.mark.parametrize("name", ["wayside-logger", "wayside-sinks", "wayside-broker"])
def test_what_stands_beside_the_serving_path_carries_no_arrays(name: str) -> None:
    carried = closure(extras_of(images()[name]))
    assert {"httptools", "prometheus-client"} <= carried
    assert not carried & {"numpy", "scipy", "scikit-learn", "fastapi", "pydantic"}


@pytest.mark.parametrize("name", ["wayside-logger", "wayside-detectors", "wayside-sinks"])
def test_what_may_meet_kafka_carries_its_client(name: str) -> None:
    assert "confluent-kafka" in closure(extras_of(images()[name]))


@pytest.mark.parametrize("name", ["wayside-logger", "wayside-local"])
def test_a_logger_writes_files_and_reads_grpc(name: str) -> None:
    assert {"obstore", "hpack", "pyyaml"} <= closure(extras_of(images()[name]))


def test_the_cluster_wide_logger_has_every_format_that_a_service_may_ask_for() -> None:
    assert "pyarrow" in closure(extras_of(images()["wayside-logger"]))


def test_the_slim_build_that_the_logger_names_is_the_default_without_parquet() -> None:
    (told,) = re.findall(r"--build-arg EXTRAS=(\S+)", (ROOT / "logger" / "Dockerfile").read_text())
    assert set(told.split(",")) == extras_of(images()["wayside-logger"]) - {"parquet"}
    assert "pyarrow" not in closure(set(told.split(",")))


def test_the_loggers_image_carries_kserves_agent_where_it_is_looked_for() -> None:
    (copy,) = [text for text in _texts(images()["wayside-logger"], "COPY") if "kserve/agent" in text]
    assert re.fullmatch(r"--from=kserve/agent:v[\d.]+ /ko-app/agent \S+", copy)
    assert copy.split()[-1] == KSERVE_AGENT


@pytest.mark.parametrize("name", ADDED)
def test_an_image_of_the_users_files_adds_them_and_nothing_else(name: str) -> None:
    image = images()[name]
    assert {instruction.name for instruction in image.instructions} == {"FROM", "COPY"}
    assert image.base.partition(":")[0] in SERVICES
