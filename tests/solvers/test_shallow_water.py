"""Shallow water: lakes at rest, positive depths, dam breaks, a bowl, orders, what is kept."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from monarch_sciml.solvers.shallow_water import ShallowWater

EPS = torch.finfo(torch.float64).eps


def orders(errors):
    return [math.log2(a / b) for a, b in pairwise(errors)]


def stoker(xi, left, right):
    """Depth of the wet dam break, g = 1, at xi = x / t: rarefaction, plateau, bore."""

    def gap(h):  # velocity behind the rarefaction against that behind the bore
        return 2 * (math.sqrt(left) - math.sqrt(h)) - (h - right) * math.sqrt(
            (1 / h + 1 / right) / 2
        )

    h = brentq(gap, right * 1.0001, left * 0.9999)
    u = 2 * (math.sqrt(left) - math.sqrt(h))
    fan = (2 * math.sqrt(left) - xi) ** 2 / 9
    bore = h * u / (h - right)
    behind = np.where(xi < bore, h, right)
    return np.where(xi < -math.sqrt(left), left, np.where(xi < u - math.sqrt(h), fan, behind))


class TestAtRest:
    @pytest.mark.parametrize("n_dims", [1, 2])
    def test_a_lake_with_islands_stays_at_rest(self, n_dims):
        floor = torch.rand((16,) * n_dims, dtype=torch.float64, generator=torch.manual_seed(0))
        solver = ShallowWater(floor, gravity=9.81)
        depth = (0.7 - floor).clamp_min(0.0)  # some cells rise above the surface
        assert (depth == 0).any()
        fields, _ = solver.solve(depth[None], t_end=0.5)
        steps = 0.5 * 16 * math.sqrt(9.81) * 10  # a generous count of rounded steps
        assert (fields[0, 0, 0] - depth).abs().max() < steps * EPS
        assert fields[0, 0, 1:].abs().max() < 9.81 * steps * EPS

    def test_volume_is_kept_and_walls_hold(self):
        generator = torch.manual_seed(1)
        floor = torch.rand(12, 12, dtype=torch.float64, generator=generator)
        depth = torch.rand(2, 12, 12, dtype=torch.float64, generator=generator)
        fields, _ = ShallowWater(floor).solve(depth, record_times=[0.1, 0.4])
        volume = fields[:, :, 0].sum((2, 3))
        torch.testing.assert_close(
            volume, depth.sum((1, 2))[:, None].expand(2, 2), rtol=1e-12, atol=0
        )
        assert fields[:, :, 0].min() >= 0 and fields[:, :, 1:].abs().max() > 0.05


class TestExact:
    @pytest.mark.parametrize("right", [0.3, 1e-9])
    def test_dam_breaks_of_stoker_and_ritter(self, right):
        errors = []
        for n in (50, 100, 200):
            solver = ShallowWater(torch.zeros(n))
            x = solver.points - 0.5
            depth = torch.where(x < 0, 1.0, right if right > 1e-3 else 0.0).double()
            fields, _ = solver.solve(depth[None], t_end=0.2)
            xi = x.numpy() / 0.2
            ritter = np.where(xi < -1, 1, np.where(xi < 2, (2 - xi) ** 2 / 9, 0))
            wanted = stoker(xi, 1.0, right) if right > 1e-3 else ritter
            errors.append(np.abs(fields[0, 0, 0].numpy() - wanted).mean())
            assert fields[:, :, 0].min() >= 0
        assert min(orders(errors)) > 0.8 and errors[-1] < 4e-3  # a bore has order 1

    def test_thacker_bowl_with_moving_shores(self):
        """A plane surface that rocks in a parabolic bowl, dry around: exact for all times."""
        radius, rest, swing = 0.25, 0.1, 0.1
        omega = math.sqrt(2 * rest) / radius
        errors = []
        for n in (50, 100, 200):
            x = (torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5
            floor = rest * (x / radius) ** 2

            def depth(t, x=x, floor=floor):
                lift = swing * math.cos(omega * t)
                surface = rest + 2 * rest / radius**2 * lift * (x - lift / 2)
                return (surface - floor).clamp_min(0.0)

            period = 2 * math.pi / omega
            fields, times = ShallowWater(floor).solve(depth(0)[None], record_times=[0.3, period])
            wanted = torch.stack([depth(t) for t in times.tolist()])
            errors.append(float((fields[0, :, 0] - wanted).abs().sum() / wanted.sum()))
        assert min(orders(errors)) > 1.0 and errors[-1] < 3e-3

    def test_both_axes_are_alike_and_equal_one_dimension(self):
        x = (torch.arange(24, dtype=torch.float64) + 0.5) / 24
        floor, depth = -0.3 * x, 1 + 0.1 * torch.cos(math.pi * x)
        line, _ = ShallowWater(floor).solve(depth[None], t_end=0.01)
        across = [floor.expand(24, 24), depth.expand(1, 24, 24)]
        right, _ = ShallowWater(across[0].T).solve(across[1].transpose(1, 2), t_end=0.01)
        down, _ = ShallowWater(across[0]).solve(across[1], t_end=0.01)
        for found, axis in ((right.transpose(-1, -2), 1), (down, 2)):
            wanted = line[:, :, 0, None].expand(1, 1, 24, 24)
            torch.testing.assert_close(found[:, :, 0], wanted, rtol=1e-4, atol=0)  # steps differ
            assert found[:, :, 3 - axis].abs().max() < 100 * EPS

    def test_smooth_waves_converge_with_second_order(self):
        def solved(n):
            solver = ShallowWater(-1 - 0.3 * torch.cos(2 * math.pi * (torch.arange(n) + 0.5) / n))
            depth = 1.3 + 0.01 * torch.cos(math.pi * solver.points)
            fields, _ = solver.solve(depth[None], t_end=0.2)
            return fields[0, 0, 0].view(32, -1).mean(1)

        finest = solved(512)
        errors = [float((solved(n) - finest).abs().mean()) for n in (32, 64, 128)]
        assert min(orders(errors)) > 1.5


def test_samples_do_not_depend_on_their_neighbours():
    solver = ShallowWater(torch.zeros(12, 12))
    depth = 0.1 + torch.rand(3, 12, 12, dtype=torch.float64, generator=torch.manual_seed(0))
    depth[0] *= 5  # faster waves, smaller steps
    together, _ = solver.solve(depth, t_end=0.2)
    alone, _ = solver.solve(depth[1:2], t_end=0.2)
    assert torch.equal(together[1:2], alone)


@pytest.mark.parametrize(
    ("floor", "depth", "match"),
    [
        (torch.zeros(3), torch.ones(1, 3), "n_cells"),
        (torch.zeros(4, 5), torch.ones(1, 4, 5), "as many cells"),
        (torch.full((4,), math.nan), torch.ones(1, 4), "`floor` must be finite"),
        (torch.zeros(4), torch.ones(1, 5), "`depth` must have shape"),
        (torch.zeros(4), -torch.ones(1, 4), "must not be negative"),
        (torch.zeros(4), torch.full((1, 4), math.inf), "`depth` must be finite"),
    ],
)
def test_errors(floor, depth, match):
    with pytest.raises(ValueError, match=match):
        ShallowWater(floor).solve(depth, t_end=0.1)


def test_numbers_out_of_range_are_named_without_a_time_step():
    solver = ShallowWater(torch.zeros(8))
    with pytest.raises(ValueError, match=r"must stay finite, got NaN .* t = 1e-99\. Choose other"):
        solver.solve(1e200 * torch.linspace(1, 2, 8, dtype=torch.float64)[None], t_end=1e-99)
