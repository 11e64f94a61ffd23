"""Drift: windows of rows, what is said of each, the budget that it may spend, and the alerts that follow."""
