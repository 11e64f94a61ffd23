"""Many detectors in one process: who takes which event, whose count it is, and what adserver's terms change."""

import asyncio
import json
from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from pathlib import Path

import pytest

from wayside.detectors.kinds.protocol import Device
from wayside.detectors.serving.answering import PLAIN, Answer, Wanted
from wayside.detectors.serving.catalogue import Card, Catalogue, DetectorUnloaded, Loaded, ServedDetector
from wayside.detectors.serving.metrics import DetectorMetrics, ServiceMetrics
from wayside.detectors.serving.reply_terms import ReplyTerms, Reworded
from wayside.detectors.serving.settings import Terms, parse
from wayside.detectors.tabular.event_rows import Side
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http_binding import decode
from wayside.eventing.sink import EventRefused, MemorySink, SinkUnavailable
from wayside.eventing.verdict import DetectorIdentity

from .conftest import request_event
from .detect_application import ROWS, detecting, write_artifact


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    made = {name: tmp_path_factory.mktemp("catalogue") / name for name in ("one", "two")}
    for seed, (name, folder) in enumerate(made.items()):
        write_artifact(folder, seed=seed, name=name)
    return made


def flags(folders: Mapping[str, Path], *names: str) -> list[str]:
    return [word for name in names for word in ("--artifact", f"{name}={folders[name]}")]


@pytest.mark.parametrize(
    ("more", "path", "judge"),
    [
        ([], "/detectors/one", "one"),
        ([], "/detectors/two", "two"),
        ([], "/", None),
        ([], "/detectors/three", None),
        (["--default", "two"], "/", "two"),
        (["--default", "two"], "/detectors/one", "one"),
    ],
)
async def test_events_go_to_the_detector_that_their_path_names(
    more: list[str], path: str, judge: str | None, folders: Mapping[str, Path]
) -> None:
    async with detecting(*flags(folders, "one", "two"), *more) as served:
        response = await served.post_event(request_event(ROWS), path)
        counted = {name: served.sample("events_total", detector=name, outcome="scored") for name in ("one", "two")}
        unknown = served.sample("unknown_total")
    if judge is None:
        assert (response.status, unknown, counted) == (404, 1, {"one": 0, "two": 0})
    else:
        assert decode(response.headers, response.body).extensions["detector"] == judge
        assert counted == {"one": float(judge == "one"), "two": float(judge == "two")}


async def test_a_single_detector_needs_no_path(folders: Mapping[str, Path]) -> None:
    async with detecting("--artifact", folders["one"]) as served:
        assert (await served.post_event(request_event(ROWS))).status == 200
        assert (await served.post_event(request_event(ROWS), "/detectors/one")).status == 200
        described = json.loads((await served.get("/detectors/one")).body)
    assert (described["kind"], len(described["columns"]), described["loaded"]) == ("mahalanobis", 4, True)


async def test_each_detector_names_the_device_that_scores_it(folders: Mapping[str, Path]) -> None:
    async with detecting(*flags(folders, "one", "two")) as served:
        for name in ("one", "two"):
            assert served.sample("device_info", detector=name, device=Device.CPU) == 1


def test_only_the_device_of_now_is_named() -> None:
    service = ServiceMetrics()
    for detector, device in (("a", "cpu"), ("b", "cpu"), ("a", "cuda:0"), ("a", "cuda:0")):
        DetectorMetrics(detector, service).name_device(device)
    (family,) = [each for each in service.registry.collect() if each.name == "wayside_detector_device_info"]
    assert {tuple(each.labels.values()) for each in family.samples} == {("a", "cuda:0"), ("b", "cpu")}


class Service:
    """A service that answers when it is told to."""

    types: Set[str] = Side.REQUEST.types
    may_drop = True

    def __init__(self, outcome: str = "scored") -> None:
        self.metrics = DetectorMetrics("a")
        self.checks: Mapping[str, Callable[[], bool]] = {}
        self.running = False
        self.let_go = asyncio.Event()
        self._outcome = outcome

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def answer(self, event: CloudEvent, wanted: Wanted = PLAIN) -> Answer:
        await self.let_go.wait()
        assert self.running, "a service may not be stopped while it judges"
        return Answer(self._outcome, event)


def loaded(service: Service, digest: str = "0" * 64) -> Loaded:
    identity = DetectorIdentity("a", "knn", digest, 0.01)
    return Loaded(Card(identity, Schema.of_width(4), None, 1.0, False, {}), service)


