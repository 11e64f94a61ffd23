"""Where logged events lie: files of CloudEvents, files of a logger's store, a folder of either, a broker's own store.

Invariant: events come in the order of the files' names, and within a file in its own; one that cannot be read is told
in its place, and those after it are read. A file is held a line, or a part, at a time, where its format allows it.
"""

import asyncio
import base64
import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from wayside.detectors.data.event_logs.records import event_of_record, is_record
from wayside.detectors.data.tables.json_lines import numbered_lines
from wayside.eventing.errors import ConfigurationError, MalformedEvent, MissingExtra
from wayside.eventing.event import CloudEvent
from wayside.eventing.event_files import Refusal, read_events

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".parquet")
_STORE_FILE = "journal.db"
_WHOLE_LIMIT_BYTES = 1 << 30  # of a file that is one JSON document
_CELL_LIMIT = 1 << 30
_PART_ROWS = 256
_PAGE_ROWS = 200


class Logged(NamedTuple):
    """One event, or why it cannot be read, and where it lies."""

    where: str
    event: CloudEvent | Refusal


def event_files(path: Path) -> list[Path]:
    """The files that hold events, in the order of their names. Raises `ConfigurationError` where there is none."""
    if (path / _STORE_FILE).is_file():
        return [path / _STORE_FILE]
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file()
                       and not file.name.startswith("."))  # fmt: skip
        if found:
            return found
        raise ConfigurationError(f"{path} holds no {', '.join(SUFFIXES)} file, and no {_STORE_FILE} of a broker")
    if not path.is_file() or path.suffix not in SUFFIXES:
        raise ConfigurationError(f"{path} is no folder, and no {', '.join(SUFFIXES)} file of logged events")
    return [path]


def read_logged(file: Path) -> Iterator[Logged]:
    """The events of one file. Raises `ConfigurationError` where the file as a whole cannot be read."""
    readers = {".csv": _of_csv, ".parquet": _of_parquet, ".json": _of_document, ".db": _of_broker}
    try:
        yield from readers.get(file.suffix, _of_lines)(file)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {file}: {exc.strerror or exc}") from exc
    except (csv.Error, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"cannot read {file}: {exc}") from exc


def _of_lines(file: Path) -> Iterator[Logged]:
    with file.open("rb") as lines:
        for line in numbered_lines(file.name, lines):
            yield from _of_text(f"{file.name}, line {line.number}", line.text)


def _of_document(file: Path) -> Iterator[Logged]:
    with file.open("rb") as opened:
        text = opened.read(_WHOLE_LIMIT_BYTES + 1)
    if len(text) > _WHOLE_LIMIT_BYTES:
        raise ConfigurationError(
            f"{file} has more than {_WHOLE_LIMIT_BYTES >> 20} MiB: give JSON lines, which are read one by one"
        )
    yield from _of_text(file.name, text)


def _of_text(where: str, text: bytes) -> Iterator[Logged]:
    """Records, where the text is one or a list of them; else events."""
    tree = _tree(text) if b'"reqType"' in text else None
    records = tree if isinstance(tree, list) else [tree]
    if records and is_record(records[0]):
        for index, record in enumerate(records):
            yield Logged(f"{where}, record {index}", _event_of(record))
        return
    for index, event in enumerate(read_events(text)):
        yield Logged(f"{where}, event {index}", event)


def _tree(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _event_of(record: Any) -> CloudEvent | Refusal:
    if not is_record(record):
        return Refusal(0, "it is no record of a logged event")
    try:
        return event_of_record(record)
    except MalformedEvent as exc:
        return Refusal(0, str(exc))


def _of_csv(file: Path) -> Iterator[Logged]:
    with file.open(encoding="utf-8-sig", newline="") as lines, _long_cells():
        reader = csv.DictReader(lines, strict=True)
        _check_columns(file, list(reader.fieldnames or ()))
        for record in reader:
            yield Logged(f"{file.name}, line {reader.line_num}", _event_of(record))


@contextmanager
def _long_cells() -> Iterator[None]:
    """Python's csv reads cells of 128 KiB unless told otherwise, and can only be told for the whole process."""
    before = csv.field_size_limit(_CELL_LIMIT)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _of_parquet(file: Path) -> Iterator[Logged]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        raise MissingExtra("Parquet", "parquet") from exc
    try:
        with pq.ParquetFile(file) as parquet:
            _check_columns(file, parquet.schema_arrow.names)
            row = 0
            for batch in parquet.iter_batches(batch_size=_PART_ROWS):
                for record in batch.to_pylist():
                    yield Logged(f"{file.name}, row {row}", _event_of(record))
                    row += 1
    except pa.ArrowException as exc:
        raise ConfigurationError(f"cannot read {file}: {str(exc).splitlines()[0]}") from exc


def _check_columns(file: Path, names: list[str]) -> None:
    if not is_record(names):
        raise ConfigurationError(
            f"{file} is no file of a logger's store (no columns 'bytes', 'reqType', 'id'): rows are read with --data"
        )


def _of_broker(file: Path) -> Iterator[Logged]:
    """The events in an embedded broker's folder, whether it runs or not, as `wayside events` reads them."""
    try:
        from wayside.eventing.broker.events.source import StoreSource, Wanted
    except ModuleNotFoundError as exc:
        raise MissingExtra("a broker's folder", "broker") from exc
    after, done = None, False
    with asyncio.Runner() as runner:
        source = StoreSource(file.parent)
        try:
            while not done:
                page = runner.run(source.page(Wanted(with_data=True), after, _PAGE_ROWS))
                after, done = page["last"], page["done"]
                for view in page["events"]:
                    yield Logged(f"{file.name}, position {view['position']}", _event_of_view(view["event"]))
        finally:
            runner.run(source.stop())


def _event_of_view(view: Mapping[str, str]) -> CloudEvent:
    attributes = {name: value for name, value in view.items() if name != "data_base64"}
    return CloudEvent.from_attributes(attributes, base64.b64decode(view.get("data_base64", "")))
