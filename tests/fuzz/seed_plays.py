"""Plays to start fuzzing the proxy from: see `proxy_invariants`."""

from collections.abc import Iterator

from proxy_invariants import SEPARATOR

_POST = b"POST /p HTTP/1.1\r\nhost: m\r\ncontent-length: 5\r\n\r\n\x80ell\x80"
_CHUNKS = b"3;x=1\r\nh\x80l\r\n2\r\nlo\r\n0\r\nt: 1\r\n\r\n"
_CHUNKED = b"POST /p HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n" + _CHUNKS
_GET = b"GET /p?q=\x31 HTTP/1.1\r\nHost: m\r\nConnection: keep-alive, x\r\nX: \x80\r\n\r\n"
_HEAD = b"HEAD / HTTP/1.1\r\nhost: m\r\n\r\n"
_OLD = b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"
_SWITCH = b"GET /ws HTTP/1.1\r\nhost: m\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n"
_OFFER = b"POST / HTTP/1.1\r\nhost: m\r\nupgrade: h2c\r\nconnection: Upgrade\r\ncontent-length: 2\r\n\r\n\x80\x80"
_PROBE = b"GET / HTTP/1.1\r\nhost: m\r\nuser-agent: kube-probe/1\r\nk-network-probe: queue\r\n\r\n"
_ABSOLUTE = b"GET http://a/b HTTP/1.1\r\nhost: m\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n"
_BOTH = b"POST / HTTP/1.1\r\nhost: m\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n\x80ok"
_STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n\x80a\r\n0\r\nt: 1\r\n\r\n"
_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n\x80part"
_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + _OK
_SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x80first"
_EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
_ERROR = b"HTTP/1.1 500 Oh\r\ncontent-length: 1\r\nconnection: close\r\n\r\n\x80"

_PLAYS = [
    [b"A" + _POST, b"M" + _OK, b"A" + _POST, b"m" + _STREAM],
    [b"a" + _CHUNKED, b"m" + _OK, b"B" + _GET, b"M" + _CLOSE, b"C"],
    [b"A" + _POST + _CHUNKED + _GET + _HEAD, b"M" + _OK, b"M" + _STREAM, b"M" + _EMPTY, b"M" + _OK],
    [b"A" + _POST, b"B" + _CHUNKED, b"N" + _OK, b"M" + _STREAM],
    [b"A" + _SWITCH + b"early", b"M" + _SWITCHED, b"A\x80more", b"M\x80bye", b"C"],
    [b"A" + _SWITCH, b"M" + _OK, b"A" + _GET],
    [b"A" + _OFFER + _POST, b"M" + _OK, b"M" + _OK],
    [b"A" + _PROBE + _POST, b"M" + _INTERIM],
    [b"A" + _OLD + _ABSOLUTE, b"M" + _INTERIM, b"Ax", b"M" + _OK],
    [b"A" + _BOTH, b"B" + _POST, b"R", b"M" + _OK],
    [b"A" + _POST[:-3], b"M" + _ERROR, b"A" + _POST, b"E"],
    [b"D", b"A" + _POST + _GET, b"D", b"B" + _GET, b"M" + _OK, b"B" + _GET, b"C", b"M" + _OK],
    [b"A" + _POST, b"S", b"M" + _OK[:-1], b"L", b"B" + _POST[:20], b"Wxx", b"F"],
    [b"A" + _POST[:-1], b"Ux", b"A\x80", b"U", b"M" + _OK + _OK, b"A" + _GET, b"M" + _ERROR],
]


def plays() -> Iterator[bytes]:
    for pieces in _PLAYS:
        yield SEPARATOR.join(pieces)
