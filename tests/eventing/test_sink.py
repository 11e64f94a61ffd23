"""The sink that ships for tests keeps the contract of every sink."""

import pytest

from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, MemorySink, SinkUnavailable

_EVENT = CloudEvent(id="1", source="s", type="t")


async def test_a_memory_sink_raises_its_failures_then_keeps_events() -> None:
    sink = MemorySink([SinkUnavailable("later", retry_after_s=2.0), EventRefused("never")])
    await sink.start()
    with pytest.raises(SinkUnavailable) as unavailable:
        await sink.send(_EVENT)
    assert unavailable.value.retry_after_s == 2.0
    with pytest.raises(EventRefused):
        await sink.send(_EVENT)
    await sink.send(_EVENT)
    assert sink.events == [_EVENT]
    assert sink.running
    await sink.stop()
    await sink.stop()
    assert not sink.running
