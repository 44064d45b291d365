"""Fixed media: statistics, layers, arrays of the user's, and what is refused."""

import math

import numpy as np
import pytest
import torch

from monarch_sciml.solvers.media import Medium

TAU = 2 * math.pi


def points(n, periodic=True):
    return torch.arange(n, dtype=torch.float64) / (n if periodic else n - 1)


class TestSmooth:
    @pytest.mark.parametrize("n_dims", [1, 2])
    def test_mean_contrast_and_period(self, n_dims):
        medium = Medium(seed=3, mean=2.0, contrast=0.5, correlation_length=0.1)
        field = medium.function((32,) * n_dims, periodic=True)
        logarithm = field(*[points(64)] * n_dims).log()
        assert float(logarithm.mean()) == pytest.approx(math.log(2.0), abs=1e-12)
        assert float(logarithm.std(correction=0)) == pytest.approx(0.5, rel=1e-12)
        assert torch.allclose(field(*[points(16) + 1] * n_dims), field(*[points(16)] * n_dims))

    def test_correlation(self):
        length, lags = 0.08, np.arange(0, 12)
        found = np.zeros(len(lags))
        for seed in range(100):
            medium = Medium(seed=seed, contrast=1.0, correlation_length=length)
            g = medium.function((128,), periodic=True)(points(128)).log().numpy()
            found += [np.mean(g * np.roll(g, lag)) / 100 for lag in lags]
        k = np.arange(1, 30)  # the periodic form of exp(−r² / 2ℓ²), its mean removed
        power = np.exp(-2 * (np.pi * k * length) ** 2)
        wanted = np.cos(TAU * lags[:, None] / 128 * k) @ power / power.sum()
        assert np.abs(found - wanted).max() < 0.1

    def test_same_at_every_resolution_and_its_own_seed(self):
        coarse = Medium(seed=1).function((8, 8), periodic=True)(points(8), points(8))
        fine = Medium(seed=1).function((16, 16), periodic=True)(points(16), points(16))
        torch.testing.assert_close(fine[::2, ::2], coarse)
        other = Medium(seed=2).function((8, 8), periodic=True)(points(8), points(8))
        assert not torch.allclose(coarse, other, rtol=0.1)


class TestLayered:
    def test_layers_across_the_last_axis(self):
        medium = Medium(kind="layered", n_layers=4, contrast=0.7, mean=3.0)
        field = medium.function((16, 16), periodic=False)(points(5), (torch.arange(16) + 0.5) / 16)
        assert field.shape == (5, 16) and torch.equal(field[0], field[4])
        assert torch.equal(field.view(5, 4, 4)[..., :1].expand(5, 4, 4), field.view(5, 4, 4))
        logarithm = field.log()
        assert float(logarithm.mean()) == pytest.approx(math.log(3.0))
        assert float(logarithm.std(correction=0)) == pytest.approx(0.7)

    def test_one_layer_is_homogeneous(self):
        field = Medium(kind="layered", n_layers=1).function((8,), periodic=True)
        assert torch.equal(field(points(8)), torch.ones(8, dtype=torch.float64))


class TestGiven:
    @pytest.mark.parametrize("periodic", [True, False])
    def test_values_at_the_grid_and_no_overshoot(self, tmp_path, periodic):
        values = np.random.default_rng(0).uniform(0.5, 4.0, (9, 7))
        np.save(tmp_path / "m.npy", values)
        medium = Medium(kind="given", file=tmp_path / "m.npy")
        field = medium.function((9, 7), periodic=periodic)
        at_grid = field(points(9, periodic), points(7, periodic))
        assert np.allclose(at_grid.numpy(), values, rtol=1e-12)
        between = field(points(101, periodic), points(57, periodic))
        assert between.min() >= 0.5 - 1e-9 and between.max() <= 4.0 + 1e-9

    @pytest.mark.parametrize(
        ("values", "match"),
        [
            (np.ones((9, 8)), r"of shape \(9, 7\), as the stored grid, got float64 of shape"),
            (np.zeros((9, 7)), r"positive and finite everywhere, got 63 .* 0.0 at \(0, 0\)"),
            (np.full((9, 7), np.nan), "positive and finite"),
            (np.ones((9, 7), complex), "real numbers"),
        ],
    )
    def test_bad_arrays(self, tmp_path, values, match):
        np.save(tmp_path / "m.npy", values)
        with pytest.raises(ValueError, match=match):
            Medium(kind="given", file=tmp_path / "m.npy").function((9, 7), periodic=True)

    def test_values_at_cell_centres_between_walls(self, tmp_path):
        values = np.random.default_rng(0).uniform(0.5, 4.0, (9, 7))
        np.save(tmp_path / "m.npy", values)
        medium = Medium(kind="given", file=tmp_path / "m.npy")
        field = medium.function((9, 7), periodic=False, cell_centres=True)
        centres = [(torch.arange(n, dtype=torch.float64) + 0.5) / n for n in (9, 7)]
        assert np.allclose(field(*centres).numpy(), values, rtol=1e-12)
        near, beyond = (field(torch.tensor([0.05 * sign]), centres[1]) for sign in (1, -1))
        torch.testing.assert_close(near, beyond)  # mirrored at the wall

    @pytest.mark.parametrize(
        "damage",
        [(b"(9, 7)", b"((9, 7"), (b"(9, 7), }      ", b"(10**14,), }   "), (b"}", b" ")],
        ids=["bracket", "arithmetic", "end"],
    )
    def test_a_damaged_header_is_one_line(self, tmp_path, damage):
        np.save(tmp_path / "m.npy", np.ones((9, 7)))
        content = (tmp_path / "m.npy").read_bytes()
        assert damage[0] in content
        (tmp_path / "m.npy").write_bytes(content.replace(*damage, 1))
        with pytest.raises(ValueError, match=r"m\.npy must be a complete \.npy file"):
            Medium(kind="given", file=tmp_path / "m.npy").function((9, 7), periodic=True)

    def test_a_header_larger_than_memory(self, tmp_path):
        np.save(tmp_path / "m.npy", np.ones((9, 7)))
        content = (tmp_path / "m.npy").read_bytes()
        huge = content.replace(b"(9, 7), }       ", b"(90000000, 70)}")
        (tmp_path / "m.npy").write_bytes(huge[:128] + content[128:])
        with pytest.raises(ValueError, match=r"m\.npy must be a complete \.npy file"):
            Medium(kind="given", file=tmp_path / "m.npy").function((9, 7), periodic=True)

    def test_no_array(self, tmp_path):
        (tmp_path / "m.npy").write_text("no array")
        with pytest.raises(ValueError, match=r"must be an array in a \.npy file"):
            Medium(kind="given", file=tmp_path / "m.npy").function((9, 7), periodic=True)
        with pytest.raises(FileNotFoundError, match="the file must exist"):
            Medium(kind="given", file=tmp_path / "n.npy").function((9, 7), periodic=True)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kind": "rough"}, "medium.kind"),
        ({"kind": "given"}, "`medium.file` must be named"),
        ({"seed": -1}, "medium.seed"),
        ({"mean": 0.0}, "medium.mean"),
        ({"contrast": -0.1}, "medium.contrast"),
        ({"correlation_length": 0.001}, "between 0.01 and 1"),
        ({"n_layers": 0}, "medium.n_layers"),
    ],
)
def test_bad_arguments(change, match):
    with pytest.raises(ValueError, match=match):
        Medium(**change)
