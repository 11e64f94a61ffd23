"""Windows: the log of rows, exact windows, their verdicts and the outbox."""
