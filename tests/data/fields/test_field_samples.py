"""Reading of samples: only the window asked for, in bounded memory, from several workers."""

import pickle
import subprocess
import sys
import zlib

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from monarch_sciml.data import PairModule, TrajectoryModule, open_fields
from monarch_sciml.data.fields import samples as field_samples

N, T, X, Y = 5, 7, 4, 6

TRAIN = """
import resource, sys
from torch.utils.data import DataLoader
from monarch_sciml.data import TrajectoryModule

def peak(who):
    return resource.getrusage(who).ru_maxrss / 1024  # MiB

module = TrajectoryModule(sys.argv[1], n_train=60, n_test=4, n_steps_in=2, n_steps_out=2, stride=3)
first = module.train[0]
before = peak(resource.RUSAGE_SELF)
loader = DataLoader(module.train, batch_size=2, num_workers=2, multiprocessing_context="fork")
shapes = {tuple(batch["input"].shape) for batch in loader}
module.input_statistics
print(shapes, peak(resource.RUSAGE_SELF) - before, peak(resource.RUSAGE_CHILDREN) - before, sep=";")
"""


def write_pdebench(path, values):
    with h5py.File(path, "w") as file:
        file["tensor"] = values
        for axis, n in zip("xy", values.shape[2:]):
            file[f"{axis}-coordinate"] = np.arange(n, dtype=np.float32)
        file["t-coordinate"] = np.arange(values.shape[1] + 1, dtype=np.float32)
    return path


def write_mat73(path, values):
    with h5py.File(path, "w") as file:
        u = np.moveaxis(values, 1, -1)  # (N, T, *grid) -> MATLAB's (N, *grid, T)
        file["u"], file["a"] = u.T, u[..., 0].T
        file["u"].attrs["MATLAB_class"] = np.bytes_("single")
    return path


def write_seeds(path, values):
    with h5py.File(path, "w") as file:
        for i, sample in enumerate(values):
            file[f"{i:04d}/data"] = sample[..., None]
            file[f"{i:04d}/grid/t"] = np.arange(T)
    return path


def write_well(path, values):
    with h5py.File(path, "w") as file:
        file.attrs["n_trajectories"] = len(values)
        file.create_group("dimensions").attrs["spatial_dims"] = ["x", "y"]
        for name, n in (("time", values.shape[1]), ("x", X), ("y", Y)):
            file[f"dimensions/{name}"] = np.arange(n, dtype=np.float32)
        file["t0_fields/u"] = values
        file["t0_fields"].attrs["field_names"] = ["u"]
        attributes = {"sample_varying": True, "time_varying": True, "dim_varying": [True, True]}
        file["t0_fields/u"].attrs.update(attributes)
    return path


WRITERS = [write_pdebench, write_mat73, write_seeds, write_well]


@pytest.fixture
def values():
    return np.random.default_rng(0).standard_normal((N, T, X, Y)).astype(np.float32)


@pytest.mark.parametrize("write", WRITERS)
class TestWindows:
    def test_a_read_touches_the_window_alone(self, tmp_path, values, write, monkeypatch):
        file = open_fields(write(tmp_path / "x.h5", values))
        n_read = []
        original = h5py.Dataset.__getitem__

        def counted(self, index):
            got = original(self, index)
            n_read.append(np.asarray(got).size)
            return got

        monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
        window = file.read(slice(1, 3), slice(2, 6, 2))
        assert torch.equal(window[:, :, 0], torch.from_numpy(values[1:3, 2:6:2]))
        assert sum(n_read) == 2 * 2 * X * Y

    def test_nothing_stays_open(self, tmp_path, values, write):
        file = open_fields(write(tmp_path / "x.h5", values))
        file.read(slice(0, 1))
        assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0

    @pytest.mark.parametrize("in_memory", [True, False])
    def test_workers_give_what_the_file_holds(self, tmp_path, values, write, in_memory):
        path = write(tmp_path / "x.h5", values)
        module = TrajectoryModule(
            path, n_train=4, n_test=1, n_steps_in=2, n_steps_out=3, in_memory=in_memory
        )
        loader = DataLoader(
            module.train, batch_size=2, num_workers=2, multiprocessing_context="fork"
        )
        target = torch.cat([batch["target"] for batch in loader])
        assert torch.equal(target[:, :, 0], torch.from_numpy(values[:4, 2:5]))

    def test_samples_travel_to_spawned_workers(self, tmp_path, values, write):
        path = write(tmp_path / "x.h5", values)
        module = TrajectoryModule(
            path, n_train=4, n_test=1, n_steps_in=2, n_steps_out=3, in_memory=False
        )
        copy = pickle.loads(pickle.dumps(module.train))
        assert torch.equal(copy[2]["input"], module.train[2]["input"])


