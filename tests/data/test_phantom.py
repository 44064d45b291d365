import json
import socket
import sys

import h5py
import numpy as np
import pytest
import torch
from scipy import ndimage

pytest.importorskip("nilearn", reason="the extra `phantom` is not installed")

from tolerances import assert_close

from monarch_sciml._checks import UsageError
from monarch_sciml.data.phantom import generate_scans, simulate_scan
from monarch_sciml.data.phantom.anatomy import (
    CONTRASTS,
    _template,
    load_anatomy,
    sample,
    tissue_signals,
)
from monarch_sciml.data.phantom.head import ORIENTATIONS, slice_points
from monarch_sciml.data.phantom.receivers import SOFTENING, loop_array, receive_field
from monarch_sciml.data.phantom.simulate import _measure
from monarch_sciml.data.phantom.smooth import random_smooth, refine
from monarch_sciml.data.scans.formats.fastmri import read_fastmri
from monarch_sciml.physics import ReadoutErrors
from monarch_sciml.physics.espirit import estimate_coil_maps
from monarch_sciml.physics.sense_operator import combine, fft2c, ifft2c

SMALL = {"grid_shape": (48, 40), "n_slices": 3, "n_coils": 5}


@pytest.fixture(scope="module")
def quiet():
    return simulate_scan(1, noise=0.0, **SMALL).validate()


def test_shapes_and_description(quiet):
    assert quiet.kspace.shape == quiet.coil_maps.shape == (3, 5, 48, 40)
    assert quiet.target.shape == (3, 48, 40)
    assert {x.dtype for x in (quiet.kspace, quiet.coil_maps, quiet.target)} == {torch.complex64}
    assert quiet.acceleration == 1.0
    drawn = json.loads(quiet.header["attributes"]["drawn"])
    assert drawn["orientation"] == "axial" and drawn["contrast"] in CONTRASTS
    assert quiet.header["acquisition"] == "AX" + drawn["contrast"]


def test_maps_are_normalised_and_target_is_the_combination(quiet):
    power = quiet.coil_maps.abs().square().sum(1)
    head = power > 0.5
    torch.testing.assert_close(power, head.float(), rtol=1e-5, atol=1e-5)
    images = ifft2c(quiet.kspace)
    assert 0.2 < head.float().mean() < 0.8
    assert images.abs().square().sum(1)[~head].sum() < 1e-3 * images.abs().square().sum()
    combined = combine(ifft2c(quiet.kspace), quiet.coil_maps)
    torch.testing.assert_close(quiet.target, combined, rtol=1e-4, atol=1e-5)
    assert np.quantile(quiet.target.abs().numpy(), 0.95) == pytest.approx(1, rel=2e-3)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("grid_shape", [(48, 48), (45, 52)])
def test_the_sense_model_nearly_holds_and_the_head_lies_in_the_field_of_view(
    orientation, grid_shape
):
    scan = simulate_scan(
        0, grid_shape=grid_shape, n_slices=2, n_coils=4, noise=0, orientation=orientation
    )
    modelled = fft2c(scan.coil_maps * scan.target[:, None])
    error = ((modelled - scan.kspace).norm() / scan.kspace.norm()).item()
    assert 1e-4 < error < 0.04  # the maps vary within a pixel: no inverse crime
    image = scan.target.abs()
    edges = [image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]]
    assert max(edge.max() for edge in edges) < 0.15 * image.max()
    assert (image > 0.1 * image.max()).float().mean() > 0.15


def test_espirit_finds_the_true_maps():
    scan = simulate_scan(3, grid_shape=(64, 64), n_slices=1, n_coils=4)
    estimated = estimate_coil_maps(scan.kspace)
    overlap = (estimated.conj() * scan.coil_maps).sum(1).abs()
    assert overlap[scan.target.abs() > 0.2].mean() > 0.99


def test_noise_has_the_stated_level(quiet):
    noisy = simulate_scan(1, noise=0.1, **SMALL)
    difference = noisy.kspace - quiet.kspace
    torch.testing.assert_close(noisy.target, quiet.target, rtol=0, atol=0)
    assert difference.abs().square().mean().sqrt().item() == pytest.approx(0.1, rel=0.02)
    real, imaginary = difference.real.std().item(), difference.imag.std().item()
    assert real == pytest.approx(imaginary, rel=0.05)
    assert difference.mean().abs().item() < 0.003


