"""Image metrics: scikit-image, plain formulas, volumes put together from batches, bad input."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from monarch_sciml.metrics import nmse, psnr, psnr_skm_tea, ssim
from monarch_sciml.metrics.images import image_statistics, volume_metrics


def volume(n_slices, shape=(17, 22), seed=0, dtype=torch.float64, scale=1.0):
    """A smooth positive volume and a noisy prediction of it."""
    rng = np.random.default_rng(seed)
    target = np.abs(np.cumsum(rng.normal(size=(n_slices, *shape)), axis=-1)) * scale
    prediction = np.abs(target + 0.3 * scale * rng.normal(size=target.shape))
    return torch.from_numpy(prediction).to(dtype), torch.from_numpy(target).to(dtype)


def reference(prediction, target):
    """The figures as fastMRI's evaluate.py takes them from numpy and scikit-image."""
    p, t = prediction.double().numpy(), target.double().numpy()
    similarities = [structural_similarity(a, b, data_range=t.max()) for a, b in zip(t, p)]
    return {
        "nmse": np.linalg.norm(t - p) ** 2 / np.linalg.norm(t) ** 2,
        "psnr": peak_signal_noise_ratio(t, p, data_range=t.max()),
        "ssim": np.mean(similarities),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 1e-6])
@pytest.mark.parametrize("shape", [(17, 22), (7, 7), (32, 9)])
def test_a_volume_equals_scikit_image(dtype, scale, shape):
    prediction, target = volume(3, shape, dtype=dtype, scale=scale)
    expected = reference(prediction, target)
    for function in (nmse, psnr, ssim):
        value = function(prediction, target)
        assert value.dtype == torch.float64
        assert value.item() == pytest.approx(expected[function.__name__], rel=1e-9)


def test_a_given_data_range():
    prediction, target = volume(2)
    p, t = prediction.numpy(), target.numpy()
    expected = np.mean([structural_similarity(a, b, data_range=40.0) for a, b in zip(t, p)])
    assert ssim(prediction, target, 40.0).item() == pytest.approx(expected, rel=1e-9)
    expected = peak_signal_noise_ratio(t, p, data_range=40.0)
    assert psnr(prediction, target, 40.0).item() == pytest.approx(expected, rel=1e-12)


def test_volumes_put_together_from_shuffled_batches():
    volumes = {7: volume(4, seed=1), 2: volume(3, seed=2, scale=20.0), 5: volume(1, seed=3)}
    predictions = torch.cat([p for p, _ in volumes.values()])
    targets = torch.cat([t for _, t in volumes.values()])
    ids = torch.tensor([i for i, (p, _) in volumes.items() for _ in p])
    ranges = torch.tensor([float(t.max()) for _, t in volumes.values() for _ in t])
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    batches = [image_statistics(predictions[b], targets[b], ranges[b]) for b in order.split(3)]
    pieces = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    assert set(pieces) == {"squared_error", "squared_target", "n_pixels", "ssim", "max"}
    figures = volume_metrics(pieces, ids[order])
    assert figures["volume"].tolist() == [2, 5, 7]
    for row, index in enumerate(figures["volume"].tolist()):
        expected = reference(*volumes[index])
        for name, value in expected.items():
            assert figures[name][row].item() == pytest.approx(value, rel=1e-6)


def test_perfect_and_silent_predictions():
    _, target = volume(2)
    assert nmse(target, target) == 0 and ssim(target, target) == pytest.approx(1)
    assert torch.isinf(psnr(target, target)) and torch.isinf(psnr_skm_tea(target, target))
    assert nmse(torch.zeros_like(target), target) == 1
    # an empty slice of a volume that is not empty is no error
    target[0] = 0
    assert 0 < ssim(target + 0.1, target) < 1


def test_psnr_of_skm_tea():
    prediction, target = volume(2)
    target = torch.polar(target, target)
    prediction = torch.polar(prediction, prediction + 0.1)
    error = np.sqrt(np.mean(np.abs((prediction - target).numpy()) ** 2))
    expected = 20 * np.log10(np.abs(target.numpy()).max() / error)
    assert psnr_skm_tea(prediction, target).item() == pytest.approx(expected, rel=1e-12)
    magnitudes = prediction.abs(), target.abs()
    assert psnr_skm_tea(*magnitudes) == pytest.approx(psnr(*magnitudes).item(), rel=1e-12)
    assert psnr_skm_tea(prediction[0, 0], target[0, 0]).isfinite()


def test_the_metrics_have_gradients():
    prediction, target = volume(2)
    prediction.requires_grad_()
    ssim(prediction, target).backward()
    assert prediction.grad is not None and prediction.grad.abs().sum() > 0


ONES = torch.ones(2, 8, 8)
RANGE = torch.ones(2)


@pytest.mark.parametrize("function", [nmse, psnr, ssim])
@pytest.mark.parametrize(
    ("prediction", "target", "text"),
    [
        (ONES, ONES[:1], r"shape \(1, 8, 8\) of `target`, got \(2, 8, 8\)"),
        (ONES, 0 * ONES, "must not be zero everywhere"),
        (ONES * torch.nan, ONES, "`prediction` must be finite, got 128 NaN"),
        (ONES, ONES / 0, "`target` must be finite"),
        (ONES[0], ONES[0], r"real magnitudes of shape \(slices, H, W\)"),
        (ONES + 0j, ONES + 0j, "real magnitudes"),
    ],
)
def test_bad_volumes(function, prediction, target, text):
    with pytest.raises(ValueError, match=text):
        function(prediction, target)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ssim(ONES[..., :6], ONES[..., :6]), r"at least 7 x 7 .*, got \(8, 6\)"),
        (lambda: ssim(ONES, ONES, 0.0), "`data_range` must be positive, got 0"),
        (lambda: image_statistics(ONES, ONES, RANGE[:1]), "one value a slice"),
        (lambda: image_statistics(ONES, ONES, 0 * RANGE), "`data_range` must be positive"),
        (lambda: psnr_skm_tea(ONES * torch.nan, ONES), "must be finite"),
        (lambda: psnr_skm_tea(ONES, 0 * ONES), "must not be zero everywhere"),
        (
            lambda: volume_metrics(image_statistics(ONES, ONES, RANGE), torch.zeros(3)),
            r"`volume_ids` must have shape \(2,\), got \(3,\)",
        ),
        (
            lambda: volume_metrics(image_statistics(ONES, 0 * ONES, RANGE), torch.tensor([4, 4])),
            "zero everywhere, got volume 4",
        ),
    ],
)
def test_bad_input(make, text):
    with pytest.raises(ValueError, match=text) as error:
        make()
    assert "\n" not in str(error.value)
