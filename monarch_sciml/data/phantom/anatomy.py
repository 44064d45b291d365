"""Head anatomy of the MNI152 template, and the signal its tissues give in common sequences."""

# Letters: X, Y, Z voxels of the template (1 mm, right, anterior, superior); t tissues;
# ... any shape of points.

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from monarch_sciml._checks import one_of, optional_package

CONTRASTS = ("T1", "T2", "FLAIR", "PD")
TEMPLATE_MEANS = (0.65, 0.87, 0.27)
"""Mean of the T1 template (0 to 1) where each tissue's probability exceeds 0.9."""

# proton density, T1 / ms, T2 / ms at 1.5 T, about the middle of published ranges
_RELAXATION = {
    "grey matter": (0.82, 950.0, 100.0),
    "white matter": (0.71, 600.0, 80.0),
    "fluid": (1.0, 4000.0, 2000.0),
    "fat": (0.9, 260.0, 85.0),
    "bone": (0.06, 400.0, 30.0),
    "lesion": (0.85, 1200.0, 180.0),
}


@dataclass(frozen=True)
class Anatomy:
    """Hold the template as volumes that can be sampled anywhere.

    Attributes
    ----------
    volumes
        (5, X, Y, Z) float32: shares of grey matter, white matter and fluid (0 to 1), the T1
        template minus the mixture of the tissue means, and max(0, 32 mm - distance to the brain).
    origin
        Voxel (3,) of the template's coordinate (0, 0, 0) mm.
    """

    volumes: torch.Tensor
    origin: torch.Tensor


@lru_cache(maxsize=1)
def load_anatomy() -> Anatomy:
    """Return the MNI152 anatomy that nilearn's wheel contains, without a download.

    Tissue probabilities are of 152 averaged brains and therefore blurred; raising them to the power
    1.7 and normalising makes the boundaries about as sharp as one person's.

    Raises
    ------
    ValueError
        When nilearn is not installed.

    References
    ----------
    Fonov et al., "Unbiased nonlinear average age-appropriate brain templates from birth to
    adulthood", NeuroImage 47 (2009), S102.
    """
    t1, grey, white, origin = _template()
    brain = t1 > 0
    fluid = (1 - grey - white).clamp(0, 1) * brain
    shares = torch.stack([grey, white, fluid]).pow_(1.7)
    shares *= brain / shares.sum(0).clamp(min=1e-6)
    mixture = sum(mean * share for mean, share in zip(TEMPLATE_MEANS, shares))
    detail = (t1 - mixture) * brain
    near = torch.from_numpy(_proximity(brain.numpy()))
    return Anatomy(torch.cat([shares, detail[None], near[None]]), origin)


def _template() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return T1, grey matter and white matter (X, Y, Z) and the voxel of the origin (3,)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nilearn's own, about its optional dependencies
        datasets = optional_package("nilearn.datasets", "simulating scans", "phantom")
    images = (
        datasets.load_mni152_template(resolution=1),
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    )
    t1, grey, white = (
        torch.from_numpy(np.ascontiguousarray(image.dataobj, dtype=np.float32)) for image in images
    )
    origin = torch.tensor(-images[0].affine[:3, 3], dtype=torch.float32)
    return t1, grey, white, origin


def _proximity(brain: np.ndarray) -> np.ndarray:
    """Return max(0, 32 mm - distance to the brain), (X, Y, Z), computed on a grid of 2 mm.

    The distance is smoothed, and measured after clefts and holes of the brain that are narrower
    than 24 mm are closed, because a skull does not follow them.
    """
    from scipy import ndimage

    def distance_to(region: np.ndarray) -> np.ndarray:
        return 2 * np.asarray(ndimage.distance_transform_edt(~region), dtype=np.float32)

    outside = distance_to(brain[::2, ::2, ::2])
    dilated = outside < 12
    signed = np.where(dilated, 12 - distance_to(~dilated), outside)
    smooth = np.asarray(ndimage.gaussian_filter(signed, 1.5))
    near = torch.from_numpy(np.maximum(32 - smooth, 0))[None, None]
    size = [2 * n - 1 for n in near.shape[2:]]  # voxel 2 i of the template is voxel i here
    fine = torch.nn.functional.interpolate(near, size, mode="trilinear", align_corners=True)
    full = np.zeros(brain.shape, dtype=np.float32)
    x, y, z = (min(a, b) for a, b in zip(size, brain.shape))
    full[:x, :y, :z] = fine[0, 0, :x, :y, :z].numpy()
    return full


def sample(anatomy: Anatomy, points: torch.Tensor) -> torch.Tensor:
    """Return the volumes at the given positions, linearly interpolated, 0 outside.

    Parameters
    ----------
    anatomy
        The template.
    points
        (..., 3) float32, positions x, y, z in mm in the coordinates of the template.

    Returns
    -------
    (5, ...), the channels of `Anatomy.volumes`.
    """
    size = torch.tensor(anatomy.volumes.shape[1:], dtype=torch.float32)
    unit = 2 * (points + anatomy.origin) / (size - 1) - 1  # -1..1 from first to last voxel
    # grid_sample wants (1, depth, height, width, 3), the fastest axis first: z, y, x
    grid = unit.flip(-1).reshape(1, 1, 1, -1, 3)
    values = torch.nn.functional.grid_sample(anatomy.volumes[None], grid, align_corners=True)
    return values.reshape(-1, *points.shape[:-1])  # (1, 5, 1, 1, n) -> (5, ...)


def tissue_signals(contrast: str, rng: np.random.Generator) -> dict[str, float]:
    """Return the signal of each tissue in a sequence of random timing, the largest scaled to 1.

    Spin echo, S = PD (1 - exp(-TR / T1)) exp(-TE / T2), with an inversion for FLAIR and for half of
    the T1 scans, S = PD |1 - 2 exp(-TI / T1) + exp(-TR / T1)| exp(-TE / T2). Proton density, T1 and
    T2 vary by 5 % (standard deviation) from scan to scan.

    Parameters
    ----------
    contrast
        T1, T2, FLAIR or PD.
    rng
        Source of timing and tissue values.

    Returns
    -------
    Signal of grey matter, white matter, fluid, fat, bone and lesion, dimensionless.
    """
    one_of("contrast", contrast, CONTRASTS)
    if contrast == "T1" and rng.random() < 0.5:
        contrast = "T1 inversion"
    tr, te, ti = {  # ms
        "T1": (rng.uniform(400, 650), rng.uniform(8, 15), None),
        "T1 inversion": (rng.uniform(1900, 2500), rng.uniform(3, 8), rng.uniform(750, 950)),
        "T2": (rng.uniform(3500, 6000), rng.uniform(80, 115), None),
        "FLAIR": (rng.uniform(8000, 10000), rng.uniform(85, 130), rng.uniform(2300, 2500)),
        "PD": (rng.uniform(2200, 4000), rng.uniform(12, 30), None),
    }[contrast]
    signals = {}
    for tissue, values in _RELAXATION.items():
        density, t1, t2 = np.array(values) * np.exp(rng.normal(0, 0.05, 3))
        recovery = 1 - np.exp(-tr / t1)
        if ti is not None:
            recovery = np.abs(recovery - 2 * np.exp(-ti / t1) + 2 * np.exp(-tr / t1))
        signals[tissue] = float(density * recovery * np.exp(-te / t2))
    largest = max(signals.values())
    return {tissue: value / largest for tissue, value in signals.items()}
