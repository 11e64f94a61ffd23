"""What every `wayside …` command shares: flags that can also come from the environment, one-line errors, signals.

Invariant: a wrong setting ends in one line on stderr and exit status 2, before anything is started.
"""

import argparse
import asyncio
import logging
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import NoReturn, TypeVar

from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.sink import Lifecycle

S = TypeVar("S")
EXIT_FAILED, EXIT_CONFIGURATION = 1, 2
_SERVICE_LINKS = ("tcp://", "udp://", "sctp://")
_SIZE = re.compile(r"(\d+)\s*([KMG]i?)?B?", re.ASCII)
_UNITS = {None: 1, "K": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `ConfigurationError` instead of printing usage and exiting."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message} (see '{self.prog} --help')")


def parse_arguments(
    parser: argparse.ArgumentParser, argv: Sequence[str], environ: Mapping[str, str], prefix: str
) -> argparse.Namespace:
    """Parse `argv`; a flag that is not given is read from `PREFIX_FLAG_NAME`, and checked in the same way.

    A variable that Kubernetes made of a Service's name (`WAYSIDE_LOGGER_PORT=tcp://10.0.0.1:80`) is not ours to read.
    Raises `ConfigurationError` for an unknown flag or a bad value.
    """
    given: list[str] = []
    for action in parser._actions:
        name = f"{prefix}_{action.dest.upper()}"
        ours = name in environ and not environ[name].startswith(_SERVICE_LINKS)
        if action.option_strings and action.dest != "help" and ours:
            given += _as_tokens(action, name, environ[name])
    return parser.parse_args([*given, *argv])


def _as_tokens(action: argparse.Action, name: str, value: str) -> list[str]:
    """What to write on the command line for an environment variable; a switch, which takes no value, is on or off."""
    flag = action.option_strings[-1]
    if action.nargs != 0:
        return [f"{flag}={value}"]
    try:
        return [flag] if parse_bool(value) else []
    except argparse.ArgumentTypeError as exc:
        raise ConfigurationError(f"{name}: {exc}") from exc


def parse_bool(text: str) -> bool:
    """'true' or 'false' in the spellings that Go's strconv.ParseBool takes."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither 'true' nor 'false'")


def parse_port(text: str) -> int:
    """A TCP port; 0 lets the system choose one."""
    if not text.isascii() or not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0-65535)")
    return int(text)


def parse_size(text: str) -> int:
    """A number of bytes: '1048576', '64Mi', '10MB'."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 64Mi")
    return int(match[1]) * _UNITS[match[2]]


def run_command(
    name: str,
    parse: Callable[[Sequence[str], Mapping[str, str]], S],
    serve: Callable[[S], Awaitable[int]],
    argv: Sequence[str],
    environ: Mapping[str, str],
) -> int:
    """Parse, then run `serve` to its end on uvloop where that is installed; returns the exit status.

    A wrong setting ends with status 2, what else fails by a reason of ours with 1; both with one line on stderr.
    """
    try:
        _configure_logging(environ.get("WAYSIDE_LOG_LEVEL", "INFO"))
        settings = parse(argv, environ)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_awaited(serve(settings)))
    except ConfigurationError as exc:
        print(f"{name}: {exc}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except WaysideError as exc:
        print(f"{name}: {exc}", file=sys.stderr)
        return EXIT_FAILED


def _configure_logging(level: str) -> None:
    if level.upper() not in logging.getLevelNamesMapping():
        raise ConfigurationError(f"WAYSIDE_LOG_LEVEL={level!r} is not a level such as INFO")
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(name)s %(levelname)s %(message)s")


async def _awaited(work: Awaitable[int]) -> int:
    return await work


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def run_until_signalled(
    services: Sequence[Lifecycle], failure: Callable[[], Awaitable[None]] | None = None
) -> int:
    """Start the services in order, wait for SIGTERM or SIGINT, stop them in the other order. Returns 0.

    A signal also ends a start that waits for something. `failure` is awaited while the services run: where it raises,
    they are stopped and the error is the caller's.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as started:  # stops the others too where one of them fails to stop
        for service in services:
            started.push_async_callback(service.stop)
            await _unless(stopping, service.start())
            if stopping.is_set():
                return 0
        await _unless(stopping, failure() if failure else stopping.wait())
    return 0


async def _unless(stopping: asyncio.Event, work: Awaitable[object]) -> None:
    """Await `work`, or cancel it as soon as `stopping` is set. Raises what `work` raises."""
    working, signalled = asyncio.ensure_future(work), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait([working, signalled], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, signalled):
            task.cancel()
        await asyncio.wait([working, signalled])
