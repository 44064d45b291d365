"""Readers, writers and data modules; one file a format."""
