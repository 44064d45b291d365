from __future__ import annotations

import pytest
import scipy.fft
import torch
from scipy.linalg import hadamard
from tolerances import assert_close
from torch.autograd import gradcheck

from monarch_sciml.monarch import digit_reversal, factorize, project, to_dense

DTYPES = [torch.float64, torch.complex128]
# k, l, s, p, rank
CASES = [
    (4, 4, 4, 4, 1),
    (2, 8, 3, 5, 1),
    (4, 3, 5, 6, 2),
    (3, 5, 2, 4, 2),
    (1, 1, 4, 3, 2),
    (2, 2, 8, 8, 5),
]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def relative_error(dense, n_blocks, rank=1):
    return float((to_dense(*project(dense, n_blocks, rank)) - dense).norm() / dense.norm())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("k", "n_left", "s", "p", "rank"), CASES)
def test_error_is_the_discarded_singular_values(k, n_left, s, p, rank, dtype):
    dense = torch.randn(2, s * n_left, k * p, dtype=dtype)
    left, right = project(dense, (k, n_left), rank)
    assert left.shape == (2, n_left, s, k * rank)
    assert right.shape == (2, k, n_left * rank, p)
    for index in range(2):
        discarded = 0.0
        for j in range(n_left):
            for block in range(k):
                rows = dense[index, j::n_left, block * p : (block + 1) * p]  # row = s*l + j
                discarded += float((torch.linalg.svdvals(rows)[rank:] ** 2).sum())
        error = float((to_dense(left, right)[index] - dense[index]).norm() ** 2)
        assert error == pytest.approx(discarded, rel=1e-12, abs=1e-24)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("k", "n_left", "s", "p", "rank"), CASES)
def test_a_monarch_matrix_comes_back(k, n_left, s, p, rank, dtype):
    left = torch.randn(3, n_left, s, k * rank, dtype=dtype)
    right = torch.randn(3, k, n_left * rank, p, dtype=dtype)
    dense = to_dense(left, right)
    assert relative_error(dense, (k, n_left), rank) < 1e-13


def test_no_nearby_monarch_matrix_is_nearer():
    dense = torch.randn(12, 15, dtype=torch.float64)
    left, right = project(dense, (3, 4), 1)
    best = (to_dense(left, right) - dense).norm()
    for scale in (1e-3, 1e-1, 1.0):
        other = to_dense(
            left + scale * torch.randn_like(left), right + scale * torch.randn_like(right)
        )
        assert (other - dense).norm() > best


def test_factors_share_the_singular_value_evenly():
    left, right = project(torch.randn(16, 16, dtype=torch.float64), 4)
    columns, rows = left.norm(dim=1), right.norm(dim=2)  # (l, k), (k, l)
    torch.testing.assert_close(columns, rows.T)


def test_one_int_means_as_many_blocks_on_either_side():
    dense = torch.randn(8, 12)
    for ours, pair in zip(project(dense, 4), project(dense, (4, 4))):
        assert torch.equal(ours, pair)


def test_full_rank_is_exact():
    dense = torch.randn(12, 8, dtype=torch.float64)
    assert_close(to_dense(*project(dense, (2, 3), 4)), dense)


def test_leading_dimensions_are_projected_one_by_one():
    dense = torch.randn(2, 3, 6, 4, dtype=torch.float64)
    together = to_dense(*project(dense, (2, 3)))
    torch.testing.assert_close(together[1, 2], to_dense(*project(dense[1, 2], (2, 3))))


def test_is_differentiable():
    dense = torch.randn(6, 6, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda a: to_dense(*project(a, (2, 3))), (dense,))


@pytest.mark.parametrize("n", [16, 64])
def test_the_dft_matrix_itself_is_not_monarch(n):
    dft = torch.fft.fft(torch.eye(n, dtype=torch.complex128))
    root = int(n**0.5)
    assert relative_error(dft, root) > 0.8
    assert relative_error(dft[:, digit_reversal((root, root))], root) < 1e-13


@pytest.mark.parametrize("n_right", [2, 4, 8, 16])
def test_hadamard_is_one_monarch_matrix_in_natural_order(n_right):
    assert relative_error(torch.tensor(hadamard(32)).double(), (n_right, 32 // n_right)) < 1e-13


@pytest.mark.parametrize("n", [16, 64, 160])
@pytest.mark.parametrize("transform", [scipy.fft.dct, scipy.fft.dst])
def test_dct_and_dst_are_rank_two_in_makhoul_order(transform, n):
    dense = torch.from_numpy(transform(torch.eye(n, dtype=torch.float64).numpy(), type=2, axis=0))
    n_1, n_2 = factorize(n)
    makhoul = torch.cat([torch.arange(0, n, 2), torch.arange(1, n, 2).flip(0)])
    ordered = dense[:, makhoul[digit_reversal((n_1, n_2))]]
    if transform is scipy.fft.dst:  # DST-II is DCT-II of alternating signs, rows reversed
        ordered = ordered.flip(0)
    assert relative_error(ordered, (n_2, n_1), rank=1) > 0.1
    assert relative_error(ordered, (n_2, n_1), rank=2) < 1e-13


@pytest.mark.parametrize(
    ("shape", "n_blocks", "rank", "text"),
    [
        ((8,), 2, 1, r"`dense` must have at least two axes, got shape \(8,\)"),
        ((8, 9), 2, 1, "`n_blocks` of `right` must divide the 9 columns, got 2"),
        ((9, 8), 2, 1, "`n_blocks` of `left` must divide the 9 rows, got 2"),
        ((8, 8), 2, 5, "`rank` must be at most 4 for slices of 4 x 4, got 5"),
        ((8, 8), 2, 0, "`rank` must be at least 1, got 0"),
        ((8, 8), (2, 2, 2), 1, "`n_blocks` must be one int or two"),
        ((8, 8), 0, 1, "`n_blocks` must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(shape, n_blocks, rank, text):
    with pytest.raises(ValueError, match=text):
        project(torch.zeros(shape), n_blocks, rank)


@pytest.mark.parametrize("layout", ["strided", "contiguous"])
def test_a_matrix_without_a_projection_is_refused(layout):
    diverged = torch.eye(8)
    diverged[3, 4] = torch.nan
    with pytest.raises(ValueError, match="`dense` must be finite, got 1 NaN"):
        project(diverged, 2, layout=layout)
    with pytest.raises(ValueError, match=r"must hold floating-point or complex.*got torch.int64"):
        project(torch.eye(8, dtype=torch.int64), 2, layout=layout)
