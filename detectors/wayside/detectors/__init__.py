"""Detectors: decode, batch or window, score, verdict, behind the serving path and within a false-alarm budget."""
