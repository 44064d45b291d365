"""Readers of the formats of fields, one file for each."""
