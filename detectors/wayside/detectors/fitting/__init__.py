"""Fitting: rows from files and events, the fit and its calibration, what it reports."""
