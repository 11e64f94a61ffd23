"""The reader of a sink's answers: what is one, what is none, whole and byte by byte."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.logger.emit.answers import BODY_LIMIT, FRAMING_LIMIT, HEAD_LIMIT, Answer, AnswerReader, BadAnswer

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

WHOLE = [
    (b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", Answer(202)),
    (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204)),
    (b"HTTP/1.1 204 \r\ncontent-length: 7\r\n\r\n", Answer(204)),
    (b"HTTP/1.1 304\r\n\r\n", Answer(304)),
    (OK + b"Content-Length: 5\r\n\r\nhello", Answer(200, text=b"hello")),
    (OK + b"Content-Length:5 \r\nX:\r\n\r\nhello", Answer(200, text=b"hello")),
    (OK + b"Content-Length: 300\r\n\r\n" + b"x" * 300, Answer(200, text=b"x" * 200)),
    (CHUNKED + b"0\r\n\r\n", Answer(200)),
    (CHUNKED + b"5\r\nhello\r\n1;a=b\r\n!\r\n0\r\nTrailer: x\r\n\r\n", Answer(200, text=b"hello!")),
    (CHUNKED + b"00A \r\nhelloworld\r\n0\r\n\r\n", Answer(200, text=b"helloworld")),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + EMPTY, Answer(200)),
    (OK + b"Content-Length: 0\r\nConnection: Close\r\n\r\n", Answer(200, keeps_alive=False)),
    (OK + b"Content-Length: 0\r\nConnection: x, close\r\n\r\n", Answer(200, keeps_alive=False)),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", Answer(200, keeps_alive=False, pipelines=False)),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", Answer(200, pipelines=False)),
    (b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", Answer(503, 7.0)),
    (b"HTTP/1.1 503 Busy\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n", Answer(503)),
    (b"HTTP/1.1 503 Busy\r\nRetry-After: 9999999\r\nContent-Length: 0\r\n\r\n", Answer(503)),
]  # fmt: skip

BROKEN = [
    b"garbage\r\n\r\n",
    b"\r\n\r\n",
    b"HTTP/2 200 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    OK + b"no colon\r\n\r\n",
    OK + b" folded: x\r\n\r\n",
    OK + b"A: x\r\n y\r\n\r\n",
    OK + b"A : x\r\n\r\n",
    OK + b"A: x\ny\r\n\r\n",
    OK + b"A: x\x00y\r\n\r\n",
    OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
    OK + b"Content-Length: 1, 1\r\n\r\n",
    OK + b"Content-Length: +1\r\n\r\n",
    OK + b"Content-Length: -1\r\n\r\n",
    OK + b"Content-Length: 0x1\r\n\r\n",
    OK + b"Content-Length:\r\n\r\n",
    OK + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + 1),
    OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    OK + b"Transfer-Encoding: identity\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    CHUNKED + b"\r\n",
    CHUNKED + b"x\r\n",
    CHUNKED + b"-1\r\n",
    CHUNKED + b"123456789\r\n",
    CHUNKED + b"ffffffff\r\n",
    CHUNKED + b"2\r\nabc\r\n",
    CHUNKED + b"0\r\nno trailer\r\n",
    CHUNKED + b"1;" + b"x" * 10_000,
    CHUNKED + b"1\r\nx\r\n" * (FRAMING_LIMIT // 3 + 1),
    OK + b"A: " + b"x" * HEAD_LIMIT,
    b"HTTP/1.1 100 Continue\r\n\r\n" * 4000,
]


@pytest.mark.parametrize(("said", "answer"), WHOLE)
def test_an_answer_is_read_whole_and_byte_by_byte_again_and_again(said: bytes, answer: Answer) -> None:
    reader = AnswerReader()
    for _ in range(3):
        assert reader.feed(said) == [answer]
        assert not reader.begun
    for _ in range(2):
        for byte in said[:-1]:
            assert reader.feed(bytes([byte])) == []
            assert reader.begun
        assert reader.feed(said[-1:]) == [answer]


@pytest.mark.parametrize("said", BROKEN)
def test_what_is_no_answer_is_an_error_whole_and_in_pieces(said: bytes) -> None:
    with pytest.raises(BadAnswer):
        AnswerReader().feed(said)
    reader, size = AnswerReader(), 1 if len(said) < 1000 else 999
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    with pytest.raises(BadAnswer):
        assert not any([reader.feed(piece) for piece in pieces])


@pytest.mark.parametrize("said", [answer for answer, _ in WHOLE])
def test_what_comes_after_an_answer_ends_the_connection(said: bytes) -> None:
    (answer,) = AnswerReader().feed(said + b"H")
    assert not answer.keeps_alive


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"", None),
        (OK, None),
        (OK + b"Content-Length: 5\r\n\r\nhell", None),
        (CHUNKED + b"5\r\nhello\r\n", None),
        (OK + b"\r\n", Answer(200, keeps_alive=False)),
        (OK + b"\r\nhello" + b"x" * 500, Answer(200, text=(b"hello" + b"x" * 500)[:200], keeps_alive=False)),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
    ],
)
def test_a_close_ends_an_answer_without_a_length_and_no_other(said: bytes, answer: Answer | None) -> None:
    reader = AnswerReader()
    assert reader.feed(said) == []
    assert reader.end() == answer


SHORT = [said for said in [*(said for said, _ in WHOLE), *BROKEN] if len(said) < 1000]


@given(st.sampled_from(SHORT), st.lists(st.integers(0, 400), max_size=5))
def test_pieces_make_no_difference(said: bytes, at: list[int]) -> None:
    cuts = sorted(min(cut, len(said)) for cut in at)
    pieces = [said[a:b] for a, b in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    assert outcome(pieces) == outcome([said])


def outcome(pieces: list[bytes]) -> list[Answer] | str:
    reader = AnswerReader()
    try:
        return [answer for piece in pieces if piece for answer in reader.feed(piece)]
    except BadAnswer:
        return "bad"


@given(st.binary(max_size=300), st.sampled_from([b"", OK, CHUNKED, OK + b"Content-Length: 3\r\n\r\n"]))
def test_whatever_comes_is_read_or_refused(noise: bytes, start: bytes) -> None:
    reader = AnswerReader()
    with suppress(BadAnswer):
        reader.feed(start + noise)
        reader.end()
