"""Do threads and CPU kernels change what the networks compute? One table for every family.

python experiments/numerics/agree.py            # all settings of this machine, writes results.csv

Every setting is a process of its own: number of threads, and kernels of PyTorch chosen by
ATEN_CPU_CAPABILITY; with a CUDA device also that. Each computes the output and the gradients of
every transform and every network for fixed weights and inputs, in float32 and float64. The
difference to one thread with the native kernels is ||a - b|| / ||b||, the largest of output and
gradients; `exact` is the difference of float32 to float64.
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
BOUNDS = {"float32": 2e-5, "float64": 1e-12}
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


def built(name: str, dtype: torch.dtype) -> nn.Module:
    """Return a network, with the same weights in either precision where the layers are the same.

    In double precision another spectral layer stands in for neuralop's, which has single only.
    """
    factory = {**OPERATORS, **RECONSTRUCTIONS}[name]
    torch.manual_seed(0)
    single = factory()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        if needs_bases(single):
            fit_bases(single, torch.randn(300, *GRID, generator=generator))
        for p in single.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    if dtype == torch.float32:
        return single
    double = in_precision(lambda _: factory(), {"grid_shape": GRID}, "float64")
    state = {k: cast(v, dtype) for k, v in single.state_dict().items()}
    if {k: v.shape for k, v in double.state_dict().items()} == {
        k: v.shape for k, v in state.items()
    }:
        double.load_state_dict(state)
    return double


def computed(name: str, dtype: torch.dtype, device: str) -> list[Tensor]:
    """Return output and gradients of a network."""
    model = built(name, dtype).to(device)
    given = [cast(value, dtype).to(device) for value in inputs(name)]
    output = model(*given)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(3)).to(device)
    real = torch.view_as_real(output).sum(-1) if output.is_complex() else output
    (real * weights).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [tensor.detach().cpu() for tensor in (output, *gradients)]


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


def comparable(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    """Return whether two networks have outputs of the same weights."""
    alike = [a.shape for a in ours] == [b.shape for b in theirs]
    return alike and difference(ours[:1], theirs[:1]) < 1e-2


def difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Return the largest of ||a - b|| / ||b|| over output and gradients that are not zero."""
    pairs = [(a.to(b.dtype), b) for a, b in zip(ours, theirs, strict=True)]
    largest = max(float(b.norm()) for _, b in pairs)
    return max(
        float((a - b).norm() / b.norm()) for a, b in pairs if float(b.norm()) > 1e-6 * largest
    )


def main() -> None:
    """Compute under every setting and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = [*OPERATORS, *RECONSTRUCTIONS]
    dtypes = {name: getattr(torch, name) for name in BOUNDS}
    if arguments.worker:
        device = os.environ.get("NUMERICS_DEVICE", "cpu")
        kernels = torch.backends.cpu.get_cpu_capability()
        print(f"{torch.get_num_threads()} threads, {kernels} kernels, {device}", file=sys.stderr)
        made = {(n, d): computed(n, dtypes[d], device) for n in names for d in dtypes}
        torch.save(made, arguments.worker)
        return
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (setting, variables) in enumerate(settings()):
            path = Path(folder) / f"{number}.pt"
            command = [sys.executable, __file__, "--worker", str(path)]
            subprocess.run(command, env={**os.environ, **variables}, check=True)
            found[setting] = torch.load(path)
    first, *others = found
    rows = []
    for name in names:
        for precision in BOUNDS:
            key = (name, precision)
            row = {"network": name, "precision": precision}
            row |= {other: difference(found[other][key], found[first][key]) for other in others}
            double = found[first][(name, "float64")]
            if precision == "float32" and comparable(found[first][key], double):
                row["exact"] = difference(found[first][key], double)
            rows.append(row)
    with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: f"{v:.1e}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )
    (HERE / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")
    for precision, bound in BOUNDS.items():
        worst = {o: max(r[o] for r in rows if r["precision"] == precision) for o in others}
        print(f"{precision}: bound {bound:g}, largest", {k: f"{v:.1e}" for k, v in worst.items()})
        if max(worst.values()) > bound:
            sys.exit("a difference is above its bound")


if __name__ == "__main__":
    main()
