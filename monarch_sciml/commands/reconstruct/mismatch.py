"""Describe differences between a scan and the training data of a network."""

from __future__ import annotations

import math

from monarch_sciml.commands.comparison.saved import SavedNetwork
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics.noise import noise_level

ACCELERATION_WITHIN = 1.2
"""Ratio of accelerations up to which they count as the same: masks are drawn at random."""
NOISE_WITHIN = 2.0
"""Ratio of noise levels up to which they count as the same."""


def mismatch(network: SavedNetwork, scan: Scan, family: str | None) -> str | None:
    """Return a line that states all differences with both values, or None without any.

    Parameters
    ----------
    network
        A trained network.
    scan
        The undersampled scan.
    family
        Name of the class of its mask; None where it is not known.
    """
    found = [
        _ratio("acceleration", network.acceleration, scan.acceleration, ACCELERATION_WITHIN),
        _ratio("noise", network.noise, noise_level(scan.kspace), NOISE_WITHIN),
    ]
    if network.mask and family and network.mask != family:
        found.append(f"mask {network.mask}, here {family}")
    if network.n_coils is not None and network.n_coils != scan.n_coils:
        found.append(f"coils {network.n_coils}, here {scan.n_coils}")
    differing = [part for part in found if part]
    if not differing:
        return None
    return f"{network.name} was trained with {'; '.join(differing)}: its images may be the worse"


def _ratio(name: str, trained: float | None, here: float | None, within: float) -> str | None:
    if not (trained and here) or abs(math.log(trained / here)) <= math.log(within):
        return None
    return f"{name} {trained:.2g}, here {here:.2g}"
