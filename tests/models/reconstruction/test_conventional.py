"""CG-SENSE and l1-wavelet: dense solution, BART, sigpy, the figures of a real brain, bad input."""

import builtins
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from tolerances import assert_close

from monarch_sciml.physics import (
    SenseOperator,
    UniformMask,
    combine,
    combine_map_sets,
    fft2c,
    ifft2c,
)
from monarch_sciml.solvers import CGSENSE, L1Wavelet

pytestmark = pytest.mark.usefixtures("one_thread")

BRAIN = Path(__file__).parents[3] / "../shared/kspace/brain8ch_230x180_full"
needs_brain_and_bart = pytest.mark.skipif(
    not BRAIN.with_suffix(".cfl").exists() or not shutil.which("bart"),
    reason="the brain scan in ../shared or bart is absent",
)
GRID = (230, 180)


def write_cfl(path, kspace):
    data = kspace.permute(1, 2, 0)[None].numpy()
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, data.shape)) + "\n")
    data.ravel(order="F").tofile(path.with_suffix(".cfl"))


@pytest.fixture(scope="module")
def scan(tmp_path_factory, read_cfl):
    """The brain with every third line and 24 calibration lines, and BART's coil maps."""
    folder = tmp_path_factory.mktemp("bart")
    kspace = read_cfl(BRAIN)
    arguments = ["bart", "ecalib", "-m1", "-r24", str(BRAIN), "maps"]
    subprocess.run(arguments, cwd=folder, check=True, capture_output=True)
    mask, maps = UniformMask(3, 24)(GRID), read_cfl(folder / "maps")
    write_cfl(folder / "kspace", kspace * mask)
    return folder, kspace * mask, mask, maps, combine(ifft2c(kspace), maps)


