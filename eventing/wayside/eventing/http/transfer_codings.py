"""Which transfer codings are read here.

Source: RFC 9112 sections 6.1 and 7: `chunked` must be the last one, once. One that stands before it and is passed over
would leave its coded bytes to be taken for the data.
Invariant: pure.
"""

from wayside.eventing.http.message import Headers


def is_chunked_alone(headers: Headers) -> bool:
    """Whether `chunked` is a message's transfer coding, and its only one. Names are lower case, values stripped."""
    return [value.lower() for name, value in headers if name == b"transfer-encoding"] == [b"chunked"]
