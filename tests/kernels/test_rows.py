"""Rows of Monarch transforms as planes against their dense matrices, with both derivatives."""

import pytest
import torch

from monarch_sciml.kernels import monarch_planes
from monarch_sciml.kernels.rows import reference_monarch_planes
from monarch_sciml.transforms import MonarchTransform


def learned(n, n_modes, **options):
    torch.manual_seed(0)
    transform = MonarchTransform(n, n_modes, **options).double()
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return transform


CASES = [
    (32, 12, {}),
    (30, 7, {"init": "idft"}),
    (36, 9, {"real_input": True}),
    (16, 16, {"centered": True}),
    (15, 5, {"init": "random"}),
    (64, 12, {"n_blocks": (4, 16), "norm": "forward"}),
]


@pytest.mark.parametrize(("n", "n_modes", "options"), CASES)
def test_equals_the_dense_matrix(n, n_modes, options):
    transform = learned(n, n_modes, **options)
    factors = transform.row_factors(n_modes, ascending=False)
    rows = torch.complex(*monarch_planes(*factors))
    matrix = transform.matrix()
    torch.testing.assert_close(rows, matrix.mT if options.get("init") == "idft" else matrix)


@pytest.mark.parametrize("keep", [1, 4, 5, 12])
def test_fewer_rows_in_ascending_order(keep):
    transform = learned(32, 12)
    rows = torch.complex(*monarch_planes(*transform.row_factors(keep, ascending=True)))
    order = [transform.modes.tolist().index(k) for k in range(-(keep // 2), keep - keep // 2)]
    torch.testing.assert_close(rows, transform.matrix()[order])


@pytest.mark.parametrize("n_modes", [7, 12])
def test_gradients_equal_those_of_the_reference(n_modes):
    left, right, index = learned(32, n_modes).row_factors(n_modes, ascending=True)
    leaves = [t.detach().requires_grad_() for t in (left, right)]
    fast, slow = (f(*leaves, index) for f in (monarch_planes, reference_monarch_planes))
    torch.testing.assert_close(fast, slow)
    assert fast.grad_fn.name() == "_MonarchPlanesBackward"
    probe = torch.randn_like(fast)
    found, wanted = (torch.autograd.grad(y, leaves, probe) for y in (fast, slow))
    for a, b in zip(found, wanted):
        torch.testing.assert_close(a, b)


def test_first_and_second_derivatives():
    left, right, index = learned(8, 3).row_factors(3, ascending=True)
    leaves = [t.detach().requires_grad_() for t in (left, right)]
    assert torch.autograd.gradcheck(lambda a, b: monarch_planes(a, b, index), leaves)
    assert torch.autograd.gradgradcheck(lambda a, b: monarch_planes(a, b, index), leaves)
    one = leaves[0].detach()
    assert torch.autograd.gradgradcheck(lambda b: monarch_planes(one, b, index), leaves[1:])


def test_vmap_takes_the_reference_path():
    left, right, index = learned(16, 5).row_factors(5, ascending=True)
    stacked = torch.vmap(lambda a: monarch_planes(a, right, index))(torch.stack([left, 2 * left]))
    torch.testing.assert_close(stacked[1], 2 * stacked[0])


@pytest.mark.parametrize("options", [{"init": "dct"}, {"rank": 2}, {"n_copies": 2}, {"order": 3}])
def test_other_forms_say_that_they_have_no_such_factors(options):
    assert MonarchTransform(30, 4, **options).row_factors(4, ascending=True) is None
