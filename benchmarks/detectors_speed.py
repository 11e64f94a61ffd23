"""What is measured of a detector service, and the table that has Wayside's figures beside adserver's.

Source: the targets are issue 8's; the figures that stand in where adserver is not run were measured for its contract.
Invariant: one server runs at a time, each is warm when it is timed, and both are sent the same events.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from detectors_document import Grid
from detectors_load import Bodies, post
from detectors_programs import Server, adserver, serving, wayside
from logger_load import Load
from logger_tables import Row, Target, named_once

FULL_EVENTS = 200_000
_WARM_S = 2.0
_FLAT_MIB = 8.0  # what counts as no growth


@dataclass(frozen=True, slots=True)
class Served:
    """Of one detector behind one server. `loads` by the rows of an event; `growth_mib` over `events` of one row each.

    What was not measured is None.
    """

    loads: Mapping[int, Load]
    ready_s: float | None = None
    answered_s: float | None = None
    resident_mib: float | None = None
    growth_mib: float | None = None
    events: int = 0


def _quoted(one: tuple[float, float, float], many: tuple[float, float, float]) -> Served:
    loads = {rows: Load(round(rate * 100), 100.0, p50, p99) for rows, (rate, p50, p99) in ((1, one), (256, many))}
    return Served(loads)


QUOTED: Mapping[str, Served] = MappingProxyType(
    {
        "vae": _quoted((63, 440, 825), (24, 1241, 1814)),
        "iforest": _quoted((112, 274, 467), (37, 746, 1343)),
    }
)
_TARGETS: Mapping[tuple[str, int], float] = MappingProxyType(
    {("vae", 1): 40.0, ("vae", 256): 25.0, ("iforest", 1): 10.0, ("iforest", 256): 10.0}
)


class Speed:
    """Serves a detector, loads it, and watches its memory. `events` is over how many; 0: those of the load."""

    def __init__(
        self,
        bodies: Sequence[Bodies],
        ports: tuple[int, int],
        folder: Path,
        seconds: float,
        events: int,
        tell: Callable[[str], None],
    ) -> None:
        self._bodies = bodies
        self._ports = ports
        self._folder = folder
        self._seconds = seconds
        self._events = events
        self._tell = tell

    def wayside(self, artifact: Path) -> Served:
        self._tell(f"Wayside, {artifact.name}")
        return self._measure(wayside(artifact, self._ports), self._events)

    def adserver(self, checkout: Path, saved: Path) -> Served:
        self._tell(f"adserver, {saved.name}")
        return self._measure(adserver(checkout, saved, self._folder, self._ports[0]), 0)

    def _measure(self, server: Server, events: int) -> Served:
        with serving(server, self._bodies[0].first()) as process:
            post(process.port, self._bodies[0], _WARM_S)
            before_mib = process.resident_mib
            first = post(process.port, self._bodies[0], self._seconds)
            seen = first.requests
            if events > seen:
                seen += post(process.port, self._bodies[0], (events - seen) / first.rate).requests
            growth_mib = process.resident_mib - before_mib
            loads = {each.rows: post(process.port, each, self._seconds) for each in self._bodies[1:]}
            loads[self._bodies[0].rows] = first
            return Served(loads, process.ready_s, process.answered_s, process.resident_mib, growth_mib, seen)


def rows_of(kind: str, ours: Served, theirs: Served) -> list[Row]:
    """The lines of one detector."""
    found: list[Row] = []
    for rows in sorted(ours.loads):
        mine, other = ours.loads[rows], theirs.loads[rows]
        case, bound = f"{kind}, {rows} row{'s' if rows > 1 else ''} an event", _TARGETS[kind, rows]
        found.append(Row(case, "rows/s", mine.rate * rows, other.rate * rows, 0, Target(bound, at_least=True)))
        found.append(Row(case, "events/s", mine.rate, other.rate))
        found.append(Row(case, "p50, ms", mine.p50_ms, other.p50_ms, 1))
        latency = Target(50.0, of_ours=True) if (kind, rows) == ("vae", 1) else None
        found.append(Row(case, "p99, ms", mine.p99_ms, other.p99_ms, 1, latency))
    case, memory = f"{kind}, the process", Target(300, of_ours=True)
    flat = Target(_FLAT_MIB, of_ours=True)
    found.append(Row(case, "resident, MiB", ours.resident_mib, theirs.resident_mib, 0, memory))
    found.append(Row(case, f"growth in {ours.events:,} events, MiB", ours.growth_mib, None, 1, flat))
    each = (_each_kib(ours), _each_kib(theirs))
    found.append(Row(case, "growth an event, KiB", each[0], each[1], 2, comparable=False))
    found.append(Row(case, "ready, s", ours.ready_s, theirs.ready_s, 1, Target(3, of_ours=True)))
    found.append(Row(case, "first verdict, s", ours.answered_s, theirs.answered_s, 1))
    return found


def _each_kib(side: Served) -> float | None:
    return None if side.growth_mib is None or not side.events else side.growth_mib * 1024 / side.events


def grid(rows: Sequence[Row], measured: bool) -> Grid:
    """The table. Where adserver was not run its figures are quoted, and the note says so."""
    name = "adserver" if measured else "adserver, quoted"
    note = (
        ""
        if measured
        else "adserver's figures are quoted from another run on two cores, so that ratios are no more than a hint."
        " To measure it here: scripts/setup --with-adserver, then"
        " ADSERVER=…/seldon-core/components/alibi-detect-server scripts/bench detectors"
    )
    return Grid(("case", "figure", "Wayside", name, "ratio", "target", ""), tuple(named_once(rows)), note)
