"""The client: every request has one answer in the ledger, whatever the server does."""

import json
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.local.demo.digits import Digits, DigitStream
from wayside.local.demo.ledger import Answer, Ledger, LedgerReader, Route
from wayside.local.demo.traffic import Load, Targets, Traffic, encode


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    await ledger.start()
    await ledger.begin_phase("p", "P", "ordinary")
    yield ledger
    await ledger.stop()


async def send(ledger: Ledger, rows: int, target: str) -> list[Answer]:
    http = HttpClient()
    load = Load(through_per_s=2_000, direct_per_s=400, timeout_s=5)
    traffic = Traffic(http, Targets(target, "digits", target), ledger, Digits.load(1), load)
    answers: list[Answer] = []
    await traffic.run("p", DigitStream.ordinary, rows, on_answer=answers.append)
    await ledger.flush()
    await http.close()
    return answers


async def test_exactly_the_rows_asked_for_go_through_the_logger(ledger: Ledger) -> None:
    seen: list[int] = []

    async def model(request: Request) -> Response:
        body = json.loads(request.body)
        rows = len(body["instances"]) if "instances" in body else body["inputs"][0]["shape"][0]
        assert ("v1" in request.path) == ("instances" in body)
        seen.append(rows)
        return Response(200, [], b"{}")

    server = HttpServer(model, "127.0.0.1", 0)
    await server.start()
    answers = await send(ledger, 300, f"http://127.0.0.1:{server.port}")
    await server.stop()
    assert sum(answer.rows for answer in answers if answer.route is Route.THROUGH) == 300
    assert sum(answer.rows for answer in answers) == sum(seen)
    with closing(LedgerReader(ledger.path)) as reader:
        assert reader.answered_rows() == 300
        assert reader.route_summary("p", Route.THROUGH).failed == 0


async def test_a_server_that_is_away_is_status_0_and_ends_nothing(ledger: Ledger) -> None:
    answers = await send(ledger, 20, "http://127.0.0.1:1")
    assert {answer.status for answer in answers} == {0}
    with closing(LedgerReader(ledger.path)) as reader:
        assert reader.answered_rows() == 0
        summary = reader.route_summary("p", Route.THROUGH)
        assert summary.requests == summary.failed > 0


def test_both_protocols_carry_the_same_rows() -> None:
    digits = Digits.load(1)
    rows = digits.stream("x").ordinary(2).rows
    assert json.loads(encode(rows, "v1", digits))["instances"] == rows.tolist()
    tensor = json.loads(encode(rows, "v2", digits))["inputs"][0]
    assert tensor["shape"] == [2, 64]
    assert tensor["data"] == rows.ravel().tolist()
