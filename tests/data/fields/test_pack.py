"""`pack`: one's own arrays in a file that tells what they are."""

import re

import numpy as np
import pytest
import torch

from monarch_sciml.cli import main
from monarch_sciml.data import PairModule, TrajectoryModule, open_fields, pack
from monarch_sciml.data.fields.writer import FieldWriter

N, T, X, Y = 6, 4, 8, 5


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_a_pair_in_memory(tmp_path):
    x, y = torch.randn(N, 2, X), torch.randn(N, X)
    path = pack({"x": x, "y": y}, tmp_path / "set.h5", boundary=["periodic"], domain_extent=[2.0])
    file = open_fields(path)
    assert (file.fields, file.layout.inputs) == (("x_0", "x_1", "y"), ("x_0", "x_1"))
    assert (file.boundary, file.domain_extent, file.about["dtype"]) == (
        ("periodic",),
        (2.0,),
        "float32",
    )
    assert torch.equal(file.read()[:, 0], torch.cat([x, y[:, None]], dim=1))
    data = PairModule(path, n_train=4, n_test=2)
    assert (data.input_fields, data.target_fields) == (("x_0", "x_1"), ("y",))


def test_trajectories_with_what_is_given_alone(tmp_path):
    u, force, nu = noise(N, T, Y, X), noise(N, Y, X), noise(N)
    arrays = {"u": u, "force": force, "nu": nu, "x": np.linspace(3, 1, X)}
    path = pack(arrays, tmp_path / "set.h5", axes="sample,time,y,x", dt=0.5)
    file = open_fields(path)
    assert (file.layout.axes, file.layout.constant) == (("y", "x"), ("force", "nu"))
    assert (file.dt, file.domain_extent, file.about["dtype"]) == (0.5, (1.0, 2.0), "float64")
    assert file.layout.coordinates[1] == tuple(np.linspace(3, 1, X)[::-1])
    data = TrajectoryModule(path, n_train=4, n_test=2, n_steps_in=1, n_steps_out=2,
                            input_only=["force", "nu"], dtype="float64")  # fmt: skip
    sample = data.train[3]
    assert (data.spec.input_only, data.spec.network_arguments["in_channels"]) == (
        ("force", "nu"),
        3,
    )
    turned = torch.from_numpy(force[3, :, ::-1].copy())
    assert torch.equal(
        sample["input_only"], torch.stack([turned, torch.full((Y, X), nu[3], dtype=torch.float64)])
    )
    assert torch.equal(sample["input"][0, 0], torch.from_numpy(u[3, 0, :, ::-1].copy()))


def test_unknown_times_stay_unknown_and_points_stay(tmp_path):
    points = np.sort(np.random.default_rng(1).random(X))
    arrays = {"u": noise(N, T, X), "x": points}
    file = open_fields(pack(arrays, tmp_path / "set.h5", axes="sample,time,x"))
    assert (file.dt, file.layout.times) == (None, None)
    assert file.layout.uneven == ("x",)
    assert file.layout.coordinates == (tuple(points),)


def test_the_command_in_four_lines(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", noise(N, X))
    np.save("y.npy", noise(N, X).astype(np.float32))
    assert main(["pack", "x.npy", "y.npy", "--axes", "sample,x", "--output", "set.h5"]) == 0
    assert re.search(r"fields +x, y\ninputs +x\nsamples +6\n", capsys.readouterr().out)
    assert torch.equal(open_fields("set.h5").read()[:, 0, 0], torch.from_numpy(np.load("x.npy")))
    pack(["x.npy", "y.npy"], "two.h5")  # a pair by its names
    each = '{x: "sample,x", y: "x,sample"}'
    np.save("y.npy", noise(X, N))
    assert main(["pack", "x.npy", "y.npy", "--axes", each, "--output", "three.h5"]) == 0
    assert open_fields("three.h5").n_samples == N


def test_errors_are_one_line_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", noise(N, X))
    pack(["x.npy"], "set.h5", axes="sample,x")
    for arguments, words in (
        ((["x.npy"], "a.h5"), r"axes of its arrays are, got x \(6, 8\)"),
        ((["x.npy"], "set.h5", "sample,x"), "must not exist yet"),
        ((["none.npy"], "a.h5"), "the file must exist, got none.npy"),
        ((["set.h5"], "a.h5"), "It can be used as it is"),
        ((["x.npy"], "a.h5", "sample,x", 1.0), "`dt` must be positive"),
        (([], "a.h5"), "must name files"),
    ):
        files, output, axes, dt = (*arguments, None, None)[:4]
        with pytest.raises((ValueError, OSError), match=words) as told:
            pack(files, output, axes=axes, dt=dt)
        assert "\n" not in str(told.value)
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_whole_or_nothing(tmp_path, bad):
    u = noise(N, X)
    u[4, 2] = bad
    kind = "float32" if np.isfinite(bad) else "as stored"
    with pytest.raises(ValueError, match=r"sample 4|must fit float32.*Pass dtype float64") as told:
        pack({"u": u}, tmp_path / "set.h5", axes="sample,x", dtype=kind)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []
    if np.isfinite(bad):  # the remedy
        pack({"u": u}, tmp_path / "set.h5", axes="sample,x", dtype="float64")


def test_a_disk_that_refuses_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FieldWriter, "_store", refuse)
    with pytest.raises(OSError, match="No space left"):
        pack({"u": noise(N, X)}, tmp_path / "set.h5", axes="sample,x")
    assert list(tmp_path.iterdir()) == []


def test_equal_arrays_make_equal_files(tmp_path):
    files = [pack({"u": noise(N, X)}, tmp_path / f"{i}.h5", axes="sample,x") for i in (0, 1)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_periodic_axis_is_one_step_longer_than_its_points(tmp_path):
    arrays = {"u": np.random.default_rng(0).random((10, 16)), "x": np.arange(16) / 16}
    for boundary, length in (("periodic", 1.0), ("dirichlet", 15 / 16)):
        path = pack(arrays, tmp_path / f"{boundary}.h5", boundary=[boundary])
        assert open_fields(path).domain_extent == (length,)
    # where the condition is told later, and where the length was told
    assert open_fields(path, boundary=["periodic"]).domain_extent == (1.0,)
    options = {"boundary": ["periodic"], "domain_extent": [3.0]}
    assert open_fields(pack(arrays, tmp_path / "b.h5", **options)).domain_extent == (3.0,)


@pytest.mark.parametrize("length", [0.0, -1.0])
def test_lengths_that_are_not_positive(tmp_path, length):
    arrays = {"u": np.random.default_rng(0).random((10, 16))}
    with pytest.raises(ValueError, match="`domain_extent` must be positive along each axis"):
        pack(arrays, tmp_path / "a.h5", axes="sample,x", domain_extent=[length])
    assert not list(tmp_path.iterdir())
