"""Each alert, fired by real processes through the real Prometheus and Alertmanager to a webhook, and resolved."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from foreign_verdicts import alert_event, request, row_verdict, window_verdict
from monitored_loop import Loop, running_sinks
from real_prometheus import Prometheus, alertmanager_told, wait_until

from wayside.eventing.alert import AlertState
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.vocabulary import OUTLIER, ServiceKey
from wayside.local.composition import BROKER_PATH, LOOPBACK

# how the rules of alerts.yaml are made quick enough for a test; nothing else in them is changed
QUICK = {"[30m]": "[10s]", "for: 2m": "for: 1s", "[10m]": "[5s]", "offset 10m": "offset 5s"}


class Webhook:
    """What Alertmanager posted: the alerts, oldest first."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, dict[str, str]]] = []
        self._server = HttpServer(self._take, LOOPBACK, 0)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.port}/"

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(grace_s=0)

    async def _take(self, request: Request) -> Response:
        self.alerts += json.loads(request.body)["alerts"]
        return Response(200)

    def states(self, name: str, **labels: str) -> list[object]:
        """The states that an alert was reported in, a repeated one once."""
        wanted = {"alertname": name, **labels}.items()
        states: list[object] = [alert["status"] for alert in self.alerts if wanted <= alert["labels"].items()]
        return [state for number, state in enumerate(states) if state not in states[:number]]

    async def wait_states(self, states: list[str], name: str, **labels: str) -> None:
        try:
            await wait_until(lambda: self.states(name, **labels) == states)
        except TimeoutError:
            pytest.fail(f"{name} was {self.states(name, **labels)} and not {states}; told of {self.alerts}")


@dataclass(frozen=True, slots=True)
class Alerting:
    """The processes that are scraped, the service that verdicts are about, and who is told of alerts."""

    loop: Loop
    prometheus: Prometheus
    key: ServiceKey
    webhook: Webhook


@asynccontextmanager
async def webhook(alertmanager: str, file: Path) -> AsyncIterator[Webhook]:
    """A webhook that Alertmanager reports to at once."""
    told = Webhook()
    await told.start()
    route = {"receiver": "test", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
    receiver = {"name": "test", "webhook_configs": [{"url": told.url}]}
    try:
        async with alertmanager_told(alertmanager, file, yaml.safe_dump({"route": route, "receivers": [receiver]})):
            yield told
    finally:
        await told.stop()


def quick(rules: str) -> str:
    for part, shorter in QUICK.items():
        assert part in rules
        rules = rules.replace(part, shorter)
    return rules


async def test_alerts_fire_and_resolve(service: Callable[[str], str], monitoring: Path, tmp_path: Path) -> None:
    run = f"a{uuid4().hex[:12]}"
    rules = quick((monitoring / "prometheus" / "alerts.yaml").read_text())
    alertmanager, file = service("ALERTMANAGER"), Path(service("ALERTMANAGER_DIR")) / "alertmanager.yml"
    async with AsyncExitStack() as stack:
        prometheus = Prometheus(service("PROMETHEUS"), Path(service("PROMETHEUS_DIR")), run)
        stack.push_async_callback(prometheus.close)
        loop = await stack.enter_async_context(running_sinks(tmp_path))
        told = await stack.enter_async_context(webhook(alertmanager, file))
        await stack.enter_async_context(prometheus.ruled_by(rules))
        await stack.enter_async_context(prometheus.scraping([(address, {}) for address in loop.targets.values()]))
        alerting = Alerting(loop, prometheus, ServiceKey("default", run, "predictor", ""), told)
        await asyncio.gather(_drift(alerting), _outliers(alerting), _loss(alerting))


async def _drift(alerting: Alerting) -> None:
    """An alert opens with a window that drifts; a quiet window alone does not end it, its detector's word does."""
    labels = {"namespace": "default", "service": alerting.key.service, "detector": "drift", "severity": "warning"}
    await alerting.loop.post("prometheus", window_verdict(alerting.key, 0, 200, drift=True))
    await alerting.loop.post("prometheus", alert_event(alerting.key, AlertState.OPENED, 200))
    await alerting.webhook.wait_states(["firing"], "WaysideDriftAlertOpen", **labels)
    await alerting.loop.post("prometheus", window_verdict(alerting.key, 200, 400, drift=False))
    series = f'wayside_drift_alert_open{{service="{alerting.key.service}"}}'
    await wait_until(lambda: alerting.prometheus.query(f"{series} == 1"))
    await alerting.loop.post("prometheus", window_verdict(alerting.key, 400, 600, drift=False))
    await alerting.loop.post("prometheus", alert_event(alerting.key, AlertState.RESOLVED, 200, quiet=2))
    await alerting.webhook.wait_states(["firing", "resolved"], "WaysideDriftAlertOpen", **labels)


async def _outliers(alerting: Alerting) -> None:
    """Half of 400 rows flagged where the budget is 1 %, then none; a service that keeps its budget stays quiet."""
    calm = replace(alerting.key, service=f"{alerting.key.service}-calm")
    labels = {"namespace": "default", "service": alerting.key.service, "detector": "outlier", "severity": "warning"}
    for key in (alerting.key, calm):
        await alerting.loop.post("prometheus", row_verdict(key, [False]))
        await wait_until(
            lambda key=key: alerting.prometheus.query(f'wayside_rows_scored_total{{service="{key.service}"}}')
        )
    await alerting.loop.post("prometheus", row_verdict(calm, [True] * 4 + [False] * 396))
    await alerting.loop.post("prometheus", row_verdict(alerting.key, [True] * 200 + [False] * 200))
    await alerting.webhook.wait_states(["firing"], "WaysideOutlierRate", **labels)
    await alerting.webhook.wait_states(["firing", "resolved"], "WaysideOutlierRate", **labels)
    assert alerting.webhook.states("WaysideOutlierRate", service=calm.service) == []


async def _loss(alerting: Alerting) -> None:
    """A verdict that the sink cannot read becomes a dead letter of its Trigger."""
    labels = {"instance": alerting.loop.targets["broker"], "trigger": "prometheus-outlier", "severity": "critical"}
    unreadable = replace(request(alerting.key, b"{}"), type=OUTLIER)
    await alerting.loop.post("broker", unreadable, f"/{BROKER_PATH}")
    await alerting.webhook.wait_states(["firing"], "WaysideDataLost", **labels)
    await alerting.webhook.wait_states(["firing", "resolved"], "WaysideDataLost", **labels)
    said = [
        alert["annotations"]["description"]
        for alert in alerting.webhook.alerts
        if labels.items() <= alert["labels"].items()
    ]
    assert re.match(
        r"About \d+ events in ten minutes: dead letters of a Trigger, prometheus-outlier \(instance ", said[0]
    )
