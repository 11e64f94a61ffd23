"""The drift service: a journal of rows, windows that survive a kill -9, and an outbox of verdicts."""
