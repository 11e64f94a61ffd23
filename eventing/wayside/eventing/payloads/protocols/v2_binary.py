"""V2 with binary tensors: a JSON object, then the tensors' bytes in the order in which the object names them.

Source: Triton's binary tensor data extension (extension_binary_data.md), which KServe's SDK reads and writes as well.
Invariant: the bytes behind the object are never read as text, and both parts together are the body.
"""

import re
from itertools import islice
from typing import Final

from wayside.eventing.errors import MalformedPayload

_TOKENS_LIMIT: Final = 2_000_000
_BOM: Final = b"\xef\xbb\xbf"
# A brace, or a string with its closing quote: possessive and with that quote optional, so that a string without an
# end is one match to the end of the body, not a new attempt at every quote in it.
_TOKEN: Final = re.compile(rb'[{}]|"[^"\\]*+(?:\\.[^"\\]*+)*+(?P<quote>"?)', re.DOTALL)


def split(body: bytes, header_length: int | None) -> tuple[bytes, memoryview]:
    """The JSON object and the tensors' bytes behind it.

    `header_length` is the header `Inference-Header-Content-Length`: the object's bytes. Where it was lost the object
    ends with its own closing brace. Raises `MalformedPayload` where the length does not fit or no object ends.
    """
    end = _object_end(body) if header_length is None else _checked(header_length, len(body))
    return body[:end], memoryview(body)[end:]


def _checked(header_length: int, size: int) -> int:
    if header_length == 0:
        raise MalformedPayload(
            "Inference-Header-Content-Length is 0: Triton's raw binary request names no tensor, send the JSON object"
        )
    if not 0 < header_length <= size:
        raise MalformedPayload(f"Inference-Header-Content-Length is {header_length}, the body has {size} bytes")
    return header_length


def _object_end(body: bytes) -> int:
    if not body.removeprefix(_BOM).lstrip().startswith(b"{"):
        raise MalformedPayload("body is no JSON object with binary tensors behind it")
    depth = 0
    for token in islice(_TOKEN.finditer(body), _TOKENS_LIMIT):
        first = body[token.start()]
        if first == ord('"') and not token["quote"]:
            raise MalformedPayload(f"JSON object is cut off in a string that starts at byte {token.start()}")
        depth += (first == ord("{")) - (first == ord("}"))
        if depth == 0:
            return token.end()
    raise MalformedPayload(
        f"JSON object before the binary tensors does not end within {_TOKENS_LIMIT} braces and strings:"
        " send Inference-Header-Content-Length"
    )
