"""Errors of magnitude images with fastMRI's definitions: NMSE, PSNR, SSIM of a volume.

Shapes: B slices of a batch, of any volumes; S slices of one volume; V volumes; H, W image.
Everything is accumulated in float64.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from monarch_sciml._checks import finite, message

_WINDOW = 7
_K1, _K2 = 0.01, 0.03


def image_statistics(
    prediction: torch.Tensor, target: torch.Tensor, data_range: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return per-slice pieces from which the errors of whole volumes are put together.

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
    dict
        (B,) float64 each: `squared_error` (sum of squared differences), `squared_target`,
        `n_pixels`, `ssim` (of the slice, dimensionless), `max` (of the target slice).

    Raises
    ------
    ValueError
        When shapes differ, values are not finite, `data_range` is not positive, or the image is
        smaller than the SSIM window of 7.

    Notes
    -----
    Pass the pieces of all batches, concatenated, to `volume_metrics`. fastMRI crops both images to
    (w, w), w the width of the target, before; that is the caller's.
    """
    prediction, target = _checked(prediction, target)
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
        "ssim": _structural_similarity(prediction, target, span),
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
    dict
        (V,) each: `volume` (the ids, ascending), `nmse` and `ssim` (dimensionless), `psnr` (dB).
        The figure of a data set is the mean over volumes, not over slices.

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
    torch.Tensor
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
    prediction, target = _checked(prediction, target)
    return (prediction - target).square().sum() / _nonzero(target).square().sum()


def psnr(
    prediction: torch.Tensor, target: torch.Tensor, data_range: float | None = None
) -> torch.Tensor:
    """Return the peak signal-to-noise ratio 10 log10(max(t)^2 / MSE) of one volume.

    Parameters
    ----------
    prediction, target
        (S, H, W), magnitudes of one volume, any common unit.
    data_range
        The peak; None for the largest target value of the volume.

    Returns
    -------
    torch.Tensor
        () float64, in dB; infinite for a perfect prediction.

    Raises
    ------
    ValueError
        When shapes differ, values are not finite, or the target is zero.
    """
    prediction, target = _checked(prediction, target)
    peak = _peak(target, data_range)
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
    torch.Tensor
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
    prediction, target = _checked(prediction, target)
    span = _peak(target, data_range).expand(target.shape[0])
    return _structural_similarity(prediction, target, span).mean()


def psnr_skm_tea(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return SKM-TEA's pSNR = 20 log10(max|t| / RMSE) of one volume, complex or real.

    Parameters
    ----------
    prediction, target
        (..., H, W), images of one echo of one scan, any common unit. Where they are complex, so is
        their difference; pass magnitudes for the error of magnitudes.

    Returns
    -------
    torch.Tensor
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
    _same_shape(prediction, target)
    wide = torch.complex128 if target.is_complex() or prediction.is_complex() else torch.float64
    error = (prediction.to(wide) - target.to(wide)).abs().square().mean().sqrt()
    finite("prediction - target", error, remedy="Look for NaN in the images.")
    return 20 * torch.log10(_nonzero(target.to(wide).abs()).amax() / error)


def _structural_similarity(
    prediction: torch.Tensor, target: torch.Tensor, data_range: torch.Tensor
) -> torch.Tensor:
    """Return the SSIM of every slice: (B, H, W), (B, H, W), (B,) -> (B,)."""
    if min(target.shape[-2:]) < _WINDOW:
        rule = f"images must be at least {_WINDOW} x {_WINDOW} pixels for the SSIM window"
        raise ValueError(message(rule, tuple(target.shape[-2:]), "Use NMSE or PSNR."))
    maps = torch.stack(
        [prediction, target, prediction**2, target**2, prediction * target]
    )  # (5, B, H, W)
    # the window is separable; only places where it fits are kept
    maps = torch.nn.functional.avg_pool2d(maps, (_WINDOW, 1), stride=1)
    maps = torch.nn.functional.avg_pool2d(maps, (1, _WINDOW), stride=1)
    mean_p, mean_t, square_p, square_t, product = maps.unbind(0)
    sample = _WINDOW**2 / (_WINDOW**2 - 1)
    variance_p = sample * (square_p - mean_p**2)
    variance_t = sample * (square_t - mean_t**2)
    covariance = sample * (product - mean_p * mean_t)
    c1, c2 = ((k * data_range[:, None, None]) ** 2 for k in (_K1, _K2))  # (B, 1, 1)
    numerator = (2 * mean_p * mean_t + c1) * (2 * covariance + c2)
    denominator = (mean_p**2 + mean_t**2 + c1) * (variance_p + variance_t + c2)
    return (numerator / denominator).mean(dim=(1, 2))


def _same_shape(prediction: torch.Tensor, target: torch.Tensor) -> None:
    """Refuse images of different shapes."""
    if prediction.shape != target.shape:
        rule = f"`prediction` must have the shape {tuple(target.shape)} of `target`"
        raise ValueError(message(rule, tuple(prediction.shape), "Crop both to one size."))


def _checked(prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both images in float64, refusing what cannot be compared."""
    _same_shape(prediction, target)
    if target.dim() != 3 or target.is_complex() or prediction.is_complex():
        rule = "images must be real magnitudes of shape (slices, H, W)"
        got = f"{target.dtype} {tuple(target.shape)}"
        raise ValueError(message(rule, got, "Take `.abs()` and add the slice axis."))
    remedy = "Check the reconstruction and the reading of the file."
    finite("prediction", prediction, remedy=remedy)
    finite("target", target, remedy=remedy)
    return prediction.double(), target.double()


def _nonzero(target: torch.Tensor) -> torch.Tensor:
    """Return the target, refusing one that is zero everywhere."""
    if not bool((target != 0).any()):
        rule = "`target` must not be zero everywhere"
        raise ValueError(message(rule, "only zeros", "Leave this volume out."))
    return target


def _peak(target: torch.Tensor, data_range: float | None) -> torch.Tensor:
    """Return the range to judge by as a () tensor."""
    if data_range is None:
        return _nonzero(target).amax()
    if not data_range > 0:
        rule = "`data_range` must be positive"
        raise ValueError(message(rule, data_range, "Pass the largest value of the volume."))
    return torch.as_tensor(data_range, dtype=target.dtype, device=target.device)
