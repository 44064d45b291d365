"""The layer and the networks inside other libraries, and theirs around our measurement."""

import contextlib
import io
import re
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from neuralop.layers.fno_block import FNOBlocks
from neuralop.models import FNO as NeuralopFNO
from neuralop.models import UNO
from neuralop.models.fno import partialclass
from tolerances import assert_close
from torch import nn

from monarch_sciml.layers import MonarchLinear, MonarchSpectralConv
from monarch_sciml.models import FNO, monarchize
from monarch_sciml.physics import SenseOperator
from monarch_sciml.transforms import MonarchTransform, SeparableTransform

PAGE = Path(__file__).parents[2] / "docs" / "neuralop_and_friends.md"
ADAPTERS = re.findall(r"```py\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
SIZES = {"n_modes": (4, 4), "in_channels": 1, "out_channels": 1, "hidden_channels": 4}


@pytest.mark.parametrize("library", ["deepinv", "mrpro"])
def test_the_adapter_of_a_library_runs(library, capsys):
    with contextlib.suppress(Exception):  # a library that is there and cannot be imported, too
        __import__(library)
    if library not in sys.modules:
        pytest.skip(f"{library} cannot be imported")
    (block,) = (block for block in ADAPTERS if f"import {library}" in block)
    exec(compile(block, PAGE.name, "exec"), {})
    assert capsys.readouterr().out.split() == ["True"]


@pytest.mark.parametrize("kind", ["Tucker", "ComplexTucker", "complexcp"])
def test_factorised_weights_by_any_of_neuralops_names(kind):
    layer = partial(MonarchSpectralConv, grid_shape=(8, 8))
    network = NeuralopFNO(**SIZES, factorization=kind, rank=0.5, conv_module=layer, n_layers=1)
    assert type(network.fno_blocks.convs[0].weight).__name__.startswith("Complex")
    assert network(torch.randn(1, 1, 8, 8)).shape == (1, 1, 8, 8)


def uno(**options):
    with contextlib.redirect_stdout(io.StringIO()):
        return UNO(
            1, 1, 4, n_layers=3, uno_out_channels=[4, 4, 4], uno_n_modes=[[4, 4]] * 3,
            uno_scalings=[[1, 1], [0.5, 0.5], [2, 2]], channel_mlp_skip="linear", **options,
        )  # fmt: skip


def test_uno_takes_the_layer_through_its_blocks_or_by_conversion():
    kinds = lambda network: {type(block.convs[0]) for block in network.fno_blocks}  # noqa: E731
    assert MonarchSpectralConv not in kinds(uno(integral_operator=MonarchSpectralConv))
    blocks = partial(FNOBlocks, conv_module=MonarchSpectralConv)
    assert kinds(uno(operator_block=blocks)) == {MonarchSpectralConv}
    torch.manual_seed(0)
    theirs, x = uno().eval(), torch.randn(1, 1, 16, 16)
    ours = monarchize(theirs)
    assert kinds(ours) == {MonarchSpectralConv}
    assert_close(ours(x), theirs(x))


def test_sfno_refuses_the_layer():
    sfno = partialclass("SFNO", NeuralopFNO, factorization="dense")  # as neuralop makes it
    with pytest.raises(
        ValueError, match=r"`conv_module` must be neuralop's SphericalConv .* Leave"
    ):
        sfno(**SIZES, conv_module=partial(MonarchSpectralConv, grid_shape=(8, 8)))


def test_the_incremental_trainer_finds_layers_and_modes():
    network = FNO((8, 8), n_modes=(4, 4), hidden_channels=2, n_layers=2, transform="monarch")
    assert network.fno_blocks.convs[0].n_modes == [4, 4]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_return_the_dtype_of_what_they_replace_under_autocast(dtype):
    theirs = NeuralopFNO(**SIZES, n_layers=1).fno_blocks.convs[0]
    field, rows = torch.randn(1, 4, 8, 8, dtype=dtype), torch.randn(2, 8, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        for transform in ("fourier", "monarch", "dense", "cosine", "corrected"):
            ours = MonarchSpectralConv(4, 4, (4, 4), grid_shape=(8, 8), transform=transform)
            assert ours(field).dtype == theirs(field).dtype == torch.float32
        assert MonarchLinear(8, 8)(rows).dtype == nn.Linear(8, 8)(rows).dtype == torch.bfloat16


def test_a_transform_inside_the_measurement_trains():
    torch.manual_seed(0)
    maps = torch.randn(2, 6, 8, dtype=torch.complex64)
    transform = SeparableTransform([MonarchTransform(n, centered=True) for n in (6, 8)])
    physics = SenseOperator(torch.ones(6, 8), maps, transform)
    assert set(physics.parameters()) == set(transform.parameters())
    image, kspace = (torch.randn(s, 6, 8, dtype=torch.complex64) for s in (1, 2))
    optimizer, losses = torch.optim.Adam(physics.parameters(), lr=0.01), []
    for _ in range(5):
        loss = (physics(image) - kspace).abs().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert "coil_maps" not in physics.state_dict()


def test_maps_and_mask_that_learn_are_parameters_and_not_kept():
    torch.manual_seed(0)
    maps = nn.Parameter(torch.randn(2, 6, 8, dtype=torch.complex64))
    mask = nn.Parameter(torch.ones(6, 8))
    physics, image = SenseOperator(mask, maps), torch.randn(6, 8, dtype=torch.complex64)
    assert {name for name, _ in physics.named_parameters()} == {"coil_maps", "weights"}
    for _ in range(2):  # a second step goes through a graph of its own
        physics(image).abs().sum().backward()
    before = physics(image)
    with torch.no_grad():
        maps.mul_(2)
    assert_close(physics(image), 2 * before)
