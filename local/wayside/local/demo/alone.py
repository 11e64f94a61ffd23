"""Parts of the demo on their own, for a composition of containers: what must stand before it starts, and its traffic.

Invariant: the same rows, artifacts and phases as the whole demo's, from the same seed.
"""

import asyncio
import time
from collections import Counter
from itertools import count

from rich.console import Console

from wayside.eventing.http.client import HttpClient
from wayside.local.demo.ledger import Answer
from wayside.local.demo.prepare import DRIFT, OUTLIER, DemoSettings, fit_detectors
from wayside.local.demo.traffic import Targets, Traffic


async def prepare_alone(settings: DemoSettings, console: Console) -> int:
    """Draw the rows and fit the detectors into the state folder; returns 0."""
    kind = settings.scenario.row_kind
    console.print(f"drawing rows and fitting two detectors (wayside fit {kind}, wayside fit ks) …")
    await fit_detectors(settings)
    artifacts = settings.state / "artifacts"
    console.print(f"fitted: {artifacts / OUTLIER}, {artifacts / DRIFT}", markup=False, highlight=False)
    return 0


async def send_for_ever(settings: DemoSettings, target: str, console: Console) -> int:
    """The demo's phases, one after the other and again from the first, to a logger, until cancelled."""
    scenario = settings.scenario
    population = await asyncio.to_thread(scenario.load, settings.seed)
    http, tally = HttpClient(), Tally(console)
    traffic = Traffic(http, Targets(target, scenario.service), tally, population)
    try:
        for turn in count():
            for phase in scenario.phases:
                console.print(f"{phase.title}: {phase.rows:,} rows", highlight=False)
                await traffic.run(f"{phase.name} {turn}", phase.draw, phase.rows)
    finally:
        await http.close()
    raise AssertionError("the phases never end")


class Tally:
    """Counts answers by status and tells them now and then; keeps nothing else, however long it runs."""

    def __init__(self, console: Console, tell_every_s: float = 30.0) -> None:
        self._console = console
        self._tell_every_s = tell_every_s
        self._statuses: Counter[int] = Counter()
        self._told_s = time.monotonic()

    def now(self) -> float:
        return time.time()

    def record(self, answer: Answer) -> None:
        self._statuses[answer.status] += 1
        if time.monotonic() - self._told_s >= self._tell_every_s:
            self._told_s = time.monotonic()
            told = ", ".join(f"{number:,} of {status or 'no answer'}" for status, number in self._statuses.items())
            self._console.print(f"answers: {told}", markup=False, highlight=False)
