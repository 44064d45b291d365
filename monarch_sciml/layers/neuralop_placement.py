"""Read and write frequencies where neuralop 2.0.0 does, including its misplaced ones.

Letters: n points in, m points out, K kept modes, k frequency (ascending, -(K // 2) ...), C copies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def place_as_neuralop(
    analysis: Sequence[Tensor], synthesis: Sequence[Tensor], *, real: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Shift the frequencies of a spectral convolution to where neuralop 2.0.0 has them.

    neuralop writes the modes into the spectrum of the input grid, undoes fftshift by fftshift and
    cuts or fills that spectrum at its end for another output grid. On an axis with frequencies of
    both signs, frequency k is therefore written to (k + 2 (n // 2)) mod n, and left out from m
    on: its own place for even n = m, another one for odd n or m != n. The last axis of complex
    data is read from -(n // 2) + j and written to j, j = 0 ... K - 1 (one axis alone: read from
    j).

    Parameters
    ----------
    analysis
        Matrix of every axis, (K, n) or (C, K, n), frequencies ascending.
    synthesis
        Matrix of every axis, (m, K) or (C, m, K).
    real
        Whether the field is real, so that the last axis has no negative frequencies and is not
        shifted.

    Returns
    -------
    The matrices times the phases of the shifts, with zeros for frequencies that neuralop leaves
    out.
    """
    analysis, synthesis = list(analysis), list(synthesis)
    last = len(analysis) - 1
    for axis, (reading, writing) in enumerate(zip(analysis, synthesis)):
        n, m, n_modes = reading.shape[-1], writing.shape[-2], reading.shape[-2]
        k = torch.arange(n_modes) - n_modes // 2
        if axis == last:
            if real:
                continue
            j = torch.arange(n_modes)
            read, written = (j - n // 2 if last else j), j
            analysis[axis] = reading * _phases(k - read, n).to(reading)  # (K, n)
        elif n == m and n % 2 == 0:
            continue
        else:
            written = (k + 2 * (n // 2)) % n
        phases = _phases(written - k, m) * (written < m)[:, None]
        synthesis[axis] = writing * phases.mT.to(writing)  # (m, K)
    return analysis, synthesis


def _phases(shift: Tensor, n: int) -> Tensor:
    """Return exp(2 pi i shift x / n), (K, n) complex128."""
    turns = (shift[:, None] * torch.arange(n)) % n  # exact integers
    angle = (2 * math.pi / n) * turns.double()
    return torch.polar(torch.ones_like(angle), angle)
