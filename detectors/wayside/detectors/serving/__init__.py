"""The service: events and V2 in, verdicts out, batches in between."""
