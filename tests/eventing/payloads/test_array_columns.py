"""Columns as numpy arrays: every datatype from lists, blocks and packed bytes; BYTES by their content type."""

import json
import struct
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.arrays.columns import DTYPES, to_array
from wayside.eventing.payloads.arrays.json_blocks import read_block
from wayside.eventing.payloads.datatypes import FLOATS, INTEGER_RANGES, Packed, pack_elements
from wayside.eventing.payloads.payload import Block, Column, Datatype, FlatList, Values, flatten
from wayside.eventing.payloads.tensors import TreeRows

Make = Callable[[list[Any]], Values]


def _rows(nested: list[Any]) -> Values:
    return TreeRows(nested)


def _flat(nested: list[Any]) -> Values:
    return FlatList(flatten(nested))


def _block(nested: list[Any]) -> Values:
    block = read_block(json.dumps(nested).encode(), 32)
    assert block is not None
    return Block(block)


def _flat_block(nested: list[Any]) -> Values:
    return _block(flatten(nested))


LISTS: list[Make] = [_rows, _flat]
MAKES: list[Make] = [*LISTS, _block, _flat_block]


def _column(datatype: Datatype, values: Values, shape: tuple[int, ...], **more: Any) -> Column:
    return Column("x", datatype, shape, values, **more)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("datatype", sorted(INTEGER_RANGES))
def test_integers_have_their_type_at_both_ends_of_its_range(make: Make, datatype: Datatype) -> None:
    bounds = INTEGER_RANGES[datatype]
    nested = [[bounds[0], 1], [bounds[-1], 2]]
    array = to_array(_column(datatype, make(nested), (2, 2)))
    assert (array.dtype, array.tolist()) == (DTYPES[datatype], nested)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("datatype", sorted(set(INTEGER_RANGES) - {Datatype.INT64, Datatype.UINT64}))
def test_an_integer_out_of_range_is_named_with_its_place(make: Make, datatype: Datatype) -> None:
    over = INTEGER_RANGES[datatype][-1] + 1
    with pytest.raises(MalformedPayload, match=rf"column 'x': {over} at \[1, 0\] is beyond {datatype}"):
        to_array(_column(datatype, make([[0, 1], [over, 2]]), (2, 2)))


@pytest.mark.parametrize("make", LISTS)
@pytest.mark.parametrize("value", [2**63, 2**64, 10**400, -(2**63) - 1])
def test_an_integer_beyond_64_bits_is_named_with_its_place(make: Make, value: int) -> None:
    with pytest.raises(MalformedPayload, match=r"at \[0, 1\] is beyond INT64"):
        to_array(_column(Datatype.INT64, make([[0, value]]), (1, 2)))


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("datatype", sorted(FLOATS))
def test_floats_take_integers_and_are_rounded_as_the_model_rounds(make: Make, datatype: Datatype) -> None:
    array = to_array(_column(datatype, make([[1, 0.1], [-2, 0.5]]), (2, 2)))
    assert array.dtype == DTYPES[datatype]
    np.testing.assert_array_equal(array, np.array([[1, 0.1], [-2, 0.5]], DTYPES[datatype]))


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("datatype", [Datatype.FP16, Datatype.FP32])
def test_a_float_too_large_for_its_type_is_infinite_as_in_the_model(make: Make, datatype: Datatype) -> None:
    assert to_array(_column(datatype, make([[1.5e300, -1.5e300]]), (1, 2))).tolist() == [[np.inf, -np.inf]]


@pytest.mark.parametrize("make", LISTS)
@pytest.mark.parametrize("datatype", sorted(FLOATS))
def test_null_is_nan_in_floats(make: Make, datatype: Datatype) -> None:
    np.testing.assert_array_equal(to_array(_column(datatype, make([[None, 1], [2, 3]]), (2, 2))), [[np.nan, 1], [2, 3]])


@pytest.mark.parametrize("datatype", [Datatype.INT32, Datatype.UINT64, Datatype.BOOL])
@pytest.mark.parametrize("items", [[None, 1], ["a", 1], [[1], [2, 3]]])
def test_what_is_no_integer_is_no_integer(datatype: Datatype, items: list[Any]) -> None:
    with pytest.raises(MalformedPayload, match=f"not every value is {datatype}"):
        to_array(_column(datatype, TreeRows(items), (2,)))


@pytest.mark.parametrize("datatype", [Datatype.INT32, Datatype.BOOL])
def test_a_block_of_floats_is_no_integers(datatype: Datatype) -> None:
    with pytest.raises(MalformedPayload, match=f"not every value is {datatype}"):
        to_array(_column(datatype, _block([0.5, 1.5]), (2,)))


