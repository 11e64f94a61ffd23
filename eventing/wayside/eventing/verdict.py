"""Row verdicts as events: what a detector says of the rows of an event, in the shape that Seldon's users know.

Invariant: a verdict is a pure function of what it judges and of the detector's artifact. Its id, time and bytes are
the same however often its subject is delivered. The data has alibi-detect's two parts: `data` (columns, one value a
row) and `meta` (who judged).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from wayside.eventing.checked_json import (
    BAD_VALUE,
    ENCODER,
    decision,
    dump,
    load_data,
    number,
    numbers_or_none,
)
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import stable_id
from wayside.eventing.pairs.subject import subject_or_itself
from wayside.eventing.vocabulary import (
    ADVERSARIAL,
    ARTIFACT_DIGEST,
    DETECTOR,
    OUTLIER,
    REQUEST_TIME,
    SUBJECT_ID,
    SUBJECT_SOURCE,
    ServiceKey,
    request_time_if_any,
)

_DECISION = {OUTLIER: "is_outlier", ADVERSARIAL: "is_adversarial"}
_NO_SCORE = "the row has no finite score: it is flagged unseen"
_PIECE_VALUES = 4096
_FEW_ROWS = 16  # of so many a verdict is written at once


@dataclass(frozen=True, slots=True)
class DetectorIdentity:
    """Who judged: the detector's name, its kind (`knn`, `ks`, …), its artifact's digest (hex), its budget `alpha`.

    `online` says that it learns from what it judges, `version` which release of its maker fitted it.
    """

    name: str
    kind: str
    digest: str
    alpha: float
    online: bool = False
    version: str = ""

    @property
    def source(self) -> str:
        """The `source` of this detector's events."""
        return f"/wayside/detectors/{self.name}"

    def meta(self) -> dict[str, Any]:
        """What records keep of it."""
        return {"name": self.name, "detector_type": self.kind, "artifact_digest": self.digest, "alpha": self.alpha}


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """What a detector says of each row of one event; the columns have one entry a row.

    A score is None where the row has none that is finite; such a row is always flagged, and `errors` says by its
    position what is wrong with it, where more is known. `feature_scores` and `feature_decisions`, where they were asked
    for, have an entry a column in each row; `decisions` are the rows' own all the same, though the latter are told.
    """

    type: str
    scores: Sequence[float | None]
    p_values: Sequence[float]
    decisions: Sequence[bool]
    threshold: float
    feature_scores: Sequence[Sequence[float | None]] | None = None
    feature_decisions: Sequence[Sequence[bool]] | None = None
    errors: Mapping[int, str] = field(default_factory=dict)

    def event(self, subject: CloudEvent, detector: DetectorIdentity) -> CloudEvent:
        """The verdict on `subject`: one event per scored event, equal at every delivery, and without a time where
        `subject` has none. A verdict with parts that another lacks has an id of its own."""
        time, judged = request_time_if_any(subject), subject_or_itself(subject)
        whose = subject.source, subject.id, subject.type, detector.name, detector.digest
        return CloudEvent.trusted(  # every attribute is the subject's, which was checked, or the detector's
            id=stable_id("verdict", *whose, *self._asked_parts()),
            source=detector.source,
            type=self.type,
            time=time,
            datacontenttype="application/json",
            data=b'{"data":%b,"meta":%b}' % (_dump_columns(self.data()), _row_meta(detector)),
            extensions={
                **ServiceKey.of(subject).extensions(),
                SUBJECT_SOURCE: judged.source,
                SUBJECT_ID: judged.id,
                **({} if time is None else {REQUEST_TIME: time}),
                DETECTOR: detector.name,
                ARTIFACT_DIGEST: detector.digest,
            },
        )

    def _asked_parts(self) -> list[str]:
        """The parts that a verdict has only where they were asked for."""
        parts = {"feature scores": self.feature_scores, "feature decisions": self.feature_decisions}
        return [name for name, part in parts.items() if part is not None]

    def data(self) -> dict[str, Any]:
        """The columns by their names. `error` is there only where a row has one."""
        data: dict[str, Any] = {
            _DECISION[self.type]: self._decided(),
            "instance_score": self.scores,
            "p_value": self.p_values,
            "threshold": self.threshold,
        }
        if self.feature_scores is not None:
            data["feature_score"] = self.feature_scores
        if None in self.scores:
            told = self.errors.get
            data["error"] = [told(row, _NO_SCORE) if score is None else None for row, score in enumerate(self.scores)]
        return data

    def _decided(self) -> list[Any]:
        if self.feature_decisions is not None:
            return [[int(flag) for flag in row] for row in self.feature_decisions]
        return [int(flag) for flag in self.decisions]


