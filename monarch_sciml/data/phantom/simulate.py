"""Multi-coil k-space simulated from the MNI152 anatomy, with maps and reference image known."""

# Letters: s slices, c coils, H, W matrix of the scan, I, J = 2 H, 2 W matrix of the simulated
# object, K points of the coarse grid on which smooth things are evaluated.

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, get_args

import numpy as np
import torch

from monarch_sciml._checks import message, one_of, positive_int, positive_number
from monarch_sciml.data.phantom.anatomy import CONTRASTS, tissue_signals
from monarch_sciml.data.phantom.ellipses import ellipse_image
from monarch_sciml.data.phantom.head import ORIENTATIONS, head_image, slice_points
from monarch_sciml.data.phantom.receivers import loop_array, receive_field
from monarch_sciml.data.phantom.smooth import OVERSAMPLING, random_smooth, refine
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics.readout import ReadoutErrors
from monarch_sciml.physics.sense_operator import combine, fft2c, ifft2c

GENERATOR = "monarch_sciml.data.phantom.simulate_scan"

Contrast = Literal["random", "T1", "T2", "FLAIR", "PD"]
Orientation = Literal["random", "axial", "coronal", "sagittal"]
Subject = Literal["head", "phantom"]


def simulate_scan(
    seed: int | Sequence[int],
    *,
    grid_shape: tuple[int, int] = (160, 160),
    n_slices: int = 10,
    n_coils: int = 8,
    noise: float = 0.02,
    contrast: Contrast = "random",
    orientation: Orientation = "axial",
    subject: Subject = "head",
    readout_errors: ReadoutErrors | Mapping[str, Any] | None = None,
) -> Scan:
    r"""Simulate a fully sampled multi-coil scan of a randomly deformed head.

    .. math:: y_c = C F (S_c x) + n_c, \qquad \sum_c |S_c|^2 = 1

    Template tissues, deformed and rotated at random, get the signals of a spin-echo or inversion
    sequence of random timing; bone and scalp are added around the brain. The object x has smooth
    phase and shading, and S are sensitivities of loops around the head (Biot-Savart). It lives on
    a grid of twice the resolution, of whose k-space C keeps the centre: Gibbs ringing is that of a
    scanner, and the SENSE model on the scan's own grid is an approximation as for measured data.

    Parameters
    ----------
    seed
        One or several whole numbers that identify a simulated subject. Equal arguments give equal
        scans.
    grid_shape
        (H, W) of k-space and image.
    n_slices
        Number of slices, 4 to 6 mm apart, closer where they would not fit into the head.
    n_coils
        Number of receive coils.
    noise
        Standard deviation of the complex noise of every k-space sample (and, the transform being
        orthonormal, of every coil image), relative to the 95th percentile of the noise-free image.
    contrast
        T1, T2, FLAIR or PD; "random" draws one of them.
    orientation
        axial, coronal or sagittal; "random" draws one of them.
    subject
        The head, or a "phantom" of known geometry: ellipses that are different in every slice. A
        phantom has no contrast and needs no nilearn.
    readout_errors
        Errors of the scanner's readout, along H, or their values by name, as a file has them. None
        for an ideal scanner, whose k-space is the Fourier transform of the object.

    Returns
    -------
    Scan
        `kspace` (s, c, H, W); `coil_maps`, the true ones, sum_c |S_c|^2 = 1 in the head and two
        pixels around it and 0 elsewhere, as ESPIRiT's are; `target`, the noise-free coil
        combination sum_c conj(S_c) F^-1 C F(S_c x) of an ideal scanner, complex, scaled so that the
        95th percentile of its magnitude is 1; what was drawn is in `header["attributes"]`.

    Raises
    ------
    ModuleNotFoundError
        When nilearn is not installed (the extra `phantom`).
    ValueError
        When `seed` or `noise` is negative, `grid_shape` has a size below 8, `n_slices` or `n_coils`
        is below 1, or a choice is unknown.

    Notes
    -----
    Ten slices of 8 coils and 160 x 160 take about 1 s on one core. Face and neck are missing,
    because the template has none. Noise is white and uncorrelated between coils. Neither motion nor
    relaxation during the readout is simulated.

    Examples
    --------
    >>> scan = simulate_scan(0, grid_shape=(32, 32), n_slices=2, n_coils=4)
    >>> tuple(scan.kspace.shape), scan.acceleration
    ((2, 4, 32, 32), 1.0)
    """
    if isinstance(readout_errors, Mapping):
        readout_errors = ReadoutErrors(**readout_errors)
    settings = checked_settings(
        grid_shape=grid_shape,
        n_slices=n_slices,
        n_coils=n_coils,
        noise=noise,
        contrast=contrast,
        orientation=orientation,
        **of_another_kind(subject, readout_errors),
    )
    rng = np.random.default_rng(_entropy(seed))
    if orientation == "random":
        orientation = rng.choice(list(ORIENTATIONS))
    if contrast == "random":
        contrast = rng.choice(CONTRASTS)

    points, geometry = slice_points(orientation, grid_shape, n_slices, rng)
    signals = tissue_signals(contrast, rng) if subject == "head" else None
    fine_object, fine_maps, head = _object_and_maps(points, signals, grid_shape, n_coils, rng)
    kspace, maps = _measure(fine_object, fine_maps, grid_shape)
    maps = maps * _support(head, grid_shape)[:, None]
    target = combine(ifft2c(kspace), maps)
    if readout_errors is not None:
        del kspace
        kspace = _distorted(fine_object, fine_maps, grid_shape, readout_errors)
    level = _percentile(target.abs(), 0.95)
    shown = str(contrast) if subject == "head" else subject
    drawn = {"contrast": shown, "orientation": str(orientation), **geometry}
    header = {
        "format": "simulated",
        "acquisition": f"{ORIENTATIONS[orientation].prefix}{shown}",
        "reference": "target",
        "attributes": {**provenance(seed, settings), "drawn": json.dumps(drawn)},
    }
    return Scan(
        kspace / level + noise * _complex_noise(kspace.shape, rng),
        torch.ones(grid_shape, dtype=torch.bool),
        maps,
        target / level,
        header,
        "simulated_" + "_".join(map(str, _entropy(seed))),
    )


