"""One inference as it is recorded, told by whoever carries its bytes: the proxy, a gRPC connection, an ASGI app.

Invariant: no method waits or raises, whatever a client or a model sent. Events exist only for a request whose body came
in whole; a response event says whether its own body went out whole. What should have been an event and is none is
counted with its reason.
"""

from collections.abc import Mapping
from typing import Protocol

from wayside.eventing.clock import Clock
from wayside.eventing.errors import WaysideError
from wayside.eventing.event import CloudEvent
from wayside.logger.capture.bodies import BodyCopy, CaptureBudget
from wayside.logger.capture.events import Answer, EventFactory, Inference, KServeEvents
from wayside.logger.capture.request import Fields, RequestHead
from wayside.logger.capture.sampling import Sampler
from wayside.logger.counts import LoggerCounts
from wayside.logger.settings import Capture, Identity, LogMode

_NO_NOTES: Mapping[str, str] = {}
_NO_STATUS = 0  # of a request that had no answer: no share by status names it
REFUSED = "refused"


class Outlet(Protocol):
    """Where captured events go next."""

    def offer(self, event: CloudEvent) -> None:
        """Take an event, or drop it and count that. Never waits, never raises."""


class Recorder:
    """Begins the recordings of one logger."""

    def __init__(
        self, capture: Capture, identity: Identity, counts: LoggerCounts, outlet: Outlet, clock: Clock
    ) -> None:
        self.capture = capture
        self.counts = counts
        self.clock = clock
        self.budget = CaptureBudget(capture.total_bytes)
        self.sampler = Sampler(capture.sampling, clock.monotonic_s)
        self.events = _factory(capture, identity, sampled=not self.sampler.takes_all)
        self.emit = outlet.offer
        self.waits_for_status = self.sampler.waits_for_status
        self._samples_at_start = not (self.sampler.takes_all or self.waits_for_status)
        self.wants_request = capture.mode is not LogMode.RESPONSE
        self._wants_response = capture.mode is not LogMode.REQUEST
        self.emits_broken = not capture.kserve_compatible

    def begin(self, request: RequestHead) -> "Recording | None":
        """The recording of a request whose head has just come; None where it is sampled out."""
        self.counts.exchanges += 1
        event_id = self.events.id_of(request.fields)
        share: float | None = 1.0
        if self._samples_at_start:
            share = self.sampler.share_at_start(self.sampler.key(request.fields, event_id))
        if share is None:
            self.counts.sampled_out += 1
            return None
        return Recording(self, event_id, request, share)

    def new_copy(self) -> BodyCopy:
        return BodyCopy(self.capture.body_bytes, self.budget, self.capture.oversize)

    def wants_response(self, status: int) -> bool:
        return self._wants_response and (status == 200 or not self.capture.kserve_compatible)


def _factory(capture: Capture, identity: Identity, *, sampled: bool) -> EventFactory:
    if capture.kserve_compatible:
        return KServeEvents(identity, capture.metadata_headers)
    return EventFactory(identity, capture.metadata_headers, sampled=sampled)


