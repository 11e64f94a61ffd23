"""A Kafka producer for asyncio: what is sent is a future that the broker's report settles. Needs the extra `kafka`.

Invariant: every future is settled once, by the delivery report of its message; a message whose future was settled with
an error is never sent later. Reports come on a thread of their own and cross to the event loop many at a time.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from wayside.eventing.kafka.binding import ReceivedHeaders
from wayside.eventing.kafka.client import ClientErrors, KafkaError, KafkaException, Message, Producer, make_client

log = logging.getLogger("wayside.kafka")
Report = asyncio.Future[KafkaError | None]
_POLL_S = 0.1
_CLOSE_S = 5.0
_SETTINGS = {
    "acks": "all",
    "enable.idempotence": "true",
}
_DEFAULTS = {
    "linger.ms": "5",
    "queue.buffering.max.messages": "100000",
    "queue.buffering.max.kbytes": "65536",
    "message.max.bytes": str(17 << 20),
    # small enough for any topic's limit: a batch that is too large would be refused with all that is in it
    "batch.size": "262144",
}


class ReportingProducer:
    """One librdkafka producer and its thread, for one event loop. Starts without a cluster."""

    def __init__(self, servers: str, config: Mapping[str, str], timeout_s: float) -> None:
        """Raises `ConfigurationError` for settings that do not fit. A message is given up after `timeout_s` seconds."""
        timeout_ms = str(max(1, round(timeout_s * 1000)))
        self.errors = ClientErrors()
        own = {
            **_SETTINGS,
            "message.timeout.ms": timeout_ms,
            "request.timeout.ms": timeout_ms,
            # half of it, so that an absent topic is told from a slow one
            "topic.metadata.propagation.max.ms": str(max(1, round(timeout_s * 500))),
            "error_cb": self.errors.note,
        }
        self._producer = make_client(Producer, servers, {**_DEFAULTS, **config}, own)
        self._loop = asyncio.get_running_loop()
        self._waiting: set[Report] = set()
        self._reported: list[tuple[Report, KafkaError | None]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="wayside-kafka-producer", daemon=True)
        self._thread.start()

    def produce(self, topic: str, key: bytes | None, value: bytes | None, headers: ReceivedHeaders) -> Report:
        """Queue a message. Its future holds None once all in-sync replicas have it, or the error it failed with.

        Raises `BufferError` where the bounded buffer is full, `KafkaException` for a message that cannot be sent.
        """
        report: Report = self._loop.create_future()
        given: list[Any] = list(headers)
        self._producer.produce(topic, value, key, headers=given, on_delivery=partial(self._note, report))
        self._waiting.add(report)
        return report

    def _note(self, report: Report, error: KafkaError | None, message: Message) -> None:
        self._reported.append((report, error))

    def _serve(self) -> None:
        """The thread: serve reports until closed and empty."""
        while not self._closing or len(self._producer):
            self._producer.poll(_POLL_S)
            if self._reported:
                reported, self._reported = self._reported, []
                self._loop.call_soon_threadsafe(self._settle, reported)

    def _settle(self, reported: list[tuple[Report, KafkaError | None]]) -> None:
        for report, error in reported:
            self._waiting.discard(report)
            if not report.done():
                report.set_result(error)

    async def close(self, flush_s: float) -> None:
        """Give what somebody still waits for `flush_s` seconds to arrive, then fail the rest. May be called twice."""
        if self._waiting and not self._closing:
            await asyncio.wait(self._waiting, timeout=flush_s)
        self._producer.purge()  # the reports of what it drops settle their futures
        self._closing = True
        await asyncio.to_thread(self._thread.join, _CLOSE_S)
        if self._thread.is_alive():
            log.warning("Kafka's producer did not end in time")


def is_fatal(error: KafkaError) -> bool:
    """Whether the producer that reported this error can never send again."""
    return bool(error.fatal()) or error.code() == KafkaError._FATAL


def error_in(exc: KafkaException) -> KafkaError:
    """The error that an exception of a producer's carries."""
    error: KafkaError = exc.args[0]
    return error
