"""Keeps what a consumer group refuses for good, in a topic of its own. Needs the extra `kafka`.

Invariant: a record whose `keep` returned is a durable letter, with as much of the record as the topic takes.
"""

import logging

from wayside.eventing.kafka.binding import KafkaRecord
from wayside.eventing.kafka.letter import letters_of
from wayside.eventing.kafka.sink import TopicWriter
from wayside.eventing.outage import is_told
from wayside.eventing.sink import EventRefused

log = logging.getLogger("wayside.kafka")


class DeadLetters:
    """Writes dead letters on behalf of a consumer group."""

    def __init__(self, writer: TopicWriter, group: str) -> None:
        self._writer = writer
        self._group = group
        self._cut = 0

    async def start(self) -> None:
        await self._writer.start()

    async def stop(self) -> None:
        await self._writer.stop()

    async def keep(self, record: KafkaRecord, code: int, reason: str) -> None:
        """Returns once the letter is durable. Raises `SinkUnavailable` or `EventRefused`, as a sink does."""
        refused: EventRefused | None = None
        for letter in letters_of(record, self._group, code, reason):
            try:
                await self._writer.write(letter.key, letter.value, letter.headers)
            except EventRefused as exc:
                # else it would be tried for ever, and hold up its partition
                refused = exc
            else:
                if refused is not None:
                    self._note_cut(record, letter.lacks, refused)
                return
        assert refused is not None, "at least one letter was tried"
        raise refused

    def _note_cut(self, record: KafkaRecord, lacks: str, refused: EventRefused) -> None:
        self._cut += 1
        if is_told(self._cut):
            log.warning("%d dead letters were cut, the last, of %d bytes, is kept without %s: %s",
                        self._cut, record.size_bytes, lacks, refused)  # fmt: skip
