"""Conversion of dense layers to structured ones and back, with the state of an optimiser."""
