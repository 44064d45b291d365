"""Errors of magnitude images with fastMRI's definitions: NMSE, PSNR, SSIM of a volume.

Letters: B slices of a batch, of any volumes; S slices of one volume; V volumes; H, W image.
Everything is accumulated in float64.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from monarch_sciml._checks import finite, message
from monarch_sciml.metrics.checks import checked, nonzero, peak_of, same_shape
from monarch_sciml.metrics.ssim import structural_similarity


def image_statistics(
    prediction: torch.Tensor, target: torch.Tensor, data_range: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return quantities of each slice from which the errors of whole volumes are computed.

    Parameters
    ----------
    prediction
        (B, H, W), magnitude of the reconstruction, any unit.
    target
        (B, H, W), magnitude of the reference, in the same unit.
    data_range
        (B,), largest target value of the VOLUME each slice belongs to, in the same unit.

    Returns
    -------
    (B,) float64 each: `squared_error` (sum of squared differences), `squared_target`, `n_pixels`,
    `ssim` (of the slice, dimensionless), `max` (of the target slice).

    Raises
    ------
    ValueError
        When shapes differ, values are not finite, `data_range` is not positive, or the image is
        smaller than the SSIM window of 7.

    Notes
    -----
    Pass the pieces of all batches, concatenated, to `volume_metrics`. fastMRI first crops both
    images to (w, w), where w is the width of the target; the caller must do this.
    """
    prediction, target = checked(prediction, target)
    if data_range.shape != target.shape[:1]:
        rule = f"`data_range` must hold one value a slice, shape ({target.shape[0]},)"
        raise ValueError(message(rule, tuple(data_range.shape), "Repeat the volume's maximum."))
    span = data_range.to(target.device, torch.float64)
    if not bool((span > 0).all()):
        got = f"{float(span.min())}"
        rule = "`data_range` must be positive"
        raise ValueError(message(rule, got, "Pass the largest target value of the volume."))
    return {
        "squared_error": (prediction - target).square().sum(dim=(1, 2)),
        "squared_target": target.square().sum(dim=(1, 2)),
        "n_pixels": torch.full_like(span, target[0].numel()),
        "ssim": structural_similarity(prediction, target, span),
        "max": target.amax(dim=(1, 2)),
    }


def volume_metrics(
    pieces: Mapping[str, torch.Tensor], volume_ids: torch.Tensor
) -> dict[str, torch.Tensor]:
    r"""Return NMSE, PSNR and SSIM of every volume from the pieces of its slices.

    .. math:: \mathrm{NMSE} = \frac{\|t - p\|^2}{\|t\|^2}, \quad
              \mathrm{PSNR} = 10 \log_{10} \frac{\max(t)^2}{\mathrm{MSE}}, \quad
              \mathrm{SSIM} = \text{mean over slices}

    Parameters
    ----------
    pieces
        (B,) each, as returned by `image_statistics`, in any order of slices.
    volume_ids
        (B,), integers; slices of equal id form one volume.

    Returns
    -------
    (V,) each: `volume` (the ids, ascending), `nmse` and `ssim` (dimensionless), `psnr` (dB). The
    figure of a data set is the mean over volumes, not over slices.

    Raises
    ------
    ValueError
        When a volume's target is zero, or there is not one id a slice.
    """
    if volume_ids.shape != pieces["squared_error"].shape:
        rule = f"`volume_ids` must have shape {tuple(pieces['squared_error'].shape)}"
        raise ValueError(message(rule, tuple(volume_ids.shape), "Pass one id for every slice."))
    device = pieces["squared_error"].device
    volumes, index = torch.unique(volume_ids.to(device), return_inverse=True)

    def total(piece: torch.Tensor) -> torch.Tensor:
        return piece.new_zeros(len(volumes)).index_add(0, index, piece)  # (B,) -> (V,)

    target = total(pieces["squared_target"])
    if not bool((target > 0).all()):
        zero = volumes[target == 0].tolist()
        rule = "the target of a volume must not be zero everywhere"
        raise ValueError(message(rule, f"volume {zero[0]}", "Leave that volume out."))
    peak = torch.zeros_like(target).scatter_reduce(0, index, pieces["max"], "amax")
    error = total(pieces["squared_error"])
    mean_error = error / total(pieces["n_pixels"])
    return {
        "volume": volumes,
        "nmse": error / target,
        "psnr": 10 * torch.log10(peak.square() / mean_error),
        "ssim": total(pieces["ssim"]) / total(torch.ones_like(pieces["ssim"])),
    }


