"""Columns: what a detector is given of a payload or a file, and how it becomes numbers."""
