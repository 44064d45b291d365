"""Stokes' second problem: a finite-difference integration, the equation by autograd, bad input."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from tolerances import assert_close

from monarch_sciml.solvers import stokes_second


@pytest.mark.parametrize(("omega", "viscosity"), [(3.3, 0.1), (4.0, 0.02)])
def test_agrees_with_finite_differences(omega, viscosity):
    """Second-order differences on [0, 1], both ends and the start from the formula worked here."""
    n, amplitude, times = 401, 2.0, [0.3, 1.2]
    y, h, k = np.linspace(0, 1, n), 1 / (n - 1), math.sqrt(omega / (2 * viscosity))

    def end(t: float, y: float) -> float:
        return amplitude * math.exp(-k * y) * math.cos(k * y - omega * t)

    def rate(t: float, inner: np.ndarray) -> np.ndarray:
        u = np.concatenate([[end(t, 0.0)], inner, [end(t, 1.0)]])
        return viscosity * (u[2:] - 2 * u[1:-1] + u[:-2]) / h**2

    start = amplitude * np.exp(-k * y) * np.cos(k * y)
    found = solve_ivp(rate, (0, 1.2), start[1:-1], method="BDF", t_eval=times, rtol=1e-7, atol=1e-9)
    ours, _ = stokes_second(
        torch.tensor([omega]).double(),
        torch.from_numpy(y),
        viscosity=viscosity,
        record_times=times,
        amplitude=amplitude,
    )
    assert np.abs(ours[0, :, 1:-1].numpy() - found.y.T).max() < 1e-4


def test_equation_by_autograd():
    frequency, nu = torch.tensor([3.7]).double(), 0.1

    def velocity(y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        k = (frequency / (2 * nu)).sqrt()
        return 2 * torch.exp(-k * y) * torch.cos(k * y - frequency * t)

    y = torch.linspace(0, 1, 11, dtype=torch.float64, requires_grad=True)
    t = torch.full_like(y, 0.4, requires_grad=True)
    u = velocity(y, t)
    u_y, u_t = torch.autograd.grad(u.sum(), (y, t), create_graph=True)
    (u_yy,) = torch.autograd.grad(u_y.sum(), y)
    assert_close(u_t, nu * u_yy)
    ours, _ = stokes_second(frequency, y.detach(), viscosity=nu, record_times=[0.4])
    assert_close(ours[0, 0], u.detach(), relative=1e-09)


def test_wall_decay_and_batch():
    frequency = torch.tensor([3.0, 3.5, 4.0]).double()
    y = torch.linspace(0, 40, 81, dtype=torch.float64)
    u, times = stokes_second(frequency, y, viscosity=0.1, t_end=1.2, n_record=6, amplitude=1.5)
    assert u.shape == (3, 6, 81)
    assert torch.equal(u[:, :, 0], 1.5 * torch.cos(frequency[:, None] * times))
    assert u[..., -1].abs().max() < 1e-60
    alone, _ = stokes_second(frequency[1:2], y, viscosity=0.1, t_end=1.2, n_record=6, amplitude=1.5)
    assert torch.equal(u[1:2], alone)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"frequency": torch.ones(1, 1)}, "one axis"),
        ({"frequency": torch.zeros(1)}, "frequency"),
        ({"frequency": torch.tensor([math.inf])}, "finite"),
        ({"y": torch.tensor([-0.1])}, "negative"),
        ({"viscosity": 0.0}, "viscosity"),
        ({"t_end": 0.0}, "t_end"),
    ],
)
def test_bad_input(change, match):
    arguments = {"frequency": torch.ones(1), "y": torch.ones(2), "viscosity": 0.1, "t_end": 1.0}
    arguments.update(change)
    with pytest.raises(ValueError, match=match):
        stokes_second(arguments.pop("frequency"), arguments.pop("y"), **arguments)
