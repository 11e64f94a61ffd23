"""Scoring: calibration, decisions, and the device that graphs run on."""
