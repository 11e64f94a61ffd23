"""The real Prometheus and Alertmanager, as tests use them: targets and rules by files, queries by HTTP.

Invariant: whatever a test writes has a name of its own and is gone afterwards; the files that all tests share are put
back as they were.
"""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.url import Url

_METRIC = re.compile(r"\b(wayside_\w+|wayside:[\w:]+)(\{)?")


class Prometheus:
    """One server, and the folder that it reads targets and rules from. `run` labels everything of this test run."""

    def __init__(self, url: str, folder: Path, run: str) -> None:
        self._url = url
        self._folder = folder
        self._run = run
        self._client = HttpClient()

    async def close(self) -> None:
        await self._client.close()

    @asynccontextmanager
    async def scraping(self, targets: Sequence[tuple[str, Mapping[str, str]]]) -> AsyncIterator[None]:
        """Scrape each (host:port, labels) until the end of the block, once all of them have answered."""
        file = self._folder / "prometheus-targets" / f"{self._run}.json"
        groups = [{"targets": [target], "labels": {**labels, "run": self._run}} for target, labels in targets]
        _write_whole(file, json.dumps(groups))
        try:
            await wait_until(lambda: self._are_up(len(targets)))
            yield
        finally:
            file.unlink()

    async def _are_up(self, count: int) -> bool:
        found = await self.query(f'sum(up{{run="{self._run}"}})')
        return bool(found) and float(found[0]["value"][1]) == count

    @asynccontextmanager
    async def ruled_by(self, rules: str) -> AsyncIterator[None]:
        """Evaluate rules until the end of the block."""
        file = self._folder / "prometheus-rules" / f"{self._run}.yml"
        _write_whole(file, rules)
        try:
            await reload(self._client, self._url)
            yield
        finally:
            file.unlink()
            await reload(self._client, self._url)

    async def query(self, expr: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        return await self._ask("query", query=expr)

    async def has_data(self, expr: str, start_s: float, end_s: float) -> bool:
        """Whether a query of this run's series gives a finite value anywhere in a range, in steps of a second."""
        own = self._own(expr)
        series = await self._ask("query_range", query=own, start=f"{start_s}", end=f"{end_s}", step="1")
        return any(math.isfinite(float(value)) for one in series for _, value in one["values"])

    def _own(self, expr: str) -> str:
        """The same query, of nobody else's series."""
        return _METRIC.sub(lambda at: f'{at[1]}{{run="{self._run}"' + ("," if at[2] else "}"), expr)

    async def _ask(self, verb: str, **parameters: str) -> list[dict[str, Any]]:
        url = Url.parse(f"{self._url}/api/v1/{verb}?{urlencode(parameters)}")
        answer = json.loads((await self._client.send(b"GET", url, [], timeout_s=10)).body)
        assert answer["status"] == "success", f"{parameters['query']}: {answer}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


@asynccontextmanager
async def alertmanager_told(url: str, file: Path, configuration: str) -> AsyncIterator[None]:
    """Alertmanager by another configuration until the end of the block."""
    client, before = HttpClient(), file.read_text()
    try:
        _write_whole(file, configuration)
        await reload(client, url)
        yield
    finally:
        _write_whole(file, before)
        await reload(client, url)
        await client.close()


async def reload(client: HttpClient, url: str) -> None:
    """Have Prometheus or Alertmanager read its files again."""
    answer = await client.send(b"POST", Url.parse(f"{url}/-/reload"), [], timeout_s=10)
    assert answer.status == 200, answer.body.decode()


def _write_whole(file: Path, text: str) -> None:
    """Never seen half written."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


async def wait_until(condition: Callable[[], Any], timeout_s: float = 30.0) -> None:
    """Poll until the condition, which may be a coroutine function, holds."""
    async with asyncio.timeout(timeout_s):
        while True:
            held = condition()
            if asyncio.iscoroutine(held):
                held = await held
            if held:
                return
            await asyncio.sleep(0.1)
