"""Events as hypothesis draws them: hostile text in every attribute, data of any bytes, JSON that must stay its text."""

import json

from hypothesis import strategies as st

from wayside.eventing.event import CloudEvent

Headers = list[tuple[bytes, bytes]]
_CORE = ("id", "source", "type", "time", "subject", "specversion", "data", "dataschema", "datacontenttype")
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TOKENS = st.sampled_from(["%", "%41", "%e9", '"', '"quoted"', "\\", " ", "\r\nce-id: 2", "\0", "é", "😀", "{", "a"])
HOSTILE = st.lists(TOKENS).map("".join) | TEXT
REQUIRED = HOSTILE.filter(bool)
_INNER_EVENTS = ["application/cloudevents+json", " Application/CloudEvents-Batch+JSON; a=b", "application/cloudevents"]
CONTENT_TYPES = st.sampled_from(
    ["application/json", "text/plain; charset=utf-8", "a/b+json", "", "x/ü", "no type", *_INNER_EVENTS]
)
NAMES = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(lambda name: name not in _CORE)
JSON_TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
DATA = (
    st.binary() | JSON_TEXTS | st.sampled_from([b"null", b" 1", b"1 ", b"1e5", b'"\\ud800"', b"NaN", b"\xef\xbb\xbf1"])
)
EVENTS = st.builds(
    CloudEvent,
    id=REQUIRED,
    source=REQUIRED,
    type=REQUIRED,
    data=DATA,
    time=st.none() | HOSTILE,
    datacontenttype=st.none() | CONTENT_TYPES,
    dataschema=st.none() | HOSTILE,
    subject=st.none() | HOSTILE,
    extensions=st.dictionaries(NAMES, HOSTILE, max_size=4),
)
