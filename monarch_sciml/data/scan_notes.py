"""What looks wrong with a scan that can be read: dead coils, axes in the wrong order."""

# Legend: s slices, c coils, H readout axis, W phase-encode axis.

from __future__ import annotations

from monarch_sciml.data.scan import Scan

DEAD_BELOW = 1e-8
"""Share of the energy of the average coil below which a coil counts as dead."""
CENTRAL_ENERGY = 0.1
"""Share of the energy that the central quarter of k-space has at least, of any image."""


def suspicions(scan: Scan) -> list[str]:
    """Return a line for each thing about a scan that is likely a mistake.

    Parameters
    ----------
    scan
        A valid scan.

    Returns
    -------
    list of str
        Dead coils (energy below 1e-8 of the average coil's) by number; more coils than rows or
        columns, as a coil axis in the wrong place has; less than a tenth of the energy in the
        central half of H and W, as k-space with its origin at the corner or an image has. Empty
        when all is well.
    """
    return [*_dead_coils(scan), *_axes(scan)]


def _dead_coils(scan: Scan) -> list[str]:
    energy = scan.kspace.abs().square().sum(dim=(0, 2, 3))  # (s, c, H, W) -> (c,)
    dead = (energy <= DEAD_BELOW * energy.mean()).nonzero().flatten().tolist()
    if not dead:
        return []
    names = ", ".join(map(str, dead))
    plural = "s" if len(dead) > 1 else ""
    return [f"dead coil{plural} {names} of {scan.n_coils} (counted from 0): no signal"]


def _axes(scan: Scan) -> list[str]:
    height, width = scan.matrix
    found = []
    if scan.n_coils > min(height, width):
        found.append(
            f"{scan.n_coils} coils on a matrix of {height} x {width}: the axes may be swapped"
        )
    energy = scan.kspace.abs().square().sum(dim=(0, 1))  # (s, c, H, W) -> (H, W)
    top, left = height // 4, width // 4
    central = energy[top : height - top, left : width - left].sum() / energy.sum()
    if min(height, width) >= 8 and central < CENTRAL_ENERGY:
        found.append(
            f"only {100 * float(central):.1g} % of the signal is in the middle of k-space: it may "
            "not be centred, be an image, or have swapped axes"
        )
    return found
