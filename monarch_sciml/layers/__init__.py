"""Layers that hold transforms: spectral convolutions and linear layers."""
