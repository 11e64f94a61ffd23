"""Rows in V1 and V2 payloads, and the arrays made of them."""

import json
import math
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.payloads.arrays import to_matrix
from wayside.eventing.payloads.protocols import Rows, read_request, read_response


def _tensor(shape: Any, data: Any, name: Any = "x") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": "FP64", "data": data}


def _inputs(*tensors: Any) -> bytes:
    return json.dumps({"inputs": tensors}).encode()


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b'{"instances":[[1,2],[3,4]]}', [[1, 2], [3, 4]]),
        (b'{"instances":[1.5,"a",null,{"x":1}]}', [1.5, "a", None, {"x": 1}]),
        (b'{"instances":[]}', []),
        (b'{"parameters":{},"instances":[[1]],"inputs":[]}', [[1]]),
    ],
)
def test_v1_instances_are_the_rows(body: bytes, rows: list[Any]) -> None:
    assert read_request(body) == Rows("v1", rows)


@pytest.mark.parametrize(
    ("tensors", "rows", "names"),
    [
        ([_tensor([2, 2], [1, 2, 3, 4])], [[1, 2], [3, 4]], ("x",)),
        ([_tensor([2, 2], [[1, 2], [3, 4]])], [[1, 2], [3, 4]], ("x",)),
        ([_tensor([2], [1, 2])], [1, 2], ("x",)),
        ([_tensor([2, 1], [1, 2])], [[1], [2]], ("x",)),
        ([_tensor([2, 1], [[1], [2]])], [[1], [2]], ("x",)),
        ([_tensor([1, 2, 2], [1, 2, 3, 4])], [[[1, 2], [3, 4]]], ("x",)),
        ([_tensor([2, 1, 2], [1, 2, 3, 4])], [[[1, 2]], [[3, 4]]], ("x",)),
        ([_tensor([0, 4], [])], [], ("x",)),
        ([_tensor([0], [])], [], ("x",)),
        ([], [], ()),
        (
            [_tensor([2], [1, 2], "a"), _tensor([2], ["p", "q"], "b")],
            [{"a": 1, "b": "p"}, {"a": 2, "b": "q"}],
            ("a", "b"),
        ),
        ([_tensor([1, 2], [1, 2], "a"), _tensor([1], [3], "b")], [{"a": [1, 2], "b": 3}], ("a", "b")),
    ],
)
def test_v2_tensors_give_one_value_a_row(tensors: list[Any], rows: list[Any], names: tuple[str, ...]) -> None:
    read = read_request(_inputs(*tensors))
    assert (read.protocol, list(read.rows), tuple(read.names)) == ("v2", rows, names)
    assert len(read) == len(rows)


