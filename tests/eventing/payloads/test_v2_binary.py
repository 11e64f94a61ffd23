"""Where the JSON object ends and the tensors' bytes begin, with and without the header that says it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.protocols.v2_binary import split

HEADS = [
    b"{}",
    b'{"a": {"b": [{}, {"c": "}"}]}}',
    b'{"a": "\\"}", "b\\\\": "{"}',
    b' \r\n\t{"a": 1}',
    b'\xef\xbb\xbf{"a": 1}',
    '{"name": "Käse } \\u007d"}'.encode(),
]
TAILS = [b"", b"}", b'"', b"\x00\xff{}", b'"}]\\' * 3]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("tail", TAILS)
def test_the_object_ends_with_its_own_brace(head: bytes, tail: bytes) -> None:
    for header_length in (None, len(head)):
        found, rest = split(head + tail, header_length)
        assert (found, bytes(rest)) == (head, tail)


JSON_VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=5), of, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=4), st.binary(max_size=50), st.booleans())
def test_any_object_is_found_before_any_bytes(document: dict[str, object], tail: bytes, ascii_only: bool) -> None:
    head = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    found, rest = split(head + tail, None)

    assert (found, bytes(rest)) == (head, tail)


@pytest.mark.parametrize(
    ("body", "header_length", "reason"),
    [
        (b"{}", 3, "Inference-Header-Content-Length is 3, the body has 2 bytes"),
        (b"{}", -1, "Inference-Header-Content-Length is -1, the body has 2 bytes"),
        (b"\x00\x00", 0, "Inference-Header-Content-Length is 0: Triton's raw binary request names no tensor"),
        (b"", None, "body is no JSON object with binary tensors behind it"),
        (b'[{"a": 1}]', None, "body is no JSON object with binary tensors behind it"),
        (b'{"a": [1, 2', None, "JSON object before the binary tensors does not end within"),
        (b"{" + b"{}" * 1_000_000 + b"}", None, "JSON object before the binary tensors does not end within"),
        (b'{"a": "b}', None, "JSON object is cut off in a string that starts at byte 6"),
        (b'{"a\\', None, "JSON object is cut off in a string that starts at byte 1"),
    ],
)
def test_a_body_that_cannot_be_split_is_refused(body: bytes, header_length: int | None, reason: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        split(body, header_length)

    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    "body", [b"{" * 300_000, b'{"' + b'\\"' * 1_000_000, b'{"a":' + b'""' * 300_000, b'{"' + b"\\" * 2_000_001]
)
def test_hostile_bodies_are_refused_in_linear_time(body: bytes) -> None:
    with pytest.raises(MalformedPayload):
        split(body, None)


def test_the_tail_is_not_copied() -> None:
    body = b"{}" + bytes(1_000)
    assert split(body, 2)[1].obj is body
