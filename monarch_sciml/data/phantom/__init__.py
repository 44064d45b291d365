"""Simulated multi-coil scans of the MNI152 anatomy with known maps and images."""

from monarch_sciml.data.phantom.generate import generate_scans as generate_scans
from monarch_sciml.data.phantom.simulate import simulate_scan as simulate_scan
