"""Rows as a matrix of features: by position of one tensor, by name of several columns, and what makes none."""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.arrays import decode, to_matrix
from wayside.eventing.payloads.payload import Column, Datatype, FlatList, Kind, Message, Payload, Protocol
from wayside.eventing.payloads.tensors import TreeRows

A = Column("a", Datatype.INT64, (2,), FlatList([1, 2]))
B = Column("b", Datatype.FP64, (2, 2), FlatList([0.5, 1.5, 2.5, None]))
C = Column("c", Datatype.BOOL, (2, 1), FlatList([True, False]))
TEXT = Column("t", Datatype.BYTES, (2,), FlatList(["x", "y"]))
RAGGED = Column(
    "r", Datatype.JSON, (2,), TreeRows([[1], [2, 3]]), note="rows are ragged: row 0 has 1 value, row 1 has 2"
)
NAMED = Column("data", Datatype.FP64, (2, 3), FlatList([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), features=("x", "y", "z"))


def _payload(*columns: Column, named: bool = True) -> Payload:
    return Payload(Protocol.V2, Kind.REQUEST, columns, named=named)


def _decoded(document: Any) -> Payload:
    return decode(Message(json.dumps(document).encode(), Kind.REQUEST))


@pytest.mark.parametrize(
    ("columns", "names", "matrix"),
    [
        ([A], None, [[1], [2]]),
        ([A], ["a"], [[1], [2]]),
        ([B], None, [[0.5, 1.5], [2.5, np.nan]]),
        ([A, B, C], ["a", "b", "c"], [[1, 0.5, 1.5, 1], [2, 2.5, np.nan, 0]]),
        ([A, B, C], ["c", "a"], [[1, 1], [0, 2]]),
        ([C, A, TEXT], ["a", "c"], [[1, 1], [2, 0]]),
        ([NAMED], None, [[1, 2, 3], [4, 5, 6]]),
        ([NAMED], ["z", "x"], [[3, 1], [6, 4]]),
        ([B], ["p", "q"], [[0.5, 1.5], [2.5, np.nan]]),
    ],
)
def test_features_stand_where_the_detector_expects_them(
    columns: Sequence[Column], names: Sequence[str] | None, matrix: list[list[float]]
) -> None:
    made = to_matrix(_payload(*columns), names=names)
    assert made.dtype == np.float64
    np.testing.assert_array_equal(made, np.array(matrix, float))


@pytest.mark.parametrize(
    ("columns", "features", "names", "reason"),
    [
        ([A, B], None, None, "payload has 2 columns, and no names to order them by"),
        ([A, B], None, ["a", "x"], "payload has no feature 'x': it has 'a', 'b'"),
        ([NAMED], None, ["x", "q"], "payload has no feature 'q': it has 'x', 'y', 'z'"),
        ([B], None, ["p"], "rows have 2 features without names, the detector has 1"),
        ([A], 4, None, "rows have 1 features, the detector was fitted on 4"),
        ([A, B], 4, ["a", "b"], "rows have 3 features, the detector was fitted on 4"),
        ([TEXT], None, None, "column 't' is not numeric: it is BYTES"),
        ([RAGGED], None, None, "column 'r' is not numeric: rows are ragged"),
        ([A, RAGGED], None, ["a", "r"], "column 'r' is not numeric: rows are ragged"),
        ([Column("e", Datatype.FP32, (0, 4), FlatList([]))], None, None, "no rows"),
        ([Column("e", Datatype.JSON, (0,), TreeRows([]))], None, None, "no rows"),
        ([Column("e", Datatype.FP32, (2, 0), FlatList([]))], None, None, "rows hold no value"),
        ([Column("e", Datatype.JSON, (2, 0), TreeRows([[], []]))], None, None, "rows hold no value"),
        (
            [Column("i", Datatype.INT64, (2,), FlatList([1, 2**53 + 1]))],
            None,
            None,
            "row 1: float64 would round 9007199254740993",
        ),
        (
            [Column("i", Datatype.INT64, (1, 2), FlatList([1, -(2**63) + 1]))],
            None,
            None,
            "row 0: float64 would round -92233",
        ),
        ([Column("i", Datatype.UINT64, (1,), FlatList([2**64 - 1]))], None, None, "would round 18446744073709551615"),
        ([Column("i", Datatype.UINT8, (1,), FlatList([256]))], None, None, "256 at [0] is beyond UINT8"),
        ([Column("d", Datatype.FP64, (1, 2), FlatList([1.0, 2.0]), features=("x", "x"))], None, ["x"], "share a name"),
    ],
)
def test_what_makes_no_matrix(
    columns: Sequence[Column], features: int | None, names: Sequence[str] | None, reason: str
) -> None:
    with pytest.raises(MalformedPayload, match=re.escape(reason)):
        to_matrix(_payload(*columns), features, names)


def test_integers_that_float64_holds_are_no_refusal() -> None:
    exact = [2**53, -(2**53), 2**62, -(2**63)]
    matrix = to_matrix(_payload(Column("i", Datatype.INT64, (1, 4), FlatList(exact))))
    assert [int(value) for value in matrix[0]] == exact


@given(st.permutations(["a", "b", "c", "d"]))
def test_the_order_in_which_a_client_sends_columns_moves_no_feature(order: list[str]) -> None:
    sent = {"a": 1, "b": 2.5, "c": 3, "d": 4}
    payload = _decoded({"instances": [{name: sent[name] for name in order}] * 2})
    assert to_matrix(payload, names=["a", "b", "c", "d"]).tolist() == [[1, 2.5, 3, 4]] * 2


def test_the_matrix_is_fresh() -> None:
    payload = _decoded({"instances": np.arange(300.0).reshape(-1, 3).tolist()})
    to_matrix(payload)[:] = -1
    assert to_matrix(payload)[0].tolist() == [0, 1, 2]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.sampled_from(["instances", "flat", "nested"]))
