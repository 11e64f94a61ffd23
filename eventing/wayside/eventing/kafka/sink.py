"""A sink on Kafka: an event sent is a message that all in-sync replicas have. Needs the extra `kafka`.

Invariant: `send` returns only after the broker's report of delivery. An event whose `send` raised is not sent later,
although the broker may hold it already where only its report was lost: at least once.
"""

import asyncio
import logging
from collections.abc import Mapping

from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import KafkaAddress
from wayside.eventing.kafka.binding import ReceivedHeaders, encode, message_key
from wayside.eventing.kafka.client import KafkaError, KafkaException
from wayside.eventing.kafka.producer import ReportingProducer, error_in, is_fatal
from wayside.eventing.sink import EventRefused, SinkUnavailable

log = logging.getLogger("wayside.kafka")
_BUFFER_FULL_RETRY_S = 0.5
_UNKNOWN_TOPIC = (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION)
_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
# the broker looked at the message and will never take it; whatever else may pass, missing rights too: they are granted
_FOR_GOOD = (KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD, KafkaError._INVALID_ARG)


class TopicWriter:
    """Writes messages to one topic, on a producer that is made anew where librdkafka calls an error fatal."""

    def __init__(self, servers: str, topic: str, config: Mapping[str, str], timeout_s: float) -> None:
        self._servers = servers
        self._topic = topic
        self._config = config
        self._timeout_s = timeout_s
        self._producer: ReportingProducer | None = None
        self._retired: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Needs no cluster. Raises `ConfigurationError` for settings that do not fit."""
        self._producer = self._producer or ReportingProducer(self._servers, self._config, self._timeout_s)

    async def stop(self) -> None:
        """What somebody still waits for has the sink's time-out to arrive; may be called twice or before `start`."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close(self._timeout_s)
        await asyncio.gather(*self._retired, return_exceptions=True)

    async def write(self, key: bytes | None, value: bytes | None, headers: ReceivedHeaders) -> None:
        """Returns once all in-sync replicas have the message. Raises `SinkUnavailable` or `EventRefused`."""
        producer = self._producer
        if producer is None:
            raise SinkUnavailable(f"the sink for topic {self._topic} is not running")
        try:
            error = await producer.produce(self._topic, key, value, headers)
        except BufferError as exc:
            raise SinkUnavailable("the buffer of messages for Kafka is full", _BUFFER_FULL_RETRY_S) from exc
        except KafkaException as exc:
            error = error_in(exc)
        if error is None:
            producer.errors.reason = ""
            return
        if is_fatal(error) or producer.errors.fatal:
            self._replace(producer, error)
        raise self._failure(error, producer)

    def _replace(self, broken: ReportingProducer, error: KafkaError) -> None:
        if self._producer is not broken:
            return  # another message had the same report
        log.warning("Kafka's producer for %s is made anew: %s", self._topic, error.str())
        self._producer = ReportingProducer(self._servers, self._config, self._timeout_s)
        task = asyncio.create_task(broken.close(0.0))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    def _failure(self, error: KafkaError, producer: ReportingProducer) -> SinkUnavailable | EventRefused:
        code, where = error.code(), f"topic {self._topic} at {self._servers}"
        if code in _TOO_LARGE:
            return EventRefused(
                f"{where}: the event is too large: raise the topic's max.message.bytes, and message.max.bytes in the"
                f" --kafka-config file where that is smaller ({error.str()})"
            )
        if code in _FOR_GOOD:
            return EventRefused(f"{where}: {error.str()}")
        if code in _UNKNOWN_TOPIC:
            return SinkUnavailable(f"{where} does not exist: create it, or start what reads it, which creates it")
        if code == KafkaError._MSG_TIMED_OUT:
            why = producer.errors.reason or error.str()
            return SinkUnavailable(f"{where}: not accepted within {self._timeout_s:g} s: {why}")
        return SinkUnavailable(f"{where}: {error.str()}")


class KafkaEventSink:
    """Sends events to the address's one topic, keyed by service, in binary mode. `timeout_s` bounds one `send`."""

    def __init__(self, address: KafkaAddress, config: Mapping[str, str], timeout_s: float) -> None:
        self._writer = TopicWriter(address.servers, address.topics[0], config, timeout_s)

    async def start(self) -> None:
        """Needs no cluster. Raises `ConfigurationError` for settings that do not fit."""
        await self._writer.start()

    async def stop(self) -> None:
        await self._writer.stop()

    async def send(self, event: CloudEvent) -> None:
        """Raises `EventRefused` for what Kafka will never take (too large, invalid), else `SinkUnavailable`.

        Missing rights are unavailability: they can be granted while events wait, and dropping would lose them.
        """
        headers, value = encode(event)
        await self._writer.write(message_key(event), value, headers)
