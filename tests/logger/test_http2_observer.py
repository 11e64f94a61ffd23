"""What is recorded of a connection whose bytes were written by hand, however they are split."""

from itertools import pairwise

import pytest
from grpc_stage import (
    ACK,
    ANSWER,
    BOTH,
    CALL,
    INFER,
    REST,
    TRAILERS,
    WHOLE,
    Seen,
    Steps,
    Talk,
    changed,
    data,
    frame,
    interleaved,
    message,
    reset,
    seen,
    set_table,
)
from hypothesis import given
from hypothesis import strategies as st

from wayside.logger.http2.observer import ConnectionObserver, Http2Counts
from wayside.logger.settings import Capture, Sampling

JSON = [(":status", "200"), ("content-type", "application/json")]


def rest(method: str = "POST") -> Talk:
    talk = Talk()
    asked = changed(REST, content_type="application/json")
    asked[0] = (":method", method)
    return talk.client(talk.asks(1, asked), data(1, b"as"), data(1, b"ked", end=True))


def with_interim_head() -> Talk:
    talk = rest()
    talk.server(talk.answers(1, [(":status", "103"), ("link", "</style.css>")]))
    return talk.server(talk.answers(1, JSON), data(1, b"to"), data(1, b"ld", end=True))


def with_trailers() -> Talk:
    talk = Talk()
    asked = talk.asks(1, REST), data(1, b"asked"), talk.asks(1, [("digest", "abc")], end=True)
    talk.client(*asked)
    return talk.server(talk.answers(1, JSON), data(1, b"told"), talk.answers(1, [("digest", "abc")], end=True))


def with_a_promise() -> Talk:
    """The promise's block changes the table that the answer is written with."""
    talk = Talk().infers(1, b"asked")
    block = talk.answers.encoder.encode([*REST, ("x-promised", "yes")])
    return talk.server(frame(5, 4, 1, (2).to_bytes(4) + block)).answered(1, b"told")


def with_another_table() -> Talk:
    """The server asks for a table without entries; the client says that it took that, and only then does so."""
    talk = Talk().server(set_table(0)).infers(1, b"asked").client(ACK, ACK)
    talk.asks.encoder.header_table_size = 0
    return talk.answered(1, b"told").infers(3, b"asked").answered(3, b"told")


RECORDED = {
    "an inference": (Talk().infers(1, b"asked").answered(1, b"told"), BOTH),
    "in TorchServe's package": (
        Talk()
        .infers(1, b"asked", path="/org.pytorch.serve.grpc.openinference.GRPCInferenceService/ModelInfer")
        .answered(1, b"told"),
        BOTH,
    ),
    "with a named codec": (
        Talk().infers(1, b"asked", content_type="application/grpc+proto").answered(1, b"told"),
        BOTH,
    ),
    "REST": (with_interim_head(), BOTH),
    "REST with trailers": (with_trailers(), BOTH),
    "behind a promise": (with_a_promise(), BOTH),
    "with another header table": (with_another_table(), BOTH * 2),
    "two at once": (
        interleaved(),
        [("request", b"asked"), ("request", b"other"), ("response", b"to1"), ("response", b"to3")],
    ),
    "reset after its answer": (Talk().infers(1, b"asked").answered(1, b"told").server(reset(1, 0)), BOTH),
    "an answer that breaks off": (
        (talk := Talk().infers(1, b"asked")).server(talk.answers(1, ANSWER), data(1, message(b"told!")[:-1]), reset(1)),
        BOTH,
    ),
    "a request that is given up": (
        (talk := Talk()).client(talk.asks(1, CALL), data(1, message(b"asked")[:-1]), reset(1)),
        [],
    ),
    "an answer before the request's end": (
        (talk := Talk())
        .client(talk.asks(1, CALL), data(1, message(b"asked")[:-1]))
        .answered(1, b"told")
        .client(reset(1)),
        [],
    ),
    "a streaming method": (
        Talk().infers(1, b"a", b"b", path=INFER.replace("ModelI", "ModelStreamI")).answered(1, b"c"),
        [],
    ),
    "another service": (Talk().infers(1, b"a", path="/grpc.health.v1.Health/Check").answered(1, b"b"), []),
    "gRPC-Web": (Talk().infers(1, b"a", content_type="application/grpc-web+proto").answered(1, b"b"), []),
    "a tunnel": (rest("CONNECT").server(), []),
    "a probe": (Talk().infers(1, b"a", user_agent="kube-probe/1.31").answered(1, b"b"), []),
    "an answer to nothing": (Talk().answered(1, b"told"), []),
}