def test_rows_of_any_shape_are_flattened_row_major(shape: list[int], form: str) -> None:
    array = np.arange(np.prod(shape)).reshape(shape) / 8
    data = array.ravel().tolist() if form == "flat" else array.tolist()
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": data}
    payload = _decoded({"instances": data} if form == "instances" else {"inputs": [tensor]})
    np.testing.assert_array_equal(to_matrix(payload), array.reshape(shape[0], -1))


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_json_and_binary_of_one_tensor_are_the_same_rows(datatype: str) -> None:
    array = np.random.default_rng(1).random((40, 30)).astype("<f4" if datatype == "FP32" else "<f8")
    head = {"name": "x", "shape": [40, 30], "datatype": datatype}
    binary = json.dumps({"inputs": [{**head, "parameters": {"binary_data_size": array.nbytes}}]}).encode()
    packed = decode(Message(binary + array.tobytes(), Kind.REQUEST, header_length=len(binary)))
    text = _decoded({"inputs": [{**head, "data": array.astype(float).tolist()}]})
    np.testing.assert_array_equal(to_matrix(packed), to_matrix(text), strict=True)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"instances":[]}', "no rows"),
        (b'{"instances":[[]]}', "no value"),
        (b'{"instances":[[],[]]}', "no value"),
        (b'{"instances":[[1,2,3,4],[1,2]]}', "ragged"),
        (b'{"instances":[["1","2"]]}', "not numeric"),
        (b'{"instances":["cat"]}', "not numeric"),
        (b'{"instances":[[1,2,' + b"9" * 400 + b"]]}", "not numeric: holds an integer beyond 64 bits"),
    ],
)
def test_bodies_that_make_no_matrix(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        to_matrix(decode(Message(body)))


def test_values_that_are_not_finite_reach_the_matrix() -> None:
    matrix = to_matrix(decode(Message(b'{"instances":[[NaN,1.5],[1e400,null]]}')))
    np.testing.assert_array_equal(matrix, [[np.nan, 1.5], [np.inf, np.nan]])
