"""Compares records in Elasticsearch with the embedded store's, record by record.

Invariant: equal means that each side holds the same record ids, and under each the same document.
"""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from wayside.local.balance import Replica
from wayside.sinks.document import Document
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings
from wayside.sinks.embedded.reader import RecordReader

_CHUNK = 500


async def compare(records: Path, settings: ElasticsearchSettings) -> Replica:
    """Read every document of both stores once. Raises `SinkUnavailable` where Elasticsearch does not answer."""
    from wayside.sinks.elasticsearch.reader import ElasticsearchRecords  # needs the extra `elasticsearch`

    replica = Replica("Elasticsearch", records=0)
    with closing(RecordReader(records)) as reader:
        async with ElasticsearchRecords(settings) as elsewhere:
            chunk: list[Document] = []
            async for document in elsewhere.documents():
                chunk.append(document)
                if len(chunk) == _CHUNK:
                    replica, chunk = await asyncio.to_thread(_counted, replica, reader, chunk), []
            replica = await asyncio.to_thread(_counted, replica, reader, chunk)
        embedded = await asyncio.to_thread(reader.size)
    return replace(replica, missing=embedded - (replica.records - replica.extra))


def _counted(replica: Replica, reader: RecordReader, documents: Sequence[Document]) -> Replica:
    """The comparison with some more documents of the other store."""
    beside = [(document, reader.document(document["_id"])) for document in documents]
    return replace(
        replica,
        records=replica.records + len(beside),
        extra=replica.extra + sum(own is None for _, own in beside),
        differing=replica.differing + sum(own is not None and own != other for other, own in beside),
    )
