"""Encoded images as pixels: what a model that takes PNG or JPEG sees. Needs the extra `images`.

Source: PNG (W3C, third edition), JPEG (ITU-T T.81), through Pillow, which reads no other format here.
Invariant: no pixel is decoded before the whole batch is known to stay within `pixels`; a file that ends too early is
refused with its row.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wayside.eventing.errors import MalformedPayload, MissingExtra
from wayside.eventing.payloads.content_types import byte_values
from wayside.eventing.payloads.payload import Column, Datatype

try:
    from PIL import Image
except ImportError as exc:
    raise MissingExtra("Pillow", "images") from exc

_FORMATS = ("PNG", "JPEG")
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error)  # what Pillow raises for bad files
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_GREY = ("1", "L")
_COLOUR = ("RGB", "P", "CMYK", "YCbCr")
_TRANSPARENT = ("RGBA", "LA", "PA")


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a batch of images may cost. `pixels` counts width times height over all of its rows."""

    pixels: int = 64 << 20


def to_pixels(column: Column, limits: ImageLimits | None = None) -> NDArray[np.uint8]:
    """The images of a column of encoded PNG or JPEG files as uint8 of shape (rows, height, width, channels).

    One channel for grey, 3 for colour, 4 where there is transparency. Raises `MalformedPayload` where a row is null, no
    PNG or JPEG, cut off or damaged, has more than 8 bits a channel, or differs from row 0 in size or channels, and
    where the batch has more pixels than its limit.
    """
    if column.datatype is not Datatype.BYTES:
        raise MalformedPayload(f"column {column.name[:64]!r} is {column.datatype}: encoded images are BYTES")
    if not column.shape[0]:
        raise MalformedPayload("payload has no rows")
    images = [_opened(row, data) for row, data in enumerate(byte_values(column))]
    _check_alike(images)
    _check_size(images, limits or ImageLimits())
    return np.stack([_pixels(row, image) for row, image in enumerate(images)])


def _opened(row: int, data: bytes | None) -> Image.Image:
    """The image with its header read and no pixel decoded."""
    if data is None:
        raise MalformedPayload(f"row {row} is null, not an image")
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except _BOMB as exc:
        raise MalformedPayload(f"row {row} has more pixels than any image that is read") from exc
    except _BROKEN as exc:
        raise MalformedPayload(f"row {row} is no PNG or JPEG image, or its header is damaged") from exc


def _mode(row: int, image: Image.Image) -> str:
    """What the pixels are decoded to: grey, colour, or colour with transparency."""
    if image.mode in _GREY:
        return "L"
    if image.mode in _TRANSPARENT or (image.mode in _COLOUR and "transparency" in image.info):
        return "RGBA"
    if image.mode in _COLOUR:
        return "RGB"
    raise MalformedPayload(f"row {row} has pixels of mode {image.mode!r}: 8 bits a channel are read")


def _check_alike(images: Sequence[Image.Image]) -> None:
    first = (*images[0].size, _mode(0, images[0]))
    for row, image in enumerate(images):
        seen = (*image.size, _mode(row, image))
        if seen != first:
            told = " and ".join("{} x {} {}".format(*size) for size in (first, seen))
            raise MalformedPayload(f"images differ: row 0 and row {row} are {told}; a batch is of one size and mode")


def _check_size(images: Sequence[Image.Image], limits: ImageLimits) -> None:
    width, height = images[0].size
    if width * height * len(images) > limits.pixels:
        raise MalformedPayload(
            f"{len(images)} images of {width} x {height} pixels: the limit is {limits.pixels} in all"
        )


def _pixels(row: int, image: Image.Image) -> NDArray[np.uint8]:
    """The image as (height, width, channels)."""
    try:
        pixels = np.asarray(image.convert(_mode(row, image)), np.uint8)
    except _BROKEN as exc:
        raise MalformedPayload(f"row {row} is an image that is cut off or damaged") from exc
    return pixels.reshape(image.height, image.width, -1)
