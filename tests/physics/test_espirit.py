"""ESPIRiT: agreement with BART and sigpy on a real brain, simulated maps recovered, bad input."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from tolerances import assert_close

from monarch_sciml.physics import UniformMask, espirit, estimate_coil_maps, fft2c, ifft2c, rss
from monarch_sciml.physics.calibration import calibration_region, peak_offset

pytestmark = pytest.mark.usefixtures("one_thread")

BRAIN = Path(__file__).parents[2] / "../shared/kspace/brain8ch_230x180_full"
needs_brain = pytest.mark.skipif(
    not BRAIN.with_suffix(".cfl").exists(), reason="the brain scan in ../shared is absent"
)


@pytest.fixture(scope="module")
def brain(read_cfl):
    return read_cfl(BRAIN)


@pytest.fixture(scope="module")
def scene():
    """A smooth object seen by six coils of smooth maps: image (40, 32), maps (6, 40, 32)."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 32), indexing="ij")
    y, x = y.double(), x.double()
    angles = torch.arange(6).double() * (torch.pi / 3)
    distance = (y - 1.3 * angles.sin()[:, None, None]) ** 2
    distance = distance + (x - 1.3 * angles.cos()[:, None, None]) ** 2
    maps = torch.polar(1 / (0.5 + distance), 0.8 * angles[:, None, None] + 0.5 * distance)
    image = ((y**2 + x**2) < 0.7).double() * (1 + 0.3 * torch.cos(5 * y) * torch.sin(7 * x))
    return image, maps / rss(maps)


def support(maps):
    return maps.abs().sum(dim=-3) > 0


def alignment(a, b):
    """|<a, b>| at the pixels where neither is zero."""
    both = support(a) & support(b)
    return (a.conj() * b).sum(dim=-3).abs()[both]


@needs_brain
@pytest.mark.skipif(not shutil.which("bart"), reason="bart is not installed")
def test_agreement_with_bart(brain, tmp_path, read_cfl):
    arguments = ["bart", "ecalib", "-m1", "-r24", str(BRAIN), "maps", "eigenvalues"]
    subprocess.run(arguments, cwd=tmp_path, check=True, capture_output=True)
    theirs = read_cfl(tmp_path / "maps")
    ours, eigenvalues = espirit(brain, return_eigenvalues=True)
    assert alignment(ours, theirs).mean() > 0.9999
    differ = support(ours) ^ support(theirs)
    assert differ.sum() < 20  # of 33751 pixels
    # one global phase apart, with BART's phase reference
    product = (theirs.conj() * ours).sum(dim=0)
    phase = product.sum() / product.sum().abs()
    both = support(ours) & support(theirs)
    assert ((ours - phase * theirs)[:, both]).norm() < 0.02 * ours[:, both].norm()
    size = [int(n) for n in (tmp_path / "eigenvalues.hdr").read_text().split("\n")[1].split()]
    theirs = np.fromfile(tmp_path / "eigenvalues.cfl", np.complex64).reshape(size, order="F")
    assert (eigenvalues - torch.from_numpy(theirs.squeeze().real.copy())).abs().mean() < 1e-3


@needs_brain
def test_agreement_with_sigpy(brain):
    app = pytest.importorskip("sigpy.mri.app")
    brain = brain[:, 115 - 48 : 115 + 48, 90 - 40 : 90 + 40].contiguous()  # for speed
    theirs = torch.from_numpy(app.EspiritCalib(brain.numpy(), show_pbar=False).run())
    ours = espirit(brain, threshold=0.02, crop=0.95)
    assert alignment(ours, theirs).min() > 0.99999
    assert torch.equal(support(ours), support(theirs))


@needs_brain
def test_undersampled_kspace_gives_the_same_maps(brain):
    masked = brain * UniformMask(3, 24)(brain.shape)
    assert torch.allclose(espirit(masked), espirit(brain), atol=1e-4)


def test_simulated_maps_are_recovered(scene):
    image, maps = scene
    kspace = fft2c(maps * image)
    found, eigenvalues = espirit(kspace, kernel=5, return_eigenvalues=True)
    inside = image > 0
    assert support(found)[inside].float().mean() > 0.99
    assert alignment(found * inside, maps).mean() > 0.999
    assert eigenvalues.max() <= 1 + 1e-9 and eigenvalues.min() >= 0
    norms = rss(found)[support(found)]
    assert torch.allclose(norms, torch.ones_like(norms))


