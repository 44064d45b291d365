"""Contiguous Monarch matrices: products, dense form, projection."""

import itertools

import pytest
import torch

from monarch_sciml.monarch import multiply, project, to_dense
from monarch_sciml.monarch.contiguous import (
    Blocks,
    dense_contiguous,
    multiply_contiguous,
    project_contiguous,
)

CUTS = {  # columns, rows
    "line": (((12,), (3,)), ((8,), (2,))),
    "line-uneven": (((13,), (4,)), ((7,), (3,))),
    "plane": (((4, 6), (2, 3)), ((6, 4), (3, 1))),
    "plane-uneven": (((5, 7), (2, 3)), ((3, 5), (2, 2))),
    "space-to-line": (((2, 3, 4), (1, 2, 2)), ((9,), (4,))),
}


def cuts(name):
    (n, b), (k, f) = CUTS[name]
    return Blocks.create("columns", n, b), Blocks.create("rows", k, f)


def random_factors(columns, rows, rank, dtype=torch.complex128):
    torch.manual_seed(0)
    left = torch.randn(rows.n_blocks, columns.n_blocks, rows.block_size, rank, dtype=dtype)
    right = torch.randn(columns.n_blocks, rows.n_blocks, rank, columns.block_size, dtype=dtype)
    return left, right


@pytest.mark.parametrize("name", CUTS)
def test_blocks_hold_every_point_once(name):
    for blocks in cuts(name):
        x = torch.randn(2, *blocks.sizes)
        parts = blocks.split(x)
        assert parts.shape == (2, blocks.n_blocks, blocks.block_size)
        assert torch.equal(blocks.join(parts), x)
        assert torch.equal(parts.sum((1, 2)), parts.flatten(1).sum(1))
        # a block is a box of neighbouring points: by slicing
        for j, block in enumerate(itertools.product(*map(range, blocks.counts))):
            box = (slice(e[i], e[i + 1]) for e, i in zip(blocks.edges, block))
            inside = blocks.index[j] < x[0].numel()
            assert torch.equal(parts[0, j][inside], x[(0, *box)].flatten())


@pytest.mark.parametrize("name", CUTS)
def test_product_equals_the_dense_matrix_and_the_formula(name):
    columns, rows = cuts(name)
    left, right = random_factors(columns, rows, 2)
    dense = dense_contiguous(left, right, columns, rows)
    x = torch.randn(3, *columns.sizes, dtype=torch.complex128)
    y = multiply_contiguous(x, left, right, columns, rows)
    torch.testing.assert_close(y.flatten(1), x.flatten(1) @ dense.mT)
    for a, p in itertools.product(range(rows.n_blocks), range(columns.n_blocks)):
        i, j = rows.index[a], columns.index[p]
        slice_ = (left[a, p] @ right[p, a])[i < len(dense)][:, j < dense.shape[1]]
        found = dense[i[i < len(dense)]][:, j[j < dense.shape[1]]]
        torch.testing.assert_close(found, slice_)


@pytest.mark.parametrize("name", CUTS)
def test_projection_finds_such_a_matrix_again(name):
    columns, rows = cuts(name)
    left, right = random_factors(columns, rows, 2)
    dense = dense_contiguous(left, right, columns, rows)
    found = project_contiguous(dense, columns, rows, 2)
    torch.testing.assert_close(dense_contiguous(*found, columns, rows), dense)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["line-uneven", "plane-uneven"])
def test_projection_is_optimal(name, weighted):
    """No nearer matrix by brute force: descent from the projection and from elsewhere."""
    columns, rows = cuts(name)
    torch.manual_seed(0)
    dense = torch.randn(
        int(torch.tensor(rows.sizes).prod()), int(torch.tensor(columns.sizes).prod())
    ).double()
    weights = torch.rand(dense.shape[1]).double() + 0.2 if weighted else None
    factor = 1 if weights is None else weights

    def error(left, right):
        return ((dense - dense_contiguous(left, right, columns, rows)) * factor).square().sum()

    best = project_contiguous(dense, columns, rows, 1, weights)
    least = float(error(*best))
    starts = [best, *(random_factors(columns, rows, 1, torch.float64) for _ in range(2))]
    assert all(_descended(error, start) >= least * (1 - 1e-9) for start in starts)


