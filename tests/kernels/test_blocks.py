"""The strided Monarch product against einsum, torch.fft and finite differences."""

import pytest
import torch

from monarch_sciml.kernels import monarch_blocks
from monarch_sciml.kernels.block_reference import reference_monarch_blocks
from monarch_sciml.transforms import MonarchTransform, SeparableTransform


def arguments(synthesis, *, shape=(2, 5), sizes=(3, 4), dtype=torch.complex128):
    torch.manual_seed(0)
    n_1, n_2 = sizes
    outer, inner = torch.randn(n_1, n_2, n_2, dtype=dtype), torch.randn(n_2, n_1, n_1, dtype=dtype)
    x = torch.randn(*shape, n_1 * n_2, dtype=dtype)
    return (x, outer, inner) if synthesis else (x, inner, outer)


def reference(x, first, second, synthesis):
    slices = x.reshape(-1, 1, x.shape[-1]).mT  # (S, n, 1)
    return reference_monarch_blocks(slices, first, second, synthesis).mT.reshape(x.shape)


@pytest.mark.parametrize("synthesis", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (2, 5), (3, 16), (512,), (3, 1, 2)])
@pytest.mark.parametrize("sizes", [(3, 4), (1, 7), (5, 1)])
def test_equals_the_reference(synthesis, shape, sizes):
    x, first, second = arguments(synthesis, shape=shape, sizes=sizes)
    expected = reference(x, first, second, synthesis)
    torch.testing.assert_close(monarch_blocks(x, first, second, synthesis=synthesis), expected)
    if x.ndim > 1:  # the same numbers with the last two axes swapped in memory
        swapped = x.mT.contiguous().mT
        y = monarch_blocks(swapped, first, second, synthesis=synthesis)
        torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("synthesis", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
def test_gradients_equal_those_of_the_reference(synthesis, swapped):
    x, first, second = arguments(synthesis, shape=(3, 6))
    x = x.mT.contiguous().mT if swapped else x
    leaves = [t.requires_grad_() for t in (x, first, second)]
    fast = monarch_blocks(*leaves, synthesis=synthesis)
    slow = reference(*leaves, synthesis)
    probe = torch.randn_like(fast)
    found, wanted = (torch.autograd.grad(y, leaves, probe) for y in (fast, slow))
    for a, b in zip(found, wanted):
        torch.testing.assert_close(a, b)
    alone = torch.autograd.grad(monarch_blocks(*leaves, synthesis=synthesis), leaves[1], probe)
    torch.testing.assert_close(alone[0], wanted[1])


@pytest.mark.parametrize("synthesis", [False, True])
def test_first_and_second_derivatives(synthesis):
    leaves = [t.requires_grad_() for t in arguments(synthesis, shape=(2, 2), sizes=(2, 3))]

    def function(x, first, second):
        return monarch_blocks(x, first, second, synthesis=synthesis)

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


def test_real_input_is_promoted():
    x, first, second = arguments(False)
    y = monarch_blocks(x.real, first, second, synthesis=False)
    torch.testing.assert_close(y, reference(x.real.to(x.dtype), first, second, False))


@pytest.mark.parametrize("init", ["dft", "idft"])
@pytest.mark.parametrize("grid", [(160, 144), (128, 180)])
def test_full_separable_transforms_equal_torch_fft(init, grid):
    transform = SeparableTransform([MonarchTransform(n, init=init, centered=True) for n in grid])
    transform = transform.double()
    x = torch.randn(2, *grid, dtype=torch.complex128)
    shifted = torch.fft.ifftshift(x, dim=(-2, -1))
    oracle = torch.fft.fft2 if init == "dft" else torch.fft.ifft2
    expected = torch.fft.fftshift(oracle(shifted, norm="ortho"), dim=(-2, -1))
    torch.testing.assert_close(transform(x), expected)
    torch.testing.assert_close(transform.adjoint(expected), x)
    torch.testing.assert_close(transform.inverse(expected), x)


def test_large_transforms_run_under_torch_func():
    transform = MonarchTransform(144).double()
    x = torch.randn(3, 2, 144, dtype=torch.complex128)
    torch.testing.assert_close(torch.vmap(transform)(x), transform(x))
    gradient = torch.func.grad(lambda one: transform(one).abs().square().sum())(x)
    torch.testing.assert_close(gradient, 2 * x)  # unitary
