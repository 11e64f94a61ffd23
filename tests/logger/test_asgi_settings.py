"""The middleware's settings, and the loops that it runs on: what is captured, when it starts and how it ends."""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asgi_stage import (
    ASKED,
    AppStage,
    around,
    data,
    echo,
    live,
    living,
    piece,
    read_all,
    scope_of,
    sink_of_events,
    start,
    with_lifespan,
)
from logger_stage import settings

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.vocabulary import STATUS_CODE
from wayside.logger.asgi import PayloadLoggerMiddleware
from wayside.logger.asgi.messages import Receive, Scope, Send
from wayside.logger.settings import (
    LoggerSettings,
    Redacted,
    RedactionRule,
    Sampling,
    SideWork,
    SpoolSettings,
    StatusShare,
    Target,
)


async def test_sampling_by_status_keeps_failures_alone() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_all(receive)
        await send(start(int(body)))
        await send(data(b"{}"))

    def failures(given: LoggerSettings) -> LoggerSettings:
        sampling = Sampling(share=0.0, by_status=(StatusShare(500, 599, 1.0),))
        return replace(given, capture=replace(given.capture, sampling=sampling))

    async with around(app, failures) as stage:
        for status in (b"200", b"503", b"200"):
            await stage.ask(piece(status))
        request, response = await stage.wait_events()
    assert (request.data, response.extensions[STATUS_CODE]) == (b"503", "503")
    assert stage.middleware.counts.responses == {200: 2, 503: 1}
    assert stage.middleware.counts.sampled_out == 2


async def test_what_is_redacted_leaves_redacted_alone() -> None:
    rule = RedactionRule(Target.POINTER, "/instances", Redacted.MASK)
    async with around(echo, lambda given: replace(given, side_work=SideWork((rule,)))) as stage:
        await stage.ask(piece(ASKED))
        request, response = await stage.wait_events()
    assert request.data == response.data == b'{"instances": "***"}'


def test_without_a_log_url_the_app_stands_alone() -> None:
    calls: list[object] = []

    async def app(*given_to: object) -> None:
        calls.extend(given_to)

    middleware = PayloadLoggerMiddleware(app, environ={})
    scope = scope_of()
    asyncio.run(middleware(scope, echo, echo))  # type: ignore[arg-type]
    assert calls == [scope, echo, echo]


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"log_url": "http://sink", "log_mode": "some"}, "log-mode"),
        ({"log_url": "ftp://sink"}, "ftp"),
        ({"log_uri": "http://sink"}, "log-uri"),
        ({"log_url": "http://sink", "port": 9081}, "port: this is for the logger as a proxy"),
        ({"log_url": "http://sink", "redact": ["nowhere"]}, "nowhere"),
    ],
)
def test_a_setting_that_cannot_be_used_is_an_error_where_the_app_is_made(keywords: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        PayloadLoggerMiddleware(echo, environ={}, **keywords)


async def test_keywords_stand_above_the_environment() -> None:
    async with sink_of_events() as (sink, port):
        environ = {"WAYSIDE_LOGGER_LOG_MODE": "request", "WAYSIDE_LOGGER_INFERENCE_SERVICE": "other"}
        middleware = PayloadLoggerMiddleware(
            with_lifespan(echo),
            environ=environ,
            log_url=f"http://127.0.0.1:{port}/",
            source="app",
            inference_service="digits",
            metadata_headers=["x-tenant", "x-user"],
            workers=2,
        )
        await AppStage(middleware, sink).ask(piece(ASKED), scope=scope_of(headers=[(b"x-user", b"u")]))
        await live(middleware)
    (request,) = sink.events
    assert (request.source, request.extensions["inferenceservicename"]) == ("app", "digits")
    assert request.extensions["metadata"] == '{"X-User":["u"]}'


def test_settings_and_keywords_are_not_mixed() -> None:
    with pytest.raises(TypeError, match="log_url, source"):
        PayloadLoggerMiddleware(echo, settings(0, 1), log_url="http://sink", source="a")


# loops, starts and ends


def test_each_loop_has_an_emitter_that_ends_with_it() -> None:
    """As a test client does: one loop after another, and none has a lifespan. What was not sent by then is counted."""

    async def served() -> None:
        async with sink_of_events() as (sink, port):
            middleware = PayloadLoggerMiddleware(echo, settings(0, port))
            for _ in range(3):
                await asyncio.to_thread(asyncio.run, AppStage(middleware, sink).ask(piece(ASKED)))
            counts = middleware.counts
            assert counts.captured == {"request": 3, "response": 3}
            assert sum(counts.sent.values()) + counts.dropped.total() == 6
            assert {reason for _, reason in counts.dropped} <= {"shutdown"}

    asyncio.run(served())


async def test_an_app_without_lifespan_is_served_and_captured() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "this app knows no lifespan"
        await echo(scope, receive, send)

    async with sink_of_events() as (sink, port):
        middleware = PayloadLoggerMiddleware(app, settings(0, port))
        with pytest.raises(AssertionError):
            await live(middleware)
        await AppStage(middleware, sink).ask(piece(ASKED))
        assert len(await sink.wait_for(2)) == 2
        with pytest.raises(AssertionError):
            await live(middleware)


async def test_a_dead_sink_holds_up_nothing_and_what_is_lost_is_counted(unused_tcp_port: int) -> None:
    given_settings = replace(settings(0, unused_tcp_port), grace_s=0.0)
    middleware = PayloadLoggerMiddleware(with_lifespan(echo), given_settings)
    for _ in range(3):
        await AppStage(middleware, None).ask(piece(ASKED))  # type: ignore[arg-type]
    await live(middleware)
    dropped = middleware.counts.dropped
    assert {kind: dropped[kind, "shutdown"] for kind in ("request", "response")} == {"request": 3, "response": 3}


async def test_a_spool_that_another_process_has_is_gone_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")

    def spooled(given: LoggerSettings) -> LoggerSettings:
        return replace(given, delivery=replace(given.delivery, spool=SpoolSettings(tmp_path / "taken")))

    async with around(echo, spooled) as stage:
        async with living(stage.middleware):
            await stage.ask(piece(ASKED))
        assert len(stage.sink.events) == 2
    assert "wait in memory alone" in caplog.text


async def test_what_goes_wrong_in_here_is_told_once_and_the_app_is_served(caplog: pytest.LogCaptureFixture) -> None:
    """A server that breaks the specification, for one."""
    async with sink_of_events() as (sink, port):
        middleware = PayloadLoggerMiddleware(with_lifespan(echo), settings(0, port))
        stage = AppStage(middleware, sink)
        with caplog.at_level(logging.ERROR):
            for _ in range(2):
                assert await stage.ask(piece(ASKED), scope={**scope_of(), "headers": 1}) == [start(), data(ASKED)]
        assert await stage.ask(piece(ASKED)) == [start(), data(ASKED)]
        assert len(await stage.wait_events()) == 2
    assert middleware.faults == 2
    assert len(caplog.records) == 1
