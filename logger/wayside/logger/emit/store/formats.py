"""Files of records in JSON and in CSV, and which format is asked for.

Source: kserve/kserve cmd/agent/marshaller_json.go and marshaller_csv.go.
Invariant: no I/O; the same events give the same bytes each time.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from wayside.eventing.event import CloudEvent
from wayside.logger.emit.store.go_text import GoUrl, csv_field, json_text
from wayside.logger.emit.store.records import (
    AGENT_COLUMNS,
    EXTENSIONS,
    OUR_COLUMNS,
    SKIP_VERIFY,
    Record,
    Records,
    Value,
    occurrence_time,
)
from wayside.logger.settings import StoreFormat

Write = Callable[[Records, Sequence[CloudEvent]], bytes | memoryview]
_MAPS = frozenset(("metadata", "annotations"))


@dataclass(frozen=True, slots=True)
class File:
    """The bytes of one object, the end of its name, and its media type."""

    body: bytes | memoryview
    extension: str
    content_type: str


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How a batch becomes a file."""

    write: Write
    extension: str
    content_type: str

    def file(self, records: Records, batch: Sequence[CloudEvent]) -> File:
        return File(self.write(records, batch), self.extension, self.content_type)


def format_of(name: StoreFormat) -> FileFormat:
    """The format of a name. Raises `MissingExtra` where Parquet's library is not installed."""
    if name is StoreFormat.JSON:
        return FileFormat(json_file, "json", "application/json")
    if name is StoreFormat.CSV:
        return FileFormat(csv_file, "csv", "text/csv")
    from wayside.logger.emit.store.parquet import parquet_file  # needs the extra `parquet`

    return FileFormat(parquet_file, "parquet", "application/vnd.apache.parquet")


def json_file(records: Records, batch: Sequence[CloudEvent]) -> bytes:
    """One record as an object, more as an array."""
    objects = [_json_object(records, records.of(event)) for event in batch]
    return objects[0] if len(objects) == 1 else json_array(objects)


def json_records(records: Records, batch: Sequence[CloudEvent]) -> bytes:
    """What a marshaller is sent: an array of records, however many."""
    return json_array([_json_object(records, records.of(event)) for event in batch])


def json_array(objects: Sequence[bytes]) -> bytes:
    """Joined in one go: copies of large batches would keep the other threads waiting."""
    separated = [part for each in objects for part in (b",", each)]
    return b"".join([b"[", *separated[1:], b"]"])


def _json_object(records: Records, record: Record) -> bytes:
    """Members in the order of the agent's struct, empty ones left out, then ours."""
    members = [
        f'"url":{records.log_url_json},"bytes":"'.encode(),
        record.body,
        b'"',
        *_agent_members(records, record),
        f',"occurrenceTime":{json_text(occurrence_time(record.event))}'.encode(),
        *(f",{json_text(name)}:{text}".encode() for name, text in _our_members(record)),
    ]
    return b"".join([b"{", *members, b"}"])


def _agent_members(records: Records, record: Record) -> Iterator[bytes]:
    for name, text in record.texts.items():
        if not text or name == "url":
            continue
        if name == "sourceUri":
            yield f',"{name}":{_source_json(record.event.source)}'.encode()
        else:
            yield f',"{name}":{text if name in _MAPS else json_text(text)}'.encode()
    if records.skip_verify:
        yield f',"{SKIP_VERIFY}":true'.encode()


@lru_cache(maxsize=16)  # a logger has one
def _source_json(source: str) -> str:
    return GoUrl.parse(source).json()


def _our_members(record: Record) -> Iterator[tuple[str, str]]:
    for name, value in record.ours.items():
        if value is None or value is False or name == "occurrenceTime":
            continue
        yield name, str(value) if name == EXTENSIONS else json.dumps(value) if _is_number(value) else json_text(value)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def csv_file(records: Records, batch: Sequence[CloudEvent]) -> bytes:
    """A line of names, then a line a record; a value that is missing is empty."""
    names = [*AGENT_COLUMNS, SKIP_VERIFY]
    if not records.kserve_compatible:
        names += [*(column.name for column in OUR_COLUMNS), EXTENSIONS]
    return b"".join([",".join(names).encode() + b"\n", *(_csv_line(records, records.of(event)) for event in batch)])


def _csv_line(records: Records, record: Record) -> bytes:
    first, *others = [csv_field(text) for text in record.texts.values()]
    ours = [csv_field(_plain(value)) for value in record.ours.values()]
    rest = ",".join([*others, _plain(records.skip_verify), *ours])
    return b"".join([first.encode(), b",", record.body, b",", rest.encode(), b"\n"])


def _plain(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