def test_the_phase_reference_is_the_first_principal_component(scene):
    image, maps = scene
    kspace = fft2c(maps * image)
    center = kspace[:, 8:32, 4:28].flatten(1)
    component = torch.linalg.svd(center).U[:, 0]
    projection = (component.conj()[:, None, None] * espirit(kspace)).sum(dim=0)
    projection = projection[projection.abs() > 1e-6]
    phase = projection[0] / projection[0].abs()
    assert ((projection * phase.conj()).imag.abs() < 1e-9 * projection.abs().max()).all()


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_batches_chunks_and_scaling_change_nothing(scene, dtype, monkeypatch):
    image, maps = scene
    kspace = torch.stack([fft2c(maps * image), fft2c(maps * image.flip(0) * 3)]).to(dtype)
    tolerance = 1e-4 if dtype == torch.complex64 else 1e-10
    whole = espirit(kspace)
    assert whole.dtype == dtype and whole.shape == kspace.shape
    assert torch.allclose(espirit(kspace[1] * 1e-4), whole[1], atol=tolerance)
    monkeypatch.setattr("monarch_sciml.physics.calibration.CHUNK_ELEMENTS", 7 * 32 * 36)
    assert torch.allclose(espirit(kspace), whole, atol=tolerance)
    volume = estimate_coil_maps(kspace, chunk_size=1)
    assert torch.allclose(volume, whole, atol=tolerance)
    assert espirit(kspace[None]).shape == (1, *kspace.shape)


def test_several_sets_are_orthogonal_and_ordered(scene):
    image, maps = scene
    sets, eigenvalues = espirit(fft2c(maps * image), n_maps=3, crop=-1.0, return_eigenvalues=True)
    assert sets.shape == (3, 6, 40, 32) and eigenvalues.shape == (3, 40, 32)
    gram = torch.einsum("achw,bchw->hwab", sets.conj(), sets)
    assert torch.allclose(gram, torch.eye(3, dtype=gram.dtype).expand_as(gram))
    assert (eigenvalues.diff(dim=0) <= 0).all()


def test_a_smaller_calibration_block_is_used_as_it_is(scene):
    image, maps = scene
    kspace = fft2c(maps * image) * UniformMask(4, 12)((40, 32))
    # 12 lines and a neighbour that is sampled anyway; 24 would take zeros for data
    found = espirit(kspace, kernel=5)
    assert alignment(found * (image > 0), maps).mean() > 0.995


SEEDED = torch.Generator().manual_seed(0)
KSPACE = torch.randn(2, 3, 16, 16, dtype=torch.complex64, generator=SEEDED)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: espirit(KSPACE * UniformMask(4, 0)((16, 16))), "at least 6 x 6 .*, got 16 x 1"),
        (lambda: espirit(KSPACE * UniformMask(8, 4)((16, 16))), "got 16 x 4. Sample a calibration"),
        (lambda: espirit(KSPACE * torch.tensor([1, 0])[:, None, None, None]), "a slice of zeros"),
        (lambda: espirit(KSPACE / 0), r"finite, got \d+ NaN or infinite values of 1536"),
        (lambda: espirit(KSPACE.real), "must be complex"),
        (lambda: espirit(KSPACE, n_maps=4), "at most the 3 coils, got 4"),
        (lambda: espirit(KSPACE, n_maps=3, virtual_coils=2), "at least the 3 maps, got 2"),
        (lambda: espirit(KSPACE, virtual_coils=-1), "`virtual_coils` must be at least 1"),
        (lambda: espirit(KSPACE, virtual_coils=0), "`virtual_coils` must be at least 1, got 0"),
        (lambda: espirit(KSPACE, calibration=5), "`calibration` must be at least 6, got 5"),
        (lambda: espirit(KSPACE, crop=1.0), "`crop` must be below 1"),
        (lambda: espirit(KSPACE, threshold=0.95), r"exceed `crop` = 0.8 .*, got 0\.\d+ at most"),
        (lambda: estimate_coil_maps(KSPACE[0]), "four axes .*Use `espirit` for a slice"),
        (lambda: estimate_coil_maps(KSPACE, chunk_size=0), "`chunk_size` must be at least 1"),
    ],
)
def test_bad_input(make, text):
    with pytest.raises(ValueError, match=text) as error:
        make()
    assert "\n" not in str(error.value)


def read_sets(path):
    """Maps of `bart ecalib -m`: (M, C, H, W)."""
    sizes = [int(n) for n in path.with_suffix(".hdr").read_text().split("\n")[1].split()]
    data = np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(sizes[:5], order="F")
    return torch.from_numpy(np.ascontiguousarray(data[0].transpose(3, 2, 0, 1)))


def write_cfl(path, kspace):
    data = kspace.permute(1, 2, 0)[None].numpy()
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, data.shape)) + "\n")
    data.ravel(order="F").tofile(path.with_suffix(".cfl"))


@pytest.fixture(scope="module")
def small_field(brain):
    """A third of the brain's rows overlap: 152 rows of the field of view instead of 230."""
    image = ifft2c(brain)
    wrapped = image[:, 39:191].clone()  # the origin, row 115, becomes 76 = 152 // 2
    wrapped[:, -39:] += image[:, :39]
    wrapped[:, :39] += image[:, 191:]
    return fft2c(wrapped)