@pytest.fixture(scope="module")
def small():
    """Three samples of four coils on a 12 x 10 grid, undersampled by two."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 4, 12, 10, dtype=torch.complex128, generator=generator)
    maps = maps / maps.norm(dim=1, keepdim=True)
    image = torch.randn(3, 12, 10, dtype=torch.complex128, generator=generator)
    mask = UniformMask(2, 2)((12, 10)).expand(3, -1, -1)
    return SenseOperator(mask, maps).forward(image), mask, maps


def magnitude_nmse(image, reference):
    return float((image.abs() - reference.abs()).norm() ** 2 / reference.norm() ** 2)


def relative(a, b):
    return float((a - b).norm() / b.norm())


@needs_brain_and_bart
def test_figures_of_the_brain(scan):
    _, kspace, mask, maps, reference = scan
    zero_filled = SenseOperator(mask, maps).adjoint(kspace)
    assert round(magnitude_nmse(zero_filled, reference), 4) == 0.0253
    cg = CGSENSE(GRID, regularization=0.01)(kspace, mask, maps)
    assert round(magnitude_nmse(cg, reference), 4) == 0.0039
    l1 = L1Wavelet(GRID, n_iterations=40)(kspace, mask, maps)
    assert magnitude_nmse(l1, reference) < 0.0019


@needs_brain_and_bart
def test_agreement_with_bart_pics(scan, read_cfl):
    folder, kspace, mask, maps, _ = scan
    options = ["-S", "-w1", "-l2", "-r", "0.01", "-i", "100"]
    command = ["bart", "pics", *options, "kspace", "maps", "image"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    theirs = read_cfl(folder / "image")
    ours = CGSENSE(GRID, regularization=0.01, tolerance=1e-8)(kspace, mask, maps)
    scale = torch.vdot(theirs.flatten(), ours.flatten()) / theirs.norm() ** 2
    assert abs(abs(scale) - 1) < 1e-5
    assert relative(ours, scale * theirs) < 4e-6  # BART computes and stores in single precision


@pytest.fixture(scope="module")
def small_field(tmp_path_factory, read_cfl):
    """The brain on 152 of its 230 rows, folded over, every second line, two sets of BART's maps."""
    folder = tmp_path_factory.mktemp("two")
    image = ifft2c(read_cfl(BRAIN))
    wrapped = image[:, 39:191].clone()
    wrapped[:, -39:] += image[:, :39]
    wrapped[:, :39] += image[:, 191:]
    kspace = fft2c(wrapped)
    mask = UniformMask(2, 24)(kspace.shape)
    write_cfl(folder / "kspace", kspace * mask)
    command = ["bart", "ecalib", "-m2", "-r24", "kspace", "maps"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    maps = read_cfl(folder / "maps")  # (C, H, W) or, with a fifth axis, (M, H, W, C)
    return folder, kspace, mask, maps.permute(0, 3, 1, 2)


@needs_brain_and_bart
def test_two_map_sets_agree_with_bart_pics(small_field, read_cfl):
    folder, kspace, mask, maps = small_field
    options = ["-S", "-w1", "-l2", "-r", "0.01", "-i", "100"]
    command = ["bart", "pics", *options, "kspace", "maps", "image"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    theirs = read_cfl(folder / "image")  # (M, H, W)
    ours = CGSENSE((152, 180), regularization=0.01, tolerance=1e-8)
    physics = SenseOperator(mask, maps, map_sets=True)
    images = ours.solve_sets(physics, physics.adjoint(kspace))
    scale = torch.vdot(theirs.flatten(), images.flatten()) / theirs.norm() ** 2
    assert abs(abs(scale) - 1) < 1e-4
    assert relative(images, scale * theirs) < 1e-4
    found = ours(kspace * mask, mask, maps)
    assert torch.equal(found, combine_map_sets(images))
    # against the object without undersampling, one set leaves the fold-over
    reference = combine_map_sets(combine(ifft2c(kspace), maps))
    alone = ours(kspace * mask, mask, maps[0])
    assert magnitude_nmse(found, reference) < 0.5 * magnitude_nmse(alone, reference)


@pytest.mark.skipif(not shutil.which("bart"), reason="bart is absent")
@pytest.mark.parametrize("grid", [(33, 32), (32, 31), (17, 15)])
def test_odd_matrices_agree_with_the_fourier_transform_of_bart(tmp_path, grid, read_cfl):
    """`bart pics` 0.8 is no oracle here: along odd axes it shifts the image against the maps."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(grid, dtype=torch.complex64, generator=generator)
    maps = torch.randn(4, *grid, dtype=torch.complex64, generator=generator)
    maps = maps / maps.norm(dim=0)
    write_cfl(tmp_path / "images", maps * image)
    command = ["bart", "fft", "-u", "6", "images", "kspace"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    mask = UniformMask(2, 4)(grid)
    kspace = read_cfl(tmp_path / "kspace") * mask
    solve = CGSENSE(grid, regularization=0.0, n_iterations=200, tolerance=1e-7)
    assert relative(solve(kspace, mask, maps), image) < 1e-4


@pytest.mark.parametrize("solver", [CGSENSE, L1Wavelet])
def test_one_set_with_and_without_its_axis_is_the_same(small, solver):
    kspace, mask, maps = small
    plain, sets = (solver((12, 10))(kspace, mask, m) for m in (maps, maps[:, None]))
    assert torch.equal(plain, sets)


@pytest.mark.parametrize("solver", [CGSENSE, L1Wavelet])
def test_a_second_set_of_zeros_changes_nothing(small, solver):
    kspace, mask, maps = small
    plain = solver((12, 10))(kspace, mask, maps)
    padded = solver((12, 10))(kspace, mask, torch.stack([maps, torch.zeros_like(maps)], dim=1))
    assert relative(padded, plain) < 1e-9


@pytest.mark.parametrize("solver", [CGSENSE, L1Wavelet])
def test_any_matrix_is_taken_whatever_the_solver_was_built_for(small, solver):
    kspace, mask, maps = small
    assert torch.equal(solver((64, 64))(kspace, mask, maps), solver((12, 10))(kspace, mask, maps))


@pytest.mark.parametrize("regularization", [0.0, 0.01, 1.0])
def test_cg_equals_the_dense_solution(small, regularization):
    kspace, mask, maps = small
    ours = CGSENSE((12, 10), regularization=regularization, tolerance=1e-12, n_iterations=300)
    found = ours(kspace, mask, maps)
    basis = torch.eye(120, dtype=maps.dtype).reshape(120, 12, 10)
    for index in range(3):
        physics = SenseOperator(mask[index], maps[index])
        normal = physics.normal(basis).reshape(120, 120).T
        matrix = normal + regularization * torch.eye(120)
        dense = torch.linalg.solve(matrix, physics.adjoint(kspace[index]).flatten())
        assert relative(found[index].flatten(), dense) < 1e-9


def test_every_sample_of_a_batch_is_solved_on_its_own(small):
    kspace, mask, maps = small
    kspace = kspace * torch.tensor([1e-3, 0.0, 1e3])[:, None, None, None]
    for solve in (CGSENSE((12, 10)), L1Wavelet((12, 10))):
        together = solve(kspace, mask, maps)
        assert torch.equal(together[1], torch.zeros_like(together[1]))
        for index in (0, 2):
            alone = solve(kspace[index], mask[index], maps[index])
            assert relative(together[index], alone) < 1e-10
        once_more = solve(kspace[None], mask[None], maps[None])
        assert relative(once_more[0], together) < 1e-10
        assert not list(solve.parameters())


def test_cg_stops_early_and_obeys_the_limit(small, monkeypatch):
    kspace, mask, maps = small
    calls = []
    normal = SenseOperator.normal
    monkeypatch.setattr(SenseOperator, "normal", lambda self, x: calls.append(1) or normal(self, x))
    CGSENSE((12, 10), tolerance=1e-3)(kspace, mask, maps)
    loose = len(calls)
    CGSENSE((12, 10), tolerance=1e-8)(kspace, mask, maps)
    assert 0 < loose < len(calls) - loose < 60
    calls.clear()
    CGSENSE((12, 10), n_iterations=5, tolerance=0.0)(kspace, mask, maps)
    assert len(calls) == 5


@pytest.mark.parametrize("solver", [CGSENSE, L1Wavelet])
def test_precision_follows_the_data(small, solver):
    kspace, mask, maps = small
    double = solver((12, 10))(kspace, mask, maps)
    single = solver((12, 10))(kspace.to(torch.complex64), mask, maps.to(torch.complex64))
    assert double.dtype == torch.complex128 and single.dtype == torch.complex64
    assert relative(single, double.to(torch.complex64)) < 1e-4


@pytest.mark.parametrize("size", [1e-25, 1e-15, 1e15, 1e25])
def test_the_solution_of_tiny_and_huge_numbers_is_that_of_others(small, size):
    kspace, mask, maps = (x.to(torch.complex64) if x.is_complex() else x for x in small)
    expected = CGSENSE((12, 10))(kspace, mask, maps)
    found = CGSENSE((12, 10))(kspace * size, mask, maps)
    assert_close(found / size, expected, relative=0.0001)


def test_cg_has_gradients(small):
    kspace, mask, maps = (x[0] for x in small)
    kspace = kspace.clone().requires_grad_()
    CGSENSE((12, 10), n_iterations=3)(kspace, mask, maps).abs().sum().backward()
    assert kspace.grad is not None and kspace.grad.isfinite().all()


def test_l1_wavelet_without_shifts_equals_sigpy(small):
    app = pytest.importorskip("sigpy.mri.app")
    kspace, mask, maps = (x[0] for x in small)
    ours = L1Wavelet(
        (12, 10), regularization=0.05, n_iterations=500, wavelet="db2", cycle_spinning=False
    )(kspace, mask, maps)
    brightest = float(SenseOperator(mask, maps).adjoint(kspace).abs().max())
    theirs = app.L1WaveletRecon(
        kspace.numpy(),
        maps.numpy(),
        0.05 * brightest,
        weights=mask.numpy(),
        wave_name="db2",
        alpha=1.0,
        max_iter=500,
        show_pbar=False,
    ).run()
    assert relative(ours, torch.from_numpy(theirs)) < 1e-6
    # the penalty does something, and none is none
    assert relative(ours, CGSENSE((12, 10), regularization=0.0)(kspace, mask, maps)) > 0.05


def test_l1_wavelet_where_the_maps_are_zero_is_silent():
    """Warnings are errors: threshold / size must not overflow where a coefficient is 0."""
    maps = torch.zeros(1, 24, 20, dtype=torch.complex64)
    maps[:, :6, :6] = 1
    kspace = fft2c(1e8 * maps)
    image = L1Wavelet((24, 20))(kspace, torch.ones(24, 20), maps)
    assert relative(image[:6, :6], 1e8 * maps[0, :6, :6]) < 0.02


@pytest.mark.parametrize("grid", [(9, 11), (12, 10), (3, 2)])
def test_l1_wavelet_on_fully_sampled_data_only_shrinks(grid):
    image = torch.randn(grid, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))
    maps = torch.ones(1, *grid, dtype=image.dtype)
    kspace = SenseOperator(torch.ones(grid), maps).forward(image)
    assert (
        relative(L1Wavelet(grid, regularization=0.0)(kspace, torch.ones(grid), maps), image) < 1e-9
    )
    shrunk = L1Wavelet(grid, regularization=0.1)(kspace, torch.ones(grid), maps)
    assert shrunk.norm() < image.norm()


def test_l1_wavelet_names_the_missing_package(monkeypatch):
    original = builtins.__import__

    def without(name, *arguments, **options):
        if name == "pywt":
            raise ModuleNotFoundError("No module named 'pywt'")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"PyWavelets, got .* pip install PyWavelets"):
        L1Wavelet((8, 8))


def test_l1_wavelet_refuses_wavelets_that_are_not_orthogonal():
    with pytest.raises(ValueError, match=r"`wavelet` must be orthogonal.*got 'bior2\.2'"):
        L1Wavelet((8, 8), wavelet="bior2.2")


@pytest.mark.parametrize("solver", [CGSENSE, L1Wavelet])
def test_bad_input(small, solver):
    kspace, mask, maps = small
    for options, text in [
        ({"regularization": -1.0}, "`regularization` must be zero or positive and finite, got -1"),
        ({"regularization": float("nan")}, "zero or positive and finite, got nan"),
        ({"n_iterations": 0}, "`n_iterations` must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=text):
            solver((12, 10), **options)
    with pytest.raises(ValueError, match=r"`grid_shape` must be \(H, W\), got \(4, 4, 4\)"):
        solver((4, 4, 4))
    with pytest.raises(ValueError, match=r"must be \(4, 12, 10\) as in `coil_maps`, got \(3, 3"):
        solver((12, 10))(kspace[:, :3], mask, maps)
    with pytest.raises(ValueError, match="must match the last two axes"):
        solver((12, 10))(kspace, mask[..., :5], maps)
    with pytest.raises(ValueError, match="`masked_kspace` must be finite"):
        solver((12, 10))(kspace / 0, mask, maps)
    with pytest.raises(ValueError, match="`coil_maps` must be finite"):
        solver((12, 10))(kspace, mask, maps * torch.nan)


def test_unknown_wavelet():
    with pytest.raises(ValueError, match=r"`wavelet` must be one of .*got 'db0'"):
        L1Wavelet((8, 8), wavelet="db0")
