"""What events say, attribute for attribute, as the sink received it: in our way, in KServe's, and beside its agent."""

import json
import os
import re
from collections.abc import Mapping

import pytest
from events_rows import COMMON, OUR_ANSWERS, OURS, ROWS, Row, Said
from events_stage import Post, Scene, agent_scene, our_scene

_TRANSPORT = ("host", "user-agent", "accept-encoding")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{9})?Z")
_GO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z")
_MS = re.compile(r"\d+\.\d{3}")


def said_by(post: Post, time: re.Pattern[str]) -> dict[str, str]:
    """Its headers, with words in the place of what differs every time; each header once."""
    found = {name: value.decode() for name, value in post.headers if name not in _TRANSPORT}
    assert len({name for name, _ in post.headers}) == len(post.headers)
    for name in ("ce-time", "ce-recordedtime", "ce-requesttime"):
        if time.fullmatch(found.get(name, "")):
            found[name] = "time"
    for name in ("ce-latencyms", "ce-firstbytems"):
        if _MS.fullmatch(found.get(name, "")):
            found[name] = "ms"
    if _ID.fullmatch(found["ce-id"]):
        found["ce-id"] = "minted"
    return found


def expected(kind: str, body: bytes, *layers: Said) -> dict[str, str]:
    fixed = {"ce-type": f"org.kubeflow.serving.inference.{kind}", "content-length": str(len(body))}
    over: dict[str, str | None] = {"ce-annotations": '{"b/two":"2","a/one":"1"}'}
    for layer in (COMMON, fixed, *layers):
        over |= layer
    return {name: value for name, value in over.items() if value is not None}


async def posts_of(scene: Scene, row: Row, count: int) -> Mapping[str, Post]:
    scene.model.answer, scene.model.is_whole = row.answer, row.is_whole
    scene.sink.posts.clear()
    await scene.ask(row.request)
    await scene.sink.wait_for(count)
    posts = {post.kind: post for post in scene.sink.posts}
    assert len(posts) == len(scene.sink.posts) == count
    assert len({dict(post.headers)["ce-id"] for post in posts.values()}) == 1
    return posts


async def test_our_events() -> None:
    async with our_scene() as scene:
        for row in ROWS:
            posts = await posts_of(scene, row, 2)
            request, response = posts["request"], posts["response"]
            assert said_by(request, _TIME) == expected("request", row.asked, OURS, row.both), row.name
            told = (OURS, OUR_ANSWERS, row.both, row.answered)
            assert said_by(response, _TIME) == expected("response", row.told, *told), row.name
            assert (request.body, response.body) == (row.asked, row.told), row.name


async def test_events_in_the_way_of_kserve() -> None:
    annotations: Said = {"ce-annotations": '{"a/one":"1","b/two":"2"}'}
    async with our_scene("--compat", "kserve") as scene:
        for row in ROWS:
            posts = await posts_of(scene, row, 1 + row.kserve_answers)
            for kind, body in (("request", row.asked), ("response", row.told)):
                if kind in posts:
                    said = said_by(posts[kind], _GO_TIME)
                    assert said == expected(kind, body, annotations, row.kserve_both), row.name
                    assert posts[kind].body == body


@pytest.fixture
def agent() -> str:
    program = os.environ.get("KSERVE_AGENT", "")
    if not program:
        pytest.skip("no KSERVE_AGENT: build cmd/agent of kserve/kserve and name the program there")
    return program


async def test_kserves_agent_makes_the_same_events(agent: str) -> None:
    async with agent_scene(agent) as theirs, our_scene("--compat", "kserve") as ours:
        for row in ROWS:
            if row.differs:
                continue
            count = 1 + row.kserve_answers
            their_posts, our_posts = await posts_of(theirs, row, count), await posts_of(ours, row, count)
            for kind, post in their_posts.items():
                assert said_by(our_posts[kind], _GO_TIME) == said_by(post, _GO_TIME), row.name
                assert our_posts[kind].body == post.body, row.name


_OWN_TO_A_HOP = ("--metadata-headers", "Connection,Host,Content-Length,Transfer-Encoding")


@pytest.mark.parametrize(
    ("more", "names"),
    [((), ["Host", "Connection", "Content-Length"]), (("--compat", "kserve"), ["Connection", "Content-Length"])],
)
async def test_a_header_that_belongs_to_a_hop_is_metadata_where_it_is_named(
    more: tuple[str, ...], names: list[str]
) -> None:
    async with our_scene(*_OWN_TO_A_HOP, *more) as scene:
        posts = await posts_of(scene, ROWS[0], 2)
        assert [list(json.loads(metadata_of(post))) for post in posts.values()] == [names, names]


async def test_such_a_header_in_the_agent(agent: str) -> None:
    async with agent_scene(agent, *_OWN_TO_A_HOP) as theirs, our_scene("--compat", "kserve", *_OWN_TO_A_HOP) as ours:
        their_posts, our_posts = await posts_of(theirs, ROWS[0], 2), await posts_of(ours, ROWS[0], 2)
        assert metadata_of(our_posts["request"]) == metadata_of(their_posts["request"])


def metadata_of(post: Post) -> bytes:
    return dict(post.headers)["ce-metadata"]


def test_differences_from_the_agent_are_those_that_are_meant() -> None:
    assert {row.name for row in ROWS if row.differs} == {
        "a compressed answer, not asked for",
        "a content type that cannot be read",
        "a body that is a CloudEvent",
    }
