"""Which bases are refused for which boundaries: fixed sines on periodic axes, nothing else."""

from functools import partial
from types import SimpleNamespace

import pytest

from monarch_sciml.commands.comparison.trained_run import build_network
from monarch_sciml.data.spec import FieldSpec, ScanSpec
from monarch_sciml.models import FNO, FactorizedFNO, SpaceTimeFNO, UNet

SIZES = {"n_modes": (4, 4), "hidden_channels": 4, "n_layers": 1}


def spec_of(*boundary):
    n = len(boundary)
    sizes = {"n_steps_in": 1, "n_steps_out": 2, "n_fields_in": 1, "n_fields_out": 1}
    return FieldSpec(("u",), (8,) * n, domain_extent=(1.0,) * n, boundary=boundary, **sizes)


def build_for(spec, network, **options):
    return build_network(
        partial(network, **options), SimpleNamespace(spec=spec, statistics=None), seed=0
    )


@pytest.mark.parametrize("boundary", [("periodic", "periodic"), ("dirichlet", "periodic")])
@pytest.mark.parametrize(
    ("network", "more"),
    [
        (FNO, {}),
        (FactorizedFNO, {}),
        (SpaceTimeFNO, {"n_modes": (4, 4, 2), "n_steps_out": 2}),
    ],
)
def test_sines_on_a_periodic_axis_are_refused(boundary, network, more):
    words = rf"must not be 'sine' where the data are periodic, got the boundary {boundary[0]}, per"
    with pytest.raises(ValueError, match=words) as caught:
        build_for(spec_of(*boundary), network, transform="sine", **{**SIZES, **more})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("boundary", "options"),
    [
        (("dirichlet", "wall"), {"transform": "sine"}),
        (("unknown", "unknown"), {"transform": "sine"}),
        (("periodic", "periodic"), {"transform": "cosine"}),
        (("periodic", "periodic"), {"transform": "monarch", "init": "dst"}),
        (("periodic", "periodic"), {"transform": "fourier"}),
    ],
)
def test_everything_else_is_built(boundary, options):
    assert isinstance(build_for(spec_of(*boundary), FNO, **SIZES, **options), FNO)


def test_networks_without_a_basis_and_scans_are_built():
    assert build_for(spec_of("periodic", "periodic"), UNet, hidden_channels=2, n_levels=1)
    assert build_for(ScanSpec((8, 8), 1, 4.0), UNet, hidden_channels=2, n_levels=1)
