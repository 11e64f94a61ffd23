"""Real services for tests, on loopback: `up DIR [NAME…]`, `down DIR`, `restart DIR NAME`, `kill DIR NAME`.

`up` prints WAYSIDE_TEST_…=ADDRESS lines to export, and says on standard error what it waits for. A service that the
environment gives an address for is checked, not started; one that DIR's last `up` started is kept; data in DIR stays.
Names: kafka elasticsearch prometheus alertmanager pushgateway s3; all of them where none is named.

Invariant: standard output holds only lines to export, and only where everything answers.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from service_launcher import processes
from service_launcher.jars import cache_folder
from service_launcher.startup import SERVICES, bring_up, kill, restart
from service_launcher.workspace import Cancelled, ServiceError, Workspace, say


def main(arguments: Sequence[str]) -> int:
    """Run one command. Returns 0, or 1 after a line that says what is wrong."""
    chosen = _parse(arguments)
    work = Workspace(chosen.folder.absolute(), cache_folder(os.environ), chosen.wait)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        addresses = _run(chosen.command, chosen.names, work)
    except (ServiceError, Cancelled) as exc:
        say(str(exc))
        return 1
    except KeyboardInterrupt:
        say("interrupted; what was started is stopped")
        return 130
    for name, address in addresses.items():
        print(f"{name}={address}")
    return 0


def _run(command: str, names: Sequence[str], work: Workspace) -> dict[str, str]:
    services = [SERVICES[name] for name in names]
    match command:
        case "up":
            addresses = bring_up(services or list(SERVICES.values()), work, os.environ)
            return {**addresses, "WAYSIDE_TEST_SERVICES_DIR": str(work.folder)}
        case "restart":
            for service in services:
                restart(service, work)
        case "kill":
            for service in services:
                kill(service, work)
        case "down":
            processes.stop(processes.find_all(work.folder), work.folder)
    return {}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="launcher.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, names in {"up": "*", "restart": "+", "kill": "+", "down": None}.items():
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path, metavar="DIR")
        command.add_argument(
            "--wait", type=float, default=120.0, metavar="SECONDS", help="how long one may take to answer"
        )
        command.set_defaults(names=[])
        if names:
            command.add_argument("names", nargs=names, metavar="NAME", type=_known)
    return parser.parse_args(arguments)


def _known(name: str) -> str:
    if name not in SERVICES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SERVICES)}")
    return name


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
