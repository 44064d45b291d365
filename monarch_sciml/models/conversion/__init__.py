"""Conversion of dense layers to structured ones and back: what, how, and what is carried over."""