def nmse(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the normalised mean squared error ||t - p||^2 / ||t||^2 of one volume.

    Parameters
    ----------
    prediction, target
        (S, H, W), magnitudes of one volume, any common unit.

    Returns
    -------
    () float64, dimensionless, 0 for a perfect prediction.

    Raises
    ------
    ValueError
        When shapes differ, values are not finite, or the target is zero.

    Examples
    --------
    >>> target = torch.ones(2, 8, 8)
    >>> nmse(0.9 * target, target).item()  # doctest: +ELLIPSIS
    0.01...
    """
    prediction, target = checked(prediction, target)
    return (prediction - target).square().sum() / nonzero(target).square().sum()


def psnr(
    prediction: torch.Tensor, target: torch.Tensor, data_range: float | None = None
) -> torch.Tensor:
    """Return the peak signal-to-noise ratio 10 log10(max(t)^2 / MSE) of one volume.

    Parameters
    ----------
    prediction, target
        (S, H, W), magnitudes of one volume, any common unit.
    data_range
        Peak value. None takes the largest target value of the volume.

    Returns
    -------
    () float64, in dB; infinite for a perfect prediction.

    Raises
    ------
    ValueError
        When shapes differ, values are not finite, or the target is zero.
    """
    prediction, target = checked(prediction, target)
    peak = peak_of(target, data_range)
    return 10 * torch.log10(peak.square() / (prediction - target).square().mean())


def ssim(
    prediction: torch.Tensor, target: torch.Tensor, data_range: float | None = None
) -> torch.Tensor:
    """Return the structural similarity of one volume: the mean over its slices.

    Uniform window of 7 x 7, K1 = 0.01, K2 = 0.03, sample (co)variances; pixels closer than 3 to
    the border are left out. It equals scikit-image's `structural_similarity` with the same range.

    Parameters
    ----------
    prediction, target
        (S, H, W), magnitudes of one volume, any common unit; H and W at least 7.
    data_range
        The range L of the constants (K L)^2; None for the largest target value of the volume.

    Returns
    -------
    () float64, dimensionless, 1 for a perfect prediction.

    Raises
    ------
    ValueError
        When shapes differ, values are not finite, the target is zero, or the image is smaller than
        the window.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 13 (2004), eq. 13; Zbontar et al., arXiv:1811.08839, section 6.1.
    """
    prediction, target = checked(prediction, target)
    span = peak_of(target, data_range).expand(target.shape[0])
    return structural_similarity(prediction, target, span).mean()


def psnr_skm_tea(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return SKM-TEA's pSNR = 20 log10(max|t| / RMSE) of one volume, complex or real.

    Parameters
    ----------
    prediction, target
        (..., H, W), images of one echo of one scan, any common unit. Where they are complex, so is
        their difference; pass magnitudes for the error of magnitudes.

    Returns
    -------
    () float64, in dB; infinite for a perfect prediction.

    Raises
    ------
    ValueError
        When shapes differ, values are not finite, or the target is zero.

    References
    ----------
    Desai et al., "SKM-TEA: a dataset for accelerated MRI reconstruction with dense image labels for
    quantitative clinical evaluation", NeurIPS 2021 datasets, arXiv:2203.06823, section 4.
    """
    same_shape(prediction, target)
    wide = torch.complex128 if target.is_complex() or prediction.is_complex() else torch.float64
    error = (prediction.to(wide) - target.to(wide)).abs().square().mean().sqrt()
    finite("prediction - target", error, remedy="Look for NaN in the images.")
    return 20 * torch.log10(nonzero(target.to(wide).abs()).amax() / error)
