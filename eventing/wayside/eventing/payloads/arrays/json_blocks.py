"""JSON bodies at the speed of their numbers: large arrays are parsed by simdjson, the rest by the strict loader.

An array of numbers is cut out of the body, and a number that stands nowhere in it takes its place. The small rest goes
through `json_body`, and where that meets such a number it gets the array. A number may stand wherever an array may, and
nowhere else, so grammar, duplicate keys and depth are judged by the code that judges without arrays; a cut that lay
within a string shows, because no number is read there. simdjson gives the numbers of an array, but flattens
`[[1, 2], [3]]` and `[[1], [2, 3]]` alike and rounds 2^53 + 1: shape and exactness are restored here, from the bytes.

Source: RFC 8259; simdjson (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019) through pysimdjson.
Invariant: for every body, `load` gives what `json_body.load` gives, blocks for lists, or refuses for the same reason:
what is in doubt (ragged, empty, null, NaN, 1e400, beyond 64 bits, an integer that a float would round) is not cut.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray
from simdjson import Parser

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads import json_body
from wayside.eventing.payloads.datatypes import EXACT_LIMIT
from wayside.eventing.payloads.payload import Datatype, Limits, NumberBlock, Tree

if TYPE_CHECKING:
    from simdjson import Array

_LEAST_BYTES: Final = 512  # of an array that is worth a cut; below it the strict loader is as quick
_MARK: Final = b"-0.0e-777"  # how our numbers start; a body that has one of its own is not cut
_SCAN_BYTES: Final = 1 << 17  # at once: stays in the processor's cache
_KEPT_BYTES: Final = 4 << 20  # of the largest array that a thread's own parser is given: what it takes it keeps
_NUMBER_BYTES: Final = b"0123456789+-.eE \t\n\r"
_REFUSALS: Final = (ValueError, TypeError, RuntimeError)  # what pysimdjson raises for text that it does not take
_Code = Literal["d", "i", "u"]
_FLOAT: Final[Sequence[_Code]] = ("d",)
_INTEGERS: Final[Sequence[_Code]] = ("i", "u")
_DTYPES: Final = {"d": np.float64, "i": np.int64, "u": np.uint64}
_DATATYPES: Final = {"i": Datatype.INT64, "u": Datatype.UINT64, "f": Datatype.FP64}


class _Kept(threading.local):
    """A parser of each thread's own. A new one for each body doubles the time: its buffers are new memory."""

    def __init__(self) -> None:
        self.parser = Parser()


_KEPT: Final = _Kept()


