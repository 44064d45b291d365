"""Ridge regression from input to target: the best linear map, in closed form.

    python experiments/fixed_medium/ridge.py wave_2d [wave_1d ...]

reads the data of these configurations (run it in the folder that holds data/), chooses the penalty
among powers of ten by the validation samples, and prints the mean relative L2 error over the test
samples.
"""

import sys
from pathlib import Path

import torch
import yaml
from tabulate import tabulate

from monarch_sciml.data import PairModule


def matrices(samples):
    pairs = [samples[i] for i in range(len(samples))]
    return [
        torch.stack([pair[name].flatten() for pair in pairs]).double()
        for name in ("input", "target")
    ]


def relative(found, wanted):
    return float(((found - wanted).norm(dim=1) / wanted.norm(dim=1)).mean())


def ridge(name):
    text = (Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8")
    data = PairModule(**{**yaml.safe_load(text)["data"]["init_args"], "normalization": None})
    (x, y), held, test = (matrices(part) for part in (data.train, data.validation, data.test))
    means = x.mean(0), y.mean(0)
    kernel = (x - means[0]) @ (x - means[0]).T
    errors = {}
    for power in range(-8, 2):
        penalty = 10.0**power * float(kernel.diagonal().mean())
        dual = torch.linalg.solve(kernel + penalty * torch.eye(len(x)).double(), y - means[1])

        def predicted(inputs, dual=dual):
            return (inputs - means[0]) @ (x - means[0]).T @ dual + means[1]

        errors[relative(predicted(held[0]), held[1])] = relative(predicted(test[0]), test[1])
    return errors[min(errors)]


if __name__ == "__main__":
    rows = [[name, f"{ridge(name):.4f}"] for name in sys.argv[1:]]
    print(
        tabulate(rows, headers=["problem", "relative L2"], tablefmt="pipe", disable_numparse=True)
    )
