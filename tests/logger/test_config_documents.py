"""docs/logger.md and the command line say the same: every flag, its default, and who may set it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from wayside.logger.config.configuration import NOT_FROM_ENVIRONMENT, configuration_of
from wayside.logger.config.options import NAMESPACE_SETTINGS, SERVICE_SETTINGS, parser
from wayside.logger.config.revision import of_pod

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "logger.md").read_text(encoding="utf-8")
HIDDEN = {"--process"}  # between the supervisor and its processes


def rows() -> dict[str, tuple[str, str]]:
    """Default and who sets it, by flag; a row may have several flags with their defaults in order."""
    found: dict[str, tuple[str, str]] = {}
    for flags, default, setter in re.findall(r"(?m)^\| (`--[^|]+) \| ([^|]+) \| ([^|]+) \| ", PAGE):
        names = re.findall(r"`(--[a-z-]+)`", flags)
        defaults = default.split(", ") if ", " in default else [default] * len(names)
        assert not set(names) & set(found), names
        found |= {name: (value, setter) for name, value in zip(names, defaults, strict=True)}
    return found


def shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default or "none")


def setter_of(name: str) -> str:
    if name in SERVICE_SETTINGS:
        return "service"
    if name in NAMESPACE_SETTINGS:
        return "namespace"
    return "flag only" if name.replace("-", "_") in NOT_FROM_ENVIRONMENT else "flag"


def test_every_flag_has_a_row_and_every_row_a_flag() -> None:
    flags = {name for name in parser()._option_string_actions if name.startswith("--")}
    assert set(rows()) == flags - {"--help"} - HIDDEN


@pytest.mark.parametrize("name", sorted(rows()))
def test_a_row_has_the_flags_default_and_who_sets_it(name: str) -> None:
    action = parser()._option_string_actions[name]
    assert rows()[name] == (shown(action.default), setter_of(name.removeprefix("--")))


@pytest.mark.parametrize(("pod", "revision"), re.findall(r"(?m)^\| `([\w-]+)` \| `([\w-]+)`, the", PAGE))
def test_the_table_of_revisions_is_what_is_read(pod: str, revision: str) -> None:
    assert of_pod(pod) == revision


def test_the_annotations_that_are_shown_are_settings() -> None:
    (shown,) = [block for block in blocks() if "metadata" in block]
    annotations, listed = shown["metadata"]["annotations"], shown["spec"]["predictor"]["logger"]["metadataAnnotations"]
    pairs = ",".join(f"{name}={annotations[name]}" for name in listed)
    found = configuration_of(["--log-url", "http://b/", "--metadata-annotations", pairs], {})
    assert (found.faults, found.settings.identity.annotations) == ((), {})
    assert len(found.settings.side_work.rules) == 2


def test_the_file_that_is_shown_is_settings(tmp_path: Path) -> None:
    (shown,) = [block for block in blocks() if "logger" in block]
    (tmp_path / "wayside.yaml").write_text(yaml.safe_dump(shown), encoding="utf-8")
    found = configuration_of(["--log-url", "http://b/", "--settings-file", str(tmp_path / "wayside.yaml")], {})
    assert found.faults == ()
    assert found.settings.capture.sampling.share == 0.2


def test_the_sidecar_that_is_shown_can_be_parsed() -> None:
    shown = [container for block in blocks() for container in block.get("containers", ()) if "args" in container]
    assert len(shown) == 2
    for container in shown:
        assert configuration_of(container["args"], {}).notes == ()


def blocks() -> list[dict[str, Any]]:
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def test_sections_that_are_linked_are_there() -> None:
    headings = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.+)$", PAGE)]
    counted = {f"{title}-{headings[:index].count(title)}".removesuffix("-0") for index, title in enumerate(headings)}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= counted
