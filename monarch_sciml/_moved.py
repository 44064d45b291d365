"""Public names that moved, so that old configurations, run directories and imports still work."""

from __future__ import annotations

import importlib
from typing import Any

_HELPERS = {
    "monarch.Blocks": "contiguous",
    "kernels.needs_plain_operations": "dispatch",
    "kernels.runs_triton": "gpu.launch",
    "kernels.real_spectral_convolution": "spectral",
    "kernels.reference_spectral_convolution": "spectral",
    "kernels.reference_fused_monarch_blocks": "gpu.blocks",
    "kernels.reference_monarch_blocks": "block_reference",
    "kernels.reference_monarch_planes": "rows",
    "metrics.FieldMetric": "named",
    "metrics.field_metrics": "named",
    "metrics.image_statistics": "images",
    "metrics.volume_metrics": "images",
    "training.from_main_process": "processes",
    "training.is_main_process": "processes",
    "training.make_accelerator": "processes",
    "training.n_samples_of": "loading",
    "training.mean_metrics": "evaluate",
    "training.run_lock": "lock",
    "training.is_finished": "lock",
    "evaluation.ELSEWHERE": "samples",
    "evaluation.detailed_square": "figures.reconstructions",
    "evaluation.sample_rows": "samples",
    "models.needs_bases": "fit_bases",
}
"""Helpers that folders no longer export, and the module of the folder in which they are."""

MOVED = {
    "monarch_sciml.solvers.CGSENSE": "monarch_sciml.models.CGSENSE",
    "monarch_sciml.solvers.L1Wavelet": "monarch_sciml.models.L1Wavelet",
    "monarch_sciml.data.FnoMatFile": "monarch_sciml.data.ArrayFields",
    "monarch_sciml.data.GridMatFile": "monarch_sciml.data.ArrayFields",
    "monarch_sciml.data.NeuralopPtFile": "monarch_sciml.data.ArrayFields",
    "monarch_sciml.physics.StoredMask": "monarch_sciml.data.StoredMask",
    "monarch_sciml.physics.sampling.StoredMask": "monarch_sciml.data.StoredMask",
    "monarch_sciml.benchmark": "monarch_sciml.commands.benchmark",
    **{
        f"monarch_sciml.{old}": f"monarch_sciml.{folder}.{module}.{name}"
        for old, module in _HELPERS.items()
        for folder, _, name in [old.partition(".")]
    },
}
"""Dotted name of old -> dotted name of today."""


def moved(module: str, name: str) -> Any:
    """Return the object that a module of the package had under `name` in earlier versions.

    Parameters
    ----------
    module
        Dotted name of the module.
    name
        The attribute that it does not have.

    Raises
    ------
    AttributeError
        When the module never had an attribute of this name.
    """
    today = MOVED.get(f"{module}.{name}")
    if today is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    package, _, attribute = today.rpartition(".")
    owner = importlib.import_module(package)
    return getattr(owner, attribute, None) or importlib.import_module(today)
