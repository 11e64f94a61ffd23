"""Requests and answers, and what the events of each say: in our way, and in that of KServe's agent.

An attribute that a row does not name is as `COMMON` says; one that it gives as None is not there.
"""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field

from events_stage import message

Said = Mapping[str, str | None]
POST, PATH = "POST", "/v1/models/m:predict"
JSON = "Content-Type: application/json"
CLOSE = "Connection: close"
ASKED, TOLD = b'{"instances": [[1]]}', b'{"predictions": [2]}'
ZIPPED = gzip.compress(TOLD, mtime=0)
EVENT = "application/cloudevents+json"
FORGED = b'{"specversion":"1.0","id":"forged","source":"forged","type":"forged"}'
COMMON = {
    "ce-specversion": "1.0",
    "ce-id": "minted",
    "ce-source": "digits-pod",
    "ce-time": "time",
    "ce-recordedtime": "time",
    "ce-inferenceservicename": "digits",
    "ce-namespace": "default",
    "ce-component": "predictor",
    "ce-endpoint": "",
    "ce-metadata": "{}",
    "content-type": "application/json",
}
OURS = {"ce-revision": "digits-00001", "ce-method": POST, "ce-path": PATH}
OUR_ANSWERS = {"ce-requesttime": "time", "ce-statuscode": "200", "ce-latencyms": "ms", "ce-firstbytems": "ms"}


@dataclass(frozen=True)
class Row:
    """`both` is said by both events, `answered` by the response's alone; `kserve_…` is the same of the agent's way.
    With `kserve_answers` False the agent makes no response event. A difference that is meant is in `differs`."""

    name: str
    request: bytes = field(default=message(f"{POST} {PATH} HTTP/1.1", "Host: m", JSON, CLOSE, body=ASKED))
    answer: bytes = field(default=message("HTTP/1.1 200 OK", JSON, body=TOLD))
    both: Said = field(default_factory=dict)
    answered: Said = field(default_factory=dict)
    kserve_both: Said = field(default_factory=dict)
    kserve_answers: bool = True
    asked: bytes = ASKED
    told: bytes = TOLD
    is_whole: bool = True
    differs: str = ""


def asking(*lines: str, start: str = f"{POST} {PATH} HTTP/1.1", body: bytes = ASKED, length: bool = True) -> bytes:
    return message(start, "Host: m", *lines, CLOSE, body=body, length=length)


def answering(status: str, *lines: str, body: bytes = b"", length: bool = True) -> bytes:
    return message(f"HTTP/1.1 {status}", *lines, body=body, length=length)


