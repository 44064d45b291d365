"""Do threads and CPU kernels change what the networks compute? One table for every family.

python experiments/numerics/agree.py            # all settings of this machine, writes results.csv
python experiments/numerics/agree.py --tables   # prints the tables of the page from results.csv

Every setting is a process of its own: number of threads, and kernels of PyTorch chosen by
ATEN_CPU_CAPABILITY; with a CUDA device also that. Each computes the output and the gradients of
every network, with every transform, for the same weights and inputs in float32 and float64. The
difference to one thread with the native kernels is ||a - b|| / ||b||, of the output and of the
gradients of all weights together. The columns `float64` compare float32 with float64.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from monarch_sciml import models
from monarch_sciml.commands.comparison.trained_run import in_precision
from monarch_sciml.evaluation.environment import environment
from monarch_sciml.models import fit_bases, needs_bases
from monarch_sciml.transforms.named import TRANSFORMS

HERE = Path(__file__).parent
GRID = (64, 64)
SPECTRAL = {"n_modes": (16, 16), "hidden_channels": 8, "n_layers": 2}
IMAGES = {"hidden_channels": 4, "n_levels": 2}
BOUNDS = {
    "float32": {"output": 1e-5, "gradient": 1e-3},
    "float64": {"output": 1e-13, "gradient": 1e-12},
}
"""The stated bounds, of differences between settings."""

OPERATORS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"FNO, {name}": (lambda name=name: models.FNO(GRID, transform=name, **SPECTRAL))
        for name in TRANSFORMS
    },
    "FNO, monarch, rank 2, from the DCT": lambda: models.FNO(
        GRID, transform="monarch", init="dct", transform_rank=2, **SPECTRAL
    ),
    "TFNO (Tucker)": lambda: models.FNO(GRID, factorization="tucker", rank=0.5, **SPECTRAL),
    "F-FNO": lambda: models.FactorizedFNO(GRID, **SPECTRAL),
    "Monarch-F-FNO": lambda: models.FactorizedFNO(GRID, transform="monarch", **SPECTRAL),
    "Monarch-NO in space and time": lambda: models.SpaceTimeFNO(
        GRID,
        1,
        n_steps_out=4,
        n_modes=(8, 8, 2),
        hidden_channels=4,
        n_layers=1,
        transform="monarch",
    ),
    "U-Net": lambda: models.UNet(GRID, hidden_channels=4, n_levels=3),
    "ResNet": lambda: models.ResNet(GRID, hidden_channels=4, n_blocks=(1, 1)),
    "TF-Net": lambda: models.TFNet(GRID, 1, time_window=1, hidden_channels=4, n_levels=2),
    "transformer": lambda: models.TransformerOperator(
        GRID, patch_size=8, hidden_channels=16, n_layers=2, n_heads=2
    ),
}
RECONSTRUCTIONS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"SENSE, {name}": (lambda name=name: models.SENSE(GRID, transform=name))
        for name in ("monarch", "dense", "corrected")
    },
    "VarNet": lambda: models.VarNet(GRID, n_cascades=2, **IMAGES),
    "Monarch-VarNet": lambda: models.VarNet(GRID, transform="monarch", n_cascades=2, **IMAGES),
    "MoDL": lambda: models.MoDL(GRID, n_iterations=2, n_cg_iterations=5, **IMAGES),
    "Monarch-MoDL": lambda: models.MoDL(
        GRID, transform="monarch", n_iterations=2, n_cg_iterations=5, **IMAGES
    ),
    "U-Net of images": lambda: models.ReconstructionUNet(GRID, **IMAGES),
}


def inputs(name: str) -> tuple[Tensor, ...]:
    """Return the arguments of a network in float64, the same in every process."""
    generator = torch.Generator().manual_seed(2)
    if name not in RECONSTRUCTIONS:
        return (torch.randn(4, 1, *GRID, generator=generator).double(),)
    kspace, maps = (
        torch.randn(2, 4, *GRID, dtype=torch.complex64, generator=generator).to(torch.complex128)
        for _ in range(2)
    )
    mask = (torch.rand(2, *GRID, generator=generator) < 0.6).double()
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    return kspace * mask.unsqueeze(1), mask, maps


def cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a real or complex tensor in this precision, whole numbers as they are."""
    if not (value.is_complex() or value.is_floating_point()):
        return value
    return value.to(torch.promote_types(dtype, torch.complex64) if value.is_complex() else dtype)


def weights_of(name: str, precision: str) -> dict[str, Tensor]:
    """Return the state of a network, moved away from its start; the same in either precision
    where the layers are the same (neuralop's spectral layer has single precision only).
    """
    torch.manual_seed(0)
    model = network(name, "float32")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        if needs_bases(model):
            fit_bases(model, torch.randn(300, *GRID, generator=generator))
        for p in model.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    state = {k: cast(v, getattr(torch, precision)) for k, v in model.state_dict().items()}
    own = network(name, precision).state_dict()
    return state if shapes(own) == shapes(state) else own


def shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    """Return the shapes in a state dict."""
    return {name: value.shape for name, value in state.items()}


def network(name: str, precision: str) -> nn.Module:
    """Return a network with its initial weights."""
    factory = {**OPERATORS, **RECONSTRUCTIONS}[name]
    return in_precision(lambda _: factory(), {"grid_shape": GRID}, precision)