def read_identity(event: CloudEvent) -> DetectorIdentity:
    """Who judged, by a verdict's `meta`. Raises `MalformedEvent` where a part is absent or of the wrong kind."""
    try:
        meta = json.loads(event.data)["meta"]
        names = (str(meta["name"]), str(meta["detector_type"]), str(meta["artifact_digest"]))
        return DetectorIdentity(*names, alpha=number(meta["alpha"]))
    except (OverflowError, ValueError, TypeError, KeyError, RecursionError) as exc:
        raise MalformedEvent(f"verdict's 'meta' does not say who judged: {exc}") from exc


def read_row_verdict(event: CloudEvent) -> RowVerdict:
    """The columns of a row verdict event. Raises `MalformedEvent` where they are absent or of unequal length.

    A row whose columns are judged one by one is flagged by its p-value all the same: each column has the budget alpha
    to itself, and a row would have that of them all.
    """
    data = load_data(event)
    try:
        decisions, p_values = data[_DECISION[event.type]], [number(p) for p in data["p_value"]]
        by_feature = bool(decisions) and isinstance(decisions[0], list)
        alpha = read_identity(event).alpha if by_feature else None
        verdict = RowVerdict(
            type=event.type,
            scores=numbers_or_none(data["instance_score"]),
            p_values=p_values,
            decisions=[decision(row) for row in decisions] if alpha is None else [p <= alpha for p in p_values],
            threshold=number(data["threshold"]),
            feature_scores=_features(data.get("feature_score")),
            feature_decisions=[_flags(row) for row in decisions] if by_feature else None,
        )
    except BAD_VALUE as exc:
        raise MalformedEvent(f"row verdict lacks a column or holds a bad value: {exc}") from exc
    columns: list[Sequence[object]] = [verdict.scores, verdict.p_values, verdict.decisions]
    columns += [part for part in (verdict.feature_scores, verdict.feature_decisions) if part is not None]
    if len({len(column) for column in columns}) > 1:
        raise MalformedEvent("row verdict's columns differ in length")
    return verdict


def _features(rows: Sequence[Sequence[object]] | None) -> list[list[float | None]] | None:
    return None if rows is None else [numbers_or_none(row) for row in rows]


def _flags(row: object) -> list[bool]:
    if not isinstance(row, list):
        raise TypeError("some rows have a decision a column, others one")
    return [decision(value) for value in row]


def _dump_columns(columns: Mapping[str, Any]) -> bytes:
    """As `dump`; of many rows the p-values, which are the same few in verdict after verdict, are written once."""
    if len(columns["p_value"]) <= _FEW_ROWS and max(map(_width, columns.values())) == 1:
        return dump(columns)
    members = [f'"{name}":{_dump_column(column, name == "p_value")}' for name, column in columns.items()]
    return f"{{{','.join(members)}}}".encode()


def _dump_column(column: Any, repeats: bool) -> str:
    """A list piece by piece where it is long: one call would keep every other thread from running."""
    if not isinstance(column, list):
        return _dump_piece([column], repeats=True)[1:-1]
    rows = max(1, _PIECE_VALUES // _width(column))
    if len(column) <= rows:
        return _dump_piece(column, repeats)
    starts = range(0, len(column), rows)
    return f"[{','.join(_dump_piece(column[at : at + rows], repeats)[1:-1] for at in starts)}]"


def _width(column: Any) -> int:
    """Values a row."""
    return len(column[0]) or 1 if isinstance(column, list) and column and isinstance(column[0], list) else 1


def _dump_piece(column: list[Any], repeats: bool) -> str:
    if repeats and 0 not in column:  # 0.0 and -0.0 are equal, and written differently
        return f"[{','.join(map(_dump_number, column))}]"
    return ENCODER.encode(column)


@lru_cache(maxsize=8192, typed=True)
def _dump_number(number: float) -> str:
    return ENCODER.encode(number)


@lru_cache(maxsize=256)
def _row_meta(detector: DetectorIdentity) -> bytes:
    """The part of alibi-detect's results that says who judged: few detectors write many verdicts."""
    told = {"online": detector.online, "data_type": "tabular", "version": detector.version}
    return dump({**detector.meta(), **told})


def finite_or_none(value: float) -> float | None:
    """A score as JSON can carry it."""
    return value if math.isfinite(value) else None
