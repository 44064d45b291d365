import itertools
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from monarch_sciml.data.scans.formats.bart import write_bart
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.mask_files import StoredMask
from monarch_sciml.data.scans.module import ScanModule
from monarch_sciml.data.scans.samples import ScanDataset
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.sizes import SizeRules
from monarch_sciml.data.spec import DataModule
from monarch_sciml.physics import espirit
from monarch_sciml.physics.sampling import (
    FullMask,
    RandomMask,
    UniformMask,
    achieved_acceleration,
    volume_seed,
)
from monarch_sciml.physics.sense_operator import combine, ifft2c

SHAPE = (24, 20)
MASK = RandomMask(0.4, 2)


KEYS = {"masked_kspace", "mask", "coil_maps", "target", "scale", "max", "volume", "slice"}


@pytest.fixture
def folder(tmp_path, write_set):
    write_set(tmp_path)
    return tmp_path


def test_a_sample_is_the_undersampled_slice(folder, smooth_scan):
    paths = sorted(folder.glob("*.h5"))
    data = ScanDataset(paths, MASK)
    assert len(data) == 18
    for i in (0, 7, 17):
        sample = data[i]
        assert set(sample) == KEYS
        volume, number = divmod(i, 3)
        assert (sample["volume"].item(), sample["slice"].item()) == (volume, number)
        assert sample["volume"].dtype == sample["slice"].dtype == torch.int64
        source = smooth_scan(volume)
        mask = MASK(SHAPE, seed=volume_seed(paths[volume].name))
        assert sample["mask"].dtype == torch.float32 and torch.equal(sample["mask"], mask)
        scale = sample["scale"]
        expected = source.kspace[number] * mask / scale
        torch.testing.assert_close(sample["masked_kspace"], expected)
        torch.testing.assert_close(sample["target"], source.target[number] / scale)
        torch.testing.assert_close(sample["coil_maps"], source.coil_maps[number])
        torch.testing.assert_close(sample["max"], source.target.abs().max() / scale)


@pytest.mark.parametrize(
    ("normalization", "measure"),
    [("p95", lambda x: np.quantile(x, 0.95)), ("max", np.max), ("std", np.std)],
)
def test_a_volume_is_divided_by_one_number(folder, normalization, measure):
    paths = sorted(folder.glob("*.h5"))[:2]
    data = ScanDataset(paths, MASK, normalization=normalization)
    for volume in range(2):
        samples = [data[3 * volume + i] for i in range(3)]
        assert len({sample["scale"].item() for sample in samples}) == 1
        images = [combine(ifft2c(s["masked_kspace"]), s["coil_maps"]).abs() for s in samples]
        assert measure(torch.stack(images).numpy()) == pytest.approx(1, rel=0.01)
    assert data[0]["scale"] != data[3]["scale"]


def test_samples_do_not_depend_on_where_they_are_kept(folder):
    paths = sorted(folder.glob("*.h5"))[:1]
    for coil_maps in ("stored", "espirit"):
        kept = ScanDataset(paths, MASK, coil_maps=coil_maps)
        read = ScanDataset(paths, MASK, coil_maps=coil_maps, in_memory=False)
        for i in range(len(kept)):
            for key, value in kept[i].items():
                torch.testing.assert_close(read[i][key], value, rtol=0, atol=0)


