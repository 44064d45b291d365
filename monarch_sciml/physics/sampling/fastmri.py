"""Masks of whole columns that equal fastMRI's masks of the same seed."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monarch_sciml._checks import message, usage_errors
from monarch_sciml.physics.sampling.base import SamplingMask


@dataclass(frozen=True)
class _FastMRIMask(SamplingMask):
    """Draw columns as fastMRI does: a fully sampled centre and the columns of a subclass.

    With lists, one (center_fraction, acceleration) pair is drawn for every mask. The draws come
    from numpy's legacy generator in fastMRI's order: first the pair, then the columns.
    """

    center_fraction: float | list[float] = 0.08
    acceleration: float | list[float] = 4.0

    @usage_errors()
    def __post_init__(self) -> None:
        """Check the settings."""
        fractions, accelerations = self._pairs()
        if len(fractions) != len(accelerations) or not fractions:
            rule = "`center_fraction` and `acceleration` must be of one length"
            got = f"{len(fractions)} and {len(accelerations)} values"
            raise ValueError(message(rule, got, "Pair every fraction with an acceleration."))
        for fraction in fractions:
            if not 0 <= fraction <= 1:
                rule = "`center_fraction` must lie between 0 and 1"
                raise ValueError(message(rule, fraction, "fastMRI uses 0.08 for 4x, 0.04 for 8x."))
        for acceleration in accelerations:
            if not 1 <= acceleration < math.inf:
                rule = "`acceleration` must be finite and at least 1"
                raise ValueError(message(rule, acceleration, "Change `acceleration`."))

    def draw(self, height: int, width: int, seed: int | Sequence[int]) -> np.ndarray:
        """Return the mask (W,)."""
        # fastMRI's masks are defined by this generator and the order of its draws
        rng = np.random.RandomState(seed)
        fractions, accelerations = self._pairs()
        pair = rng.randint(len(fractions))
        acceleration = accelerations[pair]
        n_low = round(width * fractions[pair])
        columns = self._columns(rng, width, acceleration, n_low)
        start = (width - n_low + 1) // 2
        columns[start : start + n_low] = True
        return columns

    @abstractmethod
    def _columns(
        self, rng: np.random.RandomState, n: int, acceleration: float, n_low: int
    ) -> np.ndarray:
        """Return the columns (n,) sampled in addition to the `n_low` columns of the centre."""

    def _pairs(self) -> tuple[list[float], list[float]]:
        """Return the centre fractions and the accelerations as two lists."""
        both = (self.center_fraction, self.acceleration)
        fractions, accelerations = (
            [float(v) for v in value] if isinstance(value, Sequence) else [float(value)]
            for value in both
        )
        return fractions, accelerations


def _refuse_center(n: int, acceleration: float, n_low: int) -> None:
    """Return the error that the centre alone exceeds the budget of n / acceleration columns."""
    rule = f"the {n_low} central columns must be fewer than {n} / {acceleration:g}"
    got = f"{n_low * acceleration:g} >= {n}"
    raise ValueError(message(rule, got, "Lower `center_fraction` or `acceleration`."))


@dataclass(frozen=True)
class RandomMask(_FastMRIMask):
    """Sample columns at random besides the centre: fastMRI's "random", used for knees.

    Each column outside the centre is kept with probability (W / acceleration - n_low) /
    (W - n_low), n_low = round(W center_fraction), so W / acceleration columns are expected; the
    achieved number varies.

    Parameters
    ----------
    center_fraction
        Share of fully sampled columns at the centre, or a list of them.
    acceleration
        Nominal acceleration, or a list of the same length.

    References
    ----------
    Zbontar et al., "fastMRI: an open dataset and benchmarks for accelerated MRI",
    arXiv:1811.08839, section 5; facebookresearch/fastMRI, fastmri/data/subsample.py.

    Examples
    --------
    >>> from monarch_sciml.physics.sampling import achieved_acceleration, volume_seed
    >>> mask = RandomMask(0.08, 4)((640, 368), seed=volume_seed("file1000.h5"))
    >>> mask[0].sum().item(), round(achieved_acceleration(mask), 2)
    (88.0, 4.18)
    """

    def _columns(
        self, rng: np.random.RandomState, n: int, acceleration: float, n_low: int
    ) -> np.ndarray:
        if n_low * acceleration > n:
            _refuse_center(n, acceleration, n_low)
        outside = n - n_low
        probability = (n / acceleration - n_low) / outside if outside else 1.0
        return rng.uniform(size=n) < probability


@dataclass(frozen=True)
class EquispacedMask(_FastMRIMask):
    """Sample the centre and, from a random offset on, one column out of `acceleration`.

    This is fastMRI's "equispaced" of 2022 and later. The centre is added to these columns, so the
    achieved acceleration is lower than the nominal one (about 3.3 for 0.08 and 4).

    Parameters
    ----------
    center_fraction
        Share of fully sampled columns at the centre, or a list of them.
    acceleration
        Whole distance between columns, or a list of the same length.

    References
    ----------
    facebookresearch/fastMRI, fastmri/data/subsample.py, EquiSpacedMaskFunc.
    """

    @usage_errors()
    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        for acceleration in self._pairs()[1]:
            if acceleration != int(acceleration):
                rule = "`acceleration` must be whole for equally spaced columns"
                raise ValueError(message(rule, acceleration, "Or use EquispacedFractionMask."))

    def _columns(
        self, rng: np.random.RandomState, n: int, acceleration: float, n_low: int
    ) -> np.ndarray:
        columns = np.zeros(n, dtype=bool)
        columns[rng.randint(0, round(acceleration)) :: int(acceleration)] = True
        return columns


@dataclass(frozen=True)
class EquispacedFractionMask(_FastMRIMask):
    """Space columns so that, with the centre, W / acceleration columns are sampled.

    This is fastMRI's "equispaced_fraction" (its "equispaced" before 2022), used for brains. It
    samples the columns round(offset + i a) with a = acceleration (W - n_low) / (W - n_low
    acceleration) and a random offset below round(a); n_low = round(W center_fraction).

    Parameters
    ----------
    center_fraction
        Share of fully sampled columns at the centre, or a list of them.
    acceleration
        Nominal acceleration, or a list of the same length.

    References
    ----------
    facebookresearch/fastMRI, fastmri/data/subsample.py, EquispacedMaskFractionFunc.
    """

    def _columns(
        self, rng: np.random.RandomState, n: int, acceleration: float, n_low: int
    ) -> np.ndarray:
        if n_low * acceleration >= n:
            _refuse_center(n, acceleration, n_low)
        spacing = acceleration * (n_low - n) / (n_low * acceleration - n)
        offset = rng.randint(0, round(spacing))
        columns = np.zeros(n, dtype=bool)
        columns[np.around(np.arange(offset, n - 1, spacing)).astype(int)] = True
        return columns
