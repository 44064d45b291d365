"""Draw a learned transform beside the FFT, and what it did to the error.

    python experiments/picture.py runs/quickstart_pde docs/learned_transform.png

The folder is the output of `monarch-sciml compare`: a network with a fixed Fourier transform, named
first, and one with a learnable transform.
"""

import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from monarch_sciml import load_run
from monarch_sciml.transforms import LearnableTransform


def rows_of(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the first learned transform of a run, before and after training."""
    model = load_run(run).model
    transform = next(m for m in model.modules() if isinstance(m, LearnableTransform))
    with torch.no_grad():
        initial, learned = transform.initial_matrix(), transform.matrix()
    return initial.real.numpy(), learned.real.numpy()


def main(folder: Path, output: Path) -> None:
    """Write the picture of one comparison."""
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        results = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["network"] for row in results))
    errors = [[float(r["relative_l2"]) for r in results if r["network"] == n] for n in names]
    run = next(path.parent for path in sorted((folder / names[-1]).glob("*/config.yaml")))
    initial, learned = rows_of(run)
    limit = np.abs(initial).max() * 1.5
    figure, axes = plt.subplots(
        1, 3, figsize=(10, 2.9), width_ratios=[3, 3, 2], layout="constrained"
    )
    for axis, rows, title in zip(axes, (initial, learned), ("Fourier", "learned")):
        colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        axis.imshow(rows, aspect="auto", interpolation="none", **colours)
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.set(title=f"rows of the {title} transform", xlabel="grid point", ylabel="mode")
    bars, colours = axes[2], ("tab:grey", "tab:orange")
    bars.bar(names, [np.mean(e) for e in errors], color=colours, width=0.6)
    for position, values in enumerate(errors):
        bars.plot([position] * len(values), values, "k_", markersize=18)
    bars.set(title="relative L2 error", ylim=(0, None))
    bars.spines[["top", "right"]].set_visible(False)
    figure.savefig(output, dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
