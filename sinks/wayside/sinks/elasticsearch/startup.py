"""What is done before the first event: wait for Elasticsearch, put the templates, look at indices that exist.

Invariant: a start ends with indices of the needed shape, or with a `ConfigurationError` that says what to do.
"""

import asyncio
import logging
from datetime import UTC, datetime
from itertools import chain

from wayside.eventing.errors import ConfigurationError
from wayside.sinks.elasticsearch.bulk import MAY_PASS_SOON
from wayside.sinks.elasticsearch.client import CallFailed, ElasticsearchClient
from wayside.sinks.elasticsearch.indices import MAPPINGS, shape_faults, source_faults

log = logging.getLogger("wayside.sinks")
_PAUSE_S, _PROGRESS_S = 0.5, 3.0


async def prepare(client: ElasticsearchClient, url: str, wait_s: float) -> None:
    """Put the templates once Elasticsearch answers, and check every index. Raises `ConfigurationError`."""
    await _wait_templates(client, url, wait_s)
    try:
        await _check_shapes(client)
    except CallFailed as exc:
        raise ConfigurationError(_advice(exc)) from exc


async def _wait_templates(client: ElasticsearchClient, url: str, wait_s: float) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    say_at = began
    while True:
        try:
            return await client.put_templates()
        except CallFailed as exc:
            now = loop.time()
            if exc.verdict not in MAY_PASS_SOON:
                raise ConfigurationError(_advice(exc)) from exc
            if now - began >= wait_s:
                raise ConfigurationError(f"{exc} (waited {wait_s:g} s; --wait says how long)") from exc
            if now >= say_at:
                say_at = now + _PROGRESS_S
                log.warning("waiting for Elasticsearch at %s: %s (%.0f s of %g s)", url, exc, now - began, wait_s)
        await asyncio.sleep(min(_PAUSE_S, wait_s))


async def _check_shapes(client: ElasticsearchClient) -> None:
    today = datetime.now(UTC).isoformat()
    for kind, needed in MAPPINGS.items():
        for index, mappings in (await client.mappings(kind, today)).items():
            fault = next(chain(source_faults(mappings), shape_faults(needed, mappings)), None)
            if fault is not None:
                raise ConfigurationError(
                    f"index {index} has another shape: {fault}; "
                    "delete or reindex it, remove the template that shapes it, or choose another --index-prefix"
                )


def _advice(exc: CallFailed) -> str:
    if " answered 401" in str(exc):
        return f"{exc}; set WAYSIDE_SINK_USER and WAYSIDE_SINK_PASSWORD, or WAYSIDE_SINK_API_KEY"
    if " answered 403" in str(exc):
        return f"{exc}; the user must manage index templates and write to the indices under its prefix"
    return str(exc)
