from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import assert_close
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from monarch_sciml.monarch import multiply, multiply_factors, to_dense

# (left, right) shapes: square, other blocks, rectangular, rank 2, one block, no rank structure
SHAPES = [
    ((4, 4, 4), (4, 4, 4)),
    ((3, 8, 8), (8, 3, 3)),
    ((2, 5, 4), (4, 2, 3)),
    ((2, 3, 6), (3, 4, 5)),
    ((1, 3, 4), (2, 2, 3)),
    ((6, 2, 2), (4, 3, 2)),
]
DTYPES = [torch.float64, torch.complex128]


def transposition(rows: int, columns: int) -> Tensor:
    """Permutation matrix that turns a flattened (rows, columns) into (columns, rows)."""
    size = rows * columns
    order = torch.arange(size).reshape(rows, columns).T.flatten()
    return torch.eye(size, dtype=torch.float64)[order]


def dense_reference(factors: list[Tensor]) -> Tensor:
    """Product of block_diag and permutation matrices, written from the definition."""
    *rest, right = factors
    r_matrix = torch.block_diag(*right)
    if not rest:
        return r_matrix
    n_left = rest[0].shape[0] if len(rest) == 1 else right.shape[1]
    groups = [f.reshape(n_left, -1, *f.shape[1:]) for f in rest]
    inner = [dense_reference([g[i] for g in groups]) for i in range(n_left)]
    p_in = transposition(r_matrix.shape[0] // n_left, n_left).to(right.dtype)
    p_out = transposition(n_left, inner[0].shape[0]).to(right.dtype)
    return p_out @ torch.block_diag(*inner) @ p_in @ r_matrix


def factor_pair(shapes, dtype, *, batch=(), requires_grad=False):
    left, right = (torch.randn(*batch, *shape, dtype=dtype) for shape in shapes)
    return left.requires_grad_(requires_grad), right.requires_grad_(requires_grad)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", SHAPES)
def test_equals_block_diagonal_matrices_in_value_and_gradient(shapes, dtype):
    left, right = factor_pair(shapes, dtype, requires_grad=True)
    x = torch.randn(3, right.shape[0] * right.shape[2], dtype=dtype, requires_grad=True)
    weights = torch.randn(3, left.shape[0] * left.shape[1], dtype=dtype)
    inputs = (x, left, right)
    ours, reference = multiply(*inputs), x @ dense_reference([left, right]).T
    assert_close(ours, reference)
    torch.testing.assert_close(to_dense(left, right), dense_reference([left, right]))
    gradients = [torch.autograd.grad((weights * y).sum().abs(), inputs) for y in (ours, reference)]
    for ours_gradient, reference_gradient in zip(*gradients):
        assert_close(ours_gradient, reference_gradient, relative=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_equals_the_slice_formula(rank, dtype):
    k, n_left, s, p = 3, 2, 5, 4
    left, right = factor_pair(((n_left, s, k * rank), (k, rank * n_left, p)), dtype)
    slices = torch.einsum(
        "lskt,ktlp->slkp", left.reshape(n_left, s, k, rank), right.reshape(k, rank, n_left, p)
    )
    torch.testing.assert_close(to_dense(left, right), slices.reshape(s * n_left, k * p))
    assert torch.linalg.matrix_rank(slices[:, 0, 0, :]) == rank


@settings(max_examples=40, deadline=None)
@given(st.data(), st.tuples(*[st.integers(1, 4)] * 4), st.sampled_from(DTYPES))
def test_any_shapes_that_chain(data, sizes, dtype):
    k, q, p, s = sizes
    n_left = data.draw(st.sampled_from([d for d in range(1, k * q + 1) if k * q % d == 0]))
    batch = data.draw(st.sampled_from([(), (2,), (2, 3), (0,)]))
    left, right = factor_pair(((n_left, s, k * q // n_left), (k, q, p)), dtype)
    x = torch.randn(*batch, k * p, dtype=dtype)
    y = multiply(x, left, right)
    assert y.shape == (*batch, s * n_left)
    torch.testing.assert_close(y, x @ dense_reference([left, right]).T)


def test_several_matrices_broadcast_against_the_input():
    left, right = factor_pair(((2, 5, 4), (4, 2, 3)), torch.float64, batch=(6,))
    x = torch.randn(7, 6, 12, dtype=torch.float64)
    expected = torch.stack([x[:, c] @ to_dense(left[c], right[c]).T for c in range(6)], dim=1)
    torch.testing.assert_close(multiply(x, left, right), expected)
    torch.testing.assert_close(
        multiply(x[:, :1], left, right)[:, 0], multiply(x[:, 0], left[0], right[0])
    )
    assert multiply(x[0, 0], left, right).shape == (6, 10)
    assert to_dense(left, right).shape == (6, 10, 12)
    torch.testing.assert_close(to_dense(left, right)[2], to_dense(left[2], right[2]))


def test_real_input_and_complex_factors_promote():
    left, right = factor_pair(((2, 2, 2), (2, 2, 2)), torch.complex64)
    x = torch.randn(4)
    torch.testing.assert_close(multiply(x, left, right), multiply(x.to(left), left, right))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_gradcheck_and_gradgradcheck(dtype, batch):
    factors = factor_pair(((2, 3, 2), (2, 2, 2)), dtype, batch=batch, requires_grad=True)
    x = torch.randn(3, *batch, 4, dtype=dtype, requires_grad=True)
    assert gradcheck(multiply, (x, *factors))
    assert gradgradcheck(multiply, (x, *factors))


def test_vmap_over_inputs_and_over_matrices():
    left, right = factor_pair(((2, 5, 4), (4, 2, 3)), torch.float64, batch=(6,))
    x = torch.randn(6, 12, dtype=torch.float64)
    over_all = torch.vmap(multiply)(x, left, right)
    torch.testing.assert_close(over_all, multiply(x, left, right))
    over_x = torch.vmap(multiply, in_dims=(0, None, None))(x, left[0], right[0])
    torch.testing.assert_close(over_x, multiply(x, left[0], right[0]))
    jacobian = torch.func.jacrev(lambda v: multiply(v, left[0], right[0]))(x[0])
    torch.testing.assert_close(jacobian, to_dense(left[0], right[0]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_compiles_without_graph_break(dtype):
    factors = factor_pair(((2, 5, 4), (4, 2, 3)), dtype, requires_grad=True)
    x = torch.randn(7, 12, dtype=dtype)
    compiled = torch.compile(multiply, backend="aot_eager", fullgraph=True)
    gradients = [
        torch.autograd.grad(f(x, *factors).abs().sum(), factors) for f in (compiled, multiply)
    ]
    torch.testing.assert_close(compiled(x, *factors), multiply(x, *factors))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(2, 3, 4), (3, 2, 2, 3), (4, 1, 2), (5,)])
def test_order_p_equals_the_flat_formula(sizes, dtype):
    """M[k, n] = prod_j F_j[k_1..k_{j-1}, n_p..n_{j+1}; k_j, n_j], with the input digit-reversed."""
    n, order = prod(sizes), len(sizes)
    factors = [torch.randn(n // size, size, size, dtype=dtype) for size in sizes]  # F_1 … F_p
    axes = [*(f"k{i}" for i in range(order)), *(f"n{i}" for i in range(order))]
    letters = {name: chr(ord("a") + i) for i, name in enumerate(axes)}
    terms = []
    for j, factor in enumerate(factors):
        blocks = [f"k{i}" for i in range(j)] + [f"n{i}" for i in range(order - 1, j, -1)]
        names = [*blocks, f"k{j}", f"n{j}"]
        terms.append((factor.reshape([sizes[int(name[1:])] for name in names]), names))
    subscripts = ",".join("".join(letters[name] for name in names) for _, names in terms)
    backwards = [f"k{i}" for i in reversed(range(order))] + [
        f"n{i}" for i in reversed(range(order))
    ]
    output = "".join(letters[name] for name in backwards)
    table = torch.einsum(f"{subscripts}->{output}", *(tensor for tensor, _ in terms))
    expected = table.reshape(n, n)  # k = k_1 + N_1 k_2 + …; input (n_p, …, n_1)
    actual = multiply_factors(torch.eye(n, dtype=dtype), factors[::-1]).T
    torch.testing.assert_close(actual, expected)


RECTANGULAR = [[(6, 2, 5), (6, 5, 2), (4, 3, 2)], [(18, 2, 2), (12, 3, 2), (8, 3, 2), (8, 2, 3)]]


@pytest.mark.parametrize("shapes", RECTANGULAR)
def test_rectangular_order_p_equals_block_diagonal_matrices(shapes):
    factors = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    dense = dense_reference(factors)
    x = torch.randn(2, 3, dense.shape[1], dtype=torch.float64)
    torch.testing.assert_close(multiply_factors(x, factors), x @ dense.T)


def test_two_factors_are_multiply_and_one_is_block_diagonal():
    left, right = factor_pair(((2, 3, 6), (3, 4, 5)), torch.float64)
    x = torch.randn(4, 15, dtype=torch.float64)
    assert torch.equal(multiply_factors(x, (left, right)), multiply(x, left, right))
    torch.testing.assert_close(multiply_factors(x, [right]), x @ torch.block_diag(*right).T)


def test_order_three_gradients_and_compile():
    shapes = [(4, 2, 2), (4, 2, 2), (4, 2, 2)]
    factors = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    x = torch.randn(2, 8, dtype=torch.float64, requires_grad=True)

    def apply(x, *factors):
        return multiply_factors(x, factors)

    assert gradcheck(apply, (x, *factors))
    assert gradgradcheck(apply, (x, *factors), fast_mode=True)
    compiled = torch.compile(apply, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, *factors), apply(x, *factors))


@pytest.mark.parametrize(
    ("x", "left", "right", "text"),
    [
        ((12,), (2, 5, 3), (4, 2, 3), r"k\*q = l\*r, got 4\*2 and 2\*3"),
        ((11,), (2, 5, 4), (4, 2, 3), r"4\*3 = 12 entries along its last axis, got shape \(11,\)"),
        ((), (2, 5, 4), (4, 2, 3), r"12 entries along its last axis, got shape \(\)"),
        ((12,), (5, 4), (4, 2, 3), r"`left` must have axes .*, got shape \(5, 4\)"),
        ((12,), (2, 5, 4), (2, 3), r"`right` must have axes .*, got shape \(2, 3\)"),
    ],
)
def test_shapes_that_do_not_chain_are_refused(x, left, right, text):
    with pytest.raises(ValueError, match=text):
        multiply(torch.zeros(x), torch.zeros(left), torch.zeros(right))


def test_factors_that_do_not_chain_are_refused():
    with pytest.raises(ValueError, match="must hold at least one tensor"):
        multiply_factors(torch.zeros(4), ())
    factors = [torch.zeros(4, 2, 2), torch.zeros(3, 2, 2), torch.zeros(4, 2, 2)]
    with pytest.raises(ValueError, match=r"`factors\[1\]` must have a multiple of 2 blocks, got 3"):
        multiply_factors(torch.zeros(8), factors)
