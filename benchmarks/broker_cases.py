"""What is measured of the broker, case by case.

Invariant: each case has a store of its own, and leaves no process and no file behind.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from broker_backlog import Drained, drain, fill
from broker_load import post
from broker_programs import Broker, Ports, Trigger, broker, subscriber, write_manifest
from broker_table import Row
from logger_load import Load

from wayside.eventing.vocabulary import REQUEST

IN_PER_S, IN_PROCESS_PER_S, OVER_HTTP_PER_S = 5_000, 5_000, 3_000
FLAT_MIB = 50
SAME_SPEED = 0.8  # of the first part's rate
TRIGGERS = 10
_SLOW_S = 0.1
_LOOK_S = 0.05
_HERE = "http://sink.invalid/"
_STUBBORN = "{retry: 1000, backoffPolicy: linear, backoffDelay: PT1S}"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each case does: seconds of load, events that pass through, and backlogs in events."""

    seconds: float = 3.0
    through: int = 25_000
    drained: int = 20_000
    backlog: int = 40_000
    part: int = 10_000


FULL = Sizes(seconds=10.0, through=500_000, drained=50_000, backlog=1_000_000, part=100_000)


@dataclass(slots=True)
class Memory:
    """Resident memory while events pass through, from the time at which a tenth of them had."""

    broker: Broker
    events: int
    base_mib: float = 0.0
    most_mib: float = 0.0
    seen: int = 0

    def look(self) -> bool:
        """Whether all of them have arrived."""
        self.seen = self.broker.view()["events"]
        if self.seen >= self.events / 10:
            now_mib = self.broker.resident_mib
            self.base_mib = self.base_mib or now_mib
            self.most_mib = max(self.most_mib, now_mib)
        return self.seen >= self.events