def test_equal_seeds_give_equal_scans_and_others_do_not(quiet):
    again, other = simulate_scan(1, noise=0.0, **SMALL), simulate_scan(2, noise=0.0, **SMALL)
    for name in ("kspace", "coil_maps", "target"):
        assert torch.equal(getattr(again, name), getattr(quiet, name))
        assert not torch.equal(getattr(other, name), getattr(quiet, name))
    assert again.header == quiet.header
    a, b = (scan.target.abs().flatten() for scan in (quiet, other))
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] < 0.97  # another subject
    assert not torch.equal(
        simulate_scan((1, 0), **SMALL).target, simulate_scan((1, 1), **SMALL).target
    )


def test_contrasts_order_the_tissues_as_radiology_does():
    rng = np.random.default_rng(0)
    for _ in range(20):
        signals = {name: tissue_signals(name, rng) for name in CONTRASTS}
        assert all(max(values.values()) == 1 for values in signals.values())
        for name, order in {
            "T1": ("white matter", "grey matter", "fluid"),
            "T2": ("fluid", "grey matter", "white matter"),
            "FLAIR": ("lesion", "white matter", "fluid"),
            "PD": ("grey matter", "white matter", "bone"),
        }.items():
            values = [signals[name][tissue] for tissue in order]
            assert values == sorted(values, reverse=True), (name, order, values)


def test_choices_are_honoured():
    for contrast in CONTRASTS:
        scan = simulate_scan(
            0, grid_shape=(16, 16), n_slices=1, n_coils=1, contrast=contrast, orientation="random"
        )
        prefixes = {view.prefix for view in ORIENTATIONS.values()}
        assert scan.header["acquisition"] in {prefix + contrast for prefix in prefixes}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"seed": -1}, "`seed` must be zero or positive, got -1"),
        ({"noise": -0.1}, "`noise` must be zero or positive"),
        ({"noise": float("nan")}, "`noise` must be zero or positive"),
        ({"grid_shape": (4, 64)}, "`grid_shape` must be at least 8"),
        ({"n_slices": 0}, "`n_slices` must be at least 1"),
        ({"n_coils": 0}, "`n_coils` must be at least 1"),
        ({"contrast": "CT"}, "`contrast` must be one of 'random', 'T1'"),
        ({"orientation": "oblique"}, "`orientation` must be one of"),
    ],
)
def test_bad_settings_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        simulate_scan(**{"seed": 0, **options})


