"""Waves in one fixed medium: what the file holds, resolutions, a medium of the user's, refusals."""

import numpy as np
import pytest
import torch

from monarch_sciml.data import FieldFile, PairModule
from monarch_sciml.solvers.media import Medium

pytestmark = pytest.mark.usefixtures("one_thread")


def at_points(resolution, periodic=True):
    x = torch.arange(resolution, dtype=torch.float64) / (resolution - (not periodic))
    return [x, x]


def test_one_medium_in_every_sample_and_frame(tmp_path, make, read):
    medium = Medium(seed=5)
    path = make("wave_in_medium", tmp_path / "a.h5", medium=medium)
    stored = read(path, "medium")
    wanted = medium.function((9, 9), periodic=True)(*at_points(9)).float()
    assert torch.equal(stored, wanted.expand_as(stored))
    file = FieldFile(path)
    assert file.layout.constant == ("medium",) and file.layout.varying[0] == "displacement"
    assert file.about["parameters"]["medium"]["seed"] == 5
    displacement = read(path, "displacement")
    assert not torch.allclose(displacement[0], displacement[1], atol=0.1)
    assert read(path, "velocity")[:, 0].abs().max() == 0 < read(path, "velocity")[:, 1].abs().min()


def test_seeds_of_medium_and_samples_are_apart(tmp_path, make, read):
    first = read(make("wave_in_medium", tmp_path / "a.h5", medium=Medium(seed=0)))
    other = read(make("wave_in_medium", tmp_path / "b.h5", medium=Medium(seed=1)))
    assert torch.equal(first[:, 0, 0], other[:, 0, 0])  # the same initial displacement
    assert not torch.allclose(first[:, -1, 0], other[:, -1, 0], atol=0.05)
    assert not torch.allclose(first[:, 0, 2], other[:, 0, 2], atol=0.05)


@pytest.mark.parametrize("sides", ["periodic", "dirichlet", "absorbing"])
def test_same_waves_at_another_resolution(tmp_path, make, read, sides):
    sizes = (8, 16) if sides == "periodic" else (9, 17)
    coarse, fine = (
        read(make("wave_in_medium", tmp_path / f"{n}.h5", resolution=n, sides=sides, grid=36))
        for n in sizes
    )
    torch.testing.assert_close(fine[..., ::2, ::2], coarse, rtol=0, atol=1e-5)
    if sides != "periodic":
        assert coarse[:, 0, 0, 0].abs().max() < 1e-6  # at rest and zero at the sides
    if sides == "dirichlet":
        assert coarse[:, :, :2, :, -1].abs().max() < 1e-6


def test_one_axis_layers_and_pairs(tmp_path, make):
    layered = Medium(kind="layered", n_layers=4)
    path = make("wave_in_medium", tmp_path / "a.h5", n_dims=1, medium=layered, sides="absorbing")
    assert FieldFile(path).grid_shape == (9,) and FieldFile(path).boundary == ("open",)
    names = {"input_fields": ["displacement", "medium"], "target_fields": ["displacement"]}
    module = PairModule(path, n_train=3, n_test=2, input_frame=0, target_frame=-1, **names)
    sample = module.train[0]
    assert sample["input"].shape == (1, 2, 9) and sample["target"].shape == (1, 1, 9)
    assert len(sample["input"][0, 1].unique()) == 4


def test_medium_of_an_array(tmp_path, make, read):
    values = np.random.default_rng(0).uniform(0.5, 2.0, (9, 9))
    np.save(tmp_path / "m.npy", values)
    medium = Medium(kind="given", file=tmp_path / "m.npy")
    path = make("wave_in_medium", tmp_path / "a.h5", medium=medium)
    np.testing.assert_allclose(read(path, "medium")[2, 1, 0], values, rtol=1e-6)
    np.save(tmp_path / "m.npy", values + 0.1)  # another medium is another set
    with pytest.raises(ValueError, match="another `parameters`"):
        make("wave_in_medium", path, medium=medium, exist_ok=True)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"grid": 34}, "multiple of 4.*got 34. Take 36"),
        ({"grid": 16}, "at least twice `resolution`.*Take 32 or more"),
        (
            {"medium": Medium(kind="layered", n_layers=5)},
            "5 layers must end where two elements meet, got 8 .* Take a `grid` of 40",
        ),
        ({"n_modes": 3}, "16 times `n_modes`, got 32. Take 48 or more"),
        ({"n_modes": 5, "sides": "dirichlet"}, "8 times `n_modes`, got 32. Take 40 or more"),
        ({"medium": Medium(correlation_length=0.05)}, "2.5 nodes within .* got 1.6 of 32. Take 50"),
        ({"cubic": 1e4}, "energy .* must be kept within 2 %, got a change of .* a smaller `dt`"),
        ({"cubic": 1e8}, "must stay finite"),
        ({"dt": 0.1}, "`dt` must be at most"),
        ({"n_dims": 3}, "n_dims"),
        ({"sides": "hard"}, "sides"),
        ({"cubic": -1.0}, "cubic"),
        ({"tau": -1.0}, "tau"),
        ({"t_end": 0.0}, "t_end"),
    ],
)
def test_bad_arguments_leave_nothing(tmp_path, make, change, match):
    with pytest.raises(ValueError, match=match):
        make("wave_in_medium", tmp_path / "a.h5", **change)
    assert not list(tmp_path.iterdir())
