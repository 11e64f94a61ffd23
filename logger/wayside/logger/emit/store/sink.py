"""Stores batches of events: makes a file of each, gives it its name, and writes it.

Source: kserve/kserve pkg/logger/store.go.
Invariant: a batch that was sent is on disk or with its cloud; one that is sent again is the same object with the same
bytes, so that none is there twice.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.url import Url
from wayside.eventing.kafka.thread import WorkThread
from wayside.logger.emit.batch_sink import BatchSink
from wayside.logger.emit.store.address import Cloud, StoreAddress
from wayside.logger.emit.store.formats import File, FileFormat, format_of
from wayside.logger.emit.store.names import ObjectNames
from wayside.logger.emit.store.records import Records
from wayside.logger.settings import Delivery, Store

AGENTS_OWN_MARSHALLER = "http://localhost:9083/marshal"
_AGENTS_CONTENT_TYPE = "application/octet-stream"


class Writer(Protocol):
    """Where files go."""

    async def write(self, name: str, file: File) -> None:
        """Returns once the file is there for good. Raises `SinkUnavailable` or `EventRefused`."""


class Maker(Protocol):
    """What makes a file of a batch."""

    async def file(self, batch: Sequence[CloudEvent]) -> File:
        """Raises `SinkUnavailable` or `EventRefused`."""

    async def stop(self) -> None: ...


class StoreSink:
    """A `BatchSink`. Files are made one at a time, on a thread beside the event loop; uploads go on side by side."""

    def __init__(self, maker: Maker, names: ObjectNames, writer: Writer, thread: WorkThread) -> None:
        self._maker = maker
        self._names = names
        self._writer = writer
        self._thread = thread

    async def start(self) -> None:
        """Nothing is opened before the first batch, so that a store that is away holds up no start."""

    async def stop(self) -> None:
        self._thread.end()
        await self._maker.stop()

    async def send_batch(self, events: Sequence[CloudEvent]) -> None:
        """Store one or more events as one object. Raises `SinkUnavailable` (try again) or `EventRefused` (never)."""
        if events:
            file = await self._maker.file(events)
            await self._writer.write(self._names.name(events, file.extension), file)


class _OwnFormat:
    """Makes files here, on the sink's thread."""

    def __init__(self, form: FileFormat, records: Records, thread: WorkThread) -> None:
        self._form = form
        self._records = records
        self._thread = thread

    async def file(self, batch: Sequence[CloudEvent]) -> File:
        return await self._thread.call(lambda: self._form.file(self._records, batch))

    async def stop(self) -> None: ...


def store_sink(delivery: Delivery, environ: Mapping[str, str] | None = None) -> BatchSink:
    """The sink for a log url of a store. Credentials come from the process's environment, where the cloud's client
    looks for them; `environ` is where the variables that only KServe knows are read.

    Raises `ConfigurationError` for a URL, a setting or a file that cannot be used, `MissingExtra` without the library
    of a bucket (`store`) or of Parquet (`parquet`).
    """
    if delivery.store is None:
        raise ConfigurationError("a log url of a store needs a folder in it: --log-store-path")
    address = StoreAddress.parse(delivery.url)
    thread = WorkThread("log-store")
    names = ObjectNames(
        address.prefix if address.cloud is not Cloud.FOLDER else "",
        delivery.store.path,
        kserve_compatible=delivery.store.kserve_compatible,
    )
    maker = _maker(delivery, delivery.store, thread)
    return StoreSink(
        maker, names, _writer(address, delivery, os.environ if environ is None else environ, thread), thread
    )


def _maker(delivery: Delivery, store: Store, thread: WorkThread) -> Maker:
    """The agent serves its own formats at a URL; who names that one wants them, and not a service that is not there."""
    records = Records(delivery, store)
    if store.marshaller_url in ("", AGENTS_OWN_MARSHALLER):
        form = format_of(store.format)
        return _OwnFormat(
            replace(form, content_type=_AGENTS_CONTENT_TYPE) if store.kserve_compatible else form, records, thread
        )
    from wayside.logger.emit.store.marshaller import Marshaller  # needs httptools

    return Marshaller(Url.parse(store.marshaller_url), records, thread)


def _writer(address: StoreAddress, delivery: Delivery, environ: Mapping[str, str], thread: WorkThread) -> Writer:
    if address.cloud is Cloud.FOLDER:
        from wayside.logger.emit.store.files import FolderWriter

        return FolderWriter(Path(address.prefix), thread)
    from wayside.logger.emit.store.buckets import BucketWriter  # needs the extra `store`
    from wayside.logger.emit.store.clouds import bucket_settings

    return BucketWriter(bucket_settings(address, environ), delivery.timeout_s)
