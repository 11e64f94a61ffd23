"""The keyed join of parts that belong together: what becomes of each part, and which are given up. Pure: no clock, no
I/O; a `Shelf` holds the parts that wait.

Source: the watermark of Akidau et al., "The Dataflow Model" (VLDB 2015): event time up to which nothing more is
expected; here the greatest event time seen, less a timeout.
Invariant: every part that comes has exactly one fate. Parts in = joined + waiting + lonely + overflow + late +
duplicate + conflict, by role, after every call. Events whose times are less than the timeout apart give the same joins
in any order.

A subject stands on the shelf until the *latest* of its parts lies `timeout_s` behind the watermark, whether it was
joined or not. So a part that comes again finds its subject, and is a duplicate, or lies behind the line itself, and is
late: nothing has to be remembered of what was given up. For want of room the line is moved instead: what is oldest is
given up, and what is as old as that and comes later is late.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.pairs.subject import Role, Subject

# Times that a 64-bit column holds; an RFC 3339 timestamp may lie far outside (the years 1 to 9999).
EARLIEST_NS = -(1 << 62)
LATEST_NS = 1 << 62
_GRANULES = 64  # the watermark moves in this share of the timeout, so that most parts need not move it


class Fate(StrEnum):
    """What becomes of a part. `lonely` and `overflow` parts waited in vain: for as long as is told, or for room."""

    JOINED = "joined"
    WAITING = "waiting"
    LONELY = "lonely"
    OVERFLOW = "overflow"
    LATE = "late"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """What is joined and for how long a part waits.

    A subject is whole once it has a part of each role in `whole`, of which the first is the request's. Parts of other
    roles are companions, joined as soon as the first is there. `timeout_s` is event time, and is kept to a 64th.
    `limit_parts` are held, waiting or remembered as joined; `limit_bytes` are the payloads of those that wait.
    """

    whole: tuple[Role, ...] = (Role.REQUEST, Role.RESPONSE)
    timeout_s: float = 60.0
    limit_parts: int = 200_000
    limit_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        if not self.whole or len(set(self.whole)) < len(self.whole):
            raise ConfigurationError("a whole has at least one role, and each once")
        if not 1e-3 <= self.timeout_s <= 30 * 86400:
            raise ConfigurationError(f"the timeout is {self.timeout_s:g} s: give 0.001 s to 30 days")
        if self.limit_parts < 1 or self.limit_bytes < 1:
            raise ConfigurationError("a join has room for at least one part and one byte")

    @property
    def timeout_ns(self) -> int:
        return int(self.timeout_s * 1e9)


# The values that are made for every part are tuples: a frozen dataclass takes three times as long to make.
class Part(NamedTuple):
    """One event's part of its subject.

    `time_ns` is event time, `digest` is of the event's data, `payload` is the caller's own and is kept for a role of
    the whole only. `name` tells companions of one role apart, such as two detectors' verdicts; of a role of the whole
    there is one part.
    """

    subject: Subject
    role: Role
    time_ns: int
    digest: bytes
    payload: bytes = b""
    name: str = ""


class Known(NamedTuple):
    """What a shelf remembers of a part, beside its payload."""

    role: Role
    name: str
    digest: bytes
    size_bytes: int
    joined: bool


class Held(NamedTuple):
    """A subject on the shelf: its parts in order of arrival, and the latest of their times."""

    time_ns: int
    parts: tuple[Known, ...]

    @property
    def waiting_bytes(self) -> int:
        size_bytes = 0
        for part in self.parts:
            if not part.joined:
                size_bytes += part.size_bytes
        return size_bytes


class Line(NamedTuple):
    """How far event time is, and what is held. What is at `horizon_ns` or before it is given up."""

    watermark_ns: int = EARLIEST_NS
    horizon_ns: int = EARLIEST_NS
    parts: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Lonely:
    """A subject that was given up: the roles of its parts that waited in vain, and of those that were joined."""

    subject: Subject
    fate: Fate
    roles: tuple[Role, ...]
    joined: tuple[Role, ...]


class Taken(NamedTuple):
    """What became of one part when it came, and what its coming decided of others.

    `payloads` are those of the whole, in the order of its roles, where this part made it whole.
    """

    fate: Fate
    payloads: tuple[bytes, ...] = ()
    lonely: tuple[Lonely, ...] = ()


class Shelf(Protocol):
    """Where parts wait. All calls of one `take` see each other, and are kept or undone together."""

    def line(self) -> Line: ...

    def move_line(self, line: Line) -> None: ...

    def find(self, subject: Subject) -> Held | None: ...

    def put(self, subject: Subject, held: Held) -> None:
        """Remember a subject, in the place of what was known of it."""

    def put_payload(self, part: Part) -> None: ...

    def take_payloads(self, subject: Subject) -> Mapping[Role, bytes]:
        """The payloads of a subject, which are forgotten by this."""
        ...

    def oldest_ns(self) -> int | None:
        """The least `time_ns` of what is held."""
        ...

    def remove_until(self, horizon_ns: int) -> Sequence[tuple[Subject, Held]]:
        """Forget what is held with its `time_ns` at the horizon or before, in order of (time, subject)."""
        ...

    def count(self, changes: Mapping[tuple[Role, Fate], int]) -> None:
        """Add to the counts of parts by role and fate."""


def take(shelf: Shelf, part: Part, settings: JoinSettings, ceiling_ns: int = LATEST_NS) -> Taken:
    """Join a part with what is held of its subject, or let it wait, or say why it does neither.

    `ceiling_ns` is the present: a part from later counts as of now. A tolerance would let one bad clock carry the
    watermark so far ahead, and with a shorter timeout everybody else would be late.
    """
    part = _within(part, settings, ceiling_ns)
    line, counts = shelf.line(), _Counts()
    fate, before, after = place(part, shelf.find(part.subject), line.horizon_ns, settings)
    counts.add(part.role, fate)
    if after is None:
        shelf.count(counts.changes)
        return Taken(fate)
    payloads = _settle(shelf, part, before, after, counts, settings)
    lonely = _move(shelf, line, _grown(line, before, after), part.time_ns, counts, settings)
    shelf.count(counts.changes)
    return Taken(fate, payloads, lonely)


class _Counts:
    """How one part that came changes the counts."""

    def __init__(self) -> None:
        self.changes: dict[tuple[Role, Fate], int] = {}

    def add(self, role: Role, fate: Fate, parts: int = 1) -> None:
        self.changes[role, fate] = self.changes.get((role, fate), 0) + parts

    def settle(self, role: Role, fate: Fate) -> None:
        """A part waits no longer."""
        self.add(role, Fate.WAITING, -1)
        self.add(role, fate)


def _within(part: Part, settings: JoinSettings, ceiling_ns: int) -> Part:
    """The part at a time that can be, under the name that counts."""
    time_ns = max(EARLIEST_NS, min(part.time_ns, ceiling_ns, LATEST_NS))
    name = "" if part.role in settings.whole else part.name
    if time_ns == part.time_ns and name == part.name:
        return part
    return part._replace(time_ns=time_ns, name=name)


def place(
    part: Part, held: Held | None, horizon_ns: int, settings: JoinSettings
) -> tuple[Fate, Held | None, Held | None]:
    """The fate of a part as it comes, what is held of its subject, and what is to be held: None for no change."""
    parts = held.parts if held else ()
    for known in parts:
        if known.role is part.role and known.name == part.name:
            return (Fate.DUPLICATE if known.digest == part.digest else Fate.CONFLICT), held, None
    if held is None and part.time_ns <= horizon_ns:
        return Fate.LATE, None, None
    size_bytes = len(part.payload) if part.role in settings.whole else 0
    new = Known(part.role, part.name, part.digest, size_bytes, False)
    after = Held(max(held.time_ns, part.time_ns) if held else part.time_ns, _joined((*parts, new), settings.whole))
    if after.parts[-1].joined:
        return Fate.JOINED, held, after
    if size_bytes > settings.limit_bytes:
        return Fate.OVERFLOW, held, None
    return Fate.WAITING, held, after


def _joined(parts: tuple[Known, ...], whole: tuple[Role, ...]) -> tuple[Known, ...]:
    """The parts, those marked as joined that have whom they wait for."""
    there = {part.role for part in parts}
    if whole[0] not in there:  # neither a whole nor companions of it
        return parts
    waiting = () if there.issuperset(whole) else whole
    return tuple([part if part.joined or part.role in waiting else part._replace(joined=True) for part in parts])


def _settle(
    shelf: Shelf, part: Part, before: Held | None, after: Held, counts: _Counts, settings: JoinSettings
) -> tuple[bytes, ...]:
    """Put the subject on the shelf, count those of its parts that no longer wait, and return the whole's payloads."""
    shelf.put(part.subject, after)
    for was, now in zip(before.parts if before else (), after.parts, strict=False):
        if now.joined and not was.joined:
            counts.settle(now.role, Fate.JOINED)
    if part.role not in settings.whole:
        return ()
    if after.parts[-1].joined:
        waited = shelf.take_payloads(part.subject) if before and before.waiting_bytes else {}
        return tuple([part.payload if role is part.role else waited.get(role, b"") for role in settings.whole])
    if part.payload:
        shelf.put_payload(part)
    return ()


