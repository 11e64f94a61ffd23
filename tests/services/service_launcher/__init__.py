"""Starts the real programs that Wayside's tests talk to: Kafka, Elasticsearch, Prometheus, Alertmanager, Pushgateway.

Invariant: the standard library alone, so that it runs before, and beside, any virtual environment.
"""