def computed(
    name: str, precision: str, state: dict[str, Tensor], given: tuple[Tensor, ...], device: str
) -> tuple[Tensor, Tensor]:
    """Return the output of a network and the gradients of all weights, each in one row."""
    model, dtype = network(name, precision), getattr(torch, precision)
    model.load_state_dict(state)
    output = model.to(device)(*(cast(value, dtype).to(device) for value in given))
    row = real_row(output)
    (row * torch.linspace(-1, 1, len(row), dtype=dtype, device=device)).sum().backward()
    gradients = [real_row(p.grad) for p in model.parameters() if p.grad is not None]
    return row.detach().cpu(), torch.cat(gradients).cpu()


def real_row(values: Tensor) -> Tensor:
    """Return a tensor as a row of real numbers."""
    return (torch.view_as_real(values) if values.is_complex() else values).flatten()


def settings() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the settings of this machine, the reference first."""
    yield "1 thread", {"OMP_NUM_THREADS": "1"}
    yield "2 threads", {"OMP_NUM_THREADS": "2"}
    for kernels in ("default", "avx2", "avx512"):
        flag = {"default": "", "avx2": "avx2", "avx512": "avx512f"}[kernels]
        if flag in cpu_flags():
            yield f"{kernels} kernels", {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": kernels}
    if torch.cuda.is_available():
        yield "GPU", {"OMP_NUM_THREADS": "1", "NUMERICS_DEVICE": "cuda"}


def cpu_flags() -> str:
    """Return what the processor can do, as Linux lists it; empty elsewhere."""
    listed = Path("/proc/cpuinfo")
    text = listed.read_text(encoding="utf-8") if listed.exists() else ""
    return next((line for line in text.splitlines() if line.startswith("flags")), "")


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Return ||a - b|| / ||b||."""
    return float((ours.to(theirs.dtype) - theirs).norm() / theirs.norm())


def main() -> None:
    """Compute under every setting and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--tables", action="store_true", help="print the tables of results.csv")
    arguments = parser.parse_args()
    if arguments.tables:
        print("\n\n".join(tables()))
        return
    keys = [(n, p) for n in (*OPERATORS, *RECONSTRUCTIONS) for p in BOUNDS]
    if arguments.worker:
        device = os.environ.get("NUMERICS_DEVICE", "cpu")
        kernels = torch.backends.cpu.get_cpu_capability()
        print(f"{torch.get_num_threads()} threads, {kernels} kernels, {device}", flush=True)
        given = torch.load(arguments.worker[0])
        made = {key: computed(*key, *given[key], device) for key in keys}
        torch.save(made, arguments.worker[1])
        return
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        drawn, made = Path(folder) / "drawn.pt", Path(folder) / "made.pt"
        # drawn once: random numbers themselves differ in the last digits between kernels
        states = {key: weights_of(*key) for key in keys}
        torch.save({key: (states[key], inputs(key[0])) for key in keys}, drawn)
        for setting, variables in settings():
            command = [sys.executable, __file__, "--worker", str(drawn), str(made)]
            subprocess.run(command, env={**os.environ, **variables}, check=True)
            found[setting] = torch.load(made)
    first, *others = found
    rows = []
    for name, precision in keys:
        mine = found[first][name, precision]
        row: dict[str, str | float] = {"network": name, "precision": precision}
        for other in others:
            theirs = found[other][name, precision]
            row[f"{other}, output"] = difference(theirs[0], mine[0])
            row[f"{other}, gradient"] = difference(theirs[1], mine[1])
        double = found[first][name, "float64"]
        alike = shapes(states[name, "float64"]) == shapes(states[name, "float32"])
        if precision == "float32" and alike:
            row["float64, output"] = difference(mine[0], double[0])
            row["float64, gradient"] = difference(mine[1], double[1])
        rows.append(row)
    write(rows)
    if worst := [row["network"] for row in rows if not within(row)]:
        sys.exit(f"above the bound: {worst}")


def within(row: dict[str, str | float]) -> bool:
    """Return whether the differences between settings are within the bounds."""
    bounds = BOUNDS[str(row["precision"])]
    return all(
        float(value) <= bounds[column.split(", ")[1]]
        for column, value in row.items()
        if ", " in column and not column.startswith("float64")
    )


def write(rows: list[dict[str, str | float]]) -> None:
    """Write results.csv and environment.json."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: f"{v:.1e}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )
    (HERE / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")


def tables() -> Iterator[str]:
    """Yield the tables of the page: the largest differences, and those of every network."""
    with (HERE / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    settings = list(dict.fromkeys(k.split(", ")[0] for k in rows[0] if ", " in k))[:-1]
    largest = []
    for precision in BOUNDS:
        for part in ("output", "gradient"):
            found = (
                max(float(row[f"{s}, {part}"]) for row in rows if row["precision"] == precision)
                for s in settings
            )
            largest.append([f"{precision}, {part}", *map("{:.1e}".format, found)])
    yield markdown([f"largest over {len(rows) // 2} networks", *settings], largest)
    for precision, others in {"float32": ["float64"], "float64": []}.items():
        shown = [*(s for s in settings if s != "avx512 kernels"), *others]  # those are the native
        names = [s.removesuffix(" kernels").replace("avx2", "AVX2") for s in shown]
        head = [text for name in names for text in (f"{name}: output", "gradient")]
        columns = [f"{s}, {part}" for s in shown for part in ("output", "gradient")]
        own = (row for row in rows if row["precision"] == precision)
        body = [[row["network"], *(row[column] for column in columns)] for row in own]
        yield f"## {precision}"
        yield markdown(["network", *head], body)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Return a table; an empty cell means that there is nothing to compare."""
    cells = [[{"0.0e+00": "0", "": "-"}.get(cell, cell) for cell in row] for row in rows]
    rule = [":--", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, *cells]).replace(
        "\n", f"\n|{'|'.join(rule)}|\n", 1
    )


if __name__ == "__main__":
    main()
