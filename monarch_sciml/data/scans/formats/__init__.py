"""Readers of the formats of scans, one file for each."""