@pytest.mark.parametrize("make", LISTS)
def test_booleans_are_true_false_0_and_1(make: Make) -> None:
    for nested in ([[True], [False]], [[1], [0]], [[True], [0]]):
        array = to_array(_column(Datatype.BOOL, make(nested), (2, 1)))
        assert (array.dtype, array.tolist()) == (np.bool_, [[True], [False]])
    assert to_array(_column(Datatype.BOOL, _block([1, 0]), (2,))).tolist() == [True, False]
    with pytest.raises(MalformedPayload, match=r"2 at \[0, 0\] is beyond BOOL"):
        to_array(_column(Datatype.BOOL, make([[2]]), (1, 1)))


@pytest.mark.parametrize("datatype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (2, 0, 4)])
def test_empty_tensors_keep_their_shape(datatype: Datatype, shape: tuple[int, ...]) -> None:
    for values in (FlatList([]), Packed(b"", datatype)):
        array = to_array(_column(datatype, values, shape))
        assert (array.shape, array.dtype) == (shape, DTYPES[datatype])


@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - {Datatype.BF16}))
@given(data=st.data())
def test_packed_bytes_read_as_their_lists(datatype: Datatype, data: st.DataObject) -> None:
    size = DTYPES[datatype].itemsize
    raw = data.draw(st.binary(min_size=6 * size, max_size=6 * size))
    packed = Packed(memoryview(b"?" + raw)[1:], datatype)  # not aligned, as behind a JSON header
    array = to_array(_column(datatype, packed, (2, 3)))
    assert array.dtype == DTYPES[datatype]
    assert repr(array.tolist()) == repr(packed.row_values((2, 3)))


@given(st.lists(st.binary(min_size=2, max_size=2), min_size=1))
def test_bfloat16_is_the_upper_half_of_float32(halves: list[bytes]) -> None:
    array = to_array(_column(Datatype.BF16, Packed(b"".join(halves), Datatype.BF16), (len(halves),)))
    expected = [struct.unpack("<f", b"\x00\x00" + half)[0] for half in halves]
    np.testing.assert_array_equal(array, np.array(expected, np.float32))


def test_text_is_str_and_null_stays_null() -> None:
    column = _column(Datatype.BYTES, FlatList(["a", None, "é", ""]), (2, 2))
    array = to_array(column)
    assert (array.dtype, array.tolist()) == (np.object_, [["a", None], ["é", ""]])
    packed = Packed(pack_elements([b"a", "é".encode()]), Datatype.BYTES)
    assert to_array(_column(Datatype.BYTES, packed, (2, 1))).tolist() == [["a"], ["é"]]


@pytest.mark.parametrize("content_type", ["base64", "image/png"])
def test_encoded_bytes_are_bytes(content_type: str) -> None:
    items = [{"b64": b64encode(b"\xff\x00").decode()}, None]
    assert to_array(_column(Datatype.BYTES, FlatList(items), (2,), content_type=content_type)).tolist() == [
        b"\xff\x00",
        None,
    ]


def test_base64_of_mlserver_is_decoded() -> None:
    column = _column(Datatype.BYTES, FlatList(["/wA="]), (1, 1), content_type="base64")
    assert to_array(column).tolist() == [[b"\xff\x00"]]
    with pytest.raises(MalformedPayload, match="row 0"):
        to_array(_column(Datatype.BYTES, FlatList(["?"]), (1, 1), content_type="base64"))


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(MalformedPayload, match="row 1 is not UTF-8"):
        to_array(_column(Datatype.BYTES, Packed(pack_elements([b"a", b"\xff"]), Datatype.BYTES), (2,)))


def test_datetimes_are_nanoseconds_utc() -> None:
    items = ["2024-02-29T12:00:00+02:00", "2024-02-29T10:00:00Z", "2024-02-29", None, "1969-12-31T23:59:59.999999"]
    array = to_array(_column(Datatype.BYTES, FlatList(items), (5,), content_type="datetime"))
    assert array.dtype == np.dtype("datetime64[ns]")
    assert [str(moment) for moment in array] == [
        "2024-02-29T10:00:00.000000000",
        "2024-02-29T10:00:00.000000000",
        "2024-02-29T00:00:00.000000000",
        "NaT",
        "1969-12-31T23:59:59.999999000",
    ]


@pytest.mark.parametrize(
    ("text", "reason"), [("yesterday", "row 0"), ("0001-01-01", "1678 to 2261"), ("9999-01-01", "1678")]
)
def test_a_datetime_that_is_none_or_does_not_fit_is_refused(text: str, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        to_array(_column(Datatype.BYTES, FlatList([text]), (1,), content_type="datetime"))


def test_a_json_column_is_refused_with_its_note() -> None:
    column = _column(
        Datatype.JSON, TreeRows([[1], [2, 3]]), (2,), note="rows are ragged: row 0 has 1 value, row 1 has 2"
    )
    with pytest.raises(MalformedPayload, match="column 'x' is no tensor: rows are ragged"):
        to_array(column)


def test_a_column_without_rows_of_text_is_empty() -> None:
    assert to_array(_column(Datatype.BYTES, FlatList([]), (0, 2))).shape == (0, 2)
