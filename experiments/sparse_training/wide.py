"""Train a wide language model dense and sparse-to-dense: quality against steps and processor time.

python experiments/sparse_training/wide.py tune    # rates, seed 10: tuning.csv
python experiments/sparse_training/wide.py train   # three seeds at the best rates: results.csv
python experiments/sparse_training/wide.py figure  # training.png, and the table

Files come into runs/sparse_training/wide.

GPT-2's shape, one block of width 1024, 100 steps of 256 tokens that are seen once. A call that was
stopped goes on at the next run. `cpu_seconds` is the processor time of the training steps (data,
forward, backward, Adam, and the switch to dense matrices), without validation and checkpoints.
"""

import csv
import gc
import json
import math
import shutil
import statistics
import sys
import time
from pathlib import Path

import torch

from monarch_sciml._files import write_text
from monarch_sciml.data import TextModule
from monarch_sciml.evaluation.environment import environment
from monarch_sciml.models import GPT2, monarchize
from monarch_sciml.training import Budget, NextTokenObjective, Optimisation, evaluate_model, train

FOLDER = Path("runs/sparse_training/wide")
RATES = {
    "dense": (6e-5, 0.000125, 0.00025, 0.0005, 0.001, 0.002),
    "sparse-to-dense": (6e-5, 0.000125, 0.00025, 0.0005, 0.001, 0.002),
}
COLUMNS = ["network", "rate", "seed", "step", "training_bits", "cpu_seconds"]
COLUMNS += ["validation_bits", "test_bits"]


class TimedObjective(NextTokenObjective):
    """Keeps the training loss and the processor time of every step of an epoch."""

    def __init__(self):
        self.bits, self.times = [], []

    def loss(self, model, batch):
        self.times.append(time.process_time())
        loss = super().loss(model, batch)
        self.bits.append(float(loss.detach()) / math.log(2))
        return loss

    def evaluate(self, model, batch):
        if len(self.times) == len(self.bits):
            self.times.append(time.process_time())  # the end of the last step
        return super().evaluate(model, batch)


def run(name, rate, seed):
    data = TextModule(context=64, n_train=400, n_validation=128, n_test=256)
    torch.manual_seed(seed)
    network = GPT2((64,), hidden_channels=1024, n_layers=1, n_heads=4)
    options = {"learning_rate": rate, "gradient_clip": 1.0}
    if name == "sparse-to-dense":
        network = monarchize(network, spectral=False, linear=True, start="random")
        options["densify_at"] = 0.9
    timed = TimedObjective()
    output = FOLDER / f"{name} {rate} {seed}"
    shutil.rmtree(output, ignore_errors=True)  # a run that was stopped starts afresh
    result = train(
        network, timed, data, optimisation=Optimisation(**options), output=output, seed=seed,
        budget=Budget(epochs=1, batch_size=4), progress=False,
    )  # fmt: skip
    bits = evaluate_model(network, NextTokenObjective(), data.test, batch_size=16)
    ends = [result.progress.history[-1]["validation_bits_per_token"]]
    ends.append(float(bits["bits_per_token"].mean()))
    shutil.rmtree(output)  # weights and moments take 150 MB
    gc.collect()
    return [
        [name, rate, seed, step, statistics.mean(timed.bits[step - 10 : step]),
         timed.times[step] - timed.times[0], *ends]
        for step in range(10, len(timed.bits) + 1, 10)
    ]  # fmt: skip


def extend(path, cases):
    """Run the cases that the file does not hold yet, and write it after each."""
    rows = read(path)
    for case in cases:
        if not any((r["network"], float(r["rate"]), int(r["seed"])) == case for r in rows):
            new = [dict(zip(COLUMNS, values)) for values in run(*case)]
            rows += new
            text = ",".join(COLUMNS) + "\n"
            text += "".join(",".join(str(r[c]) for c in COLUMNS) + "\n" for r in rows)
            write_text(path, text)
            print(*new[-1].values(), flush=True)


def best_rates():
    """Return the rate of least validation error of each network, from tuning.csv."""
    rows = read(FOLDER / "tuning.csv")
    errors = {(r["network"], float(r["rate"])): float(r["validation_bits"]) for r in rows}
    if any((name, rate) not in errors for name, rates in RATES.items() for rate in rates):
        raise SystemExit("the rates must be tuned first: run this script with `tune`.")
    return {n: min(rates, key=lambda rate: errors[n, rate]) for n, rates in RATES.items()}


def read(path):
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def figure():
    import matplotlib.pyplot as plt

    rows = read(FOLDER / "results.csv")
    names = list(dict.fromkeys(r["network"] for r in rows))
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
    print("| network | bits a byte | processor time |\n|:--|--:|--:|")
    for number, name in enumerate(names):
        own = [r for r in rows if r["network"] == name]
        last = [r for r in own if r["step"] == own[-1]["step"]]
        test = [float(r["test_bits"]) for r in last]
        seconds = statistics.mean(float(r["cpu_seconds"]) for r in last)
        spread = statistics.stdev(test) if len(test) > 1 else 0.0
        print(f"| {name} | {statistics.mean(test):.3f} ± {spread:.3f} | {seconds:.0f} s |")
        for ax, column in zip(axes, ("step", "cpu_seconds")):
            for seed in dict.fromkeys(r["seed"] for r in own):
                line = [r for r in own if r["seed"] == seed]
                label = name if seed == own[0]["seed"] else None
                ax.plot(
                    [float(r[column]) for r in line], [float(r["training_bits"]) for r in line],
                    "o-", color=f"C{number}", markersize=3, linewidth=1, label=label,
                )  # fmt: skip
    axes[0].set(xlabel="steps", ylabel="training, bits a byte")
    axes[1].set(xlabel="processor time of the steps, s")
    axes[0].legend()
    figure.savefig(FOLDER / "training.png", dpi=150)


def main(what):
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    if what == "figure":
        figure()
        return
    if what == "tune":
        cases = [(name, rate, 10) for name, rates in RATES.items() for rate in rates]
        extend(FOLDER / "tuning.csv", cases)
        return
    rates = best_rates()
    extend(FOLDER / "results.csv", [(n, rates[n], seed) for seed in (0, 1, 2) for n in RATES])
    write_text(FOLDER / "environment.json", json.dumps(environment(), indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
