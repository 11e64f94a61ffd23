"""Tests that judge rows one after another: how long they run before a false alarm, and what that makes of a window."""
