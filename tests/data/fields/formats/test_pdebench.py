"""PDEBench's files, written here as its own scripts do: every layout, windows, bad files."""

import h5py
import numpy as np
import pytest
import torch

from monarch_sciml.commands.info import info
from monarch_sciml.data import PairModule, PDEBenchFile, TrajectoryModule, open_fields

N, T, X, Y, Z = 4, 5, 6, 8, 3
GRID = {"x": X, "y": Y, "z": Z}


def noise(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def centres(n, length=1.0):
    """Centres of n cells, as the finite-volume solvers have them."""
    return ((np.arange(n) + 0.5) * length / n).astype(np.float32)


def write_arrays(path, fields, axes, attributes):
    """Data_Merge.py: datasets at the root, t-coordinate with one time too many."""
    with h5py.File(path, "w") as file:
        for name, values in fields.items():
            file.create_dataset(name, data=values)
        for axis in axes:
            file.create_dataset(f"{axis}-coordinate", data=centres(GRID[axis], 2.0))
        if "nu" not in fields:
            file.create_dataset("t-coordinate", data=np.arange(T + 1, dtype=np.float32) * 0.05)
        for key, value in attributes.items():
            file.attrs[key] = value
    return path


def write_seeds(path, values, times=None):
    """gen_diff_react.py: one group a seed."""
    with h5py.File(path, "w") as file:
        for seed, sample in enumerate(values):
            group = file.create_group(str(seed).zfill(4))
            group.create_dataset("data", data=sample, dtype="float32", compression="lzf")
            for axis, n in zip("xy", sample.shape[1:-1]):
                group.create_dataset(f"grid/{axis}", data=centres(n, 2.0) - 1, compression="lzf")
            group.create_dataset("grid/t", data=np.linspace(0, 5, T), dtype="float32")
            group.attrs["config"] = "sim:\n  Du: 0.001\n"
    return path


def write_incompressible(path):
    """src/data_io.py: chunked by frame, without coordinates."""
    content = {
        "velocity": noise(N, T, X, Y, 2),
        "particles": noise(N, T, X, Y, 1),
        "force": noise(N, X, Y, 2),
        "t": np.tile(np.arange(T, dtype=np.float32) * 0.1, (N, 1)),
    }
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            chunks = (1, 1, *values.shape[2:])
            file.create_dataset(name, data=values, compression="lzf", chunks=chunks, shuffle=True)
        file.attrs["config"], file.attrs["latestIndex"] = "NU: 0.01\n", T - 1
    return path, content


def stacked(*fields):
    """(N, T, *grid) each -> (N, T, F, *grid)."""
    return torch.from_numpy(np.stack(fields, axis=2))


class TestArrays:
    def test_advection(self, tmp_path):
        tensor = noise(N, T, X)
        path = write_arrays(tmp_path / "adv.hdf5", {"tensor": tensor}, "x", {"beta": 0.4})
        file = open_fields(path)
        assert isinstance(file, PDEBenchFile)
        assert (file.fields, file.n_samples, file.n_times) == (("tensor",), N, T)
        assert (file.grid_shape, file.boundary, file.domain_extent) == ((X,), ("periodic",), (2.0,))
        assert file.dt == pytest.approx(0.05)
        assert torch.equal(file.read(), stacked(tensor))
        assert torch.equal(file.read(slice(1, 4, 2), slice(2, 5)), stacked(tensor)[1:4:2, 2:5])
        assert file.describe()["parameters"] == {"beta": 0.4}

    @pytest.mark.parametrize(("axes", "names"), [("x", "D P Vx"), ("xy", ""), ("xyz", "")])
    def test_compressible_flow(self, tmp_path, axes, names):
        names = ["density", "pressure", "Vx", "Vy", "Vz"][: len(axes) + 2]
        shape = (N, T, *[GRID[axis] for axis in axes])
        fields = {name: noise(*shape) + i for i, name in enumerate(names)}
        attributes = {"eta": 1e-8, "zeta": 1e-8, "M": 0.1}
        path = write_arrays(tmp_path / "2D_CFD_M0.1_periodic_Train.hdf5", fields, axes, attributes)
        file = open_fields(path)
        assert file.fields == tuple(names)
        assert torch.equal(file.read(), stacked(*fields.values()))
        assert torch.equal(file.read(fields=["Vx", "density"]), file.read()[:, :, [2, 0]])
        assert file.boundary == ("periodic",) * len(axes)
        assert file.describe()["parameters"]["M"] == 0.1

    def test_boundary_of_flow_is_in_the_name(self, tmp_path):
        fields = {"density": noise(N, T, X), "pressure": noise(N, T, X), "Vx": noise(N, T, X)}
        for name, kind in (("CFD_trans_Train", "open"), ("CFD", "unknown")):
            path = write_arrays(tmp_path / f"{name}.hdf5", fields, "x", {})
            assert open_fields(path).boundary == (kind,)
        assert open_fields(path, boundary=["wall"]).boundary == ("wall",)
        with pytest.raises(ValueError, match="1 grid axes"):
            open_fields(path, boundary=["wall", "wall"])

    def test_darcy_is_a_steady_pair(self, tmp_path):
        nu, tensor = noise(N, X, Y), noise(N, 1, X, Y)
        content = {"tensor": tensor, "nu": nu}
        path = write_arrays(tmp_path / "darcy.hdf5", content, "xy", {"beta": 1.0})
        file = open_fields(path)
        assert (file.fields, file.n_times, file.dt) == (("nu", "tensor"), 1, None)
        assert file.boundary == ("dirichlet", "dirichlet")
        assert torch.equal(file.read(), stacked(nu[:, None], tensor))
        module = PairModule(path, n_train=2, n_test=1)
        assert torch.equal(module.test[0]["input"][0, 0], torch.from_numpy(nu[3]))
        assert torch.equal(module.test[0]["target"][0, 0], torch.from_numpy(tensor[3, 0]))


class TestSeeds:
    @pytest.mark.parametrize(
        ("shape", "names", "kind"),
        [
            ((X, 1), ("u",), "wall"),  # diffusion-sorption
            ((X, Y, 1), ("h",), "open"),  # shallow water
            ((X, Y, 2), ("u", "v"), "neumann"),  # diffusion-reaction
            ((X, 3), ("data_0", "data_1", "data_2"), "unknown"),
        ],
    )
    def test_layout(self, tmp_path, shape, names, kind):
        values = noise(N, T, *shape)
        file = open_fields(write_seeds(tmp_path / "x.h5", values))
        assert (file.fields, file.n_samples, file.n_times) == (names, N, T)
        assert file.boundary == (kind,) * (len(shape) - 1)
        assert file.domain_extent == (2.0,) * (len(shape) - 1)
        assert file.dt == pytest.approx(5 / (T - 1))
        expected = torch.from_numpy(np.moveaxis(values, -1, 2))
        assert torch.equal(file.read(), expected)
        window = file.read(slice(0, N, 2), slice(1, 4, 2), names[-1:])
        assert torch.equal(window, expected[::2, 1:4:2, -1:])
        assert file.read(slice(2, 2)).shape == (0, T, len(names), *shape[:-1])

    def test_a_sample_of_another_resolution(self, tmp_path):
        path = write_seeds(tmp_path / "x.h5", noise(N, T, X, Y, 2))
        with h5py.File(path, "r+") as file:
            del file["0002/data"]
            file["0002/data"] = noise(T, X, X, 2)
        file = open_fields(path)
        assert file.read(slice(0, 2)).shape == (2, T, 2, X, Y)
        with pytest.raises(ValueError, match=r"`0002/data` of .*\(5, 6, 8\).*got \(5, 6, 6\)"):
            file.read()

    def test_what_is_no_sample_is_passed_over(self, tmp_path):
        values = noise(N, T, X, Y, 2)
        path = write_seeds(tmp_path / "x.h5", values)
        with h5py.File(path, "r+") as file:
            file["notes"] = np.zeros(3)
        assert torch.equal(open_fields(path).read(), torch.from_numpy(np.moveaxis(values, -1, 2)))

    def test_each_component_is_read_with_the_others(self, tmp_path, monkeypatch):
        file = open_fields(write_seeds(tmp_path / "x.h5", noise(N, T, X, Y, 2)))
        reads = []
        original = h5py.Dataset.__getitem__
        count = lambda self, index: reads.append(self.name) or original(self, index)  # noqa: E731
        monkeypatch.setattr(h5py.Dataset, "__getitem__", count)
        file.read(slice(1, 3))
        assert reads == ["/0001/data", "/0002/data"]


class TestIncompressible:
    def test_layout(self, tmp_path):
        path, content = write_incompressible(tmp_path / "ns_incom_inhom_2d_512-0.h5")
        file = open_fields(path)
        assert file.fields == ("velocity_x", "velocity_y", "particles", "force_x", "force_y")
        assert file.layout.constant == ("force_x", "force_y")
        assert file.dt == pytest.approx(0.1)
        read = file.read(slice(1, 3), slice(0, 4, 2))
        velocity, force, particles = (content[k] for k in ("velocity", "force", "particles"))
        assert torch.equal(read[:, :, 0], torch.from_numpy(velocity[1:3, 0:4:2, ..., 0]))
        assert torch.equal(read[:, :, 2], torch.from_numpy(particles[1:3, 0:4:2, ..., 0]))
        for frame in range(2):  # the force is the same in every frame
            assert torch.equal(read[:, frame, 4], torch.from_numpy(force[1:3, ..., 1]))

    def test_trajectories_leave_the_force_out_unless_asked(self, tmp_path):
        path, _ = write_incompressible(tmp_path / "x.h5")
        options = {"n_train": 2, "n_test": 1, "n_steps_in": 2, "n_steps_out": 1}
        module = TrajectoryModule(path, **options)
        assert module.spec.fields == ("velocity_x", "velocity_y", "particles")
        module = TrajectoryModule(path, fields=["velocity_x", "force_x"], **options)
        assert module.train[0]["input"].shape == (2, 2, X, Y)


class TestInfo:
    def test_names_format_and_contents(self, tmp_path):
        path = write_seeds(tmp_path / "a.h5", noise(N, T, X, Y, 2))
        text = info(path)
        for words in ("PDEBench (PDE fields)", "u, v", "6 x 8", "neumann, neumann", "0000 to 0003"):
            assert words in text
        text = info(write_incompressible(tmp_path / "b.h5")[0])
        assert "incompressible" in text
        assert "force_x, force_y" in text
        path = write_arrays(tmp_path / "c.h5", {"tensor": noise(N, T, X)}, "x", {"Nu": 0.01})
        assert "Nu = 0.01" in info(path)


class TestBadFiles:
    def test_arrays_that_do_not_fit(self, tmp_path):
        fields = {"density": noise(N, T, X), "pressure": noise(N, T, X - 1), "Vx": noise(N, T, X)}
        path = write_arrays(tmp_path / "x.hdf5", fields, "x", {})
        with pytest.raises(ValueError, match=r"`pressure` of .*\(4, 5, 6\), got \(4, 5, 5\)"):
            open_fields(path)
        with pytest.raises(ValueError, match="one frame beside `nu`"):
            open_fields(
                write_arrays(
                    tmp_path / "d.h5", {"tensor": noise(N, T, X, Y), "nu": noise(N, X, Y)}, "xy", {}
                )
            )

    def test_other_files(self, tmp_path):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["speed"] = noise(3, 4)
        with pytest.raises(ValueError, match=r"in one of PDEBench's layouts, got \['speed'\]"):
            PDEBenchFile(tmp_path / "x.h5")
        with pytest.raises(ValueError, match=r"axes of its arrays are, got speed \(3, 4\)"):
            open_fields(tmp_path / "x.h5")
        with pytest.raises(FileNotFoundError, match="must exist"):
            PDEBenchFile(tmp_path / "none.h5")

    @pytest.mark.parametrize("part", [0.3, 0.9])
    def test_truncated(self, tmp_path, part):
        path = write_seeds(tmp_path / "x.h5", noise(N, T, X, Y, 2))
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
        with pytest.raises(ValueError, match=r"x\.h5 must be a complete ") as caught:
            open_fields(path).read()
        assert "\n" not in str(caught.value)

    def test_nan_names_file_field_and_sample(self, tmp_path):
        values = noise(N, T, X, Y, 2)
        values[2, 1, 0, 0, 1] = np.nan
        path = write_seeds(tmp_path / "x.h5", values)
        module = TrajectoryModule(path, n_train=3, n_test=1, n_steps_in=1, n_steps_out=1)
        with pytest.raises(ValueError, match=r"`v` of .*x\.h5 must be finite, .* in sample 2"):
            _ = module.train
        assert len(module.test) == 1
