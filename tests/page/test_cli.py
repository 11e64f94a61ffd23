"""The page's command line, and the page as a process of its own."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from wayside.eventing.errors import ConfigurationError
from wayside.local.page import cli


def test_the_flags_of_a_composition_are_understood() -> None:
    settings = cli.parse(
        [
            *("--port", "0", "--records", "r.sqlite", "--ledger", "l.sqlite"),
            *("--logger-admin", "http://127.0.0.1:9082", "--broker-admin", "http://127.0.0.1:8611"),
            *("--drift-admin", "http://127.0.0.1:8621", "--drift-admin", "http://127.0.0.1:8631"),
            *("--allow-host", "panel.example"),
        ],
        {},
    )
    assert settings.records == Path("r.sqlite")
    assert [url.origin.port for url in settings.admin.drift] == [8621, 8631]
    assert settings.allowed_hosts == ("panel.example",)


def test_everything_may_come_from_the_environment_or_be_left_out() -> None:
    environ = {"WAYSIDE_PAGE_PORT": "8700", "WAYSIDE_PAGE_DRIFT_ADMIN": "http://a:1,http://b:2"}
    settings = cli.parse([], environ)
    assert (settings.port, len(settings.admin.drift), settings.records) == (8700, 2, None)
    assert cli.parse([], {}).port == 8600


def test_groups_of_kafka_stand_in_the_brokers_place() -> None:
    settings = cli.parse(["--subscription", "g=kafka://host/a,b", "--subscription", "h=kafka://host/a"], {})
    assert settings.admin.kafka is not None


@pytest.mark.parametrize(
    "argv",
    [
        ["--port", "many"],
        ["--logger-admin", "127.0.0.1:9082"],
        ["--drift-admin", "x"],
        ["--colour", "red"],
        ["--subscription", "kafka://host/topic"],
        ["--subscription", "group=http://host/topic"],
        ["--subscription", "gr/oup=kafka://host/topic"],
    ],
)
def test_what_is_wrong_is_refused(argv: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        cli.parse(argv, {})


async def test_it_serves_as_a_process_and_stops_on_a_signal() -> None:
    command = (sys.executable, "-m", "wayside.local.page", "--port", "0")
    page = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert page.stderr is not None
    async with asyncio.timeout(20):
        while b"the page is at http://127.0.0.1:" not in await page.stderr.readline():
            assert page.returncode is None
        page.send_signal(signal.SIGTERM)
        await page.stderr.read()
        assert await page.wait() == 0
