"""The detectors themselves: one file a kind, and the registry that finds a kind by its name."""
