"""Durable state on one machine: SQLite with group commit, and the journal that is built on it."""
