"""The partitions a member holds, and what of them is in flight: by count and bytes.

Invariant: what counts against the bounds is what is in hand; a partition that is let go of commits nothing any more,
however its events end.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from wayside.eventing.kafka.binding import KafkaRecord
from wayside.eventing.kafka.offsets import PartitionId, PartitionOffsets


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """What may be in flight at once; `span_events` is how far a partition may get ahead of its oldest open event."""

    events: int = 512
    bytes: int = 64 << 20
    span_events: int = 10_000

    def __post_init__(self) -> None:
        if self.events < 1 or self.bytes < 1 or self.span_events < 2 * self.events:
            raise ValueError("bounds are above 0, and the span at least twice the events")


@dataclass(slots=True)
class Held:
    """One partition in hand. `let_go` is set for good once it is another's."""

    offsets: PartitionOffsets
    committed: int | None = None
    let_go: bool = False


@dataclass(slots=True)
class Holding:
    """All partitions in hand, and the sums over what is in flight."""

    limits: SourceLimits
    partitions: dict[PartitionId, Held] = field(default_factory=dict)
    events: int = 0
    bytes: int = 0
    _progress: asyncio.Event = field(default_factory=asyncio.Event)

    def take_over(self, partitions: Iterable[PartitionId]) -> None:
        """Hold these from now on, as they come from Kafka: nothing of them is in hand."""
        for one in partitions:
            self.let_go([one])
            self.partitions[one] = Held(PartitionOffsets(self.limits.span_events))

    def let_go(self, partitions: Iterable[PartitionId]) -> None:
        """Hold these no more; what is in flight of them ends for nothing."""
        for one in partitions:
            held = self.partitions.pop(one, None)
            if held is not None:
                held.let_go = True
        self._progress.set()

    def begin(self, record: KafkaRecord) -> Held | None:
        """Take a message in hand; None where its partition is not held."""
        where = PartitionId(record.topic, record.partition)
        if where not in self.partitions:
            return None
        if not self.partitions[where].offsets.begin(record.offset):
            self.take_over([where])  # the topic was made anew, or its log was cut
            self.partitions[where].offsets.begin(record.offset)
        self.events += 1
        self.bytes += record.size_bytes
        return self.partitions[where]

    def note_ends(self, ends: Mapping[PartitionId, int]) -> None:
        """Partitions were read up to their ends, all that came of them having begun."""
        for one, end in ends.items():
            if one in self.partitions:
                self.partitions[one].offsets.pass_over(end)

    def end(self, held: Held, record: KafkaRecord, finished: bool) -> None:
        """A message is in hand no more, whether finished or given up."""
        self.events -= 1
        self.bytes -= record.size_bytes
        if finished:
            held.offsets.finish(record.offset)
        self._progress.set()

    @property
    def full(self) -> bool:
        return self.events >= self.limits.events or self.bytes >= self.limits.bytes

    @property
    def spacious(self) -> bool:
        """Whether there is enough room to make fetching worth while again."""
        return self.events <= self.limits.events // 2 and self.bytes <= self.limits.bytes // 2

    def overstretched(self, one: PartitionId, paused: bool) -> bool:
        """Whether a partition has come too far ahead of its oldest open event; to end that, half the span is asked."""
        room = self.partitions[one].offsets.room
        return room < self.limits.span_events // 2 if paused else room < self.limits.events

    def to_commit(self) -> dict[PartitionId, int]:
        """What is finished and not known to be committed."""
        return {
            one: offset
            for one, held in self.partitions.items()
            if (offset := held.offsets.committable) is not None and offset != held.committed
        }

    def note_committed(self, offsets: Mapping[PartitionId, int]) -> None:
        for one, offset in offsets.items():
            if one in self.partitions:
                self.partitions[one].committed = offset

    def unfinished(self, partitions: Iterable[PartitionId]) -> int:
        return sum(self.partitions[one].offsets.unfinished for one in partitions if one in self.partitions)

    async def wait_room(self, wait_s: float) -> bool:
        """Whether there is room, or comes to be within `wait_s` seconds."""
        return await self._wait(lambda: not self.full, wait_s)

    async def wait_finished(self, partitions: Iterable[PartitionId], wait_s: float) -> bool:
        """Whether nothing of these is in flight, or comes to be within `wait_s` seconds."""
        chosen = list(partitions)
        return await self._wait(lambda: self.unfinished(chosen) == 0, wait_s)

    async def _wait(self, reached: Callable[[], bool], wait_s: float) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                while not reached():
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            return reached()
        return True

    def __iter__(self) -> Iterator[PartitionId]:
        return iter(self.partitions)
