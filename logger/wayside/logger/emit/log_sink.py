"""What a log url stands for: a sender over HTTP, a topic, files, standard output, or a store.

Invariant: this is decided here alone; the emitter knows a sender and nothing of its carrier. What needs more than the
standard library is imported only where a log url asks for it.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.kafka.address import is_kafka_url
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.emitter import Emitter
from wayside.logger.emit.event_folder import Rotation
from wayside.logger.emit.file_sink import FileSink
from wayside.logger.emit.http_address import HttpAddress
from wayside.logger.emit.http_batch_sender import HttpBatchSender
from wayside.logger.emit.http_sender import HttpSender, Pooling
from wayside.logger.emit.outbox import BatchLimits
from wayside.logger.emit.sender import Sender, SinkSender, sender_over
from wayside.logger.emit.spool import Spool
from wayside.logger.emit.stdout_sink import StdoutSink
from wayside.logger.emit.tls import ClientTls
from wayside.logger.settings import Batching, Delivery

_LOCAL_EVENTS = 256


def emitter_of(delivery: Delivery, counts: LoggerCounts) -> Emitter:
    """The emitter for a log url, with its spool. Raises as `log_sink`."""
    spool = Spool(delivery.spool, limit_in_hand=2 * delivery.in_flight) if delivery.spool is not None else None
    return Emitter(log_sink(delivery), delivery, counts, spool)


def log_sink(delivery: Delivery) -> Sender:
    """The sender for a log url. Raises `ConfigurationError` for a bad URL, or a file that cannot be read."""
    url = delivery.url
    if delivery.store is not None:
        from wayside.logger.emit.store import store_sink  # its formats need more than the others do

        return sender_over(store_sink(delivery), delivery)
    if is_kafka_url(url):
        from wayside.eventing.outbound import event_sink  # needs the extra `kafka`

        return sender_over(event_sink(url, delivery.timeout_s, delivery.kafka_config), delivery)
    if url == "stdout:":
        return SinkSender(StdoutSink(), 1, _local_batches(delivery.batching))
    if url.lower().startswith("file:"):
        return SinkSender(FileSink(_folder(url), Rotation()), 1, _local_batches(delivery.batching))
    return _http_sender(delivery)


def _local_batches(batching: Batching) -> BatchLimits:
    """What waits is written at one go, whether or not more is to be waited for."""
    return BatchLimits(max(batching.events, _LOCAL_EVENTS), batching.interval_s)


def _folder(url: str) -> Path:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or parts.query or parts.fragment:
        raise ConfigurationError(f"{url!r} is not a folder on this machine: write file:///path/to/folder")
    if "\0" in path:
        raise ConfigurationError(f"{url!r} holds a null character")
    return Path(path)


def _http_sender(delivery: Delivery) -> Sender:
    address = HttpAddress.parse(delivery.url)
    tls = ClientTls(delivery.ca_file, skip_verify=delivery.tls_skip_verify) if address.tls else None
    batching = delivery.batching
    if batching.events > 1:
        batches = BatchLimits(batching.events, batching.interval_s)
        return HttpBatchSender(address, delivery.timeout_s, Pooling(delivery.workers), tls, batches=batches)
    pooling = Pooling(delivery.workers, pipeline=delivery.pipeline)
    return HttpSender(address, delivery.timeout_s, pooling, tls, raw_values=delivery.raw_values)
