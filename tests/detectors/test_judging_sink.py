"""A detector of pulled events: the same outcomes as over HTTP, and nothing accepted before its verdict is."""

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from wayside.detectors.serving.answering import Answer
from wayside.detectors.serving.judging_sink import JudgingSink
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.errors import MalformedEvent, QueueFull
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, MemorySink, SinkUnavailable
from wayside.eventing.vocabulary import OUTLIER, REQUEST, RESPONSE

ASKED = CloudEvent("1", "/model", REQUEST, b"{}")
SAID = CloudEvent("2", "/detector", OUTLIER, b"{}")
Judge = Callable[[CloudEvent], Awaitable[Answer]]


def answering(answer: Answer | Exception) -> Judge:
    async def judge(event: CloudEvent) -> Answer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return judge


def count(metrics: DetectorMetrics, outcome: str) -> float | None:
    labels = {"detector": metrics.detector, "outcome": outcome}
    return metrics.registry.get_sample_value("wayside_detector_events_total", labels)


async def test_a_verdict_goes_on_before_the_event_is_accepted() -> None:
    verdicts, metrics = MemorySink(failures=[SinkUnavailable("away")]), DetectorMetrics()
    sink = JudgingSink(answering(Answer("scored", SAID)), metrics, verdicts)
    with pytest.raises(SinkUnavailable, match="away"):
        await sink.send(ASKED)
    assert count(metrics, "scored") == 0
    await sink.send(ASKED)
    assert verdicts.events == [SAID]
    assert count(metrics, "scored") == 1


class CountingJudge:
    """Counts what it is asked, by the event's data."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def __call__(self, event: CloudEvent) -> Answer:
        self.asked.append(event.data)
        return Answer("scored", SAID)


async def test_an_event_whose_verdict_waits_is_judged_once() -> None:
    verdicts, judge = MemorySink(failures=[SinkUnavailable("away")] * 3), CountingJudge()
    sink = JudgingSink(judge, DetectorMetrics(), verdicts)
    for _ in range(3):
        with pytest.raises(SinkUnavailable):
            await sink.send(ASKED)
    await sink.send(replace(ASKED, data=b"other"))  # the same key, and yet another event
    await sink.send(ASKED)
    assert judge.asked == [b"{}", b"other"]
    await sink.send(ASKED)  # redelivered, once the verdict is the next stage's
    assert judge.asked == [b"{}", b"other", b"{}"]


async def test_verdicts_that_nobody_asks_for_again_are_forgotten() -> None:
    verdicts, judge = MemorySink(failures=[SinkUnavailable("away")] * 1025), CountingJudge()
    sink = JudgingSink(judge, DetectorMetrics(), verdicts)
    for number in range(1025):
        with pytest.raises(SinkUnavailable):
            await sink.send(replace(ASKED, id=str(number)))
    await sink.send(replace(ASKED, id="1024"))
    assert len(judge.asked) == 1025
    await sink.send(replace(ASKED, id="0"))
    assert len(judge.asked) == 1026


async def test_a_detector_with_an_outbox_needs_no_place_for_replies() -> None:
    metrics = DetectorMetrics()
    sink = JudgingSink(answering(Answer("duplicate")), metrics)
    await sink.start()
    await sink.send(ASKED)
    await sink.stop()
    assert count(metrics, "duplicate") == 1


async def test_what_is_no_request_is_acknowledged_and_not_judged() -> None:
    metrics = DetectorMetrics()
    sink = JudgingSink(answering(MalformedEvent("never asked")), metrics)
    await sink.send(SAID)
    assert count(metrics, "ignored") == 1


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    ("event_type", "said", "is_judged"),
    [
        (REQUEST, {}, True),
        (REQUEST, {"truncated": "true"}, False),
        (REQUEST, {"redaction": "applied"}, True),
        (REQUEST, {"redaction": "withheld"}, False),
        (RESPONSE, {}, True),
        (RESPONSE, {"statuscode": "200", "grpcstatus": "0"}, True),
        (RESPONSE, {"statuscode": "201"}, True),
        (RESPONSE, {"statuscode": "302"}, False),
        (RESPONSE, {"statuscode": "404"}, False),
        (RESPONSE, {"statuscode": "500"}, False),
        (RESPONSE, {"statuscode": "200", "grpcstatus": "5"}, False),
        (RESPONSE, {"statuscode": "200", "truncated": "true"}, False),
        (RESPONSE, {"statuscode": "200", "redaction": "withheld"}, False),
    ],
)
async def test_errors_and_cut_bodies_are_acknowledged_and_not_judged(
    side: Side, event_type: str, said: dict[str, str], is_judged: bool
) -> None:
    judge, metrics = CountingJudge(), DetectorMetrics()
    sink = JudgingSink(judge, metrics, MemorySink(), side.types)
    await sink.send(replace(ASKED, type=event_type, extensions=said))
    expected = is_judged and event_type in side.types
    assert (len(judge.asked), count(metrics, "ignored")) == ((1, 0) if expected else (0, 1))


@pytest.mark.parametrize(
    ("raised", "becomes", "outcome"),
    [
        (MalformedEvent("ragged"), EventRefused, "malformed"),
        (QueueFull("full"), SinkUnavailable, "overloaded"),
        (sqlite3.OperationalError("database or disk is full"), SinkUnavailable, "failed"),
        (ZeroDivisionError("a defect"), ZeroDivisionError, "failed"),
    ],
)
async def test_what_cannot_be_judged_is_refused_or_waits(
    raised: Exception, becomes: type[Exception], outcome: str
) -> None:
    metrics, verdicts = DetectorMetrics(), MemorySink()
    sink = JudgingSink(answering(raised), metrics, verdicts)
    await sink.start()
    with pytest.raises(becomes, match=str(raised)):
        await sink.send(ASKED)
    assert count(metrics, outcome) == 1
    await sink.stop()
    assert verdicts.running is False
