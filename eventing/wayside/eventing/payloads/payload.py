"""What a payload says: named, typed columns over its rows. The one form that every protocol is read into.

Source: datatypes and shapes are Open Inference Protocol's (V2); `JSON` is ours, for values that are no tensor.
Invariant: every column has one entry a row, `shape[0] == rows`, in the order of the model's own batch. Values are kept
as they were sent, lists or packed bytes, until somebody asks: what reads a payload pays for what it looks at.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.identity import record_id


class Protocol(StrEnum):
    """How a body lays its rows out. A user declares one by these words where a body does not say.

    `json` is never guessed: a row, or a list of rows, with nothing around them, as in many Kafka topics.
    """

    V1 = "v1"
    V2 = "v2"
    V2_GRPC = "v2-grpc"
    SELDON = "seldon"
    OPENAI = "openai"
    DETECTOR = "detector"
    JSON = "json"
    IMAGE = "image"


class Kind(StrEnum):
    """What a body is for: what was asked, what was answered, how good the answer was, or what a detector said."""

    REQUEST = "request"
    RESPONSE = "response"
    FEEDBACK = "feedback"
    VERDICT = "verdict"


class Datatype(StrEnum):
    """The Open Inference Protocol's datatypes, and JSON: a value a row that is no tensor of one type and shape."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    BF16 = "BF16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"
    JSON = "JSON"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one body may cost. `depth` counts nested lists and objects; a tensor has at most `dimensions`."""

    inflated_bytes: int = 64 << 20
    depth: int = 64
    dimensions: int = 32
    rows: int = 1_000_000
    columns: int = 10_000


class Message(NamedTuple):
    """A body and what is known of it. `header_length` is V2's `Inference-Header-Content-Length`, None where unknown."""

    body: bytes
    kind: Kind | None = None
    protocol: Protocol | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    header_length: int | None = None


class NumberBlock:
    """A rectangular JSON array of numbers that a loader kept as an array instead of nested lists.

    No `ABC`: `isinstance` of one takes six times as long, and readers ask it of every list.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Sizes, outermost first; none is 0."""

    @property
    @abstractmethod
    def datatype(self) -> Datatype:
        """INT64, UINT64 or FP64: what holds every number of it exactly as JSON's reader would."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """The smallest and the greatest number, as exact as `datatype` is."""

    @abstractmethod
    def tolist(self) -> list[Any]:
        """The nested lists that stood in the body."""


# A JSON document as Python has it, with blocks in the place of some arrays.
Tree = Any
Load = Callable[[bytes, Limits], Tree]


class Values:
    """Where a column's values are, and in what form. No `ABC`, for the same reason."""

    @abstractmethod
    def row_values(self, shape: Sequence[int]) -> list[Any]:
        """One JSON value a row: a (nested) list, a scalar, an object."""


@dataclass(frozen=True, slots=True)
class FlatList(Values):
    """All values in one list, in row-major order."""

    items: Sequence[Any]

    def row_values(self, shape: Sequence[int]) -> list[Any]:
        return fold(self.items, shape)


@dataclass(frozen=True, slots=True)
class Block(Values):
    """Numbers that are an array already, with as many values as the column's shape has places."""

    block: NumberBlock

    def row_values(self, shape: Sequence[int]) -> list[Any]:
        values = self.block.tolist()
        return values if self.block.shape == tuple(shape) else fold(flatten(values), shape)


def fold(flat: Sequence[Any], shape: Sequence[int]) -> list[Any]:
    """A flat row-major list as nested lists of `shape`, one entry a row; the values fill the shape.

    What empty lists a shape with a 0 asks for is bounded where the shape is read (`datatypes.check_shape`).
    """
    nested = list(flat)
    if 0 in shape:
        return _hollow(shape[: shape.index(0) + 1])
    for size in reversed(shape[1:]):
        nested = [nested[start : start + size] for start in range(0, len(nested), size)]
    return nested


