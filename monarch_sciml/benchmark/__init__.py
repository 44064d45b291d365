"""Timing, memory and environment."""

from monarch_sciml.benchmark.environment import environment as environment
