"""The form of a dead letter: the record as it came, and headers that say why it is here and from where.

Source: the extensions of Knative Eventing's dead letters.
Invariant: a letter says of itself what it lacks of the record, which lies whole where the headers say.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wayside.eventing.kafka.binding import PREFIX, KafkaRecord, ReceivedHeaders
from wayside.eventing.vocabulary import ERROR_CODE, ERROR_DATA, ERROR_DESTINATION

TOPIC, PARTITION, OFFSET = "wayside-topic", "wayside-partition", "wayside-offset"
OMITTED, OMITTED_HEADERS = "wayside-omitted-bytes", "wayside-omitted-headers"
REASON_HEADERS = frozenset(PREFIX + name for name in (ERROR_DESTINATION, ERROR_CODE, ERROR_DATA))
_OWN = REASON_HEADERS | {TOPIC, PARTITION, OFFSET, OMITTED, OMITTED_HEADERS}
_ERROR_DATA_BYTES = 768  # 1024 characters as base64


@dataclass(frozen=True, slots=True)
class Letter:
    """A message for the topic of dead letters. `lacks` says in words what it leaves out of the record."""

    key: bytes | None
    value: bytes | None
    headers: ReceivedHeaders
    lacks: str = ""


def letters_of(record: KafkaRecord, group: str, code: int, reason: str) -> Iterator[Letter]:
    """Letters for one record, each for where the topic does not take the one before it because of its size.

    The record whole; without its value; without key and headers of its own too, which fits wherever anything does.
    """
    reasons = _reasons(record, group, code, reason)
    kept = [(name, value) for name, value in record.headers if name not in _OWN]  # an earlier letter's are replaced
    omitted = (OMITTED, str(len(record.value or b"")).encode())
    yield Letter(record.key, record.value, [*kept, *reasons])
    yield Letter(record.key, None, [*kept, *reasons, omitted], "its value")
    count = (OMITTED_HEADERS, str(len(kept)).encode())
    yield Letter(None, None, [*reasons, omitted, count], "its value, key and headers")


def _reasons(record: KafkaRecord, group: str, code: int, reason: str) -> Sequence[tuple[str, bytes]]:
    """Which group failed on the record, an HTTP status, the reason (base64), and where the record lies."""
    return [
        (PREFIX + ERROR_DESTINATION, group.encode()),
        (PREFIX + ERROR_CODE, str(code).encode()),
        (PREFIX + ERROR_DATA, base64.b64encode(reason.encode(errors="replace")[:_ERROR_DATA_BYTES])),
        (TOPIC, record.topic.encode()),
        (PARTITION, str(record.partition).encode()),
        (OFFSET, str(record.offset).encode()),
    ]
