"""Fields small enough to take no time, and what a training on them needs."""

import torch

from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.fields.writer import FieldWriter

WAVES = {
    "data": {
        "class_path": "monarch_sciml.data.TrajectoryModule",
        "init_args": {"path": "waves.h5", "n_train": 4, "n_validation": 2, "n_test": 3,
                      "n_steps_in": 2, "n_steps_out": 2},
    },
    "objective": {"class_path": "monarch_sciml.training.RolloutObjective"},
    "budget": {"epochs": 2, "batch_size": 2},
    "options": {"progress": False},
}  # fmt: skip
"""What `train` and `compare` need besides networks."""
SMALL_FNO = {"class_path": "monarch_sciml.models.FNO", "init_args": {"n_modes": [4], "n_layers": 1}}


def write_waves(path):
    """Write 9 samples of 4 times on 12 points."""
    layout = FieldLayout(
        fields=("u",), n_samples=9, n_times=4, grid_shape=(12,), domain_extent=(1.0,),
        boundary=("periodic",), times=(0.0, 0.5, 1.0, 1.5),
    )  # fmt: skip
    phases = 2 * torch.pi * torch.arange(12) / 12 + torch.arange(9).reshape(-1, 1, 1, 1)
    with FieldWriter(path, layout, generator="test", parameters={}, seed=0) as writer:
        writer.write(0, torch.cos(phases) * 0.8 ** torch.arange(4).reshape(-1, 1, 1))  # N, T, 1, n
