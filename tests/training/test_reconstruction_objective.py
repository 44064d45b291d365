"""Losses and metrics of images: scikit-image, gradients, map sets, bad settings."""

import numpy as np
import pytest
import torch
from torch import nn

from monarch_sciml.training import ReconstructionObjective


class Shift(nn.Module):
    """A "reconstruction" that is off by a known complex number."""

    def forward(self, masked_kspace, mask, coil_maps):
        return masked_kspace[:, 0] + (3 + 4j)


def scans():
    g = torch.Generator().manual_seed(0)
    images = torch.randn(6, 9, 8, generator=g, dtype=torch.complex64)
    volume = torch.tensor([7, 2, 7, 2, 2, 7])
    peak = {int(v): images[volume == v].abs().max() for v in volume}
    return {
        "masked_kspace": images[:, None],
        "mask": torch.ones(6, 9, 8),
        "coil_maps": torch.ones(6, 1, 9, 8, dtype=torch.complex64),
        "target": images,
        "scale": torch.where(volume == 7, 2.0, 0.5),
        "max": torch.stack([peak[int(v)] for v in volume]),
        "volume": volume,
        "slice": torch.arange(6),
    }


@pytest.mark.parametrize(("criterion", "value"), [("l1", 5.0), ("mse", 25.0)])
def test_reconstruction_loss_is_of_the_complex_image(criterion, value):
    loss = ReconstructionObjective(criterion).loss(Shift(), scans())
    assert float(loss) == pytest.approx(value, rel=1e-5)


def test_ssim_loss_is_scikit_images():
    from skimage.metrics import structural_similarity

    samples = scans()
    expected = [
        1 - structural_similarity(
            t.abs().double().numpy(), (t + 3 + 4j).abs().double().numpy(), data_range=float(peak)
        )
        for t, peak in zip(samples["target"], samples["max"])
    ]  # fmt: skip
    loss = ReconstructionObjective("ssim").loss(Shift(), samples)
    assert loss.item() == pytest.approx(np.mean(expected), abs=1e-5)


def test_kspace_loss_is_the_error_of_every_coil():
    samples = scans()
    loss = ReconstructionObjective("kspace").loss(Shift(), samples)
    # a constant is one sample of k-space, sqrt(H W) times as large
    assert loss.item() == pytest.approx(5.0 * np.sqrt(9 * 8) / (9 * 8), rel=1e-5)
    maps = torch.randn(6, 3, 9, 8, dtype=torch.complex64)
    samples["coil_maps"] = maps
    error = maps.numpy() * (3 + 4j)
    spectrum = np.fft.fftn(error, axes=(-2, -1), norm="ortho")  # shifts do not change the mean
    loss = ReconstructionObjective("kspace").loss(Shift(), samples)
    assert loss.item() == pytest.approx(np.abs(spectrum).mean(), rel=1e-5)


def test_kspace_loss_is_of_one_map_set():
    samples = scans()
    samples["coil_maps"] = torch.ones(6, 6, 1, 9, 8, dtype=torch.complex64)  # would broadcast
    for objective in (ReconstructionObjective("kspace"), ReconstructionObjective(kspace_weight=1)):
        with pytest.raises(ValueError, match=r"needs one set of coil maps .*, got \(6, 6, 1, 9, 8"):
            objective.loss(Shift(), samples)
    assert ReconstructionObjective("l1").loss(Shift(), samples).isfinite()


def test_reconstruction_losses_add_up():
    samples = scans()
    parts = {
        name: ReconstructionObjective(name).loss(Shift(), samples).item()
        for name in ("l1", "ssim", "kspace")
    }
    both = ReconstructionObjective("l1", ssim_weight=0.5, kspace_weight=2.0)
    expected = parts["l1"] + 0.5 * parts["ssim"] + 2 * parts["kspace"]
    assert both.loss(Shift(), samples).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("criterion", ["l1", "mse", "ssim", "kspace"])
def test_reconstruction_losses_have_gradients(criterion):
    class Given(nn.Module):
        def __init__(self, image):
            super().__init__()
            self.image = image

        def forward(self, masked_kspace, mask, coil_maps):
            return self.image

    samples = scans()
    samples = {k: v[:2] for k, v in samples.items()}
    samples = {
        k: v.to(torch.complex128 if v.is_complex() else torch.float64) for k, v in samples.items()
    }
    image = samples["target"] * (1.1 + 0.2j)
    image = image.requires_grad_()
    objective = ReconstructionObjective(criterion)
    assert torch.autograd.gradcheck(
        lambda x: objective.loss(Given(x), samples), (image,), fast_mode=True
    )


def test_a_network_that_returns_nan_has_the_loss_nan():
    class Bad(nn.Module):
        def forward(self, masked_kspace, mask, coil_maps):
            return masked_kspace[:, 0] * torch.nan

    for criterion in ("l1", "ssim"):
        assert ReconstructionObjective(criterion).loss(Bad(), scans()).isnan()


@pytest.mark.parametrize("name", ["ssim_weight", "kspace_weight"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_bad_weights_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be zero or positive"):
        ReconstructionObjective(**{name: value})


def test_reconstruction_metrics_are_scikit_images_of_each_volume_in_the_datas_unit():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    samples = scans()
    objective = ReconstructionObjective()
    rows = objective.evaluate(Shift(), samples)
    assert all(value.shape == (6,) for value in rows.values())
    metrics = objective.reduce(rows)
    assert set(metrics) == {"nmse", "psnr", "ssim"}
    scale = samples["scale"][:, None, None].double().numpy()
    target = samples["target"].abs().double().numpy() * scale
    prediction = (samples["target"] + 3 + 4j).abs().double().numpy() * scale
    for unit, number in enumerate((2, 7)):
        inside = (samples["volume"] == number).numpy()
        t, p = target[inside], prediction[inside]
        peak = t.max()
        assert float(metrics["nmse"][unit]) == pytest.approx(((t - p) ** 2).sum() / (t**2).sum())
        psnr = peak_signal_noise_ratio(t, p, data_range=peak)
        assert float(metrics["psnr"][unit]) == pytest.approx(psnr)
        ssim = np.mean([structural_similarity(a, b, data_range=peak) for a, b in zip(t, p)])
        assert float(metrics["ssim"][unit]) == pytest.approx(ssim, abs=1e-6)


def test_unknown_criterion_is_refused():
    with pytest.raises(ValueError, match="`criterion` must be one of 'l1', 'mse', 'ssim'"):
        ReconstructionObjective("l3")
