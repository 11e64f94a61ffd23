"""Files of records in Parquet. Needs the extra `parquet`.

Source: kserve/kserve cmd/agent/marshaller_parquet.go (names and types; none of its columns is optional);
Apache Parquet format 2.9.
Invariant: no I/O; the agent's columns have its types, so that a reader of its files reads ours.
"""

from array import array
from collections.abc import Sequence
from itertools import accumulate

from wayside.eventing.clock import parse_time
from wayside.eventing.errors import MalformedEvent, MissingExtra
from wayside.eventing.event import CloudEvent
from wayside.logger.emit.store.records import (
    AGENT_COLUMNS,
    EXTENSIONS,
    OUR_COLUMNS,
    SKIP_VERIFY,
    Kind,
    Record,
    Records,
    Value,
)

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as exc:
    raise MissingExtra("Parquet", "parquet") from exc

_TYPES = {
    Kind.TEXT: pa.utf8(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),  # Spark cannot read nanoseconds
    Kind.WHOLE: pa.int32(),
    Kind.NUMBER: pa.float64(),
    Kind.TRUTH: pa.bool_(),
}
_AGENT_FIELDS = [
    *(pa.field(name, pa.utf8(), nullable=False) for name in AGENT_COLUMNS),
    pa.field(SKIP_VERIFY, pa.bool_(), nullable=False),
]
_OUR_FIELDS = [
    *(pa.field(column.name, _TYPES[column.kind], nullable=column.kind is not Kind.TRUTH) for column in OUR_COLUMNS),
    pa.field(EXTENSIONS, pa.utf8()),
]
_BODY = "bytes"


def parquet_file(records: Records, batch: Sequence[CloudEvent]) -> memoryview:
    """One row a record, in one row group. Other threads run while the file is made."""
    compatible = records.kserve_compatible
    schema = pa.schema(_AGENT_FIELDS if compatible else _AGENT_FIELDS + _OUR_FIELDS)
    rows = [records.of(event) for event in batch]
    columns = [_column(records, rows, field) for field in schema]
    out = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays(columns, schema=schema),
        out,
        row_group_size=len(rows),
        compression="none" if compatible else "zstd",
        use_dictionary=False,
        column_encoding=dict.fromkeys(AGENT_COLUMNS, "DELTA_LENGTH_BYTE_ARRAY"),
        write_statistics=[field.name for field in schema if field.name != _BODY],
        store_schema=False,
    )
    return memoryview(out.getvalue()).cast("B")


def _column(records: Records, rows: Sequence[Record], field: pa.Field) -> pa.Array:
    if field.name == _BODY:
        return _bodies([row.body for row in rows])
    return pa.array([_cell(records, row, field) for row in rows], field.type)


def _cell(records: Records, row: Record, field: pa.Field) -> Value:
    if field.name == SKIP_VERIFY:
        return records.skip_verify
    if field.name in row.texts:
        return row.texts[field.name]
    value = row.ours[field.name]
    return _micros(value) if pa.types.is_timestamp(field.type) else value


def _micros(text: Value) -> int | None:
    """Since the epoch; None for what is no time."""
    try:
        return parse_time(str(text)) // 1000
    except MalformedEvent:
        return None


def _bodies(texts: Sequence[bytes]) -> pa.Array:
    """Out of Arrow's own buffers: from a list of texts, long ones would be copied while every thread waits."""
    ends = array("i", accumulate((len(text) for text in texts), initial=0))
    return pa.Array.from_buffers(pa.utf8(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(texts))])
