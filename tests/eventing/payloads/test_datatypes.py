"""Packed values against numpy, and every size that does not fit against its reason."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.datatypes import (
    FLOATS,
    INTEGER_RANGES,
    ITEM_BYTES,
    Packed,
    check_packed,
    check_shape,
    pack_elements,
    packed_elements,
    tensor_datatype,
    unpack,
)
from wayside.eventing.payloads.payload import Datatype, Limits

NUMPY = {
    Datatype.BOOL: "?",
    Datatype.UINT8: "u1",
    Datatype.UINT16: "<u2",
    Datatype.UINT32: "<u4",
    Datatype.UINT64: "<u8",
    Datatype.INT8: "i1",
    Datatype.INT16: "<i2",
    Datatype.INT32: "<i4",
    Datatype.INT64: "<i8",
    Datatype.FP16: "<f2",
    Datatype.FP32: "<f4",
    Datatype.FP64: "<f8",
}
LIMITS = Limits(rows=100, dimensions=4)


@given(st.sampled_from(sorted(NUMPY)), st.data())
def test_packed_values_read_as_numpy_reads_them(datatype: Datatype, data: st.DataObject) -> None:
    array = data.draw(numpy_st.arrays(NUMPY[datatype], numpy_st.array_shapes(max_dims=4, max_side=4)))
    packed = array.tobytes()

    check_packed(datatype, array.shape, packed)

    assert repr(Packed(packed, datatype).row_values(array.shape)) == repr(array.tolist())
    assert repr(Packed(memoryview(packed), datatype).row_values(array.shape)) == repr(array.tolist())


@given(st.lists(st.integers(0, 0xFFFF), min_size=1))
def test_a_bf16_is_the_upper_half_of_an_fp32(halves: list[int]) -> None:
    packed = np.array(halves, "<u2").tobytes()
    wide = (np.array(halves, "<u4") << 16).view("<f4")

    assert repr(unpack(packed, Datatype.BF16)) == repr(wide.tolist())


def test_every_byte_but_zero_is_true() -> None:
    assert unpack(b"\x00\x01\x02\xff", Datatype.BOOL) == [False, True, True, True]


@given(st.lists(st.binary(max_size=20)))
def test_elements_come_back_as_they_were_packed(elements: list[bytes]) -> None:
    packed = pack_elements(elements)

    check_packed(Datatype.BYTES, (len(elements),), packed)

    assert packed == b"".join(struct.pack("<I", len(element)) + element for element in elements)
    assert packed_elements(memoryview(packed)) == elements


def test_an_element_is_its_text_or_base64() -> None:
    packed = pack_elements(["Käse".encode(), b"", b"\xff\x00"])

    assert Packed(packed, Datatype.BYTES).row_values((3,)) == ["Käse", "", {"b64": "/wA="}]
    assert Packed(packed, Datatype.BYTES).row_values((3, 1)) == [["Käse"], [""], [{"b64": "/wA="}]]


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (b"\x01", "BYTES element at byte 0: its length is cut off"),
        (b"\x00\x00\x00\x00\x01\x00", "BYTES element at byte 4: its length is cut off"),
        (b"\x02\x00\x00\x00x", "BYTES element at byte 0: needs 2 bytes, 1 are left"),
        (b"\xff\xff\xff\xffabc", "BYTES element at byte 0: needs 4294967295 bytes, 3 are left"),
        (b"\x00\x00\x00\x00", "shape [2] needs 2 BYTES elements, data has 1"),
    ],
)
def test_elements_that_do_not_fit_are_refused(packed: bytes, reason: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        check_packed(Datatype.BYTES, (2,), packed)

    assert str(caught.value) == reason


@pytest.mark.parametrize("datatype", sorted(ITEM_BYTES))
@pytest.mark.parametrize("off", [-1, 1])
def test_bytes_that_do_not_fill_a_shape_are_refused(datatype: Datatype, off: int) -> None:
    expected = 6 * ITEM_BYTES[datatype]
    check_packed(datatype, (2, 3), bytes(expected))

    with pytest.raises(MalformedPayload) as caught:
        check_packed(datatype, (2, 3), bytes(expected + off))

    assert str(caught.value) == f"{datatype} of shape [2, 3] needs {expected} bytes, data has {expected + off}"


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((), "shape has 0 dimensions, expected 1 to 4"),
        ((1, 1, 1, 1, 1), "shape has 5 dimensions, expected 1 to 4"),
        ((2, -1), "shape [2, -1] has a negative size"),
        ((101,), "shape has 101 rows, the limit is 100"),
        ((101, 0), "shape has 101 rows, the limit is 100"),
        ((100, 2, 0), "shape [100, 2, 0] holds no value, yet more than 100 empty lists"),
        ((0, -3), "shape [0, -3] has a negative size"),
        ((1, 10**4000, 10**4000), "shape has a size beyond 64 bits"),
        ((1, -(10**4000), 10**4000), "shape has a size beyond 64 bits"),
    ],
)
def test_shapes_out_of_bounds_are_refused(shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        check_shape(shape, LIMITS)

    assert str(caught.value) == reason


@pytest.mark.parametrize("shape", [(0,), (0, 5), (100,), (3, 1 << 62), (100, 0), (50, 2, 0), (0, 1 << 62)])
def test_shapes_within_bounds_pass(shape: tuple[int, ...]) -> None:
    check_shape(shape, LIMITS)


@pytest.mark.parametrize(
    ("shape", "rows"), [((0,), []), ((0, 3), []), ((2, 0), [[], []]), ((2, 0, 3), [[], []]), ((1, 2, 0), [[[], []]])]
)
def test_an_empty_tensor_has_the_rows_of_its_shape(shape: tuple[int, ...], rows: list[object]) -> None:
    check_packed(Datatype.FP32, shape, b"")

    assert Packed(b"", Datatype.FP32).row_values(shape) == rows


@pytest.mark.parametrize("name", [datatype for datatype in Datatype if datatype is not Datatype.JSON])
def test_a_datatype_is_known_by_its_name_in_either_case(name: str) -> None:
    assert tensor_datatype(name) == tensor_datatype(name.lower()) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [("JSON", "'JSON'"), ("STRING", "'STRING'"), ("", "''"), (None, "of type NoneType"), (3, "of type int")],
)
def test_a_name_that_is_no_datatype_is_refused(name: object, shown: str) -> None:
    with pytest.raises(MalformedPayload, match=f"^datatype is {shown}, not one of BOOL, UINT8"):
        tensor_datatype(name)


@pytest.mark.parametrize("datatype", sorted(INTEGER_RANGES))
def test_a_range_is_what_numpy_holds(datatype: Datatype) -> None:
    limits, integers = np.iinfo(NUMPY[datatype]), INTEGER_RANGES[datatype]

    assert (integers.start, integers.stop) == (limits.min, limits.max + 1)


def test_every_datatype_is_integer_float_bool_bytes_or_json() -> None:
    assert set(INTEGER_RANGES) | FLOATS | {Datatype.BOOL, Datatype.BYTES, Datatype.JSON} == set(Datatype)


def test_no_number_of_rows_allows_many_empty_lists() -> None:
    check_shape((100, 0, 4), Limits())
    with pytest.raises(MalformedPayload, match="more than 100 empty lists"):
        check_shape((10, 11, 0), Limits())