NO_TYPE: Said = {"content-type": None}
ROWS = (
    Row("JSON"),
    Row("no content type", asking(), both=NO_TYPE, answered={"content-type": "application/json"}, kserve_both=NO_TYPE),
    Row(
        "a type of its own",
        answer=answering("200 OK", "Content-Type: text/plain; charset=utf-8", body=TOLD),
        answered={"content-type": "text/plain; charset=utf-8"},
    ),
    Row(
        "an answer without a type",
        answer=answering("200 OK", body=TOLD),
        answered=NO_TYPE,
    ),
    Row(
        "GET, with a query",
        asking(start="GET /v2/models/m?secret=1 HTTP/1.1", length=False, body=b""),
        both={**NO_TYPE, "ce-method": "GET", "ce-path": "/v2/models/m"},
        answered={"content-type": "application/json"},
        kserve_both=NO_TYPE,
        asked=b"",
    ),
    Row(
        "HEAD",
        asking(start=f"HEAD {PATH} HTTP/1.1", length=False, body=b""),
        message("HTTP/1.1 200 OK", JSON, "Content-Length: 20", length=False),
        both={**NO_TYPE, "ce-method": "HEAD"},
        answered={"content-type": "application/json"},
        kserve_both=NO_TYPE,
        asked=b"",
        told=b"",
    ),
    Row("empty bodies", asking(JSON, body=b""), answering("200 OK", JSON), asked=b"", told=b""),
    Row(
        "201", answer=answering("201 Created", JSON, body=TOLD), answered={"ce-statuscode": "201"}, kserve_answers=False
    ),
    Row(
        "204",
        answer=answering("204 No Content", length=False),
        answered={**NO_TYPE, "ce-statuscode": "204"},
        kserve_answers=False,
        told=b"",
    ),
    Row("400", answer=answering("400 No", JSON, body=TOLD), answered={"ce-statuscode": "400"}, kserve_answers=False),
    Row("500", answer=answering("500 No", JSON, body=TOLD), answered={"ce-statuscode": "500"}, kserve_answers=False),
    Row(
        "an interim answer",
        answer=answering("103 Early Hints", length=False) + answering("200 OK", JSON, body=TOLD),
    ),
    Row(
        "a compressed request",
        asking(JSON, "Content-Encoding: gzip", "Accept-Encoding: identity", body=ZIPPED),
        both={"ce-contentencoding": "gzip"},
        answered={"ce-contentencoding": None},
        asked=ZIPPED,
    ),
    Row(
        "a compressed answer, asked for",
        asking(JSON, "Accept-Encoding: gzip"),
        answering("200 OK", JSON, "Content-Encoding: gzip", body=ZIPPED),
        answered={"ce-contentencoding": "gzip"},
        told=ZIPPED,
    ),
    Row(
        "a compressed answer, not asked for",
        answer=answering("200 OK", JSON, "Content-Encoding: gzip", body=ZIPPED),
        answered={"ce-contentencoding": "gzip"},
        told=ZIPPED,
        differs="the agent asks for gzip in the client's name, and inflates what comes; a body passes as it is here",
    ),
    Row(
        "chunks",
        asking(
            JSON,
            "Transfer-Encoding: chunked",
            length=False,
            body=b"5\r\n%s\r\nf\r\n%s\r\n0\r\n\r\n" % (ASKED[:5], ASKED[5:]),
        ),
        answering("200 OK", JSON, "Transfer-Encoding: chunked", length=False, body=b"14\r\n%s\r\n0\r\n\r\n" % TOLD),
    ),
    Row(
        "an event stream",
        answer=answering(
            "200 OK", "Content-Type: text/event-stream", "Connection: close", length=False, body=b"data: 1\n\n"
        ),
        answered={"content-type": "text/event-stream"},
        told=b"data: 1\n\n",
        is_whole=False,
    ),
    Row(
        "an answer that breaks off",
        answer=message("HTTP/1.1 200 OK", JSON, "Content-Length: 99", length=False, body=TOLD),
        answered={"ce-truncated": "true"},
        kserve_answers=False,
        is_whole=False,
    ),
    Row(
        "metadata, repeated",
        asking(JSON, "x-tenant: a", "X-TENANT: b", "X-Other: no"),
        both={"ce-metadata": '{"X-Tenant":["a","b"]}'},
        kserve_both={"ce-metadata": '{"X-Tenant":["a","b"]}'},
    ),
    Row(
        "metadata that is not named as Go writes it",
        asking(JSON, "X-Lower: a"),
        both={"ce-metadata": '{"X-Lower":["a"]}'},
    ),
    Row(
        "metadata that HTML and a header would read",
        asking(JSON, 'X-Tenant: <a> & "100%"'),
        both={"ce-metadata": '{"X-Tenant":["<a> & \\"100%25\\""]}'},
        kserve_both={"ce-metadata": '{"X-Tenant":["\\u003ca\\u003e \\u0026 \\"100%\\""]}'},
    ),
    Row(
        "metadata beyond ASCII",
        asking(JSON, "X-Tenant: Zoë"),
        both={"ce-metadata": '{"X-Tenant":["Zo\\u00eb"]}'},
        kserve_both={"ce-metadata": '{"X-Tenant":["Zoë"]}'},
    ),
    Row(
        "a client's ids",
        asking(JSON, "Ce-Id: chosen", "X-Request-Id: r-1"),
        both={"ce-clientceid": "chosen", "ce-requestid": "r-1"},
        kserve_both={"ce-id": "chosen"},
    ),
    Row(
        "an id beyond ASCII, with a blank",
        asking(JSON, "Ce-Id:  a Zoë% "),
        both={"ce-clientceid": "a?Zo??%25"},
        kserve_both={"ce-id": "a Zoë%"},
    ),
    Row("an empty id", asking(JSON, "Ce-Id: ")),
    Row(
        "a trace",
        asking(JSON, f"traceparent: 00-{'a' * 32}-{'b' * 16}-01", "tracestate: a=1", "tracestate: b=2"),
        both={"ce-traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "ce-tracestate": "a=1,b=2"},
    ),
    Row(
        "V2's binary tensors",
        asking("Content-Type: application/octet-stream", "Inference-Header-Content-Length: 7"),
        both={"content-type": "application/octet-stream", "ce-inferenceheaderlength": "7"},
        answered={"content-type": "application/json", "ce-inferenceheaderlength": None},
        kserve_both={"content-type": "application/octet-stream"},
    ),
    Row(
        "a content type that cannot be read",
        asking("Content-Type: a/b; c="),
        both={"content-type": "a/b; c="},
        answered={"content-type": "application/json"},
        kserve_both={"content-type": "a/b; c="},
        differs="the agent loses both events of it",
    ),
    Row(
        "a body that is a CloudEvent",
        asking(f"Content-Type: {EVENT}", body=FORGED),
        asked=FORGED,
        differs="with the agent a receiver takes the body, and the id in it, for the event",
    ),
)
