"""Ragged sets, map sets, maps from files and on disk, stored masks, empty slices, memory."""

import types

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from monarch_sciml._memory import available_bytes
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.map_files import read_coil_maps
from monarch_sciml.data.scans.mask_files import StoredMask
from monarch_sciml.data.scans.module import ScanModule
from monarch_sciml.data.scans.samples import ScanDataset
from monarch_sciml.data.scans.scale import normalization_level
from monarch_sciml.data.scans.sizes import SizeRules
from monarch_sciml.physics import espirit
from monarch_sciml.physics.sampling import FullMask, RandomMask, UniformMask
from monarch_sciml.physics.sense_operator import combine, fft2c, ifft2c
from monarch_sciml.solvers import CGSENSE

SHAPE = (24, 20)
MASK = RandomMask(0.4, 2)


@pytest.fixture
def ragged_set(smooth_scan):
    """Six volumes of three sizes and coil counts."""

    def write(folder, stored=True):
        sizes = [(24, 20), (20, 18), (24, 20), (26, 21), (20, 18), (24, 20)]
        coils = [4, 4, 3, 6, 4, 4]
        for i, (shape, n_coils) in enumerate(zip(sizes, coils)):
            scan = smooth_scan(i, n_slices=2, n_coils=n_coils, shape=shape, stored=stored)
            write_fastmri(folder / f"scan_{i}.h5", scan, attributes={"patient_id": str(i)})
        return sorted(folder.glob("*.h5")), sizes, coils

    return write


def test_a_ragged_set_is_refused_with_the_remedies(tmp_path, ragged_set):
    paths, _, _ = ragged_set(tmp_path)
    text = r"\(4, 24, 20\) of scan_0.h5, got \(4, 20, 18\) in scan_1.h5. Pass `matrix` and `coils`"
    with pytest.raises(ValueError, match=text):
        ScanDataset(paths, MASK)


@pytest.mark.parametrize("coil_maps", ["stored", "espirit", "walsh"])
@pytest.mark.parametrize("resize", ["image", "kspace"])
def test_a_ragged_set_by_rule(tmp_path, coil_maps, resize, ragged_set):
    paths, _, _ = ragged_set(tmp_path)
    rules = SizeRules(matrix=(22, 20), coils=4, resize=resize)
    mask = UniformMask(2, 8)
    data = ScanDataset(paths, mask, coil_maps=coil_maps, rules=rules)
    assert data.batch_groups is None and len(data) == 12
    (batch,) = DataLoader(data, batch_size=12)
    assert batch["masked_kspace"].shape == batch["coil_maps"].shape == (12, 4, 22, 20)
    norm = batch["coil_maps"].norm(dim=1)
    # of six stored maps four virtual ones hold nearly everything
    lit, lost = norm > 0.5, 0.1 if coil_maps == "stored" else 1e-3
    torch.testing.assert_close(norm[lit], torch.ones_like(norm[lit]), rtol=0, atol=lost)
    # k-space, maps and target still belong together: fully sampled, the target comes out
    full = ScanDataset(paths, FullMask(), coil_maps=coil_maps, rules=rules)[1]
    image = combine(ifft2c(full["masked_kspace"]), full["coil_maps"])
    error = (image - full["target"]).norm() / full["target"].norm()
    assert error < (0.1 if coil_maps == "stored" else 1e-4)


def test_coils_are_compressed_with_the_energy_of_the_undersampled_kspace(tmp_path, ragged_set):
    paths, _, _ = ragged_set(tmp_path)
    plain = ScanDataset(paths[:1], MASK)
    fewer = ScanDataset(paths[:1], MASK, rules=SizeRules(coils=3))
    more = ScanDataset(paths[:1], MASK, rules=SizeRules(coils=6))
    for i in range(2):
        energy = [(d[i]["masked_kspace"] * d[i]["scale"]).norm() ** 2 for d in (plain, fewer, more)]
        samples = (plain[i]["masked_kspace"] * plain[i]["scale"]).flatten(1)
        values = torch.linalg.svdvals(samples) ** 2
        torch.testing.assert_close(energy[1], values[:3].sum())
        torch.testing.assert_close(energy[2], energy[0])
        assert not more[i]["masked_kspace"][4:].any()
        torch.testing.assert_close(more[i]["target"], plain[i]["target"])


