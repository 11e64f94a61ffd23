"""The balance: what was answered was recorded, scored, and put in a window; what was matched was delivered or kept.

Invariant: every side of an equation over rows is a count of distinct keys in a durable store of its own, so that no
process vouches for itself. Attempts and duplicates are shown apart and are no part of any equation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TriggerCounts:
    """Deliveries of one trigger as the broker's store counts them, or of one consumer group by Kafka's offsets.

    Kafka counts no deliveries: `delivered` is then what offsets leave over, so that the equation holds by itself and
    only `waiting` and `dead_lettered` tell anything; and nobody counts `attempts` durably, which are None.
    """

    name: str
    matched: int
    delivered: int
    dead_lettered: int
    waiting: int
    attempts: int | None

    @classmethod
    def of(cls, view: Mapping[str, Any]) -> "TriggerCounts":
        """From one entry of the broker's `/triggers` view."""
        names = ("name", "matched", "delivered", "dead_lettered", "waiting", "attempts")
        return cls(*(view[name] for name in names))

    @property
    def balances(self) -> bool:
        return self.matched == self.delivered + self.dead_lettered + self.waiting


@dataclass(frozen=True, slots=True)
class Replica:
    """A second record store compared with the embedded one, record by record: counts of records.

    `missing` are in the embedded store alone, `extra` in the other alone, and `differing` in both, but not equal.
    """

    name: str
    records: int
    missing: int = 0
    extra: int = 0
    differing: int = 0

    @property
    def equal(self) -> bool:
        return not (self.missing or self.extra or self.differing)


@dataclass(frozen=True, slots=True)
class Balance:
    """All counts are rows unless named otherwise. `unanswered` are recorded rows whose answer was not a 200.

    `late` rows came behind a drift detector's watermark, and it had no room for `left_out` ones: they are in no window.
    `dropped` are events that the logger gave up, and `waiting` events that are still on their way.
    """

    answered: int
    recorded: int
    scored: int
    in_windows: int
    open: int
    unanswered: int = 0
    late: int = 0
    left_out: int = 0
    dropped: int = 0
    waiting: int = 0
    duplicates: int = 0
    conflicts: int = 0
    triggers: Sequence[TriggerCounts] = ()
    replicas: Sequence[Replica] = ()

    def differences(self) -> Iterator[str]:
        """What does not balance, one sentence each; nothing where all is well."""
        if self.recorded != self.answered:
            yield f"{self.answered} rows were answered, {self.recorded} recorded"
        requested = self.recorded + self.unanswered
        if self.scored != requested:
            yield f"{requested} rows were recorded (answered or not), {self.scored} scored"
        windowed = self.in_windows + self.open + self.late + self.left_out
        if windowed != requested:
            yield f"{requested} rows were recorded (answered or not), {windowed} are in windows, open, late or left out"
        if self.dropped:
            yield f"the logger dropped {self.dropped} events"
        if self.waiting:
            yield f"{self.waiting} events are still on their way"
        for trigger in self.triggers:
            yield from self._trigger_differences(trigger)
        for replica in self.replicas:
            if not replica.equal:
                yield (
                    f"{replica.name}: {replica.missing} records are missing, {replica.extra} are there alone,"
                    f" {replica.differing} differ"
                )

    def _trigger_differences(self, trigger: TriggerCounts) -> Iterator[str]:
        settled = trigger.delivered + trigger.dead_lettered + trigger.waiting
        if not trigger.balances:
            yield f"trigger {trigger.name}: {trigger.matched} events matched, {settled} are accounted for"
        if trigger.dead_lettered:
            yield f"trigger {trigger.name}: {trigger.dead_lettered} events are dead letters"

    @property
    def holds(self) -> bool:
        return not any(True for _ in self.differences())
