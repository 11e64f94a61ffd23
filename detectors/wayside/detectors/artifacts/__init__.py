"""Artifacts: fitted detectors as folders, and where they are fetched from."""
