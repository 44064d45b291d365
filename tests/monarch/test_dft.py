from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tolerances import assert_close

from monarch_sciml.monarch import block_sizes as _factorize
from monarch_sciml.monarch import dft_factors, digit_reversal, factorize, multiply, multiply_factors

SIZES = [*range(1, 65), 97, 160, 218, 230, 320, 368, 512, 640, 1000]
lopsided_is_fine = pytest.mark.filterwarnings("ignore:a Monarch matrix of:UserWarning")


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(_factorize, "_warned", set())


def reference(x, *, inverse, centered, norm):
    transform = torch.fft.ifft if inverse else torch.fft.fft
    if not centered:
        return transform(x, norm=norm)
    return torch.fft.fftshift(transform(torch.fft.ifftshift(x, dim=-1), norm=norm), dim=-1)


def apply(x, factors):
    sizes = [factor.shape[-1] for factor in reversed(factors)]
    return multiply_factors(x[..., digit_reversal(sizes)], factors)


def relative_error(actual, expected):
    return float((actual - expected).norm() / expected.norm())


@lopsided_is_fine
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_equals_torch_fft(n, inverse, centered):
    x = torch.randn(3, n, dtype=torch.complex128)
    for order in (1, 2, 3):
        for norm in ("ortho", "forward", "backward"):
            options = {"inverse": inverse, "centered": centered, "norm": norm}
            factors = dft_factors(n, order=order, **options)
            assert len(factors) == order
            expected = reference(x, **options)
            assert_close(apply(x, factors), expected, growth=64 * n**0.5, msg=f"{order} {norm}")


def test_every_entry_is_exact_for_a_large_size():
    """The exponents are whole numbers, so entries do not lose digits with n."""
    left, right = dft_factors(10_000, norm="backward")
    assert left.shape == right.shape == (100, 100, 100)
    for k, n in itertools.product((1, 99, 100, 4999, 7321, 9999), repeat=2):
        (k2, k1), (n1, n2) = divmod(k, 100), divmod(n, 100)
        expected = np.exp(-2j * np.pi * (k * n % 10_000) / 10_000)
        assert abs(complex(left[k1, k2, n2] * right[n2, k1, n1]) - expected) < 2e-15


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("n_right", [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60])
def test_every_divisor_works_and_asks_for_no_warning(n_right, centered):
    x = torch.randn(2, 60, dtype=torch.complex128)
    for n_blocks in (n_right, (n_right, 60 // n_right)):
        left, right = dft_factors(60, centered=centered, n_blocks=n_blocks)
        assert right.shape == (n_right, 60 // n_right, 60 // n_right)
        assert left.shape == (60 // n_right, n_right, n_right)
        y = multiply(x[:, digit_reversal((60 // n_right, n_right))], left, right)
        expected = reference(x, inverse=False, centered=centered, norm="ortho")
        assert_close(y, expected, growth=64.0)


def test_inverse_undoes_forward():
    x = torch.randn(4, 230, dtype=torch.complex128)
    y = apply(x, dft_factors(230, norm="forward", centered=True))
    back = apply(y, dft_factors(230, norm="forward", centered=True, inverse=True))
    assert_close(back, x)


def test_dtype_is_rounded_once():
    for single, double in zip(dft_factors(160, dtype=torch.complex64), dft_factors(160)):
        assert single.dtype == torch.complex64
        assert torch.equal(single, double.to(torch.complex64))


@pytest.mark.parametrize(("n", "padded", "sizes"), [(13, 14, "2 x 7"), (218, 220, "11 x 20")])
def test_a_lopsided_size_warns_once_with_a_remedy(n, padded, sizes):
    with pytest.warns(UserWarning, match=rf"pad to {padded} = {sizes}") as record:
        dft_factors(n)
        dft_factors(n, inverse=True)
    assert len(record) == 1
    assert record[0].filename == __file__


@pytest.mark.parametrize(
    ("n", "order"), [(1, 2), (2, 2), (3, 2), (230, 2), (34, 2), (8, 3), (13, 1)]
)
def test_no_warning_where_the_factors_are_near(n, order):
    dft_factors(n, order=order)


def test_no_warning_for_blocks_that_were_asked_for():
    dft_factors(218, n_blocks=109)
    dft_factors(13, n_blocks=13)


def test_digit_reversal_is_the_four_step_order():
    order = digit_reversal((3, 4))
    assert torch.equal(order, torch.arange(12).reshape(3, 4).T.flatten())
    assert order.dtype == torch.int64
    for sizes in [(5,), (2, 3, 4), (2, 2, 2, 2), (1, 7)]:
        forth, back = digit_reversal(sizes), digit_reversal(sizes[::-1])
        assert torch.equal(forth[back], torch.arange(len(forth)))
    expected = [int(f"{i:04b}"[::-1], 2) for i in range(16)]  # bit reversal
    assert digit_reversal((2, 2, 2, 2)).tolist() == expected


def test_blocks_follow_factorize():
    left, right = dft_factors(160)
    assert factorize(160) == (right.shape[-1], left.shape[-1])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n": 0}, "`n` must be at least 1, got 0"),
        ({"n": 8, "norm": "unitary"}, "`norm` must be one of .*, got 'unitary'"),
        ({"n": 8, "n_blocks": 3}, "`n_blocks` must divide the size 8, got 3"),
        ({"n": 8, "n_blocks": (2, 2)}, r"must multiply to 8, got 2\*2"),
        ({"n": 8, "n_blocks": (2, 2, 2)}, r"`n_blocks` must be one int or two, got \(2, 2, 2\)"),
        ({"n": 8, "n_blocks": 2, "order": 3}, "`n_blocks` must be None unless `order` is 2"),
        ({"n": 8, "dtype": torch.float64}, r"`dtype` must be complex, got torch\.float64"),
        ({"n": 8, "order": 0}, "`order` must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        dft_factors(**options)


def test_digit_reversal_refuses_no_sizes():
    with pytest.raises(ValueError, match="must hold at least one number"):
        digit_reversal(())