def checked_settings(
    *,
    grid_shape: Sequence[int],
    n_slices: int,
    n_coils: int,
    noise: float,
    contrast: Contrast,
    orientation: Orientation,
    **others: Any,
) -> dict[str, Any]:
    """Return the settings of a scan, with which it is stored; ValueError when one is invalid."""
    positive_number("noise", noise, or_zero=True)
    if len(grid_shape) != 2:
        raise ValueError(
            message("`grid_shape` must be (H, W)", list(grid_shape), "Pass two sizes.")
        )
    return {
        "grid_shape": [positive_int("grid_shape", n, minimum=8) for n in grid_shape],
        "n_slices": positive_int("n_slices", n_slices),
        "n_coils": positive_int("n_coils", n_coils),
        "noise": noise,
        "contrast": one_of("contrast", contrast, ("random", *CONTRASTS)),
        "orientation": one_of("orientation", orientation, ("random", *ORIENTATIONS)),
        **others,
    }


def of_another_kind(subject: Subject, readout_errors: ReadoutErrors | None) -> dict[str, Any]:
    """Return those of these settings that differ from a head in an ideal scanner."""
    one_of("subject", subject, get_args(Subject))
    settings: dict[str, Any] = {} if subject == "head" else {"subject": subject}
    if readout_errors is not None:
        settings["readout_errors"] = asdict(readout_errors)
    return settings


def _entropy(seed: int | Sequence[int]) -> list[int]:
    values = [seed] if isinstance(seed, int) else list(seed)
    if any(value < 0 for value in values):
        raise ValueError(message("`seed` must be zero or positive", seed, "Use 0, 1, 2, ..."))
    return values


def provenance(seed: int | Sequence[int], settings: dict[str, Any]) -> dict[str, str]:
    """Return the attributes that say how a scan was made."""
    from monarch_sciml import __version__

    return {
        "generator": GENERATOR,
        "parameters": json.dumps(settings),
        "seed": json.dumps(_entropy(seed)),
        "version": __version__,
    }


