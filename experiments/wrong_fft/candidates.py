"""The encodings that are compared, each with the grid of settings that it is tuned over."""

from __future__ import annotations

from functools import partial

import torch
from scans import GRID, scanner
from torch import Tensor

from monarch_sciml.physics import CalibrationSums, ReadoutEncoding, fit_encoding
from monarch_sciml.physics.readout import readout_times
from monarch_sciml.physics.readout_encoding import dense_encoding

HEIGHT, WIDTH = GRID
LEARNED = {
    "ridge, a matrix per column": [
        {"n_bands": WIDTH, "rank": None, "ridge": ridge} for ridge in (1e-3, 1e-2, 1e-1, 1.0)
    ],
    "ridge, one matrix": [
        {"n_bands": 1, "rank": None, "ridge": ridge} for ridge in (1e-5, 1e-4, 1e-3, 1e-2)
    ],
    "ridge, smooth bands": [
        {"n_bands": bands, "rank": None, "ridge": ridge}
        for bands, ridge in ((5, 1e-2), (10, 1e-3), (10, 1e-2), (10, 1e-1), (16, 1e-2))
    ],
    "corrected": [
        {"n_bands": bands, "rank": 4, "ridge": ridge, "n_steps": steps}
        for bands, ridge, steps in (
            (5, 1e-2, 0),
            (10, 1e-3, 0),
            (10, 1e-2, 0),
            (10, 1e-2, 30),
            (16, 1e-2, 0),
        )
    ],
}
"""Name of a method, and the settings among which validation chooses for each number of slices."""


def oracle(seed: int) -> ReadoutEncoding:
    """Return the encoding by the true trajectory and fields of a scanner."""
    return dense_encoding(scanner(seed).matrices(GRID).to(torch.complex64), WIDTH)


def learned(sums: CalibrationSums, settings: dict) -> ReadoutEncoding:
    """Return the encoding that settings of `LEARNED` give."""
    return fit_encoding(sums, **settings)


class PhysicalModel(torch.nn.Module):
    """28 physical numbers: ramp, delay, polynomials of the displacement and of off-resonance.

    The displacement by the gradient has all terms of order 0 to 3 and of order 5, off-resonance all
    of order 0 to 3: only the local spots of the scanner's off-resonance are outside of the model.
    """

    def __init__(self) -> None:
        super().__init__()
        low = [(p, q) for p in range(4) for q in range(4) if p + q <= 3]
        self.orders = [low + [(p, 5 - p) for p in range(6)], low]
        self.ramp = torch.nn.Parameter(torch.tensor(0.1, dtype=torch.float64))
        self.delay = torch.nn.Parameter(torch.tensor(0.0, dtype=torch.float64))
        self.d, self.f = (
            torch.nn.Parameter(torch.zeros(len(terms), dtype=torch.float64))
            for terms in self.orders
        )

    def matrices(self, step: int = 1) -> Tensor:
        """Return E_y of every `step`-th column, complex128 (columns, H, H)."""
        rows = torch.arange(HEIGHT, dtype=torch.float64) - HEIGHT // 2
        columns = (torch.arange(WIDTH, dtype=torch.float64) - WIDTH // 2)[::step]
        x, y = 2 * rows / HEIGHT, 2 * columns[:, None] / WIDTH
        d, f = (
            sum(c * x**p * y**q for c, (p, q) in zip(weights, terms))
            for weights, terms in zip((self.d, self.f), self.orders)
        )
        k, t = self.trajectory()[:, None], readout_times(HEIGHT)[:, None]
        turns = k * (rows + d)[:, None] + t * f[:, None]  # (columns, H, H)
        return torch.polar(torch.full_like(turns, HEIGHT**-0.5), -2 * torch.pi * turns)

    def trajectory(self) -> Tensor:
        """Return k (H,), as in `ReadoutErrors.trajectory`, with gradients."""
        ramp = self.ramp.clamp(1e-3, 0.5)
        time = readout_times(HEIGHT) - self.delay / HEIGHT
        slope, edge = 1 / (1 - ramp), (0.5 - time.abs()).clamp_min(0)
        on_ramp = 0.5 - slope * edge.square() / (2 * ramp)
        return torch.where(edge < ramp, time.sign() * on_ramp, slope * time)


def physical(sums: CalibrationSums, n_steps: int = 20) -> ReadoutEncoding:
    """Fit `PhysicalModel` by L-BFGS, the centre of k-space first, where no phase wraps."""
    model, step = PhysicalModel(), 5
    near = readout_times(HEIGHT).abs()
    for widest in (0.1, 0.25, 0.5):
        rows = near <= widest
        optimiser = torch.optim.LBFGS(
            model.parameters(), max_iter=n_steps, line_search_fn="strong_wolfe"
        )

        optimiser.step(partial(_closure, model, optimiser, sums, rows, step))
    with torch.no_grad():
        return dense_encoding(model.matrices().to(torch.complex64), WIDTH)


def _closure(model, optimiser, sums: CalibrationSums, rows: Tensor, step: int) -> Tensor:
    optimiser.zero_grad()
    matrices = model.matrices(step)[:, rows]
    left = matrices @ sums.gram[::step] - 2 * sums.cross[::step][:, rows]
    loss = (left * matrices.conj()).real.sum() / sums.energy
    loss.backward()
    return loss
