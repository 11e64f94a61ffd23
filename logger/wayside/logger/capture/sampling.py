"""Which requests are captured: by a keyed hash, by a rate, by the answer's status.

Invariant: a request is wholly in or wholly out, and two requests with one key have one fate at one share: the decision
rests on the key alone, so that every replica takes it alike.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b

from wayside.logger.settings import Sampling

_SPAN = float(1 << 64)
_REQUEST_ID = b"x-request-id"


def position(key: bytes) -> float:
    """Where a key lies between 0 and 1: those below a share are in at that share."""
    return int.from_bytes(blake2b(key, digest_size=8).digest()) / _SPAN


class Sampler:
    """Decides for one logger. `clock` tells seconds that never go back."""

    def __init__(self, sampling: Sampling, clock: Callable[[], float]) -> None:
        self._sampling = sampling
        self._header = sampling.key.lower().encode("latin-1") or _REQUEST_ID
        self._rate = RateLimit(sampling.per_second, clock) if sampling.per_second is not None else None

    @property
    def waits_for_status(self) -> bool:
        """Whether the answer's status decides, so that a request must be held until it is known."""
        return bool(self._sampling.by_status)

    @property
    def takes_all(self) -> bool:
        return self._rate is None and not self.waits_for_status and self._sampling.share >= 1.0

    def key(self, fields: Mapping[bytes, bytes], event_id: str) -> bytes:
        """What a request is known by: the header that is named, else its request id, else itself."""
        return fields.get(self._header) or fields.get(_REQUEST_ID) or event_id.encode()

    def share_at_start(self, key: bytes) -> float | None:
        """The share at which a request is in, by what is known when it begins; None where it is out."""
        if self._rate is not None:
            return self._rate.share if self._rate.admit() else None
        return self._kept(key, self._sampling.share)

    def share_by_status(self, key: bytes, status: int) -> float | None:
        """The same by the answer's status."""
        named = (rule.share for rule in self._sampling.by_status if rule.first <= status <= rule.last)
        return self._kept(key, next(named, self._sampling.share))

    @staticmethod
    def _kept(key: bytes, share: float) -> float | None:
        return share if share >= 1.0 or position(key) < share else None


class RateLimit:
    """At most so many a second, evenly: a bucket that holds a second's worth, one at least.

    `share` is the part of the last whole second's requests that were in; of this one's before a second is over. A
    second goes on until one is in, so that no share is 0.
    """

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._room = max(1.0, per_second)
        self._tokens = self._room
        self._clock = clock
        self._filled_s = self._since_s = clock()
        self._seen = self._admitted = 0
        self._last_share: float | None = None

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        if self._last_share is not None:
            return self._last_share
        return self._admitted / self._seen if self._seen else 1.0

    def admit(self) -> bool:
        now_s = self._clock()
        if self._admitted and now_s - self._since_s >= 1.0:
            self._last_share = self._admitted / self._seen
            self._since_s, self._seen, self._admitted = now_s, 0, 0
        self._tokens = min(self._room, self._tokens + (now_s - self._filled_s) * self._per_second)
        self._filled_s = now_s
        self._seen += 1
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        self._admitted += 1
        return True
