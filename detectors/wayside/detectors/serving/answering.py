"""What stands between the carriers of events and the detectors: what may be asked, and what comes of it.

Source: `Alibi-Detect-*` headers are those of seldon-core's components/alibi-detect-server (`adserver/constants.py`).
Invariant: an answer depends on the event, the detector and what was wanted, never on who carried the event.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent

_FEATURE_SCORES, _OUTLIER_TYPE = b"alibi-detect-return-feature-score", b"alibi-detect-outlier-type"
_PREFIX = b"alibi-detect-"


class OutlierType(StrEnum):
    """Whether a row is judged as a whole, or each of its columns."""

    INSTANCE = "instance"
    FEATURE = "feature"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a verdict is asked to say beyond a row's score, which it always says."""

    feature_scores: bool = False
    outlier_type: OutlierType = OutlierType.INSTANCE

    @property
    def needs_features(self) -> bool:
        """Whether each column has to be scored."""
        return self.feature_scores or self.outlier_type is OutlierType.FEATURE

    def asked_by(self, headers: Iterable[tuple[bytes, bytes]]) -> "Wanted":
        """What these headers, their names in lower case, ask for beyond what is wanted of every event.

        Raises `MalformedEvent` for an outlier type that there is not.
        """
        wanted = self
        for name, value in headers:
            if not name.startswith(_PREFIX):
                continue
            if name == _FEATURE_SCORES and value.strip().lower() == b"true":
                wanted = replace(wanted, feature_scores=True)
            elif name == _OUTLIER_TYPE and value:
                wanted = replace(wanted, outlier_type=_outlier_type(value))
        return wanted


def _outlier_type(value: bytes) -> OutlierType:
    try:
        return OutlierType(value.strip().decode("latin-1"))
    except ValueError as exc:
        raise MalformedEvent(
            f"Alibi-Detect-Outlier-Type is {value[:64]!r}: send one of {', '.join(OutlierType)}"
        ) from exc


PLAIN = Wanted()


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an event: the outcome to count, and the event to reply with, if any."""

    outcome: str
    reply: CloudEvent | None = None


class Answering(Protocol):
    """A detector's service, as the carriers of events see it. `types` are those of the events that it takes.

    `may_drop` says that nothing is kept of an event, so that the work for a client that has gone can be dropped.
    """

    @property
    def types(self) -> Container[str]: ...

    @property
    def metrics(self) -> DetectorMetrics: ...

    @property
    def may_drop(self) -> bool: ...

    async def answer(self, event: CloudEvent, wanted: Wanted = PLAIN) -> Answer:
        """Judge one event of `types`.

        Raises `MalformedEvent` for what can never be judged, `QueueFull` for what is too much now, and any other
        `WaysideError` for what may be judged later.
        """
