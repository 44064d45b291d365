"""One small network of every kind, with an input: what contracts of all networks run on."""

from __future__ import annotations

from functools import partial

import torch

from monarch_sciml import models

GRID = (8, 8)
_SIZES = {"n_modes": (4, 4), "hidden_channels": 4, "n_layers": 2}
_IMAGES = {"hidden_channels": 2, "n_levels": 1}


def _fno(**options):
    return lambda: models.FNO(GRID, **{**_SIZES, **options})


def _factorized(**options):
    return lambda: models.FactorizedFNO(GRID, **{**_SIZES, **options})


def _normalized():
    numbers = (torch.tensor([value]) for value in (0.5, 2.0, -1.0, 3.0))
    return models.Normalized(_fno(transform="monarch")(), *numbers)


OPERATORS = {
    "fno": _fno(),
    "fno-odd": lambda: models.FNO((9, 8), **_SIZES),
    "fno-padded": _fno(domain_padding=0.25),
    "tfno": _fno(factorization="tucker", rank=0.5),
    "monarch-no": _fno(transform="monarch"),
    "monarch-no-dct": _fno(transform="monarch", init="dct"),
    "monarch-no-random": _fno(transform="monarch", init="random"),
    "monarch-no-per-channel": _fno(transform="monarch", per_channel=True, transform_rank=2),
    "monarch-tfno": _fno(transform="monarch", factorization="tucker", rank=0.5),
    "dense": _fno(transform="dense"),
    "corrected": _fno(transform="corrected"),
    "cosine": _fno(transform="cosine"),
    "f-fno": _factorized(),
    "monarch-f-fno": _factorized(transform="monarch", weight_norm=True),
    "monarch-fno-3d": lambda: models.SpaceTimeFNO(
        GRID,
        2,
        n_steps_out=4,
        n_modes=(4, 4, 2),
        hidden_channels=2,
        n_layers=1,
        transform="monarch",
    ),
    "unet": lambda: models.UNet(GRID, hidden_channels=2, n_levels=2),
    "resnet": lambda: models.ResNet(GRID, hidden_channels=2, n_blocks=(1, 1)),
    "transformer": lambda: models.TransformerOperator(
        GRID, patch_size=4, hidden_channels=8, n_layers=1, n_heads=2
    ),
    "structured": lambda: models.StructuredNetwork(
        GRID, network=partial(models.TransformerOperator, patch_size=4, hidden_channels=16)
    ),
    "tf-net": lambda: models.TFNet(GRID, 4, hidden_channels=2, n_levels=2),
    "normalized": _normalized,
}
"""Networks from field to field, by name."""

RECONSTRUCTIONS = {
    "sense": lambda: models.SENSE(GRID, kspace_weighting=True),
    "monarch-sense": lambda: models.SENSE(GRID, transform="monarch"),
    "dense-sense": lambda: models.SENSE(GRID, transform="dense", kspace_weighting=True),
    "monarch-sense-plane": lambda: models.SENSE(GRID, transform="monarch", separable=False),
    "varnet": lambda: models.VarNet(GRID, n_cascades=2, **_IMAGES),
    "monarch-varnet": lambda: models.VarNet(GRID, transform="monarch", n_cascades=2, **_IMAGES),
    "modl": lambda: models.MoDL(GRID, n_iterations=1, n_cg_iterations=3, **_IMAGES),
    "monarch-modl": lambda: models.MoDL(
        GRID, transform="monarch", n_iterations=1, n_cg_iterations=3, **_IMAGES
    ),
    "unet-of-images": lambda: models.ReconstructionUNet(GRID, **_IMAGES),
}
"""Networks from k-space to image, by name."""

NETWORKS = {**OPERATORS, **RECONSTRUCTIONS}


def build(name):
    """Return a network of fixed parameters, each moved away from its start, in training mode."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(0.05 * noise)
    return network


def inputs(name, factor=1, dtype=torch.float32):
    """Return the arguments of `forward`, on a grid `factor` times as fine."""
    generator = torch.Generator().manual_seed(2)
    complex_dtype = torch.promote_types(dtype, torch.complex64)
    height, width = (factor * n for n in GRID)
    if name in RECONSTRUCTIONS:
        shape = (2, 3, height, width)
        kspace, maps = (
            torch.randn(shape, dtype=complex_dtype, generator=generator) for _ in range(2)
        )
        mask = (torch.rand(2, height, width, generator=generator) < 0.7).to(dtype)
        return kspace * mask.unsqueeze(1), mask, maps
    channels = {"monarch-fno-3d": 2, "tf-net": 4}.get(name, 1)
    height += factor if name == "fno-odd" else 0
    return (torch.randn(2, channels, height, width, generator=generator).to(dtype),)
