"""Rows with nothing around them: what many Kafka topics carry that never were HTTP. Only where it is declared.

Invariant: one message gives one row, but a list of lists or of objects, which is a row each.
"""

from typing import Final

from wayside.eventing.payloads.payload import Kind, Limits, NumberBlock, Payload, Protocol, Tree
from wayside.eventing.payloads.rows import table_of

_NAME: Final = "row"


def claims(tree: Tree) -> bool:
    """Never: any JSON could be one."""
    return False


def read(tree: Tree, kind: Kind | None, limits: Limits) -> Payload:
    """The payload of an object, a list of features, a single value, or a list of rows; a request's unless declared.

    Raises `MalformedPayload` as `rows.table_of` does.
    """
    table = table_of(_NAME, tree if _are_rows(tree) else [tree], limits)
    return Payload(Protocol.JSON, kind or Kind.REQUEST, table.columns, table.named)


def _are_rows(tree: Tree) -> bool:
    if isinstance(tree, NumberBlock):
        return len(tree.shape) > 1
    return isinstance(tree, list) and all(isinstance(row, list | dict | NumberBlock) for row in tree)
