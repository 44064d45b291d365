"""Errors of fields and of images."""
