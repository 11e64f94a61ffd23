"""Posts several events in one message, in CloudEvents' batched mode.

Source: CloudEvents 1.0 HTTP protocol binding, section 3.3.
Invariant: as for one event a message: what was answered with a 2xx is the server's, all of it.
"""

import asyncio
from functools import partial

from wayside.eventing.http_binding import BATCHED
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.logger.emit.answers import Answer
from wayside.logger.emit.http_connection import Post
from wayside.logger.emit.http_sender import HttpSender
from wayside.logger.emit.json_events import encode_member, wait_encoded
from wayside.logger.emit.parcel import Shipment

_NO_BATCHES = frozenset((400, 405, 406, 415, 422))
_ADVICE = "; if it takes no batches, send one event a message: --batch-events 1"


class HttpBatchSender(HttpSender):
    """As `HttpSender`, with `batches` of events a message."""

    def post(self, shipment: Shipment) -> None:
        task = asyncio.create_task(self._post_batch(shipment))
        self._tasks.add(task)
        task.add_done_callback(partial(self._note_encoded, shipment))

    def _note_encoded(self, shipment: Shipment, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            self._report([shipment], SinkUnavailable("the attempt was cancelled"))

    async def _post_batch(self, shipment: Shipment) -> None:
        try:
            members = await wait_encoded(shipment.events, encode_member)
            body = b"[%s]" % b",".join(members)
            message = self._heads.plain_message([(b"content-type", BATCHED)], body)
        except Exception as exc:  # a task's edge: whoever waits for the report decides
            self._report([shipment], exc)
        else:
            self._line.append(Post(shipment, *message))
            self.flush()

    def _error(self, answer: Answer) -> SinkUnavailable | EventRefused:
        error = super()._error(answer)
        return EventRefused(f"{error}{_ADVICE}") if answer.status in _NO_BATCHES else error
