"""JSON values as columns: shapes and types, notes why not, and number blocks that read as their lists do."""

import json
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Datatype, Kind, Limits, NumberBlock, Payload
from wayside.eventing.payloads.protocols import detector_results, openai, seldon, v1, v2_json
from wayside.eventing.payloads.rows import table_of
from wayside.eventing.payloads.tensors import column_of, datatype_of, unnest
from wayside.eventing.payloads.typed_tensors import typed_column

LIMITS = Limits()
READERS = (detector_results, v2_json, v1, seldon, openai)
NUMBERS = st.integers(-(2**66), 2**66) | st.floats()
SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@dataclass(frozen=True)
class ListBlock(NumberBlock):
    """A block as a faster loader makes one, of nested lists."""

    nested: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return unnest(self.nested, LIMITS).shape

    @property
    def datatype(self) -> Datatype:
        return datatype_of(unnest(self.nested, LIMITS).items)

    @property
    def bounds(self) -> tuple[float, float]:
        items = unnest(self.nested, LIMITS).items
        return min(items), max(items)

    def tolist(self) -> list[Any]:
        return list(self.nested)


def with_blocks(value: Any) -> Any:
    """The tree with a block for each member that is a tensor of numbers, as the arrays layer loads it."""
    if isinstance(value, dict):
        return {name: with_blocks(each) for name, each in value.items()}
    if not isinstance(value, list):
        return value
    with suppress(MalformedPayload):
        if datatype_of(unnest(value, LIMITS).items) in (Datatype.INT64, Datatype.UINT64, Datatype.FP64):
            return value if "null" in json.dumps(value) else ListBlock(value)
    return [with_blocks(each) for each in value]


@pytest.mark.parametrize(
    ("rows", "datatype", "shape"),
    [
        ([[1, 2], [3, 4]], "INT64", (2, 2)),
        ([1, 2**64 - 1], "UINT64", (2,)),
        ([-(2**63)], "INT64", (1,)),
        ([1, 2.5], "FP64", (2,)),
        ([2**53, 0.5], "FP64", (2,)),
        ([2**60, 0.5], "FP64", (2,)),
        ([2**53 + 2, None], "FP64", (2,)),
        ([None, 1.5, None], "FP64", (3,)),
        ([[math.nan], [math.inf]], "FP64", (2, 1)),
        ([True, False], "BOOL", (2,)),
        (["a", None], "BYTES", (2,)),
        ([[["a"]], [["b"]]], "BYTES", (2, 1, 1)),
        ([{"b64": "aGk="}, None], "BYTES", (2,)),
        ([[{"b64": "aGk="}]], "BYTES", (1, 1)),
    ],
)
def test_columns_of_one_type(rows: list[Any], datatype: str, shape: tuple[int, ...]) -> None:
    column = column_of("x", rows, LIMITS)
    assert (column.datatype, column.shape, column.note, column.row_values()) == (datatype, shape, None, rows)


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        ([], "there is no value"),
        ([[], []], "there is no value"),
        ([None, None], "every value is null"),
        ([1, True], "mixes true/false with numbers"),
        ([1, "a", None], "mixes text with numbers with null"),
        ([True, None], "mixes true/false with null"),
        ([{"a": 1}], "values are objects"),
        ([2**64], "holds an integer beyond 64 bits"),
        ([2**64 - 1, -1], "holds an integer beyond 64 bits"),
        ([2**53 + 1, 0.5], "holds an integer that float64 would round, beside floats"),
        ([2**53 + 1, None], "holds an integer that float64 would round, beside null"),
        ([10**400, 0.5], "holds an integer that float64 would round, beside floats"),
        ([[1, 2], [3]], "rows are ragged: row 0 has 2 values, row 1 has 1 value"),
        ([[[1], [2]], [[3], [4, 5]]], "rows are ragged: row 0 has 1 value, row 1 has 2 values"),
        ([[[1], [2, 3]]], "rows are ragged: row 0 holds one part that has 1 value, and one that has 2 values"),
        ([[1], 2], "rows are ragged: row 0 has lists, row 1 has numbers"),
        ([[1], None], "rows are ragged: row 0 has lists, row 1 is null"),
        (json.loads("[" * 40 + "1" + "]" * 40), "values have more than 32 dimensions"),
    ],
)
def test_what_is_no_tensor_is_json_with_a_note(rows: list[Any], note: str) -> None:
    column = column_of("x", rows, LIMITS)
    assert (column.datatype, column.shape, column.note) == (Datatype.JSON, (len(rows),), note)
    assert column.row_values() == rows


@given(SHAPES, st.data())
def test_rectangular_numbers_are_what_numpy_sees(shape: list[int], data: st.DataObject) -> None:
    size = math.prod(shape)
    nested = np.array(data.draw(st.lists(NUMBERS, min_size=size, max_size=size)), object).reshape(shape).tolist()
    column = column_of("x", nested, LIMITS)
    assert repr(column.row_values()) == repr(nested)
    if column.datatype is not Datatype.JSON:
        assert column.shape == tuple(shape)
        array = np.array(nested, {"INT64": "i8", "UINT64": "u8", "FP64": "f8"}[column.datatype])
        assert repr(array.astype(object).tolist()) == repr(nested) or column.datatype is Datatype.FP64
        np.testing.assert_array_equal(array, np.array(nested, object).astype(array.dtype))
    else:
        assert column.note is not None