@pytest.mark.parametrize("name", RECORDED)
def test_what_passes_is_recorded(name: str) -> None:
    talk, expected = RECORDED[name]
    got = seen(talk)
    assert got.bodies == expected
    assert got.is_balanced()
    assert (got.lost, got.counts.unreadable, got.observer.open_streams) == ({}, 0, 0)


@pytest.mark.parametrize("name", RECORDED)
def test_bytes_that_come_singly_are_recorded_alike(name: str) -> None:
    talk, expected = RECORDED[name]
    singly = [(side, bytes((byte,))) for side, sent in talk.steps for byte in sent]
    assert Seen().follow(singly).closed().bodies == expected


@given(st.lists(st.lists(st.integers(0, 2_200), max_size=8), min_size=len(WHOLE), max_size=len(WHOLE)))
def test_any_split_is_recorded_alike(cuts: list[list[int]]) -> None:
    steps: Steps = []
    for (side, sent), at in zip(WHOLE, cuts, strict=True):
        edges = sorted({0, len(sent), *(cut for cut in at if cut < len(sent))})
        steps += [(side, sent[start:end]) for start, end in pairwise(edges)]
    assert Seen().follow(steps).closed().bodies == Seen().follow(WHOLE).closed().bodies


# what events say


def test_an_event_of_rest_says_what_one_of_http_1_says() -> None:
    _, answered = seen(with_interim_head()).kept.events
    said = answered.extensions
    assert (said["path"], said["method"], said["statuscode"]) == ("/v1/models/m:predict", "POST", "200")
    assert answered.datacontenttype == "application/json"
    assert "grpcstatus" not in said


def test_authority_is_the_host() -> None:
    asked = seen(with_interim_head(), Capture(metadata_headers=frozenset({"host"}))).kept.events[0]
    assert asked.extensions["metadata"] == '{"Host":["model"]}'


def test_an_error_in_trailers_alone_is_an_answer_without_data() -> None:
    talk = Talk().infers(1, b"asked")
    failed = [*ANSWER, ("grpc-status", "3"), ("grpc-message", "secret")]
    got = seen(talk.server(talk.answers(1, failed, end=True)))
    assert got.bodies == [("request", b"asked"), ("response", b"")]
    assert got.kept.events[1].extensions["grpcstatus"] == "3"
    assert "secret" not in str(got.kept.events)


@pytest.mark.parametrize(("compressed", "said"), [(True, "gzip"), (False, None)])
def test_a_message_says_by_itself_whether_it_is_compressed(compressed: bool, said: str | None) -> None:
    talk = Talk()
    sent = message(b"asked", compressed=compressed)
    talk.client(talk.asks(1, changed(CALL, grpc_encoding="gzip")), data(1, sent, end=True))
    talk.server(
        talk.answers(1, changed(ANSWER, grpc_encoding="gzip")), data(1, sent), talk.answers(1, TRAILERS, end=True)
    )
    got = seen(talk)
    assert [event.extensions.get("contentencoding") for event in got.kept.events] == [said, said]


def test_an_answer_that_broke_off_is_marked() -> None:
    got = seen(RECORDED["an answer that breaks off"][0])
    assert [event.extensions.get("truncated") for event in got.kept.events] == [None, "true"]


def test_an_answer_on_its_way_when_the_connection_ends_is_marked() -> None:
    talk = Talk().infers(1, b"asked")
    got = seen(talk.server(talk.answers(1, ANSWER), data(1, message(b"told"))))
    assert (got.bodies, got.kept.events[1].extensions["truncated"]) == (BOTH, "true")


def test_requests_that_the_server_will_not_serve_are_not_waited_for() -> None:
    talk = Talk().infers(1, b"asked").infers(3, b"late").server(frame(7, 0, 0, (1).to_bytes(4) + bytes(4)))
    got = Seen().follow(talk.steps)
    assert got.observer.open_streams == 1
    assert got.follow(talk.answered(1, b"told").steps[-1:]).observer.open_streams == 0


def test_without_a_recorder_streams_are_followed() -> None:
    talk = Talk().infers(1, b"asked")
    observer = ConnectionObserver(None, Http2Counts())
    for side, sent in talk.steps:
        (observer.client_sent if side == "client" else observer.server_sent)(sent)
    assert (observer.open_streams, observer.last_stream_id) == (1, 1)


def test_a_request_that_is_sampled_out_holds_nothing() -> None:
    got = seen(Talk().infers(1, b"asked").answered(1, b"told"), Capture(sampling=Sampling(share=0.0)))
    assert (got.bodies, got.recorder.counts.sampled_out, got.recorder.counts.responses) == ([], 1, {200: 1})