def _descended(error, start):
    """The least error that descent finds from a start."""
    factors = [side.clone(memory_format=torch.contiguous_format) for side in start]
    for side in factors:
        side.requires_grad_()
    optimizer = torch.optim.LBFGS(factors, max_iter=40, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = error(*factors)
        value.backward()
        return value

    optimizer.step(closure)
    return float(error(*factors).detach())


def test_the_public_functions_take_the_layout():
    torch.manual_seed(0)
    dense = torch.randn(8, 12, dtype=torch.float64)
    left, right = project(dense, (3, 2), 3, layout="contiguous")
    matrix = to_dense(left, right, layout="contiguous")
    x = torch.randn(5, 12, dtype=torch.float64)
    torch.testing.assert_close(multiply(x, left, right, layout="contiguous"), x @ matrix.mT)
    # full rank holds every matrix
    torch.testing.assert_close(
        to_dense(*project(dense, (3, 2), 4, layout="contiguous"), layout="contiguous"), dense
    )
    sizes, counts = ((3, 4), (2, 4)), ((2, 2), (1, 3))
    blocks = tuple(Blocks.create("b", n, b) for n, b in zip(sizes, counts))
    factors = project(dense, counts, 1, layout="contiguous", sizes=sizes)
    expected = dense_contiguous(*project_contiguous(dense, *blocks, 1), *blocks)
    torch.testing.assert_close(to_dense(*factors, layout="contiguous", blocks=blocks), expected)
    with pytest.raises(ValueError, match="`layout` must be one of 'strided', 'contiguous'"):
        project(dense, 2, layout="blocks")
    with pytest.raises(ValueError, match="`sizes` and `weights` need layout='contiguous'"):
        project(dense, 2, sizes=sizes)
    with pytest.raises(ValueError, match=r"must be \(F, P, q, r\) and \(P, F, r, s\)"):
        multiply(x, left[0], right[0], layout="contiguous")


def test_bad_arguments_are_refused_in_one_line():
    columns, rows = cuts("line")
    left, right = random_factors(columns, rows, 2)
    with pytest.raises(ValueError, match=r"`x` must have \(12,\) entries.*got shape \(11,\)"):
        multiply_contiguous(torch.randn(11), left, right, columns, rows)
    with pytest.raises(ValueError, match="the factors must have shapes"):
        multiply_contiguous(torch.randn(12), left, right[:, :, :1], columns, rows)
    with pytest.raises(ValueError, match=r"`dense` must be \(8, 12\)"):
        project_contiguous(torch.randn(8, 11), columns, rows)
    with pytest.raises(ValueError, match="`rank` must be at most 4"):
        project_contiguous(torch.randn(8, 12), columns, rows, 5)
    with pytest.raises(ValueError, match=r"`weights` must be 12 numbers.*got \(11,\)"):
        project_contiguous(torch.randn(8, 12), columns, rows, 1, torch.ones(11))
    with pytest.raises(ValueError, match=r"every entry of `weights` must be positive, got 0.0"):
        project_contiguous(torch.randn(8, 12), columns, rows, 1, torch.zeros(12))
    with pytest.raises(ValueError, match=r"`n_blocks` must be one int or two, got \(2, 2, 2\)"):
        project(torch.randn(8, 8), (2, 2, 2), layout="contiguous")
    with pytest.raises(TypeError, match=r"`n_blocks\[0\]` must be an int, got 2\.5"):
        project(torch.randn(8, 8), 2.5, layout="contiguous")


def test_an_axis_of_one_point_is_no_flattened_field():
    columns, rows = Blocks.create("P", (1, 8), 1), Blocks.create("F", (6,), 2)
    left, right = random_factors(columns, rows, 2)
    x = torch.randn(3, 1, 8, dtype=right.dtype)
    y = multiply_contiguous(x, left, right, columns, rows)
    assert y.shape == (3, 6)
    torch.testing.assert_close(y, x[:, 0] @ dense_contiguous(left, right, columns, rows).mT)
    torch.testing.assert_close(multiply_contiguous(x[:, 0], left, right, columns, rows), y)
