"""What inflates, what is refused and why, and that a bomb never takes more than the bound."""

import gzip
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.encoding import inflate, inflate_frame
from wayside.eventing.payloads.payload import Limits

BODY = b'{"instances": [[1.5, 2.5]]}'
LIMITS = Limits(inflated_bytes=1 << 20)


def raw_deflate(body: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(body) + deflater.flush()


@pytest.mark.parametrize(
    ("sent", "content_encoding"),
    [
        (BODY, None),
        (BODY, ""),
        (BODY, "identity"),
        (gzip.compress(BODY, mtime=0), "gzip"),
        (gzip.compress(BODY, mtime=0), "x-gzip"),
        (gzip.compress(BODY, mtime=0), " GZip , identity"),
        (gzip.compress(BODY, mtime=0), None),
        (gzip.compress(BODY, mtime=0), "identity"),
        (gzip.compress(BODY[:7], mtime=0) + gzip.compress(BODY[7:], mtime=0), "gzip"),
        (gzip.compress(BODY, mtime=0) + gzip.compress(b"", mtime=0), "gzip"),
        (gzip.compress(BODY, mtime=0) + bytes(512), "gzip"),
        (zlib.compress(BODY), "deflate"),
        (zlib.compress(BODY, 1), "deflate"),
        (raw_deflate(BODY), "deflate"),
        (gzip.compress(BODY, mtime=0), "deflate"),
        (zlib.compress(gzip.compress(BODY, mtime=0)), "gzip, deflate"),
        (gzip.compress(raw_deflate(gzip.compress(BODY, mtime=0)), mtime=0), "gzip,deflate,gzip"),
    ],
)
def test_codings_are_undone_in_order(sent: bytes, content_encoding: str | None) -> None:
    assert inflate(sent, content_encoding, LIMITS) == BODY


@pytest.mark.parametrize(
    ("sent", "content_encoding", "reason"),
    [
        (b"", "br", "Content-Encoding 'br' is not read: send gzip, deflate or identity"),
        (b"", "gzip, zstd", "Content-Encoding 'zstd' is not read: send gzip, deflate or identity"),
        (b"", "x" * 99, f"Content-Encoding {'x' * 64!r} is not read: send gzip, deflate or identity"),
        (b"", ",".join(["gzip"] * 4), "Content-Encoding names 4 codings, the limit is 3"),
        (
            BODY,
            "gzip",
            "body is declared gzip and is not: leave Content-Encoding out if it was inflated before",
        ),
        (
            gzip.compress(BODY, mtime=0)[:-1],
            "gzip",
            f"compressed body is cut off at byte {len(gzip.compress(BODY, mtime=0)) - 1}",
        ),
        (b"\x1f\x8b\x08", None, "compressed body is cut off at byte 3"),
        (b"", "deflate", "compressed body is cut off at byte 0"),
        (
            gzip.compress(BODY, mtime=0) + b"{}",
            "gzip",
            f"gzip body ends at byte {len(gzip.compress(BODY, mtime=0))}, 2 bytes",
        ),
        (zlib.compress(BODY) + b"\x00", "deflate", f"deflate body ends at byte {len(zlib.compress(BODY))}, 1 bytes"),
        (gzip.compress(BODY, mtime=0)[:-8] + bytes(8), "gzip", "compressed body is corrupt: Error -3"),
        (BODY, "deflate", "compressed body is corrupt: Error -3"),
        (gzip.compress(b"", mtime=0) * 1_001, "gzip", "gzip body has more than 1000 members"),
        (bytes((1 << 20) + 1), None, "body has 1048577 bytes, the limit is 1048576"),
    ],
)
def test_what_does_not_inflate_is_refused_with_its_reason(
    sent: bytes, content_encoding: str | None, reason: str
) -> None:
    with pytest.raises(MalformedPayload) as caught:
        inflate(sent, content_encoding, LIMITS)

    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, raw_deflate])
def test_the_bound_counts_inflated_bytes(compress, over: int) -> None:
    sent = compress(bytes(LIMITS.inflated_bytes + over))
    if not over:
        assert inflate(sent, "deflate", LIMITS) == bytes(LIMITS.inflated_bytes)
        return
    with pytest.raises(MalformedPayload, match="body inflates beyond the limit of inflated bytes"):
        inflate(sent, "deflate", LIMITS)


def test_the_bound_is_over_all_members() -> None:
    member = gzip.compress(bytes(LIMITS.inflated_bytes // 2), mtime=0)

    assert len(inflate(member * 2, "gzip", LIMITS)) == LIMITS.inflated_bytes
    with pytest.raises(MalformedPayload, match="beyond the limit"):
        inflate(member * 2 + gzip.compress(b"x", mtime=0), "gzip", LIMITS)


@pytest.mark.parametrize("content_encoding", ["gzip", "gzip, gzip", None])
def test_a_bomb_takes_no_more_memory_than_the_bound(content_encoding: str | None) -> None:
    bomb = gzip.compress(bytes(64 << 20), mtime=0)
    bomb = gzip.compress(bomb, mtime=0) if content_encoding == "gzip, gzip" else bomb

    tracemalloc.start()
    try:
        with pytest.raises(MalformedPayload, match="beyond the limit"):
            inflate(bomb, content_encoding, LIMITS)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak_bytes < 4 * LIMITS.inflated_bytes


@given(st.binary(max_size=2_000), st.sampled_from(["gzip", "deflate", "gzip, deflate", "deflate, deflate"]))
def test_what_was_deflated_inflates(body: bytes, content_encoding: str) -> None:
    sent = body
    for coding in content_encoding.split(", "):
        sent = {"gzip": gzip.compress, "deflate": zlib.compress}[coding](sent)

    assert inflate(sent, content_encoding, LIMITS) == body


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", None]), st.booleans())
def test_any_bytes_inflate_or_are_refused(body: bytes, content_encoding: str | None, with_magic: bool) -> None:
    with suppress(MalformedPayload):
        inflate(b"\x1f\x8b\x08" * with_magic + body, content_encoding, LIMITS)


@given(st.integers(0, 400))
def test_a_body_cut_anywhere_is_refused(cut: int) -> None:
    sent = gzip.compress(bytes(range(256)) * 4, mtime=0)
    with pytest.raises(MalformedPayload):
        inflate(sent[: cut % len(sent)], "gzip", LIMITS)


def test_a_compressed_grpc_message_tells_its_coding_itself() -> None:
    assert inflate_frame(gzip.compress(BODY, mtime=0), LIMITS) == inflate_frame(zlib.compress(BODY), LIMITS) == BODY
    with pytest.raises(MalformedPayload, match="neither gzip nor deflate"):
        inflate_frame(BODY, LIMITS)
