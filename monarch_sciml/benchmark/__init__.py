"""Timing, memory and environment."""
