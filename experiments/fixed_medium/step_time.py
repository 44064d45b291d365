"""Time a training step of the networks of this experiment, one thread, batches of 20.

    python experiments/fixed_medium/step_time.py > experiments/fixed_medium/step_time.csv

The networks of one problem take turns in one process. Printed are the median and the quartiles of
30 steps in seconds of the processor.
"""

import csv
import statistics
import sys
import time

import torch

from monarch_sciml.models import FNO

CASES = {
    "waves, 32 x 32": {
        "FNO, width 16": ((32, 32), 2, {"n_modes": (20, 20), "hidden_channels": 16}),
        "FNO, width 27": ((32, 32), 2, {"n_modes": (20, 20), "hidden_channels": 27}),
        "corrected over the grid, rank 2": (
            (32, 32),
            1,
            {
                "n_modes": (20, 20),
                "hidden_channels": 16,
                "transform": "corrected",
                "transform_rank": 2,
            },
        ),
    },
    "waves, 128 points": {
        "FNO, width 32": ((128,), 1, {"n_modes": (32,), "hidden_channels": 32}),
        "FNO, width 36": ((128,), 1, {"n_modes": (32,), "hidden_channels": 36}),
        "FNO, width 48": ((128,), 1, {"n_modes": (32,), "hidden_channels": 48}),
        "corrected, rank 3": (
            (128,),
            1,
            {
                "n_modes": (32,),
                "hidden_channels": 32,
                "transform": "corrected",
                "transform_rank": 3,
            },
        ),
    },
}
"""Problem -> network -> grid, input fields (two where the network is told the medium), options."""

STEPS, WARM_UP = 30, 3


def step_of(grid, n_inputs, options):
    """Return a function that makes one training step."""
    torch.manual_seed(0)
    network = FNO(grid, n_inputs, 1, **options)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    x, y = torch.randn(20, n_inputs, *grid), torch.randn(20, 1, *grid)

    def step():
        loss = (network(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return network, step


def main():
    """Print one row per network."""
    torch.set_num_threads(1)
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["problem", "network", "median", "q1", "q3", "parameters"])
    for problem, networks in CASES.items():
        made = {name: step_of(*case) for name, case in networks.items()}
        seconds = {name: [] for name in made}
        for number in range(WARM_UP + STEPS):
            for name, (_, step) in made.items():
                start = time.process_time()
                step()
                if number >= WARM_UP:
                    seconds[name].append(time.process_time() - start)
        for name, (network, _) in made.items():
            q1, median, q3 = statistics.quantiles(seconds[name], n=4)
            count = sum(p.numel() * (2 if p.is_complex() else 1) for p in network.parameters())
            rows.writerow([problem, name, *(f"{value:.4f}" for value in (median, q1, q3)), count])


if __name__ == "__main__":
    main()
