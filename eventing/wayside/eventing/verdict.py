"""Verdicts as events: what a detector says of rows, or of a window, in the shape that Seldon's users know.

Invariant: a verdict is a pure function of what it judges and of the detector's artifact. Its id, time and bytes are
the same however often its subject is delivered. The data has alibi-detect's two parts: `data` (columns, one value a
row) and `meta` (who judged).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wayside.eventing.clock import parse_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import stable_id
from wayside.eventing.vocabulary import (
    ADVERSARIAL,
    ARTIFACT_DIGEST,
    DETECTOR,
    DRIFT,
    OUTLIER,
    REQUEST_TIME,
    SUBJECT_ID,
    SUBJECT_SOURCE,
    ServiceKey,
    request_time,
)

_BAD_VALUE = (KeyError, TypeError, ValueError, OverflowError, MalformedEvent)
_DECISION = {OUTLIER: "is_outlier", ADVERSARIAL: "is_adversarial"}


@dataclass(frozen=True, slots=True)
class DetectorIdentity:
    """Who judged: the detector's name, its kind (`knn`, `ks`, …), its artifact's digest (hex), its budget `alpha`."""

    name: str
    kind: str
    digest: str
    alpha: float

    @property
    def source(self) -> str:
        """The `source` of this detector's events."""
        return f"/wayside/detectors/{self.name}"

    def meta(self) -> dict[str, Any]:
        return {"name": self.name, "detector_type": self.kind, "artifact_digest": self.digest, "alpha": self.alpha}


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """What a detector says of each row of one event; the columns have one entry a row.

    A score is None where the row holds a value that is not finite; such a row is always flagged.
    """

    type: str
    scores: Sequence[float | None]
    p_values: Sequence[float]
    decisions: Sequence[bool]
    threshold: float

    def event(self, subject: CloudEvent, detector: DetectorIdentity) -> CloudEvent:
        """The verdict on `subject`: one event per scored event, equal at every delivery."""
        time = request_time(subject)
        data = {
            _DECISION[self.type]: [int(decision) for decision in self.decisions],
            "instance_score": list(self.scores),
            "p_value": list(self.p_values),
            "threshold": self.threshold,
        }
        return CloudEvent(
            id=stable_id("verdict", subject.source, subject.id, subject.type, detector.name, detector.digest),
            source=detector.source,
            type=self.type,
            time=time,
            datacontenttype="application/json",
            data=_dump({"data": data, "meta": detector.meta()}),
            extensions={
                **ServiceKey.of(subject).extensions(),
                SUBJECT_SOURCE: subject.source,
                SUBJECT_ID: subject.id,
                REQUEST_TIME: time,
                DETECTOR: detector.name,
                ARTIFACT_DIGEST: detector.digest,
            },
        )


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
class WindowVerdict:
    """What a detector says of one window: rows `first` up to but without `end` of a key, in persisted order of arrival.

    `feature_distance` and `feature_p_value` have one entry a feature. `members` names the events' rows it was made of.
    """

    key: ServiceKey
    first: int
    end: int
    time: str
    is_drift: bool
    p_value: float
    threshold: float
    distance: float
    feature_distance: Sequence[float]
    feature_p_value: Sequence[float]
    members: Sequence[RowRange]

    def event(self, detector: DetectorIdentity) -> CloudEvent:
        """The verdict as an event. Its id names the range by position and by the rows at its ends."""
        head, tail = self.members[0], self.members[-1]
        window = (self.first, self.end, head.source, head.id, head.first_row, tail.source, tail.id, tail.end_row)
        return CloudEvent(
            id=stable_id("window", str(self.key), detector.name, detector.digest, *window),
            source=detector.source,
            type=DRIFT,
            time=self.time,
            datacontenttype="application/json",
            data=_dump({"data": self._data(), "meta": detector.meta()}),
            extensions={
                **self.key.extensions(),
                REQUEST_TIME: self.time,
                DETECTOR: detector.name,
                ARTIFACT_DIGEST: detector.digest,
            },
        )

    def _data(self) -> dict[str, Any]:
        return {
            "is_drift": int(self.is_drift),
            "p_val": self.p_value,
            "threshold": self.threshold,
            "distance": self.distance,
            "feature_distance": list(self.feature_distance),
            "feature_p_val": list(self.feature_p_value),
            "window": {"first": self.first, "end": self.end},
            "members": [[part.source, part.id, part.first_row, part.end_row, part.time] for part in self.members],
        }


