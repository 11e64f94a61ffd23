"""Sends what confluent-kafka's producer cannot: a record with a header whose name is any bytes.

Other clients can, so that such records come to a reader. librdkafka takes them; it is called without its Python layer.
"""

import ctypes
from importlib.metadata import files
from pathlib import Path

_TOPIC, _VALUE, _HEADERS, _FLAGS, _COPY, _END = 1, 4, 10, 7, 2, 0  # rd_kafka_vtype_t; RD_KAFKA_MSG_F_COPY
_PRODUCER = 0
_FLUSH_MS = 10_000


def send_with_header(servers: str, topic: str, value: bytes, name: bytes) -> None:
    """Returns once the broker has the record."""
    library = _library()
    error = ctypes.create_string_buffer(512)
    config = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(config, b"bootstrap.servers", servers.encode(), error, ctypes.c_size_t(512))
    producer = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, config, error, ctypes.c_size_t(512)))
    assert producer, error.value
    headers = ctypes.c_void_p(library.rd_kafka_headers_new(ctypes.c_size_t(1)))
    assert not library.rd_kafka_header_add(headers, name, ctypes.c_ssize_t(len(name)), b"v", ctypes.c_ssize_t(1))
    given = (_TOPIC, topic.encode(), _VALUE, value, ctypes.c_size_t(len(value)), _HEADERS, headers, _FLAGS, _COPY, _END)
    assert not library.rd_kafka_producev(producer, *given)
    assert not library.rd_kafka_flush(producer, _FLUSH_MS)
    library.rd_kafka_destroy(producer)


def _library() -> ctypes.CDLL:
    """The librdkafka that came with confluent-kafka."""
    paths = [Path(str(file.locate())) for file in files("confluent-kafka") or () if "librdkafka" in file.name]
    library = ctypes.CDLL(str(paths[0]))
    for function in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
        getattr(library, function).restype = ctypes.c_void_p
    return library