def _object_and_maps(
    points: np.ndarray,
    signals: dict[str, float] | None,
    grid_shape: tuple[int, int],
    n_coils: int,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return object (s, I, J), normalised maps (s, c, I, J) and head (s, I, J) at (s, K, K, 3).

    Without signals of tissues the object is the phantom. Normalisation removes a shading from the
    maps. A random power of it, between 0.3 and 1, is put into the object; the rest stands for the
    correction of the scanner.
    """
    if signals is None:
        image, head = ellipse_image(len(points), grid_shape, rng)
    else:
        image, head = head_image(points, signals, grid_shape, rng)
    field = receive_field(loop_array(n_coils, rng), points)  # (c, s, K, K)
    turns = np.exp(2j * np.pi * rng.random((n_coils, 1, 1, 1)))
    raw = refine(np.moveaxis(field * turns, 0, 1), grid_shape)  # (s, c, I, J)
    # (s, c, I, J, 2) -> (s, I, J); four times as fast as a norm of complex numbers
    sensitivity = torch.view_as_real(raw).square().sum((1, -1)).sqrt()
    body = image > 0.1 * image.max()
    shading = (sensitivity / sensitivity[body].mean()) ** rng.uniform(0.3, 1.0)
    phase = rng.uniform(0.4, 1.2) * random_smooth(points, rng, (90, 300))
    phase = refine(phase + rng.uniform(-np.pi, np.pi), grid_shape)
    return torch.polar(image * shading, phase), raw / sensitivity[:, None], head


def _measure(
    fine_object: torch.Tensor, fine_maps: torch.Tensor, grid_shape: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noise-free k-space and the maps at the scan's pixels, both (s, c, H, W).

    Zero frequency and centre are N of 2 N fine samples and N // 2 of the scan's N; so frequency 0
    of the scan is N - N // 2, and its pixel j lies at fine pixel 2 j + N mod 2. The factor 1 / 2
    keeps image intensities: both transforms are orthonormal.
    """
    first = [n - n // 2 for n in grid_shape]
    rows, columns = (slice(start, start + n) for start, n in zip(first, grid_shape))
    kspace = torch.stack(
        [  # slice by slice, to bound the memory
            fft2c(maps * image)[..., rows, columns] / OVERSAMPLING
            for image, maps in zip(fine_object, fine_maps)
        ]
    )
    (height, width), step = grid_shape, OVERSAMPLING
    return kspace, fine_maps[..., height % 2 :: step, width % 2 :: step].clone()


def _distorted(
    fine_object: torch.Tensor,
    fine_maps: torch.Tensor,
    grid_shape: tuple[int, int],
    errors: ReadoutErrors,
) -> torch.Tensor:
    """Return the noise-free k-space (s, c, H, W) of a scanner with errors of its readout."""
    coil_images = (maps * image for image, maps in zip(fine_object, fine_maps))  # (c, I, J) each
    return torch.stack([errors.measure(part, grid_shape, OVERSAMPLING) for part in coil_images])


def _support(head: torch.Tensor, grid_shape: tuple[int, int]) -> torch.Tensor:
    """Return 1 in the head and two pixels around it, (s, I, J) bool -> (s, H, W)."""
    (height, width), step = grid_shape, OVERSAMPLING
    pixels = head[..., height % 2 :: step, width % 2 :: step].float()
    return torch.nn.functional.max_pool2d(pixels, 5, stride=1, padding=2)


def _complex_noise(shape: Sequence[int], rng: np.random.Generator) -> torch.Tensor:
    """Return complex64 noise of unit variance, half of it in the real part."""
    parts = torch.from_numpy(rng.standard_normal((*shape, 2), dtype=np.float32))
    return torch.view_as_complex(parts) / np.sqrt(2)


def _percentile(values: torch.Tensor, share: float) -> torch.Tensor:
    """Return a percentile, also of more than the 2^24 values that torch.quantile accepts."""
    return values.flatten().kthvalue(int(share * (values.numel() - 1)) + 1).values