def test_maps_are_estimated_from_the_masked_kspace(tmp_path, smooth_scan, write_set):
    paths = write_set(tmp_path, 2, stored=False, n_slices=2)
    data = ScanDataset(paths, MASK, coil_maps="espirit")
    for i in range(4):
        sample, source = data[i], smooth_scan(i // 2, n_slices=2)
        maps = sample["coil_maps"]
        overlap = (maps.conj() * source.coil_maps[i % 2]).sum(0).abs()
        assert overlap[3:-3, 3:-3].mean() > 0.97
        kspace = source.kspace[i % 2] / sample["scale"]
        # the reference is that of the full k-space, in the phase of the maps
        full = combine(ifft2c(kspace), espirit(kspace))
        torch.testing.assert_close(sample["target"].abs(), full.abs())
        shown = combine(ifft2c(kspace), maps)
        turned = (shown * sample["target"].conj())[(shown != 0) & (full != 0)]
        assert (turned.imag.abs() < 1e-3 * turned.abs().max()).all() and (turned.real > 0).all()
    # what lies outside the calibration region plays no part
    with h5py.File(paths[0], "r+") as file:
        file["kspace"][..., :4] *= 3
    again = ScanDataset(paths, MASK, coil_maps="espirit")
    torch.testing.assert_close(again[0]["coil_maps"], data[0]["coil_maps"])


def test_what_the_file_did_not_acquire_stays_out_of_the_mask(tmp_path, smooth_scan):
    scan = smooth_scan(0)
    scan.kspace[..., :2] = scan.kspace[..., 19:] = 0
    padded = Scan(scan.kspace, None or torch.empty(0), scan.coil_maps, header={"padding": (2, 19)})
    write_fastmri(tmp_path / "a.h5", padded)
    data = ScanDataset([tmp_path / "a.h5"], UniformMask(2, 4))
    columns = data[0]["mask"][0]
    assert columns[:2].sum() == 0 and columns[19] == 0
    assert torch.equal(columns[2:19], UniformMask(2, 4)(SHAPE)[0, 2:19])


def test_empty_slices_at_the_end_of_a_volume_are_allowed(tmp_path, smooth_scan):
    scan = smooth_scan(0)
    scan.kspace[2] = scan.target[2] = 0
    scan.mask = torch.ones(SHAPE, dtype=torch.bool)
    write_fastmri(tmp_path / "a.h5", scan)
    data = ScanDataset([tmp_path / "a.h5"], MASK)
    assert len(data) == 3 and data[2]["masked_kspace"].abs().max() == 0
    assert torch.equal(data[2]["mask"], data[0]["mask"])


def test_a_range_of_slices_and_another_seed(folder):
    paths = sorted(folder.glob("*.h5"))[:2]
    data = ScanDataset(paths, MASK, slices=(1, 3))
    assert [data[i]["slice"].item() for i in range(4)] == [1, 2, 1, 2]
    other = ScanDataset(paths, MASK, slices=(1, 3), seed=1)
    assert not torch.equal(other[0]["mask"], data[0]["mask"])
    with pytest.raises(ValueError, match="`slices` must leave at least one slice"):
        ScanDataset(paths, MASK, slices=(5, 9))


@pytest.mark.parametrize("in_memory", [True, False])
def test_data_loader_workers_give_the_same_batches(folder, in_memory):
    data = ScanDataset(sorted(folder.glob("*.h5"))[:2], MASK, in_memory=in_memory)
    # fork: spawning would import everything anew; the files are closed, so both are safe
    loader = DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context="fork")
    batches = list(loader)
    assert len(batches) == 3 and batches[0]["masked_kspace"].shape == (2, 4, *SHAPE)
    for k, batch in enumerate(batches):
        for key, value in batch.items():
            expected = torch.stack([data[2 * k][key], data[2 * k + 1][key]])
            torch.testing.assert_close(value, expected, rtol=0, atol=0)


def test_files_are_closed(folder):
    paths = sorted(folder.glob("*.h5"))[:1]
    data = ScanDataset(paths, MASK, in_memory=False)
    assert data[0]
    with h5py.File(paths[0], "r+"):  # fails while it is open for reading
        pass


def test_bad_volumes_are_refused(tmp_path, smooth_scan, write_set):
    (path,) = write_set(tmp_path, 1, stored=False)
    with pytest.raises(ValueError, match=r"must hold `coil_maps`, got none. Use coil_maps espirit"):
        ScanDataset([path], MASK)
    with pytest.raises(ValueError, match=r"the fully sampled centre of k-space must be at least"):
        ScanDataset([path], UniformMask(2, 2), coil_maps="espirit")
    with pytest.raises(ValueError, match="`coil_maps` must be one of"):
        ScanDataset([path], MASK, coil_maps="bart")
    with pytest.raises(ValueError, match="`normalization` must be one of"):
        ScanDataset([path], MASK, normalization="mean")
    write_fastmri(tmp_path / "other.h5", smooth_scan(0, n_coils=3))
    with pytest.raises(ValueError, match=r"all volumes must have .* got \(3, 24, 20\) in other"):
        ScanDataset([path, tmp_path / "other.h5"], MASK)
    with pytest.raises(FileNotFoundError, match="the file must exist"):
        ScanDataset([tmp_path / "missing.h5"], MASK)
    under = smooth_scan(0)
    under = Scan(under.kspace * UniformMask(3, 6)(SHAPE), coil_maps=under.coil_maps)
    write_fastmri(tmp_path / "under.h5", under)
    with pytest.raises(ValueError, match=r"must be fully sampled or hold .* acceleration 1.82"):
        ScanDataset([tmp_path / "under.h5"], MASK)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "must hold a signal"), (np.nan, "must be finite")]
)
def test_zeros_and_nan_are_refused(tmp_path, value, text, write_set):
    (path,) = write_set(tmp_path, 1)
    with h5py.File(path, "r+") as file:
        file["kspace"][...] = value
    with pytest.raises(ValueError, match=text) as error:
        ScanDataset([path], MASK)
    assert "\n" not in str(error.value)


def test_module_splits_the_folder(folder):
    module = ScanModule(folder, MASK, n_train=3, n_validation=1, n_test=2)
    assert isinstance(module, DataModule)
    assert (len(module.train), len(module.validation), len(module.test)) == (9, 3, 6)
    parts = [*module.train_paths, *module.validation_paths, *module.test_paths]
    assert sorted(parts) == sorted(folder.glob("*.h5"))
    assert module.train is module.train  # read once
    assert module.spec.grid_shape == SHAPE and module.spec.n_coils == 4
    assert module.spec.network_arguments == {"grid_shape": SHAPE}
    shares = [1 / achieved_acceleration(module.test[i]["mask"]) for i in range(6)]
    assert module.spec.acceleration == pytest.approx(1 / np.mean(shares))
    assert ScanModule(folder, MASK, 3, 0, 2).validation is None


