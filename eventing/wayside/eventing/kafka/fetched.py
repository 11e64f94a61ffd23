"""What one fetch brings, made of librdkafka's messages. Needs the extra `kafka`.

Invariant: no message makes an exception: what cannot be read of it is left out, and its record says so.
"""

from collections.abc import Set
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Any

from wayside.eventing.kafka.binding import KafkaRecord
from wayside.eventing.kafka.client import TIMESTAMP_NOT_AVAILABLE, Message
from wayside.eventing.kafka.offsets import PartitionId

# For a name that is not UTF-8 confluent-kafka returns a list and leaves an exception set. A call that the interpreter
# has specialised does not look for that, and the exception comes up wherever the next one is looked for. This one does.
_ask_headers = methodcaller("headers")


@dataclass(slots=True)
class Fetched:
    """Records, in the order of each partition; and by partition the offset of its end, where that was come to.

    Nobody reads what lies between the last record and the end: it was aborted, or is a transaction's marker.
    """

    records: list[KafkaRecord] = field(default_factory=list)
    ends: dict[PartitionId, int] = field(default_factory=dict)

    def add(self, record: KafkaRecord) -> None:
        """Take a record. An end that came before it is none any more: the topic grew, or was made anew."""
        self.records.append(record)
        if self.ends:
            self.ends.pop(PartitionId(record.topic, record.partition), None)

    def note_end(self, message: Message) -> None:
        """Take what came in the place of a message to say where its partition ends."""
        self.ends[_partition(message)] = message.offset() or 0

    def forget(self, gone: Set[PartitionId]) -> None:
        """Drop what is of these partitions."""
        self.records[:] = [one for one in self.records if PartitionId(one.topic, one.partition) not in gone]
        for one in gone:
            self.ends.pop(one, None)


def record_of(message: Message) -> KafkaRecord:
    """The record in a message. To be called once for each: see `_headers`."""
    headers, unreadable = _headers(message)
    kind, timestamp_ms = message.timestamp()
    topic, partition = _partition(message)
    return KafkaRecord(
        topic=topic,
        partition=partition,
        offset=message.offset() or 0,
        headers=headers,
        key=message.key(),
        value=message.value(),
        timestamp_ms=None if kind == TIMESTAMP_NOT_AVAILABLE else timestamp_ms,
        unreadable=unreadable,
    )


def _headers(message: Message) -> tuple[Any, str]:
    try:
        return _ask_headers(message) or [], ""
    except (SystemError, UnicodeError):  # and never asked for again: confluent-kafka's second answer is garbage
        return [], "a header's name is not UTF-8"


def _partition(message: Message) -> PartitionId:
    return PartitionId(message.topic() or "", message.partition() or 0)
