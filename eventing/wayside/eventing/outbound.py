"""Where events are sent, by URL: http(s) to a broker's ingress or any subscriber, kafka to a topic.

Invariant: what a URL stands for is decided here alone; whoever sends knows a `Sink` and nothing of its carrier.
"""

from pathlib import Path

from wayside.eventing.http.event_sink import HttpEventSink
from wayside.eventing.http.url import Url
from wayside.eventing.kafka.address import is_kafka_url, one_topic
from wayside.eventing.sink import Sink


def check_event_url(text: str) -> str:
    """The URL as it will be used. Raises `ConfigurationError` where it is neither http(s) nor one topic of Kafka's."""
    if not is_kafka_url(text):
        return Url.parse(text).text
    one_topic(text)
    return text


def event_sink(url: str, timeout_s: float, kafka_config: Path | None = None) -> Sink:
    """A sink for a URL. Raises `ConfigurationError` for a bad URL or file, `MissingExtra` without Kafka's client."""
    if not is_kafka_url(url):
        return HttpEventSink(url, timeout_s)
    from wayside.eventing.kafka.config import load_config  # needs the extra `kafka`
    from wayside.eventing.kafka.sink import KafkaEventSink

    return KafkaEventSink(one_topic(url), load_config(kafka_config), timeout_s)