def test_a_ragged_set_in_groups(tmp_path, ragged_set):
    paths, sizes, coils = ragged_set(tmp_path)
    data = ScanDataset(paths, MASK, group_sizes=True)
    expected = [(c, *size) for c, size in zip(coils, sizes) for _ in range(2)]
    assert data.batch_groups == expected
    assert [tuple(data[i]["masked_kspace"].shape) for i in range(12)] == expected
    alike = ScanDataset([paths[0], paths[5]], MASK, group_sizes=True)
    assert alike.batch_groups is None
    module = ScanModule(tmp_path, MASK, 4, 0, 2, group_sizes=True)
    shapes = [(coils[i], *sizes[i]) for i in (int(p.stem[-1]) for p in module.train_paths)]
    most = max(set(shapes), key=lambda shape: (shapes.count(shape), shape))
    assert (module.spec.n_coils, *module.spec.grid_shape) == most


def test_two_map_sets(tmp_path, smooth_scan, write_set):
    paths = write_set(tmp_path, 1, n_slices=2, n_coils=6, shape=(32, 28))
    data = ScanDataset(paths, UniformMask(2, 12), coil_maps="espirit", n_maps=2)
    sample = data[0]
    assert sample["coil_maps"].shape == (2, 6, 32, 28) and sample["target"].shape == (32, 28)
    kspace = smooth_scan(0, 2, 6, (32, 28)).kspace[0] / sample["scale"]
    images = combine(ifft2c(kspace), espirit(kspace, n_maps=2))  # of the full k-space
    torch.testing.assert_close(sample["target"].abs(), images.norm(dim=0))
    shown = combine(ifft2c(kspace), sample["coil_maps"])[0]  # in the phase of the maps that it has
    both = (shown.abs() > 1e-3) & (sample["target"].abs() > 1e-3)
    turned = (shown * sample["target"].conj())[both]
    assert (turned.imag.abs() < 1e-3 * turned.abs()).all()
    batch = next(iter(DataLoader(data, batch_size=2)))
    solve = CGSENSE((32, 28))
    image = solve(batch["masked_kspace"], batch["mask"], batch["coil_maps"])
    error = (image - batch["target"]).norm() / batch["target"].norm()
    assert image.shape == (2, 32, 28) and error < 0.3
    for source in ("stored", "walsh"):
        with pytest.raises(ValueError, match=r"`n_maps` must be 1 for coil_maps=.* got 2"):
            ScanDataset(paths, MASK, coil_maps=source, n_maps=2)


@pytest.mark.parametrize("in_memory", [True, False])
def test_estimated_maps_are_kept_on_disk(tmp_path, monkeypatch, in_memory, write_set):
    (tmp_path / "scans").mkdir()
    paths = write_set(tmp_path / "scans", 2, n_slices=3)
    options = {"coil_maps": "espirit", "slices": (1, 3), "in_memory": in_memory}
    mask = UniformMask(2, 10)
    first = ScanDataset(paths, mask, maps_folder=tmp_path / "maps", **options)
    files = sorted((tmp_path / "maps").iterdir())
    assert len(files) == 4  # of each scan the maps of the mask and those of the reference
    maps = [read_coil_maps(file, (2, 4, *SHAPE)) for file in files[:2]]
    assert any(torch.equal(found[1], first[1]["coil_maps"]) for found in maps)
    plain = ScanDataset(paths, mask, **options)

    def never(*args, **options):
        raise AssertionError("estimated again")

    monkeypatch.setattr("monarch_sciml.data.scans.maps.estimate_maps", never)
    again = ScanDataset(paths, mask, maps_folder=tmp_path / "maps", **options)
    for i in range(4):
        for key, value in plain[i].items():
            torch.testing.assert_close(again[i][key], value, rtol=0, atol=0)
            torch.testing.assert_close(first[i][key], value, rtol=0, atol=0)
    # another mask, rule or file needs other maps
    (tmp_path / "others").mkdir()
    for other in (
        {"mask": UniformMask(3, 10)},
        {"rules": SizeRules(matrix=(22, 20))},
        {"paths": write_set(tmp_path / "others", 2)},
    ):
        changed = {"paths": paths, "mask": mask, "maps_folder": tmp_path / "maps", **options}
        with pytest.raises(AssertionError, match="estimated again"):
            ScanDataset(**{**changed, **other})


