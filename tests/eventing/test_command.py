"""Commands: flags and environment read alike, one line for what is wrong, and a stop in good order."""

import argparse
import asyncio
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from wayside.eventing.command import (
    Parser,
    parse_arguments,
    parse_bool,
    parse_port,
    parse_size,
    run_command,
    run_until_signalled,
)
from wayside.eventing.errors import ConfigurationError, MissingExtra
from wayside.eventing.sink import SinkUnavailable


def _parse(argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    parser = Parser(prog="wayside logger")
    parser.add_argument("--port", type=parse_port, default=9081)
    parser.add_argument("--log-mode", choices=["all", "request"], default="all")
    parser.add_argument("--log-url", required=True)
    parser.add_argument("--tls-skip-verify", type=parse_bool, default=False)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--trigger", action="append", default=[])
    parser.add_argument("-q", "--queue-bytes", type=parse_size, default=0)
    return parse_arguments(parser, argv, environ, "WAYSIDE_LOGGER")


_URL = {"WAYSIDE_LOGGER_LOG_URL": "http://b"}


def test_a_flag_goes_before_the_environment_and_that_before_the_default() -> None:
    assert _parse(["--log-url", "http://a"], {}).port == 9081
    assert _parse([], {**_URL, "WAYSIDE_LOGGER_PORT": "1"}).port == 1
    assert _parse(["--port", "2"], {**_URL, "WAYSIDE_LOGGER_PORT": "1"}).port == 2
    assert _parse([], {**_URL, "WAYSIDE_LOGGER_QUEUE_BYTES": "2Ki"}).queue_bytes == 2048
    assert _parse([], {**_URL, "WAYSIDE_LOGGER_TRIGGER": "-a=b"}).trigger == ["-a=b"]
    assert _parse([], {**_URL, "WAYSIDE_BROKER_PORT": "1"}).port == 9081


def test_a_switch_is_read_from_the_environment_as_true_or_false() -> None:
    assert _parse([], {**_URL, "WAYSIDE_LOGGER_VERBOSE": "true"}).verbose is True
    assert _parse([], {**_URL, "WAYSIDE_LOGGER_VERBOSE": "false"}).verbose is False
    with pytest.raises(ConfigurationError, match="WAYSIDE_LOGGER_VERBOSE"):
        _parse([], {**_URL, "WAYSIDE_LOGGER_VERBOSE": "maybe"})


def test_a_bool_stands_as_two_tokens_as_kserves_injector_writes_it() -> None:
    assert _parse(["--log-url", "u", "--tls-skip-verify", "false"], {}).tls_skip_verify is False
    assert _parse(["--log-url", "u", "--tls-skip-verify=TRUE"], {}).tls_skip_verify is True


@pytest.mark.parametrize(
    ("argv", "environ", "reason"),
    [
        ([], {}, "--log-url"),
        (["--no-such-flag"], _URL, "--no-such-flag"),
        (["stray"], _URL, "stray"),
        (["--port"], _URL, "--port"),
        (["--port", "65536"], _URL, "--port"),
        (["--port", "x"], _URL, "'x' is not a port"),
        (["--tls-skip-verify", "yes"], _URL, "neither 'true' nor 'false'"),
        (["--log-mode", "none"], _URL, "none"),
        ([], {**_URL, "WAYSIDE_LOGGER_LOG_MODE": "none"}, "none"),
        ([], {**_URL, "WAYSIDE_LOGGER_PORT": "x"}, "'x' is not a port"),
        ([], {**_URL, "WAYSIDE_LOGGER_PORT": ""}, "not a port"),
        ([], {**_URL, "WAYSIDE_LOGGER_QUEUE_BYTES": "-1"}, "not a size"),
    ],
)
def test_a_wrong_setting_is_named(argv: list[str], environ: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        _parse(argv, environ)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("10B", 10),
        ("10K", 10_000),
        ("10KB", 10_000),
        ("10 MB", 10_000_000),
        ("64Mi", 64 << 20),
        ("64MiB", 64 << 20),
        (" 2Gi ", 2 << 30),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "Mi", "-1", "1.5Mi", "1Ti", "1 i", "64mi", "1_000", "٣", "1 2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_size(text)


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("80", 80), ("65535", 65535)])
def test_a_port_is_read(text: str, port: int) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize("text", ["", "-1", "65536", "8080 ", "80a", "²", "٣"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_port(text)


def _run(environ: Mapping[str, str]) -> int:
    def parse(argv: Sequence[str], environ: Mapping[str, str]) -> int:
        return int(_parse(argv, environ).port)

    async def serve(port: int) -> int:
        return port

    return run_command("wayside logger", parse, serve, ["--log-url", "u", "--port", "7"], environ)


def test_a_command_returns_what_serving_returns() -> None:
    assert _run({}) == 7


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"WAYSIDE_LOG_LEVEL": "LOUD"}, "wayside logger: WAYSIDE_LOG_LEVEL='LOUD' is not a level such as INFO\n"),
        (
            {"WAYSIDE_LOGGER_PORT": "x"},
            "wayside logger: argument --port: 'x' is not a port (0-65535) (see 'wayside logger --help')\n",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_status_2(
    environ: dict[str, str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(environ) == 2
    assert capsys.readouterr() == ("", line)


def test_a_service_that_cannot_start_is_one_line_and_exit_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    async def serve(_: None) -> int:
        raise MissingExtra("numpy", "arrays")

    assert run_command("wayside detect", lambda argv, environ: None, serve, [], {}) == 2
    assert capsys.readouterr().err == "wayside detect: numpy needs the extra 'arrays': pip install 'wayside[arrays]'\n"


def test_what_fails_later_by_a_reason_of_ours_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    async def serve(settings: None) -> int:
        raise SinkUnavailable("the group has no rights")

    assert run_command("wayside sink", lambda argv, environ: None, serve, [], {}) == 1
    assert capsys.readouterr().err == "wayside sink: the group has no rights\n"


class _Service:
    """Says when it starts and stops, and fails where it is told to."""

    def __init__(self, name: str, journal: list[str], fails_in: str = "") -> None:
        self._name = name
        self._journal = journal
        self._fails_in = fails_in

    async def start(self) -> None:
        self._say("start")

    async def stop(self) -> None:
        self._say("stop")

    def _say(self, verb: str) -> None:
        self._journal.append(f"{verb} {self._name}")
        if verb == self._fails_in:
            raise ConfigurationError(f"{self._name} cannot {verb}")


class _Signalling(_Service):
    """Sends this process a SIGTERM as its start begins, and then waits for what never comes."""

    async def start(self) -> None:
        await super().start()
        signal.raise_signal(signal.SIGTERM)
        await asyncio.Event().wait()


async def test_a_start_that_fails_stops_what_was_begun() -> None:
    journal: list[str] = []
    services = [_Service("a", journal), _Service("b", journal, "start"), _Service("c", journal)]
    with pytest.raises(ConfigurationError, match="b cannot start"):
        await run_until_signalled(services)
    assert journal == ["start a", "start b", "stop b", "stop a"]


async def test_a_stop_that_fails_does_not_keep_the_others_running() -> None:
    journal: list[str] = []
    services = [_Service("a", journal), _Service("b", journal, "stop"), _Signalling("c", journal)]
    with pytest.raises(ConfigurationError, match="b cannot stop"):
        await run_until_signalled(services)
    assert journal == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]


async def test_a_signal_ends_a_start_that_waits() -> None:
    journal: list[str] = []
    services = [_Service("a", journal), _Signalling("b", journal), _Service("c", journal)]
    assert await run_until_signalled(services) == 0
    assert journal == ["start a", "start b", "stop b", "stop a"]


async def test_a_failure_while_services_run_stops_them_and_is_told() -> None:
    journal: list[str] = []

    async def fail() -> None:
        raise ConfigurationError("the topic is gone")

    with pytest.raises(ConfigurationError, match="the topic is gone"):
        await run_until_signalled([_Service("a", journal), _Service("b", journal)], fail)
    assert journal == ["start a", "start b", "stop b", "stop a"]


_SERVICE = """
import sys
from wayside.eventing.command import run_command, run_until_signalled

class Service:
    def __init__(self, name):
        self.name = name
    async def start(self):
        print("start", self.name, flush=True)
    async def stop(self):
        print("stop", self.name, flush=True)

async def serve(settings):
    return await run_until_signalled([Service(name) for name in "abc"])

sys.exit(run_command("test", lambda argv, environ: None, serve, [], {}))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_services_in_the_other_order(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", _SERVICE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        started = [process.stdout.readline() for _ in range(3)]
        process.send_signal(number)
        stopped = process.stdout.read().splitlines()
        status = process.wait(timeout=10)
    assert started == ["start a\n", "start b\n", "start c\n"]
    assert stopped == ["stop c", "stop b", "stop a"]
    assert status == 0
