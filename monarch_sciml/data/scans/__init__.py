"""Scans: k-space, coil maps, samples and the data module."""
