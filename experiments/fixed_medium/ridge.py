"""The best linear map from input to target, and the best corrected transform, in closed form.

    python experiments/fixed_medium/ridge.py wave_2d [wave_1d ...]

reads the data of these configurations (run it in the folder that holds data/), chooses the penalty
among powers of ten by the validation samples, and prints the mean relative L2 error over the test
samples. The corrected transform of rank r maps the input to all modes of the target
(`fit_transform`, from the DFT or the DCT by the validation samples); it exists for one input field.
"""

import sys
from pathlib import Path

import torch
import yaml
from tabulate import tabulate

from monarch_sciml.data import PairModule
from monarch_sciml.transforms import (
    CosineTransform,
    FourierTransform,
    SeparableTransform,
    fit_transform,
)

RANKS = (1, 2, 4)


def samples_of(part):
    pairs = [part[i] for i in range(len(part))]
    return [torch.stack([pair[name] for pair in pairs]).double() for name in ("input", "target")]


def relative(found, wanted):
    found, wanted = found.flatten(1), wanted.flatten(1)
    return float(((found - wanted).norm(dim=1) / wanted.norm(dim=1)).mean())


def ridge(train, validation, test):
    """Return the test error of the penalty with the least validation error."""
    x, y = (fields.flatten(1) for fields in train)
    means = x.mean(0), y.mean(0)
    kernel = (x - means[0]) @ (x - means[0]).T
    errors = {}
    for power in range(-8, 2):
        penalty = 10.0**power * float(kernel.diagonal().mean())
        dual = torch.linalg.solve(kernel + penalty * torch.eye(len(x)).double(), y - means[1])
        both = [
            relative((part[0].flatten(1) - means[0]) @ (x - means[0]).T @ dual + means[1], part[1])
            for part in (validation, test)
        ]
        errors[both[0]] = both[1]
    return errors[min(errors)]


@torch.no_grad()
def corrected(train, validation, test, rank):
    """Return the test error of the penalty and start with the least validation error."""
    x, y = (fields.squeeze(1) for fields in train)
    errors = {}
    for kind in (FourierTransform, CosineTransform):
        start = SeparableTransform([kind(n) for n in x.shape[1:]])
        for power in range(-6, 1):
            transform = fit_transform(x, start(y), start, rank, 10.0**power).double()
            both = [
                relative(start.inverse(transform(part[0].squeeze(1))).real, part[1])
                for part in (validation, test)
            ]
            errors[both[0]] = both[1]
    return errors[min(errors)]


def row(name):
    text = (Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8")
    data = PairModule(**{**yaml.safe_load(text)["data"]["init_args"], "normalization": None})
    parts = [samples_of(part) for part in (data.train, data.validation, data.test)]
    found = [ridge(*parts)]
    if parts[0][0].shape == parts[0][1].shape:
        found += [corrected(*parts, rank) for rank in RANKS]
    return [name, *(f"{error:.4f}" for error in found)]


if __name__ == "__main__":
    print(
        tabulate(
            [row(name) for name in sys.argv[1:]],
            headers=["problem", "ridge regression", *(f"corrected, rank {r}" for r in RANKS)],
            tablefmt="pipe",
            disable_numparse=True,
        )
    )
