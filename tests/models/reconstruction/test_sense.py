"""Zero-filled SENSE and mSENSE are one network."""

import copy

import pytest
import torch
from tolerances import assert_close

from monarch_sciml.models import SENSE
from monarch_sciml.physics.sense_operator import combine_map_sets, ifft2c

pytestmark = pytest.mark.filterwarnings("ignore:.*factor.*:UserWarning")


def sample(grid, coils=3, dtype=torch.complex64):
    torch.manual_seed(0)
    kspace = torch.randn(2, coils, *grid, dtype=dtype)
    maps = torch.randn(2, coils, *grid, dtype=dtype)
    mask = (torch.rand(2, *grid) > 0.5).to(dtype.to_real())
    return kspace * mask[:, None], mask, maps


def perturbed(network, scale=0.1):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("grid", [(16, 12), (15, 23), (23, 18)])
@pytest.mark.parametrize("options", [
    {}, {"kspace_weighting": True}, {"transform": "monarch"}, {"transform": "dense"},
    {"transform": "monarch", "transform_rank": 2, "kspace_weighting": True},
    {"transform": "monarch", "n_coils": 3}, {"transform": "dense", "n_coils": 3},
    {"transform": "monarch", "separable": False}, {"transform": "dense", "separable": False},
], ids=str)  # fmt: skip
def test_starts_as_zero_filled_sense(grid, options):
    kspace, mask, maps = sample(grid, dtype=torch.complex128)
    expected = (maps.conj() * ifft2c(mask[:, None] * kspace)).sum(1)
    result = SENSE(grid, **options).double()(kspace, mask, maps)
    assert_close(result, expected, relative=1e-10)


@pytest.mark.parametrize("grid", [(230, 180), (218, 368)])
def test_matrices_of_real_scanners(grid):
    kspace, mask, maps = sample(grid, coils=2)
    result = SENSE(grid, transform="monarch")(kspace, mask, maps)
    assert_close(result, SENSE(grid)(kspace, mask, maps), relative=0.0001)


def test_samples_outside_the_mask_are_ignored():
    kspace, mask, maps = sample((16, 12))
    network = SENSE((16, 12), transform="monarch")
    noisy = kspace + 100 * (1 - mask[:, None])
    torch.testing.assert_close(network(noisy, mask, maps), network(kspace, mask, maps))


def test_one_transform_per_coil_sees_its_coil_alone():
    kspace, mask, maps = sample((16, 12))
    network = perturbed(SENSE((16, 12), transform="monarch", n_coils=3))
    shared = SENSE((16, 12), transform="monarch")
    total = 0
    for coil in range(3):
        for own, all_coils in zip(shared.parameters(), network.parameters()):
            own.data = all_coils.data[coil]
        total = total + shared(kspace[:, [coil]], mask, maps[:, [coil]])
    assert_close(network(kspace, mask, maps), total, relative=0.0001)
    with pytest.raises(ValueError, match="n_copies=3"):
        network(kspace[:, :2], mask, maps[:, :2])


@pytest.mark.parametrize("resampling", ["relative", "frequency"])
@pytest.mark.parametrize("options", [{}, {"n_coils": 3}], ids=str)
def test_one_trained_network_applies_to_other_matrices(resampling, options):
    network = SENSE((16, 12), transform="monarch", resampling=resampling, **options).double()
    kspace, mask, maps = sample((20, 14), dtype=torch.complex128)
    untrained = network(kspace, mask, maps)
    torch.testing.assert_close(untrained, SENSE((20, 14))(kspace, mask, maps))
    trained = perturbed(network)(kspace, mask, maps)
    assert not torch.allclose(trained, untrained, atol=1e-2)
    again = copy.deepcopy(network)(kspace, mask, maps)
    torch.testing.assert_close(again, trained)
    trained.abs().sum().backward()
    assert all(bool(p.grad.abs().max() > 0) for p in network.parameters())


