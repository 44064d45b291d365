"""Time a training step (forward, backward, Adam) of one GPT-2 block, dense and structured.

python experiments/sparse_training/step_time.py

Prints CSV; the candidates are timed in turn, in one process, on one thread. Ratios are medians over
rounds of the dense step's processor time divided by the candidate's.
"""

import csv
import statistics
import sys

import torch

from monarch_sciml.commands.benchmark.timing import paired_rounds
from monarch_sciml.models import GPT2, monarchize

CANDIDATES = {
    "dense": None,
    "Monarch": {"structure": "monarch"},
    "Monarch, contiguous": {"structure": "monarch", "order": "contiguous"},
    "low rank": {"structure": "low_rank"},
    "block-diagonal": {"structure": "block_diagonal"},
}


def step_of(network, tokens):
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    targets = tokens.roll(-1, 1).flatten()

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(tokens).flatten(0, 1), targets)
        loss.backward()
        optimizer.step()

    return step


def main(widths=(256, 512, 1024), n_samples=4, context=64):
    torch.set_num_threads(1)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["width", "tokens", "candidate", "n_parameters", "cpu_seconds", "times_faster"])
    tokens = torch.randint(256, (n_samples, context), generator=torch.Generator().manual_seed(0))
    for width in widths:
        steps, counts = {}, {}
        for name, options in CANDIDATES.items():
            torch.manual_seed(0)
            network = GPT2((context,), hidden_channels=width, n_layers=1, n_heads=4)
            if options is not None:
                network = monarchize(network, linear=True, start="random", **options)
            steps[name] = step_of(network, tokens)
            counts[name] = sum(p.numel() for p in network.parameters())
        times = paired_rounds(steps, rounds=7, warmup=1)
        for name, timing in times.items():
            ratios = [a / b for a, b in zip(times["dense"].cpu, timing.cpu)]
            row = [f"{statistics.median(timing.cpu):.4f}", f"{statistics.median(ratios):.2f}"]
            writer.writerow([width, tokens.numel(), name, counts[name], *row])


if __name__ == "__main__":
    main()
