"""Which events the log url answers with an error again and again while it accepts others: it will never take those.

Invariant: an answer counts only where the log url has accepted something since the one before it for the same event,
so that no outage and no slow recovery of the log url makes an event a failing one. At most `_KNOWN_LIMIT` are known.
"""

from collections import OrderedDict

from wayside.eventing.event import CloudEvent

FAILING = "failing"
TRIES = 10
_KNOWN_LIMIT = 16_384
_Key = tuple[str, str, str]


class FailingEvents:
    """Counts answers for each event, by its source, id and type."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, tuple[int, int]] = OrderedDict()  # answers that count, accepted by the last

    def note_answer(self, event: CloudEvent, accepted: int) -> bool:
        """It was answered with an error when so many posts had been accepted; True where it is to be given up."""
        key = event.source, event.id, event.type
        answers, before = self._known.pop(key, (0, -1))
        answers += accepted > before
        if answers >= TRIES:
            return True
        self._known[key] = answers, accepted
        if len(self._known) > _KNOWN_LIMIT:
            self._known.popitem(last=False)
        return False
