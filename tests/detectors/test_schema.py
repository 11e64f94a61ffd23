"""The input schema: payloads and tables become one coded matrix, or are refused with the row and the column."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.detectors.tabular.schema import MOST_CATEGORIES, ColumnSchema, ColumnType, Schema, from_json, to_json
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError, MalformedPayload
from wayside.eventing.payloads.arrays import decode
from wayside.eventing.payloads.payload import Message, Payload

NAN = np.nan
NUMBERS = Schema.of_width(3)
NAMED = Schema(tuple(ColumnSchema(name) for name in ("a", "b", "c")))
MIXED = Schema(
    (
        ColumnSchema("size"),
        ColumnSchema("colour", ColumnType.CATEGORY, ("red", "blue"), missing=True),
        ColumnSchema("age", missing=True),
        ColumnSchema("level", ColumnType.CATEGORY, ("1", "2.5")),
    )
)

KEYED = Schema((ColumnSchema("key", ColumnType.CATEGORY, ("1", "12345678901234567", "18446744073709551615")),))


def payload_of(**body: Any) -> Payload:
    return decode(Message(json.dumps(body).encode()))


def tensor(name: str, values: list[Any], datatype: str = "FP64", shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(values)], "datatype": datatype, "data": values}


@pytest.mark.parametrize(
    ("schema", "body", "expected"),
    [
        (NUMBERS, {"instances": [[1, 2, 3], [4, 5, 6.5]]}, [[1, 2, 3], [4, 5, 6.5]]),
        (NAMED, {"instances": [[1, 2, 3]]}, [[1, 2, 3]]),
        (NAMED, {"instances": [{"c": 3, "a": 1, "b": 2, "more": "x"}]}, [[1, 2, 3]]),
        (NAMED, {"inputs": [tensor("b", [2.0]), tensor("c", [3.0]), tensor("a", [1.0])]}, [[1, 2, 3]]),
        (NUMBERS, {"inputs": [tensor("x", [1, 2, 3], "INT32", [1, 3])]}, [[1, 2, 3]]),
        (MIXED, {"instances": [{"size": 1, "colour": "blue", "age": 2, "level": 2.5}]}, [[1, 1, 2, 1]]),
        (MIXED, {"instances": [{"size": 1, "colour": "green", "age": 2, "level": 1}]}, [[1, 2, 2, 0]]),
        (
            MIXED,
            {
                "inputs": [
                    tensor("level", ["1", "7"], "BYTES"),
                    tensor("size", [1.0, 2.0]),
                    tensor("colour", ["red", "blue"], "BYTES"),
                    tensor("age", [3.0, None]),
                ]
            },
            [[1, 0, 3, 0], [2, 1, NAN, 2]],
        ),
        (KEYED, {"instances": [{"key": 12345678901234567}, {"key": 12345678901234568}, {"key": 1}]}, [[1], [3], [0]]),
        (KEYED, {"inputs": [tensor("key", [12345678901234567, 1], "INT64")]}, [[1], [0]]),
        (KEYED, {"inputs": [tensor("key", [18446744073709551615, 1], "UINT64")]}, [[2], [0]]),
        (KEYED, {"inputs": [tensor("key", [True, False], "BOOL")]}, [[0], [3]]),
        (MIXED, {"instances": [{"size": 1, "colour": None, "age": None, "level": 1}] * 2}, [[1, NAN, NAN, 0]] * 2),
    ],
    ids=lambda each: each if isinstance(each, str) else str(each)[:40] if isinstance(each, dict) else "",
)
def test_payloads_become_coded_rows(schema: Schema, body: dict[str, Any], expected: list[list[float]]) -> None:
    coded = schema.encode(payload_of(**body))
    assert coded.dtype == np.float64
    assert np.array_equal(coded, expected, equal_nan=True)


@pytest.mark.parametrize(
    ("schema", "body", "reason"),
    [
        (NUMBERS, {"instances": [[1, 2]]}, "2 features"),
        (NUMBERS, {"instances": [[1, 2, None]]}, "row 0, column 3: the value is missing or not a number"),
        (NUMBERS, {"instances": [[1, 2, 3], [1, 1e999, 3]]}, "row 1, column 2: the value is infinite"),
        (NUMBERS, {"instances": [["a", "b", "c"]]}, "not numeric"),
        (NUMBERS, {"instances": [[1, 2], [3]]}, "not numeric"),
        (NUMBERS, {"instances": []}, "no rows"),
        (NUMBERS, {"instances": [{"a": 1, "b": 2, "c": 3}]}, "no names to order them by"),
        (NAMED, {"instances": [{"a": 1, "b": 2}]}, "no feature 'c'"),
        (NAMED, {"instances": [{"a": 1, "b": 2, "c": None}]}, "row 0, column 'c': the value is missing"),
        (MIXED, {"instances": [[1, 2, 3, 4]]}, "no feature 'size'"),
        (MIXED, {"instances": [{"size": 1, "colour": "red", "age": 2}]}, "no feature 'level'"),
        (MIXED, {"instances": [{"size": "big", "colour": "red", "age": 2, "level": 1}]}, "'size' is not numeric"),
        (MIXED, {"instances": [{"size": 1, "colour": [["red"], 1], "age": 2, "level": 1}]}, "'colour'"),
        (MIXED, {"instances": [{"size": 1, "colour": ["red", "red"], "age": 2, "level": 1}]}, "2 values in 1 rows"),
        (
            MIXED,
            {
                "inputs": [
                    tensor("size", [1.0, 1.0]),
                    tensor("colour", ["red", "red"], "BYTES"),
                    tensor("age", [2.0, 2.0]),
                    tensor("level", [1.0, None]),
                ]
            },
            "row 1, column 'level': the value is missing",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_payloads_of_another_form_are_refused(schema: Schema, body: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        schema.encode(payload_of(**body))


@pytest.mark.parametrize(
    ("schema", "body", "expected", "faults"),
    [
        (NUMBERS, {"instances": [[1, 2, None]]}, [[1, 2, NAN]], {0: "column 3: the value is missing"}),
        (
            NAMED,
            {"instances": [[1, 2, 3], [-1e999, 2, None], [1, 1e999, 3]]},
            [[1, 2, 3], [-np.inf, 2, NAN], [1, np.inf, 3]],
            {1: "column 'a': the value is infinite", 2: "column 'b': the value is infinite"},
        ),
        (
            MIXED,
            {"instances": [{"size": None, "colour": None, "age": None, "level": None}]},
            [[NAN] * 4],
            {0: "column 'size': the value is missing"},
        ),
        (
            MIXED,
            {"instances": [{"size": 1, "colour": None, "age": None, "level": None}]},
            [[1, NAN, NAN, NAN]],
            {0: "column 'level': the value is missing"},
        ),
        (MIXED, {"instances": [{"size": 1, "colour": None, "age": None, "level": 1}]}, [[1, NAN, NAN, 0]], {}),
    ],
    ids=["null", "infinite", "all null", "category", "may be missing"],
)
def test_values_that_do_not_fit_are_left_and_told(
    schema: Schema, body: dict[str, Any], expected: list[list[float]], faults: dict[int, str]
) -> None:
    coded = schema.align(payload_of(**body))
    assert np.array_equal(coded, expected, equal_nan=True)
    told = schema.faults(coded)
    assert list(told) == list(faults)
    assert all(told[row].startswith(reason) for row, reason in faults.items())


@pytest.mark.parametrize(
    "body",
    [{"instances": [[1, 2]]}, {"instances": [["a", "b", "c"]]}, {"instances": []}],
    ids=["width", "text", "none"],
)
def test_a_payload_of_another_structure_is_refused_by_either_reading(body: dict[str, Any]) -> None:
    for read in (NUMBERS.encode, NUMBERS.align):
        with pytest.raises(MalformedPayload):
            read(payload_of(**body))


def test_a_table_gives_its_schema() -> None:
    table = Table(np.array([[1.0, 0.0], [NAN, 1.0]]), ("n", "c"), {1: ("x", "y")})
    schema = Schema.of(table)
    assert schema.columns == (
        ColumnSchema("n", missing=True),
        ColumnSchema("c", ColumnType.CATEGORY, ("x", "y")),
    )
    assert (schema.names, schema.categorical) == (("n", "c"), (1,))
    assert Schema.of(Table.of(np.zeros((1, 2)))) == Schema.of_width(2)


def test_tables_are_taken_by_name_and_coded_by_the_schemas_categories() -> None:
    values = np.array([[0.0, 2.0, 9.0, 7.0, 1.0], [1.0, 0.0, NAN, 8.0, 2.5]])
    names = ("colour", "other", "age", "size", "level")
    table = Table(values, names, {0: ("blue", "red"), 1: ("p", "q", "r")})
    assert np.array_equal(MIXED.encode_table(table), [[7, 1, 9, 0], [8, 0, NAN, 1]], equal_nan=True)


def test_tables_without_names_are_taken_by_position() -> None:
    assert NAMED.encode_table(Table.of(np.array([[1.0, 2, 3]]))).tolist() == [[1, 2, 3]]
    assert NUMBERS.encode_table(Table.of(np.array([[1.0, 2, 3]]), ("x", "y", "z"))).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (Table.of(np.zeros((1, 2))), "2 features, not 3"),
        (Table.of(np.zeros((1, 2)), ("a", "b")), "no column 'c'"),
        (Table(np.zeros((1, 3)), ("a", "b", "c"), {1: ("x",)}), "column 'b' holds texts"),
        (Table.of(np.array([[0.0, NAN, 0.0]])), "row 0, column 'b': the value is missing"),
        (Table.of(np.array([[0.0, 0.0, np.inf]])), "row 0, column 'c': the value is infinite"),
    ],
    ids=["width", "absent", "texts", "missing", "infinite"],
)
def test_tables_of_another_form_are_refused(table: Table, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"not what the detector was fitted on: .*{reason}"):
        NAMED.encode_table(table)


TEXTS = st.lists(st.text(max_size=8), unique=True, min_size=1, max_size=5)


@given(st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=6), st.booleans())
def test_json_gives_the_same_schema(columns: list[list[str] | None], missing: bool) -> None:
    schema = Schema(
        tuple(
            ColumnSchema(f"c{at}", missing=missing)
            if texts is None
            else ColumnSchema(f"c{at}", ColumnType.CATEGORY, tuple(texts))
            for at, texts in enumerate(columns)
        )
    )
    assert from_json(json.loads(json.dumps(to_json(schema)))) == schema


GOOD = {"name": "a", "type": "category", "categories": ["x"], "missing": False}


@pytest.mark.parametrize(
    "columns",
    [
        [],
        3,
        "abc",
        [3],
        [{**GOOD, "type": "text"}],
        [{**GOOD, "name": 3}],
        [{**GOOD, "name": None}],
        [{**GOOD, "missing": "no"}],
        [{**GOOD, "categories": "xyz"}],
        [{**GOOD, "categories": ["x", 1]}],
        [{**GOOD, "categories": ["x", "x"]}],
        [{**GOOD, "type": "number"}],
        [{**GOOD, "categories": [str(number) for number in range(MOST_CATEGORIES + 1)]}],
        [GOOD, GOOD],
        [GOOD, {**GOOD, "name": None, "type": "number", "categories": []}],
        [{"name": "a"}],
    ],
    ids=lambda each: str(each)[:60],
)
def test_json_of_anything_else_is_refused(columns: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_json(columns)


def test_data_without_a_schema_is_refused() -> None:
    texts = tuple(str(number) for number in range(MOST_CATEGORIES + 1))
    with pytest.raises(ConfigurationError, match=f"column 'id' has {MOST_CATEGORIES + 1} categories"):
        Schema.of(Table(np.zeros((1, 1)), ("id",), {0: texts}))
    with pytest.raises(ConfigurationError, match="two columns named 'a'"):
        Schema.of(Table.of(np.zeros((1, 2)), ("a", "a")))
    with pytest.raises(ConfigurationError, match="names its columns"):
        Schema.of(Table(np.zeros((1, 1)), None, {0: ("x",)}))
