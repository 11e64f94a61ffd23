"""Several logger processes that share one port: who starts them, and what is each one's part."""
