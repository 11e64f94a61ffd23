"""Kafka as the carrier: a sink that writes to a topic, a source that reads topics as a consumer group."""
