"""Keeps what a consumer group refuses for good, in a topic of its own. Needs the extra `kafka`.

Source: the extensions of Knative Eventing's dead letters.
Invariant: a dead letter is the message as it came, key and bytes, with headers that say why it is here and from where;
where the topic does not take it because of its size, it comes without its bytes, which the headers then say too.
"""

import base64
import logging

from wayside.eventing.kafka.binding import PREFIX, KafkaRecord
from wayside.eventing.kafka.sink import TopicWriter
from wayside.eventing.sink import EventRefused
from wayside.eventing.vocabulary import ERROR_CODE, ERROR_DATA, ERROR_DESTINATION

log = logging.getLogger("wayside.kafka")
TOPIC, PARTITION, OFFSET = "wayside-topic", "wayside-partition", "wayside-offset"
OMITTED = "wayside-omitted-bytes"
_ERROR_DATA_BYTES = 768  # 1024 characters as base64
_OWN = frozenset(
    (TOPIC, PARTITION, OFFSET, OMITTED, *(PREFIX + name for name in (ERROR_DESTINATION, ERROR_CODE, ERROR_DATA)))
)


class DeadLetters:
    """Writes dead letters on behalf of a consumer group."""

    def __init__(self, writer: TopicWriter, group: str) -> None:
        self._writer = writer
        self._group = group

    async def start(self) -> None:
        await self._writer.start()

    async def stop(self) -> None:
        await self._writer.stop()

    async def keep(self, record: KafkaRecord, code: int, reason: str) -> None:
        """Returns once the letter is durable. Raises `SinkUnavailable` or `EventRefused`, as a sink does."""
        headers = letter_headers(record, self._group, code, reason)
        try:
            await self._writer.write(record.key, record.value, headers)
        except EventRefused as exc:
            # else it would be tried for ever, and hold up its partition; the headers tell where the whole message lies
            log.warning("a dead letter of %d bytes is kept without them: %s", record.size_bytes, exc)
            left_out = [*headers, (OMITTED, str(len(record.value or b"")).encode())]
            await self._writer.write(record.key, None, left_out)


def letter_headers(record: KafkaRecord, group: str, code: int, reason: str) -> list[tuple[str, bytes | None]]:
    """The record's headers, and on top: which group failed on it, an HTTP status, the reason (base64), its origin."""
    kept = [(name, value) for name, value in record.headers if name not in _OWN]  # an earlier letter's are replaced
    data = base64.b64encode(reason.encode(errors="replace")[:_ERROR_DATA_BYTES])
    return [
        *kept,
        (PREFIX + ERROR_DESTINATION, group.encode()),
        (PREFIX + ERROR_CODE, str(code).encode()),
        (PREFIX + ERROR_DATA, data),
        (TOPIC, record.topic.encode()),
        (PARTITION, str(record.partition).encode()),
        (OFFSET, str(record.offset).encode()),
    ]
