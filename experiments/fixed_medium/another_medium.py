"""A network trained in one medium, in another one: as it is, and after 20 samples from there.

    python experiments/fixed_medium/another_medium.py data/wave_2d_elsewhere.h5 RUN [RUN ...]

Every RUN is a run directory of wave_2d.yaml or wave_2d_medium.yaml. It is fine-tuned on the first
20 samples of the file with Adam, 150 steps of all 20, cosine schedule: everything, or nothing but
its learnable transforms. The rate, of 1e-3, 3e-3 and 1e-2, is the best one for the next 20 samples; the
error is that of the last 280.
"""

import copy
import math
import sys
from pathlib import Path

import torch
from tabulate import tabulate

import monarch_sciml
from monarch_sciml.data import FieldFile
from monarch_sciml.transforms import LearnableTransform

N_TRAIN, N_STEPS, RATES = 20, 150, (1e-3, 3e-3, 1e-2)


def pairs(path, inputs):
    """Return inputs (n, 1, F, *grid) of the first frame, targets (n, 1, 1, *grid) of the last."""
    file = FieldFile(path)
    first, last = slice(0, 1), slice(file.n_times - 1, file.n_times)
    return file.read(times=first, fields=inputs), file.read(times=last, fields=["displacement"])


def predicted(network, x):
    return network(x.flatten(1, 2)).view(len(x), 1, 1, *x.shape[3:])


def error(network, x, y):
    with torch.no_grad():
        found = torch.cat([predicted(network, part) for part in x.split(20)])
    return float(((found - y).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)).mean())


def tuned(network, x, y, rate, transforms_only):
    network = copy.deepcopy(network)
    chosen = list(network.parameters())
    if transforms_only:
        learned = [m for m in network.modules() if isinstance(m, LearnableTransform)]
        chosen = [parameter for module in learned for parameter in module.parameters()]
    optimiser = torch.optim.Adam(chosen, lr=rate)
    for step in range(N_STEPS):
        optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / N_STEPS)) / 2
        found = predicted(network, x)
        loss = ((found - y).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)).mean()
        network.zero_grad()
        loss.backward()
        optimiser.step()
    return network, sum(parameter.numel() for parameter in chosen)


def main(path, *runs):
    rows = []
    for run in runs:
        loaded = monarch_sciml.load_run(run)
        network = loaded.model.train()
        x, y = pairs(path, list(loaded.data.input_fields))
        parts = slice(N_TRAIN), slice(N_TRAIN, 2 * N_TRAIN), slice(2 * N_TRAIN, None)
        train, held, test = ((x[part], y[part]) for part in parts)
        name = Path(run).parent.name
        rows.append([name, "as it is", "", f"{error(network, *test):.3f}"])
        has_transforms = any(isinstance(m, LearnableTransform) for m in network.modules())
        for transforms_only in (False, True) if has_transforms else (False,):
            results = [tuned(network, *train, rate, transforms_only) for rate in RATES]
            best, count = min(results, key=lambda result: error(result[0], *held))
            what = "transforms fine-tuned" if transforms_only else "everything fine-tuned"
            rows.append([name, what, f"{count:,}", f"{error(best, *test):.3f}"])
    headers = ["network", "in the other medium", "numbers tuned", "relative L2"]
    print(tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    torch.manual_seed(0)
    main(*sys.argv[1:])
