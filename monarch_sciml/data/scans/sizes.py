"""Rules that bring scans of different matrix and coil count to one size."""

# Letters: M map sets, c coils, H, W matrix of k-space, N size of an axis before, n after.

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.source import ScanFacts
from monarch_sciml.physics.coil_compression import coil_compression, compress_coils
from monarch_sciml.physics.images import fft1c, ifft1c
from monarch_sciml.physics.sampling.base import IndexRange

Resize = Literal["image", "kspace"]

_ROWS, _COLUMNS = -2, -1


@dataclass(frozen=True)
class SizeRules:
    """Bring slices to one size by removing oversampling, resizing the matrix and combining coils.

    Parameters
    ----------
    matrix
        Size (H, W) of every slice. None leaves slices as they are.
    resize
        "image": cut or zero-pad the image, so that the pixels keep their size and the field of view
        changes. "kspace": cut or zero-pad k-space, so that the field of view stays and the
        resolution changes; exact for any sampling.
    remove_oversampling
        Whether to remove first the outer half of the field of view along the readout, the rows H,
        which scanners sample twice as densely as needed.
    coils
        Number of virtual coils of every slice, computed from its undersampled k-space
        (`coil_compression`). Slices with fewer coils get empty ones. None leaves coils as they are.

    Raises
    ------
    ValueError
        When a number is below 1 or `resize` is unknown.
    """

    matrix: tuple[int, int] | None = None
    resize: Resize = "image"
    remove_oversampling: bool = False
    coils: int | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        one_of("resize", self.resize, get_args(Resize))
        if self.matrix is not None:
            if len(self.matrix) != 2:
                rule = "`matrix` must be (H, W)"
                raise ValueError(message(rule, self.matrix, "Pass two numbers."))
            for n in self.matrix:
                positive_int("matrix", n)
        if self.coils is not None:
            positive_int("coils", self.coils)

    def shape(self, facts: ScanFacts) -> tuple[int, int, int]:
        """Return (c, H, W) of the slices of a scan after the rules."""
        _, coils, height, width = facts.shape
        height = height // 2 if self.remove_oversampling else height
        return (self.coils or coils, *(self.matrix or (height, width)))

    def encoded(self, facts: ScanFacts) -> tuple[IndexRange, IndexRange]:
        """Return the rows and columns of k-space that were encoded, after the rules."""
        rows, columns = facts.rows, facts.columns
        _, _, height, width = facts.shape
        if self.remove_oversampling:
            rows, height = _window(rows, height, height // 2, "image"), height // 2
        if self.matrix is not None:
            rows = _window(rows, height, self.matrix[0], self.resize)
            columns = _window(columns, width, self.matrix[1], self.resize)
        return rows, columns

    def apply(
        self, scan: Scan, maps: torch.Tensor | None = None
    ) -> tuple[Scan, torch.Tensor | None]:
        """Return a scan and its maps in the matrix of the rules, without a change of the coils.

        Parameters
        ----------
        scan
            Scan of any number of slices, with one mask for all or one for each.
        maps
            (..., c, H, W) coil maps, dimensionless, or None.

        Returns
        -------
        The scan without maps, with a complex `target` of its matrix in the new one; and the maps.
        The mask is 1 where the nearest sample of the old k-space was acquired.

        Raises
        ------
        ValueError
            When an image would have to be cut whose k-space is not complete along that axis.
        """
        scan = replace(scan, coil_maps=None, calibration_kspace=None)
        target = scan.target
        if target is None or not target.is_complex() or tuple(target.shape[1:]) != scan.matrix:
            scan.target = None
        if self.remove_oversampling:
            if "readout" in scan.transformed:
                rule = f"`remove_oversampling` needs the readout of {scan.name} along the rows"
                raise ValueError(message(rule, "a scan in hybrid space", "Leave it out."))
            scan, maps = _resized(scan, maps, _ROWS, scan.matrix[0] // 2, "image")
        if self.matrix is not None:
            for axis, n in zip((_ROWS, _COLUMNS), self.matrix):
                scan, maps = _resized(scan, maps, axis, n, self.resize)
        return scan, maps

    def compress(
        self, scan: Scan, masked: torch.Tensor, maps: torch.Tensor | None
    ) -> tuple[Scan, torch.Tensor, torch.Tensor | None]:
        """Return a scan of one slice, its undersampled k-space and its maps with virtual coils.

        Parameters
        ----------
        scan
            One slice.
        masked
            (c, H, W), its undersampled k-space, which decides on the virtual coils.
        maps
            (M, c, H, W) coil maps, dimensionless, or None.
        """
        if self.coils is None:
            return scan, masked, maps
        if bool(masked.any()):
            matrix = coil_compression(masked, self.coils)
        else:
            matrix = torch.eye(self.coils, scan.n_coils, dtype=masked.dtype)
        maps = None if maps is None else compress_coils(maps, matrix)
        kept = replace(scan, kspace=compress_coils(scan.kspace, matrix))
        return kept, compress_coils(masked, matrix), maps


def cut_or_pad(x: torch.Tensor, n: int, axis: int) -> torch.Tensor:
    """Return the n central points along an axis, padded with zeros where there are none.

    Point N // 2 of the old axis becomes point n // 2, so that the origin of image and k-space
    stays where `fft2c` has it.

    Examples
    --------
    >>> cut_or_pad(torch.arange(1, 6), 3, 0), cut_or_pad(torch.arange(1, 4), 6, 0)
    (tensor([2, 3, 4]), tensor([0, 0, 1, 2, 3, 0]))
    """
    old = x.shape[axis]
    first = old // 2 - n // 2
    if n <= old:
        return x.narrow(axis, first, n)
    padded = x.new_zeros([n if i == axis % x.dim() else size for i, size in enumerate(x.shape)])
    padded.narrow(axis, -first, old).copy_(x)
    return padded


def _resized(
    scan: Scan, maps: torch.Tensor | None, axis: int, n: int, resize: Resize
) -> tuple[Scan, torch.Tensor | None]:
    """Return scan and maps with n points along one axis."""
    old = scan.matrix[axis]
    if n == old:
        return scan, maps
    kspace, target, mask = scan.kspace, scan.target, scan.mask
    if resize == "image":
        if bool((mask != mask.narrow(axis, 0, 1)).any()) and not scan.fully_sampled:
            rule = f"the image of {scan.name} can be cut along axis {axis} when k-space is complete"
            got = f"acceleration {scan.acceleration:.2f}"
            raise ValueError(message(rule, got, 'Use resize="kspace".'))
        nearest = _positions(old, n).round().long().clamp(0, old - 1)
        kspace = fft1c(cut_or_pad(ifft1c(kspace, axis), n, axis), axis)
        mask = mask.index_select(mask.dim() + axis, nearest)
        target = None if target is None else cut_or_pad(target, n, axis)
        maps = None if maps is None else cut_or_pad(maps, n, axis)
    else:
        kspace, mask = cut_or_pad(kspace, n, axis), cut_or_pad(mask, n, axis)
        if target is not None:
            target = ifft1c(cut_or_pad(fft1c(target, axis), n, axis), axis)
        maps = None if maps is None else _interpolated(maps, n, axis)
    name = "padding" if axis == _COLUMNS else "row_padding"
    window = _window(scan.header.get(name) or (0, old), old, n, resize)
    header: dict[str, Any] = {**scan.header, name: window}
    header.pop("shape", None)  # that of the file
    return replace(scan, kspace=kspace, mask=mask, target=target, header=header), maps


def _window(window: IndexRange, old: int, n: int, resize: Resize) -> IndexRange:
    """Return the encoded ones of n points, given the encoded window of `old` points."""
    if resize == "kspace":
        shift = n // 2 - old // 2
        return max(0, window[0] + shift), min(n, window[1] + shift)
    nearest = _positions(old, n).round().clamp(0, old - 1)
    inside = ((nearest >= window[0]) & (nearest < window[1])).nonzero().flatten()
    return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, n)


def _positions(old: int, n: int) -> torch.Tensor:
    """Return the positions (n,) of n points among `old` ones of the same extent and centre."""
    return old // 2 + (torch.arange(n) - n // 2) * (old / n)


def _interpolated(maps: torch.Tensor, n: int, axis: int) -> torch.Tensor:
    """Interpolate maps (..., c, H, W) linearly to n points along an axis, keeping unit norm.

    Maps end abruptly at the edge of the object, so cutting their k-space would cause ringing.
    """
    old = maps.shape[axis]
    position = _positions(old, n).clamp(0, old - 1)
    low = position.floor().long().clamp(max=max(old - 2, 0))
    share = (position - low).to(maps.real.dtype)
    share = share[:, None] if axis == _ROWS else share
    high = (low + 1).clamp(max=old - 1)
    mixed = maps.index_select(axis, low) * (1 - share) + maps.index_select(axis, high) * share
    # the norm is that of the nearest old pixel: one, or zero outside the object
    norm = torch.linalg.vector_norm(maps, dim=-3, keepdim=True)
    wanted = norm.index_select(axis, position.round().long())
    found = torch.linalg.vector_norm(mixed, dim=-3, keepdim=True)
    return torch.where(found > 0, mixed * (wanted / found.clamp_min(1e-12)), 0.0)
