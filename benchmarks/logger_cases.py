"""The cases, and what issue 6 asks of each: throughput, an HTTPS sink, sinks that misbehave, redaction.

Invariant: in a case both programs get the same load, flags and sink, one after the other; they take turns to be first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median

from logger_programs import Program, Start, Unusable
from logger_runs import Outcome, Runs, Shape
from logger_tables import Row, Target

SHAPES = tuple(Shape(body_bytes, connections) for body_bytes in (200, 100_000) for connections in (16, 64))
BODIES = (200, 100_000)  # what the model answers with
SMALL_BYTES, SMALL_RATE = 1000, 400.0  # beside redaction: of this the p99 is taken,
LARGE_BYTES, LARGE_RATE = 2_000_000, 1.0  # and this is redacted: too seldom for its mere passing to make that p99
REDACT_FLAGS = "--redact pointer:/instances/*/ssn=mask"
_SMALL = Shape(200, 16)  # of the cases about sinks
_OFF, _HEALTHY = "logging off", "healthy sink"
SINKS = {_OFF: "", _HEALTHY: "sink", "2 s slow sink": "slow", "dead sink": "dead", "hanging sink": "hanging"}
PACE = 500.0  # requests a second: far below what either program can do
_ROUNDS = 3  # of redaction
_NOISE = 0.1  # what this harness cannot tell from nothing
_ADDED = Target(1, of_ours=True)  # milliseconds, to a p99: what the issue allows redaction to add
_RESIDENT = Target(200, of_ours=True)
_NO_ERRORS = Target(0, of_ours=True)
_FASTER = {16: Target(1.5, at_least=True), 64: Target(1.2, at_least=True)}


@dataclass(frozen=True, slots=True)
class Figure:
    """A column of numbers: its name, and how it is had from an outcome."""

    name: str
    of: Callable[[Outcome], float]
    digits: int = 0


RATE = Figure("req/s", lambda outcome: outcome.load.rate)
P50 = Figure("p50 ms", lambda outcome: outcome.load.p50_ms, 2)
P99 = Figure("p99 ms", lambda outcome: outcome.load.p99_ms, 2)
CPU = Figure("CPU µs a request", lambda outcome: outcome.cpu_s / outcome.load.requests * 1e6)
CPU_DELIVERED = Figure(
    "CPU µs a request with both events delivered", lambda outcome: outcome.cpu_s / max(1, outcome.delivered) * 2e6
)
EVENTS_PER_CPU_S = Figure("delivered events a CPU-second", lambda outcome: outcome.delivered / max(outcome.cpu_s, 0.01))
DELIVERED = Figure("events delivered, % of captured", lambda outcome: outcome.delivered / outcome.captured * 100, 1)
OUT = Figure("events out when the load ended, %", lambda outcome: outcome.out / outcome.captured * 100, 1)
EVENT_RATE = Figure("events/s delivered under load", lambda outcome: outcome.out / outcome.load.elapsed_s)
CONNECTIONS = Figure("connections opened to the sink", lambda outcome: outcome.connections)
CORE = Figure("busy, % of its core under load", lambda outcome: outcome.load_cpu_s / outcome.load.elapsed_s * 100)
PEAK = Figure("peak resident MiB", lambda outcome: outcome.peak_mib)
ERRORS = Figure("errors at the client", lambda outcome: outcome.load.refused + outcome.load.broken)

Pair = Sequence[Outcome | None]  # ours, and the agent's where there is one


class Cases:
    """Runs the groups of cases on ours, and on the agent where it is given."""

    def __init__(self, runs: Runs, programs: Sequence[Program]) -> None:
        self._runs = runs
        self._programs = programs
        self._orders = cycle((range(len(programs)), range(len(programs))[::-1]))

    def throughput(self) -> Iterator[Row]:
        """Each body and number of connections, with logging off and on."""
        for shape in SHAPES:
            off = self._pair(f"{shape}, off", self._runs.start(shape.body_bytes), shape)
            yield from rows(
                f"{shape}, off", off, {RATE: None, P50: None, P99: None, CPU: None, CORE: None, PEAK: _RESIDENT}
            )
            start = self._runs.start(shape.body_bytes, self._runs.url("sink"))
            yield from rows(f"{shape}, logging", self._pair(f"{shape}, logging", start, shape), logging_targets(shape))

    def https(self) -> Iterator[Row]:
        """The same sink over http and https, under load; what is still waiting then is left."""
        certificate = self._runs.settings.folder / "ca.crt"
        shown = {RATE: None, P50: None, P99: None, EVENT_RATE: None, CONNECTIONS: None, CORE: None, PEAK: _RESIDENT}
        for scheme, sink, target in (("http", "sink", None), ("https", "tls_sink", Target(10, at_least=True))):
            url = self._runs.url(sink, scheme)
            start = self._runs.start(_SMALL.body_bytes, url, certificate)
            case = f"{scheme} sink, {_SMALL}"
            yield from rows(case, self._pair(case, start, _SMALL, False), {**shown, EVENT_RATE: target})

    def sinks(self) -> Iterator[Row]:
        """What a sink that misbehaves costs the client.

        In a closed loop, beside logging off and beside a sink that does not; and, since there every microsecond of
        work is a lost request, at a pace far below the limit, where what is lost is what a client would notice.
        """
        shown = {RATE: None, P50: None, P99: None, PEAK: _RESIDENT, ERRORS: _NO_ERRORS}
        closed: dict[str, Pair] = {}
        paced: dict[str, Pair] = {}
        for case, sink in SINKS.items():
            start = self._runs.start(_SMALL.body_bytes, self._runs.url(sink) if sink else "")
            closed[case] = self._pair(case, start, _SMALL, False)
            paced[case] = self._paced_pair(f"{case}, {PACE:g} a second", start)
            yield from rows(case, closed[case], shown)
            for base in (_OFF, _HEALTHY):
                if base in closed and case not in (_OFF, base):
                    yield from beside(case, base, closed[case], closed[base], _NOISE if base == _HEALTHY else None)
            yield from added(case, paced[case], paced[_OFF])

    def redaction(self, flags: Sequence[str]) -> Iterator[Row]:
        """The p99 of small requests while large bodies are redacted, and while they are only logged. Ours alone.

        Medians over rounds: a millisecond is little beside what a busy machine adds to one.
        """
        taken = self._rounds({"2 MB bodies logged": (), "2 MB bodies redacted": tuple(flags)})
        for case, outcomes in taken.items():
            for figure in (P50, P99, DELIVERED, PEAK):
                yield Row(case, figure.name, _median(map(figure.of, outcomes)), None, figure.digits)
        rises = (P99.of(redacted) - P99.of(logged) for logged, redacted in zip(*taken.values(), strict=False))
        yield Row(case, "p99 ms added to logging's", _median(rises), None, 2, _ADDED)

    def _rounds(self, cases: Mapping[str, tuple[str, ...]]) -> Mapping[str, Sequence[Outcome]]:
        """What was taken of each case, in turns; a case whose flags the program refuses ends it, with a note."""
        mix = {"small": SMALL_RATE, "large": LARGE_RATE}
        taken: dict[str, list[Outcome]] = {case: [] for case in cases}
        for _ in range(_ROUNDS):
            for case, flags in cases.items():
                start = self._runs.start(BODIES[0], self._runs.url("sink"), flags=flags)
                try:
                    taken[case].append(self._runs.run_paced(case, self._programs[0], start, mix))
                except Unusable as error:
                    self._runs.notes.append(f"{case}: {error}")
                    return taken
        return taken

    def _paced_pair(self, case: str, start: Start) -> Pair:
        taken: list[Outcome | None] = [None, None]
        mix = {f"body-{_SMALL.body_bytes}": PACE}
        for number in next(self._orders):
            taken[number] = self._runs.run_paced(case, self._programs[number], start, mix, False)
        return taken

    def _pair(self, case: str, start: Start, shape: Shape, wait_delivered: bool = True) -> Pair:
        taken: list[Outcome | None] = [None, None]
        for number in next(self._orders):
            taken[number] = self._runs.run(case, self._programs[number], start, shape, wait_delivered)
        return taken


def logging_targets(shape: Shape) -> dict[Figure, Target | None]:
    """What is shown of a run with logging on, and what is asked of it."""
    return {
        RATE: _FASTER[shape.connections],
        P50: None,
        P99: Target(0.5),
        CPU_DELIVERED: Target(0.35),
        EVENTS_PER_CPU_S: Target(3, at_least=True),
        DELIVERED: None,
        OUT: None,
        CORE: None,
        PEAK: _RESIDENT,
        ERRORS: _NO_ERRORS,
    }


def rows(case: str, pair: Pair, figures: dict[Figure, Target | None]) -> Iterator[Row]:
    """A row a figure."""
    for figure, target in figures.items():
        ours, agent = (None if outcome is None else figure.of(outcome) for outcome in pair)
        yield Row(case, figure.name, ours, agent, figure.digits, target)


def beside(case: str, what: str, pair: Pair, base: Pair, noise: float | None = None) -> Iterator[Row]:
    """Throughput and p99 as multiples of the same program's in another case; a target where noise is allowed for."""
    targets = (None, None) if noise is None else (Target(1 - noise, True, True), Target(1 + noise, of_ours=True))
    for figure, target in zip((RATE, P99), targets, strict=True):
        ours, agent = (
            None if one is None or other is None else figure.of(one) / figure.of(other)
            for one, other in zip(pair, base, strict=True)
        )
        yield Row(case, f"{figure.name} ÷ {what}'s", ours, agent, 2, target)


def added(case: str, pair: Pair, base: Pair) -> Iterator[Row]:
    """The latencies at a pace, and by how much the p99 is above that of the same program with logging off."""
    for figure in (P50, P99):
        ours, agent = (None if outcome is None else figure.of(outcome) for outcome in pair)
        yield Row(case, f"{figure.name} at {PACE:g} req/s", ours, agent, 2)
    if pair is not base:
        ours, agent = (
            None if one is None or other is None else P99.of(one) - P99.of(other)
            for one, other in zip(pair, base, strict=True)
        )
        yield Row(case, "p99 ms added to logging off's", ours, agent, 2, _ADDED, comparable=False)


def _median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return median(listed) if listed else None
