"""The broker and its subscribers as processes, what they use, and what the broker says that it counted.

Source: proc(5).
Invariant: a program is gone when its `with` ends.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

_TICKS = os.sysconf("SC_CLK_TCK")
_READY_S = 120.0
_LOOK_S = 0.1
_SUBSCRIBER = Path(__file__).with_name("broker_subscriber.py")
STORE_LIMIT = "64Gi"  # no benchmark is about being full


@dataclass(frozen=True, slots=True)
class Ports:
    """The broker's door, its admin port, and one for each subscriber from `subscriber` on."""

    first: int

    @property
    def door(self) -> int:
        return self.first

    @property
    def admin(self) -> int:
        return self.first + 1

    @property
    def subscriber(self) -> int:
        return self.first + 2

    @property
    def nobody(self) -> int:
        """Where nobody listens."""
        return self.first + 3


@dataclass(frozen=True, slots=True)
class Trigger:
    """A Trigger as its YAML: events of `event_type`, or all, to a URL."""

    name: str
    url: str
    event_type: str = ""
    delivery: str = "{}"

    def yaml(self) -> str:
        attributes = json.dumps({"type": self.event_type} if self.event_type else {})
        return (
            f"---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {self.name}}}\nspec:\n"
            f"  broker: default\n  filter: {{attributes: {attributes}}}\n"
            f"  subscriber: {{uri: '{self.url}'}}\n  delivery: {self.delivery}\n"
        )


def write_manifest(path: Path, triggers: Sequence[Trigger]) -> Path:
    """The file of one broker with these Triggers."""
    broker = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n"
    path.write_text(broker + "".join(trigger.yaml() for trigger in triggers))
    return path


class Broker:
    """The broker in its process."""

    def __init__(self, process: subprocess.Popen[bytes], ports: Ports) -> None:
        self._process = process
        self._ports = ports

    @property
    def cpu_s(self) -> float:
        """Of all its threads, since it started."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def resident_mib(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def view(self) -> Mapping[str, Any]:
        """What it counted: the events, and by their names the Triggers."""
        with urlopen(f"http://127.0.0.1:{self._ports.admin}/triggers", timeout=60) as answer:
            counts = json.load(answer)
        return {**counts, "triggers": {trigger["name"]: trigger for trigger in counts["triggers"]}}

    def trigger(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.view()["triggers"][name]
        return found

    def wait_ready(self) -> None:
        until_s = time.monotonic() + _READY_S
        while time.monotonic() < until_s and self._process.poll() is None:
            try:
                urlopen(f"http://127.0.0.1:{self._ports.admin}/readyz", timeout=1).close()
                return
            except (URLError, TimeoutError):
                time.sleep(_LOOK_S)
        raise SystemExit("bench: the broker did not become ready")


@contextmanager
def broker(data: Path, manifest: Path, ports: Ports) -> Iterator[Broker]:
    """The broker that runs on this store; it is ready."""
    flags = ("--data", str(data), "--manifest", str(manifest), "--store-limit", STORE_LIMIT)
    where = ("--port", str(ports.door), "--admin-port", str(ports.admin))
    quiet = os.environ | {"WAYSIDE_LOG_LEVEL": "ERROR"}
    with _process((sys.executable, "-m", "wayside.eventing.broker", *flags, *where), quiet) as process:
        found = Broker(process, ports)
        found.wait_ready()
        yield found


@contextmanager
def subscriber(port: int, delay_s: float = 0.0) -> Iterator[str]:
    """A subscriber in a process of its own; its URL."""
    with _process((sys.executable, str(_SUBSCRIBER), str(port), str(delay_s)), os.environ):
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def _process(command: Sequence[str], environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, env=environ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
