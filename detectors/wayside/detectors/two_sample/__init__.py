"""Tests of one column: whether two samples of it may come from one distribution, right at ties and far in the tail."""
