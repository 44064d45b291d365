"""Figures of errors, fields, reconstructions, training and comparisons."""
