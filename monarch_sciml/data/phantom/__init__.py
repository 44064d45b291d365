"""Simulated multi-coil scans of the MNI152 anatomy, with everything about them known."""

from monarch_sciml.data.phantom.generate import generate_scans as generate_scans
from monarch_sciml.data.phantom.simulate import simulate_scan as simulate_scan
