"""Stretches of logged events as tables, from every place where events are kept."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.data.event_logs.stretch import LoggedRows, Stretch, read_stretch
from wayside.detectors.data.tables.reading import Reading
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.broker.routing import Arrival
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.clock import FakeClock, parse_time
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.json_format import encode, encode_batch
from wayside.eventing.triggers.names import BrokerName, TriggerName
from wayside.eventing.vocabulary import RESPONSE
from wayside.logger.emit.store.formats import format_of
from wayside.logger.emit.store.records import Records
from wayside.logger.settings import Delivery, Store, StoreFormat

from .conftest import request_event

EVENTS = [request_event([[n, n + 0.5], [n + 1, 0.0]], f"e{n}", f"2026-01-02T03:04:0{n}Z") for n in range(4)]
ROWS = [[value, other] for n in range(4) for value, other in ((n, n + 0.5), (n + 1, 0.0))]
NOISE = [
    replace(EVENTS[0], id="answer", type=RESPONSE),
    EVENTS[1],  # delivered twice
    replace(EVENTS[0], id="cut", extensions={**EVENTS[0].extensions, "truncated": "true"}),
    request_event([[1, 2], [3]], "ragged", "2026-01-02T03:04:09Z"),
]


def read(path: Path, side: Side = Side.REQUEST, start: str | None = None, end: str | None = None) -> LoggedRows:
    from_ns, to_ns = (None if text is None else parse_time(text) for text in (start, end))
    return read_stretch(Stretch(path, side, from_ns, to_ns), Reading())


def write_lines(path: Path, events: Sequence[CloudEvent]) -> Path:
    path.write_bytes(b"\n".join(encode(event) for event in events) + b"\n")
    return path


def write_batch(path: Path, events: Sequence[CloudEvent]) -> Path:
    path.write_bytes(encode_batch(events))
    return path


def write_store(path: Path, events: Sequence[CloudEvent]) -> Path:
    """As the logger keeps them: folders of the service, a file a batch."""
    form = format_of(StoreFormat(path.suffix[1:]))
    records = Records(Delivery(url="s3://bucket/folder"), Store("/logs"))
    for number, batch in enumerate((events[:3], events[3:])):
        file = path.with_suffix("") / f"digits/{number}-request{path.suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(form.write(records, list(batch))))
        (file.parent / f".{number}.part{path.suffix}").write_bytes(b"left behind by a crash")
    return path.with_suffix("")


WRITERS = {
    "lines": ("a.jsonl", write_lines),
    "a batch": ("a.json", write_batch),
    "a store of JSON": ("store.json", write_store),
    "a store of CSV": ("store.csv", write_store),
    "a store of Parquet": ("store.parquet", write_store),
}


@pytest.mark.parametrize(("name", "write"), WRITERS.values(), ids=WRITERS)
def test_every_log_gives_its_rows_once(name: str, write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(tmp_path / name, [*EVENTS, *NOISE])
    logged = read(path)
    assert logged.rows.table.values.tolist() == ROWS
    assert logged.rows.table.names is None
    assert dict(logged.outcomes) == {
        "taken": 4, "of another type": 1, "there before": 1, "cut off or an error": 1, "refused": 1,
    }  # fmt: skip
    assert logged.first_refused is not None
    assert "ragged" in logged.first_refused
    assert sum(origin.rows for origin in logged.rows.origins) == 8
    assert all("/" not in origin.name for origin in logged.rows.origins)


async def test_a_brokers_folder_is_a_log(tmp_path: Path) -> None:
    clock = FakeClock()
    store = BrokerStore(tmp_path / "journal.db", 1 << 30, clock)
    await store.start()
    broker, trigger = BrokerName("default", "default"), TriggerName("default", "default", "t")
    await store.register([trigger], [broker])
    for event in (*EVENTS, *NOISE):
        await store.add(Arrival(broker, event, 255, [], (trigger,)))
    await store.stop()
    logged = await asyncio.to_thread(read, tmp_path)
    assert logged.rows.table.values.tolist() == ROWS
    assert logged.outcomes["taken"] == 4


@pytest.mark.parametrize(
    ("start", "end", "taken"),
    [("2026-01-02T03:04:01Z", None, [1, 2, 3]), (None, "2026-01-02T03:04:01Z", [0]),
     ("2026-01-02T03:04:01Z", "2026-01-02T03:04:03Z", [1, 2])],
    ids=["from", "to", "between"],
)  # fmt: skip
def test_event_time_chooses(start: str | None, end: str | None, taken: list[int], tmp_path: Path) -> None:
    table = read(write_lines(tmp_path / "a.jsonl", EVENTS), start=start, end=end).rows.table
    assert table.values[::2, 0].tolist() == taken


def test_responses_are_taken_where_they_are_asked_for(tmp_path: Path) -> None:
    answers = [replace(event, type=RESPONSE, data=b'{"predictions": [[0.5]]}') for event in EVENTS]
    path = write_lines(tmp_path / "a.jsonl", [*EVENTS, *answers])
    assert np.array_equal(read(path, Side.RESPONSE).rows.table.values, np.full((4, 1), 0.5))
    with pytest.raises(ConfigurationError, match="pairs are not joined here"):
        read(path, Side.PAIR)


def test_named_features_and_categories_are_kept(tmp_path: Path) -> None:
    rows = [{"proto": "udp", "bytes": 3}, {"proto": "tcp", "bytes": None}]
    table = read(write_lines(tmp_path / "a.jsonl", [request_event(rows)])).rows.table
    assert (table.names, dict(table.categories)) == (("proto", "bytes"), {0: ("tcp", "udp")})
    assert np.array_equal(table.values, [[1, 3], [0, np.nan]], equal_nan=True)


def test_an_event_gives_all_of_its_rows_or_none(tmp_path: Path) -> None:
    """The second's first column fits and its last does not: nothing of it stays."""
    events = [request_event([{"a": 1, "b": 2}], "1"), request_event([{"a": 3, "b": "x"}], "2"),
              request_event([{"b": 6, "a": 5}], "3")]  # fmt: skip
    logged = read(write_lines(tmp_path / "a.jsonl", events))
    assert logged.rows.table.values.tolist() == [[1, 2], [5, 6]]
    assert logged.first_refused is not None
    assert "row 0, column 'b': 'x' is no number" in logged.first_refused


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "gives no rows: no event"),
        (b"no event\n", "gives no rows: 1 events .1 refused.; the first: a.jsonl, line 1"),
        (encode(EVENTS[0]) + b"\n{}\n{}\n", "3 events .2 refused, 1 taken.; the first: a.jsonl, line 2"),
        (encode(NOISE[0]) + b"\n", "gives no rows: 1 events .1 of another type"),
    ],
    ids=["empty", "no events", "mostly refused", "others alone"],
)
def test_what_is_no_log_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason):
        read(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("a.txt", b"", "is no folder, and no .json"), ("a.csv", b"x,y\n1,2\n", "rows are read with --data"),
     ("a.parquet", b"", "cannot read"), ("b/a.txt", b"", "holds no .json")],
    ids=["suffix", "rows", "damaged", "nothing in it"],
)  # fmt: skip
def test_files_that_hold_no_events_are_named(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason):
        read(tmp_path / name if name.startswith("a") else tmp_path / "b")
