"""Files as tables, one module a format."""
