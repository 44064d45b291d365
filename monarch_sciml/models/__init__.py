"""Networks that take their transform as an argument."""
