"""Several files as one set: windows across files, and files that do not fit together."""

import h5py
import numpy as np
import pytest
import torch

from monarch_sciml.data import TrajectoryModule, describe_fields, open_fields

T, X = 4, 6
VALUES = np.random.default_rng(0).standard_normal((9, T, X)).astype(np.float32)


def write(path, values, dt=0.5):
    with h5py.File(path, "w") as file:
        file["tensor"] = values
        file["x-coordinate"] = (np.arange(values.shape[2], dtype=np.float32) + 0.5) / X
        file["t-coordinate"] = np.arange(values.shape[1] + 1) * dt
    return path


@pytest.fixture
def folder(tmp_path):
    for index, part in enumerate((VALUES[:3], VALUES[3:4], VALUES[4:])):
        write(tmp_path / f"part-{index}.hdf5", part)
    (tmp_path / "stats.yaml").write_text("mean: 0")
    for name in (".part-3.hdf5", "set.shard-1-of-2.h5"):
        (tmp_path / name).write_text("unfinished")
    return tmp_path


def test_any_window(folder):
    source = open_fields(folder)
    assert (source.n_samples, source.n_times, source.dt) == (9, T, 0.5)
    for samples in [
        slice(None),
        slice(2, 5),
        slice(0, 9, 4),
        slice(1, 9, 2),
        slice(5, 6),
        slice(4, 4),
    ]:
        got = source.read(samples, slice(1, 3))
        assert torch.equal(got[:, :, 0], torch.from_numpy(VALUES[samples, 1:3])), samples


def test_a_backward_window_is_refused(folder):
    with pytest.raises(ValueError, match="`samples` must have a step of at least 1, got -1"):
        open_fields(folder).read(slice(None, None, -1))


def test_trains_as_one_file(folder):
    module = TrajectoryModule(folder, n_train=5, n_test=3, n_steps_in=1, n_steps_out=3)
    for data, first in ((module.train, 0), (module.test, 6)):
        for index, sample in enumerate(data):
            expected = torch.from_numpy(VALUES[first + index, 1:])
            assert torch.equal(sample["target"][:, 0], expected)


def test_describe(folder):
    about = describe_fields(folder)
    assert (about["format"], about["n_samples"]) == ("PDEBench, 3 files", 9)
    sizes = [file.stat().st_size for file in folder.glob("part*")]
    assert about["size_bytes"] == sum(sizes)
    assert about["path"] == str(folder)
    assert (about["layout"], about["grid_shape"]) == ("arrays", [X])
    with h5py.File(folder / "part-1.hdf5", "r+") as file:
        file.attrs["beta"] = 2.0
    assert "parameters" not in describe_fields(folder)  # of one file, not of all


@pytest.mark.parametrize(
    ("values", "dt", "name"),
    [(VALUES[..., ::2], 0.5, "grid_shape"), (VALUES[:, :3], 0.5, "n_times"), (VALUES, 0.4, "dt")],
)
def test_files_that_do_not_fit_together(folder, values, dt, name):
    write(folder / "part-9.hdf5", values, dt)
    with pytest.raises(ValueError, match=rf"part-9\.hdf5 must have the `{name}` of .*part-0"):
        open_fields(folder)


def test_bad_values_and_bad_folders(folder, tmp_path):
    values = VALUES[:2].copy()
    values[1, 0, 0] = np.inf
    write(folder / "part-1.hdf5", values)
    with pytest.raises(ValueError, match=r"`tensor` of .*part-1\.hdf5 must be finite.*sample 1"):
        open_fields(folder).read()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"must hold files of fields .* got none"):
        open_fields(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        open_fields(tmp_path / "nowhere")
