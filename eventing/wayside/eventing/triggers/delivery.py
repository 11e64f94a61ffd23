"""The policy of delivery: what an answer's status means, and how long to wait before the next attempt.

Source: Knative Eventing, DeliverySpec and the retry rules of its data plane.
Invariant: pure. The same status, attempt and specification always give the same decision.
"""

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum

from wayside.eventing.http.url import Url

_RETRIED = frozenset((404, 408, 409, 429))
_OBEYS_RETRY_AFTER = frozenset((429, 503))
LONGEST_BACKOFF_S = 3600.0
_PERIOD = re.compile(
    r"P(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?",
    re.ASCII,
)
_PERIOD_UNITS_S = (604_800, 86_400, 3600, 60, 1)


class Outcome(Enum):
    """What an answer's status says of a delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    PERMANENT = "permanent"


class BackoffPolicy(Enum):
    """How the wait grows from one retry to the next."""

    LINEAR = "linear"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class DeliverySpec:
    """How one Trigger's events are delivered. The defaults are those of a Knative cluster, with a timeout added.

    `retry` counts attempts after the first. `retry_after_max_s` None means that `Retry-After` is not looked at.
    `structured` sends the JSON envelope instead of binary mode.
    """

    retry: int = 10
    policy: BackoffPolicy = BackoffPolicy.EXPONENTIAL
    delay_s: float = 0.2
    timeout_s: float = 30.0
    retry_after_max_s: float | None = None
    dead_letter_sink: Url | None = None
    structured: bool = False


def classify(status: int) -> Outcome:
    """2xx delivered; 404, 408, 409, 429 and 5xx again; whatever else will not get better."""
    if 200 <= status < 300:
        return Outcome.DELIVERED
    return Outcome.RETRY if status in _RETRIED or status >= 500 else Outcome.PERMANENT


def backoff_s(retry: int, spec: DeliverySpec, retry_after_s: float = 0.0) -> float:
    """Seconds to wait before retry number `retry` (from 1), an hour at most unless `Retry-After` asks for more.

    The first retry waits `delay_s`; then the wait grows by `delay_s` (linear) or doubles (exponential). A server's
    `retry_after_s` lengthens the wait up to `retry_after_max_s`, and never shortens it.
    """
    growth = retry if spec.policy is BackoffPolicy.LINEAR else 2 ** min(retry - 1, 32)
    own_s = min(spec.delay_s * growth, LONGEST_BACKOFF_S)
    return max(own_s, min(retry_after_s, spec.retry_after_max_s or 0.0))


def retry_after_s(status: int, header: bytes | None, now_ns: int) -> float:
    """What a 429 or 503 asks to wait, from seconds or an HTTP date; 0 where it asks nothing that can be understood."""
    if status not in _OBEYS_RETRY_AFTER or header is None:
        return 0.0
    text = header.decode("latin-1").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_ns / 1e9)
    except (ValueError, OverflowError):
        return 0.0


def parse_period(text: str) -> float:
    """Seconds of an ISO 8601 duration in weeks, days, hours, minutes and seconds ('PT0.2S'). Raises `ValueError`."""
    match = _PERIOD.fullmatch(text)
    if match is None or not any(match.groups()) or text.endswith("T"):
        raise ValueError(f"{text[:64]!r} is not an ISO 8601 duration such as 'PT0.2S'")
    return sum(float(part) * unit for part, unit in zip(match.groups(), _PERIOD_UNITS_S, strict=True) if part)