def test_maps_from_a_file_and_from_a_folder(tmp_path, smooth_scan, write_set):
    paths = write_set(tmp_path, 2, stored=False)
    for path in paths:
        np.save(tmp_path / f"{path.stem}.npy", smooth_scan(0).coil_maps.numpy())
    stored = smooth_scan(0)
    one = ScanDataset(paths, MASK, coil_maps=tmp_path / "scan_0000.npy")
    many = ScanDataset(paths, MASK, coil_maps=str(tmp_path))
    for i in (0, 4):
        torch.testing.assert_close(one[i]["coil_maps"], stored.coil_maps[0])
        torch.testing.assert_close(many[i]["target"], one[i]["target"])
    (tmp_path / "scan_0001.npy").unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty must hold the coil maps of scan_0000.h5"):
        ScanDataset(paths, MASK, coil_maps=tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="the file or folder of coil maps must exist"):
        ScanDataset(paths, MASK, coil_maps=tmp_path / "none.npy")
    np.save(tmp_path / "other.npy", np.ones((3, *SHAPE), np.complex64))
    with pytest.raises(ValueError, match=r"other.npy must have .* got \(3, 24, 20\)"):
        ScanDataset(paths, MASK, coil_maps=tmp_path / "other.npy")


def test_masks_stored_in_the_files(tmp_path, write_set):
    paths = write_set(tmp_path, 2)
    drawn = [UniformMask(2, 6)((20, 16)), UniformMask(3, 6)((20, 16))]
    for path, mask in zip(paths, drawn):
        with h5py.File(path, "r+") as file:
            file["masks/poisson_4.0x"] = mask.numpy()
    stored = StoredMask(dataset="masks/poisson_4.0x", zero_pad=True)
    data = ScanDataset(paths, stored)
    for i, mask in ((0, drawn[0]), (5, drawn[1])):
        assert torch.equal(data[i]["mask"][2:22, 2:18], mask)
        assert data[i]["mask"].sum() == mask.sum()
    with pytest.raises(ValueError, match=r"scan_0000.h5 must be \(24, 20\) .* got \(20, 16\)"):
        ScanDataset(paths, StoredMask(dataset="masks/poisson_4.0x"))


@pytest.mark.parametrize("coil_maps", ["espirit", "walsh"])
def test_empty_slices_have_no_maps_and_no_part_in_the_scale(tmp_path, coil_maps, smooth_scan):
    scan = smooth_scan(0, stored=False)
    scan.kspace[0] = scan.kspace[2] = 0
    scan.mask = torch.ones(SHAPE, dtype=torch.bool)
    write_fastmri(tmp_path / "a.h5", scan)
    data = ScanDataset([tmp_path / "a.h5"], UniformMask(2, 10), coil_maps=coil_maps)
    for key in ("masked_kspace", "coil_maps", "target"):
        assert not data[0][key].any() and not data[2][key].any() and data[1][key].any()
    alone = ScanDataset([tmp_path / "a.h5"], UniformMask(2, 10), coil_maps=coil_maps, slices=(1, 2))
    assert data[1]["scale"] == alone[0]["scale"]


def test_a_dead_coil_is_tolerated(tmp_path, smooth_scan):
    scan = smooth_scan(0, stored=False)
    scan.kspace[:, 1] = 0
    write_fastmri(tmp_path / "a.h5", scan)
    for rules in (None, SizeRules(coils=4)):
        data = ScanDataset(
            [tmp_path / "a.h5"], UniformMask(2, 10), coil_maps="espirit", rules=rules
        )
        assert data[0]["coil_maps"].isfinite().all() and data[0]["target"].abs().max() > 0
    assert (data[0]["coil_maps"].abs().amax((1, 2)) > 1e-6).sum() == 3


