"""One inference as it is recorded, told by whoever carries its bytes: the proxy, a gRPC connection, an ASGI app.

Invariant: no method waits or raises, whatever a client or a model sent. Events exist only for a request whose body came
in whole; a response event says whether its own body went out whole. What should have been an event and is none is
counted with its reason.
"""

from collections.abc import Mapping
from time import perf_counter
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
        self._samples_at_start = not (self.sampler.takes_all or self.sampler.waits_for_status)
        self._wants_request = capture.mode is not LogMode.RESPONSE
        self._wants_response = capture.mode is not LogMode.REQUEST

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

    def copy_request(self) -> BodyCopy | None:
        capture = self.capture
        return BodyCopy(capture.body_bytes, self.budget, capture.oversize) if self._wants_request else None

    def copy_response(self, status: int) -> BodyCopy | None:
        capture = self.capture
        if not self._wants_response or (capture.kserve_compatible and status != 200):
            return None
        return BodyCopy(capture.body_bytes, self.budget, capture.oversize)


def _factory(capture: Capture, identity: Identity, *, sampled: bool) -> EventFactory:
    if capture.kserve_compatible:
        return KServeEvents(identity, capture.metadata_headers)
    return EventFactory(identity, capture.metadata_headers, sampled=sampled)


class Recording:
    """Told in this order: request bodies, `request_done`; `response_head`, response bodies, `response_done`. The two
    sides may overlap. `give_up` ends it wherever it is. What comes after an end is passed over."""

    __slots__ = (
        *("_answer_fields", "_arrived_s", "_first_byte_s", "_inference", "_recorder", "_request"),
        *("_request_event", "_request_done", "_response", "_status", "_time_ns", "_head", "_id", "_share"),
    )

    def __init__(self, recorder: Recorder, event_id: str, head: RequestHead, share: float) -> None:
        self._recorder = recorder
        self._id = event_id
        self._head = head
        self._share = share
        self._time_ns = recorder.clock.time_ns()
        self._arrived_s = perf_counter()
        self._first_byte_s = 0.0
        self._inference: Inference | None = None
        self._request: BodyCopy | None = recorder.copy_request()
        self._request_done = False
        self._request_event: tuple[BodyCopy, int] | None = None  # held until the status is known
        self._response: BodyCopy | None = None
        self._status = 0
        self._answer_fields: Fields = {}

    # the request

    def request_body(self, data: bytes) -> None:
        if self._request is not None:
            self._request.add(data)

    def request_done(self) -> None:
        """The body came in whole."""
        self._request_done = True
        copy, self._request = self._request, None
        if copy is None:
            return
        if self._recorder.sampler.waits_for_status and not self._status:
            self._request_event = copy, self._recorder.clock.time_ns()
        else:
            self._emit_request(copy, self._recorder.clock.time_ns())

    # the response

    def response_head(self, status: int, fields: Fields) -> None:
        """The final head; interim ones (1xx) are not told."""
        if not self._is_sampled(status):
            self.give_up()
            self._recorder.counts.sampled_out += 1
            return
        self._status, self._answer_fields = status, fields
        self._first_byte_s = perf_counter() - self._arrived_s
        self._response = self._recorder.copy_response(status)
        if self._request_event is not None:
            held, self._request_event = self._request_event, None
            self._emit_request(*held)

    def response_body(self, data: bytes) -> None:
        if self._response is not None:
            self._response.add(data)

    def response_done(self, *, whole: bool = True, notes: Mapping[str, str] = _NO_NOTES) -> None:
        """The answer is at its end; not `whole` where it broke off, by either side. `notes` become extensions."""
        if self._response is not None and self._request_done and (whole or self._emits_broken):
            copy, self._response = self._response, None
            end_ns, latency_s = self._recorder.clock.time_ns(), perf_counter() - self._arrived_s
            answer = Answer(self._status, self._answer_fields, end_ns, latency_s, self._first_byte_s, notes)
            self._emit_response(copy, answer, whole=whole)
        self.give_up()

    @property
    def _emits_broken(self) -> bool:
        return not self._recorder.capture.kserve_compatible

    def give_up(self) -> None:
        """Forget what was copied and has not become an event. May be called twice."""
        held = self._request_event[0] if self._request_event is not None else None
        for copy in (self._request, self._response, held):
            if copy is not None:
                copy.release()
        self._request = self._response = self._request_event = None

    # events

    def _is_sampled(self, status: int) -> bool:
        sampler = self._recorder.sampler
        if not sampler.waits_for_status:
            return True
        share = sampler.share_by_status(sampler.key(self._head.fields, self._id), status)
        self._share = share or 0.0
        return share is not None

    def _shared(self) -> Inference:
        if self._inference is None:
            events = self._recorder.events
            self._inference = events.inference(self._id, self._time_ns, self._head, self._share)
        return self._inference

    def _emit_request(self, copy: BodyCopy, recorded_ns: int) -> None:
        if not self._counted("request", copy):
            return
        body = copy.take()
        try:
            event = self._recorder.events.request(self._shared(), body, recorded_ns, truncated=copy.truncated)
        except WaysideError:  # whatever a client sent, inference goes on; what cannot be an event is counted
            self._recorder.counts.drop("request", REFUSED)
        else:
            self._recorder.emit(event)

    def _emit_response(self, copy: BodyCopy, answer: Answer, *, whole: bool) -> None:
        if not self._counted("response", copy):
            return
        truncated, body = copy.truncated or not whole, copy.take()
        try:
            event = self._recorder.events.response(self._shared(), answer, body, truncated=truncated)
        except WaysideError:
            self._recorder.counts.drop("response", REFUSED)
        else:
            self._recorder.emit(event)

    def _counted(self, kind: str, copy: BodyCopy) -> bool:
        """Count what should be an event; False where its copy was given up."""
        counts = self._recorder.counts
        counts.captured[kind] += 1
        counts.truncated += copy.truncated
        if copy.lost:
            counts.drop(kind, copy.lost)
        return not copy.lost
