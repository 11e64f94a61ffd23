"""Images by their first bytes: media type and size as Pillow reads them, for files whole, cut off and damaged."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.images import HEAD_BYTES, JPEG, PNG, ImageHead, media_type, read, sniff
from wayside.eventing.payloads.payload import Datatype, Kind, Protocol

_CHANNELS = {"1": 1, "L": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}


def _file(mode: str, image_format: str, size: tuple[int, int] = (7, 5), **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, image_format, **options)
    return out.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_png(mode: str) -> None:
    assert sniff(_file(mode, "PNG")) == ImageHead(PNG, 7, 5, _CHANNELS[mode])


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": b"Exif\0\0" + b"x" * 5000}, {"comment": b"c"}])
def test_jpeg(mode: str, options: dict[str, object]) -> None:
    assert sniff(_file(mode, "JPEG", (300, 2), **options)) == ImageHead(JPEG, 300, 2, _CHANNELS[mode])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\x00\x00" + bytes(40),
        b"\xff\xd8" + b"\xff" * 100_000,
        b"\xff\xd8" + b"\xff\xd0" * 100_000,
        b"\xff\xd8" + b"\xff\xe0\x00\x02" * HEAD_BYTES + b"\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x01",
    ],
)
def test_no_head(body: bytes) -> None:
    assert sniff(body) is None


@given(st.sampled_from(["PNG", "JPEG"]), st.data())
def test_files_cut_off_or_damaged_raise_nothing(image_format: str, data: st.DataObject) -> None:
    body = bytearray(_file("RGB", image_format))
    for at in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=4)):
        body[at] ^= data.draw(st.integers(1, 255))
    sniff(bytes(body[: data.draw(st.integers(0, len(body)))]))


def test_a_file_is_one_row() -> None:
    body = _file("RGB", "PNG")
    payload = read(body, None)
    (column,) = payload.columns
    assert (payload.protocol, payload.kind, payload.rows, payload.named) == (Protocol.IMAGE, Kind.REQUEST, 1, False)
    assert (column.datatype, column.content_type, media_type(body)) == (Datatype.BYTES, PNG, PNG)
    assert read(body, Kind.RESPONSE).kind is Kind.RESPONSE


@pytest.mark.parametrize(
    ("body", "kind"), [(b"GIF89a", None), (b"\xff\xd8\xff", None), (_file("L", "PNG"), Kind.VERDICT)]
)
def test_what_is_no_image_is_refused(body: bytes, kind: Kind | None) -> None:
    with pytest.raises(MalformedPayload):
        read(body, kind)
