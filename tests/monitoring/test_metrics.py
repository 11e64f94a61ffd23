"""What the loop's processes expose, and whether the dashboard's queries find it in a real Prometheus."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import pytest_asyncio
from foreign_verdicts import row_verdict
from monitored_loop import NAMESPACE, Loop, running_loop
from prometheus_client.parser import text_string_to_metric_families
from real_prometheus import Prometheus, wait_until

from dashboard import ROWS
from wayside.detectors.fitting.cli import main as fit
from wayside.eventing.http.url import Url
from wayside.eventing.vocabulary import ServiceKey

from .conftest import Promtool

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROCESSES = ("logger", "broker", "records", "prometheus", "elasticsearch", "outlier", "drift", "records-kafka")
# every label that a process of ours may use, and what bounds its values
BOUNDED_LABELS = {
    "le": "a histogram's buckets",
    "code": "HTTP's status codes",
    "kind": "request, response, or unknown: what a damaged or full spool lost",
    "reason": "a fixed set of each process",
    "outcome": "a fixed set of each process",
    "decision": "drift, no_drift or unjudged",
    "process": "the logger's --processes, by number",
    "role": "the parts of a record: request, response, a verdict, feedback",
    "fate": "what becomes of a part, or of rows that came into no window: a fixed set",
    "broker": "the Triggers that are configured",
    "trigger": "the Triggers that are configured",
    "topic": "the topics that are configured",
    "namespace": "the Triggers that are configured; 200 series at the Prometheus sink",
    "service": "200 series at the Prometheus sink",
    "detector": "the detectors that are configured; 200 series at the Prometheus sink",
    "component": "200 series at the Prometheus sink",
    "endpoint": "200 series at the Prometheus sink",
    "revision": "200 series at the Prometheus sink: the one unheard of for longest goes",
    "state": "opened, updated or resolved",
    "device": "cpu or gpu",
}
SERIES_LIMIT = 200
QUERIES = [
    pytest.param(query.expr, id=f"{row.title}: {panel.title}: {query.legend}")
    for row in ROWS
    for panel in row.panels
    for query in panel.queries
]


@dataclass(frozen=True, slots=True)
class Scraped:
    """The loop, the Prometheus that scrapes it, and since when it does."""

    loop: Loop
    prometheus: Prometheus
    since_s: float


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scraped(service: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scraped]:
    folder, name = tmp_path_factory.mktemp("loop"), f"m{uuid4().hex[:12]}"
    gateway = service("PUSHGATEWAY")
    prometheus = Prometheus(service("PROMETHEUS"), Path(service("PROMETHEUS_DIR")), name)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(prometheus.close)
        loop = await stack.enter_async_context(running_loop(folder, name, service("KAFKA"), service("ELASTICSEARCH")))
        _push_a_fit(str(folder), name, gateway)
        stack.push_async_callback(_delete_group, loop, f"{gateway}/metrics/job/wayside-fit/detector/{name}")
        targets = [(address, {"process": process}) for process, address in loop.targets.items()]
        labels = {"namespace": NAMESPACE, "service": name}  # as prometheus.yaml has them
        targets[0] = (loop.targets["logger"], {"process": "logger", **labels})
        pushed = (gateway.removeprefix("http://"), {"process": "pushgateway"})
        since_s = time.time()
        await stack.enter_async_context(prometheus.scraping([*targets, pushed]))
        yield Scraped(loop, prometheus, since_s)


def _push_a_fit(folder: str, name: str, gateway: str) -> None:
    np.save(f"{folder}/rows.npy", np.random.default_rng(3).normal(size=(400, 2)))
    flags = ["--data", f"{folder}/rows.npy", "--out", f"{folder}/fitted", "--name", name, "--push-url", gateway]
    assert fit(["ks", *flags], {}) == 0


async def _delete_group(loop: Loop, url: str) -> None:
    await loop.client.send(b"DELETE", Url.parse(url), [], timeout_s=10)


@pytest.mark.parametrize("expr", QUERIES)
async def test_the_query_has_data(expr: str, scraped: Scraped) -> None:
    """With every variable on All, and with one value chosen, over what was scraped until now."""
    name = scraped.loop.service
    for namespace, service, detector in ((".*", ".*", ".*"), (NAMESPACE, name, f"(outlier|drift|{name})")):
        chosen = _substituted(expr, {"namespace": namespace, "service": service, "detector": detector})

        async def has_data(expr: str = chosen) -> bool:
            return await scraped.prometheus.has_data(expr, scraped.since_s, time.time())

        await wait_until(has_data)


def _substituted(expr: str, variables: dict[str, str]) -> str:
    """What Grafana sends: a rate's interval is four scrapes at least, and here a scrape is a second."""
    for name, value in {**variables, "__rate_interval": "4s", "__range": "30s"}.items():
        expr = expr.replace(f"${name}", value)
    assert "$" not in expr
    return expr


@pytest.mark.parametrize("process", PROCESSES)
async def test_names_and_labels_follow_the_conventions(process: str, scraped: Scraped, promtool: Promtool) -> None:
    text = await scraped.loop.exposition(process)
    assert promtool("check", "metrics", text=text) == ""
    names, labels = set(), set()
    for family in text_string_to_metric_families(text):
        names.add(family.name)
        labels |= {label for sample in family.samples for label in sample.labels}
    assert names
    assert all(name.startswith("wayside_") for name in names)
    assert labels <= set(BOUNDED_LABELS)


async def test_every_process_is_looked_at(scraped: Scraped) -> None:
    assert set(scraped.loop.targets) == set(PROCESSES)


async def test_names_that_a_client_chooses_do_not_grow_without_bound(scraped: Scraped) -> None:
    for number in range(SERIES_LIMIT + 50):
        key = ServiceKey(NAMESPACE, f"chosen-{number}", "predictor", f"endpoint-{number}")
        await scraped.loop.post("prometheus", row_verdict(key, [False]))
    text = await scraped.loop.exposition("prometheus")
    services = {
        sample.labels["service"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "service" in sample.labels
    }
    assert "other" in services
    assert len(services) <= SERIES_LIMIT + 1
