"""Learnable Monarch transforms in place of the FFT, for neural operators and MRI reconstruction."""

__version__ = "0.1.0"
