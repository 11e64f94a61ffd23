"""Sinks: where records and verdicts end up for people to look at. Every sink is idempotent by key."""
