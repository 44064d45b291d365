"""Reconstruction methods: networks and conventional solvers, all called alike."""
