"""Project the trained matrices of a run to every structure at half of the parameters.

python experiments/sparse_training/projection.py RUN [RUN ...]

Prints, as CSV, the mean and the largest relative error ||W - M|| / ||W|| over the dense layers of
the blocks, beside that of random matrices of the same sizes.
"""

import csv
import sys
from pathlib import Path

import torch
from torch import nn

from monarch_sciml import load_run
from monarch_sciml.models import conversion_table, monarchize

STRUCTURES = {
    "Monarch, 4 blocks": {"structure": "monarch"},
    "Monarch, 8 blocks": {"structure": "monarch", "n_blocks": 8},
    "Monarch, 4 blocks, contiguous": {"structure": "monarch", "order": "contiguous"},
    "low rank": {"structure": "low_rank"},
    "Kronecker": {"structure": "kronecker"},
    "block-diagonal": {"structure": "block_diagonal"},
}


def errors(model, options):
    table = conversion_table(monarchize(model, spectral=False, linear=True, **options))
    return [row.error for row in table]


def main(runs):
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["run", "structure", "layers", "mean_error", "largest_error", "random_error"])
    for run in runs:
        model, random = load_run(run).model, load_run(run).model
        for parameter in random.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter)
        for name, options in STRUCTURES.items():
            found, drawn = errors(model, options), errors(random, options)
            row = [sum(found) / len(found), max(found), sum(drawn) / len(drawn)]
            where = "/".join(run.parts[-2:])
            writer.writerow([where, name, len(found), *(f"{value:.4f}" for value in row)])


if __name__ == "__main__":
    torch.manual_seed(0)
    main([Path(argument) for argument in sys.argv[1:]])
