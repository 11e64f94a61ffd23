"""Kafka and Elasticsearch, where the demo is given them: looked at before anything is drawn or fitted.

Invariant: a service that is away, or does not want us, ends the demo before it has started a process.
"""

from dataclasses import replace

from wayside.eventing.kafka.config import load_config
from wayside.local.demo.prepare import DemoSettings


async def wait_services(settings: DemoSettings, wait_s: float) -> None:
    """Return once those that are given answer; lines in the log say what is waited for. Raises `ConfigurationError`."""
    if settings.kafka:
        from wayside.eventing.kafka.cluster import wait_for_kafka  # needs the extra `kafka`

        await wait_for_kafka(settings.kafka, load_config(settings.kafka_config), wait_s)
    if settings.elasticsearch is not None:
        from wayside.sinks.elasticsearch.client import ElasticsearchClient  # needs the extra `elasticsearch`
        from wayside.sinks.elasticsearch.startup import prepare

        client = ElasticsearchClient(replace(settings.elasticsearch, index_prefix=settings.run_prefix))
        try:
            await prepare(client, settings.elasticsearch.url, wait_s)
        finally:
            await client.close()
