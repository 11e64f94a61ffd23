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
    of_request = next((name for name in requests if name in tree), None)
    of_response = next((name for name in responses if name in tree), None)
    if of_request is not None and kind is not Kind.RESPONSE:
        return Kind.REQUEST, of_request
    if of_response is not None and kind is not Kind.REQUEST:
        return Kind.RESPONSE, of_response
    found = of_request or of_response
    if found is None:
        raise MalformedPayload(f"body has none of {', '.join(map(repr, (*requests, *responses)))}")
    raise MalformedPayload(f"a {kind} was expected, and the body is the other: it has {found!r}")


def text(value: object) -> str | None:
    """The value where it is a text that is not empty: an id or a model's name."""
    return value if isinstance(value, str) and value else None


def type_word(value: object) -> str:
    """What a JSON value is, in a word with its article."""
    words = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return "a list" if isinstance(value, NumberBlock) else words.get(type(value), "a number")