def read_identity(event: CloudEvent) -> DetectorIdentity:
    """Who judged, by a verdict's `meta`. Raises `MalformedEvent` where a part is absent or of the wrong kind."""
    try:
        meta = json.loads(event.data)["meta"]
        names = (str(meta["name"]), str(meta["detector_type"]), str(meta["artifact_digest"]))
        return DetectorIdentity(*names, alpha=_number(meta["alpha"]))
    except (OverflowError, ValueError, TypeError, KeyError, RecursionError) as exc:
        raise MalformedEvent(f"verdict's 'meta' does not say who judged: {exc}") from exc


def read_row_verdict(event: CloudEvent) -> RowVerdict:
    """The columns of a row verdict event. Raises `MalformedEvent` where they are absent or of unequal length."""
    data = _load(event)
    try:
        verdict = RowVerdict(
            type=event.type,
            scores=[None if score is None else _number(score) for score in data["instance_score"]],
            p_values=[_number(p) for p in data["p_value"]],
            decisions=[_decision(decision) for decision in data[_DECISION[event.type]]],
            threshold=_number(data["threshold"]),
        )
    except _BAD_VALUE as exc:
        raise MalformedEvent(f"row verdict lacks a column or holds a bad value: {exc}") from exc
    if not len(verdict.scores) == len(verdict.p_values) == len(verdict.decisions):
        raise MalformedEvent("row verdict's columns differ in length")
    return verdict


def read_window_verdict(event: CloudEvent) -> WindowVerdict:
    """A window verdict from its event. Raises `MalformedEvent` where a part is absent or of the wrong kind."""
    data = _load(event)
    try:
        return WindowVerdict(
            key=ServiceKey.of(event),
            first=_position(data["window"]["first"]),
            end=_position(data["window"]["end"]),
            time=request_time(event),
            is_drift=_decision(data["is_drift"]),
            p_value=_number(data["p_val"]),
            threshold=_number(data["threshold"]),
            distance=_number(data["distance"]),
            feature_distance=[_number(value) for value in data["feature_distance"]],
            feature_p_value=[_number(value) for value in data["feature_p_val"]],
            members=[_member(*member) for member in data["members"]],
        )
    except _BAD_VALUE as exc:
        raise MalformedEvent(f"window verdict lacks a part or holds a bad value: {exc}") from exc


def _number(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]  # a number by now
        raise ValueError(f"{str(value)[:64]!r} is not a finite number")
    return float(value)  # type: ignore[arg-type]


def _position(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{str(value)[:64]!r} is not a row's position")
    return value


def _decision(value: object) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{str(value)[:64]!r} is neither 0 nor 1")
    return bool(value)


def _member(source: object, event_id: object, first: object, end: object, time: object) -> RowRange:
    if not isinstance(source, str) or not isinstance(event_id, str) or not isinstance(time, str):
        raise TypeError("a member's source, id and time are not text")
    parse_time(time)
    return RowRange(source, event_id, _position(first), _position(end), time)


def _load(event: CloudEvent) -> Mapping[str, Any]:
    try:
        body = json.loads(event.data)
        data = body["data"]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise MalformedEvent("verdict's data is not JSON with a 'data' object") from exc
    if not isinstance(data, dict):
        raise MalformedEvent("verdict's 'data' is not an object")
    return data


def _dump(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def finite_or_none(value: float) -> float | None:
    """A score as JSON can carry it."""
    return value if math.isfinite(value) else None
