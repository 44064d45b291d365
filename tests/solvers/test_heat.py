"""BOON's heat problem: scikit-fem and scipy as an independent solver, limits, bad input."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.sparse.linalg import splu
from tolerances import assert_close

from monarch_sciml.solvers import heat_neumann

X = torch.linspace(0, 1, 65, dtype=torch.float64)


def finite_elements(omega: float, times: list[float]) -> np.ndarray:
    """Quadratic elements, stiff integration in time: M u' = −κ K u + κ U sin(πt) e at x = 1."""
    import skfem
    from skfem.helpers import dot, grad

    basis = skfem.Basis(skfem.MeshLine(np.linspace(0, 1, 129)), skfem.ElementLineP2())
    stiffness = skfem.BilinearForm(lambda u, v, _: dot(grad(u), grad(v))).assemble(basis)
    mass = skfem.BilinearForm(lambda u, v, _: u * v).assemble(basis)
    x = basis.doflocs[0]
    end = np.zeros(len(x))
    end[np.argmax(x)] = 1.0
    solve = splu(mass.tocsc()).solve
    jacobian = -0.01 * np.stack([solve(column) for column in stiffness.toarray().T], axis=1)
    source = 0.05 * solve(end)
    found = solve_ivp(
        lambda t, u: jacobian @ u + source * math.sin(math.pi * t),
        (0, times[-1]),
        np.cos(omega * math.pi * x),
        method="BDF",
        jac=jacobian,
        t_eval=times,
        rtol=1e-8,
        atol=1e-10,
    )
    order = np.argsort(x)
    return found.y[order].T[:, ::4]  # P2 on 128 cells: 257 nodes


@pytest.mark.parametrize("omega", [2.3, 3.99])
def test_agrees_with_finite_elements(omega):
    times = [0.08, 0.64, 2.0]
    u, recorded = heat_neumann(torch.tensor([omega]).double(), X, record_times=times)
    assert recorded.tolist() == times
    assert np.abs(u[0].numpy() - finite_elements(omega, times)).max() < 3e-5
    assert u.abs().max() > 0.3


def test_equation_and_flux():
    """Differences in time and space of the solution satisfy the equation and both conditions."""
    n, dt = 2001, 1e-4
    x = torch.linspace(0, 1, n, dtype=torch.float64)
    h = 1 / (n - 1)
    times = [0.7 - dt, 0.7, 0.7 + dt]
    u = heat_neumann(torch.tensor([2.7]).double(), x, record_times=times, n_modes=512)[0][0]
    u_t = (u[2] - u[0]) / (2 * dt)
    u_xx = (u[1, 2:] - 2 * u[1, 1:-1] + u[1, :-2]) / h**2
    assert (u_t[1:-1] - 0.01 * u_xx).abs()[: -n // 10].max() < 1e-3
    left = (-1.5 * u[1, 0] + 2 * u[1, 1] - 0.5 * u[1, 2]) / h
    right = (1.5 * u[1, -1] - 2 * u[1, -2] + 0.5 * u[1, -3]) / h
    assert float(left) == pytest.approx(0.0, abs=1e-3)
    assert float(right) == pytest.approx(5 * math.sin(0.7 * math.pi), abs=2e-2)


def test_mean_grows_by_the_flux():
    """d/dt ∫ u = κ U sin(πt): the mean is known without the series."""
    x = torch.linspace(0, 1, 4097, dtype=torch.float64)
    u, times = heat_neumann(torch.tensor([2.5]).double(), x, t_end=2.0, n_record=5)
    mean = torch.trapezoid(u[0], x)
    initial = math.sin(2.5 * math.pi) / (2.5 * math.pi)
    expected = initial + 0.05 * (1 - torch.cos(math.pi * times)) / math.pi
    assert torch.allclose(mean, expected, atol=1e-6)


def test_single_mode_decays_without_flux():
    u, times = heat_neumann(torch.tensor([3.0]).double(), X, t_end=2.0, n_record=4, flux=0.0)
    expected = torch.exp(-0.01 * (3 * math.pi) ** 2 * times)[:, None] * torch.cos(3 * math.pi * X)
    assert_close(u[0], expected, relative=1e-09)


def test_initial_state_is_exact_and_modes_suffice():
    omega = torch.tensor([2.01, 3.0, 3.5]).double()
    u, _ = heat_neumann(omega, X, record_times=[0.0, 0.08, 2.0])
    assert torch.equal(u[:, 0], torch.cos(omega[:, None] * math.pi * X))
    more, _ = heat_neumann(omega, X, record_times=[0.0, 0.08, 2.0], n_modes=8192)
    assert (u - more).abs().max() < 2e-9
    alone = heat_neumann(omega[1:2], X, record_times=[0.0, 0.08, 2.0])[0]
    assert torch.equal(u[1:2], alone)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"frequency": torch.ones(1, 1)}, "one axis"),
        ({"frequency": torch.tensor([math.nan])}, "finite"),
        ({"x": torch.tensor([0.0, 1.5])}, r"lie in \[0, 1\], got 0 to 1.5"),
        ({"x": torch.tensor([-0.5, 0.2])}, r"lie in \[0, 1\], got -0.5 to 0.2"),
        ({"diffusivity": 0.0}, "diffusivity"),
        ({"t_end": -1.0}, "t_end"),
        ({"n_modes": 1}, "n_modes"),
    ],
)
def test_bad_input(change, match):
    arguments = {"frequency": torch.ones(1), "x": X, "t_end": 1.0, **change}
    with pytest.raises(ValueError, match=match):
        heat_neumann(arguments.pop("frequency"), arguments.pop("x"), **arguments)
