"""A transform starts equal to the one it is named after, and transfers exactly while untrained."""

import pytest
import scipy.fft
import scipy.linalg
import torch
from tolerances import assert_close

from monarch_sciml.transforms import (
    CosineTransform,
    DenseTransform,
    FourierTransform,
    MonarchTransform,
    SeparableTransform,
    SineTransform,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*factor.*:UserWarning")
SIZES = [*range(1, 21), 31, 64, 97, 160, 218, 230]
NORMS = ["ortho", "forward", "backward"]


def complex_input(n):
    return torch.randn(3, n, dtype=torch.complex128, generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("order", [2, 3])
def test_monarch_equals_torch_fft(n, norm, order):
    x = complex_input(n)

    def monarch(**options):
        return MonarchTransform(n, norm=norm, order=order, **options).double()

    assert_close(monarch()(x), torch.fft.fft(x, norm=norm))
    assert_close(monarch(init="idft")(x), torch.fft.ifft(x, norm=norm))
    half = torch.fft.rfft(x.real, norm=norm)
    assert_close(monarch(real_input=True)(x.real), half)
    real_inverse = monarch(init="idft", real_input=True)
    assert_close(real_inverse(half), torch.fft.irfft(half, n=n, norm=norm))
    centred = torch.fft.fftshift(torch.fft.fft(torch.fft.ifftshift(x, dim=-1), norm=norm), dim=-1)
    assert_close(monarch(centered=True)(x), centred)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("init", ["dct", "idct", "dst", "idst"])
def test_cosine_and_sine_equal_scipy(n, norm, init):
    x = complex_input(n).real
    expected = torch.from_numpy(getattr(scipy.fft, init)(x.numpy(), norm=norm))
    inverse = init.startswith("i")
    fixed = {"dct": CosineTransform, "dst": SineTransform}[init.removeprefix("i")]
    for transform in (
        MonarchTransform(n, init=init, norm=norm),
        DenseTransform(n, init=init, norm=norm),
        fixed(n, norm=norm, inverse=inverse),
    ):
        assert_close(transform.double()(x), expected)


@pytest.mark.parametrize("n", [1, 2, 8, 32, 64])
def test_hadamard_equals_scipy(n):
    expected = torch.from_numpy(scipy.linalg.hadamard(n)).double()
    transform = MonarchTransform(n, init="hadamard", norm="backward").double()
    assert_close(transform.matrix(), expected)


@pytest.mark.parametrize(("n", "n_modes"), [(64, 24), (64, 7), (15, 4), (230, 33)])
def test_truncation_keeps_the_lowest_frequencies(n, n_modes):
    x = complex_input(n)
    kept = torch.roll(torch.arange(n_modes) - n_modes // 2, -(n_modes // 2))
    expected = torch.fft.fft(x)[:, kept % n]
    for transform in (FourierTransform, MonarchTransform, DenseTransform):
        result = transform(n, n_modes, norm="backward").double()(x)
        assert_close(result, expected)


def test_parameter_count_of_msense_as_published():
    # 512 x 160 with 32 x 16 and 16 x 10 blocks: 57,472 real numbers (arXiv 2204.00595, facts)
    pair = [MonarchTransform(512, centered=True), MonarchTransform(160, centered=True)]
    assert sum(p.numel() for t in pair for p in t.parameters()) == 57_472


def test_truncated_parameters_are_only_those_in_use():
    transform = MonarchTransform(64, 24)  # 8 blocks of 8 x 8, and 24 rows of 8
    assert sum(parameter.numel() for parameter in transform.parameters()) == 2 * (512 + 24 * 8)
    loss = transform(torch.randn(4, 64, dtype=torch.complex64)).abs().square().sum()
    loss.backward()
    assert all(parameter.grad.abs().min() > 0 for parameter in transform.parameters())


@pytest.mark.parametrize("rank", [2, 3])
def test_extra_rank_changes_nothing_at_first_but_learns(rank):
    transform = MonarchTransform(30, rank=rank).double()
    assert_close(transform.matrix(), FourierTransform(30).double().matrix())
    transform(torch.randn(4, 30, dtype=torch.float64)).abs().square().sum().backward()
    assert transform.factors[0].grad[1:].abs().max() > 0


@pytest.mark.parametrize("new", [11, 24, 31, 64, 100])
@pytest.mark.parametrize(
    "options",
    [
        {"n_modes": 11},
        {"n_modes": 11, "init": "idft", "norm": "forward"},
        {"centered": True},
        {"n_modes": 6, "real_input": True, "norm": "forward"},
        {"n_modes": 6, "real_input": True, "init": "idft", "norm": "forward"},
        {"n_modes": 9, "init": "dct"},
        {"init": "idst", "norm": "backward"},
    ],
    ids=str,
)
def test_untrained_transforms_transfer_exactly(new, options):
    there = MonarchTransform(new, **options).double().matrix()
    moved = MonarchTransform(48, **options).double().resampled(new)
    assert_close(moved.matrix(), there)


@pytest.mark.parametrize("centered", [False, True])
def test_a_learned_smooth_deviation_transfers_as_a_function(centered):
    # a learned row that is a band-limited function must become that same function on the new grid
    def rows(n):
        x = (torch.arange(n).double() - (n // 2 if centered else 0)) / n
        waves = torch.exp(2j * torch.pi * torch.outer(torch.arange(5).double() - 2, x))
        mixing = torch.linspace(-1, 1, 35, dtype=torch.float64).reshape(7, 5)
        return (mixing.to(waves) @ waves) / n

    transform = DenseTransform(32, 7, norm="forward", centered=centered).double()
    with torch.no_grad():
        transform.weight.copy_(torch.view_as_real(32 * rows(32)))
    for n in (20, 45, 64):
        moved = transform.resampled(n)
        expected = FourierTransform(n, 7, norm="forward", centered=centered).double().matrix()
        assert_close(moved.matrix(), expected + rows(n))


def test_a_random_transform_is_interpolated_as_a_whole():
    transform = MonarchTransform(24, 5, init="random", norm="forward").double()
    rows = transform.matrix()
    spectrum = torch.fft.fft(rows)[:, torch.arange(-11, 12)]  # without the Nyquist mode
    x = torch.arange(40, dtype=torch.float64)[:, None] * torch.arange(-11, 12) / 40
    expected = spectrum @ torch.exp(2j * torch.pi * x).mT / 40
    torch.testing.assert_close(transform.resampled(40).matrix(), expected)


@pytest.mark.parametrize("options", [{}, {"real_input": True}], ids=str)
def test_a_coarse_grid_keeps_the_modes_it_has_room_for(options):
    moved = MonarchTransform(64, 20, **options).double().resampled(16)
    torch.testing.assert_close(moved.matrix(), FourierTransform(16, **options).double().matrix())


def test_gradients_reach_the_source_of_a_resampled_transform():
    transform = MonarchTransform(16, 6)
    transform.resampled(32)(torch.randn(2, 32)).abs().square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in transform.parameters())


def test_separable_resamples_every_axis():
    transform = SeparableTransform([MonarchTransform(16, 6), MonarchTransform(20, 8)])
    assert transform.resampled((24, 10)).n == (24, 10)
    assert transform.resampled((24, 10)).n_modes == (6, 8)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: FourierTransform(64, 65), "`n_modes` must be at most 64 for a grid of 64 points"),
        (lambda: MonarchTransform(64, 40, real_input=True), "at most 33 .* got 40. Lower"),
        (lambda: MonarchTransform(12, init="hadamard"), "power of two"),
        (lambda: MonarchTransform(12, init="dtf"), "`init` must be one of"),
        (lambda: MonarchTransform(12, norm="orto"), "`norm` must be one of"),
        (lambda: MonarchTransform(0), "`n` must be at least 1, got 0"),
        (lambda: MonarchTransform(8, init="dct", centered=True), "`centered` applies to"),
        (lambda: MonarchTransform(8)(torch.ones(9)), "last axis must have 8 entries, got 9"),
        (lambda: MonarchTransform(8, n_copies=2)(torch.ones(3, 8)), "n_copies=2 needs x"),
        (lambda: SeparableTransform([]), "one per axis"),
    ],
)
def test_bad_input_is_named(build, text):
    with pytest.raises(ValueError, match=text):
        build()