def _hollow(shape: Sequence[int]) -> list[Any]:
    """Nested lists down to the empty ones; `shape` ends in its only 0."""
    return [_hollow(shape[1:]) for _ in range(shape[0])]


def flatten(nested: Sequence[Any]) -> list[Any]:
    """The leaves of rectangular nested lists, in row-major order."""
    flat = list(nested)
    while flat and isinstance(flat[0], list):
        flat = [item for part in flat for item in part]
    return flat


@dataclass(frozen=True, slots=True)
class Column:
    """One input or output over all rows: shape (rows, …).

    `features` names the entries along axis 1 where the payload does. `content_type` says what BYTES hold: MLServer's
    `str`, `base64`, `datetime`, or a media type such as `image/png`. `note` says why a JSON column is no tensor.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    values: Values
    features: tuple[str, ...] = ()
    content_type: str | None = None
    note: str | None = None

    def row_values(self) -> list[Any]:
        """One JSON value a row, as sent."""
        return self.values.row_values(self.shape)


@dataclass(frozen=True, slots=True)
class Payload:
    """A body as Wayside sees it.

    `id` is the client's own, from inside the body (V2 `id`, Seldon `meta.puid`): never an identity of ours. `named`
    is False where the protocol has one nameless column (V1 rows), whose `name` is the member that it stood in.
    Raises `MalformedPayload` where columns differ in rows, share a name, or there are too many.
    """

    protocol: Protocol
    kind: Kind
    columns: tuple[Column, ...]
    named: bool = True
    id: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        if not self.columns:
            raise MalformedPayload("payload has no columns")
        if len(self.columns) > 1:
            self._check_alike()

    def _check_alike(self) -> None:
        if len({column.shape[0] for column in self.columns}) > 1:
            raise MalformedPayload(f"columns differ in rows: {self._sizes()}: every column needs one entry a row")
        if len({column.name for column in self.columns}) < len(self.columns):
            raise MalformedPayload("two columns share a name")

    def _sizes(self) -> str:
        shown = ", ".join(f"{column.name[:32]!r} has {column.shape[0]}" for column in self.columns[:4])
        return shown + (", …" if len(self.columns) > 4 else "")

    @property
    def rows(self) -> int:
        """How many rows every column has; 0 for an empty batch."""
        return self.columns[0].shape[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which a row's values are known: of columns, or of one column's features; none without names."""
        if len(self.columns) == 1 and self.columns[0].features:
            return self.columns[0].features
        return tuple(column.name for column in self.columns) if self.named else ()

    @property
    def has_objects(self) -> bool:
        """Whether a row is an object by column name: of several columns always, of one where rows were sent so."""
        return len(self.columns) > 1 or (self.named and self.protocol in (Protocol.V1, Protocol.JSON))

    def row_values(self) -> list[Any]:
        """One JSON value a row: the column's, or an object by column name."""
        if not self.has_objects:
            return self.columns[0].row_values()
        names = [column.name for column in self.columns]
        parts = zip(*(column.row_values() for column in self.columns), strict=True)
        return [dict(zip(names, values, strict=True)) for values in parts]


def row_ids(source: str, event_id: str, rows: int) -> list[str]:
    """The identity of each row of an event: what records and verdicts know it by (`identity.record_id`)."""
    return [record_id(source, event_id, row) for row in range(rows)]


def describe(payload: Payload) -> Mapping[str, Any]:
    """What is seen, as JSON: protocol, kind, columns with type and shape, rows. No value of it."""
    columns = [_describe(column) for column in payload.columns]
    told = {"protocol": payload.protocol, "kind": payload.kind, "id": payload.id, "model": payload.model}
    known = {key: value for key, value in told.items() if value is not None}
    return {**known, "rows": payload.rows, "columns": columns}


def _describe(column: Column) -> Mapping[str, Any]:
    told: dict[str, Any] = {"name": column.name, "datatype": column.datatype, "shape": list(column.shape)}
    extra = {"features": list(column.features), "content_type": column.content_type, "note": column.note}
    return told | {key: value for key, value in extra.items() if value}
