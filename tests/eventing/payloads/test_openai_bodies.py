"""OpenAI-style bodies: chat, completions, embeddings, re-ranking, streams."""

import base64
import json
import struct
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Datatype, Kind, Limits, Payload
from wayside.eventing.payloads.protocols import openai

LIMITS = Limits()
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
PARTS = [
    {"type": "text", "text": "what is"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9999}},
    {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    {"type": "input_audio", "input_audio": {"data": "AAAA"}},
]


def _user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _choice(index: int, **message: Any) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", **message}, "finish_reason": "stop"}


def _base64_floats(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(
    ("body", "kind", "rows"),
    [
        (
            {"messages": [{"role": "system", "content": "be brief"}, _user("2+2=")], "stream": True},
            "request",
            [{"messages": "system: be brief\nuser: 2+2=", "system": "be brief", "user": "2+2="}],
        ),
        (
            {"messages": [_user(PARTS)]},
            "request",
            [
                {
                    "messages": "user: what is\n[image_url image/png]\n[image_url https://example.org/a.png]\n[input_audio]",
                    "user": "what is\n[image_url image/png]\n[image_url https://example.org/a.png]\n[input_audio]",
                }
            ],
        ),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "x", "content": "y"}]},
            "request",
            [{"messages": f"assistant: {json.dumps([CALL])}\nx: y", "assistant": json.dumps([CALL])}],
        ),
        ({"prompt": "a"}, "request", ["a"]),
        ({"prompt": ["a", "b"]}, "request", ["a", "b"]),
        ({"prompt": [1, 2, 3]}, "request", [[1, 2, 3]]),
        ({"prompt": [[1, 2], [3]]}, "request", [[1, 2], [3]]),
        ({"input": ["a"], "model": "m"}, "request", ["a"]),
        (
            {"query": "q", "documents": ["a", {"text": "b"}]},
            "request",
            [{"query": "q", "document": "a"}, {"query": "q", "document": "b"}],
        ),
        ({"choices": [_choice(0, content="a")]}, "response", [{"content": "a", "finish_reason": "stop"}]),
        (
            {"choices": [_choice(1, content="b"), _choice(0, content="a")]},
            "response",
            [{"content": ["a", "b"], "finish_reason": ["stop", "stop"]}],
        ),
        (
            {"choices": [_choice(0, content=None, tool_calls=[CALL])]},
            "response",
            [{"content": None, "tool_calls": json.dumps([CALL]), "finish_reason": "stop"}],
        ),
        ({"choices": [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]}, "response", ["a", "b"]),
        ({"object": "list", "data": [{"index": 0, "embedding": [0.5, 1.5]}]}, "response", [[0.5, 1.5]]),
        ({"data": [{"index": 0, "embedding": _base64_floats(0.5, 1.5)}]}, "response", [[0.5, 1.5]]),
        (
            {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]},
            "response",
            [{"relevance_score": 0.1, "index": 0}, {"relevance_score": 0.9, "index": 1}],
        ),
        (
            {"results": [{"index": 1, "score": 0.9, "document": {"text": "d"}}]},
            "response",
            [
                {"relevance_score": None, "index": None, "document": None},
                {"relevance_score": 0.9, "index": 1, "document": "d"},
            ],
        ),
        ({"text_input": "a", "parameters": {"stream": False}}, "request", ["a"]),
        ({"text_input": ["a", "b"], "max_tokens": [[1], [1]]}, "request", ["a", "b"]),
        ({"text_output": "b", "model_name": "m"}, "response", ["b"]),
        ({"generated_text": "b", "details": {}}, "response", ["b"]),
    ],
)  # fmt: skip
def test_rows(body: Any, kind: str, rows: list[Any]) -> None:
    assert openai.claims(body)
    payload = openai.read({"id": "i", "model": "m", **body}, None, LIMITS)
    assert (payload.kind, payload.id, payload.model) == (kind, "i", "m")
    assert payload.row_values() == rows


