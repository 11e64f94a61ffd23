"""Payloads: milliseconds from a body to its float64 array, by Wayside's two loaders and by plain readers with numpy.

All are given the same bytes in one run. pysimdjson's buffer stands last as the floor: it is told where the numbers are,
keeps neither shape nor exactness ([[1,2],[3]] and [[1],[2,3]] come out alike, 2^53 + 1 rounded), and checks no more.
"""

import json
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from simdjson import Parser

from wayside.eventing.payloads import json_body
from wayside.eventing.payloads.arrays import json_blocks, to_matrix
from wayside.eventing.payloads.decode import decode
from wayside.eventing.payloads.payload import Kind, Limits, Load, Message

COLUMNS = (
    "body",
    "size",
    "Wayside, strict",
    "Wayside, arrays",
    "json + numpy",
    "orjson + numpy",
    "simdjson buffer (no shape, not exact)",
)
NAMES = [f"feature_{number}" for number in range(10)]
Read = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A body, what plain readers pick from its document, and where simdjson finds its numbers; None where it cannot."""

    name: str
    message: Message
    pick: Read | None = None
    pointer: str | None = None
    names: Sequence[str] | None = None


def cases() -> list[Case]:
    random = np.random.default_rng(5)
    images = random.random((32, 32, 32, 3))
    table = random.random((256, 18))
    records = [dict(zip(NAMES, values, strict=True)) for values in random.random((1000, 10)).tolist()]
    return [
        Case("V1, 256 x 18", _v1(table.tolist()), _instances, "/instances"),
        Case("V1, 32 images of 32 x 32 x 3", _v1(images.tolist()), _instances, "/instances"),
        Case("V2, the same flat", _v2(images), _data, "/inputs/0/data"),
        Case("V2, 256 Ki floats packed", _v2_binary(random.random((1024, 256)))),
        Case("V1, 1000 objects of 10", _v1(records), _records, names=NAMES),
    ]


def _v1(rows: list[Any]) -> Message:
    return Message(json.dumps({"instances": rows}).encode(), Kind.REQUEST)


def _v2(array: np.ndarray) -> Message:
    tensor = {"name": "x", "shape": array.shape, "datatype": "FP64", "data": array.ravel().tolist()}
    return Message(json.dumps({"inputs": [tensor]}).encode(), Kind.REQUEST)


def _v2_binary(array: np.ndarray) -> Message:
    tensor = {"name": "x", "shape": array.shape, "datatype": "FP64", "parameters": {"binary_data_size": array.nbytes}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return Message(head + array.tobytes(), Kind.REQUEST, header_length=len(head))


def _instances(document: Any) -> Any:
    return document["instances"]


def _data(document: Any) -> Any:
    return document["inputs"][0]["data"]


def _records(document: Any) -> Any:
    return [[row[name] for name in NAMES] for row in document["instances"]]


def best_ms(call: Callable[[], object], number: int, repeat: int = 9) -> float:
    """Milliseconds a call, the best of several rounds: what the machine can do when nobody disturbs it."""
    call()
    return min(timeit.repeat(call, number=number, repeat=repeat)) / number * 1e3


def _wayside(case: Case, load: Load) -> Callable[[], object]:
    limits = Limits()
    return lambda: to_matrix(decode(case.message, limits, load), names=case.names)


def _plain(case: Case, loads: Callable[[bytes], Any]) -> Callable[[], object] | None:
    pick, body = case.pick, case.message.body
    if pick is None:
        return None
    return lambda: (values := np.array(pick(loads(body)), np.float64)).reshape(len(values), -1)


def _buffer(case: Case) -> Callable[[], object] | None:
    pointer, body, parser = case.pointer, case.message.body, Parser()
    if pointer is None:
        return None
    return lambda: np.frombuffer(parser.parse(body).at_pointer(pointer).as_buffer(of_type="d"))


def rows() -> list[tuple[str, ...]]:
    """What is read, its size, and milliseconds by each reader; a dash where it cannot read such a body."""
    return [_row(case) for case in cases()]


def _row(case: Case) -> tuple[str, ...]:
    number = 3 if len(case.message.body) > 500_000 else 20
    calls = [
        _wayside(case, json_body.load),
        _wayside(case, json_blocks.load),
        _plain(case, json.loads),
        _plain(case, orjson.loads),
        _buffer(case),
    ]
    figures = ["-" if call is None else f"{best_ms(call, number):.2f}" for call in calls]
    return (case.name, f"{len(case.message.body) / 1e6:.2f} MB", *figures)
