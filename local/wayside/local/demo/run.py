"""One run of the demo: prepare, start, send the phases, break things, wait until all has settled, and judge.

Invariant: whatever happens in between, every process that was started is stopped, and what is shown at the end was read
from the durable stores.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from wayside.detectors.artifacts.folder import load_folder
from wayside.detectors.drift.settings import Budget
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.client import HttpClient
from wayside.local.balance import Balance
from wayside.local.composition import LOOPBACK
from wayside.local.console import Steps
from wayside.local.demo.expectations import Promise, Seen, see
from wayside.local.demo.facts import PhaseFacts, read_facts
from wayside.local.demo.faults import Saboteur
from wayside.local.demo.ledger import Answer, Ledger, LedgerReader
from wayside.local.demo.phases import Kind, Phase, faults_of
from wayside.local.demo.prepare import DRIFT, OUTLIER, DemoSettings, Prepared, prepare
from wayside.local.demo.summary import summarise
from wayside.local.demo.traffic import Load, Targets, Traffic
from wayside.local.readings import Readings
from wayside.local.supervisor import Supervisor
from wayside.sinks.embedded.reader import RecordReader

_SETTLE_S = 60.0
# what a captured event takes of the logger's queue besides its body; its bound is then an outage of so many seconds
_QUEUE_BYTES, _EVENT_BYTES = 64 << 20, 2048 + 1400


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to."""

    phases: Sequence[tuple[PhaseFacts, Seen]]
    balance: Balance

    @property
    def ok(self) -> bool:
        """Whether every phase was seen for what it is and all counts balance."""
        return self.balance.holds and all(seen.ok for _, seen in self.phases)


