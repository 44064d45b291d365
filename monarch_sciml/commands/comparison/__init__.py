"""The commands `train`, `compare` and `evaluate`, and their common parts."""
