"""A body as its sender wrote it: gzip and deflate undone, in the order that `Content-Encoding` says.

Source: RFC 9110 §8.4 (content codings), RFC 1952 (gzip), RFC 1950 and 1951 (zlib, deflate).
Invariant: nothing inflates beyond `limits.inflated_bytes`; what would is refused while it inflates, not after.
"""

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Limits

_GZIP_MAGIC: Final = b"\x1f\x8b\x08"
_CODINGS_LIMIT: Final = 3
_MEMBERS_LIMIT: Final = 1_000
_CHUNK_BYTES: Final = 1 << 16

_GZIP_WBITS: Final = 16 + zlib.MAX_WBITS
_ZLIB_WBITS: Final = zlib.MAX_WBITS
_RAW_WBITS: Final = -zlib.MAX_WBITS


def inflate(body: bytes, content_encoding: str | None, limits: Limits) -> bytes:
    """The body with its content codings undone, the last applied first.

    Without a declared coding a body with gzip's magic is inflated all the same: KServe's agent logs gzip bodies and
    drops their header. Raises `MalformedPayload` for a coding that is not read, corrupt or truncated bytes, bytes
    after the end, and a body over the limit.
    """
    codings = _codings(content_encoding) if content_encoding else []
    if not codings and body.startswith(_GZIP_MAGIC):
        codings = ["gzip"]
    _check_size(len(body), limits.inflated_bytes)
    for coding in reversed(codings):
        body = _INFLATERS[coding](body, limits.inflated_bytes)
    return body


def is_compressed(body: bytes, content_encoding: str | None) -> bool:
    """Whether `inflate` would have work to do: then the body's size says little of what it costs."""
    return bool(content_encoding) or body.startswith(_GZIP_MAGIC)


def inflate_frame(message: bytes, limits: Limits) -> bytes:
    """A compressed gRPC message; its coding stands in a header that no event keeps, so its first bytes must tell."""
    if message.startswith(_GZIP_MAGIC):
        return _inflate_gzip(message, limits.inflated_bytes)
    if _is_zlib(message):
        return _inflate_deflate(message, limits.inflated_bytes)
    raise MalformedPayload("gRPC message is compressed, and neither gzip nor deflate: use grpc-encoding gzip or none")


def _codings(content_encoding: str) -> list[str]:
    named = [coding.strip().lower() for coding in content_encoding.split(",")]
    codings = [coding.removeprefix("x-") for coding in named if coding not in ("", "identity")]
    if len(codings) > _CODINGS_LIMIT:
        raise MalformedPayload(f"Content-Encoding names {len(codings)} codings, the limit is {_CODINGS_LIMIT}")
    for coding in codings:
        if coding not in _INFLATERS:
            raise MalformedPayload(f"Content-Encoding {coding[:64]!r} is not read: send gzip, deflate or identity")
    return codings


def _inflate_gzip(body: bytes, limit_bytes: int) -> bytes:
    """All members of a gzip file, one after another. Zero bytes behind the last are padding, as gzip's own tool has it.

    Anything else behind it is refused: parsers differ on whether it counts.
    """
    if not body.startswith(_GZIP_MAGIC):
        raise MalformedPayload("body is declared gzip and is not: leave Content-Encoding out if it was inflated before")
    view, end, size, parts = memoryview(body), 0, 0, list[bytes]()
    while body.startswith(_GZIP_MAGIC, end):
        if len(parts) == _MEMBERS_LIMIT:
            raise MalformedPayload(f"gzip body has more than {_MEMBERS_LIMIT} members")
        part, end = _inflate_stream(view, end, _GZIP_WBITS, limit_bytes - size)
        parts.append(part)
        size += len(part)
    if body.count(b"\0", end) < len(body) - end:
        raise MalformedPayload(f"gzip body ends at byte {end}, {len(body) - end} bytes that are no gzip follow")
    return b"".join(parts)


def _inflate_deflate(body: bytes, limit_bytes: int) -> bytes:
    """A zlib stream, as RFC 9110 has it, or a raw deflate stream, as others read it and some servers send."""
    if body.startswith(_GZIP_MAGIC):
        return _inflate_gzip(body, limit_bytes)
    wbits = _ZLIB_WBITS if _is_zlib(body) else _RAW_WBITS
    inflated, end = _inflate_stream(memoryview(body), 0, wbits, limit_bytes)
    if end < len(body):
        raise MalformedPayload(f"deflate body ends at byte {end}, {len(body) - end} bytes follow")
    return inflated


def _is_zlib(body: bytes) -> bool:
    """RFC 1950 §2.2: method 8, window up to 32 KiB, and a check by 31. As raw deflate it would be a stored block whose
    padding bits are set: no encoder writes one.
    """
    return len(body) >= 2 and body[0] & 0x0F == 8 and body[0] >> 4 <= 7 and int.from_bytes(body[:2]) % 31 == 0


def _inflate_stream(view: memoryview, start: int, wbits: int, room_bytes: int) -> tuple[bytes, int]:
    """What one stream inflates to, and where it ends. Fed by chunks: what zlib copies of the rest stays small."""
    inflater, position, size, parts = zlib.decompressobj(wbits), start, 0, list[bytes]()
    while not inflater.eof:
        chunk = view[position : position + _CHUNK_BYTES]
        if not chunk:
            raise MalformedPayload(f"compressed body is cut off at byte {position}")
        part = _decompress(inflater, chunk, room_bytes - size + 1)
        parts.append(part)
        size += len(part)
        position += len(chunk)
        if size > room_bytes:
            raise MalformedPayload("body inflates beyond the limit of inflated bytes")
    return b"".join(parts), position - len(inflater.unused_data)


def _decompress(inflater: "zlib._Decompress", chunk: memoryview, most_bytes: int) -> bytes:
    try:
        return inflater.decompress(chunk, most_bytes)
    except zlib.error as exc:
        raise MalformedPayload(f"compressed body is corrupt: {exc}") from exc


def _check_size(size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise MalformedPayload(f"body has {size} bytes, the limit is {limit_bytes}")


_INFLATERS: Final[Mapping[str, Callable[[bytes, int], bytes]]] = MappingProxyType(
    {"gzip": _inflate_gzip, "deflate": _inflate_deflate}
)