async def test_an_artifact_ends_when_the_last_event_in_hand_is_answered() -> None:
    before, after = Service("before"), Service("after")
    detector = ServedDetector("a", "uri", loaded(before))
    await detector.start()
    in_hand = [asyncio.create_task(detector.answer(request_event(ROWS, str(n)))) for n in range(3)]
    await asyncio.sleep(0)
    replacing = asyncio.create_task(detector.replace(loaded(after, "1" * 64)))
    await asyncio.sleep(0)
    assert (before.running, after.running, detector.card.version) == (True, True, "1" * 12)
    after.let_go.set()
    assert (await detector.answer(request_event(ROWS))).outcome == "after"
    assert not replacing.done()
    before.let_go.set()
    assert [(await answer).outcome for answer in in_hand] == ["before"] * 3
    await replacing
    assert (before.running, after.running) == (False, True)


async def test_who_was_cancelled_holds_nothing_up() -> None:
    service = Service()
    detector = ServedDetector("a", "uri", loaded(service))
    await detector.start()
    gone = asyncio.create_task(detector.answer(request_event(ROWS)))
    await asyncio.sleep(0)
    gone.cancel()
    await detector.unload()
    await detector.unload()
    assert (service.running, detector.is_loaded, dict(detector.checks)) == (False, False, {})
    with pytest.raises(DetectorUnloaded, match="'a' is unloaded"):
        await detector.answer(request_event(ROWS))


def test_names_and_the_default_are_checked() -> None:
    one, two = (ServedDetector("a", "uri", loaded(Service())) for _ in range(2))
    with pytest.raises(ConfigurationError, match="NAME=URI"):
        Catalogue([one, two])
    with pytest.raises(ConfigurationError, match="--default b is no detector: there are a"):
        Catalogue([one], "b")
    assert Catalogue([one]).resolve(None) is one
    assert Catalogue([one]).resolve("b") is None


TERMS = ReplyTerms("org.kubeflow.serving.inference.outlier", "urn:adserver")


@pytest.mark.parametrize(
    ("terms", "type_and_source"),
    [
        (ReplyTerms(), ("dev.wayside.inference.outlier", "/wayside/detectors/one")),
        (TERMS, ("org.kubeflow.serving.inference.outlier", "urn:adserver")),
        (replace(TERMS, type=None), ("dev.wayside.inference.outlier", "urn:adserver")),
    ],
)
async def test_a_reply_is_worded_as_asked_posted_and_given(
    terms: ReplyTerms, type_and_source: tuple[str, str], folders: Mapping[str, Path]
) -> None:
    sink = MemorySink()
    settings = parse(["--artifact", str(folders["one"])], {})
    async with detecting("--artifact", folders["one"]) as served:
        plain = await served.post_event(request_event(ROWS))
    async with detecting(settings=replace(settings, terms=Terms(terms)), replies=sink) as served:
        response = await served.post_event(request_event(ROWS))
    reply, own = decode(response.headers, response.body), decode(plain.headers, plain.body)
    assert [reply] == sink.events
    assert (reply.type, reply.source) == type_and_source
    assert (reply.id, reply.data, reply.extensions) == (own.id, own.data, own.extensions)


@pytest.mark.parametrize("error", [SinkUnavailable("down"), EventRefused("no")], ids=["unavailable", "refused"])
async def test_an_event_whose_verdict_is_not_taken_is_not_acknowledged(
    error: SinkUnavailable | EventRefused, folders: Mapping[str, Path]
) -> None:
    sink = MemorySink([error])
    async with detecting("--artifact", folders["one"], replies=sink) as served:
        first = await served.post_event(request_event(ROWS))
        again = await served.post_event(request_event(ROWS))
    assert (first.status, first.header(b"retry-after")) == (503, b"1")
    assert (again.status, len(sink.events)) == (200, 1)


async def test_what_has_no_reply_is_not_posted() -> None:
    class Silent(Service):
        async def answer(self, event: CloudEvent, wanted: Wanted = PLAIN) -> Answer:
            return Answer("waiting")

    sink = MemorySink()
    silent = Reworded(Silent(), TERMS, sink)
    assert (await silent.answer(request_event(ROWS))).reply is None
    assert (sink.events, silent.may_drop, silent.types) == ([], True, Side.REQUEST.types)
