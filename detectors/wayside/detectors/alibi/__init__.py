"""alibi-detect's saved detectors, in a process of their own. An optional runtime under a licence that is not open."""