@given(st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=3), max_leaves=20).map(lambda value: [value]))
def test_a_block_and_its_lists_give_one_column(rows: list[Any]) -> None:
    plain, block = column_of("x", rows, LIMITS), column_of("x", with_blocks(rows), LIMITS)
    assert (plain.datatype, plain.shape, plain.note) == (block.datatype, block.shape, block.note)
    assert repr(plain.row_values()) == repr(block.row_values())


@pytest.mark.parametrize(
    ("rows", "names", "named"),
    [
        ([{"a": 1, "b": [1, 2]}, {"b": [3, 4], "c": "x"}], {"a": "FP64", "b": "INT64", "c": "BYTES"}, True),
        ([{"a": {"n": 1}}], {"a": "JSON"}, True),
        ([[1, "a", True], [2.5, None, False]], {"0": "FP64", "1": "BYTES", "2": "BOOL"}, True),
        ([["a", 1, None]], {"0": "BYTES", "1": "INT64", "2": "JSON"}, True),
        ([[{"b64": "aGk="}, 3]], {"0": "BYTES", "1": "INT64"}, True),
        ([[1, "a"], ["b", 2]], {"x": "JSON"}, False),
        ([[2**53 + 1, 0.5]], {"x": "JSON"}, False),
        ([[1, "a"], [2]], {"x": "JSON"}, False),
        ([["a", [1]]], {"x": "JSON"}, False),
        ([{}, {}], {"x": "JSON"}, False),
        ([{"a": 1}, [1]], {"x": "JSON"}, False),
        ([{"b64": "aGk="}], {"x": "BYTES"}, False),
        ([{"b64": "aGk=", "n": 1}], {"b64": "BYTES", "n": "INT64"}, True),
    ],
)
def test_rows_as_a_table(rows: list[Any], names: dict[str, str], named: bool) -> None:
    table = table_of("x", rows, LIMITS)
    assert {column.name: column.datatype for column in table.columns} == names
    assert table.named is named


