"""Tiny problems for the training tests, and a program that the tests start and kill.

python worker.py train OUTPUT [KILL_AFTER]   train; SIGKILL itself when the n-th sample is read
python worker.py evaluate OUTPUT             train and evaluate, as torchrun starts it
python worker.py equal OUTPUT                train in float64 in many ways, and keep the weights
python worker.py lose OUTPUT                 train; SIGKILL the last process in its second epoch
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn
from torch.utils.data import Dataset

from monarch_sciml.training import (
    Budget,
    OneStepObjective,
    Optimisation,
    RolloutObjective,
    evaluate_model,
    load_weights,
    loop,
    train,
)
from monarch_sciml.training.evaluate import mean_metrics
from monarch_sciml.transforms import MonarchTransform

GRID = (6, 6)


class Fields(Dataset):
    """Seeded random fields, 2 steps in and 2 steps out; may kill its own process."""

    def __init__(self, n, *, seed=0, dtype=torch.float32, kill_after=None, n_steps=2):
        generator = torch.Generator().manual_seed(seed)
        self.past = torch.randn(n, 2, 1, *GRID, generator=generator, dtype=dtype)
        steps = [self.past.mean(dim=1, keepdim=True) * 0.5 ** (k + 1) for k in range(n_steps)]
        self.future = torch.cat(steps, dim=1)
        self.kill_after, self.n_read = kill_after, 0

    def __len__(self):
        return len(self.past)

    def __getitem__(self, index):
        self.n_read += 1
        if self.n_read == self.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"input": self.past[index], "target": self.future[index]}


class Network(nn.Module):
    """Complex weights, a learnable transform, dropout and a buffer: all a checkpoint must carry."""

    def __init__(self, seed=0, dropout=0.1):
        super().__init__()
        torch.manual_seed(seed)
        self.mix = nn.Conv2d(2, 4, 1)
        self.spectral = nn.Parameter(0.1 * torch.randn(4, *GRID, dtype=torch.complex64))
        self.transform = MonarchTransform(GRID[-1], init="dft")
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Conv2d(4, 1, 1)
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x):
        x = self.mix(x)
        x = x + torch.fft.ifft2(self.spectral * torch.fft.fft2(x)).real
        return self.out(self.dropout(self.transform(x).real) * self.scale)


def data(kill_after=None, n_train=10, n_validation=5):
    return SimpleNamespace(
        train=Fields(n_train, kill_after=kill_after), validation=Fields(n_validation, seed=1)
    )


def run(output, *, epochs=4, kill_after=None, resume=False, model=None, **settings):
    """Train a tiny network; keyword arguments go to `train` or replace the defaults here."""
    arguments = {
        "optimisation": Optimisation(learning_rate=1e-2, transform_decay=0.1, gradient_clip=1.0),
        "budget": Budget(epochs=epochs, batch_size=4),
        "progress": False,
        **settings,
    }
    objective = arguments.pop("objective", OneStepObjective(noise=0.05))
    samples = arguments.pop("samples", None) or data(kill_after)
    model = Network() if model is None else model
    return train(model, objective, samples, output=output, resume=resume, **arguments)


def slow_to_look(find=loop.find_checkpoint):
    """Let process 1 look at the run directory late: the others must not have written yet."""

    def late(folder):
        time.sleep(1)
        return find(folder)

    if os.environ.get("RANK") == "1":
        loop.find_checkpoint = late


def evaluate(output):
    """Train without randomness, evaluate data sets of many sizes, and write the numbers."""
    torch.manual_seed(0)
    slow_to_look()
    model = Network(dropout=0.0)
    samples = data(n_train=8)
    settings = {"objective": RolloutObjective(), "resume": True}  # nothing there: it starts
    result = run(output, epochs=2, model=model, samples=samples, **settings)
    rows = {}
    for n in range(1, 10):
        for batch_size in (1, 3, 4):
            metrics = evaluate_model(
                model, RolloutObjective(), Fields(n, seed=n), batch_size=batch_size
            )
            rows[f"{n}/{batch_size}"] = metrics["relative_l2"].tolist()
    rows["history"] = [{**row, "seconds": 0} for row in result.progress.history]
    normed, samples = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1)), data(n_train=9)
    normed_result = run(f"{output}-normed", epochs=1, samples=samples, model=normed)
    load_weights(normed, normed_result.best)
    again = evaluate_model(normed, RolloutObjective(), samples.validation, batch_size=5)
    rows["normed"] = {
        "step": normed_result.progress.step,
        "logged": normed_result.progress.best_value,
        "loaded": mean_metrics(again)["relative_l2"],
    }
    rows["mean"] = mean_metrics(metrics)
    rank = os.environ.get("RANK", "0")
    (Path(output) / f"rank{rank}.json").write_text(json.dumps(rows))


class TwoSizes(Fields):
    """Fields on two grids, of which a batch has one."""

    @property
    def batch_groups(self):
        return [i % 3 for i in range(len(self))]

    def __getitem__(self, index):
        wide = slice(None) if index % 3 else slice(0, 4)
        return {name: value[..., wide] for name, value in super().__getitem__(index).items()}


WAYS = {
    "plain": {},
    "parts": {"gradient_accumulation": 3},
    "recomputed": {"activation_checkpointing": True},
    "divided": {"shard_optimizer": True},
    "all": {
        "gradient_accumulation": 2,
        "activation_checkpointing": True,
        "shard_optimizer": True,
    },
    "two sizes": {"model": lambda: nn.Conv2d(2, 1, 3, padding=1)},
}
"""Options of the loop that must not change the weights."""


def equal(output):
    """Train in float64 on 10 samples in batches of 4, and write the weights of every way."""
    rows = {}
    for name, options in WAYS.items():
        torch.manual_seed(0)
        kind = TwoSizes if name == "two sizes" else Fields
        samples = SimpleNamespace(
            train=kind(10, dtype=torch.float64), validation=Fields(5, seed=1, dtype=torch.float64)
        )
        options = dict(options)
        model = options.pop("model", lambda: Network(dropout=0.0))()
        model._apply(lambda t: t.to(torch.complex128 if t.is_complex() else torch.float64))
        folder = Path(output) / name.replace(" ", "_")
        settings = {"objective": RolloutObjective(), "samples": samples, "model": model}
        settings["optimisation"] = Optimisation(learning_rate=1e-2, scheduler="constant")
        run(folder, epochs=1, **settings, **options)
        result = run(folder, epochs=2, resume=True, **settings, **options)
        rows[name] = [{**row, "seconds": 0} for row in result.progress.history]
    rank = os.environ.get("RANK", "0")
    (Path(output) / f"rank{rank}.json").write_text(json.dumps(rows))


def lose(output):
    """End the last process of the job in the second epoch, as a node that fails."""
    last = int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1
    run(output, epochs=50, kill_after=8 if last else None)


if __name__ == "__main__":
    torch.set_num_threads(1)
    command, folder, *rest = sys.argv[1:]
    if command == "train":
        run(folder, kill_after=int(rest[0]) if rest else None)
    elif command == "equal":
        equal(folder)
    elif command == "lose":
        lose(folder)
    else:
        evaluate(folder)
