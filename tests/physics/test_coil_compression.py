"""Coil compression: energy kept, agreement with BART, maps that go with it, dead coils."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from tolerances import assert_close

from monarch_sciml.physics import coil_compression, combine, compress_coils, fft2c, ifft2c

BRAIN = Path(__file__).parents[2] / "../shared/kspace/brain8ch_230x180_full"
needs_brain_and_bart = pytest.mark.skipif(
    not BRAIN.with_suffix(".cfl").exists() or not shutil.which("bart"),
    reason="the brain scan in ../shared or bart is absent",
)


@pytest.fixture
def kspace():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 3, dtype=torch.complex128, generator=generator)
    sources = torch.randn(2, 3, 12, 10, dtype=torch.complex128, generator=generator)
    return torch.einsum("cv,svhw->schw", mixing, sources)  # six coils that span three


def test_the_energy_kept_is_that_of_the_singular_values(kspace):
    noisy = kspace + 0.3 * torch.randn_like(kspace)
    samples = noisy.transpose(0, 1).flatten(1).numpy()
    singular = np.linalg.svd(samples, compute_uv=False)
    for n in (1, 2, 4, 6):
        matrix = coil_compression(noisy, n)
        torch.testing.assert_close(matrix @ matrix.mH, torch.eye(n, dtype=matrix.dtype))
        kept = compress_coils(noisy, matrix).abs().square().sum().item()
        assert kept == pytest.approx((singular[:n] ** 2).sum(), rel=1e-10)
        energies = compress_coils(noisy, matrix).abs().square().sum((0, 2, 3))
        assert (energies.diff() <= 0).all()


def test_nothing_is_lost_in_as_many_coils_as_there_are_sources(kspace):
    matrix = coil_compression(kspace, 3)
    virtual = compress_coils(kspace, matrix)
    torch.testing.assert_close(compress_coils(virtual, matrix.mH), kspace)
    largest = matrix.gather(1, matrix.abs().argmax(1, keepdim=True))
    torch.testing.assert_close(largest, largest.abs().to(largest.dtype))  # a fixed phase


def test_maps_are_compressed_alike(kspace):
    maps = ifft2c(kspace)[0] / ifft2c(kspace)[0].norm(dim=0)
    image = torch.randn(12, 10, dtype=torch.complex128)
    measured = fft2c(maps * image)
    matrix = coil_compression(measured, 3)
    virtual, virtual_maps = compress_coils(measured, matrix), compress_coils(maps, matrix)
    torch.testing.assert_close(combine(ifft2c(virtual), virtual_maps), image)


def test_fewer_coils_than_asked_for_and_dead_coils_leave_empty_ones(kspace):
    matrix = coil_compression(kspace, 8)
    assert matrix.shape == (8, 6) and not matrix[6:].any()
    assert not matrix[3:].any()  # three sources only
    kspace[:, 2] = 0
    dead = coil_compression(kspace, 3)
    assert_close(dead[:, 2], 0.0, scale=1.0)
    assert dead.isfinite().all()


def test_the_calibration_block_alone_is_looked_at(kspace):
    changed = kspace.clone()
    changed[..., :3, :] *= torch.tensor([9.0, 1, 1, 1, 1, 1])[:, None, None]
    same = coil_compression(changed, 2, calibration=6)
    torch.testing.assert_close(same, coil_compression(kspace, 2, calibration=6))
    assert not torch.allclose(coil_compression(changed, 2), coil_compression(kspace, 2))


@needs_brain_and_bart
@pytest.mark.parametrize("options", [["-A"], ["-r", "24"]])
def test_agreement_with_bart(options, tmp_path, read_cfl):
    subprocess.run(
        ["bart", "cc", "-S", "-p4", *options, str(BRAIN), "cc"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    theirs, brain = read_cfl(tmp_path / "cc"), read_cfl(BRAIN)
    matrix = coil_compression(brain, 4, calibration=None if options == ["-A"] else 24)
    ours = compress_coils(brain, matrix)
    # virtual coils agree but for a phase each
    product = (theirs.conj() * ours).sum((1, 2)).abs()
    assert (product / (theirs.norm(dim=(1, 2)) * ours.norm(dim=(1, 2)))).min() > 0.9999
    assert ours.norm() == pytest.approx(theirs.norm().item(), rel=1e-5)
    assert (ours.norm() / brain.norm()) ** 2 > 0.9


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda k: coil_compression(k.real, 2), "must be complex"),
        (lambda k: coil_compression(k[0, 0], 2), r"complex \(..., C, H, W\), got"),
        (lambda k: coil_compression(k, 0), "`n_virtual` must be at least 1, got 0"),
        (lambda k: coil_compression(k * 0, 2), "must hold a signal .* got zeros only"),
        (lambda k: coil_compression(k / 0, 2), "must be finite"),
        (lambda k: coil_compression(k, 2, calibration=0), "`calibration` must be at least 1"),
        (lambda k: compress_coils(k[:, :5], coil_compression(k, 2)), "of the 6 coils"),
    ],
)
def test_bad_input(kspace, call, text):
    with pytest.raises(ValueError, match=text) as error:
        call(kspace)
    assert "\n" not in str(error.value)