class Recording:
    """Told in this order: request bodies, `request_done`; `response_head`, response bodies, `response_done`. The two
    sides may overlap. `give_up` ends it wherever it is. What comes after an end is passed over."""

    __slots__ = (
        *("_answer", "_arrived_s", "_head", "_id", "_inference", "_over", "_recorded_ns", "_recorder"),
        *("_request", "_request_done", "_response", "_share", "_time_ns"),
    )

    def __init__(self, recorder: Recorder, event_id: str, head: RequestHead, share: float) -> None:
        self._recorder = recorder
        self._id = event_id
        self._head = head
        self._share = share
        self._time_ns = recorder.clock.time_ns()
        self._arrived_s = recorder.clock.monotonic_s()
        self._request = recorder.new_copy() if recorder.wants_request else None
        self._recorded_ns = 0
        self._request_done = self._over = False
        self._answer: Answer | None = None
        self._response: BodyCopy | None = None
        self._inference: Inference | None = None

    @property
    def owed(self) -> tuple[str, ...]:
        """The kinds of event that may still come of it."""
        if self._over:
            return ()
        return ("response",) if self._request is None else ("request", "response")

    # the request

    def request_body(self, data: bytes) -> None:
        if self._request is not None and not self._request_done:
            self._request.add(data)

    def request_done(self) -> None:
        """The body came in whole."""
        if self._request_done or self._over:
            return
        self._request_done = True
        if self._request is not None:
            self._recorded_ns = self._recorder.clock.time_ns()
            if self._answer is not None or not self._recorder.waits_for_status:
                self._emit_request(self._request)

    # the response

    def response_head(self, status: int, fields: Fields) -> None:
        """The final head; interim ones (1xx) are not told."""
        if self._answer is not None or self._over:
            return
        recorder = self._recorder
        if recorder.waits_for_status and not self._is_sampled(status):
            return
        self._answer = Answer(status, fields, recorder.clock.monotonic_s() - self._arrived_s, _NO_NOTES)
        if recorder.wants_response(status):
            self._response = recorder.new_copy()

    def response_body(self, data: bytes) -> None:
        copy = self._response
        if copy is not None:
            if copy.is_empty and not copy.truncated and self._answer is not None:
                self._answer.first_byte_s = self._recorder.clock.monotonic_s() - self._arrived_s
            copy.add(data)

    def response_done(self, *, whole: bool = True, notes: Mapping[str, str] = _NO_NOTES) -> None:
        """The answer is at its end; not `whole` where it broke off, by either side. `notes` become extensions."""
        if self._over:
            return
        answer, copy = self._answer, self._response
        if answer is None:
            self._is_sampled(_NO_STATUS)
        elif copy is not None and self._request_done and (whole or self._recorder.emits_broken):
            answer.latency_s = self._recorder.clock.monotonic_s() - self._arrived_s
            answer.end_ns = self._recorder.clock.time_ns()
            answer.notes = notes
            self._emit_response(copy, answer, whole=whole)
        self.give_up()

    def give_up(self) -> None:
        """Forget what was copied and has not become an event. May be called twice."""
        self._over = True
        if self._request is not None:
            self._request.release()
            self._request = None
        if self._response is not None:
            self._response.release()
            self._response = None

    # sampling by status

    def _is_sampled(self, status: int) -> bool:
        """Decide by the status, and emit the request that was held until it was known, or give up."""
        recorder = self._recorder
        if not recorder.waits_for_status:
            return True
        share = recorder.sampler.share_by_status(recorder.sampler.key(self._head.fields, self._id), status)
        if share is None:
            recorder.counts.sampled_out += 1
            self.give_up()
            return False
        self._share = share
        if self._request is not None and self._request_done:
            self._emit_request(self._request)
        return True

    # events

    def _emit_request(self, copy: BodyCopy) -> None:
        self._request = None
        recorder, body = self._recorder, self._taken("request", copy)
        if body is None:
            return
        try:
            shared = self._inference or self._shared()
            event = recorder.events.request(shared, body, self._recorded_ns, truncated=copy.truncated)
        except WaysideError:  # whatever a client sent, inference goes on; what cannot be an event is counted
            recorder.counts.drop("request", REFUSED)
        else:
            recorder.emit(event)

    def _emit_response(self, copy: BodyCopy, answer: Answer, *, whole: bool) -> None:
        self._response = None
        recorder, body = self._recorder, self._taken("response", copy)
        if body is None:
            return
        try:
            shared = self._inference or self._shared()
            event = recorder.events.response(shared, answer, body, truncated=copy.truncated or not whole)
        except WaysideError:
            recorder.counts.drop("response", REFUSED)
        else:
            recorder.emit(event)

    def _shared(self) -> Inference:
        """What both events say, made for the first of them."""
        events = self._recorder.events
        self._inference = events.inference(self._id, self._time_ns, self._head, self._share)
        return self._inference

    def _taken(self, kind: str, copy: BodyCopy) -> bytes | None:
        """The body of what is captured, and counted so; None where its copy was given up."""
        counts = self._recorder.counts
        counts.captured[kind] += 1
        if copy.lost:
            counts.drop(kind, copy.lost)
            return None
        counts.truncated += copy.truncated
        return copy.take()
