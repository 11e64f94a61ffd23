"""Prometheus, Alertmanager and Pushgateway, from Debian's packages.

Invariant: Prometheus sends alerts to the Alertmanager of the same folder, whichever of the two starts first.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from service_launcher.network import LOOPBACK, free_port, probe_http
from service_launcher.packages import find_program
from service_launcher.workspace import DEFINITIONS, Launch, Program, Workspace, variable

_OWN = DEFINITIONS / "prometheus"


class _PrometheusFamily:
    """What the three have in common: a Debian package, and where they say that they are ready."""

    name: str
    programs: tuple[Program, ...]

    def probe(self, address: str) -> None:
        probe_http(f"{address.rstrip('/')}/-/ready")

    def _launch(self, port: int, flags: tuple[str, ...], more: Mapping[str, str]) -> Launch:
        command = (find_program(self.programs[0]), f"--web.listen-address={LOOPBACK}:{port}", *flags)
        return Launch(self.name, command, {variable(self.name): f"http://{LOOPBACK}:{port}", **more})


class Prometheus(_PrometheusFamily):
    """Scrapes the targets of DIR/prometheus-targets/*.json and applies the rules of DIR/prometheus-rules/*.yml."""

    name = "prometheus"
    programs = (Program(("prometheus",), "prometheus"),)

    def prepare(self, work: Workspace) -> Launch:
        for part in ("targets", "rules", "alertmanagers"):
            (work.folder / f"prometheus-{part}").mkdir(exist_ok=True)
        config = work.folder / "prometheus.yml"
        config.write_text(Template((_OWN / "prometheus.yml").read_text()).substitute(folder=work.folder))
        data = f"--storage.tsdb.path={work.folder / 'prometheus-data'}"
        flags = (f"--config.file={config}", data, "--web.enable-lifecycle")
        return self._launch(free_port(), flags, {f"{variable(self.name)}_DIR": str(work.folder)})


class Alertmanager(_PrometheusFamily):
    """Reads DIR/alertmanager.yml, which tests may rewrite."""

    name = "alertmanager"
    programs = (Program(("prometheus-alertmanager", "alertmanager"), "prometheus-alertmanager"),)

    def prepare(self, work: Workspace) -> Launch:
        port, config = free_port(), work.folder / "alertmanager.yml"
        shutil.copy(_OWN / "alertmanager.yml", config)
        send_alerts_to(f"http://{LOOPBACK}:{port}", work.folder)
        data = f"--storage.path={work.folder / 'alertmanager-data'}"
        flags = (f"--config.file={config}", data, "--cluster.listen-address=")
        return self._launch(port, flags, {f"{variable(self.name)}_DIR": str(work.folder)})


class Pushgateway(_PrometheusFamily):
    """Keeps what is pushed in memory."""

    name = "pushgateway"
    programs = (Program(("prometheus-pushgateway", "pushgateway"), "prometheus-pushgateway"),)

    def prepare(self, work: Workspace) -> Launch:
        return self._launch(free_port(), (), {})


def send_alerts_to(address: str, folder: Path) -> None:
    """Tell the Prometheus of this folder, running or not, which Alertmanager is its own."""
    path = folder / "prometheus-alertmanagers" / "alertmanager.json"
    path.parent.mkdir(exist_ok=True)
    url = urlsplit(address)
    labels = {"__scheme__": url.scheme, "__alerts_path__": f"{url.path.rstrip('/')}/api/v2/alerts"}
    path.write_text(json.dumps([{"targets": [url.netloc], "labels": labels}]))
