"""Which member of a document holds its rows, and so whether it is a request or a response.

Source: V1 and V2 name their members differently in requests (`instances`, `inputs`) and responses (`predictions`,
`outputs`); a V2 request may list the `outputs` that it wants.
Invariant: a kind that was declared is never overruled: a body of the other kind is refused.
"""

from collections.abc import Sequence

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Kind, NumberBlock, Protocol, Tree


def rows_member(
    tree: Tree, kind: Kind | None, protocol: Protocol, requests: Sequence[str], responses: Sequence[str]
) -> tuple[Kind, str]:
    """The kind of a document and the first of its members that holds rows.

    Raises `MalformedPayload` where it has none of them, or only those of another kind than `kind`.
    """
    if not isinstance(tree, dict):
        raise MalformedPayload(f"a {protocol.upper()} body is an object, this is {type_word(tree)}")
    if kind not in (None, Kind.REQUEST, Kind.RESPONSE):
        raise MalformedPayload(f"{protocol.upper()} has requests and responses, no {kind}")
    if kind is not Kind.RESPONSE:
        for name in requests:
            if name in tree:
                return Kind.REQUEST, name
    if kind is not Kind.REQUEST:
        for name in responses:
            if name in tree:
                return Kind.RESPONSE, name
    for name in (*requests, *responses):
        if name in tree:
            raise MalformedPayload(f"a {kind} was expected, and the body is the other: it has {name!r}")
    raise MalformedPayload(f"body has none of {', '.join(map(repr, (*requests, *responses)))}")


def text(value: object) -> str | None:
    """The value where it is a text that is not empty: an id or a model's name."""
    return value if isinstance(value, str) and value else None


def type_word(value: object) -> str:
    """What a JSON value is, in a word with its article."""
    words = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return "a list" if isinstance(value, NumberBlock) else words.get(type(value), "a number")
