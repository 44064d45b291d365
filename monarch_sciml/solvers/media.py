"""Media that are the same for all samples of a data set: wave speeds, permeabilities, sea floors.

Letters: d axes of the unit box with n points each.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message, one_of, positive_int, positive_number, usage_errors
from monarch_sciml._reading import file_start, load_npy
from monarch_sciml.solvers.random_series import evaluate_periodic_series, squared_modes

MediumKind = Literal["smooth", "layered", "given"]
KINDS: tuple[MediumKind, ...] = ("smooth", "layered", "given")


@dataclass(frozen=True, kw_only=True)
class Medium:
    """Describe a positive function m(x) on the unit box that is the same for every sample.

    Parameters
    ----------
    kind
        "smooth": log m is a smooth Gaussian random field, the same on opposite sides of the box.
        "layered": m is constant in layers of equal thickness across the last axis. "given": m is
        read from `file`.
    seed
        Seed of the random medium. It does not depend on the seed of the samples.
    mean
        Geometric mean of a random medium over the box.
    contrast
        Standard deviation of log m over the box, for a random medium.
    correlation_length
        Distance over which the correlation of log m falls to exp(−1/2), for a smooth medium, as a
        share of the box.
    n_layers
        Number of layers of a layered medium.
    file
        A .npy file with m at the stored grid points, for a given medium. Between them log m is
        interpolated piece by piece with monotone cubics, which do not overshoot.

    Raises
    ------
    ValueError
        When a value is out of range, or `file` is missing for a given medium or set for another
        kind.
    """

    kind: MediumKind = "smooth"
    seed: int = 0
    mean: float = 1.0
    contrast: float = 0.4
    correlation_length: float = 0.1
    n_layers: int = 8
    file: Path | None = None

    @usage_errors()
    def __post_init__(self) -> None:
        one_of("medium.kind", self.kind, KINDS)
        positive_int("medium.seed", self.seed, minimum=0)
        positive_number("medium.mean", self.mean)
        positive_number("medium.contrast", self.contrast, or_zero=True)
        positive_int("medium.n_layers", self.n_layers)
        length = positive_number("medium.correlation_length", self.correlation_length)
        if not 0.01 <= length <= 1:
            rule = "`medium.correlation_length` must lie between 0.01 and 1"
            raise ValueError(message(rule, length, "State it as a share of the box."))
        if (self.kind == "given") != (self.file is not None):
            rule = "`medium.file` must be named for a given medium, and for no other"
            got = f"kind {self.kind!r} and file {self.file}"
            raise ValueError(message(rule, got, "Set `medium.kind` to given, or drop the file."))

    def function(
        self, grid_shape: Sequence[int], *, periodic: bool, cell_centres: bool = False
    ) -> Callable[..., Tensor]:
        """Return m as a function of the coordinates (n,) along each axis, on their tensor grid.

        Parameters
        ----------
        grid_shape
            Grid points that are stored along each axis; a given medium must have this shape.
        periodic
            Whether the box is periodic, so that the grid leaves out the far sides.
        cell_centres
            Whether the stored points are the centres of n equal cells between walls, at which a
            given medium is mirrored. Otherwise they begin at 0.

        Raises
        ------
        FileNotFoundError
            When the file of a given medium is missing.
        ValueError
            When that file is no array of this shape with positive and finite numbers.
        """
        if self.kind == "given":
            return _interpolant(self._read(tuple(grid_shape)), periodic, cell_centres)
        draw = self._smooth if self.kind == "smooth" else self._layered
        logarithm = draw(len(grid_shape))
        return lambda *x: self.mean * torch.exp(self.contrast * logarithm(*x))

    def parameters(self, grid_shape: Sequence[int]) -> dict[str, Any]:
        """Return the parameters that define the medium, as JSON values."""
        if self.kind == "given":
            digest = hashlib.sha256(self._read(tuple(grid_shape)).tobytes()).hexdigest()
            return {"kind": self.kind, "sha256": digest}
        shared = {"kind": self.kind, "seed": self.seed, "mean": float(self.mean)}
        shared["contrast"] = float(self.contrast)
        if self.kind == "smooth":
            return {**shared, "correlation_length": float(self.correlation_length)}
        return {**shared, "n_layers": self.n_layers}

    def _smooth(self, n_dims: int) -> Callable[..., Tensor]:
        """Draw a smooth periodic field of mean 0 and variance 1 over the box."""
        # correlation exp(−r² / 2ℓ²) has the spectrum exp(−2 (π |k| ℓ)²), its root is the amplitude
        largest = math.ceil(1.4 / self.correlation_length)
        squared = squared_modes([range(-largest, largest + 1)] * n_dims)
        amplitude = torch.exp(-squared * (math.pi * self.correlation_length) ** 2)
        amplitude[(largest,) * n_dims] = 0.0
        noise = np.random.default_rng([self.seed, 1]).standard_normal((*amplitude.shape, 2))
        coefficients = amplitude * torch.view_as_complex(torch.from_numpy(noise))
        # the field is the real part: only the Hermitian part of the coefficients counts
        coefficients = (coefficients + coefficients.flip(*range(n_dims)).conj()) / 2
        coefficients = coefficients / coefficients.abs().square().sum().sqrt()
        return lambda *x: evaluate_periodic_series(coefficients, x)

    def _layered(self, n_dims: int) -> Callable[..., Tensor]:
        """Draw one number for each layer across the last axis, of mean 0 and variance 1."""
        values = np.random.default_rng([self.seed, 2]).standard_normal(self.n_layers)
        values -= values.mean()
        values /= max(np.sqrt((values**2).mean()), np.finfo(float).tiny)
        layers = torch.from_numpy(values)

        def field(*x: Tensor) -> Tensor:
            layer = (x[-1].double() * self.n_layers).floor().long().clamp(0, self.n_layers - 1)
            return layers[layer].expand(*(len(points) for points in x))

        return field

    def _read(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the array of a given medium, checked."""
        assert self.file is not None  # checked when the medium was made
        path, start = self.file, file_start(self.file)
        if start.kind != "npy":
            rule = f"{path} must be an array in a .npy file"
            raise ValueError(message(rule, start.description, "Write it with numpy.save."))
        values = load_npy(path)
        if values.shape != shape or values.dtype.kind not in "fiu":
            rule = f"the medium in {path} must be real numbers of shape {shape}, as the stored grid"
            got = f"{values.dtype} of shape {values.shape}"
            raise ValueError(message(rule, got, "Change `resolution`, or resample the medium."))
        values = values.astype(np.float64)
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            rule = f"the medium in {path} must be positive and finite everywhere"
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            got = f"{int(bad.sum())} other values, the first {values[place]} at {place}"
            raise ValueError(message(rule, got, "Correct them."))
        return values


def _interpolant(values: np.ndarray, periodic: bool, cell_centres: bool) -> Callable[..., Tensor]:
    """Return the positive function through values at the grid points of the unit box."""
    from scipy.interpolate import PchipInterpolator

    margin = 3 if periodic or cell_centres else 0  # points repeated beyond either side
    beyond = "wrap" if periodic else "symmetric"
    logarithm = np.log(values)

    def function(*x: Tensor) -> Tensor:
        result = logarithm
        for axis, points in enumerate(x):
            n = values.shape[axis]
            nodes = np.arange(-margin, n + margin) + 0.5 * cell_centres
            nodes = nodes / (n if periodic or cell_centres else n - 1)
            padding = [(margin, margin) if a == axis else (0, 0) for a in range(result.ndim)]
            padded = np.pad(result, padding, mode=beyond)
            result = PchipInterpolator(nodes, padded, axis=axis)(points.double().numpy())
        return torch.from_numpy(np.exp(result))

    return function