def test_one_chat_is_one_row_however_many_choices() -> None:
    payload = openai.read({"choices": [_choice(n, content="x") for n in range(3)]}, None, LIMITS)
    assert [(column.datatype, column.shape) for column in payload.columns] == [(Datatype.BYTES, (1, 3))] * 2


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        ([], None, "none of chat"),
        ({}, None, "none of chat"),
        ({"messages": []}, None, "'messages' is empty"),
        ({"messages": ["hi"]}, None, "message 0 is not an object with a 'role'"),
        ({"messages": [_user(3)]}, None, "content is a number"),
        ({"messages": [_user([3])]}, None, "a part of a message's content is a number"),
        ({"prompt": None}, None, "'prompt' is null"),
        ({"prompt": []}, None, "'prompt' is a list"),
        ({"prompt": [{}]}, None, "neither text nor a list of tokens"),
        ({"query": "q", "documents": "d"}, None, "'documents' is a text"),
        ({"choices": []}, None, "'choices' is no list of objects, or is empty"),
        ({"choices": [1]}, None, "'choices' holds what is no object"),
        ({"choices": [{"index": 0}]}, None, "neither a 'text' nor a 'message'"),
        ({"choices": [_choice(0), _choice(0)]}, None, "no index of their own|have no index"),
        ({"data": [{"embedding": "?"}]}, None, "row 0: 'embedding' is not base64"),
        ({"data": [{"embedding": "AAA="}]}, None, "2 bytes, no whole number of FP32"),
        ({"prompt": "a"}, Kind.RESPONSE, "a response was expected, and the body is a request: it has 'prompt'"),
    ],
)
def test_refusals(body: Any, kind: Kind | None, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        openai.read(body, kind, LIMITS)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"query": "q" * 20_000, "documents": ["d"] * 1_000}, "too long to stand beside 1000 documents"),
        ({"query": [1], "documents": ["d"]}, "'query' is a list, expected text"),
        ({"results": [{"index": 10_000, "score": 1}]}, "an 'index' each"),
        ({"results": [{"index": -1, "score": 1}]}, "an 'index' each"),
    ],
)
def test_a_small_body_becomes_no_large_table(body: Any, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        openai.read(body, None, LIMITS)


@pytest.mark.parametrize("body", [None, [], {}, {"input": "a"}, {"messages": "a"}, {"results": [1]}, {"data": {}}])
def test_other_documents_are_not_claimed(body: Any) -> None:
    assert not openai.claims(body)


def _stream(*chunks: Any, done: bool = True, end: str = "\n") -> bytes:
    events = [*(json.dumps(chunk) for chunk in chunks), *(["[DONE]"] if done else [])]
    return "".join(f"data: {event}{end}{end}" for event in events).encode()


def _delta(index: int = 0, reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}


def _read(body: bytes) -> Payload:
    return openai.read_stream(body, LIMITS)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_stream_is_the_answer_that_it_makes_up(end: str) -> None:
    usage = {"choices": [], "usage": {"total_tokens": 3}}
    payload = _read(
        _stream(
            _delta(role="assistant"), _delta(content="He"), _delta(content="llo"), _delta(reason="stop"), usage, end=end
        )
    )
    assert (payload.kind, payload.id, payload.model) == (Kind.RESPONSE, "c", "m")
    assert payload.row_values() == [{"content": "Hello", "finish_reason": "stop"}]
    assert payload.columns[0].note is None  # fmt: skip


def test_choices_of_a_stream_are_kept_apart() -> None:
    assert _read(_stream(_delta(1, content="b"), _delta(0, content="a"), _delta(1, content="B"))).row_values() == [
        ["a", "bB"]
    ]


def test_a_stream_of_a_completion() -> None:
    chunks = [{"choices": [{"index": 0, "text": text}]} for text in ("4", "2")]
    assert _read(b": comment\nevent: x\n" + _stream(*chunks)).row_values() == ["42"]


def test_tool_calls_of_a_stream_are_joined() -> None:
    first = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = [{"index": 0, "function": {"arguments": text}} for text in ('{"x"', ":1}")]
    payload = _read(_stream(*(_delta(tool_calls=[fragment]) for fragment in (first, *more))))
    (calls,) = json.loads(payload.row_values()[0]["tool_calls"])
    assert calls == CALL


def test_a_stream_that_was_cut_off_is_read_as_far_as_it_came() -> None:
    body = _stream(_delta(content="Hel"), done=False) + b'data: {"choices": [{"del'
    (column,) = _read(body).columns
    assert (column.row_values(), column.note) == (["Hel"], "the stream ended before [DONE]")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no chunk with a choice"),
        (_stream(), "no chunk with a choice"),
        (b"data: x\n\n", "event 0 of the stream: body is not JSON"),
        (_stream(_delta(content="a"), {"error": "boom"}), "event 1 of the stream: it is no chunk"),
        (_stream({"choices": [{"index": "0"}]}), "a choice without an index"),
        (_stream(_delta(tool_calls=[1])), "a fragment of a tool call"),
        (_stream([1]), "it is no chunk"),
    ],
)
def test_streams_that_are_refused(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        _read(body)


def test_a_long_stream_takes_linear_time() -> None:
    body = _stream(*[_delta(content="word ")] * 50_000)
    started = time.process_time()
    assert _read(body).row_values() == ["word " * 50_000]
    assert time.process_time() - started < 20


@given(
    st.lists(
        st.sampled_from(
            [
                b"data:",
                b"data: ",
                b"{}",
                b'{"choices":[',
                b'{"index":0,"text":"a"}',
                b"]}",
                b"\n",
                b"\r",
                b"[DONE]",
                b":",
                b"\xff",
            ]
        )
    )
)
def test_no_stream_raises_anything_but_malformed(pieces: list[bytes]) -> None:
    with suppress(MalformedPayload):
        _read(b"".join(pieces))
