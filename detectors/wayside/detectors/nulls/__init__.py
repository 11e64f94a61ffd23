"""What windows without drift look like: how alike their rows are, and how their columns move together."""
