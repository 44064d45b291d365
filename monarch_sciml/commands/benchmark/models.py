"""Whole networks: a training step of Monarch-NO, inference of mSENSE, data consistency.

Letters: B batch, C coils, H x W matrix.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monarch_sciml.commands.benchmark.measure import Effort, MeasuredRow, compare_calls
from monarch_sciml.commands.benchmark.timing import Call, forward_call
from monarch_sciml.models import FNO, SENSE
from monarch_sciml.physics.sense_operator import SenseOperator, combine, fft2c, ifft2c


def operators(
    grid: Sequence[int], n_modes: Sequence[int], channels: int, n_layers: int
) -> dict[str, nn.Module]:
    """Return neuralop's FNO, Monarch-NO and the FNO with a corrected transform of rank 2, with the
    same weights: equal outputs at first.

    The last entry is neuralop's FNO without its spectral layers: how fast it would be with layers
    that take no time.
    """
    from neuralop.models import FNO as NeuralopFNO

    torch.manual_seed(0)
    theirs = NeuralopFNO(
        n_modes=tuple(n_modes), in_channels=1, out_channels=1, hidden_channels=channels,
        n_layers=n_layers,
    )  # fmt: skip

    def build(transform: str) -> FNO:
        return FNO(
            tuple(grid), n_modes=tuple(n_modes), hidden_channels=channels, n_layers=n_layers,
            transform=transform, transform_rank=2 if transform == "corrected" else 1,  # type: ignore[arg-type]
        )  # fmt: skip

    ours, corrected = build("monarch"), build("corrected")
    for network in (ours, corrected):
        _copy_weights(theirs, network)
    rest = copy.deepcopy(theirs)
    for block in (module for module in rest.modules() if hasattr(module, "convs")):
        block.convs = nn.ModuleList(_NoConvolution() for _ in range(n_layers))
    return {
        "neuralop FNO": theirs,
        "Monarch-NO": ours,
        "corrected": corrected,
        "no spectral layer": rest,
    }


@torch.no_grad()
def _copy_weights(theirs: nn.Module, ours: nn.Module) -> None:
    """Copy the weights of neuralop's network into a network of this package."""
    target = dict(ours.named_parameters())
    for name, value in theirs.named_parameters(prefix="network"):
        if value.is_complex():  # (I, O, modes) -> modes first, real and imaginary parts last
            name = name.removesuffix(".tensor")
            value = torch.view_as_real(value.movedim((0, 1), (-2, -1)).contiguous())
        target[name].copy_(value)


class _NoConvolution(nn.Module):
    """Replace a spectral convolution by nothing, to time the rest of the network."""

    def forward(self, x: Tensor, output_shape: Sequence[int] | None = None) -> Tensor:
        return x

    def transform(self, x: Tensor, output_shape: Sequence[int] | None = None) -> Tensor:
        return x


def training_step(model: nn.Module, x: Tensor, y: Tensor) -> Call:
    """Return one step of Adam on the mean squared error."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()

    return step


def benchmark_model_case(
    grid: Sequence[int],
    n_modes: Sequence[int],
    channels: int,
    batch: int,
    *,
    n_layers: int = 4,
    effort: Effort,
    device: str = "cpu",
) -> list[MeasuredRow]:
    """Time a training step and inference of both networks."""
    models = {k: m.to(device) for k, m in operators(grid, n_modes, channels, n_layers).items()}
    x = torch.randn(batch, 1, *grid, device=device)
    about = {"grid": grid[0], "modes": n_modes[0], "channels": channels, "batch": batch}
    rows = []
    for kind in ("inference", "training step"):
        calls = {
            name: training_step(model, x, x) if kind == "training step" else forward_call(model, x)
            for name, model in models.items()
        }
        rows += compare_calls(
            calls, baseline="neuralop FNO", case={**about, "pass": kind}, effort=effort,
            device=device,
        )  # fmt: skip
    return rows


def benchmark_mri_case(
    matrix: Sequence[int], coils: int, *, effort: Effort, device: str = "cpu"
) -> list[MeasuredRow]:
    """Time zero-filled reconstruction and data consistency of one slice, in slices per second."""
    torch.manual_seed(0)
    shape = (1, coils, *matrix)
    maps = torch.randn(shape, dtype=torch.complex64, device=device)
    kspace, image = torch.randn_like(maps), torch.randn_like(maps[:, 0])
    columns = (torch.rand(matrix[-1], device=device) > 0.75).float()
    points = (torch.rand(*matrix, device=device) > 0.75).float()
    lines = columns.expand(1, *matrix)
    about = {"matrix": "x".join(map(str, matrix)), "coils": coils}
    names = {"SENSE": "fourier", "mSENSE": "monarch", "mSENSE, dense": "dense"}
    calls: dict[str, Call] = {
        "shifted fft2c SENSE": lambda: combine(ifft2c(lines.unsqueeze(1) * kspace), maps)
    }
    for name, transform in names.items():
        network = SENSE(tuple(matrix), transform=transform).to(device)  # type: ignore[arg-type]
        calls[name] = forward_call(network, kspace, lines, maps)
    rows = compare_calls(
        calls, baseline="shifted fft2c SENSE", case={**about, "pass": "reconstruction"},
        effort=effort, device=device,
    )  # fmt: skip
    for name, mask in (("1-D mask", lines), ("2-D mask", points[None])):
        physics = SenseOperator(mask, maps)
        calls = {
            "fft2c, mask, ifft2c": _consistency(mask, maps, image),
            "SenseOperator.normal": lambda physics=physics: physics.normal(image),
        }
        rows += compare_calls(
            calls, baseline="fft2c, mask, ifft2c",
            case={**about, "pass": f"data consistency, {name}"}, effort=effort, device=device,
        )  # fmt: skip
    for row in rows:
        row["slices_per_second"] = 1 / row["seconds"]
    return rows


def _consistency(mask: Tensor, maps: Tensor, image: Tensor) -> Call:
    def call() -> Tensor:
        kspace = mask.unsqueeze(1) * fft2c(maps * image.unsqueeze(1))
        return combine(ifft2c(kspace), maps)

    return call
