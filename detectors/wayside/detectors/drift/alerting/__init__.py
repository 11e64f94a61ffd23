"""Alerts: a pure fold over window verdicts."""
