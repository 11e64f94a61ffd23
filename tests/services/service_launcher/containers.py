"""Kafka and Elasticsearch in containers, where there are no Java tools but docker or podman runs.

NOT VERIFIED on this project's machines, which have no container engine: tests check the command lines alone.

Invariant: a container publishes its ports on loopback only, and `remove` leaves nothing of it.
"""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from service_launcher import jars
from service_launcher.network import LOOPBACK
from service_launcher.workspace import Launch, ServiceError, Workspace, variable

_ENGINES = ("docker", "podman")
_ANSWER_S = 20.0


@dataclass(frozen=True, slots=True)
class Container:
    """What to make: `ports` are ports of this machine to ports inside."""

    engine: str
    service: str
    image: str
    ports: Mapping[int, int]
    environment: Mapping[str, str]

    @property
    def name(self) -> str:
        """One name a launch: the first port is this launch's own."""
        return f"wayside-test-{self.service}-{next(iter(self.ports))}"


def choose_engine(service: str) -> str | None:
    """The engine to run a service in, or None where the Java tools are there. Raises `ServiceError` without either."""
    missing = jars.missing_tools()
    if not missing:
        return None
    for engine in _ENGINES:
        if shutil.which(engine) is not None and _answers(engine):
            return engine
    raise ServiceError(
        f"{service} needs {', '.join(missing)} (Java 17; on Debian: apt-get install default-jdk-headless maven),"
        f" or docker or podman with an engine that answers, or the address of one that runs in {variable(service)}"
    )


def prepare(container: Container, addresses: Mapping[str, str], work: Workspace) -> Launch:
    """Make the container, pulling its image where needed, and say how to run it in the foreground."""
    work.call(f"{container.service}-create", create_command(container))
    engine, name = container.engine, container.name
    return Launch(
        container.service,
        (engine, "start", "--attach", name),
        addresses,
        kill=(engine, "kill", name),
        remove=(engine, "rm", "--force", "--volumes", name),
    )


def create_command(container: Container) -> tuple[str, ...]:
    """The command that makes a container without starting it, so that a restart finds the same data."""
    ports = [f"--publish={LOOPBACK}:{outside}:{inside}" for outside, inside in container.ports.items()]
    environment = [f"--env={key}={value}" for key, value in container.environment.items()]
    return (container.engine, "create", f"--name={container.name}", *ports, *environment, container.image)


def _answers(engine: str) -> bool:
    try:
        asked = subprocess.run([engine, "info"], capture_output=True, timeout=_ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0
