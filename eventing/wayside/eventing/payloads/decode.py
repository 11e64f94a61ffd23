"""From a body and what its headers say to a payload: which encoding, which protocol, then that protocol's reader.

Source: KServe's V1 and V2, the Open Inference Protocol with its binary extension and gRPC, Seldon's and OpenAI's APIs.
Invariant: what a sender declares decides; a content type alone only where the body does not contradict it, because
KServe's logger puts the request's content type on responses. A body is read whole or refused with one reason.
"""

from collections.abc import Mapping
from typing import Protocol as Interface

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads import encoding, images, json_body
from wayside.eventing.payloads.payload import Kind, Limits, Load, Message, NumberBlock, Payload, Protocol, Tree
from wayside.eventing.payloads.protocols import (
    detector_results,
    openai,
    plain_json,
    seldon,
    v1,
    v2_binary,
    v2_grpc,
    v2_json,
)
from wayside.eventing.payloads.protocols.members import type_word

_BINARY_MARK = b'"binary_data_size"'
_STREAM_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")
_NAMES_SHOWN = 8
_ERROR_SHOWN = 64
_LIMITS = Limits()


class Reader(Interface):
    """A JSON protocol's module. `claims` is a cheap look at a document's members; `read` is strict."""

    def claims(self, tree: Tree) -> bool: ...

    def read(self, tree: Tree, kind: Kind | None, limits: Limits) -> Payload: ...


# A detector's result has Seldon's members, feedback a request's within it: whoever looks closest is asked first.
_READERS: Mapping[Protocol, Reader] = {
    Protocol.DETECTOR: detector_results,
    Protocol.V2: v2_json,
    Protocol.V1: v1,
    Protocol.SELDON: seldon,
    Protocol.OPENAI: openai,
}
_DECLARED: Mapping[Protocol, Reader] = {**_READERS, Protocol.JSON: plain_json}


def decode(message: Message, limits: Limits | None = None, load: Load = json_body.load) -> Payload:
    """The payload in a message. `load` reads JSON; the arrays layer has a faster one that reads the same.

    Raises `MalformedPayload` with the reason that a person would give: what is wrong, and where.
    """
    limits = limits or _LIMITS
    body = encoding.inflate(message.body, message.content_encoding, limits)
    if not body or body.isspace():
        raise MalformedPayload("body is empty")
    protocol = message.protocol or _recognise(body, message.content_type)
    if protocol is Protocol.V2_GRPC:
        return v2_grpc.read(body, message.kind, limits, framed=body[0] <= 1)
    if protocol is Protocol.IMAGE:
        return images.read(body, message.kind)
    if protocol in (None, Protocol.OPENAI) and body.lstrip().startswith(_STREAM_STARTS):
        return _read_stream(body, message.kind, limits)
    if _has_tail(body, message.header_length):
        return _read_binary(body, message, limits, load)
    return _read_json(load(body, limits), protocol, message.kind, limits)


def _recognise(body: bytes, content_type: str | None) -> Protocol | None:
    """A protocol that is no JSON, by its first bytes and its content type; None for what looks like text.

    A protobuf message and a gRPC frame never start with '{': it would be a group, which no field of theirs is.
    """
    if body.lstrip().startswith((b"{", b"[")):
        return None
    if images.media_type(body) is not None:
        return Protocol.IMAGE
    media_type = (content_type or "").split(";", 1)[0].strip().lower()
    is_protobuf = media_type.startswith("application/grpc") or media_type.endswith(("/protobuf", "/x-protobuf"))
    return Protocol.V2_GRPC if is_protobuf else None


def _read_stream(body: bytes, kind: Kind | None, limits: Limits) -> Payload:
    if kind not in (None, Kind.RESPONSE):
        raise MalformedPayload(f"a {kind} was expected, and the body is a stream of events, which is a response")
    return openai.read_stream(body, limits)


def _has_tail(body: bytes, header_length: int | None) -> bool:
    return header_length is not None or (body.lstrip()[:1] == b"{" and _BINARY_MARK in body)


def _read_binary(body: bytes, message: Message, limits: Limits, load: Load) -> Payload:
    head, tail = v2_binary.split(body, message.header_length)
    if message.protocol not in (None, Protocol.V2):
        raise MalformedPayload(f"binary tensors are V2's, and {message.protocol.value} was declared")
    return v2_json.read(load(head, limits), message.kind, limits, tail)


def _read_json(tree: Tree, protocol: Protocol | None, kind: Kind | None, limits: Limits) -> Payload:
    if protocol is not None:
        return _DECLARED[protocol].read(tree, kind, limits)
    for reader in _READERS.values():
        if reader.claims(tree):
            return reader.read(tree, kind, limits)
    raise MalformedPayload(f"no inference payload: {_seen(tree)}")


def _seen(tree: Tree) -> str:
    if isinstance(tree, list | NumberBlock):
        return f"the body is a bare list; declare {Protocol.JSON.value!r} if it is rows"
    if not isinstance(tree, dict):
        return f"the body is {type_word(tree)}"
    if isinstance(tree.get("error"), str):
        return f"the body is an error: {tree['error'][:_ERROR_SHOWN]!r}"
    names = ", ".join(repr(name[:32]) for name in list(tree)[:_NAMES_SHOWN]) or "none"
    more = ", …" if len(tree) > _NAMES_SHOWN else ""
    return (
        f"its members are {names}{more}; V1 has 'instances' or 'predictions', V2 'inputs' or 'outputs', Seldon 'data',"
        " OpenAI 'messages', 'prompt', 'choices', …; declare the protocol if it is one"
    )
