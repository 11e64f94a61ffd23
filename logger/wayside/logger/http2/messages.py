"""gRPC's messages within a body, and which calls are recorded.

Source: gRPC over HTTP/2 (PROTOCOL-HTTP2.md): Length-Prefixed-Message, Content-Type; Open Inference Protocol,
grpc_predict_v2.proto, as KServe, MLServer and Triton serve it (package `inference`), and TorchServe under its own.
Invariant: no I/O, and nothing is held but a message's prefix.
"""

import re
from enum import Enum, auto
from typing import Final

from wayside.logger.capture.request import RequestHead

_PREFIX_BYTES: Final = 5
_UNARY_INFERENCE: Final = re.compile(rb"/(?:[\w.]+\.)?GRPCInferenceService/ModelInfer", re.ASCII)
_GRPC: Final = b"application/grpc"


class Call(Enum):
    """What a request is to the logger."""

    REST = auto()
    UNARY = auto()
    UNLOGGED = auto()


def call_of(head: RequestHead) -> Call:
    """A tunnel is not logged, nor is a gRPC call of any other method than the one that infers, which is unary."""
    content_type = head.fields.get(b"content-type", b"").lower()
    if not content_type.startswith(_GRPC):
        return Call.UNLOGGED if head.method == b"CONNECT" else Call.REST
    is_native = content_type[len(_GRPC) :][:1] in (b"", b"+", b";")  # and not gRPC-Web, whose trailers are in the body
    return Call.UNARY if is_native and _UNARY_INFERENCE.fullmatch(head.target) else Call.UNLOGGED


class UnaryMessage:
    """The one message of a unary body.

    `is_whole`: exactly one message came, with nothing behind it. `is_absent`: nothing came at all. `compressed` is the
    message's own flag.
    """

    __slots__ = ("_excess", "_left", "_prefix", "compressed")

    def __init__(self) -> None:
        self._prefix = b""
        self._left = 0
        self._excess = False
        self.compressed = False

    @property
    def is_absent(self) -> bool:
        return not self._prefix

    @property
    def is_whole(self) -> bool:
        return len(self._prefix) == _PREFIX_BYTES and not (self._left or self._excess)

    def receive_data(self, data: memoryview) -> memoryview:
        """What belongs to the message of the body's next bytes."""
        missing = _PREFIX_BYTES - len(self._prefix)
        if missing:
            self._prefix += data[:missing]
            data = data[missing:]
            if len(self._prefix) < _PREFIX_BYTES:
                return data
            self.compressed, self._left = self._prefix[0] == 1, int.from_bytes(self._prefix[1:])
        piece = data[: self._left]
        self._left -= len(piece)
        self._excess |= len(data) > len(piece)
        return piece
