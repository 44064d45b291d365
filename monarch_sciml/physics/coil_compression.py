"""Coil compression: virtual coils as principal components of the measured ones.

Letters: B leading (batch) axes, any number; C coils; V virtual coils; H, W rows and columns.
"""

from __future__ import annotations

import torch

from monarch_sciml._checks import finite, message, positive_int


def coil_compression(
    kspace: torch.Tensor, n_virtual: int, *, calibration: int | None = None
) -> torch.Tensor:
    r"""Return the matrix that keeps the most energy in a given number of virtual coils.

    .. math:: y' = U^H y, \qquad \sum_k y_k y_k^H = U \Lambda U^H

    Parameters
    ----------
    kspace
        (..., C, H, W), complex centred k-space, any unit, zero where it was not sampled. All
        leading axes (slices) share the one matrix.
    n_virtual
        Number V of virtual coils.
    calibration
        Largest side, in samples, of the central block of k-space from which the matrix is computed;
        None for all samples.

    Returns
    -------
    (V, C), complex, dimensionless; its rows are orthonormal, in the order of falling energy, the
    largest entry of each real and positive. If V exceeds the number of coils with a signal, the
    remaining rows are zero.

    Raises
    ------
    TypeError
        When `n_virtual` is no whole number.
    ValueError
        When k-space is not complex (..., C, H, W), not finite or zero, or a number is below 1.

    Notes
    -----
    Apply it with `compress_coils`, to k-space and to coil maps alike: the maps of the virtual coils
    are U^H S. The noise of the coils is assumed to be equal and uncorrelated; whiten k-space first
    if it is not. The matrix is computed in double precision at a cost of O(C^2 H W).

    References
    ----------
    Buehrer, Pruessmann, Boesiger, Kozerke, "Array compression for MRI with large coil arrays", MRM
    57 (2007), without noise weighting; `bart cc -S`, whose default calibration is 24.

    Examples
    --------
    >>> image = torch.randn(8, 8, dtype=torch.complex64)
    >>> kspace = torch.tensor([3, 4j])[:, None, None] * image  # two coils that see the same
    >>> matrix = coil_compression(kspace, 1)
    >>> virtual = compress_coils(kspace, matrix)
    >>> torch.allclose(virtual.norm(), kspace.norm())
    True
    """
    positive_int("n_virtual", n_virtual)
    if kspace.dim() < 3 or not kspace.is_complex():
        got = f"{kspace.dtype} {tuple(kspace.shape)}"
        remedy = "Check the order of the axes."
        raise ValueError(message("`kspace` must be complex (..., C, H, W)", got, remedy))
    n_coils, height, width = kspace.shape[-3:]
    finite("kspace", kspace, remedy="Check the file and its scaling.")
    if calibration is not None:
        h, w = (min(positive_int("calibration", calibration), n) for n in (height, width))
        top, left = height // 2 - h // 2, width // 2 - w // 2
        kspace = kspace[..., top : top + h, left : left + w]
    # (..., C, h, w) -> (1, C, B h w)
    samples = kspace.detach().movedim(-3, 0).reshape(1, n_coils, -1)
    rows = coil_components(samples.to(torch.complex128), n_virtual)[0]
    if not bool(rows.any()):
        rule = "`kspace` must hold a signal to compress its coils"
        raise ValueError(message(rule, "zeros only", "Check the file or raise `calibration`."))
    return rows.to(kspace.dtype)


def coil_components(samples: torch.Tensor, n_components: int) -> torch.Tensor:
    """Return the conjugate principal components of samples over the coils, one set a slice.

    Parameters
    ----------
    samples
        Complex samples (B, C, N), N of every coil, in any unit.
    n_components
        Number V of components.

    Returns
    -------
    (B, V, C), orthonormal rows of falling energy, the largest entry of each real and positive; zero
    for components without energy.
    """
    n_slices, n_coils = samples.shape[:2]
    values, vectors = torch.linalg.eigh(samples @ samples.mH)  # ascending
    kept = min(n_components, n_coils)
    rows = vectors.flip(-1)[..., :kept].mH  # (B, kept, C)
    energy = values.flip(-1)
    rows = rows * (energy[:, :kept] > 1e-14 * energy[:, :1]).unsqueeze(-1)  # dead coils add nothing
    largest = rows.gather(2, rows.abs().argmax(dim=2, keepdim=True))
    result = rows.new_zeros(n_slices, n_components, n_coils)
    result[:, :kept] = rows * torch.sgn(largest).conj()
    return result


def compress_coils(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Return the virtual coils sum_c M_vc x_c of k-space, coil images or coil maps.

    Parameters
    ----------
    x
        (..., C, H, W), complex, any unit.
    matrix
        Complex matrix (V, C) from `coil_compression`. Its conjugate transpose (C, V) maps virtual
        coils back to real ones.

    Returns
    -------
    (..., V, H, W), complex, unit of `x`.

    Raises
    ------
    ValueError
        When `x` has another number of coils than the matrix.
    """
    if x.dim() < 3 or x.shape[-3] != matrix.shape[-1]:
        rule = f"`x` must be (..., C, H, W) of the {matrix.shape[-1]} coils of the matrix"
        raise ValueError(message(rule, tuple(x.shape), "Compress the coils it was made for."))
    return torch.einsum("vc,...chw->...vhw", matrix.to(x.dtype), x)
