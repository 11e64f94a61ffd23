"""Data: rows of files and of logged events, as `wayside fit` and `wayside score` are given them."""
