"""Puts each carrier on its stage: `stage(subscriber, …)` starts one, and the end of the test stops it.

Invariant: the legs that need a service are marked so, and skip where there is none, as every such test does.
"""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for what tests share that is no fixture
from carrier_stages import CarrierUnderTest, EmbeddedStage, KafkaStage, MemoryStage, Subscriber

Stage = Callable[..., Awaitable[CarrierUnderTest]]
_DURABLE = ("embedded", pytest.param("kafka", marks=pytest.mark.services))


@asynccontextmanager
async def _opened(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Stage]:
    opened: list[tuple[CarrierUnderTest, tuple[Subscriber, ...]]] = []
    # asked for here, and not by every leg: whoever asks for it needs a service
    servers = request.getfixturevalue("service")("KAFKA") if request.param == "kafka" else ""

    async def open_stage(*subscribers: Subscriber) -> CarrierUnderTest:
        made: CarrierUnderTest
        match request.param:
            case "memory":
                made = MemoryStage(subscribers)
            case "embedded":
                made = EmbeddedStage(subscribers, folder)
            case _:
                made = KafkaStage(subscribers, servers)
        opened.append((made, subscribers))
        await made.start()
        return made

    yield open_stage
    for carrier, subscribers in opened:
        for one in subscribers:
            one.away = False
            one.let_go.set()
        await carrier.close()


@pytest.fixture(params=("memory", *_DURABLE))
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """Every carrier."""
    async with _opened(request, tmp_path) as open_stage:
        yield open_stage


@pytest.fixture(params=_DURABLE)
async def durable_stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """Those that keep what they accepted beyond their own end."""
    async with _opened(request, tmp_path) as open_stage:
        yield open_stage
