"""Pairs: a request with its response, its verdicts and its feedback, joined by (source, id)."""
