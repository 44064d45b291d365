"""Errors of fields against formulas written out by hand and against neuralop."""

import math

import numpy as np
import pytest
import torch

from monarch_sciml.metrics import fields as m

SHAPES = [(3, 4, 2, 16), (2, 3, 1, 32, 30), (2, 2, 2, 26, 8, 9), (2, 1, 1, 7, 9)]
PAIRWISE = [
    m.relative_l2,
    m.relative_l2_over_time,
    m.rmse,
    m.nrmse,
    m.vrmse,
    m.max_error,
    m.boundary_rmse,
    m.fourier_rmse,
]


def pair(shape: tuple[int, ...], dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(sum(shape))
    target = torch.randn(shape, generator=generator, dtype=dtype) + 0.5
    return target + 0.2 * torch.randn(shape, generator=generator, dtype=dtype), target


@pytest.mark.parametrize("shape", SHAPES)
class TestByHand:
    def test_relative_l2(self, shape):
        p, t = (x.numpy() for x in pair(shape))
        expected = [math.sqrt(((a - b) ** 2).sum() / (b**2).sum()) for a, b in zip(p, t)]
        assert np.allclose(m.relative_l2(*pair(shape)), expected, rtol=1e-12)

    def test_relative_l2_over_time(self, shape):
        p, t = (x.numpy() for x in pair(shape))
        expected = [
            [np.linalg.norm((a - b).ravel()) / np.linalg.norm(b.ravel()) for a, b in zip(x, y)]
            for x, y in zip(p, t)
        ]
        assert np.allclose(m.relative_l2_over_time(*pair(shape)), expected, rtol=1e-12)

    def test_rmse_nrmse_vrmse(self, shape):
        p, t = (x.numpy() for x in pair(shape))
        axes = tuple(range(3, len(shape)))
        root = np.sqrt(((p - t) ** 2).mean(axis=axes))
        rms = np.sqrt((t**2).mean(axis=axes))
        deviation = np.sqrt(t.var(axis=axes, ddof=1) + 1e-7)
        assert np.allclose(m.rmse(*pair(shape)), root.mean(axis=(1, 2)), rtol=1e-12)
        assert np.allclose(m.nrmse(*pair(shape)), (root / rms).mean(axis=(1, 2)), rtol=1e-12)
        assert np.allclose(m.vrmse(*pair(shape)), (root / deviation).mean(axis=(1, 2)), rtol=1e-12)

    def test_max_error(self, shape):
        p, t = (x.numpy() for x in pair(shape))
        assert np.allclose(m.max_error(*pair(shape)), [abs(a - b).max() for a, b in zip(p, t)])

    def test_boundary_rmse(self, shape):
        p, t = (x.numpy() for x in pair(shape))
        grid = shape[3:]
        expected = np.zeros(shape[0])
        for b in range(shape[0]):
            for step in range(shape[1]):
                for field in range(shape[2]):
                    total, count = 0.0, 0
                    for point in np.ndindex(*grid):
                        # a point on several faces counts once for each
                        faces = sum(i in (0, n - 1) for i, n in zip(point, grid))
                        total += faces * (p - t)[(b, step, field, *point)] ** 2
                        count += faces
                    expected[b] += math.sqrt(total / count) / (shape[1] * shape[2])
        assert np.allclose(m.boundary_rmse(*pair(shape)), expected, rtol=1e-12)

    def test_fourier_rmse(self, shape):
        p, t = pair(shape)
        grid = shape[3:]
        expected = np.zeros((shape[0], 3))
        spectrum = np.fft.fftn((p - t).numpy(), axes=tuple(range(3, len(shape))))
        n_shells = grid[0] // 2 + 1 if len(grid) == 1 else min(grid) // 2
        for b in range(shape[0]):
            for step in range(shape[1]):
                for field in range(shape[2]):
                    shells = np.zeros(n_shells)
                    limits = [n_shells] if len(grid) == 1 else [n // 2 for n in grid]
                    for point in np.ndindex(*limits):
                        shell = math.floor(math.sqrt(sum(i * i for i in point)))
                        if shell < n_shells:
                            shells[shell] += abs(spectrum[(b, step, field, *point)]) ** 2
                    shells = np.sqrt(shells) / math.prod(grid)
                    for band, part in enumerate((shells[:4], shells[4:12], shells[12:])):
                        value = part.mean() if part.size else math.nan
                        expected[b, band] += value / (shape[1] * shape[2])
        assert np.allclose(m.fourier_rmse(p, t), expected, rtol=1e-10, equal_nan=True)

    def test_energy_spectrum_is_parseval(self, shape):
        field, _ = pair(shape)
        spectrum = m.energy_spectrum(field)
        assert spectrum.shape[:3] == shape[:3]
        assert torch.allclose(spectrum.sum(-1), 0.5 * field.square().flatten(3).mean(-1))

    def test_float32_and_complex(self, shape):
        real = pair(shape)
        for metric in PAIRWISE:
            single = metric(*(x.float() for x in real))
            assert single.dtype == torch.float32
            assert torch.allclose(single.double(), metric(*real), rtol=1e-4, equal_nan=True)
            turned = metric(*((1j * x) for x in real))
            if metric is not m.fourier_rmse:
                assert torch.allclose(turned, metric(*real))

    def test_zero_for_equal_fields(self, shape):
        _, target = pair(shape)
        for metric in PAIRWISE:
            assert metric(target, target).nan_to_num().abs().max() == 0


class TestMeaning:
    def test_energy_spectrum_finds_the_wavenumber(self):
        x = torch.arange(32) / 32
        wave = torch.cos(2 * math.pi * (3 * x[:, None] + 4 * x[None, :])).expand(1, 1, 1, 32, 32)
        spectrum = m.energy_spectrum(wave)[0, 0, 0]
        assert int(spectrum.argmax()) == 5
        assert spectrum[5] == pytest.approx(0.25, rel=1e-5)

    def test_fourier_bands(self):
        x = torch.arange(64, dtype=torch.float64) / 64
        for wave, band in ((2, 0), (7, 1), (20, 2)):
            error = torch.cos(2 * math.pi * wave * x)[:, None].expand(1, 1, 1, 64, 64)
            bands = m.fourier_rmse(error, torch.zeros_like(error))[0]
            assert int(bands.argmax()) == band
            assert bands.sum() == pytest.approx(float(bands[band]))

    def test_spatial_mean_scores_one_in_vrmse(self):
        _, target = pair((2, 1, 1, 64, 64))
        mean = target.mean(dim=(-1, -2), keepdim=True).expand_as(target)
        assert torch.allclose(m.vrmse(mean, target), torch.ones(2).double(), atol=1e-3)

    def test_gradients_flow(self):
        prediction, target = pair((2, 2, 1, 8, 8))
        prediction.requires_grad_()
        m.relative_l2(prediction, target, check=False).sum().backward()
        assert prediction.grad is not None
        assert prediction.grad.abs().sum() > 0


class TestNeuralop:
    def test_lp_loss_over_all_axes_is_the_sum(self):
        from neuralop.losses import LpLoss

        prediction, target = pair((4, 3, 2, 8, 9), torch.float32)
        ours = m.relative_l2(prediction, target)
        theirs = LpLoss(d=4, p=2).rel(prediction, target)
        assert float(ours.sum()) == pytest.approx(float(theirs), rel=1e-5)

    def test_lp_loss_over_the_grid_alone_is_not(self):
        from neuralop.losses import LpLoss

        prediction, target = pair((4, 3, 2, 8, 9), torch.float32)
        theirs = float(LpLoss(d=2, p=2).rel(prediction, target))
        assert theirs > 2 * float(m.relative_l2(prediction, target).sum())


class TestBadInput:
    @pytest.mark.parametrize("metric", PAIRWISE)
    def test_shapes(self, metric):
        with pytest.raises(ValueError, match=r"shape of `target`.*\(1, 1, 1, 8\)"):
            metric(torch.ones(1, 1, 1, 8), torch.ones(1, 1, 1, 9))
        with pytest.raises(ValueError, match=r"must have shape|must not be empty"):
            metric(torch.ones(4), torch.ones(4))
        with pytest.raises(ValueError, match="empty"):
            metric(torch.ones(0, 1, 1, 8), torch.ones(0, 1, 1, 8))

    @pytest.mark.parametrize("metric", [m.relative_l2, m.relative_l2_over_time, m.nrmse])
    def test_zero_target(self, metric):
        prediction, target = pair((3, 2, 1, 8))
        target[1] = 0
        with pytest.raises(ValueError, match=r"not zero, got zero at index \(1.*`rmse`"):
            metric(prediction, target)
        assert torch.isinf(metric(prediction, target, check=False)).any()

    def test_no_grid(self):
        with pytest.raises(ValueError, match="grid"):
            m.energy_spectrum(torch.ones(2, 3, 4))