@pytest.mark.parametrize("n", [8, 9])
@pytest.mark.parametrize("m", [10, 11])
def test_centre_and_intensity_of_object_scan_and_maps_agree(n, m):
    # the object is a plane wave of 2 and 1 periods, in phase at the centre of 2 n x 2 m points
    rows, columns = torch.arange(2 * n) - n, torch.arange(2 * m) - m
    turns = 2 * rows[:, None] / (2 * n) + columns / (2 * m)
    wave = torch.polar(torch.ones(2 * n, 2 * m), 2 * torch.pi * turns)
    positions = (rows[:, None] / 2 + 1j * columns / 2).to(torch.complex64)  # in pixels of the scan
    maps = torch.stack([torch.ones_like(positions), positions])
    kspace, kept = _measure(wave[None], maps[None], (n, m))
    peak = torch.zeros(n, m, dtype=torch.complex64)
    peak[n // 2 + 2, m // 2 + 1] = (n * m) ** 0.5  # an intensity of one, orthonormal
    torch.testing.assert_close(kspace[0, 0], peak, rtol=1e-4, atol=1e-4)
    expected = (torch.arange(n) - n // 2)[:, None] + 1j * (torch.arange(m) - m // 2)
    torch.testing.assert_close(kept[0, 1], expected.to(torch.complex64))


def test_anatomy_is_sampled_linearly():
    anatomy = load_anatomy()
    rng = np.random.default_rng(0)
    points = rng.uniform((-75, -110, -75), (75, 75, 85), size=(500, 3)).astype(np.float32)
    values = sample(anatomy, torch.from_numpy(points)).numpy()
    voxels = (points + anatomy.origin.numpy()).T
    for volume, got in zip(anatomy.volumes.numpy(), values):
        expected = ndimage.map_coordinates(volume, voxels, order=1, cval=0.0)
        inside = (voxels.min(0) > 0) & (voxels[2] < 187)
        np.testing.assert_allclose(got[inside], expected[inside], atol=2e-3)


def test_anatomy_is_that_of_the_template():
    anatomy = load_anatomy()
    shares = anatomy.volumes[:3]
    total = shares.sum(0)
    assert shares.min() >= 0 and total.max() < 1 + 1e-5
    assert 1.7e6 < total.sum() < 2.1e6  # mm^3: the brain and the fluid in its clefts
    # MNI coordinates in mm: white matter, lateral ventricle, head of the caudate nucleus
    points = torch.tensor([[26.0, -20.0, 34.0], [4.0, 6.0, 12.0], [13.0, 15.0, 10.0]])
    grey, white, fluid, *_ = sample(anatomy, points)
    assert white[0] > 0.9 and fluid[1] > 0.8 and grey[2] > 0.8


def test_nothing_is_downloaded(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    t1, grey, white, origin = _template()
    assert t1.shape == grey.shape == white.shape == (197, 233, 189)
    assert origin.tolist() == [98.0, 134.0, 72.0]


def test_missing_nilearn_names_the_extra(monkeypatch):
    for name in ("nilearn", "nilearn.datasets"):  # the second may have been imported already
        monkeypatch.setitem(sys.modules, name, None)
    rule = (
        r"simulating scans needs the package nilearn, .* pip install \"monarch_sciml\[phantom\]\""
    )
    with pytest.raises(ValueError, match=rule):
        load_anatomy.__wrapped__()


def test_field_on_the_axis_of_a_loop_is_that_of_the_textbook():
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    radius = 50.0
    loop = radius * np.stack([np.zeros(400), np.cos(turn), np.sin(turn)], axis=-1)  # normal is x
    depth = np.array([0.0, 20.0, 60.0, 150.0])
    points = np.stack([depth, 0 * depth, 0 * depth], axis=-1)
    field = receive_field(loop[None], points)[0]
    expected = 2 * np.pi * radius**2 / (radius**2 + SOFTENING**2 + depth**2) ** 1.5
    np.testing.assert_allclose(field.real, expected, rtol=1e-3)
    assert_close(field.imag, 0.0, scale=float(np.abs(field).max()))


@pytest.mark.parametrize("n_coils", [1, 8, 16])
def test_loops_surround_the_head(n_coils):
    loops = loop_array(n_coils, np.random.default_rng(0))
    assert loops.shape[0] == n_coils and loops.shape[2] == 3
    centers = loops.mean(1)
    distance = np.hypot(centers[:, 0], centers[:, 1])
    assert (distance > 110).all() and (distance < 175).all()
    if n_coils > 1:
        assert np.abs(centers[:, :2].mean(0)).max() < 25


def test_smooth_functions_have_unit_variance_and_survive_interpolation():
    rng = np.random.default_rng(0)
    points = rng.uniform(-2000, 2000, size=(4000, 3))
    spread = [random_smooth(points, np.random.default_rng(i), (50, 100)).var() for i in range(40)]
    assert np.mean(spread) == pytest.approx(1, rel=0.15)
    coarse, _ = slice_points("axial", (64, 50), 2, np.random.default_rng(1))
    fine = refine(np.moveaxis(coarse, -1, 0), (64, 50)).movedim(0, -1)
    assert fine.shape == (2, 128, 100, 3)
    got = refine(random_smooth(coarse, np.random.default_rng(3), (60, 90)), (64, 50))
    expected = random_smooth(fine.double().numpy(), np.random.default_rng(3), (60, 90))
    np.testing.assert_allclose(got, expected, atol=5e-3)


def test_slices_are_parallel_and_square():
    for orientation, view in ORIENTATIONS.items():
        points, facts = slice_points(orientation, (64, 48), 5, np.random.default_rng(0))
        normal = "xyz".index(view.normal)
        levels = points[..., normal].reshape(5, -1)
        assert (levels == levels[:, :1]).all()
        np.testing.assert_allclose(np.diff(levels[:, 0]), facts["gap_mm"], atol=1e-4)
        fine = refine(np.moveaxis(points, -1, 0), (64, 48))
        steps = (fine[:, 0, 1, 0] - fine[:, 0, 0, 0], fine[:, 0, 0, 1] - fine[:, 0, 0, 0])
        for step in steps:
            assert step.norm().item() == pytest.approx(facts["pixel_mm"] / 2, rel=1e-3)
        center = fine[:, 0, 64, 48]  # fine pixel N of 2 N is the scanner's origin in the plane
        assert center[[k for k in range(3) if k != normal]].abs().max() < 1e-3


def test_generated_files_are_kept_repeated_and_extended(tmp_path):
    options = {"grid_shape": (16, 16), "n_slices": 2, "n_coils": 2, "seed": 5, "progress": False}
    assert generate_scans(tmp_path / "a", 2, **options) == tmp_path / "a"
    names = ["scan_0000.h5", "scan_0001.h5"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    first, second = (tmp_path / "a" / name for name in names)
    before, stamp = second.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    generate_scans(tmp_path / "a", 3, **options)
    assert first.stat().st_mtime_ns == stamp
    assert second.read_bytes() == before
    assert (tmp_path / "a" / "scan_0002.h5").exists()
    with pytest.raises(ValueError, match="same settings and seed to be kept"):
        generate_scans(tmp_path / "a", 3, **{**options, "noise": 0.5})
    with pytest.raises(ValueError, match="same settings and seed to be kept"):
        generate_scans(tmp_path / "a", 3, **{**options, "seed": 6})
    with pytest.raises(ValueError, match="`n_scans` must be at least 1"):
        generate_scans(tmp_path / "a", 0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"noise": -1.0}, "`noise` must be zero or positive"),
        ({"n_coils": 0}, "`n_coils` must be at least 1"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"grid_shape": (16, 4)}, "`grid_shape` must be at least 8"),
        ({"grid_shapes": [(16, 16), (16, 4)]}, "`grid_shape` must be at least 8, got 4"),
        ({"coil_counts": [4, 0]}, "`n_coils` must be at least 1, got 0"),
        ({"noise_levels": [0.1, -0.1]}, "`noise` must be zero or positive and finite, got -0.1"),
        ({"noise_levels": []}, "`noise_levels` must name at least one choice"),
    ],
)
def test_settings_out_of_range_are_errors_of_usage(tmp_path, change, match):
    """The command line ends with status 2, and no scan is simulated before."""
    with pytest.raises(UsageError, match=match):
        generate_scans(tmp_path / "a", 3, progress=False, **change)
    assert not list(tmp_path.iterdir())


