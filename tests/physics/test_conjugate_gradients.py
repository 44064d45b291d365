"""Conjugate gradients are exact, and so is the gradient of their solution."""

import pytest
import torch

from monarch_sciml.physics.conjugate_gradients import conjugate_gradients, solve_regularized
from monarch_sciml.physics.sense_operator import SenseOperator
from monarch_sciml.transforms import MonarchTransform, SeparableTransform

GRID = (4, 3)
EXACT = {"n_iterations": 100, "tolerance": 1e-14}


def measurement(transform=None, grid=GRID):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, *grid, generator=generator, dtype=torch.complex128) / 2
    mask = (torch.rand(2, *grid, generator=generator) < 0.5).double()
    return SenseOperator(mask, maps, transform)


def learned():
    torch.manual_seed(3)
    transform = SeparableTransform([MonarchTransform(n) for n in GRID]).double()
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return transform


def dense(physics):
    """Matrix of A^H A for each image, (2, 12, 12)."""
    unit = torch.eye(GRID[0] * GRID[1], dtype=torch.complex128).unflatten(-1, GRID)
    columns = [physics.normal(e.expand(2, *GRID)).flatten(1) for e in unit]
    return torch.stack(columns, dim=-1)


@pytest.mark.parametrize("transform", [None, learned()], ids=["fft", "monarch"])
def test_solves_the_normal_equations(transform):
    physics = measurement(transform)
    b = torch.randn(2, *GRID, dtype=torch.complex128)
    weight = torch.tensor(0.1, dtype=torch.float64)
    x = solve_regularized(physics.normal, b, weight, start=torch.randn_like(b), **EXACT)
    matrix = dense(physics) + 0.1 * torch.eye(12)
    expected = torch.linalg.solve(matrix, b.flatten(1)).unflatten(1, GRID)
    torch.testing.assert_close(x, expected)


def test_gradients_are_those_of_the_exact_solution():
    transform = learned()
    physics = measurement(transform)
    start = torch.randn(2, *GRID, dtype=torch.complex128)

    def run(b, weight, *_):  # gradcheck changes the parameters in place
        return solve_regularized(physics.normal, b, weight, start=start, **EXACT)

    b = torch.randn(2, *GRID, dtype=torch.complex128, requires_grad=True)
    weight = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (b, weight, *transform.parameters()), fast_mode=True)


def test_the_gradient_can_be_taken_once_only():
    b = torch.randn(2, *GRID, dtype=torch.complex128, requires_grad=True)
    weight = torch.tensor(0.2, dtype=torch.float64)
    x = solve_regularized(measurement().normal, b, weight, start=b, **EXACT)
    (gradient,) = torch.autograd.grad(x.abs().square().sum(), b, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.abs().sum().backward()


def test_images_stop_on_their_own_and_zeros_stay_zeros():
    calls = []

    def operator(x):
        calls.append(1)
        return torch.tensor([1.0, 2.0, 3.0])[:, None, None] * x

    b = torch.stack([torch.zeros(2, 2), torch.ones(2, 2), torch.full((2, 2), 3.0)])
    b = b.to(torch.complex64)
    x = conjugate_gradients(operator, b, start=torch.zeros_like(b), n_iterations=50, tolerance=1e-6)
    torch.testing.assert_close(x.real[:, 0, 0], torch.tensor([0.0, 0.5, 1.0]))
    assert len(calls) <= 4  # a multiple of the identity is solved in one iteration


def test_memory_does_not_grow_with_the_iterations_of_conjugate_gradients():
    physics = measurement()
    b = torch.randn(2, *GRID, dtype=torch.complex128, requires_grad=True)
    weight = torch.tensor(0.001, dtype=torch.float64, requires_grad=True)
    sizes = []
    for n_iterations in (1, 20):
        saved = []

        def keep(tensor, saved=saved):
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            solve_regularized(
                physics.normal, b, weight, start=b, n_iterations=n_iterations, tolerance=1e-14
            )
        sizes.append(sum(saved))
    assert sizes[0] == sizes[1] > 0


def test_samples_of_several_images_share_their_steps():
    # two images that only one system couples: steps of each on its own would not solve it
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(8, 8, dtype=torch.complex128, generator=generator)
    matrix = matrix @ matrix.mH + 0.1 * torch.eye(8)
    b = torch.randn(3, 2, 2, 2, dtype=torch.complex128, generator=generator)

    def operator(x):  # (3, M, H, W) as vectors of 8
        return (x.flatten(1) @ matrix.mT).reshape(x.shape)

    x = conjugate_gradients(operator, b, n_iterations=100, tolerance=1e-13, dims=(-3, -2, -1))
    torch.testing.assert_close(operator(x), b)
    apart = conjugate_gradients(operator, b, n_iterations=100, tolerance=1e-13)
    assert not torch.allclose(operator(apart), b)


def test_a_zero_start_costs_no_call_and_changes_nothing():
    physics, calls = measurement(), []
    b = torch.randn(2, *GRID, dtype=torch.complex128)

    def operator(x):
        calls.append(1)
        return physics.normal(x) + 0.1 * x

    options = {"n_iterations": 5, "tolerance": 0.0}
    found = conjugate_gradients(operator, b, **options)
    assert len(calls) == 5
    expected = conjugate_gradients(operator, b, start=torch.zeros_like(b), **options)
    torch.testing.assert_close(found, expected)
