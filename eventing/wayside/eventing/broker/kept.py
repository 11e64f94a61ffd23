"""An event as an entry of the journal: its data is the entry's, all else is in the head.

head = identity, digest of the data, TTL, number of tags, a tag for each Trigger that it matched, then in JSON the
broker, the attributes and the headers that travel on. The time that it was received at is the entry's.

Invariant: what `pack` made, `unpack` reads back unchanged. Identity and tags go by names alone, so that they hold
whatever becomes of the other tables. JSON is ASCII and a tag is not: `instr(head, tag)` finds tags alone, but for one
chance in 2**59 that a hash before them holds one.
"""

import json
import struct
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from wayside.eventing.broker.routing import Arrival
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Headers
from wayside.eventing.storage.entry import Entry, KeptEntry
from wayside.eventing.triggers.names import BrokerName, TriggerName

IDENTITY_BYTES = 16
DIGEST_BYTES = 16
PREFIX_BYTES = 8  # of an identity, by which it is looked up: a small index, where few share one by chance
_TAG_BYTES = 8
_ENCODE = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_FIXED = struct.Struct(f">{IDENTITY_BYTES}s{DIGEST_BYTES}sBH")


class Kept(NamedTuple):
    """An event that is on disk. `position` is its entry's, `ttl` what it goes on with."""

    position: int
    received_ns: int
    event: CloudEvent
    ttl: int
    forwards: Headers


@dataclass(frozen=True, slots=True)
class Packed:
    """An event ready to be kept. Two of one key at one broker have one `identity`, with the same data one `digest`."""

    arrival: Arrival
    identity: bytes
    digest: bytes
    entry: Entry

    @property
    def prefix(self) -> bytes:
        return self.identity[:PREFIX_BYTES]

    def kept_at(self, position: int) -> Kept:
        """What the journal holds once the entry got this position."""
        arrival = self.arrival
        return Kept(position, self.entry.time_ns, arrival.event, arrival.ttl, arrival.forwards)


@lru_cache(maxsize=4096)
def tag(trigger: TriggerName) -> bytes:
    """What stands for a Trigger in the heads of the events that it matched, and in the broker's tables."""
    first, *rest = blake2b(str(trigger).encode(), digest_size=_TAG_BYTES).digest()
    return bytes((first | 0x80, *rest))


def pack(arrival: Arrival, now_ns: int) -> Packed:
    """The event as an entry that was received now."""
    event = arrival.event
    key = f"{len(event.source)},{len(event.id)},{len(event.type)},{event.source}{event.id}{event.type}{arrival.broker}"
    identity = blake2b(key.encode(), digest_size=IDENTITY_BYTES).digest()
    digest = event.digest[:DIGEST_BYTES]
    tags = [tag(trigger) for trigger in arrival.matched]
    text = _ENCODE((str(arrival.broker), dict(event.attributes()), _as_text(arrival.forwards)))
    head = b"".join((_FIXED.pack(identity, digest, arrival.ttl, len(tags)), *tags, text.encode()))
    return Packed(arrival, identity, digest, Entry(now_ns, head, event.data))


def _as_text(forwards: Headers) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in forwards]


def unpack(entry: KeptEntry) -> Kept:
    """The event of an entry."""
    *_, ttl, tags = _FIXED.unpack_from(entry.head)
    _, attributes, forwards = json.loads(entry.head[_FIXED.size + tags * _TAG_BYTES :])
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in forwards]
    return Kept(entry.position, entry.time_ns, CloudEvent.from_attributes(attributes, entry.data), ttl, headers)


def json_text(value: str) -> bytes:
    """What a head holds that holds this value: others may too, so that what `instr` finds is still to be looked at."""
    return _ENCODE(value).encode()


def broker_of(head: bytes) -> BrokerName:
    """The broker that an entry's event was posted to."""
    tags = _FIXED.unpack_from(head)[3]
    name: str = json.loads(head[_FIXED.size + tags * _TAG_BYTES :])[0]
    namespace, _, broker = name.partition("/")
    return BrokerName(namespace, broker)
