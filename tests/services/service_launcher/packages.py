"""Programs that come as Debian packages: found, or installed where this machine can.

Invariant: nothing is installed that is already there, and nothing without root or a sudo that asks nothing.
"""

import os
import shutil
from collections.abc import Iterable

from service_launcher.workspace import Program, ServiceError, Workspace, say


def find_program(program: Program) -> str:
    """The path of a program. Raises `ServiceError` saying what to install."""
    for name in program.names:
        if path := shutil.which(name):
            return path
    raise ServiceError(f"{program.names[0]} is not installed; on Debian: apt-get install {program.package}")


def install_missing(programs: Iterable[Program], work: Workspace) -> None:
    """Install the packages of programs that are not there, in one go. Raises `ServiceError` saying what to install."""
    packages = [program.package for program in programs if not any(map(shutil.which, program.names))]
    if not packages:
        return
    say(f"installing {' '.join(packages)}")
    for step, command in enumerate(install_commands(packages, _privilege(packages))):
        work.call(f"packages-{step}", command)


def install_commands(packages: list[str], privilege: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The commands that install Debian packages without a question."""
    apt = (*privilege, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300")
    return [(*apt, "update"), (*apt, "install", "-y", "--no-install-recommends", *packages)]


def _privilege(packages: list[str]) -> tuple[str, ...]:
    if shutil.which("apt-get") is not None:
        if os.geteuid() == 0:
            return ()
        if shutil.which("sudo") is not None:
            return ("sudo", "-n")
    wanted = " ".join(packages)
    raise ServiceError(
        f"these Debian packages, or the same programs by another way, must be installed by hand: {wanted};"
        " or give addresses of services that run in WAYSIDE_TEST_…"
    )