@dataclass(slots=True)
class Progress:
    """When how many deliveries were made."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    def wait(self, running: Broker, name: str, deliveries: int) -> None:
        """Until the Trigger has made so many."""
        while not self.samples or self.samples[-1][1] < deliveries:
            self.samples.append((time.perf_counter(), running.trigger(name)["delivered"]))
            time.sleep(_LOOK_S)

    def rate(self, first: int, last: int) -> float:
        """Deliveries a second between two counts, as close as the samples are."""
        began = next(sample for sample in self.samples if sample[1] >= first)
        ended = next(sample for sample in self.samples if sample[1] >= last)
        return (ended[1] - began[1]) / (ended[0] - began[0])


class Cases:
    """Each method measures one case, and returns its rows."""

    def __init__(self, folder: Path, ports: Ports, sizes: Sizes) -> None:
        self._folder = folder
        self._ports = ports
        self._sizes = sizes
        self._live = f"http://127.0.0.1:{ports.subscriber}/"

    def all(self) -> Sequence[Callable[[], list[Row]]]:
        """In the order in which they are best read."""
        doors = (self.door_alone, self.door_beside_a_slow_subscriber, self.both_at_once)
        return (*doors, self.in_process, self.over_http, self.selective, self.memory, self.backlog)

    def door_alone(self) -> list[Row]:
        """In, with a Trigger that matches nothing."""
        name = "in, no Trigger matches"
        return self._door(name, Trigger("bench", self._live, "other"), 0.0)

    def door_beside_a_slow_subscriber(self) -> list[Row]:
        """In, with a Trigger that matches all and whose subscriber is slow."""
        name = f"in, a subscriber that takes {_SLOW_S:g} s"
        return self._door(name, Trigger("bench", self._live), _SLOW_S)

    def _door(self, name: str, trigger: Trigger, delay_s: float) -> list[Row]:
        with self._running([trigger]) as running, subscriber(self._ports.subscriber, delay_s):
            load, cpu_s = self._post(running)
        rows = [Row(name, "events/s, on disk before the 202", load.rate, at_least=IN_PER_S)]
        return rows + _cost(name, load, cpu_s)

    def _post(self, running: Broker) -> tuple[Load, float]:
        before_s = running.cpu_s
        load = post(self._ports.door, self._sizes.seconds)
        return load, running.cpu_s - before_s

    def both_at_once(self) -> list[Row]:
        """In and out over HTTP, all that the cores give."""
        name = "in and out over HTTP at once"
        with self._running([Trigger("bench", self._live)]) as running, subscriber(self._ports.subscriber):
            began_s = time.perf_counter()
            load, cpu_s = self._post(running)
            delivered = running.trigger("bench")["delivered"]
            Progress().wait(running, "bench", load.requests)
            all_s = time.perf_counter() - began_s
        rows = [
            Row(name, "events/s in", load.rate),
            Row(name, "deliveries/s meanwhile", delivered / load.elapsed_s),
            Row(name, "in and delivered/s, over all", load.requests / all_s),
        ]
        return rows + _cost(name, load, cpu_s)

    def in_process(self) -> list[Row]:
        """Out of a backlog, to a sink in the broker's process."""
        name = "out, in process"
        drained = self._drain([Trigger("bench", _HERE)], self._sizes.drained)
        return [
            Row(name, "deliveries/s", drained.rate, at_least=IN_PROCESS_PER_S),
            Row(name, "CPU µs a delivery", drained.cpu_s / drained.deliveries * 1e6),
            Row(name, "deliveries a commit", drained.deliveries / drained.commits),
        ]

    def over_http(self) -> list[Row]:
        """Out of a backlog, to a subscriber in another process."""
        name, events = "out, over HTTP", self._sizes.drained
        with self._backlog([Trigger("bench", self._live)], events) as running:
            before_s, progress = running.cpu_s, Progress()
            progress.wait(running, "bench", events)
            cpu_s = running.cpu_s - before_s
        return [
            Row(name, "deliveries/s", progress.rate(0, events), at_least=OVER_HTTP_PER_S),
            Row(name, "broker's CPU µs a delivery", cpu_s / events * 1e6),
        ]

    def selective(self) -> list[Row]:
        """Ten Triggers that each match a tenth of a backlog, beside one that matches all of it."""
        name, events = f"{TRIGGERS} selective Triggers, a backlog", self._sizes.drained
        types = [f"type-{number}" for number in range(TRIGGERS)]
        each = [Trigger(f"t{number}", f"{_HERE}{number}", one) for number, one in enumerate(types)]
        ten = self._drain(each, events, types)
        one = self._drain([Trigger("bench", _HERE)], events, types)
        return [
            Row(name, "deliveries/s, together", ten.rate),
            Row(name, "deliveries/s of one that matches all", one.rate),
            Row(name, "times slower", one.rate / ten.rate, digits=2),
            Row(name, "times the CPU", ten.cpu_s / one.cpu_s, digits=2),
        ]

    def memory(self) -> list[Row]:
        """Resident memory while events pass through to a live subscriber, and pile up for a dead one."""
        events = self._sizes.through
        name = f"{events:,} events through, a dead subscriber beside"
        dead = Trigger("dead", f"http://127.0.0.1:{self._ports.nobody}/", delivery=_STUBBORN)
        with self._running([Trigger("live", self._live), dead]) as running, subscriber(self._ports.subscriber):
            memory, began_s = Memory(running, events), time.perf_counter()
            load = post(self._ports.door, 3600, memory.look)
            while running.trigger("live")["waiting"]:
                memory.look()
                time.sleep(_LOOK_S)
            all_s = time.perf_counter() - began_s
            waiting = running.trigger("dead")["waiting"]
        return [
            Row(name, "MiB after the first tenth", memory.base_mib),
            Row(name, "MiB at most", memory.most_mib),
            Row(name, "MiB that it grew by", memory.most_mib - memory.base_mib, at_most=FLAT_MIB),
            Row(name, "events/s in", load.rate),
            Row(name, "in and delivered/s, over all", load.requests / all_s),
            Row(name, "waiting for the dead subscriber", waiting),
        ]

    def backlog(self) -> list[Row]:
        """A long backlog, drained over HTTP: as fast at its end as at its beginning."""
        events, part = self._sizes.backlog, self._sizes.part
        name, progress, began_s = f"a backlog of {events:,}, over HTTP", Progress(), time.perf_counter()
        with self._backlog([Trigger("bench", self._live)], events) as running:
            progress.wait(running, "bench", events)
            resident_mib = running.resident_mib
        first, last = progress.rate(0, part), progress.rate(events - part, events)
        return [
            Row(name, "s to write it and to start", progress.samples[0][0] - began_s, digits=1),
            Row(name, f"deliveries/s, the first {part:,}", first),
            Row(name, f"deliveries/s, the last {part:,}", last, at_least=SAME_SPEED * first),
            Row(name, "deliveries/s, over all", progress.rate(0, events), at_least=OVER_HTTP_PER_S),
            Row(name, "MiB resident at the end", resident_mib),
        ]

    def _drain(self, triggers: Sequence[Trigger], events: int, types: Sequence[str] = (REQUEST,)) -> Drained:
        with self._place(triggers) as (data, manifest):
            uvloop.run(fill(data, manifest, events, types))
            return uvloop.run(drain(data, manifest, [trigger.url for trigger in triggers], events))

    @contextmanager
    def _backlog(self, triggers: Sequence[Trigger], events: int) -> Iterator[Broker]:
        with self._place(triggers) as (data, manifest):
            uvloop.run(fill(data, manifest, events, (REQUEST,)))
            with subscriber(self._ports.subscriber), broker(data, manifest, self._ports) as running:
                yield running

    @contextmanager
    def _running(self, triggers: Sequence[Trigger]) -> Iterator[Broker]:
        with self._place(triggers) as (data, manifest), broker(data, manifest, self._ports) as running:
            yield running

    @contextmanager
    def _place(self, triggers: Sequence[Trigger]) -> Iterator[tuple[Path, Path]]:
        """A folder for a store, and the manifest."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            yield folder / "data", write_manifest(folder / "bench.yaml", triggers)
        finally:
            shutil.rmtree(folder)


def _cost(name: str, load: Load, cpu_s: float) -> list[Row]:
    return [
        Row(name, "ms to the 202, p50", load.p50_ms, digits=1),
        Row(name, "ms to the 202, p99", load.p99_ms, digits=1),
        Row(name, "broker's CPU µs an event", cpu_s / load.requests * 1e6),
    ]
