"""Draw a slice of scanner 0 at R = 2 by several methods, and their errors.

python experiments/wrong_fft/picture.py

Needs the results, data and weights of run.py. Writes picture.png.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import torch
from run import (
    KEYS,
    N_STEPS,
    SLICES_AT_TUNING,
    Table,
    best,
    data,
    encoding_of,
    fft_maps,
    images_of,
    solver,
    trained,
)

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SEED, ACCELERATION, NUMBER = 0, 2, 1


def main() -> None:
    torch.set_num_threads(1)
    tuned, held = Table("tuning.csv", ("what", "setting")), data(SEED, "test")
    weight = {
        name: json.loads(best(tuned, f"CG-SENSE, {name}"))
        for name in (
            "FFT",
            "oracle",
            "corrected",
            "28 physical numbers",
            "ridge, a matrix per column",
        )
    }
    images = {"true image": held.target}
    images["FFT, CG-SENSE"] = images_of(
        solver("CG-SENSE", weight["FFT"]), held, ACCELERATION, fft_maps()
    )
    results = Table("results.csv", KEYS)
    for network in ("U-Net", "VarNet", "MoDL"):
        if results.find(seed=SEED, method=network) is None:
            continue
        one = trained(network, SEED, float(best(tuned, network)), N_STEPS)
        images[f"FFT, {network}"] = images_of(one, held, ACCELERATION, fft_maps())
    for name, title in (
        ("ridge, a matrix per column", "ridge per column, 4 slices"),
        ("corrected", "corrected, 4 slices"),
        ("28 physical numbers", "28 numbers, 4 slices"),
        ("oracle", "oracle"),
    ):
        method = solver("CG-SENSE", weight[name])
        method.set_encoding(encoding_of(name, SEED, SLICES_AT_TUNING if name != "oracle" else 0))
        images[f"{title}"] = images_of(method, held, ACCELERATION, "true")
    reference = held.target[NUMBER].abs()
    top = float(reference.max())
    figure, axes = plt.subplots(2, len(images), figsize=(2.0 * len(images), 4.5), dpi=110)
    for column, (title, stack) in zip(axes.T, images.items()):
        image = stack[NUMBER].abs()
        column[0].imshow(image, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
        column[0].set_title(title, fontsize=8)
        if title == "true image":
            column[1].text(0.5, 0.5, "difference,\n5 times as bright", ha="center", va="center")
            column[1].set_axis_off()
        else:
            column[1].imshow(
                (image - reference).abs(),
                cmap="gray",
                vmin=0,
                vmax=top / 5,
                interpolation="nearest",
            )
            error = float((image - reference).square().sum() / reference.square().sum())
            column[1].set_title(f"NMSE {error:.4f}", fontsize=8)
        for axis in column:
            axis.set_xticks([])
            axis.set_yticks([])
    figure.tight_layout(pad=0.4)
    figure.savefig(Path(__file__).parent / "picture.png")


if __name__ == "__main__":
    main()
