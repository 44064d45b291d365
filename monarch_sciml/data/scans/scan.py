"""One scan in memory: k-space, the acquired samples and the header of the file."""

# Letters: s slices, c coils, H readout axis, W phase-encode axis (the undersampled one), h, w the
# matrix of the reference image.

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from monarch_sciml._checks import finite, message
from monarch_sciml.physics.calibration import peak_of_energy
from monarch_sciml.physics.noise import noise_level
from monarch_sciml.physics.sampling import achieved_acceleration, calibration_size

FULLY_SAMPLED_UP_TO = 1.3
"""Acceleration below which a scan counts as fully sampled: an elliptical shutter gives 4/pi."""


class EmptyScanError(ValueError):
    """Error that k-space holds zeros only."""


def acquired_samples(kspace: torch.Tensor) -> torch.Tensor:
    """Return where k-space was acquired: a sample that is zero in every coil was not.

    Parameters
    ----------
    kspace
        (s, c, H, W), complex k-space, arbitrary unit.

    Returns
    -------
    (H, W) bool when every slice has the same pattern, otherwise (s, H, W).
    """
    pattern = (kspace != 0).any(dim=1)  # (s, c, H, W) -> (s, H, W)
    alike = len(pattern) and bool((pattern == pattern[:1]).all())
    return pattern[0] if alike else pattern


