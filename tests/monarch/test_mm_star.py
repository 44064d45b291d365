from __future__ import annotations

import pytest
import scipy.linalg
import torch
from tolerances import assert_close

from monarch_sciml.monarch import recover_mm_star, to_dense

DTYPES = [torch.float64, torch.complex128]


def gaussian(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


def member(k, n_left, dtype=torch.float64):
    """Dense M1 M2* of random Gaussian Monarch factors with k x k and l x l blocks."""
    first, second = (
        to_dense(gaussian(n_left, k, k, dtype=dtype), gaussian(k, n_left, n_left, dtype=dtype))
        for _ in range(2)
    )
    return first @ second.mH


def relative_error(actual, expected):
    return float((actual - expected).norm() / expected.norm())


@pytest.fixture(autouse=True)
def seed_and_one_thread():
    """Many small factorisations: threads only get in each other's way."""
    torch.manual_seed(0)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("k", "n_left"),
    [
        (4, 4),
        (2, 8),
        (8, 2),
        (1, 16),
        (16, 1),
        (6, 6),
        (8, 8),
        (4, 16),
        (12, 12),
        (16, 16),
        (64, 4),
    ],
)
def test_random_members_come_back(k, n_left, dtype):
    for _ in range(2):
        matrix = member(k, n_left, dtype)
        factors = recover_mm_star(matrix, (k, n_left))
        assert [f.shape for f in factors] == [(n_left, k, k), (k, n_left, n_left), (n_left, k, k)]
        assert {f.dtype for f in factors} == {dtype}
        assert relative_error(factors.to_dense(), matrix) < 1e-7


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_two_pairs_are_monarch_factors_of_the_matrix(dtype):
    matrix = member(8, 4, dtype)
    first, second = recover_mm_star(matrix, 8).pairs
    assert relative_error(to_dense(*first) @ to_dense(*second).mH, matrix) < 1e-9


def test_the_three_factors_follow_the_equation():
    outer, middle, inner = recover_mm_star(matrix := member(3, 5), (3, 5))
    rebuilt = torch.einsum("iac,cij,jcb->aibj", outer, middle, inner).reshape(15, 15)
    assert relative_error(rebuilt, matrix) < 1e-9
    torch.testing.assert_close(outer.norm(dim=1), torch.ones(5, 3, dtype=torch.float64))
    torch.testing.assert_close(inner.norm(dim=2), torch.ones(5, 3, dtype=torch.float64))


def test_single_precision():
    matrix = member(4, 4, torch.complex64)
    factors = recover_mm_star(matrix, 4)
    assert factors.outer.dtype == torch.complex64
    assert relative_error(factors.to_dense(), matrix) < 1e-3


def test_the_seed_decides():
    matrix = member(4, 4)
    once, twice, other = (recover_mm_star(matrix, 4, seed=s) for s in (3, 3, 4))
    for a, b in zip(once, twice):
        assert_close(a, b, relative=1e-06)
    assert not torch.allclose(other.outer, once.outer)  # another order of the eigenvectors
    assert relative_error(other.to_dense(), matrix) < 1e-9


def test_the_callers_random_state_is_left_alone():
    state = torch.random.get_rng_state()
    matrix = member(4, 4)
    torch.random.set_rng_state(state)
    recover_mm_star(matrix, 4)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_circulant_matrix_has_complex_factors():
    circulant = torch.from_numpy(scipy.linalg.circulant(gaussian(16).numpy()))
    factors = recover_mm_star(circulant, 4)
    assert factors.outer.dtype == torch.complex128
    assert relative_error(factors.to_dense(), circulant.to(torch.complex128)) < 1e-12


def test_a_hadamard_matrix_comes_back():
    matrix = torch.tensor(scipy.linalg.hadamard(64)).double()
    assert relative_error(recover_mm_star(matrix, 8).to_dense(), matrix) < 1e-12


def left_with_a_singular_block():
    left = gaussian(4, 4, 4)
    left[1, :, 0] = left[1, :, 1]
    return to_dense(left, gaussian(4, 4, 4)) @ to_dense(gaussian(4, 4, 4), gaussian(4, 4, 4)).mH


def zero_in_the_middle():
    middle = gaussian(4, 4, 4)
    middle[2, 1, 3] = 0
    identity = torch.eye(4, dtype=torch.float64).expand(4, 4, 4)
    return to_dense(gaussian(4, 4, 4), middle) @ to_dense(gaussian(4, 4, 4), identity).mH


def not_diagonalisable():
    """A grid of 2 x 2 blocks: identities and one Jordan block."""
    grid = torch.eye(2, dtype=torch.float64).expand(2, 2, 2, 2).clone()  # (i, j, a, b)
    grid[1, 1, 0, 1] = 1
    return grid.permute(2, 0, 3, 1).reshape(4, 4)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: gaussian(16, 16),
            r"must share one basis \(MM\*, n_blocks \(4, 4\)\), got relative",
        ),
        (lambda: member(4, 4) + 1e-3 * gaussian(16, 16), "must share one basis"),
        (left_with_a_singular_block, r"singular block \(1, 0\): a singular block in a left factor"),
        (zero_in_the_middle, r"singular block \(1, 3\): a zero in the middle factor"),
        (lambda: torch.zeros(16, 16), r"singular block \(0, 0\)"),
        (lambda: gaussian(16, 12), r"`matrix` must be square with two axes, got shape \(16, 12\)"),
        (lambda: gaussian(2, 16, 16), r"`matrix` must be square with two axes"),
        (lambda: gaussian(18, 18), "`n_blocks` must divide the size 18, got 4"),
        (lambda: gaussian(16, 16) / 0, "`matrix` must be finite, got 256 NaN or infinite values"),
        (
            lambda: torch.eye(16, dtype=torch.int64),
            r"`matrix` must hold floating-point or .* got torch\.int64",
        ),
    ],
)
def test_what_is_not_in_the_class_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        recover_mm_star(make(), 4)


def test_blocks_without_eigenvectors_are_refused():
    with pytest.raises(ValueError, match="must share one basis"):
        recover_mm_star(not_diagonalisable(), 2)


def test_the_tolerance_decides():
    matrix = member(4, 4)
    noisy = matrix + 1e-8 * gaussian(16, 16)
    with pytest.raises(ValueError, match=r"above 1\.0e-12"):
        recover_mm_star(noisy, 4, tolerance=1e-12)
    assert relative_error(recover_mm_star(noisy, 4, tolerance=1e-3).to_dense(), matrix) < 1e-3
