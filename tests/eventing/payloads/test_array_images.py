"""Encoded PNG and JPEG columns as pixels, and files that are none, are cut off, or cost too much."""

import io
import json
import zlib
from base64 import b64encode
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.arrays import decode
from wayside.eventing.payloads.arrays.images import ImageLimits, to_pixels
from wayside.eventing.payloads.datatypes import Packed, pack_elements
from wayside.eventing.payloads.payload import Column, Datatype, FlatList, Message

RNG = np.random.default_rng(0)


def _file(image: Image.Image, format_name: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format_name, **options)
    return out.getvalue()


def _noise(mode: str, width: int = 7, height: int = 5) -> Image.Image:
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "LA": (2,)}[mode]
    return Image.fromarray(RNG.integers(0, 256, (height, width, *channels), np.uint8))


def _column(*files: bytes | None) -> Column:
    items = [None if file is None else {"b64": b64encode(file).decode()} for file in files]
    return Column("image", Datatype.BYTES, (len(items),), FlatList(items), content_type="image/png")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_png_pixels_are_those_that_were_saved(mode: str, channels: int) -> None:
    images = [_noise(mode) for _ in range(3)]
    pixels = to_pixels(_column(*map(_file, images)))
    assert (pixels.shape, pixels.dtype) == ((3, 5, 7, channels), np.uint8)
    np.testing.assert_array_equal(pixels, np.stack([np.asarray(image) for image in images]).reshape(pixels.shape))


def test_jpeg_pixels_are_pillows() -> None:
    file = _file(_noise("RGB", 16, 16), "JPEG", quality=95)
    np.testing.assert_array_equal(to_pixels(_column(file))[0], np.asarray(Image.open(io.BytesIO(file))))


@pytest.mark.parametrize(
    ("image", "channels"),
    [
        (_noise("RGB").convert("1"), 1),
        (_noise("RGB").quantize(16), 3),
        (_noise("LA"), 4),
    ],
    ids=["bits", "palette", "grey and alpha"],
)
def test_other_modes_become_grey_colour_or_transparent(image: Image.Image, channels: int) -> None:
    assert to_pixels(_column(_file(image))).shape == (1, 5, 7, channels)


def test_a_palette_with_transparency_is_transparent() -> None:
    file = _file(_noise("RGB").quantize(16), transparency=0)
    assert to_pixels(_column(file)).shape == (1, 5, 7, 4)


def test_cmyk_is_colour() -> None:
    assert to_pixels(_column(_file(_noise("RGB").convert("CMYK"), "JPEG"))).shape == (1, 5, 7, 3)


def test_bytes_packed_as_triton_packs_them() -> None:
    file = _file(_noise("L"))
    packed = Column("image", Datatype.BYTES, (2, 1), Packed(pack_elements([file, file]), Datatype.BYTES))
    assert to_pixels(packed).shape == (2, 5, 7, 1)


def test_bodies_of_images() -> None:
    file = _file(_noise("RGB"))
    document = {
        "instances": [{"image": {"b64": b64encode(file).decode()}}, {"image": {"b64": b64encode(file).decode()}}]
    }
    column = decode(Message(json.dumps(document).encode())).columns[0]
    assert to_pixels(column).shape == (2, 5, 7, 3)
    assert to_pixels(decode(Message(file)).columns[0]).shape == (1, 5, 7, 3)


def _bomb(side: int) -> bytes:
    """A PNG of few bytes that says it has side times side pixels."""
    header = side.to_bytes(4) * 2 + bytes([1, 0, 0, 0, 0])
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b"")]
    body = b"".join(len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4) for name, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([_file(_noise("L")), None], "row 1 is null"),
        ([_file(_noise("L")), b"no image"], "row 1 is no PNG or JPEG"),
        ([b""], "row 0 is no PNG or JPEG"),
        ([_file(_noise("L"), "GIF")], "row 0 is no PNG or JPEG"),
        ([_file(_noise("RGB"))[:90]], "row 0 is an image that is cut off"),
        ([_file(_noise("RGB", 40, 40), "JPEG")[:700]], "row 0 is an image that is cut off"),
        ([_file(_noise("RGB"))[:12]], "row 0 is no PNG or JPEG"),
        ([_file(_noise("L")), _file(_noise("L", 7, 6))], "row 0 and row 1 are 7 x 5 L and 7 x 6 L"),
        ([_file(_noise("L")), _file(_noise("RGB"))], "row 0 and row 1 are 7 x 5 L and 7 x 5 RGB"),
        ([_file(Image.new("I;16", (4, 4)))], "row 0 has pixels of mode"),
        ([_bomb(8_000)], "of 8000 x 8000 pixels"),
        ([_bomb(10_000)], "row 0 has more pixels than any image that is read"),
        ([_bomb(60_000)], "row 0 has more pixels than any image that is read"),
    ],
)
def test_what_makes_no_pixels(files: list[bytes | None], reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        to_pixels(_column(*files), ImageLimits(pixels=1 << 20))


def test_the_limit_is_of_the_whole_batch() -> None:
    file = _file(_noise("L"))
    assert len(to_pixels(_column(file, file), ImageLimits(pixels=70))) == 2
    with pytest.raises(MalformedPayload, match="2 images of 7 x 5 pixels: the limit is 69 in all"):
        to_pixels(_column(file, file), ImageLimits(pixels=69))


def test_only_bytes_hold_images_and_a_batch_has_rows() -> None:
    with pytest.raises(MalformedPayload, match="column 'x' is FP64: encoded images are BYTES"):
        to_pixels(Column("x", Datatype.FP64, (1,), FlatList([1.0])))
    with pytest.raises(MalformedPayload, match="no rows"):
        to_pixels(_column())


FILES = [_file(_noise("RGB")), _file(_noise("L"), "JPEG"), _file(_noise("RGB").quantize(4), transparency=0)]


@given(st.sampled_from(FILES), st.data())
def test_damaged_files_are_pixels_or_refused(file: bytes, data: st.DataObject) -> None:
    broken = bytearray(file)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(broken) - 1))
        broken[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with suppress(MalformedPayload):
        to_pixels(_column(bytes(broken)), ImageLimits(pixels=1 << 16))