@dataclass
class Scan:
    """Hold the multi-coil k-space of one volume, slice by slice, and its description.

    Attributes
    ----------
    kspace
        (s, c, H, W) complex64, centred k-space (zero frequency at index N // 2), scanner unit.
        H is the readout, W the phase encode.
    mask
        (H, W) or (s, H, W) bool, the acquired samples. Derived from the non-zero samples
        (`acquired_samples`) when left out.
    coil_maps
        (s, c, H, W) complex64 sensitivities, dimensionless, or None when the file has none.
    target
        (s, h, w) reference image: complex (coil combined) or real (root sum of squares), or None.
    header
        Entries as far as the file has them: `format`, `shape` (s, c, H, W) of the whole file,
        `dtype` (on disk), `acquisition`, `contrasts` and `repetitions` (how many the file has),
        `reference` (the name of the target), `padding` (first and one past the last encoded
        column), `row_padding` (the same for rows), `voxel_size` (slice, row, column) in mm,
        `recon_matrix` (h, w) that a scanner would crop the image to, `orientation` (`positions` of
        the slices (s, 3) in mm and `directions` (3, 3) of rows, columns and slices, in DICOM's
        coordinates of the patient), `attributes`, and `notes`: a list of lines on likely mistakes,
        such as a dead coil.
    name
        Short name, the file name without its folder.
    path
        The source file, None for a scan that was made in memory.
    transformed
        Acquisition axes that are in image space already: ("readout",) when the file is a 3-D scan
        in hybrid space, where axis 0 is the readout and (H, W) are both phase encodes.
    calibration_kspace
        Calibration lines (s, c, H, W) complex64 that the scanner acquired in addition to the
        imaging lines, zero where not acquired. None if there are none. `with_calibration` adds them
        to the image.

    Examples
    --------
    >>> scan = Scan(torch.ones(2, 4, 8, 8, dtype=torch.complex64)).validate()
    >>> scan.n_slices, scan.n_coils, scan.matrix, scan.acceleration
    (2, 4, (8, 8), 1.0)
    """

    kspace: torch.Tensor
    mask: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    coil_maps: torch.Tensor | None = None
    target: torch.Tensor | None = None
    header: dict[str, Any] = field(default_factory=dict)
    name: str = "scan"
    path: Path | None = None
    transformed: tuple[str, ...] = ()
    calibration_kspace: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.mask.numel() == 0 and self.kspace.ndim == 4 and self.kspace.numel():
            self.mask = acquired_samples(self.kspace)

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return self.kspace.shape[0]

    @property
    def n_coils(self) -> int:
        """Number of receive coils."""
        return self.kspace.shape[1]

    @property
    def matrix(self) -> tuple[int, int]:
        """Size (H, W) of the k-space of one slice."""
        return self.kspace.shape[2], self.kspace.shape[3]

    @property
    def encoded(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """First and one past the last row and column that were encoded; outside is padding."""
        rows = self.header.get("row_padding") or (0, self.matrix[0])
        columns = self.header.get("padding") or (0, self.matrix[1])
        return (rows[0], rows[1]), (columns[0], columns[1])

    @property
    def encoded_mask(self) -> torch.Tensor:
        """The mask without the padding rows and columns, which no scan would have acquired."""
        rows, columns = self.encoded
        return self.mask[..., slice(*rows), slice(*columns)]

    @property
    def notes(self) -> list[str]:
        """Notes on likely mistakes in the scan, one line each; empty if there are none."""
        return self.header.setdefault("notes", [])

    @property
    def acceleration(self) -> float:
        """Achieved acceleration: encoded samples over acquired samples, padding left out."""
        return float(achieved_acceleration(self.encoded_mask))

    @property
    def calibration(self) -> tuple[int, int]:
        """Size of the fully sampled centre of k-space (of the first slice)."""
        return calibration_size(self.slice_mask(0))

    @property
    def fully_sampled(self) -> bool:
        """Whether the acceleration is at most 1.3, so that a reference image can be made of the
        scan.

        An elliptical shutter, which acquires pi/4 of the rectangle, still counts as fully sampled.
        """
        return self.acceleration <= FULLY_SAMPLED_UP_TO

    @property
    def peak(self) -> tuple[int, int]:
        """Offset of the peak of k-space from its centre in rows and columns (`peak_offset`)."""
        energy = torch.zeros(self.matrix)
        for kspace in self.kspace:  # slice by slice, to need no second volume
            energy += kspace.abs().square().sum(dim=0)
        return peak_of_energy(energy)

    @property
    def noise(self) -> float | None:
        """Noise relative to the brightness of the middle slice (`noise_level`), if it is known."""
        return noise_level(self.kspace)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Size (h, w) of the reference image of the file within the matrix, or the matrix."""
        height, width = self.matrix
        if self.target is None:
            return height, width
        return min(height, self.target.shape[-2]), min(width, self.target.shape[-1])

    def with_shared_mask(self) -> Scan:
        """Return the scan with one mask (H, W) if all slices that hold a signal share one.

        Otherwise the scan is returned as it is. An empty slice at the end of a volume would make a
        mask of its own, and the volume appear undersampled.
        """
        if self.mask.ndim == 2:
            return self
        filled = self.kspace.flatten(1).any(dim=1)  # (s, c, H, W) -> (s,)
        masks = self.mask[filled]
        return replace(self, mask=masks[0]) if bool((masks == masks[:1]).all()) else self

    def slice_mask(self, index: int) -> torch.Tensor:
        """Return the (H, W) mask of one slice."""
        return self.mask if self.mask.ndim == 2 else self.mask[index]

    def with_calibration(self) -> Scan:
        """Return the scan with separate calibration lines in place of missing imaging lines.

        ESPIRiT and networks should get this sum of both. A scan without such lines is returned as
        it is. Lines of another contrast or flip angle disturb the image; if that is possible,
        compare with an image without them.
        """
        if self.calibration_kspace is None:
            return self
        missing = ~self.mask if self.mask.ndim == 3 else ~self.mask[None]  # (s or 1, H, W)
        kspace = torch.where(missing[:, None], self.calibration_kspace, self.kspace)
        acquired = acquired_samples(self.calibration_kspace)
        return replace(self, kspace=kspace, mask=self.mask | acquired, calibration_kspace=None)

    def recentred(self, peak: tuple[int, int]) -> Scan:
        """Return the scan with k-space moved cyclically, so that its peak comes to the centre.

        Images are multiplied by a phase ramp and keep their magnitude, as a complex target does
        here. Networks and wavelets expect images without the ramp, masks the peak at the centre.

        Parameters
        ----------
        peak
            Offset in rows and columns, as in the property `peak`. With (0, 0) the scan itself is
            returned.
        """
        if not any(peak):
            return self
        back = (-peak[0], -peak[1])
        separate, target = self.calibration_kspace, self.target
        if target is not None and target.is_complex():
            target = target * _ramp(self.matrix, target.shape[-2:], back)
        return replace(
            self,
            kspace=self.kspace.roll(back, (-2, -1)),
            mask=self.mask.roll(back, (-2, -1)),
            calibration_kspace=None if separate is None else separate.roll(back, (-2, -1)),
            target=target,
            header={**self.header, "padding": None, "row_padding": None},
        )

    def undersampled(self, mask: torch.Tensor) -> Scan:
        """Return the scan as it would be with fewer samples; maps and target are kept.

        Parameters
        ----------
        mask
            Mask (H, W) or (s, H, W) of all coils, non-zero where k-space is kept. Samples that the
            scan did not acquire stay out.

        Raises
        ------
        ValueError
            When the mask is of another size, or no acquired sample is left.
        """
        height, width = self.matrix
        if tuple(mask.shape) not in {(height, width), (self.n_slices, height, width)}:
            rule = f"`mask` must have the shape {(height, width)} of the k-space of {self.name}"
            raise ValueError(message(rule, tuple(mask.shape), "Draw it for this shape."))
        kept = self.mask & (mask != 0)
        if not bool(kept.any()):
            rule = f"`mask` must keep acquired samples of {self.name}"
            raise ValueError(message(rule, "none", "Use another mask."))
        masks = kept if kept.ndim == 3 else kept[None]  # (s or 1, H, W)
        return replace(self, kspace=self.kspace * masks[:, None], mask=kept)

    def validate(self) -> Scan:
        """Return the scan itself when shapes fit, k-space is not all zero and nothing is NaN.

        Raises
        ------
        EmptyScanError
            When all samples are 0.
        ValueError
            When a shape does not fit that of `kspace`, or k-space, maps or target have NaN or
            infinity.
        """
        if self.kspace.ndim != 4 or not self.kspace.numel() or not self.kspace.is_complex():
            got = f"{tuple(self.kspace.shape)} {self.kspace.dtype}"
            rule = f"the k-space of {self.name} must be complex of shape (slices, coils, H, W)"
            raise ValueError(message(rule, got, "Check the axes of the file."))
        finite(f"k-space of {self.name}", self.kspace, remedy="Export the scan again.")
        if not bool(self.kspace.any()):
            rule = f"the k-space of {self.name} must hold a signal"
            raise EmptyScanError(message(rule, "zeros only", "Export the scan again."))
        self._check_shapes()
        for name in ("coil_maps", "target", "calibration_kspace"):
            value = getattr(self, name)
            if value is not None:
                finite(f"{name} of {self.name}", value, remedy="Export the scan again.")
        return self

    def _check_shapes(self) -> None:
        s, _, height, width = self.kspace.shape
        checks = {
            "mask": (self.mask, {(height, width), (s, height, width)}),
            "coil_maps": (self.coil_maps, {tuple(self.kspace.shape)}),
            "calibration_kspace": (self.calibration_kspace, {tuple(self.kspace.shape)}),
        }
        for name, (value, allowed) in checks.items():
            if value is not None and tuple(value.shape) not in allowed:
                expected = " or ".join(str(shape) for shape in sorted(allowed, key=len))
                rule = f"`{name}` of {self.name} must fit k-space and have shape {expected}"
                raise ValueError(
                    message(rule, tuple(value.shape), "Use data of one and the same scan.")
                )
        if not bool(self.mask.any()):
            rule = f"`mask` of {self.name} must acquire samples"
            raise ValueError(message(rule, "an empty mask", "Leave the mask out: it is derived."))
        if self.target is not None and (self.target.ndim != 3 or self.target.shape[0] != s):
            rule = f"`target` of {self.name} must be an image (h, w) for each of {s} slices"
            raise ValueError(message(rule, tuple(self.target.shape), "Check the reference."))


def _ramp(matrix: tuple[int, int], shape: torch.Size, shift: tuple[int, int]) -> torch.Tensor:
    """Return the phase (h, w) by which moving k-space of a matrix (H, W) multiplies the image."""
    turns = torch.zeros(shape)
    for n, size, step, view in zip(matrix, shape, shift, ((-1, 1), (1, -1))):
        turns = turns + step / n * (torch.arange(size) - size // 2).reshape(view)
    return torch.polar(torch.ones_like(turns), 2 * torch.pi * turns)
