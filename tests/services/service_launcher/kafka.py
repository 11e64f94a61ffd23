"""Kafka: one node, with a listener that asks nothing and one that asks a password.

Invariant: it is ready when it names itself as broker and knows its controller, not when its port is open.
"""

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from string import Template

from service_launcher import containers, jars
from service_launcher.network import LOOPBACK, free_port
from service_launcher.workspace import DEFINITIONS, Launch, NotAnswering, Program, ServiceError, Workspace, variable

USER, PASSWORD = "wayside", "wayside-test"
POM = DEFINITIONS / "kafka" / "pom.xml"
CLUSTER_ID = "d2F5c2lkZS10ZXN0cy0xMQ"  # 16 bytes in base64: "wayside-tests-11"
_PROBE_S = 3.0
_METADATA, _METADATA_VERSION = 3, 1
_LIMIT_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Ports:
    """Where one node listens."""

    plain: int
    sasl: int
    controller: int

    def addresses(self) -> dict[str, str]:
        own = variable("kafka")
        return {own: f"{LOOPBACK}:{self.plain}", f"{own}_SASL": f"{LOOPBACK}:{self.sasl}"}


class Kafka:
    """Kafka from its published jars, or from its image."""

    name = "kafka"
    programs: tuple[Program, ...] = ()

    def prepare(self, work: Workspace) -> Launch:
        ports = Ports(free_port(), free_port(), free_port())
        engine = containers.choose_engine(self.name)
        return prepare_container(engine, ports, work) if engine else prepare_process(ports, work)

    def probe(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise ServiceError(f"{address!r} is no address of a Kafka: give HOST:PORT")
        try:
            with socket.create_connection((host, int(port)), _PROBE_S) as connection:
                connection.sendall(metadata_request())
                brokers = count_brokers(_read_answer(connection))
        except OSError as exc:
            raise NotAnswering(str(exc)) from exc
        if brokers == 0:
            raise NotAnswering("it knows no broker yet")


def prepare_process(ports: Ports, work: Workspace) -> Launch:
    """Format the folder of a node, unless it is, and say how to run it."""
    class_path = f"{jars.fetch_jars(POM, 'kafka', work)}/*"
    config = work.folder / "kafka.properties"
    config.write_text(render_config(ports, work.folder / "kafka-data", LOOPBACK))
    tool = ("java", *jars.QUICK_START, "-cp", class_path, "kafka.tools.StorageTool")
    work.call("kafka-format", (*tool, "format", "--ignore-formatted", "-t", CLUSTER_ID, "-c", str(config)))
    flags = ("-Xms256m", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
    command = ("java", *jars.QUICK_START, *flags, "-cp", class_path, "kafka.Kafka", str(config))
    return Launch("kafka", command, ports.addresses())


def prepare_container(engine: str, ports: Ports, work: Workspace) -> Launch:
    """Make a container of the same version with the same settings."""
    image = f"apache/kafka:{jars.version_in(POM)}"
    config = render_config(ports, Path("/tmp/kafka-data"), "0.0.0.0")
    environment = {"CLUSTER_ID": CLUSTER_ID, "KAFKA_HEAP_OPTS": "-Xms256m -Xmx256m", **as_environment(config)}
    inside = {ports.plain: ports.plain, ports.sasl: ports.sasl}
    container = containers.Container(engine, "kafka", image, inside, environment)
    return containers.prepare(container, ports.addresses(), work)


def render_config(ports: Ports, data: Path, bind_host: str) -> str:
    """The node's server.properties."""
    return Template((DEFINITIONS / "kafka" / "server.properties").read_text()).substitute(
        port=ports.plain,
        sasl_port=ports.sasl,
        controller_port=ports.controller,
        bind_host=bind_host,
        data=data,
        user=USER,
        password=PASSWORD,
    )


def as_environment(config: str) -> dict[str, str]:
    """Properties as the image takes them: KAFKA_, then the key with `_` doubled and `.` for `_` (KIP-975)."""
    settings = (line.partition("=") for line in config.splitlines() if line and not line.startswith("#"))
    return {f"KAFKA_{key.replace('_', '__').replace('.', '_').upper()}": value for key, _, value in settings}


def metadata_request() -> bytes:
    """A Metadata request, version 1, for no topic and without a client id (Kafka protocol guide)."""
    body = struct.pack(">hhihi", _METADATA, _METADATA_VERSION, 1, -1, 0)
    return struct.pack(">i", len(body)) + body


def count_brokers(answer: bytes) -> int:
    """How many brokers an answer to `metadata_request` names: after the correlation id, the array of them."""
    if len(answer) < 8:
        raise NotAnswering("its answer is none of Kafka's")
    correlation, brokers = struct.unpack_from(">ii", answer)
    if correlation != 1 or brokers < 0:
        raise NotAnswering("its answer is none of Kafka's")
    return int(brokers)


def _read_answer(connection: socket.socket) -> bytes:
    (length,) = struct.unpack(">i", _read_exactly(connection, 4))
    if not 0 < length <= _LIMIT_BYTES:
        raise NotAnswering("its answer is none of Kafka's")
    return _read_exactly(connection, length)


def _read_exactly(connection: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        part = connection.recv(size - len(read))
        if not part:
            raise ConnectionResetError("it closed the connection")
        read += part
    return read
