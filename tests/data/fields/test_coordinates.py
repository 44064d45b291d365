"""The .mat files of one solution with its coordinates: the real ones, and layouts written here."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat

from monarch_sciml.commands.info import info
from monarch_sciml.data import PairModule, TrajectoryModule, open_fields

SHARED = Path(__file__).parents[3] / "../shared/pde"
real = pytest.mark.skipif(not SHARED.exists(), reason="third-party data sets are not here")


@real
class TestRealFiles:
    def test_burgers_shock(self):
        file, raw = open_fields(SHARED / "burgers_shock.mat"), loadmat(SHARED / "burgers_shock.mat")
        assert (file.fields, file.n_samples, file.n_times) == (("usol",), 1, 100)
        assert (file.grid_shape, file.domain_extent, file.boundary) == (
            (256,),
            (2.0,),
            ("unknown",),
        )
        assert file.dt == pytest.approx(0.01)
        assert torch.equal(file.read(times=slice(3, 9, 2))[0, :, 0], _tensor(raw["usol"].T[3:9:2]))

    def test_complex_fields_are_two_real_ones(self):
        file, raw = open_fields(SHARED / "NLS.mat"), loadmat(SHARED / "NLS.mat")
        assert file.fields == ("uu.real", "uu.imag")
        assert (file.n_times, file.grid_shape) == (201, (256,))
        read = file.read()[0]
        assert read.dtype == torch.float64
        assert torch.equal(torch.complex(read[:, 0], read[:, 1]), _tensor(raw["uu"].T))
        module = TrajectoryModule(
            SHARED / "NLS.mat", split="time", n_train=150, n_test=51, n_steps_in=1, n_steps_out=50,
            windows=True, boundary=["periodic"],
        )  # fmt: skip
        assert module.spec.network_arguments["in_channels"] == 2
        assert module.spec.boundary == ("periodic",)
        assert len(module.train) == 149
        assert len(module.test) == 1
        assert torch.equal(module.test[0]["target"][-1], read[200].float())

    def test_cylinder_is_odd_and_not_square(self):
        path = SHARED / "cylinder_vorticity.mat"
        file, raw = open_fields(path), loadmat(path)
        assert (file.fields, file.n_times) == (("XX", "YY", "WW"), 1)
        assert file.grid_shape == (199, 449)
        assert file.domain_extent == pytest.approx((3.96, 8.96))  # y, x
        module = PairModule(
            path, test_path=path, n_train=1, n_test=1,
            input_fields=["XX", "YY"], target_fields=["WW"],
        )  # fmt: skip
        assert module.train[0]["input"].shape == (1, 2, 199, 449)
        assert torch.equal(module.test[0]["target"][0, 0], _tensor(raw["WW"]).float())

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("NLS", "uu.real, uu.imag"),
            ("burgers_shock", "usol"),
            ("cylinder_vorticity", "199 x 449"),
        ],
    )
    def test_info(self, name, words):
        text = info(SHARED / f"{name}.mat")
        assert "MATLAB 5 arrays (PDE fields)" in text
        assert words in text


def _tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def noise(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


T, X, Y = 4, 6, 5
TIMES = np.arange(T) * 0.5


def save(path, content, reverse):
    if reverse:
        with h5py.File(path, "w") as file:
            for name, array in content.items():
                file[name] = np.asarray(array).T
                file[name].attrs["MATLAB_class"] = np.bytes_("double")
    else:
        savemat(path, content)
    return path


@pytest.mark.parametrize("reverse", [False, True], ids=["MATLAB 5", "MATLAB 7.3"])
class TestWrittenHere:
    def test_trajectory_of_two_axes(self, tmp_path, reverse):
        content = {"x": np.arange(X)[None], "y": np.arange(Y)[:, None], "t": TIMES[None]}
        w, v = noise(X, Y, T), noise(X, Y, T)
        file = open_fields(save(tmp_path / "a.mat", {**content, "w": w, "v": v}, reverse))
        assert set(file.fields) == {"w", "v"}
        assert (file.grid_shape, file.domain_extent, file.dt) == ((X, Y), (5.0, 4.0), 0.5)
        read = file.read(times=slice(1, 4, 2), fields=["v"])
        assert torch.equal(read[0, :, 0], _tensor(np.moveaxis(v, -1, 0)[1:4:2]))

    def test_times_first(self, tmp_path, reverse):
        content = {"x": np.arange(X)[None], "tt": TIMES[None], "u": noise(T, X)}
        file = open_fields(save(tmp_path / "a.mat", content, reverse))
        assert torch.equal(file.read(times=slice(2, 4))[0, :, 0], _tensor(content["u"][2:4]))

    def test_moving_snapshot(self, tmp_path, reverse):
        yy, xx = np.meshgrid(np.arange(Y) * 2.0, np.arange(X), indexing="ij")
        w = noise(Y, X, T)
        path = save(tmp_path / "a.mat", {"X": xx, "Y": yy, "t": TIMES[None], "w": w}, reverse)
        file = open_fields(path)
        assert (file.fields, file.n_times) == (("X", "Y", "w"), T)
        assert (file.layout.constant, file.domain_extent) == (("X", "Y"), (8.0, 5.0))
        read = file.read(times=slice(1, 3))
        assert torch.equal(read[0, 1, 2], _tensor(w[..., 2]))
        assert torch.equal(read[0, :, 0], _tensor(np.stack([xx, xx])))

    def test_complex_fno_file(self, tmp_path, reverse):
        u = noise(3, X, T) + 1j * noise(3, X, T)
        if reverse:  # MATLAB 7.3 stores complex numbers as pairs (real, imag)
            pairs = np.empty(u.T.shape, dtype=[("real", "<f8"), ("imag", "<f8")])
            pairs["real"], pairs["imag"] = u.T.real, u.T.imag
            with h5py.File(tmp_path / "a.mat", "w") as file:
                file["u"], file["t"] = pairs, TIMES[:, None]
                file["u"].attrs["MATLAB_class"] = np.bytes_("double")
        else:
            savemat(tmp_path / "a.mat", {"u": u, "t": TIMES})
        file = open_fields(tmp_path / "a.mat")
        assert file.fields == ("u.real", "u.imag")
        expected = torch.from_numpy(np.ascontiguousarray(u.transpose(0, 2, 1)))
        read = file.read(slice(1, 3))
        assert torch.equal(torch.complex(read[:, :, 0], read[:, :, 1]), expected[1:])

    def test_nothing_beside_the_coordinates(self, tmp_path, reverse):
        content = {"x": np.arange(X)[None], "t": TIMES[None], "u": noise(7, 3)}
        path = save(tmp_path / "a.mat", content, reverse)
        with pytest.raises(
            ValueError, match=r"axes of its arrays are, got .*u \(7, 3\).*Pass `axes`"
        ):
            open_fields(path)

    def test_truncated_and_nan(self, tmp_path, reverse):
        content = {"x": np.arange(X)[None], "t": TIMES[None], "w": noise(X, T)}
        content["w"][2, 1] = np.nan
        path = save(tmp_path / "a.mat", content, reverse)
        with pytest.raises(ValueError, match=r"`w` of .*a\.mat must be finite.*sample 0"):
            open_fields(path).read()
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match=r"a\.mat must ") as caught:
            open_fields(path).read()
        assert "\n" not in str(caught.value)


def test_as_many_times_as_points(tmp_path):
    values = np.random.default_rng(0).standard_normal((8, 8))
    path = tmp_path / "square.mat"
    savemat(path, {"x": np.linspace(0, 1, 8), "t": np.arange(8.0), "u": values})
    with pytest.raises(ValueError, match=r"got x,time or time,x\. Pass `axes`"):
        open_fields(path)
    read = open_fields(path, axes="x,time").read()
    assert torch.equal(read[0, :, 0], torch.from_numpy(values.T.copy()))
