"""JSON bodies read strictly: what is refused, why, and in what time."""

import json
import math
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.json_body import load, load_with
from wayside.eventing.payloads.payload import Limits

LIMITS = Limits()
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


@given(DOCUMENTS, st.booleans(), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_what_json_writes_is_read(document: Any, escape: bool, mark: bytes) -> None:
    assert load(mark + json.dumps(document, ensure_ascii=escape).encode(), LIMITS) == document


@given(st.binary(max_size=200) | DOCUMENTS.map(json.dumps).map(str.encode).map(lambda body: body[: len(body) // 2]))
def test_no_bytes_raise_anything_but_malformed(body: bytes) -> None:
    with suppress(MalformedPayload):
        load(body, LIMITS)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"1e400", math.inf),
        (b"-Infinity", -math.inf),
        (b"Infinity", math.inf),
        (b"18446744073709551616", 2**64),
        (b"-0.0", 0.0),
        (b'"\\ud83d\\ude00 \\\\ud800"', "\U0001f600 \\ud800"),
        (b"\xef\xbb\xbf[1]", [1]),
        (b' {"a" : {}}\n', {"a": {}}),
    ],
)
def test_values(body: bytes, value: Any) -> None:
    assert load(body, LIMITS) == value


def test_nan_is_read() -> None:
    assert math.isnan(load(b"NaN", LIMITS))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "expecting value at line 1 column 1"),
        (b'{"a": 1,\n "b": }', "expecting value at line 2 column 7"),
        (b"[1] x", "text follows the document at line 1 column 5"),
        (b'{"a":1}{"a":1}', "text follows the document"),
        (b'["a]', "unterminated string starting at line 1 column 2"),
        (b"[1,]", "not JSON"),
        (b"\xff\xfe[\x00", "not UTF-8: byte 0 is 0xff"),
        (b'["\xc3"]', "not UTF-8: byte 2 is 0xc3"),
        (b'\xef\xbb\xbf["\xc3"]', "not UTF-8: byte 5 is 0xc3"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'{"a":1,"b":2,"a":1}', "member 'a' is given twice"),
        (b'[{"x":{"":1,"":2}}]', "member '' is given twice"),
        (b'["\\ud83d", 1]', r"\\ud83d at line 1 column 3: half of a surrogate pair"),
        (b'["\\uDE00\\uD83D"]', "half of a surrogate pair"),
        (b"9" * 4301, "more than 4300 digits"),
        (b"[" * 65 + b"]" * 65, "nested more than 64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested more than 64 levels"),
        (b"[{" * 40, "nested more than 64 levels"),
        (b"[" * 64, "not JSON"),
    ],
)
def test_refusals_name_the_place(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        load(body, LIMITS)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 64 + b"]" * 64,
        b'{"a":' * 64 + b"1" + b"}" * 64,
        b'["' + b"[" * 100 + b'"]',
        b'["\\"' + b"[" * 100 + b'"]',
        b"[" + b"[]," * 1000 + b"[]]",
    ],
)
def test_as_deep_as_the_limit_is_read(body: bytes) -> None:
    assert load(body, LIMITS) == json.loads(body)


def test_a_long_name_is_cut() -> None:
    with pytest.raises(MalformedPayload) as caught:
        load(b'{"%b":1,"%b":2}' % (b"n" * 9999, b"n" * 9999), LIMITS)
    assert len(str(caught.value)) < 200


_MILLION = 1_000_000


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10 * _MILLION,
        b'{"a":' * 2 * _MILLION,
        b"[" * 5 * _MILLION + b"]" * 5 * _MILLION,
        b"[]" * 5 * _MILLION,
        b'"' + b'\\"' * 5 * _MILLION,
        b'"' + b"\\" * 10 * _MILLION,
        b'"' + b"\\\\ud" * 2 * _MILLION,
        b"9" * 10 * _MILLION,
        b"[" + b"9" * 4300 + b"," * 5 * _MILLION,
        b"1e" + b"9" * 10 * _MILLION,
        b"\n" * 10 * _MILLION,
    ],
    ids=lambda body: repr(body[:8]),
)
def test_ten_hostile_megabytes_take_linear_time(body: bytes) -> None:
    started = time.process_time()
    with suppress(MalformedPayload):
        load(body, LIMITS)
    assert time.process_time() - started < 10  # a fraction of a second where time is linear, hours where it is not


def test_numbers_with_a_fraction_or_an_exponent_go_through_the_hook() -> None:
    seen: list[str] = []

    def parse(text: str) -> str:
        seen.append(text)
        return text

    assert load_with(b'[1, -0.0e-777, {"a": 2.50}, 1E4, "-0.0e-777"]', LIMITS, parse) == [
        1, "-0.0e-777", {"a": "2.50"}, "1E4", "-0.0e-777",
    ]  # fmt: skip
    assert seen == ["-0.0e-777", "2.50", "1E4"]