def test_responses_have_their_own_names() -> None:
    assert read_response(b'{"predictions":[1,2]}').rows == [1, 2]
    assert read_response(json.dumps({"outputs": [_tensor([2], [1, 2])]}).encode()).rows == [1, 2]
    with pytest.raises(MalformedEvent, match="predictions"):
        read_response(b'{"instances":[1]}')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b"\xff\xfe\xfd",
        b"[" * 100_000,
        b'{"instances":' + b"9" * 5000 + b"}",
        b"{}",
        b'{"instances":{}}',
        b'{"instances":"rows"}',
        b'{"inputs":{}}',
        b'{"inputs":null}',
        b'{"inputs":[]} binary tail',
        _inputs(None),
        _inputs([]),
        _inputs("tensor"),
        _inputs({}),
        _inputs(_tensor([1], [1], None)),
        _inputs(_tensor([1], [1], 1)),
        _inputs(_tensor(None, [1])),
        _inputs(_tensor([], [1])),
        _inputs(_tensor("1", [1])),
        _inputs(_tensor([1.0], [1])),
        _inputs(_tensor([True], [1])),
        _inputs(_tensor([-1], [1])),
        _inputs(_tensor([2**63], [1])),
        _inputs(_tensor([2**62] * 65, [1])),
        _inputs(_tensor([2**62, 2**62], [1])),
        _inputs(_tensor(["1"], [1])),
        _inputs(_tensor([1], None)),
        _inputs(_tensor([1], {"a": 1})),
        _inputs(_tensor([1], "a")),
        _inputs({"name": "x", "shape": [1], "parameters": {"binary_data_size": 8}}),
        _inputs(_tensor([2, 2], [1, 2, 3])),
        _inputs(_tensor([2, 2], [1, 2, 3, 4, 5])),
        _inputs(_tensor([3], [1, 2])),
        _inputs(_tensor([2, 2], [[1, 2], [3, 4], [5, 6]])),
        _inputs(_tensor([3, 0], [])),
        _inputs(_tensor([10**12, 0], [])),
        _inputs(_tensor([2], [1, 2], "a"), _tensor([3], [1, 2, 3], "b")),
        _inputs(_tensor([1], [1], "a"), _tensor([1], [2], "a")),
    ],
)
def test_payloads_without_rows_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        read_request(body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 4) | st.floats() | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=8,
)
_SHAPES = st.lists(st.integers(0, 3), max_size=3) | _JSON
_TENSORS = st.fixed_dictionaries({"name": st.sampled_from(["a", "b"]), "shape": _SHAPES, "data": _JSON}) | _JSON


@given(st.lists(_TENSORS, max_size=3), st.sampled_from(["inputs", "instances"]))
def test_no_payload_raises_anything_but_malformed(values: list[Any], member: str) -> None:
    with suppress(MalformedEvent):
        to_matrix(read_request(json.dumps({member: values}).encode()))


@given(st.binary())
def test_no_bytes_raise_anything_but_malformed(body: bytes) -> None:
    with suppress(MalformedEvent):
        read_request(body)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_flat_and_nested_data_are_the_same_rows(shape: list[int], data: st.DataObject) -> None:
    flat = data.draw(st.lists(st.integers(), min_size=math.prod(shape), max_size=math.prod(shape)))
    nested = np.array(flat, dtype=object).reshape(shape).tolist()
    assert (
        read_request(_inputs(_tensor(shape, flat))).rows == read_request(_inputs(_tensor(shape, nested))).rows == nested
    )


@pytest.mark.parametrize(
    ("rows", "matrix"),
    [
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        ([1, 2], [[1], [2]]),
        ([[[1, 2], [3, 4]]], [[1, 2, 3, 4]]),
        ([[True, False]], [[1, 0]]),
        ([[1.5, 2]], [[1.5, 2]]),
        ([[math.inf, math.nan]], [[math.inf, math.nan]]),
        ([[2**63]], [[2.0**63]]),
    ],
)
def test_rows_become_a_matrix(rows: list[Any], matrix: list[list[float]]) -> None:
    array = to_matrix(Rows("v1", rows))
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, np.array(matrix, dtype=float))


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [[], []],
        [[[]]],
        [[1, 2], [3]],
        [[1, 2], 3],
        [["1"]],
        [[1, "a"]],
        [[None]],
        [{"a": 1}],
        [[10**30]],
        [[10**400, 1.5]],
        [[1, None]],
        json.loads("[" * 80 + "1" + "]" * 80),
    ],
)
def test_rows_that_make_no_matrix(rows: list[Any]) -> None:
    with pytest.raises(MalformedEvent):
        to_matrix(Rows("v1", rows))


def test_the_width_is_the_detectors() -> None:
    assert to_matrix(Rows("v1", [[1, 2]]), features=2).shape == (1, 2)
    with pytest.raises(MalformedEvent, match="3 features, the detector was fitted on 2"):
        to_matrix(Rows("v1", [[1, 2, 3]]), features=2)


def test_values_that_are_not_finite_reach_the_matrix() -> None:
    assert np.isnan(to_matrix(read_request(b'{"instances":[[NaN,1]]}'))[0, 0])
