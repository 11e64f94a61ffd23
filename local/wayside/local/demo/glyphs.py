"""What is no digit, drawn at 8 x 8 pixels: letters, frames, stripes, checkerboards. Templates for the foreign rows.

Invariant: a template has shape (8, 8) and values 0 or 1.
"""

import numpy as np
from numpy.typing import NDArray

SIDE = 8

# One byte a row of the picture, the highest bit at the left.
_LETTERS = (
    "183c66c3ffffc3c3",  # A
    "fffec0fcfcc0feff",  # E
    "c3c3c3ffffc3c3c3",  # H
    "ffff1818181818ff",  # I with serifs
    "c3ccd0e0f0d8ccc3",  # K
    "c0c0c0c0c0c0ffff",  # L
    "c3e7ffdbc3c3c3c3",  # M
    "c3e3f3dbcfc7c3c3",  # N
    "ffff181818181818",  # T
    "c3c3c3c3c3c3ff7e",  # U
    "c3c3c3dbdbffe7c3",  # W
    "c3663c18183c66c3",  # X
)


def templates() -> NDArray[np.float64]:
    """Every template, shape (templates, 8, 8)."""
    return np.stack([*_letters(), *_shapes()])


def _letters() -> list[NDArray[np.float64]]:
    rows = (np.frombuffer(bytes.fromhex(letter), np.uint8) for letter in _LETTERS)
    return [np.unpackbits(bits).reshape(SIDE, SIDE).astype(np.float64) for bits in rows]


def _shapes() -> list[NDArray[np.float64]]:
    y, x = np.indices((SIDE, SIDE))
    edge = np.minimum(np.minimum(x, y), SIDE - 1 - np.maximum(x, y))
    masks = (
        (x + y) % 2 == 0,
        (x // 2 + y // 2) % 2 == 0,
        x % 2 == 0,
        y % 2 == 0,
        (x + y) // 2 % 2 == 0,
        edge == 0,
        edge % 2 == 0,
        np.abs(x - y) <= 1,
    )
    return [mask.astype(np.float64) for mask in masks]