@dataclass(frozen=True, slots=True, eq=False)
class ArrayBlock(NumberBlock):
    """The numbers as int64, uint64 or float64. `mixed` is the text where integers and floats stand side by side."""

    array: NDArray[Any]
    mixed: bytes | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def datatype(self) -> Datatype:
        return _DATATYPES[self.array.dtype.kind]

    @property
    def bounds(self) -> tuple[int | float, int | float]:
        """The least and the greatest number."""
        return self.array.min().item(), self.array.max().item()

    def tolist(self) -> list[Any]:
        lists: list[Any] = self.array.tolist() if self.mixed is None else json.loads(self.mixed)
        return lists


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where an array stands in the body, from its first bracket to behind its last."""

    start: int
    end: int
    block: ArrayBlock


def load(body: bytes, limits: Limits) -> Tree:
    """The document as `json_body.load` reads it, with an `ArrayBlock` for each large array of numbers in it.

    A block is always the value of an object's member, never a part of a list. Time is linear in the body, at most about
    twice the strict loader's where arrays turn out to stand in a text. Raises `MalformedPayload` as that loader does.
    """
    cuts = _cuts(body, limits) if len(body) > _LEAST_BYTES else []
    if cuts:
        with suppress(MalformedPayload):  # the strict loader says why, by where it stands in the body itself
            return _load_around(body, cuts, limits)
    return json_body.load(body, limits)


def _load_around(body: bytes, cuts: Sequence[_Cut], limits: Limits) -> Tree:
    """The document around the cuts. Raises `MalformedPayload` where it is refused, or may have to be."""
    marks = [_MARK + b"%d" % number for number in range(len(cuts))]
    waiting = {mark.decode(): cut.block for mark, cut in zip(marks, cuts, strict=True)}

    def number(text: str) -> ArrayBlock | float:
        block = waiting.pop(text, None)
        return float(text) if block is None else block

    depth = limits.depth - max(len(cut.block.shape) for cut in cuts)
    tree = json_body.load_with(_skeleton(body, cuts, marks), replace(limits, depth=depth), number)
    if waiting:
        raise MalformedPayload("an array of numbers is part of a text")
    return tree


def _skeleton(body: bytes, cuts: Sequence[_Cut], marks: Sequence[bytes]) -> bytes:
    """The body with a number, spaces around it, for each cut. Raises `MalformedPayload` where it has such a number."""
    starts = [0, *(cut.end for cut in cuts)]
    ends = [*(cut.start for cut in cuts), len(body)]
    parts = [body[start:end] for start, end in zip(starts, ends, strict=True)]
    if any(_MARK in part for part in parts):
        raise MalformedPayload("a number looks like ours")
    return b"".join(part + b" %b " % mark for part, mark in zip(parts, marks, strict=False)) + parts[-1]


def _cuts(body: bytes, limits: Limits) -> list[_Cut]:
    blocks = ((start, end, read_block(body[start:end], limits.dimensions)) for start, end in _spans(body))
    return [_Cut(start, end, block) for start, end, block in blocks if block is not None]


def _spans(body: bytes) -> Iterator[tuple[int, int]]:
    """Where a colon is followed by a large bracketed text that holds no quote, colon or brace."""
    for colon, stop in _gaps(body):
        start, end = body.find(b"[", colon, stop), body.rfind(b"]", colon, stop) + 1
        if body[colon] == ord(":") and start >= 0 and end - start >= _LEAST_BYTES:
            yield start, end


def _gaps(body: bytes) -> Iterator[tuple[int, int]]:
    """Where quotes, colons and braces stand far from one another: each such pair of neighbours."""
    last = 0
    for start in range(0, len(body), _SCAN_BYTES):
        text = np.frombuffer(body, np.uint8, min(_SCAN_BYTES, len(body) - start), start)
        is_border = (text == ord('"')) | (text == ord(":")) | (text == ord("{")) | (text == ord("}"))
        borders = np.concatenate(([last], np.flatnonzero(is_border) + start))
        far = np.flatnonzero(np.diff(borders) > _LEAST_BYTES)
        yield from zip(borders[far].tolist(), borders[far + 1].tolist(), strict=True)
        last = int(borders[-1])


def read_block(text: bytes, dimensions: int) -> ArrayBlock | None:
    """The numbers of one JSON array; None where `text` is none, or not rectangular, or not exact."""
    shape = _shape(text.translate(None, _NUMBER_BYTES), dimensions)
    array = None if shape is None else _numbers(text)
    if shape is None or array is None or array.size != prod(shape):
        return None
    if array.dtype.kind != "f" or np.count_nonzero(np.frombuffer(text, np.uint8) == ord(".")) == array.size:
        return ArrayBlock(array.reshape(shape))
    if max(array.max(), -array.min()) < EXACT_LIMIT:  # integers may be among the floats: none that a float rounds
        return ArrayBlock(array.reshape(shape), text)
    return None


def _shape(brackets: bytes, dimensions: int) -> tuple[int, ...] | None:
    """The shape of a rectangular array of which all but brackets and commas is left out; None where it is another.

    The first list at each level tells the size there. What such an array looks like is then written out and compared.
    """
    depth = len(brackets) - len(brackets.lstrip(b"["))
    if not 1 <= depth <= dimensions:
        return None
    sizes: list[int] = []
    inner = b""
    for level in range(1, depth + 1):
        closed = brackets.find(b"]" * level)
        size, rest = divmod(closed + 2 * level - depth - 1, len(inner) + 1)
        if closed < 0 or rest or size < 1:
            return None
        sizes.append(size)
        inner = b"[%b]" % ((b"," + inner) * size)[1:]
    return tuple(reversed(sizes)) if inner == brackets else None


def _numbers(text: bytes) -> NDArray[Any] | None:
    """All numbers in a JSON array, in order; None where it holds anything else or an integer beyond 64 bits."""
    parser = _KEPT.parser if len(text) <= _KEPT_BYTES else Parser()
    with suppress(*_REFUSALS):
        array = cast("Array", parser.parse(text))  # a view: gone when this returns, and the parser is free again
        is_float = any(letter in text for letter in (b".", b"e", b"E"))
        for code in _FLOAT if is_float else _INTEGERS:
            with suppress(*_REFUSALS):
                return np.frombuffer(array.as_buffer(of_type=code), _DTYPES[code])
    return None
