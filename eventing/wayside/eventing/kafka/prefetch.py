"""How much librdkafka fetches ahead of what is in flight.

Invariant: no more than is worth fetching twice. Whenever a partition is paused, librdkafka throws away what it fetched
ahead of it; with few events in flight, and a slow sink, that is at every few events.
"""

from collections.abc import Mapping

from wayside.eventing.kafka.holding import SourceLimits

_EVENTS, _KBYTES, _FETCH_BYTES = 10_000, 32_768, 1 << 20
# for each event that may be in flight: some rounds of work, at 4 kB an event
_AHEAD, _EVENT_KBYTES = 20, 4


def prefetch_settings(limits: SourceLimits) -> Mapping[str, str]:
    """Settings of librdkafka: how many events, how many kB, and how many bytes of a partition at one time."""
    events = min(_EVENTS, _AHEAD * limits.events)
    kbytes = min(_KBYTES, _EVENT_KBYTES * events)
    return {
        "queued.min.messages": str(events),
        "queued.max.messages.kbytes": str(kbytes),
        # a message that is larger comes all the same, alone
        "fetch.message.max.bytes": str(min(_FETCH_BYTES, kbytes << 10)),
    }
