"""Measurements: each prints a table; none of them can fail on a time."""
