"""A randomly deformed head: brain of the template, with bone and scalp around it."""

# Letters: s slices, K points of the coarse grid along each axis, I, J matrix of the object.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monarch_sciml.data.phantom.anatomy import TEMPLATE_MEANS, load_anatomy, sample
from monarch_sciml.data.phantom.smooth import COARSE_POINTS, OVERSAMPLING, random_smooth, refine

HEAD_CENTER = np.array([0.0, -17.0, 8.0])
"""Centre of the head in mm in the coordinates of the template; the scanner's origin."""

HEAD_EXTENT = {"x": 172.0, "y": 208.0, "z": 178.0}
"""Size of brain, bone and scalp in mm."""


@dataclass(frozen=True)
class _View:
    """Prefix of the acquisition's name, signed axes of rows (down), columns, slices; positions."""

    prefix: str
    rows: tuple[str, int]
    columns: tuple[str, int]
    normal: str
    limits: tuple[float, float]


ORIENTATIONS = {
    "axial": _View("AX", ("y", -1), ("x", 1), "z", (-42.0, 58.0)),
    "coronal": _View("COR", ("z", -1), ("x", 1), "y", (-58.0, 62.0)),
    "sagittal": _View("SAG", ("z", -1), ("y", -1), "x", (-48.0, 48.0)),
}


def slice_points(
    orientation: str, grid_shape: Sequence[int], n_slices: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, float]]:
    """Place the slices of a scan.

    Parameters
    ----------
    orientation
        axial, coronal or sagittal.
    grid_shape
        (H, W) of the scan; its pixels are square and the head fits into it.
    n_slices
        Number of slices.
    rng
        Source of pixel size, slice distance and position.

    Returns
    -------
    Positions (s, K, K, 3) in the scanner in mm, and `pixel_mm` and `gap_mm`.
    """
    view = ORIENTATIONS[orientation]
    extents = (HEAD_EXTENT[view.rows[0]], HEAD_EXTENT[view.columns[0]])
    pixel = rng.uniform(1.14, 1.28) * max(e / n for e, n in zip(extents, grid_shape))
    room = view.limits[1] - view.limits[0]
    gap = min(rng.uniform(4.0, 6.0), room / max(n_slices - 1, 1))
    first = rng.uniform(view.limits[0], view.limits[1] - gap * (n_slices - 1))
    rows, columns = (  # fine pixel j of 2 N lies at (j - N) / 2 pixels
        pixel / OVERSAMPLING * (np.linspace(0, OVERSAMPLING * n - 1, COARSE_POINTS) - n)
        for n in grid_shape
    )
    points = np.empty((n_slices, COARSE_POINTS, COARSE_POINTS, 3))
    points[..., "xyz".index(view.normal)] = (first + gap * np.arange(n_slices))[:, None, None]
    points[..., "xyz".index(view.rows[0])] = view.rows[1] * rows[:, None]
    points[..., "xyz".index(view.columns[0])] = view.columns[1] * columns
    return points, {"pixel_mm": round(float(pixel), 4), "gap_mm": round(float(gap), 4)}


def head_image(
    points: np.ndarray,
    signals: dict[str, float],
    grid_shape: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Simulate the magnitude of a head.

    Parameters
    ----------
    points
        (s, K, K, 3), positions in the scanner in mm.
    signals
        Signal of each tissue (`tissue_signals`).
    grid_shape
        (H, W) of the scan.
    rng
        Source of subject and pose.

    Returns
    -------
    (s, I, J), magnitude in the unit of `signals`, and (s, I, J) bool, where the head is: brain,
    bone and scalp with everything they enclose.
    """
    where = _deformed(points, rng)  # (s, K, K, 3)
    fine_where = refine(np.moveaxis(where, -1, 0), grid_shape).movedim(0, -1)  # (s, I, J, 3)
    grey, white, fluid, detail, near = sample(load_anatomy(), fine_where)  # (s, I, J) each

    lesion = white * _lesions(fine_where, rng)
    slope = (signals["white matter"] - signals["grey matter"]) / (
        TEMPLATE_MEANS[1] - TEMPLATE_MEANS[0]
    )
    image = (
        grey * signals["grey matter"]
        + (white - lesion) * signals["white matter"]
        + fluid * signals["fluid"]
        + lesion * signals["lesion"]
        # where the template is brighter than its tissues, go from grey towards white matter
        + rng.uniform(0.5, 1.0) * slope * detail * (grey + white)
    ).clamp(min=0)
    inside = (grey + white + fluid).clamp(max=1)
    thickness = refine(1 + 0.15 * random_smooth(points, rng, (60, 200)), grid_shape)
    shell, head = _shell(32 - near, thickness, signals, rng)
    image = image + (1 - inside) * shell
    image = image * torch.sigmoid((fine_where[..., 2] + 58) / 5)  # the template ends below
    texture = rng.standard_normal((len(image), *grid_shape)).astype(np.float32)
    texture = torch.nn.functional.interpolate(
        torch.from_numpy(texture)[:, None], tuple(image.shape[1:]), mode="bilinear"
    )[:, 0]  # (s, 1, I, J) -> (s, I, J)
    return image * (1 + rng.uniform(0.01, 0.04) * texture).clamp(min=0), head


def _deformed(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return where in the template the scanner's points (..., 3) lie: one subject, one pose."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", rng.normal(0, 5.0, 3), degrees=True).as_matrix()
    scale = rng.uniform(0.94, 1.08) * rng.uniform(0.96, 1.04, 3)
    scale[0] *= rng.choice([-1, 1])  # left and right exchanged
    moved = points @ turn.T / scale + rng.normal(0, 3.0, 3)
    bend = np.stack([random_smooth(points, rng, (55, 160)) for _ in range(3)], axis=-1)
    return moved + HEAD_CENTER + 3.0 * bend


def _lesions(where: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return 0..1 at the points (s, I, J, 3): up to 12 blobs of 1.5 to 5 mm, one slice each."""
    blobs = torch.zeros(where.shape[:-1])
    n_slices, n_rows, n_columns = blobs.shape
    for _ in range(rng.integers(0, 13)):
        s = rng.integers(n_slices)
        i, j = (rng.integers(n // 4, 3 * n // 4) for n in (n_rows, n_columns))
        squared = (where[s] - where[s, i, j]).square().sum(-1)  # (I, J, 3) -> (I, J), mm^2
        blobs[s] += torch.exp(-squared / (2 * rng.uniform(1.5, 5.0) ** 2))
    return blobs.clamp(max=1)


def _shell(
    distance: torch.Tensor,
    thickness: torch.Tensor,
    signals: dict[str, float],
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return signal around the brain, fluid, bone with marrow, scalp, and where the scalp ends.

    Both, and the distance in mm and relative thickness that they follow from, are (s, I, J).
    """
    fluid_end = 1.5
    bone_end = fluid_end + rng.uniform(4.0, 7.0) * thickness
    scalp_end = bone_end + rng.uniform(3.0, 6.0) * thickness

    def beyond(edge: torch.Tensor | float) -> torch.Tensor:
        return torch.sigmoid((distance - edge) / 0.5)

    middle = (distance - (fluid_end + bone_end) / 2) / 1.2
    marrow = rng.uniform(0.2, 0.5) * torch.exp(-(middle**2))
    bone = signals["bone"] + marrow * signals["fat"]
    layers = (
        (1 - beyond(fluid_end)) * signals["fluid"]
        + (beyond(fluid_end) - beyond(bone_end)) * bone
        + (beyond(bone_end) - beyond(scalp_end)) * signals["fat"] * rng.uniform(0.4, 0.9)
    )
    return layers, distance < scalp_end
