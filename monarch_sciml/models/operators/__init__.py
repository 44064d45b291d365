"""Neural operators."""