def test_a_level_has_a_lower_bound():
    images = torch.zeros(4, 50, 50)
    images[0, 3, 3] = 2.0  # 99.99 % of the volume is nothing
    assert normalization_level(images, "p95") == pytest.approx(2e-3)
    images[0] = torch.linspace(0, 1, 2500).reshape(50, 50)
    assert normalization_level(images, "p95") == pytest.approx(0.95, abs=1e-3)
    assert normalization_level(torch.zeros(2, 3, 3), "p95") == 0


def test_samples_that_do_not_fit_into_memory_are_refused(tmp_path, monkeypatch, write_set):
    paths = write_set(tmp_path, 2)
    bytes_needed = 6 * 24 * 20 * (8 * 9 + 4)
    monkeypatch.setattr("monarch_sciml._memory.available_bytes", lambda: bytes_needed - 1)
    text = r"6 samples of 218.9 kB must fit into memory, got 218.9 kB free. Pass in_memory=false"
    with pytest.raises(ValueError, match=text):
        ScanDataset(paths, MASK)
    assert len(ScanDataset(paths, MASK, in_memory=False)) == 6
    monkeypatch.setattr("monarch_sciml._memory.available_bytes", lambda: bytes_needed)
    data = ScanDataset(paths, MASK)
    held = sum(x.numel() * x.element_size() for x in data[0].values() if x.dim())
    assert 6 * held == bytes_needed


def test_free_memory_is_that_of_the_machine_or_the_container(tmp_path, monkeypatch):
    machine = types.SimpleNamespace(available=40 * 1024)
    monkeypatch.setattr("monarch_sciml._memory.psutil.virtual_memory", lambda: machine)
    monkeypatch.setattr("monarch_sciml._memory._CGROUP", tmp_path)
    assert available_bytes() == 40 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes() == 40 * 1024
    (tmp_path / "memory.max").write_text("20480\n")
    (tmp_path / "memory.current").write_text("480\n")
    assert available_bytes() == 20000


def test_a_slice_that_cannot_be_calibrated_is_named(tmp_path, write_set):
    paths = write_set(tmp_path, 1, stored=False)
    text = r"scan_0000.h5, slice 0: the fully sampled centre .* or pass coil maps"
    with pytest.raises(ValueError, match=text) as error:
        ScanDataset(paths, UniformMask(4, 0), coil_maps="espirit")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("coil_maps", ["espirit", "walsh"])
def test_a_single_coil_has_the_map_one(tmp_path, coil_maps, write_set):
    (path,) = write_set(tmp_path, 1, n_coils=1, stored=False)
    data = ScanDataset([path], UniformMask(4, 0), coil_maps=coil_maps)
    assert torch.equal(data[0]["coil_maps"], torch.ones(1, *SHAPE, dtype=torch.complex64))


def test_a_peak_off_the_centre_changes_no_magnitude(tmp_path, smooth_scan):
    scan = smooth_scan(0, n_slices=2, shape=(32, 28))
    y, x = torch.linspace(-1, 1, 32)[:, None], torch.linspace(-1, 1, 28)
    scan.target = ((y**2 + x**2 < 0.6) * (1 + 0.5 * y)).to(torch.complex64).expand(2, -1, -1)
    scan.kspace = fft2c(scan.coil_maps * scan.target[:, None])
    moved = scan.recentred((-6, 5))
    assert scan.peak == (0, 0) and moved.peak == (6, -5)
    (tmp_path / "moved").mkdir()
    plain, found = tmp_path / "a.h5", tmp_path / "moved" / "a.h5"
    write_fastmri(plain, scan)
    write_fastmri(found, moved)
    plain, found = (ScanDataset([path], UniformMask(2, 8))[1] for path in (plain, found))
    for key in ("masked_kspace", "target"):
        assert (found[key] - plain[key]).norm() < 1e-4 * plain[key].norm()
