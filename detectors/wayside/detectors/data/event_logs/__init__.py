"""Logged events as tables: which files and stores hold them, and which of them a detector is fitted on."""
