"""Where events may go, by the log url's scheme, and whether that takes files or messages. The standard library alone.

Source: kserve/kserve pkg/logger/store.go: s3, gs and abfs are stores of files, all else are receivers of messages.
Invariant: a log url that is accepted here names one place; pure.
"""

import re
from urllib.parse import quote

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.kafka.address import is_kafka_url, one_topic
from wayside.logger.emit.http_address import HttpAddress
from wayside.logger.emit.store.address import StoreAddress, is_store_url

STDOUT = "stdout:"
_FILE, _HTTP = "file:", ("http:", "https:")
_AFTER_HOST = re.compile(r"(?i:https?)://[^/?#]*")
_TO_ENCODE = re.compile(r"[ \x80-\U0010ffff]+")
_FORMS = (
    "write http(s)://…, kafka://host:9092/topic, s3://bucket, gs://bucket, abfs://container@account, file:///folder"
)


def check_log_url(text: str) -> str:
    """The log url as it will be used. Raises `ConfigurationError`."""
    if text == STDOUT:
        return text
    if is_kafka_url(text):
        one_topic(text)
        return text
    if is_store_url(text) or text.startswith(_FILE):
        StoreAddress.parse(text)
        return text
    if text.lower().startswith(_HTTP):
        encoded = _encoded(text)
        HttpAddress.parse(encoded)
        return encoded
    raise ConfigurationError(f"--log-url {text!r} is no place that events can be sent to: {_FORMS}, or {STDOUT}")


def _encoded(url: str) -> str:
    """Blanks and what is not ASCII after the host percent-encoded, as Go's net/url sends them."""
    head = _AFTER_HOST.match(url)
    if head is None:
        return url
    rest = url[head.end() :]
    return head[0] + _TO_ENCODE.sub(lambda found: quote(found[0], errors="surrogateescape"), rest)


def takes_files(url: str, store_path: str) -> bool:
    """Whether events become files there; below a folder of this machine they do where a path for them is named."""
    return is_store_url(url) or (url.startswith(_FILE) and bool(store_path))
