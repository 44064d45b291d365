"""Scans small enough to read in no time."""

import pytest
import torch

from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics.sense_operator import SenseOperator


def make_smooth_scan(seed, n_slices=3, n_coils=4, shape=(24, 20), stored=True):
    """A scan of smooth maps and a random image, exactly in the model of SENSE."""
    generator = torch.Generator().manual_seed(seed)
    height, width = shape
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    angle = 2 * torch.pi * torch.arange(n_coils)[:, None, None] / n_coils
    maps = torch.exp(-((x - angle.cos()) ** 2) - (y - angle.sin()) ** 2 + 1j * (angle + x))
    maps = maps / maps.abs().square().sum(0).sqrt()
    maps = maps.to(torch.complex64).expand(n_slices, -1, -1, -1).clone()
    image = torch.randn(n_slices, *shape, dtype=torch.complex64, generator=generator) * (seed + 1)
    kspace = SenseOperator(torch.ones(shape), maps).forward(image)
    return Scan(kspace, coil_maps=maps if stored else None, target=image if stored else None)


def make_set(folder, n_scans=6, subjects=None, **options):
    paths = [folder / f"scan_{i:04d}.h5" for i in range(n_scans)]
    for i, path in enumerate(paths):
        subject = subjects[i] if subjects else f"subject {i}"
        write_fastmri(path, make_smooth_scan(i, **options), attributes={"patient_id": subject})
    return paths


@pytest.fixture
def smooth_scan():
    return make_smooth_scan


@pytest.fixture
def write_set():
    return make_set