def _grown(line: Line, before: Held | None, after: Held) -> Line:
    size_bytes = line.bytes + after.waiting_bytes - (before.waiting_bytes if before else 0)
    return Line(line.watermark_ns, line.horizon_ns, line.parts + 1, size_bytes)


def _move(
    shelf: Shelf, was: Line, line: Line, time_ns: int, counts: _Counts, settings: JoinSettings
) -> tuple[Lonely, ...]:
    """Move the shelf's line to an event time, give up what lies behind it, and what is oldest until there is room."""
    lonely: list[Lonely] = []
    line = _advanced(line, time_ns, settings)
    if line.horizon_ns > was.horizon_ns:
        line = _give_up(shelf, line, Fate.LONELY, counts, lonely)
    while line.parts > settings.limit_parts or line.bytes > settings.limit_bytes:
        oldest_ns = shelf.oldest_ns()
        assert oldest_ns is not None, "what is over a limit is held"
        line = line._replace(horizon_ns=max(line.horizon_ns, oldest_ns))
        line = _give_up(shelf, line, Fate.OVERFLOW, counts, lonely)
    shelf.move_line(line)
    return tuple(lonely)


def _advanced(line: Line, time_ns: int, settings: JoinSettings) -> Line:
    """The line once event time is seen to be at `time_ns`."""
    granule_ns = max(1, settings.timeout_ns // _GRANULES)
    watermark_ns = time_ns // granule_ns * granule_ns
    if watermark_ns <= line.watermark_ns:
        return line
    horizon_ns = max(line.horizon_ns, watermark_ns - settings.timeout_ns)
    return line._replace(watermark_ns=watermark_ns, horizon_ns=horizon_ns)


def _give_up(shelf: Shelf, line: Line, fate: Fate, counts: _Counts, lonely: list[Lonely]) -> Line:
    """The line without what lies behind it; each part of that which waited is counted under `fate`."""
    parts, size_bytes = line.parts, line.bytes
    for subject, held in shelf.remove_until(line.horizon_ns):
        parts -= len(held.parts)
        size_bytes -= held.waiting_bytes
        waited = tuple(part.role for part in held.parts if not part.joined)
        for role in waited:
            counts.settle(role, fate)
        if waited:
            lonely.append(Lonely(subject, fate, waited, tuple(part.role for part in held.parts if part.joined)))
    return line._replace(parts=parts, bytes=size_bytes)
