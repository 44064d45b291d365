"""Learned rows of a corrected transform beside the eigenfunctions of the medium it was trained in.

    python experiments/fixed_medium/eigenfunctions.py RUN figure.png

RUN is a run directory of wave_1d.yaml or wave_2d.yaml (NETWORK/seed-N). Writes a figure and prints,
for each layer, how many coefficients the first eigenfunctions of −∇·(c² ∇) excite:
(Σ|a|²)² / Σ|a|⁴ of a = T φ, for the learned transform and for the Fourier transform that it
started from.
"""

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from tabulate import tabulate

import monarch_sciml
from monarch_sciml.solvers import Medium, WaveInMedium
from monarch_sciml.transforms import CorrectedTransform

N_EIGEN = 40


def eigenfunctions(parameters, shape):
    """Return c and the first eigenfunctions (m, *grid) on the stored grid, in order."""
    speed = Medium(**parameters["medium"]).function(shape, periodic=True)
    solver = WaveInMedium(parameters["grid"][0], speed, n_dims=len(shape))
    modes = solver.eigenfunctions(N_EIGEN + 1)[1][1:]  # without the constant
    for axis, n in enumerate(shape):
        matrix = solver.interpolation(torch.arange(n) / n)
        modes = (modes.movedim(axis + 1, -1) @ matrix.T).movedim(-1, axis + 1)
    return speed(*[torch.arange(n, dtype=torch.float64) / n for n in shape]), modes


def spread(rows, modes):
    """Return the mean number of coefficients that an eigenfunction excites."""
    power = (modes.flatten(1).to(rows.dtype) @ rows.mT).abs().square()
    return float((power.sum(1).square() / power.square().sum(1)).mean())


def main(run, figure):
    loaded = monarch_sciml.load_run(run)
    network, file = loaded.model.double().requires_grad_(False), loaded.data.source
    shape = file.grid_shape
    speed, modes = eigenfunctions(file.about["parameters"], shape)
    transforms = [
        t for t in network.modules() if isinstance(t, CorrectedTransform) and not t.spec.synthesis
    ]
    table = [
        [layer, f"{spread(t.initial_matrix(), modes):.2f}", f"{spread(t.matrix(), modes):.2f}"]
        for layer, t in enumerate(transforms)
    ]
    print(tabulate(table, headers=["layer", "Fourier", "learned"], tablefmt="pipe"))
    draw(speed, modes, transforms[0], shape, figure)


def draw(speed, modes, transform, shape, figure):
    """Draw each chosen learned row, its Fourier row and the eigenfunction that it is nearest to."""
    learned, start = transform.matrix(), transform.initial_matrix()
    units = torch.nn.functional.normalize(modes.flatten(1), dim=1)
    overlaps = [
        (torch.nn.functional.normalize(matrix, dim=1) @ units.T.to(matrix.dtype)).abs()
        for matrix in (start, learned)
    ]
    before, found = overlaps
    chosen = found.max(dim=1).values.argsort(descending=True)[:8:2]
    rows = ["Fourier row", "learned row", "nearest eigenfunction"]
    plots, axes = plt.subplots(3, len(chosen) + 1, figsize=(2.3 * (len(chosen) + 1), 6.2))
    for column, row in enumerate(chosen.tolist(), start=1):
        best = int(found[row].argmax())
        phase = (learned[row] @ units[best].to(learned.dtype)).conj()
        phase = phase / phase.abs()
        for place, values in enumerate((start[row] * phase, learned[row] * phase, units[best])):
            show(axes[place, column], values.real.unflatten(0, shape))
        axes[0, column].set_xlabel(f"overlap {float(before[row, best]):.2f}")
        axes[1, column].set_xlabel(f"overlap {float(found[row, best]):.2f}")
        axes[0, column].set_title(f"mode {row}")
    show(axes[1, 0], speed, symmetric=False)
    axes[1, 0].set_title("speed c of the waves", fontsize=9)
    for place in (0, 2):
        axes[place, 0].axis("off")
    for place, name in enumerate(rows):
        axes[place, 1].set_ylabel(name)
    plots.tight_layout()
    plots.savefig(figure, dpi=110)


def show(axes, values, symmetric=True):
    axes.set_xticks([])
    axes.set_yticks([])
    if values.ndim == 1:
        axes.plot(values)
        return
    limit = float(values.abs().max())
    colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if symmetric else {}
    axes.imshow(values.T, origin="lower", **colours)


if __name__ == "__main__":
    main(*sys.argv[1:])
