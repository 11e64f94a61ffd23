"""The embedded record store as a source: the rows that it still holds of each inference, made into events again.

Invariant: an event has the id, source, service and request time that the record has, and its rows in their order as
JSON, and the revision that the request names. What a record does not keep (the very bytes of a body) the event does not
have either.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.event_files import Refusal
from wayside.eventing.vocabulary import (
    COMPONENT,
    ENDPOINT,
    INFERENCE_SERVICE,
    NAMESPACE,
    REQUEST,
    REQUEST_TIME,
    RESPONSE,
    REVISION,
    STATUS_CODE,
    TRUNCATED,
)
from wayside.local.replay.stored import Stored

RECORDS_FILE = "records.sqlite"
_SIDES: Mapping[str, tuple[str, str]] = {"request": (REQUEST, "instances"), "response": (RESPONSE, "predictions")}
_HEAD = {
    "Ce-Inferenceservicename": INFERENCE_SERVICE,
    "Ce-Namespace": NAMESPACE,
    "Ce-Component": COMPONENT,
    "Ce-Endpoint": ENDPOINT,
    "revision": REVISION,
}


def records_file(path: Path) -> Path | None:
    """The store's file, where a path names it or its folder."""
    if path.name == RECORDS_FILE and path.is_file():
        return path
    found = path / RECORDS_FILE
    return found if found.is_file() else None


def read_records(file: Path, side: str) -> Iterator[Stored]:
    """The requests, or the responses, in the order of their requests' times, source and id.

    Raises `ConfigurationError` for another side, and where the file cannot be read.
    """
    if side not in _SIDES:
        raise ConfigurationError(f"--on {side}: records hold requests and responses, and no {side} as it came")
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            yield from _events(connection, side)
    except sqlite3.Error as exc:
        raise ConfigurationError(f"cannot read the record store {file}: {exc}") from exc


def _events(connection: sqlite3.Connection, side: str) -> Iterator[Stored]:
    rows = connection.execute(
        f"SELECT time, source, event_id, row, head, {side} FROM records WHERE {side} IS NOT NULL"
        " ORDER BY time, source, event_id, row"
    )
    for (time, source, event_id), found in groupby(rows, key=lambda row: row[:3]):
        parts = list(found)
        where = f"record {source} {event_id}"
        if [row for _, _, _, row, _, _ in parts] != list(range(len(parts))):
            yield Stored(where, Refusal(0, "some of its rows are no longer kept"))
            continue
        yield Stored(where, _event(side, time, source, event_id, parts))


def _event(side: str, time: str, source: str, event_id: str, parts: Sequence[tuple[Any, ...]]) -> CloudEvent:
    event_type, member = _SIDES[side]
    sides = [json.loads(part[-1]) for part in parts]
    head, first = json.loads(parts[0][4] or "{}"), sides[0]
    said = {name: str(head[field]) for field, name in _HEAD.items() if head.get(field)}
    said |= {name: str(first[name]).lower() for name in (STATUS_CODE, TRUNCATED) if name in first}
    return CloudEvent(
        id=event_id,
        source=source,
        type=event_type,
        time=first.get("ce-time") or time,
        datacontenttype="application/json",
        data=json.dumps({member: [_instance(each) for each in sides]}).encode(),
        extensions={**said, REQUEST_TIME: time},
    )


def _instance(side: Mapping[str, Any]) -> Any:
    """A row by its columns' names, where it has some."""
    return side.get("elements", side.get("instance"))
