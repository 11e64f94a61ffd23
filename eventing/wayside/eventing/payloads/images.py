"""Encoded images by their first bytes: PNG or JPEG, and their size, without decoding a pixel.

Source: PNG (W3C, third edition), sections 5.2 and 11.2.1; JPEG (ITU-T T.81), B.1 and B.2.2, tables B.1 and B.2.
Invariant: nothing is looked at behind the first `HEAD_BYTES`, and no length in the bytes is trusted.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.datatypes import Packed, pack_elements
from wayside.eventing.payloads.payload import Column, Datatype, Kind, Payload, Protocol

HEAD_BYTES: Final = 1 << 18
"""How far into a file its size is looked for: a JPEG's stands behind its colour profile and its thumbnail."""
PNG: Final = "image/png"
JPEG: Final = "image/jpeg"

_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC: Final = b"\xff\xd8\xff"
_IHDR: Final = Struct(">4sIIBB")
_IHDR_AT: Final = 12
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_FRAME: Final = Struct(">BHHB")  # precision, height, width, components
# SOF0 to SOF15, less DHT, JPG and DAC, which stand among them.
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS: Final = frozenset(range(0xD0, 0xD9)) | {0x01}  # RSTn, SOI, TEM: no length follows


@dataclass(frozen=True, slots=True)
class ImageHead:
    """What an image says of itself. `channels` are stored ones: a PNG with a palette has 1."""

    media_type: str
    width: int
    height: int
    channels: int


def media_type(body: bytes) -> str | None:
    """`image/png` or `image/jpeg` by the magic bytes; None for all else."""
    if body.startswith(_PNG_MAGIC):
        return PNG
    return JPEG if body.startswith(_JPEG_MAGIC) else None


def sniff(body: bytes) -> ImageHead | None:
    """The head of a PNG or JPEG file, which may be cut off behind it; None where there is none, or no size in it."""
    kind = media_type(body)
    if kind is None:
        return None
    return _png_head(body) if kind == PNG else _jpeg_head(body[:HEAD_BYTES])


def read(body: bytes, kind: Kind | None) -> Payload:
    """A body that is an image file: one row, the column `image`. A request's, unless declared a response's.

    Raises `MalformedPayload` where it is no PNG or JPEG with a size, or another kind is declared.
    """
    head = sniff(body)
    if head is None:
        raise MalformedPayload("body is no PNG or JPEG image, or is cut off before its size")
    if kind not in (None, Kind.REQUEST, Kind.RESPONSE):
        raise MalformedPayload(f"an image is a request or a response, no {kind}")
    values = Packed(pack_elements([body]), Datatype.BYTES)
    column = Column("image", Datatype.BYTES, (1,), values, content_type=head.media_type)
    return Payload(Protocol.IMAGE, kind or Kind.REQUEST, (column,), named=False)


def _png_head(body: bytes) -> ImageHead | None:
    if len(body) < _IHDR_AT + _IHDR.size:
        return None
    name, width, height, _, colour = _IHDR.unpack_from(body, _IHDR_AT)
    if name != b"IHDR" or colour not in _PNG_CHANNELS or not width or not height:
        return None
    return ImageHead(PNG, width, height, _PNG_CHANNELS[colour])


def _jpeg_head(body: bytes) -> ImageHead | None:
    """The frame header: segments are stepped over by their lengths, each at least two bytes on."""
    position = len(_JPEG_MAGIC) - 1
    while position + 4 <= len(body) and body[position] == 0xFF:
        marker = body[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _BARE_MARKERS:
            position += 2
        elif marker in _FRAME_MARKERS:
            return _jpeg_frame(body, position + 4)
        else:
            position += 2 + max(2, int.from_bytes(body[position + 2 : position + 4]))
    return None


def _jpeg_frame(body: bytes, start: int) -> ImageHead | None:
    if len(body) < start + _FRAME.size:
        return None
    _, height, width, channels = _FRAME.unpack_from(body, start)
    return ImageHead(JPEG, width, height, channels) if width and channels else None
