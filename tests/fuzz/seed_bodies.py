"""Small bodies of every protocol, to start fuzzing from."""

import gzip
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

NUMBERS = [[0.25, 1.5, -3e-7], [1, 2, 3]]
DOCUMENTS: list[Any] = [
    {"instances": NUMBERS},
    {"instances": [NUMBERS * 40] * 3},
    {"instances": [{"a": 1, "b": "x"}, {"b": "y", "a": 2}]},
    {"instances": [{"image": {"b64": "iVBORw0KGgo="}}]},
    {"inputs": {"a": [1, 2], "b": ["x", "y"]}, "signature_name": "s"},
    {"predictions": [1, 0], "model_name": "m"},
    {"id": "7", "inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": NUMBERS}]},
    {"inputs": [{"name": "t", "shape": [1], "datatype": "BYTES", "data": ["é"], "parameters": {"content_type": "pd"}}]},
    {"inputs": [{"name": "i", "shape": [3, 200], "datatype": "UINT8", "data": [[7] * 200] * 3}]},
    {"outputs": [{"name": "y", "shape": [2], "datatype": "INT64", "data": [1, 2**62]}], "model_name": "m"},
    {"data": {"names": ["a", "b"], "ndarray": [[1, "x"], [2, "y"]]}, "meta": {"puid": "p"}},
    {"data": {"tensor": {"shape": [2, 1], "values": [1, 2]}}},
    {"data": {"tftensor": {"dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "2"}]}, "floatVal": [1, 2]}}},
    {"strData": "text"},
    {"binData": "AAEC"},
    {"jsonData": {"a": [1, 2]}},
    {"request": {"data": {"ndarray": [[1]]}}, "response": {"data": {"ndarray": [[0.5]]}}, "reward": 1},
    {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
    {"model": "m", "prompt": ["a", "b"]},
    {"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": "4"}}]},
    {"input": ["a"], "model": "e"},
    {"object": "list", "data": [{"index": 0, "embedding": [0.5, 0.25]}]},
    {"data": {"is_outlier": [0, 1], "instance_score": [0.5, None]}, "meta": {"name": "x"}},
    [[1, 2], [3]],
]


def seeds() -> Iterator[bytes]:
    """Inputs of the fuzzer: five bytes of declarations, then a body."""
    plain = bytes(5)
    for document in DOCUMENTS:
        yield plain + json.dumps(document).encode()
    body = json.dumps(DOCUMENTS[0]).encode()
    yield bytes((0, 0, 1, 0, 0)) + gzip.compress(body, mtime=0)
    yield bytes((0, 0, 2, 0, 0)) + zlib.compress(body)
    yield plain + b'data: {"choices":[{"index":0,"delta":{"content":"4"}}]}\n\ndata: [DONE]\n\n'
    tensor = {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    yield plain + json.dumps({"inputs": [tensor]}).encode() + struct.pack("<2f", 1, 2)
    grpc = _message(b"\x0a\x01m", _tensor(b"x", b"FP32", struct.pack("<2f", 1, 2)))
    yield bytes((0, 1, 0, 3, 0)) + grpc
    yield bytes((0, 1, 0, 2, 0)) + b"\x00" + struct.pack(">I", len(grpc)) + grpc


def _tensor(name: bytes, datatype: bytes, packed: bytes) -> bytes:
    contents = b"\x32" + bytes([len(packed)]) + packed
    head = b"\x0a" + bytes([len(name)]) + name + b"\x12" + bytes([len(datatype)]) + datatype + b"\x1a\x01\x02"
    return head + b"\x2a" + bytes([len(contents)]) + contents


def _message(head: bytes, tensor: bytes) -> bytes:
    return head + b"\x2a" + bytes([len(tensor)]) + tensor
