"""The page that tells people how: what it names is there, and the commands of ours that it shows can be parsed."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from cluster_stacks import placed_in
from image_files import images
from manifest_files import MANIFESTS, ROOT

from wayside.local.cli import COMMANDS

PAGES = [ROOT / "docs" / "on-your-cluster.md", MANIFESTS / "README.md"]
TEXT = PAGES[0].read_text(encoding="utf-8")
OURS = re.findall(r"wayside ((?:fit|demo) [^\n`]*--[^\n`]+)", TEXT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("line", OURS)
def test_our_own_command_line_takes_what_is_shown(line: str) -> None:
    name, *arguments = shlex.split(line)
    import_module(COMMANDS[name].module).parse(arguments, {})


def test_what_is_built_is_what_runs() -> None:
    for path, name, version in re.findall(r"docker build -f (\S+) -t ([a-z-]+):(\S+)", TEXT):
        assert images()[name].path == ROOT / path
        assert images()[name].version == version
    services = re.findall(r"for service in ([a-z ]+); do", TEXT)[0].split()
    built = {f"wayside-{service}" for service in services} | set(re.findall(r"-t ([a-z-]+):", TEXT))
    needed = {placed.spec["image"].partition(":")[0] for placed in placed_in("knative")}
    assert needed - {"wayside-digits"} <= built  # the demo's model is told of in a sentence
    assert {images()[name].base.partition(":")[0] for name in needed} - {"python"} <= built


def test_the_overlay_that_is_shown_names_images_and_a_configuration_that_are_there() -> None:
    (shown,) = re.findall(r"```yaml\n# my-cluster/kustomization.yaml\n(.*?)```", TEXT, re.DOTALL)
    kustomization = yaml.safe_load(shown)
    used = {placed.spec["image"].partition(":")[0] for placed in placed_in("knative")}
    assert {image["name"] for image in kustomization["images"]} == used
    (patch,) = (yaml.safe_load(entry["patch"]) for entry in kustomization["patches"])
    base = yaml.safe_load((MANIFESTS / "base" / "configuration.yaml").read_text(encoding="utf-8"))
    assert set(patch["data"]) <= set(base["data"])
