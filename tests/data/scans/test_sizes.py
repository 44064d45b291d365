"""Sizes by rule: image and k-space cut and padded, oversampling off, what cannot be done."""

import pytest
import torch
from tolerances import assert_close

from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.sizes import SizeRules, cut_or_pad
from monarch_sciml.data.scans.source import ScanFacts
from monarch_sciml.physics import UniformMask, combine, fft2c, ifft2c


def smooth(height, width):
    """Complex Gaussian bump: band-limited and inside the field of view to 1e-12."""
    y = (torch.arange(height) - height // 2).double()[:, None]
    x = (torch.arange(width) - width // 2).double()
    return torch.exp(-(y**2 + x**2) / 18) * torch.exp(0.3j * y - 0.2j * x)


def scan_of(height, width, n_coils=2, **options):
    image = smooth(height, width)
    maps = torch.tensor([0.6, 0.8j], dtype=torch.complex128)[:n_coils, None, None]
    maps = maps.expand(n_coils, height, width)
    kspace = fft2c(maps * image)[None]
    return Scan(kspace, coil_maps=maps[None], target=image[None], **options), maps[None]


def facts_of(scan, **windows):
    shape = (scan.n_slices, scan.n_coils, *scan.matrix)
    rows, columns = (0, shape[2]), (0, shape[3])
    found = {"rows": rows, "columns": columns, **windows}
    return ScanFacts(shape, found["rows"], found["columns"], "a")


@pytest.mark.parametrize("old", [(40, 36), (41, 35)])
@pytest.mark.parametrize("new", [(32, 30), (31, 29), (50, 47), (48, 31)])
def test_image_rule_keeps_the_pixels(old, new):
    scan, maps = scan_of(*old)
    rules = SizeRules(matrix=new)
    cut, cut_maps = rules.apply(scan, maps)
    assert cut.matrix == new and rules.shape(facts_of(scan)) == (2, *new)
    torch.testing.assert_close(cut.target[0], smooth(*new))
    images = combine(ifft2c(cut.kspace), cut_maps)
    # maps do not reach beyond the old field of view, the bump neither
    assert_close(images[0], smooth(*new), relative=1e-6)
    assert bool(cut.mask.all())


@pytest.mark.parametrize("new", [(32, 30), (31, 29), (50, 47), (48, 31)])
def test_kspace_rule_keeps_the_field_of_view(new):
    scan, maps = scan_of(40, 36)
    cut, cut_maps = SizeRules(matrix=new, resize="kspace").apply(scan, maps)
    expected = cut_or_pad(cut_or_pad(scan.kspace, new[0], -2), new[1], -1)
    torch.testing.assert_close(cut.kspace, expected)
    torch.testing.assert_close(cut_maps, cut_maps[..., :1, :1].expand(1, 2, *new))
    # target and k-space keep fitting one another
    torch.testing.assert_close(combine(ifft2c(cut.kspace), cut_maps), cut.target)
    n = [min(a, b) for a, b in zip((40, 36), new)]
    assert cut.mask.sum() == n[0] * n[1]
    assert cut.acceleration == 1.0 and cut.fully_sampled  # what was added was never encoded


def test_the_centre_stays_the_centre():
    for old in (6, 7):
        for new in (3, 4, 9, 10):
            point = torch.zeros(old)
            point[old // 2] = 1
            assert cut_or_pad(point, new, 0)[new // 2] == 1


def test_oversampling_is_dropped_along_the_rows():
    inner, _ = scan_of(20, 24)
    outer = torch.zeros(1, 2, 40, 24, dtype=torch.complex128)
    outer[:, :, 10:30] = ifft2c(inner.kspace)
    mask = UniformMask(2, 6)((40, 24)).bool()
    scan = Scan(fft2c(outer) * mask, mask)
    rules = SizeRules(remove_oversampling=True)
    found, _ = rules.apply(scan)
    assert found.matrix == (20, 24) and rules.shape(facts_of(scan)) == (2, 20, 24)
    torch.testing.assert_close(found.kspace, inner.kspace * mask[:20])
    assert torch.equal(found.mask, mask[:20])


def test_only_complete_axes_can_be_cut_in_the_image():
    scan, _ = scan_of(40, 36)
    under = scan.undersampled(UniformMask(3, 6)((40, 36)))
    with pytest.raises(ValueError, match=r"along axis -1 when k-space is complete, got accel") as e:
        SizeRules(matrix=(40, 30)).apply(under)
    assert "\n" not in str(e.value) and 'resize="kspace"' in str(e.value)
    cut, _ = SizeRules(matrix=(30, 36)).apply(under)  # all rows are there
    assert torch.equal(cut.mask, under.mask[:30])
    kept, _ = SizeRules(matrix=(30, 30), resize="kspace").apply(under)
    assert torch.equal(kept.mask, under.mask[5:35, 3:33])


@pytest.mark.parametrize("resize", ["image", "kspace"])
def test_padding_columns_are_followed(resize):
    scan, _ = scan_of(24, 40)
    scan.kspace[..., :4] = scan.kspace[..., 36:] = 0
    padded = Scan(scan.kspace, header={"padding": (4, 36)})
    rules = SizeRules(matrix=(24, 30), resize=resize)
    cut, _ = rules.apply(padded)
    encoded = rules.encoded(facts_of(padded, columns=(4, 36)))
    assert encoded == ((0, 24), cut.header["padding"]) == cut.encoded
    share = (encoded[1][1] - encoded[1][0]) / 30
    assert share == pytest.approx(0.8 if resize == "image" else 1.0, abs=0.07)
    assert cut.fully_sampled and cut.acceleration == pytest.approx(1.0)


def test_a_reference_of_another_size_or_magnitude_is_dropped():
    scan, maps = scan_of(40, 36)
    for target in (scan.target.abs(), scan.target[..., :20]):
        cut, _ = SizeRules(matrix=(32, 32)).apply(Scan(scan.kspace, target=target), maps)
        assert cut.target is None


def test_maps_keep_their_norm_and_their_support():
    scan, maps = scan_of(40, 36)
    maps = maps.clone()
    maps[..., :10, :] = 0
    _, coarse = SizeRules(matrix=(20, 18), resize="kspace").apply(scan, maps)
    norm = coarse.norm(dim=1)
    assert torch.allclose(norm[:, :4], torch.zeros(()).double())
    torch.testing.assert_close(norm[:, 6:], torch.ones(1, 14, 18).double())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SizeRules(matrix=(0, 4)), "`matrix` must be at least 1, got 0"),
        (lambda: SizeRules(matrix=(4,)), r"`matrix` must be \(H, W\)"),
        (lambda: SizeRules(coils=0), "`coils` must be at least 1"),
        (lambda: SizeRules(resize="crop"), "`resize` must be one of 'image', 'kspace'"),
    ],
)
def test_bad_rules(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_a_transformed_readout_has_no_oversampling_to_remove():
    scan, _ = scan_of(8, 8, transformed=("readout",))
    with pytest.raises(ValueError, match="needs the readout of scan along the rows, got a scan in"):
        SizeRules(remove_oversampling=True).apply(scan)
