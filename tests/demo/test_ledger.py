"""The client's books: every answer once, phases and faults in order, quantiles over what was answered."""

import math
from contextlib import closing
from pathlib import Path

import pytest

from wayside.eventing.clock import FakeClock
from wayside.eventing.errors import ConfigurationError, QueueFull
from wayside.local.demo.ledger import Answer, Fault, Ledger, LedgerReader, Route, quantile


def answer(
    name: str, route: Route = Route.THROUGH, status: int = 200, latency_s: float = 0.01, rows: int = 2
) -> Answer:
    return Answer(1.0, route, name, rows, status, latency_s, "calm")


async def test_what_was_recorded_is_there_after_stop(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite", FakeClock(), flush_s=60)
    await ledger.start()
    await ledger.begin_phase("calm", "Calm", "ordinary")
    for made in (answer("a"), answer("b", status=500), answer("c", Route.DIRECT), answer("d", latency_s=0.03)):
        ledger.record(made)
    await ledger.note_fault("kill -9 broker")
    await ledger.end_phase("calm")
    await ledger.stop()
    await ledger.stop()
    with closing(LedgerReader(ledger.path)) as reader:
        assert reader.answered_rows() == 4
        assert set(reader.answered()) == {("a", 0), ("a", 1), ("d", 0), ("d", 1)}
        through, direct = reader.phase_summary()
        assert (through.requests, through.answered, through.failed, through.answered_rows) == (3, 2, 1, 4)
        assert (through.p50_s, through.p99_s, direct.p50_s) == (0.01, 0.03, 0.01)
        assert reader.phases()[0].ended is not None
        assert reader.faults() == [Fault(FakeClock().now_ns / 1e9, "kill -9 broker")]


async def test_its_memory_is_bounded(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite", limit_answers=1)
    ledger.record(answer("a"))
    with pytest.raises(QueueFull):
        ledger.record(answer("b"))


def test_a_missing_ledger_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot open the ledger"):
        LedgerReader(tmp_path / "none.sqlite")


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.25, 1.0), (0.5, 2.0), (0.99, 4.0), (1.0, 4.0)])
def test_a_quantile_is_one_of_the_values(share: float, value: float) -> None:
    found = quantile([1.0, 2.0, 3.0, 4.0], share)
    assert found is not None
    assert math.isclose(found, value)
    assert quantile([], share) is None