def test_a_generated_file_says_how_it_was_made(tmp_path):
    options = {"grid_shape": (16, 18), "n_slices": 2, "n_coils": 2, "seed": 5, "noise": 0.1}
    generate_scans(tmp_path, 1, **options, progress=False)
    scan = read_fastmri(tmp_path / "scan_0000.h5").validate()
    attributes = scan.header["attributes"]
    settings = json.loads(attributes["parameters"])
    seed = json.loads(attributes["seed"])
    assert attributes["generator"] == "monarch_sciml.data.phantom.simulate_scan"
    assert seed == [5, 0] and attributes["patient_id"] == "simulated_5_0"
    assert attributes["version"]
    again = simulate_scan(seed, **settings)  # the file holds all that is needed to make it again
    assert torch.equal(again.kspace, scan.kspace) and torch.equal(again.target, scan.target)
    with h5py.File(tmp_path / "scan_0000.h5") as file:
        assert {"kspace", "coil_maps", "target", "reconstruction_rss"} <= set(file)


@pytest.mark.parametrize("grid_shape", [(230, 180), (218, 170), (184, 160), (91, 75)])
@pytest.mark.parametrize("n_coils", [1, 12])
def test_matrices_of_scanners(grid_shape, n_coils):
    scan = simulate_scan(0, grid_shape=grid_shape, n_slices=1, n_coils=n_coils).validate()
    assert scan.kspace.shape == (1, n_coils, *grid_shape)
    noise_free = simulate_scan(0, grid_shape=grid_shape, n_slices=1, n_coils=n_coils, noise=0)
    modelled = fft2c(scan.coil_maps * scan.target[:, None])
    assert (modelled - noise_free.kspace).norm() < 0.05 * noise_free.kspace.norm()


def test_a_set_of_different_sizes(tmp_path):
    shapes, coils = [(40, 36), (36, 40), (32, 32)], [3, 5]
    options = {"n_slices": 1, "grid_shapes": shapes, "coil_counts": coils, "progress": False}
    generate_scans(tmp_path / "a", 12, **options)
    scans = [read_fastmri(path) for path in sorted((tmp_path / "a").iterdir())]
    sizes = [(scan.n_coils, *scan.matrix) for scan in scans]
    assert {size[1:] for size in sizes} == {*shapes} and {size[0] for size in sizes} == {*coils}
    # a scan depends on its own number alone, and is the one of its size made on its own
    generate_scans(tmp_path / "b", 2, **options)
    alone = read_fastmri(tmp_path / "b" / "scan_0001.h5")
    assert torch.equal(alone.kspace, scans[1].kspace)
    same = simulate_scan((0, 1), n_slices=1, n_coils=sizes[1][0], grid_shape=sizes[1][1:])
    assert torch.equal(same.kspace, alone.kspace)
    generate_scans(tmp_path / "a", 13, **options)  # a set can be extended
    with pytest.raises(ValueError, match="`coil_counts` must name at least one choice, got none"):
        generate_scans(tmp_path / "c", 1, coil_counts=[])