@needs_brain
@pytest.mark.skipif(not shutil.which("bart"), reason="bart is not installed")
def test_two_maps_agree_with_bart(small_field, tmp_path):
    write_cfl(tmp_path / "kspace", small_field)
    command = ["bart", "ecalib", "-m2", "-r24", "kspace", "maps"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    theirs = read_sets(tmp_path / "maps")
    ours = espirit(small_field, n_maps=2)
    for m in (0, 1):
        differ = support(ours[m]) ^ support(theirs[m])
        assert differ.sum() < 0.02 * support(theirs[m]).sum()
    both = support(ours[1]) & support(theirs[1])
    single = support(ours[0]) & support(theirs[0]) & ~both
    product = (ours[0].conj() * theirs[0]).sum(dim=0).abs()
    assert single.sum() > 1000 and product[single].mean() > 0.9999
    # two eigenvalues near one hardly tell the sets apart, but the plane they span is the same
    gram = torch.einsum("achw,bchw->hwab", theirs.conj(), ours)[both]
    assert both.sum() > 1000 and torch.linalg.svdvals(gram)[:, 1].mean() > 0.995


@needs_brain
def test_two_maps_explain_the_fold_over(small_field):
    one, two = (espirit(small_field, n_maps=n) for n in (1, 2))
    images = ifft2c(small_field)
    lit = rss(images) > 0.1 * rss(images).max()

    def unexplained(maps):
        """Share of the energy that does not lie in the span of orthonormal maps (M, C, H, W)."""
        parts = torch.einsum("mchw,chw->mhw", maps.conj(), images)
        rest = images - torch.einsum("mchw,mhw->chw", maps, parts)
        return float((rest[:, lit].norm() / images[:, lit].norm()) ** 2)

    assert unexplained(two) < 0.3 * unexplained(one[None])


@needs_brain
def test_compressed_calibration_gives_nearly_the_same_maps(brain):
    whole, fewer = espirit(brain), espirit(brain, virtual_coils=6)
    assert alignment(whole, fewer).mean() > 0.997
    # the phase reference is the same as well
    both = support(whole) & support(fewer)
    assert (whole - fewer)[:, both].norm() < 0.1 * whole[:, both].norm()
    assert torch.equal(espirit(brain, virtual_coils=8), whole)


def test_many_coils_take_the_smaller_gram_matrix(scene):
    """12 coils: more columns of the calibration matrix than patches; the maps do not change."""
    image, maps = scene
    kspace = fft2c(torch.cat([maps, maps.flip(0).roll(1, 2) * 1j]) * image)
    found = espirit(kspace, calibration=18, crop=0.7)
    few = espirit(kspace, calibration=24, crop=0.7)
    assert alignment(found * (image > 0), few).mean() > 0.999


def test_a_dead_coil_leaves_the_others_as_they_are(scene):
    image, maps = scene
    kspace = fft2c(maps * image)
    kspace[2] = 0
    alive = [0, 1, 3, 4, 5]
    found = espirit(kspace)
    assert_close(found[2], 0.0, relative=1e-9, scale=1.0)
    assert torch.allclose(found[alive], espirit(kspace[alive]), atol=1e-8)


def test_empty_slices_of_a_volume_get_no_maps(scene):
    image, maps = scene
    kspace = torch.stack([fft2c(maps * image), torch.zeros_like(maps), fft2c(maps * image)])
    for n_maps, shape in ((1, (3, 6, 40, 32)), (2, (3, 2, 6, 40, 32))):
        found = estimate_coil_maps(kspace, n_maps=n_maps)
        assert found.shape == shape and not found[1].any()
        assert torch.allclose(found[2], espirit(kspace[2], n_maps=n_maps))


@needs_brain
@pytest.mark.skipif(not shutil.which("bart"), reason="bart is not installed")
def test_few_lines_are_used_as_by_bart(brain, tmp_path, read_cfl):
    """10 of 180 lines, and an eleventh beside them: BART's block is 24 x 11."""
    brain = brain[:, 115 - 48 : 115 + 48, 90 - 36 : 90 + 36].contiguous()  # for speed
    masked = brain * UniformMask(3, 10)(brain.shape)
    write_cfl(tmp_path / "masked", masked)
    arguments = ["bart", "ecalib", "-m1", "masked", "maps"]
    subprocess.run(arguments, cwd=tmp_path, check=True, capture_output=True)
    theirs, ours = read_cfl(tmp_path / "maps"), espirit(masked)
    assert alignment(ours, theirs).mean() > 0.9999
    assert (support(ours) ^ support(theirs)).float().mean() < 0.01
    rows, columns = calibration_region(masked[None], 24)
    assert rows.stop - rows.start == 24 and 11 <= columns.stop - columns.start <= 12


def test_the_calibration_follows_the_peak(scene):
    image, maps = scene
    kspace = fft2c(maps * image)
    moved = kspace.roll((7, -6), (-2, -1))
    assert peak_offset(kspace) == (0, 0) and peak_offset(moved) == (7, -6)
    # k-space that is shifted means a phase ramp over the image, which is in no map
    expected, found = espirit(kspace, calibration=16), espirit(moved, calibration=16)
    assert alignment(found, expected)[image[support(found) & support(expected)] > 0].min() > 0.99
    assert peak_offset(torch.randn(4, 32, 24, dtype=torch.complex64)) == (0, 0)
