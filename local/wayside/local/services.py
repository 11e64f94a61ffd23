"""Kafka and Elasticsearch, where a composition is given them: looked at before anything else begins.

Invariant: a service that is away, or does not want us, ends the command before it has started a process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wayside.eventing.kafka.config import load_config
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings

_CREDENTIALS = ("USER", "PASSWORD", "API_KEY", "CA_FILE")


@dataclass(frozen=True, slots=True)
class Services:
    """What is there besides our own processes: Kafka's servers with librdkafka's settings, an Elasticsearch."""

    kafka: str = ""
    kafka_config: Path | None = None
    elasticsearch: ElasticsearchSettings | None = None

    async def wait(self, wait_s: float) -> None:
        """Return once those that are given answer; the log says what is waited for. Raises `ConfigurationError`."""
        if self.kafka:
            from wayside.eventing.kafka.cluster import wait_for_kafka  # needs the extra `kafka`

            await wait_for_kafka(self.kafka, load_config(self.kafka_config), wait_s)
        if self.elasticsearch is not None:
            await _wait_elasticsearch(self.elasticsearch, wait_s)


async def _wait_elasticsearch(settings: ElasticsearchSettings, wait_s: float) -> None:
    from wayside.sinks.elasticsearch.client import ElasticsearchClient  # needs the extra `elasticsearch`
    from wayside.sinks.elasticsearch.startup import prepare

    client = ElasticsearchClient(settings)
    try:
        await prepare(client, settings.url, wait_s)
    finally:
        await client.close()


def elasticsearch_settings(url: str, index_prefix: str, environ: Mapping[str, str]) -> ElasticsearchSettings:
    """As the sink's process will see them, which is given the same environment. Raises `ConfigurationError`."""
    user, password, key, ca_file = (environ.get(f"WAYSIDE_SINK_{name}") or None for name in _CREDENTIALS)
    return ElasticsearchSettings(url, index_prefix, Path(ca_file) if ca_file else None, user, password, key)
