"""Zero-filled SENSE and mSENSE are one network."""

import pytest
import torch

from monarch_sciml.models import SENSE
from monarch_sciml.physics.mri import ifft2c

pytestmark = pytest.mark.filterwarnings("ignore:.*factor.*:UserWarning")


def sample(grid, coils=3, dtype=torch.complex64):
    torch.manual_seed(0)
    kspace = torch.randn(2, coils, *grid, dtype=dtype)
    maps = torch.randn(2, coils, *grid, dtype=dtype)
    mask = (torch.rand(2, *grid) > 0.5).to(dtype.to_real())
    return kspace * mask[:, None], mask, maps


@pytest.mark.parametrize("grid", [(16, 12), (15, 23), (23, 18)])
@pytest.mark.parametrize("options", [
    {}, {"kspace_weighting": True}, {"transform": "monarch"}, {"transform": "dense"},
    {"transform": "monarch", "transform_rank": 2, "kspace_weighting": True},
], ids=str)  # fmt: skip
def test_starts_as_zero_filled_sense(grid, options):
    kspace, mask, maps = sample(grid)
    expected = (maps.conj() * ifft2c(mask[:, None] * kspace)).sum(1)
    result = SENSE(grid, **options)(kspace, mask, maps)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_samples_outside_the_mask_are_ignored():
    kspace, mask, maps = sample((16, 12))
    network = SENSE((16, 12), transform="monarch")
    noisy = kspace + 100 * (1 - mask[:, None])
    torch.testing.assert_close(network(noisy, mask, maps), network(kspace, mask, maps))


def test_one_trained_network_applies_to_other_matrices():
    network = SENSE((16, 12), transform="monarch")
    kspace, mask, maps = sample((20, 14))
    untrained = network(kspace, mask, maps)
    torch.testing.assert_close(untrained, SENSE((20, 14))(kspace, mask, maps), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    trained = network(kspace, mask, maps)
    assert not torch.allclose(trained, untrained, atol=1e-2)


def test_published_parameter_count():
    count = sum(p.numel() for p in SENSE((512, 160), transform="monarch").parameters())
    assert count == 57_472
    assert not list(SENSE((512, 160)).parameters())


def test_random_initialisation_is_not_the_inverse_fft():
    kspace, mask, maps = sample((16, 12))
    random = SENSE((16, 12), transform="monarch", init="random")(kspace, mask, maps)
    assert not torch.allclose(random, SENSE((16, 12))(kspace, mask, maps), atol=1e-1)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda k, m, s: SENSE((16, 12))(k, m[:, :-1], s), "must have the size of the k-space"),
        (lambda k, m, s: SENSE((16, 12))(k, m, s[:, :-1]), "must have the size of the k-space"),
        (lambda k, m, s: SENSE((8, 8), kspace_weighting=True)(k, m, s), "needs its training mat"),
        (lambda k, m, s: SENSE((16,)), "must be the two sizes"),
        (lambda k, m, s: SENSE((16, 12), transform="wavelet"), "`transform` must be one of"),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call(*sample((16, 12)))
