"""Rows into windows, by key and by event time: pure, so that a journal, a file or Kafka can drive it."""
