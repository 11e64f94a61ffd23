"""How long to wait between attempts at the same thing.

Invariant: two senders that failed together do not try again together.
"""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between attempts: doubled from `first_s` up to `limit_s`, each drawn between half and all of it.

    Who is asked may ask for more, as HTTP's `Retry-After` does: that counts up to `asked_limit_s`.
    """

    first_s: float = 0.1
    limit_s: float = 5.0
    asked_limit_s: float = 60.0

    def delay_s(self, failures: int, asked_s: float | None = None) -> float:
        """How long to wait after so many failures in a row, at least 1."""
        ceiling_s = min(self.limit_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return max(ceiling_s * random.uniform(0.5, 1.0), min(asked_s or 0.0, self.asked_limit_s))