def test_relative_resampling_keeps_a_density_compensation():
    """A transform that has learned 1 + |k|, k in units of the matrix, does so on any matrix."""

    def profile(n):
        return 1 + (torch.arange(n, dtype=torch.float64) - n // 2).abs() / n

    def weights(n):
        return profile(n[0])[:, None] * profile(n[1])

    network = SENSE((16, 12), transform="dense").double()
    with torch.no_grad():
        for axis, n in enumerate((16, 12)):
            transform = network.transform[axis]
            rows = (transform.matrix() * (profile(n) - 1)).mT * n**0.5  # (k, x)
            transform.weight.copy_(torch.view_as_real(rows.contiguous()))
    weighting = SENSE((16, 12), kspace_weighting=True).double()
    with torch.no_grad():
        weighting.weighting.copy_(weights((16, 12)) - 1)
    for grid in [(16, 12), (32, 24), (23, 30)]:
        kspace, mask, maps = sample(grid, dtype=torch.complex128)
        # the outermost points of a finer matrix lie beyond those of the coarser one
        for axis, n in ((-2, 16), (-1, 12)):
            size = kspace.shape[axis]
            place = (torch.arange(size) - size // 2) / size
            inside = (place * n >= -(n // 2)) & (place * n <= n - 1 - n // 2)
            kspace = kspace * (inside[:, None] if axis == -2 else inside)
        expected = SENSE(grid)(weights(grid) * kspace, mask, maps)
        torch.testing.assert_close(network(kspace, mask, maps), expected)
        if grid != (23, 30):  # bilinear in the product of two profiles
            torch.testing.assert_close(weighting(kspace, mask, maps), expected)


def test_published_parameter_count():
    count = sum(p.numel() for p in SENSE((512, 160), transform="monarch").parameters())
    assert count == 57_472
    assert not list(SENSE((512, 160)).parameters())


def test_parameters_of_the_ablations():
    def count(**options):
        return sum(p.numel() for p in SENSE((16, 12), **options).parameters())

    assert count(transform="monarch", n_coils=3) == 3 * count(transform="monarch")
    # H W (H + W) complex numbers: a two-factor Monarch matrix of the flattened plane
    assert count(transform="dense", separable=False) == 2 * 16 * 12 * (16 + 12)
    assert count(transform="monarch", separable=False) == 2 * 16 * 12 * (4 + 4 + 3 + 4)


def test_random_initialisation_is_not_the_inverse_fft():
    kspace, mask, maps = sample((16, 12))
    random = SENSE((16, 12), transform="monarch", init="random")(kspace, mask, maps)
    assert not torch.allclose(random, SENSE((16, 12))(kspace, mask, maps), atol=1e-1)


def test_learns_a_density_compensation():
    kspace, mask, maps = sample((16, 12))
    target = SENSE((16, 12))(2 * kspace, mask, maps)
    for options in ({"transform": "monarch", "n_coils": 3}, {"transform": "dense"},
                    {"transform": "monarch", "separable": False}):  # fmt: skip
        network = SENSE((16, 12), **options)
        optimizer = torch.optim.Adam(network.parameters(), 0.02)
        losses = []
        for _ in range(10):
            loss = (network(kspace, mask, maps) - target).abs().square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda k, m, s: SENSE((16, 12))(k, m[:, :-1], s), "must have the size of the k-space"),
        (lambda k, m, s: SENSE((16, 12))(k, m, s[:, :-1]), "must have the size of the k-space"),
        (
            lambda k, m, s: SENSE((8, 8), kspace_weighting=True, resampling="frequency")(k, m, s),
            "needs its training matrix",
        ),
        (
            lambda k, m, s: SENSE((8, 8), transform="monarch", separable=False)(k, m, s),
            "not separable needs its training matrix",
        ),
        (lambda k, m, s: SENSE((16,)), "must be the two sizes"),
        (lambda k, m, s: SENSE((16, 12), transform="wavelet"), "`transform` must be one of"),
        (lambda k, m, s: SENSE((16, 12), resampling="none"), "`resampling` must be one of"),
        (
            lambda k, m, s: SENSE((16, 12), transform="monarch", n_coils=3, separable=False),
            "`n_coils` needs `separable=True`",
        ),
        (
            lambda k, m, s: SENSE((16, 12), transform="dense", init="random"),
            "`init` is an option of transform='monarch', got transform='dense'",
        ),
        (
            lambda k, m, s: SENSE((16, 12), init="random"),
            "`init` is an option of transform='monarch', got transform='fourier'",
        ),
        (
            lambda k, m, s: SENSE((16, 12), n_coils=3),
            "`n_coils` is an option of transform='monarch' or 'dense', got transform='fourier'",
        ),
        (
            lambda k, m, s: SENSE((16, 12), transform="corrected", grid_blocks=(4,)),
            r"`grid_blocks` must be one number of blocks, or 2 of them, got \(4,\)",
        ),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call(*sample((16, 12)))


@pytest.mark.parametrize("transform", ["fourier", "monarch"])
def test_map_sets_are_combined(transform):
    kspace, mask, maps = sample((16, 12))
    network = SENSE((16, 12), transform=transform).to(maps.real.dtype)
    plain = network(kspace, mask, maps)
    torch.testing.assert_close(network(kspace, mask, maps[:, None]), plain)
    sets = torch.stack([maps, maps.roll(1, 1)], dim=1)
    images = torch.stack([network(kspace, mask, sets[:, m]) for m in (0, 1)], dim=1)
    found = network(kspace, mask, sets)
    torch.testing.assert_close(found, combine_map_sets(images))
    with pytest.raises(ValueError, match="must have the size of the k-space"):
        network(kspace, mask, sets[..., :-1])
