"""Header blocks: HPACK's state as both sides agreed on it, and bounds on what a block may grow into."""

import pytest
from hpack import Encoder

from wayside.logger.http2.frames import Unreadable
from wayside.logger.http2.header_blocks import HeaderBlocks

FIELDS = [(b":method", b"POST"), (b"content-type", b"application/grpc"), (b"x-tenant", b"blue")]


def test_state_goes_on_from_block_to_block() -> None:
    encoder, blocks = Encoder(), HeaderBlocks()
    sent = [encoder.encode(FIELDS) for _ in range(3)]
    assert [blocks.decode(block) for block in sent] == [FIELDS] * 3
    assert len(sent[2]) == len(FIELDS)


def test_what_a_block_meant_is_forgotten_once_the_table_has_changed() -> None:
    encoder, blocks = Encoder(), HeaderBlocks()
    blocks.decode(encoder.encode(FIELDS))
    again = encoder.encode(FIELDS)
    assert blocks.decode(again) == blocks.decode(again) == FIELDS
    blocks.decode(encoder.encode([(b"x-tenant", b"red")]))  # now the newest entry, where 'blue' was
    assert blocks.decode(again)[-1] == (b"x-tenant", b"red")


def test_a_list_that_is_told_is_the_callers() -> None:
    encoder, blocks = Encoder(), HeaderBlocks()
    blocks.decode(encoder.encode(FIELDS))
    again = encoder.encode(FIELDS)
    blocks.decode(again).clear()
    assert blocks.decode(again) == FIELDS


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xbe",
        b"\x40\x01",
        b"\x3f\xe1\xff\x03",
        b"\x40\x81\xff\x00",
    ],
    ids=["index 0", "an integer without end", "an unknown entry", "cut off", "a table too large", "bad Huffman code"],
)
def test_a_block_that_cannot_be_decoded_is_refused(block: bytes) -> None:
    with pytest.raises(Unreadable, match="cannot be decoded"):
        HeaderBlocks().decode(block)


def test_a_bomb_is_bounded() -> None:
    """One entry of 3 kB, named ten thousand times in as many bytes."""
    blocks = HeaderBlocks()
    blocks.decode(Encoder().encode([(b"x-bomb", b"a" * 3_000)]))
    with pytest.raises(Unreadable, match="larger than"):
        blocks.decode(b"\xbe" * 10_000)


@pytest.mark.parametrize("size", [0, 128, 16_384])
def test_the_table_is_as_large_as_was_announced_and_acknowledged(size: int) -> None:
    encoder, blocks = Encoder(), HeaderBlocks()
    blocks.decode(encoder.encode(FIELDS))
    blocks.announce(size)
    assert blocks.decode(encoder.encode(FIELDS)) == FIELDS  # not acknowledged yet: as before
    blocks.acknowledge()
    encoder.header_table_size = size
    assert blocks.decode(encoder.encode(FIELDS)) == FIELDS
    assert blocks.decode(encoder.encode(FIELDS)) == FIELDS


def test_settings_are_acknowledged_in_their_order() -> None:
    encoder, blocks = Encoder(), HeaderBlocks()
    encoder.header_table_size = 8_192
    for size in (None, 8_192, 100):
        blocks.announce(size)
    blocks.acknowledge()
    blocks.acknowledge()
    assert blocks.decode(encoder.encode(FIELDS)) == FIELDS


def test_a_table_that_was_announced_and_not_acknowledged_is_not_used() -> None:
    encoder, blocks = Encoder(), HeaderBlocks()
    encoder.header_table_size = 8_192
    blocks.announce(8_192)
    with pytest.raises(Unreadable, match="table size"):
        blocks.decode(encoder.encode(FIELDS))


def test_an_acknowledgement_of_nothing_says_nothing() -> None:
    blocks = HeaderBlocks()
    blocks.acknowledge()
    assert blocks.decode(Encoder().encode(FIELDS)) == FIELDS


def test_a_sender_that_does_not_shrink_its_table_cannot_be_followed() -> None:
    encoder, blocks = Encoder(), HeaderBlocks()
    blocks.announce(0)
    blocks.acknowledge()
    with pytest.raises(Unreadable):
        blocks.decode(encoder.encode(FIELDS))


def test_settings_that_nobody_acknowledges_are_bounded() -> None:
    blocks = HeaderBlocks()
    for _ in range(64):
        blocks.announce(1)
    with pytest.raises(Unreadable, match="wait to be acknowledged"):
        blocks.announce(1)
