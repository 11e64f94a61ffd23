"""The replay itself: every event of the sources to the detector, and an account of them all.

Invariant: each event has one fate, and one that is refused harms none that follows.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from wayside.detectors.tabular.event_rows import is_judged
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event_files import Refusal
from wayside.local.replay.replaying import Replaying
from wayside.local.replay.stored import Span, Stored

REFUSED = "refused"
_TOLD_EVERY_S = 5.0
_LOOKED_EVERY = 256  # events, at the clock

Tell = Callable[[str], None]


@dataclass(slots=True)
class Account:
    """How many events met which fate, and why the first that was refused was."""

    fates: Counter[str] = field(default_factory=Counter)
    first_refused: str | None = None

    def lines(self) -> list[str]:
        """For people."""
        told = ", ".join(f"{count} {fate}" for fate, count in self.fates.most_common())
        lines = [f"{self.fates.total()} events: {told}" if told else "no event"]
        return [*lines, f"first refused: {self.first_refused}"] if self.first_refused else lines


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are replayed: of these types, in this span of event time."""

    types: Container[str]
    span: Span

    def fate_of_other(self, stored: Stored) -> str | None:
        """Why an event is passed over, if it is. Raises `MalformedEvent`."""
        event = stored.event
        if isinstance(event, Refusal):
            raise MalformedEvent(event.reason)
        if event.type not in self.types:
            return "of another type"
        if not self.span.holds(event):
            return "of another time"
        return None if is_judged(event) else "cut off or an error"


def replay(
    stored: Iterable[Stored], wanted: Wanted, detector: Replaying, now_s: Callable[[], float], tell: Tell
) -> Account:
    """Take all; `tell` hears of progress every few seconds."""
    account = Account()
    for each in _telling(stored, detector, now_s, tell):
        try:
            account.fates[wanted.fate_of_other(each) or _taken(detector, each)] += 1
        except MalformedEvent as exc:
            account.fates[REFUSED] += 1
            account.first_refused = account.first_refused or f"{each.where}: {exc}"
    detector.finish()
    return account


def _taken(detector: Replaying, stored: Stored) -> str:
    assert not isinstance(stored.event, Refusal), "refusals have their fate"
    return detector.take(stored.event, stored.came_ns)


def _telling(stored: Iterable[Stored], detector: Replaying, now_s: Callable[[], float], tell: Tell) -> Iterator[Stored]:
    started_s = told_s = now_s()
    for count, each in enumerate(stored):
        yield each
        if count % _LOOKED_EVERY == 0 and now_s() - told_s >= _TOLD_EVERY_S:
            told_s = now_s()
            tell(f"{count + 1} events, {speed(detector.rows, told_s - started_s)}, at {each.where}")


def speed(rows: int, seconds: float) -> str:
    """How fast it goes."""
    return f"{rows} rows in {seconds:.1f} s ({rows / max(seconds, 1e-9):,.0f} rows/s)"


def summary(account: Account, detector: Replaying, seconds: float) -> Sequence[str]:
    """What came of it, in lines for people."""
    return [*account.lines(), *detector.told(), speed(detector.rows, seconds)]
