"""A recorder whose events are kept in memory, with a clock that stands still."""

from dataclasses import dataclass, field

from wayside.eventing.clock import FakeClock
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import ServiceKey
from wayside.logger.capture.recording import Recorder, Recording
from wayside.logger.capture.request import RequestHead
from wayside.logger.counts import LoggerCounts
from wayside.logger.settings import Capture, Identity

IDENTITY = Identity("pod", ServiceKey("ns", "digits", "predictor", ""))
FIELDS = {b"content-type": b"application/json"}


@dataclass
class Memory:
    """An outlet that keeps what it is offered."""

    events: list[CloudEvent] = field(default_factory=list)

    def offer(self, event: CloudEvent) -> None:
        self.events.append(event)


class Recorded:
    """A recorder and what became of its recordings."""

    def __init__(self, capture: Capture) -> None:
        self.counts, self.clock, self._memory = LoggerCounts(), FakeClock(), Memory()
        self.recorder = Recorder(capture, IDENTITY, self.counts, self._memory, self.clock)

    @property
    def events(self) -> list[CloudEvent]:
        return self._memory.events

    @property
    def kinds(self) -> list[str]:
        return [event.type.rsplit(".", 1)[1] for event in self.events]

    def begin(self, *headers: tuple[bytes, bytes]) -> Recording | None:
        return self.recorder.begin(RequestHead(b"POST", b"/v1/models/m:predict", list(headers)))

    def ask(self, status: int = 200, *headers: tuple[bytes, bytes]) -> Recording | None:
        """One request from its beginning to its end."""
        recording = self.begin(*headers)
        if recording is not None:
            recording.request_body(b"asked")
            recording.request_done()
            recording.response_head(status, FIELDS)
            recording.response_body(b"told")
            recording.response_done()
        return recording

    def check_accounts(self) -> None:
        """Nothing is held any more, and what was captured was offered or dropped."""
        assert self.recorder.budget.used_bytes == 0
        for kind in ("request", "response"):
            dropped = sum(count for (of, _), count in self.counts.dropped.items() if of == kind)
            assert self.counts.captured[kind] == self.kinds.count(kind) + dropped
