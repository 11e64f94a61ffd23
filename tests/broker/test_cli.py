from pathlib import Path

import pytest

from wayside.eventing.broker.cli import main, parse
from wayside.eventing.errors import ConfigurationError

REQUIRED = ["--data", "d", "--manifest", "m"]


def test_flags_and_their_defaults() -> None:
    settings = parse(REQUIRED, {})
    assert (settings.host, settings.port) == ("127.0.0.1", 8610)
    assert (settings.admin_host, settings.admin_port) == (
        "127.0.0.1",
        8611,
    )
    assert (settings.in_flight, settings.retain_s) == (32, 86_400)
    assert (settings.store_limit_bytes, settings.body_limit_bytes) == (1 << 30, 16 << 20)


def test_lists_from_flags_and_environment() -> None:
    environ = {"WAYSIDE_BROKER_MANIFEST": "a,b", "WAYSIDE_BROKER_DATA": "d", "WAYSIDE_BROKER_RETAIN": "90s"}
    settings = parse(
        ["--manifest", "c", "--resolve", "x=http://x/", "--resolve", "n/y=http://y:1/,z=http://z/"], environ
    )
    assert settings.manifests == (Path("a"), Path("b"), Path("c"))
    assert {name: url.text for name, url in settings.resolve.items()} == {
        "x": "http://x/",
        "n/y": "http://y:1/",
        "z": "http://z/",
    }
    assert settings.retain_s == 90


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--data", "d"], "--manifest"),
        ([*REQUIRED, "--resolve", "x"], "'x' is not NAME=URL"),
        ([*REQUIRED, "--resolve", "x=there"], "is not an absolute http"),
        ([*REQUIRED, "--port", "70000"], "'70000' is not a port"),
        ([*REQUIRED, "--retain", "soon"], "'soon' is not an age such as 24h"),
        ([*REQUIRED, "--in-flight", "0"], "'0' is not a number from 1"),
        ([*REQUIRED, "--store-limit", "0"], "'0' is not a number from 1"),
        ([*REQUIRED, "--colour", "red"], "unrecognized arguments: --colour"),
    ],
)
def test_a_wrong_flag(flags: list[str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        parse(flags, {})


def test_a_wrong_manifest_is_one_line_and_status_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "m.yaml"
    manifest.write_text("apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\nspec: {x: 1}\n")
    assert main(["--data", str(tmp_path / "d"), "--manifest", str(manifest)], {}) == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"wayside broker: {manifest}:4:8: document 1: spec.x: is not supported here")
    assert not (tmp_path / "d").exists()
