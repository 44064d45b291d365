"""The FNO paper's .mat files of both kinds, written here with their exact layout."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat

from monarch_sciml.data import ArrayFields, describe_fields, open_fields

KINDS = ["5", "5 compressed", "7.3", "7.3 without header"]


def arrays(kind: str = "trajectories", dtype: type = np.float32) -> dict[str, np.ndarray]:
    """MATLAB's axis order: a (N, H, W), u (N, H, W, T), t (1, T)."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, 6, 5)).astype(dtype)
    if kind == "trajectories":
        u = rng.standard_normal((4, 6, 5, 7)).astype(dtype)
        return {"a": a, "u": u, "t": np.arange(1, 8, dtype=dtype)[None]}
    if kind == "darcy":
        return {"coeff": a, "sol": 2 * a, "Kcoeff": a}
    return {"a": a[:, :, 0], "u": 2 * a[:, :, 0]}


def write(path: Path, content: dict[str, np.ndarray], container: str) -> Path:
    if container.startswith("5"):
        savemat(path, content, do_compression=container.endswith("compressed"))
        return path
    header = container == "7.3"
    with h5py.File(path, "w", userblock_size=512 if header else 0) as file:
        for name, array in content.items():
            file[name] = array.T  # MATLAB stores column-major: HDF5 sees the axes reversed
            file[name].attrs["MATLAB_class"] = np.bytes_("single")
    if header:
        with path.open("r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


@pytest.mark.parametrize("container", KINDS)
class TestBothKinds:
    def test_trajectories(self, tmp_path, container):
        content = arrays()
        file = open_fields(write(tmp_path / "ns.mat", content, container))
        assert (file.fields, file.n_samples, file.n_times) == (("u",), 4, 7)
        assert file.grid_shape == (6, 5)
        assert file.boundary == ("periodic", "periodic")
        assert file.dt == 1.0
        assert file.layout.times == tuple(range(1, 8))
        # (N, H, W, T) -> (N, T, 1, H, W)
        expected = torch.from_numpy(content["u"]).permute(0, 3, 1, 2)[:, :, None]
        assert torch.equal(file.read(), expected)
        assert torch.equal(file.read(slice(1, 4, 2), slice(2, 6)), expected[1:4:2, 2:6])
        assert file.read().is_contiguous()

    def test_darcy(self, tmp_path, container):
        content = arrays("darcy")
        file = open_fields(write(tmp_path / "darcy.mat", content, container))
        assert (file.fields, file.n_times, file.dt) == (("coeff", "sol"), 1, None)
        assert file.boundary == ("dirichlet", "dirichlet")
        read = file.read(slice(1, 3))
        assert read.shape == (2, 1, 2, 6, 5)
        assert torch.equal(read[:, 0, 1], torch.from_numpy(content["sol"][1:3]))

    def test_burgers(self, tmp_path, container):
        content = arrays("burgers", np.float64)
        file = open_fields(write(tmp_path / "burgers.mat", content, container))
        assert (file.fields, file.grid_shape, file.boundary) == (("a", "u"), (6,), ("periodic",))
        assert file.read().dtype == torch.float64
        assert torch.equal(file.read(fields=["u"])[:, 0, 0], torch.from_numpy(content["u"]))

    def test_without_a_or_t(self, tmp_path, container):
        content = arrays()
        only_u = {"u": content["u"], "t": content["t"]}
        assert open_fields(write(tmp_path / "u.mat", only_u, container)).n_times == 7
        no_t = {"u": content["u"], "a": content["a"]}
        file = open_fields(write(tmp_path / "a.mat", no_t, container))
        assert (file.n_times, file.dt) == (7, None)

    def test_describe(self, tmp_path, container):
        about = describe_fields(write(tmp_path / "ns.mat", arrays(), container))
        assert about["format"] == "FNO .mat"
        assert about["container"] == f"MATLAB {container.split()[0]}"
        assert about["arrays"] == ["a", "t", "u"]

    def test_axes_in_another_order(self, tmp_path, container):
        content = arrays()
        content["u"] = content["u"].transpose(3, 0, 1, 2)
        with pytest.raises(ValueError, match=r"axis more, got.*Check the order"):
            open_fields(write(tmp_path / "ns.mat", content, container))

    def test_other_arrays(self, tmp_path, container):
        path = write(tmp_path / "x.mat", {"u": np.zeros((3, 4)), "q": np.ones((2, 2))}, container)
        with pytest.raises(
            ValueError, match=r"what the axes of its arrays are, got .*q \(2, 2\).*Pass `axes`"
        ):
            ArrayFields(path)

    def test_truncated(self, tmp_path, container):
        path = write(tmp_path / "ns.mat", arrays(), container)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match=r"ns\.mat must be a complete ") as caught:
            open_fields(path).read()
        assert "\n" not in str(caught.value)

    def test_nan(self, tmp_path, container):
        content = arrays()
        content["u"][2, 0, 0, 3] = np.nan
        file = open_fields(write(tmp_path / "ns.mat", content, container))
        with pytest.raises(ValueError, match=r"`u` of .*first in sample 2"):
            file.read()


def test_big_endian(tmp_path):
    content = arrays()
    write(tmp_path / "ns.mat", content, "7.3")
    with h5py.File(tmp_path / "ns.mat", "r+") as file:
        del file["u"]
        file["u"] = content["u"].T.astype(">f4")
    expected = torch.from_numpy(content["u"]).permute(0, 3, 1, 2)[:, :, None]
    assert torch.equal(open_fields(tmp_path / "ns.mat").read(), expected)


def test_told_boundary_and_extent(tmp_path):
    path = write(tmp_path / "ns.mat", arrays(), "5")
    file = ArrayFields(path, boundary=("neumann", "periodic"), domain_extent=(2.0, 3.0))
    assert file.boundary == ("neumann", "periodic")
    assert file.domain_extent == (2.0, 3.0)
    with pytest.raises(ValueError, match="2 grid axes"):
        ArrayFields(path, boundary=("neumann",))
