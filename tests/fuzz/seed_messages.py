"""Messages that carry events in every mode, binding and version: where the fuzzing of the codec begins."""

from collections.abc import Iterator

_HTTP, _BATCHED, _JSON, _JSON_BATCH, _KAFKA = range(5)
_BINARY = b"ce-specversion:1.0\nce-id:1\nce-source:/a\nce-type:t\nce-time:2020-11-25T08:45:32.94Z\n"
_ENVELOPE = b'{"specversion":"1.0","id":"1","source":"/a","type":"t"'
_BODIES = (b"}", b',"data":{"a":[1.10,1e400]}}', b',"data_base64":"AAE="}', b',"ext":true,"n":5,"data":"x"}')
_OLDER = (
    b'ce-cloudeventsversion:0.1\nce-eventid:1\nce-source:/a\nce-eventtype:t\nce-x-key:"v"\n\nx',
    b'ce-specversion:0.2\nce-id:"1"\nce-source:/a\nce-type:"t"\nce-schemaurl:u\n\nx',
    b"ce-specversion:0.3\nce-id:1\nce-source:/a\nce-type:t\nce-datacontentencoding:base64\n\neA==",
)


def seeds() -> Iterator[bytes]:
    for seed in _http():
        yield bytes((_HTTP,)) + seed
        yield bytes((_BATCHED,)) + seed
        yield bytes((_KAFKA,)) + seed.replace(b"ce-", b"ce_")
    for end in _BODIES:
        yield bytes((_JSON,)) + b"\n\n" + _ENVELOPE + end
        yield bytes((_JSON_BATCH,)) + b"\n\n[" + _ENVELOPE + end + b", {}, " + _ENVELOPE + end + b"]"


def _http() -> Iterator[bytes]:
    yield _BINARY + b'content-type:application/json\nce-meta:{"a":["b c","50%25"]}\n\n{"instances":[[1.0]]}'
    yield _BINARY + b'ce-x:"quoted \\"text\\""\nce-y:Euro%20%E2%82%AC\nce-z:100%\n\n\xff'
    yield _BINARY + b"content-type:application/cloudevents+json\n\n" + _ENVELOPE + b"}"
    yield b"Content-Type:application/cloudevents+json; charset=utf-8\n\n" + _ENVELOPE + b',"datacontenttype":"x/y"}'
    yield b"content-type:application/cloudevents-batch+json\n\n[" + _ENVELOPE + b"},{}]"
    yield from _OLDER
