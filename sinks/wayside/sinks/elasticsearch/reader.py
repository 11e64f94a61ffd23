"""Reads every record out of Elasticsearch, as people see it: for comparing stores.

Invariant: a document is what the embedded store's reader gives for the same events, `_id` included.
"""

from collections.abc import AsyncIterator
from typing import Self

from wayside.eventing.sink import SinkUnavailable
from wayside.sinks.document import Document
from wayside.sinks.elasticsearch.client import CallFailed, ElasticsearchClient
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings
from wayside.sinks.merging import shown


class ElasticsearchRecords:
    """An async context manager over one prefix's records. Methods raise `SinkUnavailable` without an answer."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        """Raises `ConfigurationError`."""
        self._client = ElasticsearchClient(settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def documents(self) -> AsyncIterator[Document]:
        """Every document that was written before this call, each once, in no order that means anything."""
        try:
            view = await self._client.open_view()
            try:
                page = await self._client.page(view, after=None)
                while page:
                    for hit in page:
                        yield {"_id": hit["_id"], **shown(hit["_source"])}
                    page = await self._client.page(view, after=page[-1]["sort"])
            finally:
                await self._client.close_view(view)
        except CallFailed as exc:
            raise SinkUnavailable(str(exc)) from exc
