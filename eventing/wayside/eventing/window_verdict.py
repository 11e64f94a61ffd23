"""Window verdicts as events: what a detector says of a window of rows, in the shape that Seldon's users know.

Invariant: a verdict is a pure function of the window, of what its series saw before, and of the detector's artifact.
Its id, time and bytes are the same however often the window is judged. A window that was not judged says why in
`error`: its `is_drift` is null, never 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from wayside.eventing.checked_json import (
    BAD_VALUE,
    ENCODER,
    decision,
    dump,
    load_data,
    member_list,
    members_of,
    number,
    number_or_none,
    position,
    text,
)
from wayside.eventing.clock import parse_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import stable_id
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.vocabulary import (
    ARTIFACT_DIGEST,
    DETECTOR,
    DRIFT,
    REQUEST_TIME,
    REVISION,
    ServiceKey,
    request_time,
)
from wayside.eventing.window_findings import Findings, Spending

MOST_MEMBERS, MOST_MEMBER_BYTES = 20_000, 4 << 20
"""Of a verdict's members, and of their JSON: of more than these the ends are told, so that an event stays below what
carriers take (16 MiB)."""

_END_MEMBERS = 1000


@dataclass(frozen=True, slots=True)
class RowRange:
    """The rows `first_row` up to but without `end_row` of the event (source, id), as part of a window.

    `time` is that event's request time, by which a store of daily indices finds the rows' records.
    """

    source: str
    id: str
    first_row: int
    end_row: int
    time: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """The event time that a window spans, RFC 3339: `start` up to `end`."""

    start: str
    end: str


@dataclass(frozen=True, slots=True)
class WindowVerdict:
    """What a detector says of one window: rows `first` up to but without `end` of a key, in the order of event time.

    `feature_distance` and `feature_p_value` have one entry a feature, and none where the test has no view of single
    features. `members` names the events' rows it was made of; of too many the event tells the first and the
    last, how many are left out between them, and a digest of all. Where `error` is set the window was not judged:
    `is_drift` is False and says nothing, and without a test there is neither p-value nor distance. `revision` is part
    of the key where windows are of one revision; `reference` is the digest of what the window was held against.
    """

    key: ServiceKey
    first: int
    end: int
    time: str
    is_drift: bool
    p_value: float | None
    threshold: float
    distance: float | None
    feature_distance: Sequence[float]
    feature_p_value: Sequence[float]
    members: Sequence[RowRange]
    revision: str = ""
    error: str | None = None
    stretch: Stretch | None = None
    spending: Spending | None = None
    reference: str = ""
    findings: Findings = field(default_factory=Findings)
    members_left_out: int = 0
    members_digest: str = ""

    @property
    def rows(self) -> int:
        """How many rows it was made of."""
        return self.end - self.first

    @property
    def is_judged(self) -> bool:
        """Whether it says anything of drift."""
        return self.error is None

    @property
    def outcome(self) -> str:
        """`drift`, `no_drift` or `unjudged`: what metrics count."""
        if not self.is_judged:
            return "unjudged"
        return "drift" if self.is_drift else "no_drift"

    @property
    def series(self) -> str:
        """Whose windows follow each other, on one line; two series never share it."""
        return series_of(self.key, self.revision)

    @property
    def range(self) -> tuple[str | int, ...]:
        """What tells the window from every other of its series: its range by position and by the rows at its ends."""
        head, tail = self.members[0], self.members[-1]
        return self.first, self.end, head.source, head.id, head.first_row, tail.source, tail.id, tail.end_row

    def id(self, detector: DetectorIdentity) -> str:
        """The id of its event."""
        return stable_id("window", self.series, detector.name, detector.digest, *self.range)

    def event(self, detector: DetectorIdentity) -> CloudEvent:
        """The verdict as an event."""
        return CloudEvent(
            id=self.id(detector),
            source=detector.source,
            type=DRIFT,
            time=self.time,
            datacontenttype="application/json",
            data=dump({"data": self.data(), "meta": detector.meta()}),
            extensions=series_extensions(self.key, self.revision, self.time, detector),
        )

    def data(self) -> dict[str, Any]:
        """The members by their names; those that need not be there only where there is something to tell."""
        data: dict[str, Any] = {
            "is_drift": int(self.is_drift) if self.is_judged else None,
            "p_val": _unsigned(self.p_value),
            "threshold": self.threshold + 0.0,
            "distance": _unsigned(self.distance),
            "feature_distance": [value + 0.0 for value in self.feature_distance],
            "feature_p_val": [value + 0.0 for value in self.feature_p_value],
            "window": self._window(),
        }
        if self.error is not None:
            data["error"] = self.error
        if self.spending is not None:
            data["budget"] = self.spending.to_json()
        if self.reference:
            data["reference"] = self.reference
        data |= self.findings.to_json()
        return data | self._told_members()

    def _told_members(self) -> dict[str, Any]:
        told = [[part.source, part.id, part.first_row, part.end_row, part.time] for part in self.members]
        if not self.members_left_out:
            return _within_bounds(told)
        return {"members": told, "members_left_out": self.members_left_out, "members_digest": self.members_digest}

    def _window(self) -> dict[str, Any]:
        window: dict[str, Any] = {"first": self.first, "end": self.end, "rows": self.rows}
        if self.stretch is not None:
            window |= {"from": self.stretch.start, "to": self.stretch.end}
        return window


def _within_bounds(members: list[list[Any]]) -> dict[str, Any]:
    """Members as a verdict tells them: the first and the last thousand of too many, fewer where the bytes do not hold
    them. The digest is the SHA-256 of the compact JSON of all."""
    whole = _dumped(members)
    if len(members) < 3 or (len(members) <= MOST_MEMBERS and len(whole) <= MOST_MEMBER_BYTES):
        return {"members": members}
    ends = min(_END_MEMBERS, (len(members) - 1) // 2)
    while len(_dumped(told := members[:ends] + members[-ends:])) > MOST_MEMBER_BYTES and ends > 1:
        ends //= 2
    left_out = len(members) - len(told)
    return {"members": told, "members_left_out": left_out, "members_digest": sha256(whole).hexdigest()}


def _dumped(members: list[list[Any]]) -> bytes:
    return ENCODER.encode(members).encode()


def series_of(key: ServiceKey, revision: str) -> str:
    """A service key, with the revision as a fifth part where there is one."""
    return f"{key}/{revision.replace('%', '%25').replace('/', '%2F')}" if revision else str(key)


def series_extensions(key: ServiceKey, revision: str, time: str, detector: DetectorIdentity) -> dict[str, str]:
    """What every event about a series of windows says of itself."""
    return {
        **key.extensions(),
        **({REVISION: revision} if revision else {}),
        REQUEST_TIME: time,
        DETECTOR: detector.name,
        ARTIFACT_DIGEST: detector.digest,
    }


def read_window_verdict(event: CloudEvent) -> WindowVerdict:
    """A window verdict from its event. Raises `MalformedEvent` where a part is absent or of the wrong kind."""
    data = load_data(event)
    try:
        error, budget = data.get("error"), data.get("budget")
        is_judged = error is None
        return WindowVerdict(
            key=ServiceKey.of(event),
            first=position(data["window"]["first"]),
            end=position(data["window"]["end"]),
            time=request_time(event),
            is_drift=is_judged and decision(data["is_drift"]),
            p_value=number(data["p_val"]) if is_judged else number_or_none(data["p_val"]),
            threshold=number(data["threshold"]),
            distance=number(data["distance"]) if is_judged else number_or_none(data["distance"]),
            feature_distance=[number(value) for value in member_list(data["feature_distance"])],
            feature_p_value=[number(value) for value in member_list(data["feature_p_val"])],
            members=[_member(*member) for member in data["members"]],
            revision=event.extensions.get(REVISION, ""),
            error=None if error is None else text(error),
            stretch=_stretch(members_of(data["window"])),
            spending=None if budget is None else Spending.of_json(budget),
            reference=text(data.get("reference", "")),
            findings=Findings.of_json(data),
            members_left_out=position(data.get("members_left_out", 0)),
            members_digest=text(data.get("members_digest", "")),
        )
    except BAD_VALUE as exc:
        raise MalformedEvent(f"window verdict lacks a part or holds a bad value: {exc}") from exc


def _stretch(window: Mapping[str, Any]) -> Stretch | None:
    if "from" not in window:
        return None
    stretch = Stretch(text(window["from"]), text(window["to"]))
    parse_time(stretch.start), parse_time(stretch.end)
    return stretch


def _member(source: object, event_id: object, first: object, end: object, time: object) -> RowRange:
    parse_time(text(time))
    return RowRange(text(source), text(event_id), position(first), position(end), text(time))


def _unsigned(value: float | None) -> float | None:
    return None if value is None else value + 0.0
