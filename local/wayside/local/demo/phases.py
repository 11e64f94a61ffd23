"""The demo's script: named phases, what each one sends, and what is done to the processes in the last.

Invariant: phases are data. How long one lasts is given in rows, so that every phase holds whole drift windows at any
rate; at 180 rows/s the whole script takes about 85 s.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from wayside.local.demo import population
from wayside.local.demo.population import Draw

WINDOW_ROWS = 200


class Kind(StrEnum):
    """What a phase has to be seen as."""

    ORDINARY = "ordinary"
    OUTLIERS = "outliers"
    SHIFT = "shift"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of traffic: `rows` through the logger, each drawn by `draw`. `title` is for people."""

    name: str
    title: str
    kind: Kind
    rows: int
    draw: Draw


class Action(StrEnum):
    """What can be done to a process."""

    HANG = "hang"
    KILL = "kill -9"


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: `pause_s` after the one before it, to the process `name`. A hang lasts `lasts_s`."""

    action: Action
    name: str
    pause_s: float
    lasts_s: float = 0.0


def script(rows: str, outliers: str) -> Sequence[Phase]:
    """The phases of a demo whose ordinary traffic people call `rows`, and whose outliers `outliers`."""
    return (
        Phase("ordinary", f"Ordinary {rows}", Kind.ORDINARY, 18 * WINDOW_ROWS, population.ordinary),
        Phase("outliers", outliers, Kind.OUTLIERS, 9 * WINDOW_ROWS, population.outliers),
        # Without a calm stretch between them, the drift that outliers cause would hide when the shift begins.
        Phase("calm", f"Ordinary {rows} for a while", Kind.ORDINARY, 7 * WINDOW_ROWS, population.ordinary),
        Phase("shift", "A shifted population", Kind.SHIFT, 10 * WINDOW_ROWS, population.shifted),
        Phase("again", f"Ordinary {rows} again", Kind.ORDINARY, 12 * WINDOW_ROWS, population.ordinary),
        Phase("fault", f"Ordinary {rows} while things break", Kind.FAULT, 18 * WINDOW_ROWS, population.ordinary),
    )


def faults_of(names: Collection[str]) -> Sequence[Step]:
    """What is broken in the last phase, given the processes that run: the broker, or where Kafka is not ours to break,
    the drift detector; then the outlier detector, and the sink to Elasticsearch where there is one.
    """
    first = "broker" if "broker" in names else "drift"
    steps = [Step(Action.HANG, first, pause_s=2.0, lasts_s=5.0), Step(Action.KILL, first, pause_s=3.0)]
    return [*steps, *(Step(Action.KILL, name, 2.0) for name in ("outlier", "elasticsearch") if name in names)]


def total_rows(phases: Sequence[Phase]) -> int:
    """Rows that the script sends through the logger, if no fault takes longer than its phase."""
    return sum(phase.rows for phase in phases)
