"""What can go wrong with a worker process that is no fault of a setting.

Invariant: neither says anything of a row; no row of the call was scored.
"""

from wayside.detectors.kinds.protocol import NothingScored
from wayside.eventing.errors import WaysideError


class WorkerLost(NothingScored):
    """The worker process died, or did not answer in time. Another is started: ask again. A server answers 503."""


class WorkerRefusal(WaysideError):
    """The worker answered that it cannot. `reason` is `missing`, `unloadable` or `failed`."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
