"""What an ONNX graph may hold before it is given to onnxruntime, read from its bytes without any ONNX library.

Source: onnx/onnx.proto (field numbers) and the protocol buffers encoding guide. Serving installs no `onnx`, and
onnxruntime itself would follow external data to other files of this machine.
Invariant: a graph that passes is one file, of the operators that Wayside's own graphs are made of, without loops,
branches or functions: it takes as many steps as it has operators. Their results may still be as large as the product
of the sizes of two tensors; what has no memory fails, and is told.
"""

import re
from collections.abc import Iterator

_DOMAINS = (b"", b"ai.onnx.ml")
_OPERATORS = frozenset(
    b"Add Clip Elu Exp Gemm Identity MatMul Min Mul ReduceMean Relu Reshape Sigmoid Split Sqrt Squeeze Sub Tanh"
    b" TreeEnsembleRegressor".split()
)
_MOST_FIELDS = 1 << 20
_MOST_VARINT_BYTES = 10

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_MODEL_GRAPH, _MODEL_OPSET, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 8, 20, 25
_OPSET_DOMAIN = 1
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE = (22, 23)
# floats, ints, and the strings that name a tree's nodes, LEAF and BRANCH_LEQ: a forest has millions
_PLAIN_ATTRIBUTES = re.compile(rb"(?s:\x3d.{4}|\x40[\x80-\xff]{0,9}+[\x00-\x7f]|\x4a\x04.{4}|\x4a\x0a.{10})*+")
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_NOTHING = re.compile(rb"")

Field = tuple[int, int | memoryview]


def check_graph(graph: bytes) -> None:
    """Raises `ValueError` that says what the graph has and may not have, or that it is no ONNX model at all."""
    graphs = 0
    for number, value in _fields(memoryview(graph)):
        if number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
            raise ValueError("the graph has functions or training steps")
        if number == _MODEL_OPSET:
            _check_domain(_message(value), _OPSET_DOMAIN)
        elif number == _MODEL_GRAPH:
            graphs += 1
            _check_nodes(_message(value))
    if graphs != 1:
        raise ValueError(f"the file holds {graphs} ONNX graphs, not one")


def _check_nodes(graph: memoryview) -> None:
    for number, value in _fields(graph):
        if number == _GRAPH_SPARSE:
            raise ValueError("the graph has sparse tensors")
        if number == _GRAPH_INITIALIZER:
            _check_tensor(_message(value))
        elif number == _GRAPH_NODE:
            _check_domain(_message(value), _NODE_DOMAIN)
            _check_attributes(_message(value))
            _check_operator(_message(value))


def _check_attributes(node: memoryview) -> None:
    for number, attribute in _fields(node):
        if number != _NODE_ATTRIBUTE:
            continue
        for inner, value in _fields(_message(attribute), _PLAIN_ATTRIBUTES):
            if inner in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS, *_ATTRIBUTE_SPARSE):
                raise ValueError(
                    f"operator {_operator(node)!r} of the graph holds a graph of its own, or sparse tensors"
                )
            if inner in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                _check_tensor(_message(value))


def _check_operator(node: memoryview) -> None:
    for number, value in _fields(node):
        if number == _NODE_OPERATOR and bytes(_message(value)) not in _OPERATORS:
            raise ValueError(f"operator {_operator(node)!r} of the graph is none that a detector's graph has")


def _check_tensor(tensor: memoryview) -> None:
    for number, value in _fields(tensor):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):
            raise ValueError("the graph has external data: only tensors inside the file are read")


def _check_domain(message: memoryview, at: int) -> None:
    for number, value in _fields(message):
        if number == at and bytes(_message(value)) not in _DOMAINS:
            raise ValueError(f"the graph uses operators of {bytes(_message(value))[:64]!r}, not of the ONNX standard")


def _operator(node: memoryview) -> str:
    names = [bytes(_message(value)) for number, value in _fields(node) if number == _NODE_OPERATOR]
    return names[-1][:64].decode(errors="replace") if names else ""


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("the file is no ONNX model")
    return value


def _fields(message: memoryview, skipped: re.Pattern[bytes] = _NOTHING) -> Iterator[Field]:
    """The fields of one message in order, those inside them unread, and those that `skipped` matches left out."""
    at, count = _end_of(skipped, message, 0), 0
    while at < len(message):
        key, at = _varint(message, at)
        if key >> 32 or not key >> 3:  # other readers may cut such a key, and see another field
            raise ValueError("the file is no ONNX model")
        value, at = _value(message, at, key & 7)
        count += 1
        if count > _MOST_FIELDS:
            raise ValueError(f"a message of the file has more than {_MOST_FIELDS} fields")
        yield key >> 3, value
        at = _end_of(skipped, message, at)


def _end_of(skipped: re.Pattern[bytes], message: memoryview, at: int) -> int:
    match = skipped.match(message, at)
    return match.end() if match else at


def _value(message: memoryview, at: int, wire_type: int) -> tuple[int | memoryview, int]:
    if wire_type == _VARINT:
        return _varint(message, at)
    if wire_type == _BYTES:
        size, at = _varint(message, at)
    elif wire_type in (_FIXED64, _FIXED32):
        size = 8 if wire_type == _FIXED64 else 4
    else:
        raise ValueError("the file is no ONNX model")
    if size > len(message) - at:
        raise ValueError("the file is no ONNX model, or only part of one")
    return message[at : at + size], at + size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(message[at : at + _MOST_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("the file is no ONNX model, or only part of one")