def test_four_gigabytes_train_in_bounded_memory(tmp_path):
    """Packed zeros take little room on the disk, yet reading them fills memory."""
    path = tmp_path / "large.hdf5"
    with h5py.File(path, "w") as file:
        shape, chunks = (64, 64, 512, 512), (1, 1, 512, 512)
        tensor = file.create_dataset("tensor", shape, "float32", chunks=chunks, compression="gzip")
        frame = zlib.compress(bytes(4 * 512 * 512))
        for place in np.ndindex(64, 64):
            tensor.id.write_direct_chunk((*place, 0, 0), frame)
        for axis in "xy":
            file[f"{axis}-coordinate"] = np.arange(512, dtype=np.float32)
    assert path.stat().st_size < 10**7
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shapes, here, workers = done.stdout.strip().split(";")
    assert shapes == "{(2, 2, 1, 512, 512)}"
    assert float(here) < 500  # MiB, of 4096 in the file
    assert float(workers) < 300


class TestBlocks:
    """All frames are gone through in blocks: of several samples, or of a part of one."""

    @pytest.mark.parametrize("frames_a_block", [1, 2, 5, 11, 10**6])
    @pytest.mark.parametrize("in_memory", [True, False])
    @pytest.mark.parametrize("subsample", [1, 2])
    def test_blocks_of_any_size(
        self, tmp_path, values, frames_a_block, in_memory, subsample, monkeypatch
    ):
        monkeypatch.setattr(field_samples, "BLOCK_BYTES", 8 * X * Y * frames_a_block)
        module = TrajectoryModule(
            write_pdebench(tmp_path / "x.h5", values), n_train=4, n_test=1, n_steps_in=1,
            n_steps_out=2, start=1, stride=2, in_memory=in_memory, subsample=subsample,
        )  # fmt: skip
        used = values[:4, 1:6:2, ::subsample, ::subsample]
        sizes = [block[:, :, 0, 0, 0].numel() for block in module.train.blocks(fields=["tensor"])]
        assert sum(sizes) == 12
        assert max(sizes) <= frames_a_block
        assert float(module.input_statistics.mean) == pytest.approx(used.mean(), abs=1e-6)
        assert float(module.input_statistics.std) == pytest.approx(used.std(), rel=1e-5)
        for index in range(4):
            assert torch.equal(
                module.train[index]["target"][:, 0], torch.from_numpy(used[index, 1:])
            )

    def test_small_parts_are_kept_and_large_ones_read(self, tmp_path, values, monkeypatch):
        path = write_pdebench(tmp_path / "x.h5", values)
        sizes = {"n_train": 4, "n_test": 1, "n_steps_in": 1, "n_steps_out": 1}
        monkeypatch.setattr(field_samples, "KEPT_BYTES", 2 * X * Y * 4)
        module = TrajectoryModule(path, **sizes)
        _ = module.train, module.test
        path.unlink()
        assert module.test[0]["input"].shape == (1, 1, X, Y)  # 2 frames
        with pytest.raises(FileNotFoundError):
            module.train[0]  # 8 frames

    def test_a_value_beyond_single_precision(self, tmp_path, values):
        large = values.astype(np.float64)
        large[1, 2, 0, 0] = 1e300
        path = write_pdebench(tmp_path / "x.h5", large)
        module = PairModule(path, n_train=4, n_test=1, input_frame=0, target_frame=2)
        with pytest.raises(ValueError, match=r"x\.h5 must fit float32, got 1e\+300\. Pass dtype"):
            _ = module.train
        module = PairModule(
            path, n_train=4, n_test=1, input_frame=0, target_frame=2, dtype="float64"
        )
        assert module.train[1]["target"].max() == 1e300