def test_a_set_of_different_noise(tmp_path):
    options = {"n_slices": 1, "grid_shape": (32, 32), "n_coils": 2, "progress": False}
    generate_scans(tmp_path / "a", 6, noise_levels=[0.01, 0.3], **options)
    scans = [read_fastmri(path) for path in sorted((tmp_path / "a").iterdir())]
    clean = [
        simulate_scan((0, i), n_slices=1, grid_shape=(32, 32), n_coils=2, noise=0) for i in range(6)
    ]
    noise = [(a.kspace - b.kspace).std() / b.kspace.std() for a, b in zip(scans, clean)]
    quiet = [level < 0.1 for level in noise]
    assert 0 < sum(quiet) < 6
    level = 0.01 if quiet[2] else 0.3
    same = simulate_scan((0, 2), n_slices=1, grid_shape=(32, 32), n_coils=2, noise=level)
    assert torch.equal(same.kspace, scans[2].kspace)
    with pytest.raises(ValueError, match="`noise_levels` must name at least one choice, got none"):
        generate_scans(tmp_path / "c", 1, noise_levels=[])


ERRORS = ReadoutErrors(ramp=0.125, delay=0.7, nonlinearity=4.0, off_resonance=3.0, seed=2)


def test_a_scanner_with_readout_errors_measures_the_same_object_elsewhere(quiet):
    scan = simulate_scan(1, noise=0.0, **SMALL, readout_errors=ERRORS).validate()
    for name in ("target", "coil_maps"):
        assert torch.equal(getattr(scan, name), getattr(quiet, name))
    assert (scan.kspace - quiet.kspace).norm() > 0.5 * quiet.kspace.norm()
    same = simulate_scan(1, noise=0.0, **SMALL, readout_errors=ReadoutErrors())
    assert_close(same.kspace, quiet.kspace)
    # The object lives on twice the resolution; on the scan's own pixels the sum is nearly as good.
    coil_images = quiet.coil_maps * quiet.target[:, None]
    modelled = ERRORS.measure(coil_images, SMALL["grid_shape"])
    assert (modelled - scan.kspace).norm() < 0.2 * scan.kspace.norm()


def test_a_phantom_has_the_geometry_of_its_seed_and_needs_no_template(monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    load_anatomy.cache_clear()
    scan = simulate_scan(3, subject="phantom", noise=0.0, **SMALL).validate()
    again = simulate_scan(3, subject="phantom", noise=0.0, **SMALL)
    assert torch.equal(scan.target, again.target)
    assert not torch.equal(scan.target[0].abs(), scan.target[1].abs())
    body = scan.coil_maps.abs().square().sum(1) > 0.5  # and two pixels around it
    rows, columns = (body.any(dim).any(0).sum().item() for dim in (2, 1))
    assert (rows, columns) == (48, 40)  # 0.92 of each, and two pixels on either side
    spectrum = fft2c(scan.target).abs().square().mean(0)
    assert spectrum[:8].mean() > 0.03 * spectrum.mean()  # signal at the edge of k-space too
    assert json.loads(scan.header["attributes"]["drawn"])["contrast"] == "phantom"


def test_a_phantom_of_a_scanner_with_errors_can_be_made_again_from_its_file(tmp_path):
    options = {"grid_shape": (16, 18), "n_slices": 2, "n_coils": 2, "seed": 5, "progress": False}
    options |= {"subject": "phantom", "readout_errors": ERRORS}
    generate_scans(tmp_path, 1, **options)
    scan = read_fastmri(tmp_path / "scan_0000.h5").validate()
    attributes = scan.header["attributes"]
    again = simulate_scan([5, 0], **json.loads(attributes["parameters"]))
    assert torch.equal(again.kspace, scan.kspace) and torch.equal(again.coil_maps, scan.coil_maps)
    generate_scans(tmp_path, 1, **options)  # kept
    with pytest.raises(ValueError, match="same settings and seed to be kept"):
        generate_scans(tmp_path, 1, **{**options, "readout_errors": None})
    with pytest.raises(ValueError, match="`subject` must be one of 'head', 'phantom', got 'cat'"):
        generate_scans(tmp_path, 1, **{**options, "subject": "cat"})