def test_the_test_volumes_stay_the_same(folder):
    def parts(*counts, **options):
        return [path.name for path in ScanModule(folder, MASK, *counts, **options).test_paths]

    assert parts(3, 1, 2) == parts(1, 0, 2) == parts(2, 2, 2)
    assert parts(3, 1, 2)[:1] == parts(3, 1, 1)
    splits = {tuple(parts(3, 1, 2, seed=seed)) for seed in range(5)}
    assert len(splits) > 1


def test_no_subject_is_in_two_parts(tmp_path, write_set):
    subjects = ["a", "a", "b", "b", "c", "c", "d", "d"]
    paths = write_set(tmp_path, 8, subjects=subjects, n_slices=1)
    owner = dict(zip(paths, subjects))
    for seed in range(5):
        module = ScanModule(tmp_path, MASK, 3, 1, 1, seed=seed)
        parts = [module.train_paths, module.validation_paths, module.test_paths]
        seen = [{owner[path] for path in part} for part in parts]
        assert [len(part) for part in parts] == [3, 1, 1]
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    with pytest.raises(ValueError, match=r"needs more subjects, got 8 volumes of 4 subjects"):
        ScanModule(tmp_path, MASK, 5, 2, 1)


def test_a_missing_folder_names_the_command(tmp_path):
    text = r"monarch-sciml generate scans --output .*nowhere --n_scans 6"
    with pytest.raises(FileNotFoundError, match=text) as error:
        ScanModule(tmp_path / "nowhere", MASK, 3, 1, 2)
    assert "\n" not in str(error.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"must hold scans named \* .*generate scans"):
        ScanModule(tmp_path / "empty", MASK, 3, 1, 2)
    with pytest.raises(ValueError, match="`n_test` must be at least 1"):
        ScanModule(tmp_path / "empty", MASK, 3, 1, 0)


def test_a_foreign_file_in_the_folder_is_named(folder):
    (folder / "zzz.h5").write_bytes(b"no HDF5")
    with pytest.raises(
        ValueError, match=r"zzz.h5 must be a fastMRI, .* got content that starts with b'no HDF5'"
    ):
        ScanModule(folder, MASK, 3, 1, 2)


def test_the_module_is_built_from_a_configuration(folder):
    jsonargparse = pytest.importorskip("jsonargparse")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(DataModule, "data")
    text = f"""
data:
  class_path: monarch_sciml.data.scans.module.ScanModule
  init_args:
    folder: {folder}
    mask:
      class_path: monarch_sciml.physics.sampling.UniformMask
      init_args: {{factor: 2, calibration: 4}}
    n_train: 3
    n_validation: 1
    n_test: 2
    slices: [0, 2]
"""
    module = parser.instantiate(parser.parse_string(text)).data
    assert isinstance(module, ScanModule) and Path(module.folder) == folder
    assert module.mask == UniformMask(2, 4) and len(module.test) == 4
    text = text.replace("UniformMask", "StoredMask").replace(
        "{factor: 2, calibration: 4}", "{dataset: masks/poisson_4.0x, zero_pad: true}"
    )
    text += f"""
    matrix: [16, 20]
    coils: 2
    group_sizes: true
    coil_maps: {folder}
    maps_folder: maps
    reader: {{repetition: average}}
"""
    module = parser.instantiate(parser.parse_string(text)).data
    assert module.rules == SizeRules(matrix=(16, 20), coils=2)
    assert module.coil_maps == folder and module.reader == {"repetition": "average"}
    assert module.mask == StoredMask(dataset="masks/poisson_4.0x", zero_pad=True)


def test_any_format_and_a_pattern(tmp_path, smooth_scan):
    for i in range(4):
        write_bart(tmp_path / f"scan_{i}.cfl", smooth_scan(i).kspace)
    np.save(tmp_path / "mask.npy", np.ones(SHAPE))
    module = ScanModule(tmp_path, MASK, 2, 1, 1, pattern="*.cfl", coil_maps="espirit")
    assert len(module.train) == 6 and module.spec.grid_shape == SHAPE
    sample = ScanDataset([tmp_path / "scan_0.cfl"], FullMask(), coil_maps="espirit")[0]
    torch.testing.assert_close(
        sample["masked_kspace"] * sample["scale"], smooth_scan(0).kspace[0], rtol=1e-5, atol=1e-5
    )
    with pytest.raises(ValueError, match=r"mask.npy must hold complex k-space"):
        ScanModule(tmp_path, MASK, 2, 1, 1)


def test_training_volumes_are_nested(tmp_path, write_set):
    write_set(tmp_path, 9, subjects=list("aabbcdefg"), n_slices=1)
    modules = [ScanModule(tmp_path, MASK, n, 1, 2) for n in (1, 2, 3, 5)]
    for few, more in itertools.pairwise(modules):
        assert few.train_paths == more.train_paths[: len(few.train_paths)]
        assert few.test_paths == more.test_paths
        assert few.validation_paths == more.validation_paths
