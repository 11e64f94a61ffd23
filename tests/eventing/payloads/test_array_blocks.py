"""The fast JSON loader against the strict one: the same values of the same types, or the same refusal."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from math import nextafter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads import json_body
from wayside.eventing.payloads.arrays.json_blocks import ArrayBlock, load, read_block
from wayside.eventing.payloads.payload import Datatype, Limits, NumberBlock, flatten

LIMITS = Limits()
SPACES = b" " * 600  # makes any array large enough to be cut


def _plain(tree: Any) -> Any:
    if isinstance(tree, NumberBlock):
        return tree.tolist()
    if isinstance(tree, list):
        return [_plain(item) for item in tree]
    return {name: _plain(value) for name, value in tree.items()} if isinstance(tree, dict) else tree


def _outcome(loaded: Any, body: bytes, limits: Limits) -> str:
    """Values with their types (repr tells 1 from 1.0 and -0.0 from 0.0), or the reason."""
    try:
        return repr(_plain(loaded(body, limits)))
    except MalformedPayload as exc:
        return f"refused: {exc}"


def _blocks(tree: Any) -> Iterator[ArrayBlock]:
    if isinstance(tree, ArrayBlock):
        yield tree
    for item in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _blocks(item)


def _agree(body: bytes, limits: Limits = LIMITS) -> str:
    outcome = _outcome(load, body, limits)
    assert outcome == _outcome(json_body.load, body, limits)
    return outcome


CUT: list[tuple[bytes, Datatype, tuple[int, ...]]] = [
    (b"[@1]", Datatype.INT64, (1,)),
    (b"[@1, -2]", Datatype.INT64, (2,)),
    (b"[@[1,2],[3,4],[5,6]]", Datatype.INT64, (3, 2)),
    (b"[@[[1],[2]],[[3],[4]],[[5],[6]]]", Datatype.INT64, (3, 2, 1)),
    (b"[@[\t1 , 2\r\n] , [ 3,4 ] ]", Datatype.INT64, (2, 2)),
    (b"[@-0]", Datatype.INT64, (1,)),
    (b"[@9007199254740993]", Datatype.INT64, (1,)),
    (b"[@-9223372036854775808, 9223372036854775807]", Datatype.INT64, (2,)),
    (b"[@9223372036854775808, 0]", Datatype.UINT64, (2,)),
    (b"[@18446744073709551615]", Datatype.UINT64, (1,)),
    (b"[@0.1, -0.0]", Datatype.FP64, (2,)),
    (b"[@1e-05]", Datatype.FP64, (1,)),
    (b"[@1E5, 1]", Datatype.FP64, (2,)),
    (b"[@-0, 0.5]", Datatype.FP64, (2,)),
    (b"[@9007199254740991, 0.5]", Datatype.FP64, (2,)),
    (b"[@1e-400, 5e-324]", Datatype.FP64, (2,)),
    (b"[@1.7976931348623157e308]", Datatype.FP64, (1,)),
    (b"[@9007199254740993.0]", Datatype.FP64, (1,)),
    (b"[@" + b"[" * 31 + b"1.5" + b"]" * 32, Datatype.FP64, (1,) * 32),
]
LEFT = [
    b"[@]",
    b"[@[]]",
    b"[@[],[]]",
    b"[@[1],[]]",
    b"[@[],[1]]",
    b"[@[1,2],[3]]",
    b"[@[1],[2,3]]",
    b"[@[1],2]",
    b"[@1,[2]]",
    b"[@[[1]],[2]]",
    b"[@[[1,2]],[[3],[4]]]",
    b"[@[[1],[2]],[[3,4]]]",
    b"[@[[1,2,3],[4,5]],[[6],[7,8]]]",
    b"[@1e400]",
    b"[@-1e400, 1]",
    b"[@NaN]",
    b"[@-Infinity]",
    b"[@null, 1]",
    b"[@true]",
    b"[@18446744073709551616]",
    b"[@-9223372036854775809]",
    b"[@-1, 18446744073709551615]",
    b"[@9007199254740993, 0.5]",
    b"[@-9007199254740993, 0.5]",
    b"[@1e20, 1]",
    b"[@" + b"9" * 400 + b"]",
    b"[@" + b"9" * 5000 + b"]",
    b"[@" + b"[" * 32 + b"1" + b"]" * 33,
    b"[@" + b"[" * 80 + b"1" + b"]" * 81,
    b"[@01]",
    b"[@1.]",
    b"[@.5]",
    b"[@+1]",
    b"[@1 2]",
    b"[@1,]",
    b"[@,1]",
    b"[@1],[2]",
    b"[@1]]",
    b"[[@1]",
    b"[@1\x00]",
    b"[@1/2]",
]
AROUND = [
    b'{"a":@}',
    b'\xef\xbb\xbf { "a" : @ } ',
    b'{"a":{"b":[{"c":@},{"c":1}]}}',
    b'{"a":@,"b":@}',
    b'{"a":@,"a":1}',
    b'{"a":"@"}',
    b'{"a":":@"}',
    b'{"a":"\\":@"}',
    b'{"a":"\\\\":@}',
    b'{"a":"\\\\":@"}',
    b'{":":@,"b":"x:@"}',
    b'{"a":@,"b":-0.0e-7770}',
    b'{"a":@,"b":"-0.0e-7770"}',
    b'{"a":@ 5}',
    b'{"a":@5}',
    b'{"a":5@}',
    b'{"a":-@}',
    b'{"a":@@}',
    b'{"a":@,}',
    b'{"a":@]}',
    b'{"a":@',
    b"{:@}",
    b"{@:1}",
    b':@:"',
    b"[@]",
    b"@",
    b'{"a":@}{}',
    b'{"\xff":@}',
    b"{'a':@}",
    b"[" * 63 + b'{"a":@}' + b"]" * 63,
    b"[" * 62 + b'{"a":@}' + b"]" * 62,
]


@pytest.mark.parametrize(("text", "datatype", "shape"), CUT)
def test_rectangular_exact_numbers_become_a_block(text: bytes, datatype: Datatype, shape: tuple[int, ...]) -> None:
    array = text.replace(b"@", SPACES)
    block = load(b'{"instances": %b}' % array, LIMITS)["instances"]
    assert isinstance(block, ArrayBlock)
    assert (block.datatype, block.shape) == (datatype, shape)
    numbers = flatten(json.loads(array))
    assert block.bounds == (min(numbers), max(numbers))
    assert repr(block.tolist()) == repr(json.loads(array))


@pytest.mark.parametrize("text", LEFT)
def test_what_is_in_doubt_is_left_to_the_strict_loader(text: bytes) -> None:
    body = b'{"instances": %b}' % text.replace(b"@", SPACES)
    outcome = _agree(body)
    assert outcome.startswith("refused") or not list(_blocks(load(body, LIMITS)))


@pytest.mark.parametrize("around", AROUND)
def test_every_array_in_every_place(around: bytes) -> None:
    for text in [text for text, _, _ in CUT] + LEFT:
        _agree(around.replace(b"@", text.replace(b"@", SPACES)))


def test_depth_counts_what_lies_within_a_block() -> None:
    body = b'{"a":[@[[1]]]}'.replace(b"@", SPACES)
    assert _agree(body, Limits(depth=4)).startswith("{")
    assert list(_blocks(load(body, Limits(depth=4))))
    assert "3 levels" in _agree(body, Limits(depth=3))


def test_small_arrays_and_other_bodies_stay_lists() -> None:
    assert load(b'{"a":[1,2.5]}', LIMITS) == {"a": [1, 2.5]}
    with pytest.raises(MalformedPayload):
        load(b"", LIMITS)


def test_a_block_shows_which_integers_stood_among_floats() -> None:
    array = SPACES.join([b"[", b"1,2.5,-0,1e3]"])
    block = load(b'{"a":%b}' % array, LIMITS)["a"]
    assert repr(block.tolist()) == "[1, 2.5, 0, 1000.0]"
    np.testing.assert_array_equal(block.array, [1.0, 2.5, 0.0, 1000.0])


_INTEGERS = st.integers(-(2**65), 2**65) | st.integers(-9, 9) | st.sampled_from([2**53, 2**53 + 1, 2**63, 2**64 - 1])
_NUMBERS = st.floats() | _INTEGERS | st.floats(allow_nan=False, allow_infinity=False)
_ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(_NUMBERS, min_size=width, max_size=width), min_size=1)
)
_FLAT_INTEGERS = st.lists(_INTEGERS, min_size=1, max_size=5)
_JSON = st.recursive(
    _NUMBERS | st.none() | st.booleans() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
_PIECES = [
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b'"',
    b"\\",
    b"1",
    b"-",
    b".",
    b"e",
    b"null",
    b"NaN",
    b" ",
    b"\n",
    b"1e999",
]


@given(st.dictionaries(st.text(max_size=3), _ROWS | _FLAT_INTEGERS | _JSON, max_size=4))
def test_documents_are_read_alike(document: Any) -> None:
    _agree(_spaced(json.dumps(document).encode()))
    _agree(json.dumps(document, indent=200).encode())


@given(st.dictionaries(st.text(max_size=3), _ROWS | _JSON, min_size=1, max_size=3), st.data())
def test_mutated_documents_are_read_alike(document: Any, data: st.DataObject) -> None:
    body = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at, size = data.draw(st.integers(0, len(body))), data.draw(st.integers(0, 3))
        body[at : at + size] = data.draw(st.sampled_from(_PIECES) | st.binary(max_size=3))
    _agree(_spaced(bytes(body)))


def _spaced(body: bytes) -> bytes:
    return body.replace(b"[", b"[" + SPACES)


@given(st.text(alphabet='[],: {}"\\123.e-', max_size=40))
def test_texts_of_json_letters_are_read_alike(text: str) -> None:
    _agree(_spaced(text.encode()))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_are_those_of_python(values: list[float]) -> None:
    near = [nextafter(value, 0) for value in values]
    text = json.dumps([values, near]).encode()
    block = read_block(text, 2)
    if block is None:  # a number without a point beside one so large: integers that a float rounds may be among them
        assert max(map(abs, values + near)) >= 2**53
        assert text.count(b".") < 2 * len(values)
    else:
        assert repr(block.tolist()) == repr([values, near])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.data())
def test_shapes_are_those_of_numpy(shape: list[int], data: st.DataObject) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    text = bytearray(json.dumps(array.tolist()).encode())
    block = read_block(bytes(text), 5)
    assert block is not None
    np.testing.assert_array_equal(block.array, array, strict=True)
    brackets = [at for at, byte in enumerate(text) if byte in b"[],"]
    text[data.draw(st.sampled_from(brackets))] = data.draw(st.sampled_from(b"[], "))
    broken = read_block(bytes(text), 5)
    if broken is not None:
        np.testing.assert_array_equal(broken.array, np.array(json.loads(text)), strict=True)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' + b"[" * 2_000_000,
        b'{"a":' + b"[1,2,3" * 300_000,
        b":[" * 1_000_000,
        b":[]" * 700_000,
        b":[}" * 700_000,
        b'":[' * 700_000,
        (b':[%b],"' % SPACES) * 3_000,
        b'{"a":[' + b"[" * 31 + b"1]," * 600_000,
        b'{"a":"' + (b":[" + b"1" * 600 + b"]") * 3_000 + b'"}',
    ],
    ids=lambda body: body[:12].decode(),
)
def test_hostile_bodies_take_linear_time(body: bytes) -> None:
    started = time.process_time()
    with suppress(MalformedPayload):
        load(body, LIMITS)
    whole = time.process_time() - started
    assert whole < 3.0, "2 MB took longer than any linear reading does"


def test_threads_do_not_share_a_parser() -> None:
    bodies = [json.dumps({"a": np.full((40, 40), number + 0.5).tolist()}).encode() for number in range(4)]
    failed: list[int] = []

    def read(number: int) -> None:
        for _ in range(50):
            if not (load(bodies[number], LIMITS)["a"].array == number + 0.5).all():
                failed.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_an_array_beyond_the_kept_parsers_size_is_read() -> None:
    array = np.arange(900_000.0).reshape(-1, 9)
    block = load(json.dumps({"a": array.tolist()}).encode(), LIMITS)["a"]
    np.testing.assert_array_equal(block.array, array, strict=True)
