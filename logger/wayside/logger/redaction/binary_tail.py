"""V2's binary tensors behind a JSON document: the named ones replaced or cut out, the others as they came.

Source: Triton's binary tensor data extension; `payloads.protocols.v2_binary` splits the two.
Invariant: every byte behind the document belongs to one tensor, or nothing is said to be redacted.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.datatypes import check_packed, check_shape, pack_elements, tensor_datatype, unpack
from wayside.eventing.payloads.payload import Limits
from wayside.logger.redaction.json_edits import Edits, inside, put
from wayside.logger.redaction.json_places import reaches, retype
from wayside.logger.redaction.residue import Residue
from wayside.logger.redaction.rules import Rules
from wayside.logger.settings import Redacted

_MEMBERS: Final = ("inputs", "outputs")


class _Claim(NamedTuple):
    """A tensor that has its values behind the document."""

    member: str
    at: int
    tensor: Mapping[str, Any]
    data: memoryview


def replaced(tree: Any, tail: memoryview, rules: Rules, residue: Residue, limits: Limits, edits: Edits) -> bytes | None:
    """The new bytes behind the document, whose `edits` are added to; None where no rule names one of its tensors.

    Raises `MalformedPayload` where the bytes do not fit the tensors, and where a pointer reaches into a tensor whose
    values no pointer can reach.
    """
    left_of, parts, is_hit = rules.columns, list[bytes | memoryview](), False
    for claim in _claims(tree, tail):
        if any(reaches(tokens, (claim.member, claim.at)) for tokens in rules.pointers):
            raise MalformedPayload("a pointer reaches a tensor whose values are binary: name it by a column rule")
        name = claim.tensor.get("name")
        left = left_of.get(name) if isinstance(name, str) else None
        if left is None:
            parts.append(claim.data)
            continue
        is_hit = True
        parts.append(_replaced(claim, left, residue, limits, edits))
    return b"".join(parts) if is_hit else None


def _replaced(claim: _Claim, left: Redacted, residue: Residue, limits: Limits, edits: Edits) -> bytes:
    within = inside(edits, claim.member)
    if within is None:
        raise MalformedPayload("the tensors are replaced as a whole")
    if left is Redacted.DROP:
        put(within, claim.at, None)
        return b""
    datatype, shape = tensor_datatype(claim.tensor.get("datatype")), claim.tensor.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise MalformedPayload("binary data needs a shape")
    check_shape(shape, limits)
    check_packed(datatype, shape, claim.data)
    data = pack_elements(residue.plain(left, value).encode() for value in unpack(claim.data, datatype))
    tensor = inside(within, claim.at)
    sizes = None if tensor is None else inside(tensor, "parameters")
    if tensor is not None and sizes is not None:
        put(sizes, "binary_data_size", str(len(data)))
        retype(claim.tensor, tensor)
    return data


def _claims(tree: Any, tail: memoryview) -> Iterator[_Claim]:
    members = [name for name in _MEMBERS if isinstance(tree, dict) and any(map(_size, _tensors(tree, name)))]
    if len(members) > 1:
        raise MalformedPayload("inputs and outputs both claim the bytes behind the document")
    taken = 0
    for name in members:
        for at, tensor in enumerate(_tensors(tree, name)):
            size = _size(tensor)
            if size is not None:
                yield _Claim(name, at, tensor, tail[taken : taken + size])
                taken += size
    if taken != len(tail) and (taken or not bytes(tail).isspace()):
        raise MalformedPayload("the bytes behind the document do not fit its tensors")


def _tensors(tree: Mapping[str, Any], member: str) -> list[Any]:
    tensors = tree.get(member)
    return tensors if isinstance(tensors, list) else []


def _size(tensor: Any) -> int | None:
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (type(size) is not int or size < 0):
        raise MalformedPayload("'binary_data_size' is no number of bytes")
    return size