def test_objects_that_share_few_names_stay_objects() -> None:
    rows: list[Any] = [{} for _ in range(20_000)] + [{str(n): n for n in range(5_000)}]
    (column,) = table_of("x", rows, LIMITS).columns
    assert column.note == "rows are objects that share few names"


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([1, 2, 3], "3 rows, the limit is 2"),
        ([{str(n): n for n in range(4)}], "4 names, the limit is 3 columns"),
        ([{"b64": "aGk="}, {"b64": "?"}], "row 1: 'b64' is not base64"),
        ([{"a": {"b64": "?"}}], "column 'a': row 0: 'b64' is not base64"),
    ],
)
def test_tables_that_are_refused(rows: list[Any], reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        table_of("x", rows, Limits(rows=2, columns=3))


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "found", "values"),
    [
        ("FP32", [2, 2], [1, 2.5, None, math.inf], (2, 2), [[1, 2.5], [None, math.inf]]),
        ("FP32", [2, 2], [[1, 2], [3, 4]], (2, 2), [[1, 2], [3, 4]]),
        ("FP32", [4, 1], [[1, 2], [3, 4]], (4, 1), [[1], [2], [3], [4]]),
        ("INT8", [2], [-128, 127], (2,), [-128, 127]),
        ("UINT64", [1], [2**64 - 1], (1,), [2**64 - 1]),
        ("BOOL", [3], [True, 0, 1], (3,), [True, 0, 1]),
        ("BYTES", [2], ["a", None], (2,), ["a", None]),
        ("BYTES", -1, "text", (1,), ["text"]),
        ("BYTES", [], ["text"], (1,), ["text"]),
        ("INT64", [], 5, (1,), [5]),
        ("INT64", None, [[1, 2]], (1, 2), [[1, 2]]),
        ("INT64", 2, [1, 2], (2,), [1, 2]),
        ("INT64", [-1, 2], [1, 2, 3, 4], (2, 2), [[1, 2], [3, 4]]),
        ("INT64", [0, 4], [], (0, 4), []),
        ("BYTES", [-1], [104, 105], (1,), [{"b64": "aGk="}]),
        ("BYTES", [2], [104, 105], (1,), [{"b64": "aGk="}]),
        ("BYTES", [1], [{"words": ["a"]}], (1,), [{"words": ["a"]}]),
    ],
)
def test_declared_tensors(datatype: str, shape: Any, data: Any, found: tuple[int, ...], values: list[Any]) -> None:
    for given_data in (data, with_blocks(data)):
        column = typed_column("x", Datatype(datatype), shape, given_data, LIMITS)
        assert (column.shape, column.row_values()) == (found, values)


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "reason"),
    [
        ("INT32", [1, 2], [1, 3.5], r"3.5 at \[0, 1\] is no INT32"),
        ("INT32", [2], [1, 1.0], r"1.0 at \[1\] is no INT32"),
        ("INT32", [2], [1, 2**40], r"1099511627776 at \[1\] is beyond INT32"),
        ("UINT8", [2], [-1, 0], r"-1 at \[0\] is beyond UINT8"),
        ("INT64", [2], [1, None], r"null at \[1\] is no INT64"),
        ("INT64", [1], [True], r"True at \[0\] is no INT64"),
        ("INT64", [1], [math.nan], "is no INT64"),
        ("BOOL", [2], [True, 2], r"2 at \[1\] is beyond BOOL"),
        ("BOOL", [1], [0.0], "is no BOOL"),
        ("FP32", [1], ["1.5"], r"'1.5' at \[0\] is no FP32"),
        ("FP64", [1], [10**400], "is beyond FP64"),
        ("BYTES", [1], [1.5], "1.5 at .* is no BYTES"),
        ("BYTES", [2], [1, 300], "BYTES take text"),
        ("BYTES", [2, 2], [[1, 2], [3, 4]], "BYTES take text"),
        ("BYTES", [5], [1, 2], "2 octets of one element do not fill shape"),
        ("BYTES", [2], ["a", {"b64": "aGk="}], "mixes text with 'b64' objects"),
        ("BYTES", [1], [{"b64": "?"}], "row 0: 'b64' is not base64"),
        ("FP32", [2, 2], [1, 2, 3], r"3 values do not fill shape \[2, 2\], which needs 4"),
        ("FP32", [2, 2], [], r"there is no data for shape \[2, 2\], which needs 4"),
        ("FP32", [2], [[1], [2, 3]], "rows are ragged: row 0 has 1 value, row 1 has 2 values"),
        ("FP32", [-1, 2], [1, 2, 3], "3 values do not fill shape"),
        ("FP32", [-1, -1], [1, 2, 3], "negative size"),
        ("FP32", [-1, 0], [], "do not fill shape"),
        ("FP32", ["2"], [1, 2], "is no list of sizes"),
        ("FP32", [2.0], [1, 2], "is no list of sizes"),
        ("FP32", [True], [1], "is no list of sizes"),
        ("FP32", [2**63], [1], "is no list of sizes"),
        ("FP32", [2**62] * 40, [1], "40 dimensions"),
        ("FP32", {"dim": 1}, [1], "is no list of sizes"),
        ("FP32", [10**12, 0], [], "rows, the limit is"),
    ],
)
def test_declared_tensors_that_do_not_fit(datatype: str, shape: Any, data: Any, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        typed_column("x", Datatype(datatype), shape, data, LIMITS)


@pytest.mark.parametrize(
    ("datatype", "data", "reason"),
    [
        (Datatype.INT32, [1, 1.5], r"1.5 at \[1\] is no INT32"),
        (Datatype.INT8, [1, 128], r"128 at \[1\] is beyond INT8"),
        (Datatype.UINT64, [-1, 1], r"-1 at \[0\] is beyond UINT64"),
        (Datatype.BOOL, [0, 2], r"2 at \[1\] is beyond BOOL"),
    ],
)
def test_a_block_that_does_not_fit_is_refused_by_its_place(datatype: Datatype, data: Any, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        typed_column("x", datatype, [2], ListBlock(data), LIMITS)


_WORDS = st.sampled_from(
    ["instances", "inputs", "outputs", "predictions", "name", "shape", "datatype", "data", "parameters", "contents",
     "tensor", "values", "ndarray", "tftensor", "names", "jsonData", "strData", "binData", "request", "truth", "reward",
     "meta", "is_outlier", "is_drift", "instance_score", "messages", "role", "content", "choices", "message", "index",
     "text", "prompt", "input", "model", "embedding", "results", "relevance_score", "query", "documents", "b64",
     "dtype", "tensorShape", "dim", "size", "floatVal", "status", "tool_calls", "binary_data_size", "id"]
)  # fmt: skip
_TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats()
    | st.sampled_from(["", "a", "FP32", "DT_INT32", "aGk="]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=25,
)


def _seen(tree: Any, reader: Any, kind: Kind | None) -> str:
    """What is read, values and all, or the refusal."""
    try:
        payload: Payload = reader.read(tree, kind, LIMITS)
    except MalformedPayload as exc:
        return f"refused: {exc}"
    columns = [(each.name, each.datatype, each.shape, each.content_type, each.note) for each in payload.columns]
    assert all(len(each.row_values()) == payload.rows for each in payload.columns)
    return repr((payload.kind, payload.id, payload.model, payload.named, columns, payload.row_values()))


@given(_TREES, st.sampled_from(READERS), st.none() | st.sampled_from(Kind))
@example({"inputs": [0]}, v2_json, None)
@example({"outputs": [[0, 1]]}, v2_json, None)
def test_no_tree_raises_anything_but_malformed_and_blocks_change_nothing(tree: Any, reader: Any, kind: Any) -> None:
    reader.claims(tree)
    assert _seen(tree, reader, kind) == _seen(with_blocks(tree), reader, kind)