class Demo:
    """Holds what runs. Use as an async context manager; `started_s` (epoch) is when the person gave the command."""

    def __init__(self, settings: DemoSettings, console: Console, started_s: float, load: Load | None = None) -> None:
        self._settings = settings
        self._console = console
        self._started_s = started_s
        self._load = load or Load()
        self._stack = AsyncExitStack()
        self._dropped: dict[str, int] = {}

    async def __aenter__(self) -> "Demo":
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._console.print("stopping every process …")
        await self._stack.aclose()

    @property
    def page_url(self) -> str:
        return self.prepared.composition.page_url

    async def _open(self) -> None:
        kind = self._settings.scenario.row_kind
        self._console.print(f"drawing rows and fitting two detectors (wayside fit {kind}, wayside fit ks) …")
        self.prepared: Prepared = await prepare(self._settings)
        for name in (OUTLIER, DRIFT):
            self._tell_fit(name)
        children = self.prepared.processes()
        steps = Steps(self._console, "starting", len(children))
        self.supervisor = Supervisor(
            children, self._settings.state / "logs", lambda process: steps.done(f"{process.name} is ready")
        )
        self._stack.push_async_callback(self.supervisor.stop)
        with steps.showing():
            await self.supervisor.start()
        await self._open_client()
        self._console.print(f"watch it live: {self.page_url}", highlight=False)

    def _tell_fit(self, name: str) -> None:
        for line in (self._settings.state / f"fit-{name}.txt").read_text().splitlines():
            self._console.print(f"  {line}", markup=False, highlight=False)

    async def _open_client(self) -> None:
        ledger_file = self.prepared.composition.ledger
        assert ledger_file is not None, "the demo's composition names a ledger"
        self._ledger, self._http = Ledger(ledger_file), HttpClient()
        self.readings = Readings(self.prepared.composition, DRIFT, self.prepared.elsewhere)
        await self._ledger.start()
        for close in (self._ledger.stop, self._http.close, self.readings.close):
            self._stack.push_async_callback(close)
        ports = self._settings.ports
        logger_url, model_url = (f"http://{LOOPBACK}:{ports[name]}" for name in ("logger", "model"))
        targets = Targets(logger_url, self._settings.scenario.service, model_url)
        self._traffic = Traffic(self._http, targets, self._ledger, self.prepared.population, self._load)
        ready_urls = {child.name: child.ready_url for child in self.prepared.processes()}
        self._saboteur = Saboteur(self.supervisor, ready_urls, self._ledger, self._http)

    # the phases

    async def send_phases(self, phases: Sequence[Phase] = ()) -> None:
        """Send the traffic of these phases, or of all, with progress, and break things in the fault phase."""
        phases = phases or self._settings.scenario.phases
        bound_s = _QUEUE_BYTES / _EVENT_BYTES / (2 * self._load.through_per_s)
        self._console.print(f"the logger's queue holds about {bound_s:.0f} s of this traffic; longer outages drop")
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        first_verdict = asyncio.create_task(self._tell_first_verdict())
        try:
            with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as bars:
                for number, phase in enumerate(phases, 1):
                    await self._send_phase(phase, f"{number}/{len(phases)} {phase.title}", bars)
        finally:
            first_verdict.cancel()

    async def _send_phase(self, phase: Phase, title: str, bars: Progress) -> None:
        if bars.disable:
            self._console.print(f"{title}: {phase.rows:,} rows", highlight=False)
        bar = bars.add_task(title, total=phase.rows)
        before = await self.readings.dropped()
        await self._ledger.begin_phase(phase.name, phase.title, phase.kind.value)
        names = [process.name for process in self.prepared.processes()]
        faults = faults_of(names) if phase.kind is Kind.FAULT else ()

        def on_answer(answer: Answer) -> None:
            if answer.route.value == "through":
                bars.advance(bar, answer.rows)

        async with asyncio.TaskGroup() as group:
            breaking = group.create_task(self._saboteur.run(faults))
            await self._traffic.run(
                phase.name, phase.draw, phase.rows, on_answer=on_answer, may_end=lambda: breaking.done()
            )
        await self._ledger.end_phase(phase.name)
        self._dropped[phase.name] = await self.readings.dropped() - before

    async def _tell_first_verdict(self) -> None:
        while not await asyncio.to_thread(self._any_verdict):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        self._console.print(f"first verdict {time.time() - self._started_s:.0f} s after the command", highlight=False)

    def _any_verdict(self) -> bool:
        with closing(RecordReader(self.prepared.composition.records_file)) as records:
            return records.counts().scored > 0

    # the end

    async def report(self) -> Report:
        """Wait until nothing is on its way, then judge the phases and draw the balance."""
        await self.readings.wait_settled(_SETTLE_S)
        facts, answered = await asyncio.to_thread(self._read_facts)
        promise = await asyncio.to_thread(self._promise)
        return Report([(fact, see(fact, promise)) for fact in facts], await self.readings.balance(answered))

    def _read_facts(self) -> tuple[list[PhaseFacts], int]:
        composition = self.prepared.composition
        assert composition.ledger is not None
        with (
            closing(LedgerReader(composition.ledger)) as ledger,
            closing(RecordReader(composition.records_file)) as records,
        ):
            return read_facts(ledger, records, OUTLIER, self._dropped), ledger.answered_rows()

    def _promise(self) -> Promise:
        artifact, scenario = load_folder(self._settings.state / "artifacts" / OUTLIER), self._settings.scenario
        assert artifact.calibration is not None, "the demo's outlier detector judges rows"
        budget = Budget.parse(self._settings.false_alarms)
        rows = len(artifact.calibration.scores)
        return Promise(self._settings.alpha, rows, budget, scenario.moved, scenario.shift)

    def _asked(self) -> str:
        return f"{self._settings.alpha:.1%} of rows, {self._settings.false_alarms} of windows"

    def show(self, report: Report) -> None:
        """The summary, and what to do next."""
        self._console.print(summarise(report.phases, report.balance, self._asked()))
        if self._settings.kafka or self._settings.elasticsearch:
            left = f"\nThis run's topics, groups, indices and templates stay: {self._settings.run_prefix}-…"
            self._console.print(left, highlight=False)
        self._console.print(
            "\nBefore your own model:  .venv/bin/wayside up --upstream http://127.0.0.1:8080", highlight=False
        )


async def run_demo(settings: DemoSettings, once: bool, started_s: float) -> int:
    """Returns 0, or 1 where counts do not balance or a phase was not seen for what it is."""
    console = Console(width=None if os.isatty(1) else 150)
    async with Demo(settings, console, started_s) as demo:
        await demo.send_phases()
        report = await demo.report()
        demo.show(report)
        if not once:
            console.print(f"The page stays up: {demo.page_url} — Ctrl-C ends it.", highlight=False)
            with suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
    return 0 if report.ok else 1


def repository() -> Path:
    """The checkout that the demo runs from. Raises `ConfigurationError` in an installed package."""
    folder = Path(__file__).resolve().parents[4]
    if not (folder / "scripts" / "demo").exists():
        raise ConfigurationError("the demo runs from a checkout of the repository: git clone it and run scripts/demo")
    return folder
