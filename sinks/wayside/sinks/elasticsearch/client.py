"""The calls that are made to Elasticsearch. Errors of the client library end here.

Invariant: a call returns what was asked for or raises `CallFailed`; no error shows a credential.
"""

import logging
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, cast

from wayside.eventing.errors import ConfigurationError, MissingExtra, WaysideError
from wayside.sinks.elasticsearch.bulk import Fate, Stored, Verdict, fate_of, verdict_of
from wayside.sinks.elasticsearch.indices import MAPPINGS, DocumentRef, IndexNames, template
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings

try:
    import elasticsearch
    from elastic_transport import TlsError
except ImportError as exc:
    raise MissingExtra("The Elasticsearch sink", "elasticsearch") from exc

_LIBRARY_ERRORS = (elasticsearch.ApiError, elasticsearch.TransportError)
# What an operator must mend before a document can be read: a closed index, an alias of several, a lack of rights.
_READ_DENIED = frozenset(("index_closed_exception", "illegal_argument_exception", "security_exception"))
_REASON_LIMIT = 300
_PAGE_DOCUMENTS = 500


class CallFailed(WaysideError):
    """A whole request failed. `verdict` says in what way."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict


class ElasticsearchClient:
    """One node's address, with a pool of connections; `close` closes them. Nothing is sent before the first call."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        """Raises `ConfigurationError` for a CA file that holds no certificates."""
        logging.getLogger("elastic_transport").setLevel(logging.ERROR)  # else a line a request; we say what fails
        self.names = IndexNames(settings.index_prefix)
        self._url = settings.node_url
        own: dict[str, Any] = {}
        if settings.user is not None and settings.password is not None:
            own["basic_auth"] = (settings.user, settings.password)
        if settings.api_key is not None:
            own["api_key"] = settings.api_key
        if settings.ca_file is not None and self._url.startswith("https:"):
            own["ssl_context"] = _tls(settings)
        timeout_s = settings.bounds.request_timeout_s
        # whether a call is made again is for its caller to say
        self._client = elasticsearch.AsyncElasticsearch(self._url, max_retries=0, request_timeout=timeout_s, **own)

    async def close(self) -> None:
        await self._client.close()

    async def read(self, refs: Sequence[DocumentRef]) -> dict[DocumentRef, Stored | Fate | None]:
        """The documents as they are at this moment, refreshed or not.

        None for one that is not there, and why for one that cannot be read, whose index is closed, say.
        """
        asked = [{"_index": ref.index, "_id": ref.id} for ref in refs]
        try:
            answer = await self._client.mget(docs=asked)
            return {ref: _stored(found) for ref, found in zip(refs, answer["docs"], strict=True)}
        except _LIBRARY_ERRORS as exc:
            raise self._failure(exc) from exc

    async def bulk(self, lines: Sequence[bytes]) -> list[Fate]:
        """Write items of two lines each; what became of each, in their order."""
        try:
            # bytes as they are: the library's own encoder cannot carry a lone surrogate
            answer = await self._client.bulk(operations=cast("Any", lines))
        except _LIBRARY_ERRORS as exc:
            raise self._failure(exc) from exc
        return [fate_of(item) for item in answer["items"]]

    async def put_templates(self) -> None:
        """Put the index templates, in place of those of an earlier version."""
        try:
            for kind in MAPPINGS:
                body = template(self.names, kind)
                await self._client.indices.put_index_template(name=f"{self.names.prefix}-{kind}", body=body)
        except _LIBRARY_ERRORS as exc:
            raise self._failure(exc) from exc

    async def mappings(self, kind: str, time: str) -> dict[str, Mapping[str, Any]]:
        """The mappings of the indices of a kind by name, and of the one that would be made for `time`."""
        try:
            made = await self._client.indices.simulate_index_template(name=self.names.daily(kind, time))
            there = await self._client.indices.get_mapping(index=self.names.pattern(kind))
        except _LIBRARY_ERRORS as exc:
            raise self._failure(exc) from exc
        found = {index: each["mappings"] for index, each in there.items()}
        return {f"{self.names.pattern(kind)} (new)": made["template"].get("mappings", {}), **found}

    async def check(self) -> None:
        """Raises `CallFailed` where Elasticsearch does not answer."""
        try:
            await self._client.indices.exists(index=self.names.pattern("records"))
        except _LIBRARY_ERRORS as exc:
            raise self._failure(exc) from exc

    async def open_view(self) -> str:
        """A view of all records that are written by now, which later writes do not change."""
        records = self.names.pattern("records")
        try:
            await self._client.indices.refresh(index=records)
            opened = await self._client.open_point_in_time(index=records, keep_alive="5m")
        except _LIBRARY_ERRORS as exc:
            raise self._failure(exc) from exc
        return str(opened["id"])

    async def page(self, view: str, after: Sequence[Any] | None) -> list[Mapping[str, Any]]:
        """Some hits of a view after the `sort` values of the last one; none at its end."""
        place: dict[str, Any] = {"search_after": list(after)} if after else {}
        pit = {"id": view, "keep_alive": "5m"}
        try:
            answer = await self._client.search(
                pit=pit, size=_PAGE_DOCUMENTS, sort=[{"_shard_doc": "asc"}], track_total_hits=False, **place
            )
        except _LIBRARY_ERRORS as exc:
            raise self._failure(exc) from exc
        return list(answer["hits"]["hits"])

    async def close_view(self, view: str) -> None:
        try:
            await self._client.close_point_in_time(id=view)
        except _LIBRARY_ERRORS as exc:
            raise self._failure(exc) from exc

    def _failure(self, exc: Exception) -> CallFailed:
        where = f"Elasticsearch at {self._url}"
        if isinstance(exc, elasticsearch.UnsupportedProductError):
            return CallFailed(Verdict.REFUSED, f"{self._url} is not Elasticsearch: it answers as something else")
        if isinstance(exc, elasticsearch.ApiError):
            return CallFailed(verdict_of(exc.status_code), f"{where} answered {exc.status_code}{_reason(exc.body)}")
        if isinstance(exc, TlsError):
            return CallFailed(Verdict.DENIED, f"{where}: {str(exc)[:_REASON_LIMIT]}")
        if isinstance(exc, elasticsearch.SerializationError):
            return CallFailed(Verdict.FAILING, f"{where} answered what is no JSON")
        return CallFailed(Verdict.UNREACHABLE, f"{where} does not answer: {str(exc)[:_REASON_LIMIT]}")


def _tls(settings: ElasticsearchSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(f"{settings.ca_file} holds no certificates in PEM: {exc}") from exc


def _stored(found: Mapping[str, Any]) -> Stored | Fate | None:
    if found.get("found"):
        return Stored(found["_source"], found["_seq_no"], found["_primary_term"])
    error = found.get("error", {})
    kind = error.get("type", "")
    if kind in ("", "index_not_found_exception"):
        return None
    reason = f"cannot read {found['_index']}: {kind}: {error.get('reason', '')}"[:_REASON_LIMIT]
    return Fate(Verdict.DENIED if kind in _READ_DENIED else Verdict.FAILING, reason)


def _reason(body: Any) -> str:
    """What an error's body says, where it is Elasticsearch's."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        return f" {error.get('type', '')}: {error.get('reason', '')}"[:_REASON_LIMIT]
    return ""
